"""What of a registry's configuration can be set through Harbor's API, and what each value may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from moorage.errors import Problem
from moorage.identity import accounts, configuration, ldap_settings, oidc_settings

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
    SECRET = "a secret"  # noqa: S105 - a kind of value.
    """It is kept wrapped, and never shown."""


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that can be set: what it is where nothing is set, what it may be, and whether it is set here at all."""

    kind: Kind
    default: Value
    least: int = -1
    most: int = 1 << 50
    longest: int = LONGEST
    one_of: tuple[str, ...] = ()
    check: Callable[[str], bool] | None = None
    rule: str = ""
    """What *check* holds it to."""
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
        if self.kind in {Kind.TEXT, Kind.SECRET} and isinstance(value, str):
            if len(value) > self.longest or "\0" in value:
                raise ConfigurationInvalid(f"{name} has at most {self.longest} characters", name=name)
            if self.check and not self.check(value):
                raise ConfigurationInvalid(f"{name} is {self.rule}", name=name)
            if self.one_of and value not in self.one_of:
                raise ConfigurationInvalid(
                    f"{name} is {' or '.join(self.one_of)}, not {value[:64]}", name=name
                )
            return value
        raise ConfigurationInvalid(f"{name} is {self.kind.value}", name=name)


_OFF: Final = "this release does not do it"
PROJECT_CREATION: Final = "project_creation_restriction"
EVERYONE, ADMINS_ONLY = "everyone", "adminonly"
STORAGE: Final = "storage_per_project"
QUOTAS: Final = "quota_per_project_enable"
BANNER: Final = "banner_message"
SELF_REGISTRATION: Final = "self_registration"
SESSION_TIMEOUT: Final = "session_timeout"
ROBOT_DAYS: Final = "robot_token_duration"

_NAME_RULE: Final = "a distinguished name, as ou=people,dc=example,dc=org"
_FILTER_RULE: Final = "a filter, as (objectClass=person)"
_ATTRIBUTE_RULE: Final = "an attribute's name"
_LDAP: Final[Mapping[str, Key]] = {
    ldap_settings.URL: Key(
        Kind.TEXT,
        "",
        check=ldap_settings.is_url,
        rule="ldaps://, ldap+starttls:// or ldap:// and a host, with a port or without",
    ),
    "ldap_search_dn": Key(Kind.TEXT, "", check=ldap_settings.is_name, rule=_NAME_RULE),
    ldap_settings.SECRET: Key(Kind.SECRET, ""),
    ldap_settings.BASE: Key(Kind.TEXT, "", check=ldap_settings.is_name, rule=_NAME_RULE),
    "ldap_filter": Key(Kind.TEXT, "", check=ldap_settings.is_filter, rule=_FILTER_RULE),
    ldap_settings.UID: Key(Kind.TEXT, "cn", check=ldap_settings.is_attribute, rule=_ATTRIBUTE_RULE),
    "ldap_scope": Key(Kind.WHOLE, 2, least=0, most=2),
    "ldap_timeout": Key(Kind.WHOLE, ldap_settings.SECONDS, least=1, most=ldap_settings.MOST_SECONDS),
    "ldap_verify_cert": Key(Kind.FLAG, default=True),
    "ldap_ca_certificates": Key(
        Kind.TEXT, "", longest=16_384, check=ldap_settings.are_certificates, rule="certificates in PEM"
    ),
    "ldap_group_base_dn": Key(Kind.TEXT, "", check=ldap_settings.is_name, rule=_NAME_RULE),
    "ldap_group_search_filter": Key(Kind.TEXT, "", check=ldap_settings.is_filter, rule=_FILTER_RULE),
    "ldap_group_attribute_name": Key(
        Kind.TEXT, "", check=ldap_settings.is_attribute_or_none, rule=_ATTRIBUTE_RULE
    ),
    "ldap_group_search_scope": Key(Kind.WHOLE, 2, least=0, most=2),
    "ldap_group_admin_dn": Key(Kind.TEXT, "", check=ldap_settings.is_name, rule=_NAME_RULE),
    "ldap_group_membership_attribute": Key(
        Kind.TEXT, "memberof", check=ldap_settings.is_attribute_or_none, rule=_ATTRIBUTE_RULE
    ),
    "ldap_group_attach_parallel": Key(Kind.FLAG, default=False),
}

