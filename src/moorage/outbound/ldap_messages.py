"""LDAP on the wire, as much of it as signing in takes: bind, search, StartTLS, unbind (RFC 4511).

A few kinds of message in BER, written out here. What other libraries do would not fit: they open sockets themselves, so
that no address can be pinned; they read answers of any length; and they wait in threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

VERSION: Final = 3
START_TLS: Final = "1.3.6.1.4.1.1466.20037"

BIND, BIND_ANSWER, UNBIND, SEARCH, ENTRY, DONE, REFERENCE = 0x60, 0x61, 0x42, 0x63, 0x64, 0x65, 0x73
EXTENDED, EXTENDED_ANSWER = 0x77, 0x78

BOOLEAN, INTEGER, OCTETS, ENUMERATED, SEQUENCE, SET = 0x01, 0x02, 0x04, 0x0A, 0x30, 0x31
_SIMPLE, _NAME = 0x80, 0x80
_LONG_FORM: Final = 0x80
_LENGTH_BYTES: Final = 4
_MOST_PARTS: Final = 100_000


class Malformed(Exception):  # it never leaves the client
    """What came is no LDAP."""


@dataclass(frozen=True, slots=True)
class Result:
    """How an operation ended."""

    code: int
    said: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What a directory has under a name; attributes by their names in small letters."""

    dn: str
    attributes: dict[str, tuple[bytes, ...]] = field(default_factory=dict)

    def text(self, attribute: str) -> str:
        """Give the first value of an attribute as text, or nothing."""
        return next(iter(self.texts(attribute)), "")

    def texts(self, attribute: str) -> tuple[str, ...]:
        """Give all values of an attribute as text."""
        found = self.attributes.get(attribute.lower(), ())
        return tuple(one.decode("utf-8", "replace").replace("\0", "").strip() for one in found)


@dataclass(frozen=True, slots=True)
class Message:
    """What came: to which request, of which kind, and its insides."""

    number: int
    kind: int
    body: bytes


def tlv(tag: int, *bodies: bytes) -> bytes:
    """Write an element: its tag, its length and what is in it."""
    body = b"".join(bodies)
    size = len(body)
    if size < _LONG_FORM:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, _LONG_FORM | len(length))) + length + body


def octets(value: str | bytes, tag: int = OCTETS) -> bytes:
    """Write a text."""
    return tlv(tag, value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)


def number(value: int, tag: int = INTEGER) -> bytes:
    """Write a number."""
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, signed=True))


def request(identity: int, operation: bytes) -> bytes:
    """Write a message."""
    return tlv(SEQUENCE, number(identity), operation)


def bind(name: str, password: str) -> bytes:
    """Ask to be somebody."""
    return tlv(BIND, number(VERSION), octets(name), octets(password, _SIMPLE))


def unbind() -> bytes:
    """Say goodbye."""
    return tlv(UNBIND)


def start_tls() -> bytes:
    """Ask to go on within TLS."""
    return tlv(EXTENDED, octets(START_TLS, _NAME))


def search(base: str, scope: int, condition: bytes, attributes: Sequence[str], *, most: int) -> bytes:
    """Ask for entries: at most so many, and no alias is followed."""
    return tlv(
        SEARCH,
        octets(base),
        number(scope, ENUMERATED),
        number(0, ENUMERATED),
        number(most),
        number(0),
        tlv(BOOLEAN, b"\0"),
        condition,
        tlv(SEQUENCE, *map(octets, attributes)),
    )


def length_of_message(came: bytes | bytearray) -> int:
    """Tell how long the message that begins here is; 0 while that is not known. Raises Malformed."""
    if came and came[0] != SEQUENCE:
        raise Malformed("no message")
    return length_of(came)


def length_of(came: bytes | bytearray) -> int:
    """Tell how long the element that begins here is; 0 while that is not known. Raises Malformed."""
    if len(came) < 2:  # noqa: PLR2004 - a tag and a length
        return 0
    first = came[1]
    if first < _LONG_FORM:
        return 2 + first
    extra = first & 0x7F
    if not 1 <= extra <= _LENGTH_BYTES:
        raise Malformed("a length that no message has")
    if len(came) < 2 + extra:
        return 0
    return 2 + extra + int.from_bytes(came[2 : 2 + extra])


def message(came: bytes | bytearray) -> Message:
    """Read one message whole; raise Malformed."""
    outside = parts(came)
    if [tag for tag, _ in outside] != [SEQUENCE]:
        raise Malformed("no message")
    found = parts(outside[0][1])
    if len(found) < 2:  # noqa: PLR2004 - number and operation
        raise Malformed("a message of nothing")
    (tag, identity), (kind, inside) = found[:2]
    return Message(_number(tag, identity, INTEGER), kind, inside)


def result(body: bytes | bytearray) -> Result:
    """Read how an operation ended; raise Malformed."""
    found = parts(body)
    if len(found) < 3:  # noqa: PLR2004 - code, name and text
        raise Malformed("a result of nothing")
    said = found[2][1].decode("utf-8", "replace")
    return Result(_number(*found[0], ENUMERATED), "".join(one for one in said if one.isprintable())[:200])


def entry(body: bytes | bytearray) -> Entry:
    """Read an entry; raise Malformed."""
    found = parts(body)
    if len(found) != 2 or found[0][0] != OCTETS or found[1][0] != SEQUENCE:  # noqa: PLR2004 - name, attributes
        raise Malformed("no entry")
    attributes: dict[str, tuple[bytes, ...]] = {}
    for _, attribute in parts(found[1][1]):
        inside = parts(attribute)
        if len(inside) != 2 or inside[1][0] != SET:  # noqa: PLR2004 - type and values
            raise Malformed("no attribute")
        name = inside[0][1].decode("utf-8", "replace").lower()
        attributes[name] = tuple(value for _, value in parts(inside[1][1]))
    return Entry(found[0][1].decode("utf-8", "replace"), attributes)


def parts(body: bytes | bytearray) -> list[tuple[int, bytes]]:
    """Take apart what is in an element; raise Malformed."""
    return list(_each(body))


def _each(body: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    place, count = 0, 0
    while place < len(body):
        count += 1
        if body[place] & 0x1F == 0x1F or count > _MOST_PARTS:  # noqa: PLR2004 - a tag of several bytes
            raise Malformed("an element that no message has")
        head = body[place : place + 2 + _LENGTH_BYTES]
        size = length_of(head)
        if not size or place + size > len(body):
            raise Malformed("an element is cut off")
        start = place + 2 + (head[1] & 0x7F if head[1] & _LONG_FORM else 0)
        yield body[place], bytes(body[start : place + size])
        place += size


def _number(tag: int, body: bytes, wanted: int) -> int:
    if tag != wanted or not 1 <= len(body) <= 8:  # noqa: PLR2004 - 64 bits
        raise Malformed("no number")
    return int.from_bytes(body, signed=True)
