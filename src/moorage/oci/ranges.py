"""Ranges of bytes: what a pull asks for (RFC 9110, 14) and what a chunk of an upload says it is."""

import re

from moorage.oci.errors import RangeInvalid

_RANGE = re.compile(r"(?i:bytes)=[ \t]*([0-9]{0,100})-([0-9]{0,100})")
_CHUNK = re.compile(r"(?:(?i:bytes)[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,19}|\*))?")
_SHOWN = 80


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Read a Range header (end-2): where to start and where to stop, the stop not included.

    None means the whole: there is no header, or one that RFC 9110 lets a server ignore (another
    unit, several ranges, nonsense). Raises RangeInvalid when the bytes are not there.
    """
    match = _RANGE.fullmatch(header.strip(" \t")) if header else None
    if header is None or match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start = int(match[1])
        end = min(int(match[2]) + 1, size) if match[2] else size
    else:
        start, end = max(0, size - int(match[2])), size
    if start >= end:
        # RFC 9110 calls ``bytes=500-0`` malformed, to be ignored; the conformance suite wants 416.
        shown = header[:_SHOWN]
        message = f'range "{shown}" is not in the blob, which has {size} bytes'
        raise RangeInvalid(message, range=shown, size=size)
    return start, end


def content_range(header: str | None) -> tuple[int, int] | None:
    """Read a chunk's Content-Range (end-5), first and last byte included; None without one.

    The spec's form is ``0-1023``; HTTP's own ``bytes 0-1023/*`` is read too. Raises RangeInvalid.
    """
    if header is None:
        return None
    match = _CHUNK.fullmatch(header.strip(" \t"))
    if match is None or int(match[2]) < int(match[1]):
        shown = header[:_SHOWN]
        message = (
            f'Content-Range "{shown}" is not a range: '
            "write the first and the last byte of the chunk, as in 0-1023"
        )
        raise RangeInvalid(message, range=shown)
    return int(match[1]), int(match[2])
