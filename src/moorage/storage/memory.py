"""A store in memory: the reference for the others, and what tests of other parts use."""

import builtins
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from moorage.oci.errors import SizeInvalid
from moorage.storage.hashing import Hasher
from moorage.storage.store import (
    FEW,
    Disconnected,
    Key,
    Missing,
    Source,
    Stored,
    WrongOffset,
    checked_key,
    checked_prefix,
    refuse_whole,
)
from moorage.storage.threads import Threads

PIECE = 1024 * 1024


@dataclass(slots=True)
class Bytes:
    """What is kept under one key."""

    data: bytearray = field(default_factory=bytearray)
    modified_us: int = 0
    whole: bool = False
    writing: bool = False


class BytesSource:
    """Bytes at hand, given as if a client sent them; *cut* makes it leave after that many."""

    def __init__(
        self,
        data: bytes | bytearray | memoryview,
        *,
        threads: Threads | None = None,
        piece: int = PIECE,
        cut: int | None = None,
    ) -> None:
        self._data = memoryview(data)
        self._threads = threads
        self._piece = piece
        self._cut = cut

    async def drain(self, consume: Callable[[memoryview], None]) -> int:
        """Hand the pieces over, each in a worker thread."""
        threads = self._threads or Threads(1)
        try:
            for piece in self._pieces():
                await threads.run(consume, piece)
        finally:
            if self._threads is None:
                threads.close()
        self._leave()
        return len(self._data)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the pieces, copied."""
        for piece in self._pieces():
            yield bytes(piece)
        self._leave()

    def _pieces(self) -> list[memoryview]:
        sent = self._data[: self._cut]
        return [sent[at : at + self._piece] for at in range(0, len(sent), self._piece)]

    def _leave(self) -> None:
        if self._cut is not None:
            message = f"the sender left after {self._cut} bytes"
            raise Disconnected(message)


class MemoryStore:
    """Bytes in a dict, lost when the process ends."""

    appends = True

    def __init__(self, kept: dict[str, dict[str, Bytes]] | None = None, *, prefix: str = "") -> None:
        self._prefix = prefix
        self._prefixes: dict[str, dict[str, Bytes]] = {} if kept is None else kept
        self._kept = self._prefixes.setdefault(prefix, {})

    async def write(self, key: Key, offset: int, source: Source, hasher: Hasher | None, *, limit: int) -> int:
        """Append to a bytearray."""
        kept = self._begin(key, offset)

        def consume(piece: memoryview) -> None:
            came = len(kept.data) - offset
            if came + len(piece) > limit:
                raise SizeInvalid(f"more than the {limit} bytes that are allowed", limit=limit)
            kept.data += piece
            if hasher:
                hasher.update(piece)

        try:
            await source.drain(consume)
        finally:
            kept.writing = False
            kept.modified_us = time.time_ns() // 1000
        return len(kept.data) - offset

    async def commit(self, keys: Sequence[Key], into: Key) -> int:
        """Mark the bytes as whole."""
        if list(keys) == [into]:
            found = self._find(into)
            if found.writing:
                raise WrongOffset(into, 0, None)
        else:
            parts = [self._find(key).data for key in keys]
            found = self._begin(into, 0)
            found.data += b"".join(parts)
            found.writing = False
        found.whole = True
        return len(found.data)

    async def size(self, key: Key) -> int | None:
        """Count them."""
        found = self._kept.get(checked_key(key))
        return len(found.data) if found else None

    async def read(self, key: Key, start: int, end: int) -> AsyncIterator[bytes]:
        """Give copies of slices."""
        found = self._find(key)
        for at in range(start, min(end, len(found.data)), PIECE):
            yield bytes(found.data[at : min(at + PIECE, end)])

    async def shortcut(self, key: Key) -> Path | str | None:
        """Know none."""
        del key
        return None

    async def delete(self, key: Key) -> None:
        """Forget the key."""
        self._kept.pop(checked_key(key), None)

    async def list(self) -> AsyncIterator[Stored]:
        """Give what there was when the list began."""
        for key, found in list(self._kept.items()):
            yield Stored(Key(key), len(found.data), found.modified_us)

    async def room(self) -> int | None:
        """Know nothing of it."""
        return None

    async def abort_leftovers(self, *, older_than_seconds: int, key: Key | None = None) -> int:
        """Have none: what was not committed is listed like the rest."""
        del older_than_seconds, key
        return 0

    async def destroy(self, most: int) -> int:
        """Forget keys of this prefix and of those below it."""
        refuse_whole(self._prefix)
        found = [(kept, key) for kept in self._below() for key in kept][:most]
        for kept, key in found:
            del kept[key]
        return len(found)

    async def remains(self) -> Sequence[str]:
        """Name keys."""
        return [key for kept in self._below() for key in kept][:FEW]

    def under(self, prefix: str) -> Self:
        """Share the dict of another prefix."""
        return type(self)(self._prefixes, prefix=f"{self._prefix}/{checked_prefix(prefix)}")

    async def close(self) -> None:
        """Hold nothing that must be let go."""

    def _below(self) -> builtins.list[dict[str, Bytes]]:
        within = f"{self._prefix}/"
        return [
            kept
            for prefix, kept in self._prefixes.items()
            if prefix == self._prefix or prefix.startswith(within)
        ]

    def _begin(self, key: Key, offset: int) -> Bytes:
        found = self._kept.get(checked_key(key))
        stored = len(found.data) if found else 0
        if stored != offset or (found and (found.whole or found.writing)):
            raise WrongOffset(key, offset, stored)
        kept = self._kept.setdefault(key, Bytes())
        kept.writing = True
        return kept

    def _find(self, key: Key) -> Bytes:
        found = self._kept.get(checked_key(key))
        if found is None:
            raise Missing(key)
        return found
