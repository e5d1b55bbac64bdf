"""Distinguished names, as far as they are compared: written in many ways, and the same (RFC 4514)."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 2048
_HEX: Final = re.compile(r"\\([0-9a-fA-F]{2})")
_ATTRIBUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*")
_SPECIAL: Final = re.compile(r'[,+"\\<>;=#]')
# What a name ends with, that says which directory it is of.
_ROOTS: Final = ("dc", "o", "c")

Parts = tuple[tuple[str, ...], ...]


def parts(name: str) -> Parts:
    """Take a name apart, outermost last, each part as it is compared; raise ValueError."""
    if len(name) > LONGEST or "\0" in name:
        raise ValueError(f"a distinguished name has at most {LONGEST} characters")
    if not name.strip():
        return ()
    return tuple(tuple(sorted(_compared(one) for one in _split(part, "+"))) for part in _split(name, ",;"))


def normal(name: str) -> str:
    """Write a name as it is compared and kept: small letters, no spaces about it; raise ValueError."""
    return ",".join("+".join(part) for part in parts(name))


def is_under(name: str, base: str) -> bool:
    """Say whether a name is *base* or below it; an empty base holds all. Raises ValueError."""
    inner, outer = parts(name), parts(base)
    return len(inner) >= len(outer) and inner[len(inner) - len(outer) :] == outer


def root(name: str) -> str:
    """Give the end of a name that says which directory it is of, or the whole; raise ValueError."""
    found = list(parts(name))
    kept: list[str] = []
    while found and found[-1][0].partition("=")[0] in _ROOTS:
        kept.insert(0, "+".join(found.pop()))
    return ",".join(kept) or normal(name)


def _split(text: str, marks: str) -> list[str]:
    """Split at marks that neither a backslash nor quotes take for a letter."""
    found, start, place, quoted = [], 0, 0, False
    while place < len(text):
        letter = text[place]
        if letter == "\\":
            place += 1
        elif letter == '"':
            quoted = not quoted
        elif letter in marks and not quoted:
            found.append(text[start:place])
            start = place + 1
        place += 1
    if quoted:
        raise ValueError("a quote in the distinguished name has no end")
    return [*found, text[start:]]


def _compared(part: str) -> str:
    attribute, equals, value = part.partition("=")
    attribute = attribute.strip().lower()
    if not equals or _ATTRIBUTE.fullmatch(attribute) is None:
        raise ValueError("a distinguished name is attribute=value, and commas between them")
    return f"{attribute}={_escaped(_plain(value.strip()))}"


def _plain(value: str) -> str:
    """Read a value: what its escapes stand for, in small letters, with single spaces."""
    if value[:1] == '"' and value[-1:] == '"' and len(value) > 1:
        value = value[1:-1]
    raw = bytearray()
    place = 0
    while place < len(value):
        found = _HEX.match(value, place)
        if found is not None:
            raw.append(int(found[1], 16))
            place = found.end()
            continue
        if value[place] == "\\":
            place += 1
            if place == len(value):
                raise ValueError("a backslash ends the distinguished name")
        raw += value[place].encode("utf-8", "surrogatepass")
        place += 1
    return " ".join(raw.decode("utf-8", "replace").casefold().split())


def _escaped(value: str) -> str:
    return _SPECIAL.sub(lambda found: f"\\{ord(found[0]):02x}", value)
