"""What a setting is, and the kinds of value it can have: how each is read, and what is allowed.

Sizes and durations take a unit (``4MiB``, ``15m``), so that nobody has to count zeros; without one
they are bytes and seconds.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
N = TypeVar("N", int, float)
RATES = (
    "manifests=300000, blobs=300000, pushes=120000, lists=30000, tokens=30000,"
    " reads=6000, changes=3000, orders=600, sign-ins=600"
)
"""How many requests of each kind one identity may make in a minute where nothing else is set."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNITS_OF_SIZE = {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
UNITS_OF_TIME = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_NUMBER_WITH_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_NAME = re.compile(
    rf"(?:(?=.{{1,260}}$){_LABEL}(?:\.{_LABEL})*|\[(?P<six>[0-9a-f:.]+)\])(?::(?P<port>\d{{1,5}}))?"
)
_MOST_PORT = 65535
_WORDS_OF_FLAGS = {
    "yes": True,
    "true": True,
    "1": True,
    "on": True,
    "no": False,
    "false": False,
    "0": False,
    "off": False,
}


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How the text of a setting becomes a value: *parse* raises ValueError for what is not *allowed*."""

    name: str
    allowed: str
    parse: Callable[[str], T]


class BadSetting(ValueError):  # it reads as a sentence where it is raised
    """A variable holds what it must not: the message has one line for each."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of one setting, apart from its value."""

    variable: str
    kind: Kind[Any]
    default: str
    help: str
    secret: bool

    def read(self, environ: Mapping[str, str]) -> object:
        """Give the value that the environment sets, or the default; raise BadSetting."""
        text = environ.get(self.variable, "").strip() or self.default
        try:
            return self.kind.parse(text)
        except ValueError:
            shown = "what it holds" if self.secret else repr(text)
            message = f"{self.variable}: {shown} is not {self.kind.allowed}"
            raise BadSetting(message) from None


def count(least: int, most: int) -> Kind[int]:
    """Give the kind of whole numbers from *least* to *most*."""

    def parse(text: str) -> int:
        return _within(int(text), least, most)

    return Kind("number", f"a whole number from {least} to {most}", parse)


def amounts(defaults: str, most: int) -> Kind[tuple[tuple[str, int], ...]]:
    """Give the kind of whole numbers up to *most* that have names; those that are not set are as in *defaults*."""
    known = _pairs(defaults)

    def parse(text: str) -> tuple[tuple[str, int], ...]:
        given = _pairs(text)
        if not given.keys() <= known.keys():
            raise ValueError(text)
        return tuple((name, _within(given.get(name, number), 0, most)) for name, number in known.items())

    names = ", ".join(known)
    return Kind(
        "numbers",
        f"name=number with commas between, with numbers from 0 to {most} and names of {names}",
        parse,
    )


def size(least: str, most: str) -> Kind[int]:
    """Give the kind of sizes in bytes from *least* to *most*."""

    def parse(text: str) -> int:
        return int(
            _within(_amount(text, UNITS_OF_SIZE), _amount(least, UNITS_OF_SIZE), _amount(most, UNITS_OF_SIZE))
        )

    return Kind("size", f"a size from {least} to {most}, in bytes or with KiB, MiB, GiB or TiB", parse)


def duration(least: str, most: str) -> Kind[float]:
    """Give the kind of durations in seconds from *least* to *most*."""

    def parse(text: str) -> float:
        return _within(
            _amount(text, UNITS_OF_TIME), _amount(least, UNITS_OF_TIME), _amount(most, UNITS_OF_TIME)
        )

    return Kind("duration", f"a duration from {least} to {most}, in seconds or with ms, s, m, h or d", parse)


def choice(*names: str) -> Kind[str]:
    """Give the kind of a word out of *names*."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(text)
        return text

    return Kind("choice", "one of " + ", ".join(names), parse)


def url(*schemes: str) -> Kind[str]:
    """Give the kind of an address whose scheme is one of *schemes*; empty is none."""

    def parse(text: str) -> str:
        if text and (":" not in text or urlsplit(text).scheme not in schemes):
            raise ValueError(text)
        return text

    return Kind("URL", "a URL that starts with " + " or ".join(f"{scheme}:" for scheme in schemes), parse)


def _read_path(text: str) -> Path:
    if not text:
        raise ValueError(text)
    return Path(text).expanduser().absolute()


def _read_file(text: str) -> Path | None:
    return _read_path(text) if text else None


def _read_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return _read_domain(text or "-")


def _read_domain(text: str) -> str:
    lowered = text.lower().rstrip(".")
    if lowered and not _HOST_NAME.fullmatch(lowered):
        raise ValueError(text)
    return lowered


def _read_networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def _read_names(text: str) -> tuple[str, ...]:
    return tuple(_read_name(part.strip().lower()) for part in text.split(",") if part.strip())


def _read_name(text: str) -> str:
    found = _NAME.fullmatch(text)
    if found is None or (found["port"] and not 0 < int(found["port"]) <= _MOST_PORT):
        raise ValueError(text)
    if found["six"]:
        ipaddress.IPv6Address(found["six"])
    return text


def _read_flag(text: str) -> bool:
    if text.lower() not in _WORDS_OF_FLAGS:
        raise ValueError(text)
    return _WORDS_OF_FLAGS[text.lower()]


def _read_mail(text: str) -> str:
    if not re.fullmatch(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}", text, re.ASCII):
        raise ValueError(text)
    return text


def _pairs(text: str) -> dict[str, int]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return {name.strip(): int(number) for name, _, number in pairs}


def _within(value: N, least: N, most: N) -> N:
    if not least <= value <= most:
        raise ValueError(value)
    return value


def _amount(text: str, units: Mapping[str, float]) -> float:
    found = _NUMBER_WITH_UNIT.fullmatch(text.strip().lower())
    if found is None or found[2] not in units:
        raise ValueError(text)
    return float(found[1]) * units[found[2]]


PORT = Kind(
    "port", "a free TCP port from 1 to 65535, or 0 for any", lambda text: _within(int(text), 0, 65535)
)
TEXT = Kind("text", "any text", str)
FOLDER = Kind("folder", "a folder's path", _read_path)
FILE = Kind("file", "a file's path, or empty for none", _read_file)
ADDRESS = Kind("address", "an IP address or a host name of this machine", _read_address)
DOMAIN = Kind("domain", "a domain name such as registry.example.com, or empty for none", _read_domain)
NETWORKS = Kind(
    "networks", "IP addresses or networks such as 10.0.0.0/8, with commas between", _read_networks
)
NAMES = Kind(
    "names", "host names such as registry.example.com or box.lan:5000, with commas between", _read_names
)
FLAG = Kind("flag", "yes or no", _read_flag)
MAIL = Kind("mail address", "a mail address such as moorage@example.com", _read_mail)
