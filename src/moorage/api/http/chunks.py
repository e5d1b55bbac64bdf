"""The chunked coding, taken out of a buffer in place (RFC 9112, 7.1)."""

from __future__ import annotations

import re
from enum import Enum, auto

from moorage.api.http.problems import RequestMalformed

# Digits, then nothing or extensions, which are passed over; no line's end hides in them.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
LINE_BYTES = 4096
TRAILER_BYTES = 16 * 1024


class _At(Enum):
    SIZE = auto()
    DATA = auto()
    AFTER_DATA = auto()
    TRAILER = auto()
    END = auto()


class Chunks:
    """A body in chunks, as far as it was read: as strict as the parser, and without its calls.

    What the parser would refuse is refused here: the two must agree on where a body ends.
    """

    __slots__ = ("_at", "_left", "_line", "_trailer")

    def __init__(self) -> None:
        self._at = _At.SIZE
        self._left = 0
        self._line = b""
        self._trailer = 0

    @property
    def ended(self) -> bool:
        """Tell whether the whole body was read."""
        return self._at is _At.END

    def decode(self, buffer: bytearray, *, start: int, end: int, into: int, most: int) -> tuple[int, int]:
        """Move the data between *start* and *end* down to *into*; tell where both now stand.

        Stops at the body's end, and after *most* chunks, so that tiny ones cannot hold the loop.
        Raises RequestMalformed.
        """
        view = memoryview(buffer)
        while start < end and most and self._at is not _At.END:
            if self._at is _At.DATA:
                count = min(self._left, end - start)
                if into != start:
                    view[into : into + count] = view[start : start + count]
                start, into = start + count, into + count
                self._left -= count
                if not self._left:
                    self._at = _At.AFTER_DATA
                continue
            most -= 1
            line, start = self._read_line(buffer, start, end)
            if line is not None:
                self._take(line)
        return start, into

    def _read_line(self, buffer: bytearray, start: int, end: int) -> tuple[bytes | None, int]:
        """Give the line at *start* without its end, or keep what is there of it."""
        known = len(self._line)
        if not known:
            # By far the usual case, without a copy of what follows the line.
            at = buffer.find(b"\r\n", start, min(end, start + LINE_BYTES))
            if at >= 0:
                return bytes(buffer[start:at]), at + 2
        line = self._line + buffer[start : min(end, start + LINE_BYTES)]
        at = line.find(b"\r\n")
        if at >= 0:
            self._line = b""
            return bytes(line[:at]), start + at + 2 - known
        if len(line) >= LINE_BYTES:
            text = "a line between chunks is too long"
            raise RequestMalformed(text)
        self._line = bytes(line)
        return None, end

    def _take(self, line: bytes) -> None:
        if self._at is _At.SIZE:
            size = _SIZE.fullmatch(line)
            if size is None:
                text = "a chunk's size is not valid"
                raise RequestMalformed(text)
            self._left = int(size[1], 16)
            self._at = _At.DATA if self._left else _At.TRAILER
        elif self._at is _At.AFTER_DATA:
            if line:
                text = "a chunk is longer than its size"
                raise RequestMalformed(text)
            self._at = _At.SIZE
        elif line:
            self._trailer += len(line)
            if self._trailer > TRAILER_BYTES or not _FIELD.fullmatch(line):
                text = "a trailer is not valid"
                raise RequestMalformed(text)
        else:
            self._at = _At.END
