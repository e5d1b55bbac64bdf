"""What of a registry's configuration can be set through Harbor's API, and what each value may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from moorage.errors import Problem
from moorage.identity import configuration

if TYPE_CHECKING:
    from moorage.db import Reader

Value = str | int | bool
LONGEST: Final = 4096
_INTEGER: Final = re.compile(r"-?\d{1,15}")


class ConfigurationInvalid(Problem):
    """A value breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not what can be set"


class ConfigurationFixed(Problem):
    """What is to be set is not set here."""

    code, status, summary = "PRECONDITION", 412, "this is not set here"


class Kind(Enum):
    """What a value is."""

    TEXT = "text"
    WHOLE = "a whole number"
    FLAG = "true or false"


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that can be set: what it is where nothing is set, what it may be, and whether it is set here at all."""

    kind: Kind
    default: Value
    least: int = -1
    most: int = 1 << 50
    one_of: tuple[str, ...] = ()
    fixed: str = ""
    """Why it is not set here."""

    def read(self, text: str) -> Value:
        """Give the value that is kept as *text*."""
        if self.kind is Kind.FLAG:
            return text == "true"
        return int(text) if self.kind is Kind.WHOLE and _INTEGER.fullmatch(text) else text

    def written(self, name: str, value: object) -> str:
        """Give what a value is kept as, or raise ConfigurationInvalid."""
        if self.kind is Kind.FLAG and isinstance(value, bool):
            return "true" if value else "false"
        if self.kind is Kind.WHOLE and isinstance(value, int) and not isinstance(value, bool):
            if not self.least <= value <= self.most:
                raise ConfigurationInvalid(f"{name} is {self.least} to {self.most}, not {value}", name=name)
            return str(value)
        if self.kind is Kind.TEXT and isinstance(value, str):
            if len(value) > LONGEST or "\0" in value:
                raise ConfigurationInvalid(f"{name} has at most {LONGEST} characters", name=name)
            if self.one_of and value not in self.one_of:
                raise ConfigurationInvalid(
                    f"{name} is {' or '.join(self.one_of)}, not {value[:64]}", name=name
                )
            return value
        raise ConfigurationInvalid(f"{name} is {self.kind.value}", name=name)


_PROVIDER: Final = "it is set for the registry through the provider's API"
_OFF: Final = "this release does not do it"
PROJECT_CREATION: Final = "project_creation_restriction"
EVERYONE, ADMINS_ONLY = "everyone", "adminonly"
STORAGE: Final = "storage_per_project"
QUOTAS: Final = "quota_per_project_enable"
BANNER: Final = "banner_message"
SELF_REGISTRATION: Final = "self_registration"
SESSION_TIMEOUT: Final = "session_timeout"
ROBOT_DAYS: Final = "robot_token_duration"

KEYS: Final[Mapping[str, Key]] = {
    configuration.AUTH_MODE: Key(Kind.TEXT, configuration.LOCAL, fixed=_PROVIDER),
    "primary_auth_mode": Key(Kind.FLAG, default=False, fixed=_PROVIDER),
    PROJECT_CREATION: Key(Kind.TEXT, EVERYONE, one_of=(EVERYONE, ADMINS_ONLY)),
    "read_only": Key(Kind.FLAG, default=False, fixed="the provider suspends a registry, and nobody else"),
    SELF_REGISTRATION: Key(Kind.FLAG, default=False),
    "token_expiration": Key(Kind.WHOLE, 30, fixed="tokens live as long as the provider has them"),
    ROBOT_DAYS: Key(Kind.WHOLE, 30, least=-1, most=36_500),
    "robot_name_prefix": Key(Kind.TEXT, "robot$", fixed="robots are called robot$… here"),
    "notification_enable": Key(Kind.FLAG, default=False, fixed=_OFF),
    QUOTAS: Key(Kind.FLAG, default=True),
    STORAGE: Key(Kind.WHOLE, -1),
    "audit_log_forward_endpoint": Key(Kind.TEXT, "", fixed=_OFF),
    "skip_audit_log_database": Key(Kind.FLAG, default=False, fixed="the record is always kept"),
    "scanner_skip_update_pulltime": Key(Kind.FLAG, default=False, fixed=_OFF),
    SESSION_TIMEOUT: Key(Kind.WHOLE, 60, least=1, most=100_000),
    BANNER: Key(Kind.TEXT, ""),
    "disabled_audit_log_event_types": Key(Kind.TEXT, "", fixed="the record is always kept"),
}


async def values(reader: Reader, *names: str) -> dict[str, Value]:
    """Give what some of it is (all of it, if none is named)."""
    wanted = names or tuple(KEYS)
    found = await configuration.get(reader, *wanted)
    return {
        name: KEYS[name].read(found[name].text) if name in found else KEYS[name].default for name in wanted
    }


def changes(now: Mapping[str, Value], given: Mapping[str, object]) -> dict[str, str]:
    """Give what of *given* differs from *now*, as it is kept; or raise ConfigurationInvalid or ConfigurationFixed.

    What is not known is left out, as Harbor does.
    """
    made: dict[str, str] = {}
    for name, value in given.items():
        key = KEYS.get(name)
        if key is None or value is None:
            continue
        text = key.written(name, value)
        if key.read(text) == now[name]:
            continue
        if key.fixed:
            raise ConfigurationFixed(f"{name} cannot be changed here: {key.fixed}", name=name)
        made[name] = text
    return made
