"""Ranges of bytes: what a pull asks for (RFC 9110, 14) and where a chunk goes (spec.md#pushing-a-blob-in-chunks)."""

import re

from moorage.oci.errors import RangeInvalid

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_CHUNK = re.compile(r"(?:bytes )?(\d{1,19})-(\d{1,19})(?:/(?:\d{1,19}|\*))?")


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Read a Range header against a blob's size: its first byte and the one after its last, or None for the whole.

    Several ranges and other units are answered whole, as RFC 9110 allows; a range outside raises RangeInvalid.
    """
    if header is None or not (found := _RANGE.fullmatch(header.strip())) or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        message = f"the range {header.strip()!r} is outside the blob's {size} bytes"
        raise RangeInvalid(message, range=header.strip(), size=size)
    return start, end


def content_range(header: str | None) -> tuple[int, int] | None:
    """Read a chunk's Content-Range (``0-1023``, both inclusive); None when there is none; else RangeInvalid."""
    if header is None:
        return None
    found = _CHUNK.fullmatch(header.strip())
    if found is None or int(found[2]) < int(found[1]):
        message = f"not a Content-Range: {header[:80]!r}; it is <first byte>-<last byte>, as in 0-1023"
        raise RangeInvalid(message, range=header[:80])
    return int(found[1]), int(found[2])
