"""Files in archives from strangers, read with no more than so many bytes, entries and steps.

Only what a chart's or a model's own files need of tar is read: names, long ones too, sizes and bytes. Nothing is written
anywhere, so no name leads out of anything.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Final

from moorage.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST: Final = 16 << 20
"""Bytes of an archive that are read."""
LARGEST_EXPANDED: Final = 32 << 20
LARGEST_FILE: Final = 4 << 20
MOST_ENTRIES: Final = 10_000
MOST_MEMBERS: Final = 16

_BLOCK: Final = 512
_GZIP: Final = b"\x1f\x8b"
_MOST_OF_NAME: Final = 64 << 10
_PLAIN: Final = frozenset({b"0", b"\0", b"7"})
_PAX_PATH: Final = re.compile(rb"(?:\A|\n)\d{1,8} path=([^\n]{1,4096})\n")


class ArchiveRefused(Problem):
    """The archive is damaged, or of more than is read."""

    code, status, summary = "PRECONDITION", 412, "the archive cannot be read"


def files(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Give the names and bytes of a tar's files, compressed or not; or raise ArchiveRefused."""
    whole = _expanded(data) if data.startswith(_GZIP) else data
    place, count, long_name = 0, 0, ""
    while place + _BLOCK <= len(whole):
        header = whole[place : place + _BLOCK]
        if not header.strip(b"\0"):
            return
        count += 1
        if count > MOST_ENTRIES:
            raise ArchiveRefused(f"the archive has more than {MOST_ENTRIES} entries, and no more are read")
        size, kind = _size(header), header[156:157]
        start = place + _BLOCK
        if start + size > len(whole):
            raise ArchiveRefused("the archive ends within a file: push it again")
        place = start + -(-size // _BLOCK) * _BLOCK
        if kind in _PLAIN:
            yield long_name or _name(header), whole[start : start + size]
            long_name = ""
        elif kind in {b"x", b"L"} and size <= _MOST_OF_NAME:
            long_name = _long_name(kind, whole[start : start + size])


def _expanded(data: bytes) -> bytes:
    made = bytearray()
    for _ in range(MOST_MEMBERS):
        member = zlib.decompressobj(31)
        try:
            made += member.decompress(data, LARGEST_EXPANDED + 1 - len(made))
        except zlib.error as error:
            raise ArchiveRefused(f"the archive is damaged: {error}") from error
        if len(made) > LARGEST_EXPANDED:
            raise ArchiveRefused(
                f"the archive grows to more than {LARGEST_EXPANDED} bytes, and no more are read"
            )
        if not member.eof:
            raise ArchiveRefused("the archive is damaged: it ends too early")
        data = member.unused_data
        if not data.startswith(_GZIP):
            return bytes(made)
    raise ArchiveRefused(f"the archive is of more than {MOST_MEMBERS} parts, and no more are read")


def _size(header: bytes) -> int:
    text = header[124:136].strip(b" \0")
    if not re.fullmatch(rb"[0-7]{0,12}", text):
        raise ArchiveRefused("the archive is damaged, or has files too large to be read")
    return int(text or b"0", 8)


def _name(header: bytes) -> str:
    parts = [header[345:500], header[:100]] if header[257:262] == b"ustar" else [header[:100]]
    names = [part.partition(b"\0")[0] for part in parts]
    return b"/".join(name for name in names if name).decode(errors="replace")


def _long_name(kind: bytes, body: bytes) -> str:
    if kind == b"L":
        return body.partition(b"\0")[0].decode(errors="replace")
    found = _PAX_PATH.search(body)
    return found[1].decode(errors="replace") if found else ""
