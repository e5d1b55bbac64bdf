"""Everything an operator can set, read once from the environment.

What can be set stands in `options`; here it is read, and checked as a whole. Only app imports this module;
parts are handed values.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorage import kinds
from moorage.kinds import BadSetting, Setting
from moorage.options import (
    PREFIX,
    Entering,
    Keeping,
    Listening,
    Logging,
    Ordering,
    Requests,
    Telling,
    Upkeep,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, in their groups."""

    listening: Listening = dataclasses.field(default_factory=Listening)
    keeping: Keeping = dataclasses.field(default_factory=Keeping)
    requests: Requests = dataclasses.field(default_factory=Requests)
    entering: Entering = dataclasses.field(default_factory=Entering)
    upkeep: Upkeep = dataclasses.field(default_factory=Upkeep)
    ordering: Ordering = dataclasses.field(default_factory=Ordering)
    telling: Telling = dataclasses.field(default_factory=Telling)
    logging: Logging = dataclasses.field(default_factory=Logging)


GROUPS: dict[str, type[Any]] = {
    "listening": Listening,
    "keeping": Keeping,
    "requests": Requests,
    "entering": Entering,
    "upkeep": Upkeep,
    "ordering": Ordering,
    "telling": Telling,
    "logging": Logging,
}


def read(environ: Mapping[str, str]) -> Settings:
    """Read every setting from *environ*; raise BadSetting with a line for each bad one."""
    complaints: list[str] = []
    groups: dict[str, Any] = {}
    for name, group in GROUPS.items():
        values: dict[str, object] = {}
        for field, setting in _fields(group):
            try:
                values[field] = setting.read(environ)
            except BadSetting as bad:
                complaints.append(str(bad))
        groups[name] = group(**values)
    settings = Settings(**groups)
    complaints += _contradictions(settings)
    if complaints:
        raise BadSetting("\n".join(complaints))
    return settings


def folder(environ: Mapping[str, str]) -> Path:
    """Read the data folder alone; raise BadSetting."""
    found = next(setting for name, setting in _fields(Keeping) if name == "data").read(environ)
    assert isinstance(found, Path)
    return found


def told(environ: Mapping[str, str]) -> dict[str, str]:
    """Give what *environ* sets, as another process of this machine may be told it, wherever that is started.

    The data folder is how it finds this one, a first password is nobody's business, and its log lines are its own.
    """
    own = {PREFIX + "DATA", PREFIX + "PASSWORD", *(setting.variable for _, setting in _fields(Logging))}
    given = {}
    for group in GROUPS.values():
        for _, setting in _fields(group):
            text = environ.get(setting.variable, "").strip()
            if text and setting.variable not in own:
                value = setting.read(environ)
                given[setting.variable] = str(value) if isinstance(value, Path) else text
    return given


def beside(house: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Join what a running house has told with what *environ* sets for one command; that comes first.

    A port of 0 asks for any, and the house has one.
    """
    given = {name: text for name, text in environ.items() if text.strip()}
    ports = {setting.variable for _, setting in _fields(Listening) if setting.kind is kinds.PORT}
    asked = {name for name in ports & house.keys() if given.get(name, "").strip() == "0"}
    return {**house, **{name: text for name, text in given.items() if name not in asked}}


def strangers(environ: Mapping[str, str]) -> Iterator[str]:
    """Give a line for each variable that looks like a setting and is none: most are misspelt."""
    known = [setting.variable for group in GROUPS.values() for _, setting in _fields(group)]
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in known:
            near = difflib.get_close_matches(variable, known, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            yield f"{variable} is not a setting of Moorage{meant}"


def groups() -> list[tuple[str, list[Setting]]]:
    """List every setting, in groups with a title each."""
    return [
        ((group.__doc__ or "").rstrip("."), [setting for _, setting in _fields(group)])
        for group in GROUPS.values()
    ]


def _fields(group: type[Any]) -> Iterator[tuple[str, Setting]]:
    for field in dataclasses.fields(group):
        yield field.name, field.metadata["setting"]


def _contradictions(settings: Settings) -> Iterator[str]:
    listening = settings.listening
    if (listening.tls_cert is None) != (listening.tls_key is None):
        yield "MOORAGE_TLS_CERT and MOORAGE_TLS_KEY: set both, or neither"
    for variable, file in (("TLS_CERT", listening.tls_cert), ("TLS_KEY", listening.tls_key)):
        if file is not None and not file.is_file():
            yield f"{PREFIX}{variable}: there is no file {str(file)!r}"
