"""Answers given before, for requests that come again.

Whoever polls a tag, or pulls what everybody pulls, asks what was asked before. An answer that says how to tell
whether it is still right (`Whole.anew`) is kept under all that it hangs on: the next such request needs its head
parsed, and nothing else. One that comes again to the letter is not even parsed.

A client's headers are mostly its token, often longer than the answer: they are kept once for all that it asks.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from moorage.api.http.at_once import lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.api.http.at_once import Anew, Header, Whole

MOST = 16 * 1024
"""How many answers are kept in a process, and pieces that lead to them."""
LARGEST = 16 * 1024
MOST_BYTES = 32 * 1024 * 1024


class Asked(NamedTuple):
    """A request without a body: what it asks, by which headers, and between which addresses."""

    method: bytes
    url: bytes
    headers: tuple[Header, ...]
    client: str
    port: int


class Piece(NamedTuple):
    """A request's head as it came, with nothing before or after it, and between which addresses."""

    line: bytes
    headers: bytes
    client: str
    port: int

    @classmethod
    def read(cls, piece: bytes, client: str, port: int) -> Piece:
        """Take the first line, which says what is asked, from the rest."""
        line, _, headers = piece.partition(b"\r\n")
        return cls(line, headers, client, port)


class _Told:
    """An answer as it was written, but for the lines that change."""

    __slots__ = ("anew", "first", "keys", "rest", "size")

    def __init__(self, whole: Whole) -> None:
        self.first = STATUS_LINE[whole.status]
        self.rest = b"%b\r\n%b" % (lines(whole.headers), whole.body)
        self.anew: Anew | None = whole.anew
        self.size = len(self.rest)
        # Under how many it is kept.
        self.keys = 0


class _Shared:
    """The headers of some requests, and of how many that are remembered."""

    __slots__ = ("headers", "keys", "size")

    def __init__(self, headers: tuple[Header, ...] | bytes) -> None:
        self.headers = headers
        self.size = _length(headers)
        self.keys = 0


class Recollection:
    """What one process may answer again; what came first goes first."""

    def __init__(self) -> None:
        self._told: OrderedDict[Asked | Piece, _Told] = OrderedDict()
        self._shared: dict[tuple[Header, ...] | bytes, _Shared] = {}
        self._size = 0
        self._defaults: Sequence[Header] | None = None
        self._written = b""

    def first(self, asked: Asked, whole: Whole, defaults: Sequence[Header]) -> bytes:
        """Write an answer that has its length among its headers, and keep it if it may be given again."""
        told = _Told(whole)
        if told.anew is not None:
            self._keep(asked, told)
        return self._whole(told, defaults, whole.own)

    def again(self, asked: Asked | Piece, defaults: Sequence[Header]) -> bytes | None:
        """Give the whole answer to what was asked before, or None if it has to be made anew."""
        told = self._told.get(asked)
        if told is None or told.anew is None:
            return None
        own = told.anew()
        if own is None:
            self._forget(asked, self._told.pop(asked))
            return None
        return self._whole(told, defaults, own)

    def alias(self, piece: Piece, asked: Asked) -> None:
        """Note that this piece asks what was just answered."""
        told = self._told.get(asked)
        if told is not None:
            self._keep(piece, told)

    def _whole(self, told: _Told, defaults: Sequence[Header], own: bytes) -> bytes:
        # uvicorn makes a new list of these each second, for the date in it.
        if defaults is not self._defaults:
            self._written = lines(defaults)
            self._defaults = defaults
        return b"".join((told.first, self._written, own, told.rest))

    def _keep(self, asked: Asked | Piece, told: _Told) -> None:
        shared = self._shared.get(asked.headers) or _Shared(asked.headers)
        if told.size + shared.size + _own(asked) > LARGEST or asked in self._told:
            return
        if not shared.keys:
            self._shared[shared.headers] = shared
            self._size += shared.size
        if not told.keys:
            self._size += told.size
        shared.keys += 1
        told.keys += 1
        self._size += _own(asked)
        kept: Any = asked._replace(headers=shared.headers)  # type: ignore[arg-type] # They are equal, so of its kind.
        self._told[kept] = told
        while self._size > MOST_BYTES or len(self._told) > MOST:
            self._forget(*self._told.popitem(last=False))

    def _forget(self, asked: Asked | Piece, told: _Told) -> None:
        shared = self._shared[asked.headers]
        shared.keys -= 1
        told.keys -= 1
        self._size -= _own(asked)
        if not told.keys:
            self._size -= told.size
        if not shared.keys:
            self._size -= shared.size
            del self._shared[shared.headers]


def _own(asked: Asked | Piece) -> int:
    """Give the length of what a request shares with no other."""
    return len(asked.line) if isinstance(asked, Piece) else len(asked.url)


def _length(headers: tuple[Header, ...] | bytes) -> int:
    if isinstance(headers, bytes):
        return len(headers)
    return sum(len(name) + len(value) for name, value in headers)