KEYS: Final[Mapping[str, Key]] = {
    configuration.AUTH_MODE: Key(
        Kind.TEXT, configuration.LOCAL, one_of=(configuration.LOCAL, configuration.OIDC, configuration.LDAP)
    ),
    "primary_auth_mode": Key(Kind.FLAG, default=False),
    PROJECT_CREATION: Key(Kind.TEXT, EVERYONE, one_of=(EVERYONE, ADMINS_ONLY)),
    "read_only": Key(Kind.FLAG, default=False, fixed="the provider suspends a registry, and nobody else"),
    SELF_REGISTRATION: Key(Kind.FLAG, default=False),
    "token_expiration": Key(Kind.WHOLE, 30, fixed="tokens live as long as the provider has them"),
    ROBOT_DAYS: Key(Kind.WHOLE, 30, least=-1, most=36_500),
    accounts.PREFIX_KEY: Key(
        Kind.TEXT,
        accounts.ROBOT_PREFIX,
        check=accounts.is_prefix,
        rule="1 to 32 letters, digits and . _ - + ~ # % $, of which the last is one of ~ # % $: no user's name has these",
    ),
    "notification_enable": Key(Kind.FLAG, default=False, fixed=_OFF),
    QUOTAS: Key(Kind.FLAG, default=True),
    STORAGE: Key(Kind.WHOLE, -1),
    "audit_log_forward_endpoint": Key(Kind.TEXT, "", fixed=_OFF),
    "skip_audit_log_database": Key(Kind.FLAG, default=False, fixed="the record is always kept"),
    "scanner_skip_update_pulltime": Key(Kind.FLAG, default=False, fixed=_OFF),
    SESSION_TIMEOUT: Key(Kind.WHOLE, 60, least=1, most=100_000),
    BANNER: Key(Kind.TEXT, ""),
    "disabled_audit_log_event_types": Key(Kind.TEXT, "", fixed="the record is always kept"),
    "oidc_name": Key(Kind.TEXT, ""),
    "oidc_endpoint": Key(Kind.TEXT, ""),
    "oidc_client_id": Key(Kind.TEXT, ""),
    oidc_settings.SECRET: Key(Kind.SECRET, ""),
    "oidc_scope": Key(Kind.TEXT, ""),
    "oidc_groups_claim": Key(Kind.TEXT, ""),
    "oidc_group_filter": Key(Kind.TEXT, ""),
    "oidc_admin_group": Key(Kind.TEXT, ""),
    "oidc_user_claim": Key(Kind.TEXT, ""),
    "oidc_extra_redirect_parms": Key(Kind.TEXT, "{}"),
    "oidc_auto_onboard": Key(Kind.FLAG, default=False),
    "oidc_verify_cert": Key(Kind.FLAG, default=True),
    "oidc_logout": Key(Kind.FLAG, default=False),
    **_LDAP,
}
SHOWN: Final = tuple(name for name, key in KEYS.items() if key.kind is not Kind.SECRET)


async def values(reader: Reader, *names: str) -> dict[str, Value]:
    """Give what some of it is (all that may be shown, if none is named)."""
    wanted = names or SHOWN
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
        if key is None or value is None or key.kind is Kind.SECRET:
            continue
        # What is sent back as it was shown changes nothing, whatever it is.
        if type(value) is type(now[name]) and value == now[name]:
            continue
        text = key.written(name, value)
        if key.fixed:
            raise ConfigurationFixed(f"{name} cannot be changed here: {key.fixed}", name=name)
        made[name] = text
    return made


def secrets(given: Mapping[str, object]) -> dict[str, str]:
    """Give the secrets among *given*, or raise ConfigurationInvalid; one that is empty is the one that is kept."""
    named = {name: KEYS[name].written(name, value) for name, value in given.items()
             if name in KEYS and KEYS[name].kind is Kind.SECRET and value is not None}  # fmt: skip
    return {name: value for name, value in named.items() if value}
