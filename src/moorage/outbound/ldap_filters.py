"""Conditions of a search in a directory: built out of values, or read from how people write them (RFC 4515).

What a value holds is never read: it goes to the wire as it is, in a field of its own.
"""

from __future__ import annotations

import re
from typing import Final

from moorage.outbound.ldap_messages import SEQUENCE, octets, tlv

DEEPEST: Final = 20
LONGEST: Final = 4096
_ATTRIBUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9.;-]*|[0-9]+(?:\.[0-9]+)+(?:;[A-Za-z0-9;-]+)?")
_LINKS: Final = {"&": 0xA0, "|": 0xA1, "!": 0xA2}
_EQUAL, _PART, _PRESENT, _MATCH = 0xA3, 0xA4, 0x87, 0xA9
_KINDS: Final = {">": 0xA5, "<": 0xA6, "~": 0xA8}
_FIRST, _INSIDE, _LAST = 0x80, 0x81, 0x82
_RULE, _TYPE, _VALUE, _NAMES = 0x81, 0x82, 0x83, 0x84
_ESCAPE: Final = re.compile(r"\\([0-9a-fA-F]{2})")


def is_attribute(name: str) -> bool:
    """Say whether this can be an attribute's name."""
    return _ATTRIBUTE.fullmatch(name) is not None


def equal(attribute: str, value: str) -> bytes:
    """Have an attribute be a value, whatever stands in that; raise ValueError for what is no attribute."""
    return tlv(_EQUAL, octets(_checked(attribute)), octets(value))


def present(attribute: str) -> bytes:
    """Have an attribute be there; raise ValueError for what is none."""
    return octets(_checked(attribute), _PRESENT)


def every(*conditions: bytes) -> bytes:
    """Have all be so."""
    return conditions[0] if len(conditions) == 1 else tlv(_LINKS["&"], *conditions)


def any_of(*conditions: bytes) -> bytes:
    """Have one be so."""
    return tlv(_LINKS["|"], *conditions)


def read(text: str) -> bytes:
    """Read a condition as people write it, with or without its outermost parentheses; raise ValueError."""
    text = text.strip()
    if not text or len(text) > LONGEST or "\0" in text:
        raise ValueError(f"a filter has 1 to {LONGEST} characters")
    if not text.startswith("("):
        text = f"({text})"
    made, place = _read(text, 0, 0)
    if place != len(text):
        raise ValueError("something stands after the filter's last parenthesis")
    return made


def _read(text: str, place: int, depth: int) -> tuple[bytes, int]:
    """Read what begins here, and tell where it ends."""
    if depth > DEEPEST:
        raise ValueError(f"a filter is at most {DEEPEST} parentheses deep")
    if text[place : place + 1] != "(":
        raise ValueError(f"a parenthesis is missing at character {place + 1} of the filter")
    link = text[place + 1 : place + 2]
    if link not in _LINKS or not link:
        end = text.find(")", place)
        if end < 0:
            raise ValueError("the filter's last parenthesis is missing")
        return _item(text[place + 1 : end]), end + 1
    inside: list[bytes] = []
    place += 2
    while text[place : place + 1] == "(":
        made, place = _read(text, place, depth + 1)
        inside.append(made)
    if text[place : place + 1] != ")" or not inside or (link == "!" and len(inside) > 1):
        raise ValueError(f"the filter is not whole at character {place + 1}")
    return tlv(_LINKS[link], *inside), place + 1


def _item(text: str) -> bytes:
    name, equals, value = text.partition("=")
    if not equals or "(" in value:
        raise ValueError("each part of a filter is attribute=value")
    name = name.strip()
    if name[-1:] in _KINDS and name:
        return tlv(_KINDS[name[-1]], octets(_checked(name[:-1])), octets(_plain(value)))
    if name.endswith(":"):
        return _match(name[:-1], value)
    if value == "*":
        return present(name)
    if "*" in value:
        return _partly(_checked(name), value)
    return tlv(_EQUAL, octets(_checked(name)), octets(_plain(value)))


def _match(name: str, value: str) -> bytes:
    attribute, *rest = name.split(":")
    names = b""
    if rest and rest[0].lower() == "dn":
        names = tlv(_NAMES, b"\xff")
        rest = rest[1:]
    if len(rest) > 1 or not (attribute or rest):
        raise ValueError("a filter's matching rule is attribute:rule:=value")
    rule = octets(_checked(rest[0]), _RULE) if rest else b""
    of = octets(_checked(attribute), _TYPE) if attribute else b""
    return tlv(_MATCH, rule, of, octets(_plain(value), _VALUE), names)


def _partly(attribute: str, value: str) -> bytes:
    first, *inside, last = value.split("*")
    found = [octets(_plain(first), _FIRST)] if first else []
    found += [octets(_plain(one), _INSIDE) for one in inside if one]
    found += [octets(_plain(last), _LAST)] if last else []
    if not found:
        return present(attribute)
    return tlv(_PART, octets(attribute), tlv(SEQUENCE, *found))


def _plain(value: str) -> bytes:
    """Read a value's escapes."""
    found = bytearray()
    place = 0
    while place < len(value):
        escape = _ESCAPE.match(value, place)
        if escape is not None:
            found.append(int(escape[1], 16))
            place = escape.end()
            continue
        if value[place] == "\\":
            raise ValueError(r"a backslash in a filter begins two hexadecimal digits, as \2a")
        found += value[place].encode("utf-8", "surrogatepass")
        place += 1
    return bytes(found)


def _checked(attribute: str) -> str:
    attribute = attribute.strip()
    if not is_attribute(attribute):
        raise ValueError(f"{attribute[:64]!r} is no attribute's name")
    return attribute
