"""From a client to an object store: bytes wait on disk, and only parts being sent are in memory.

A slow client fills its part in an anonymous file, which costs no memory and holds up nobody. A
full part takes one of the process's places for sending, is read and sent, and gives it back: so
memory is places times parts, whatever the number of uploads and however slow they are.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator

from moorage.errors import StorageFull
from moorage.oci.errors import SizeInvalid
from moorage.storage.disk import NO_ROOM
from moorage.storage.hashing import Hasher
from moorage.storage.store import Source
from moorage.storage.threads import Threads

PART = 8 * 1024 * 1024
PIECE = 1024 * 1024
BATCH = 512 * 1024
MOST = 10_000 * PART
"""An S3 upload has ten thousand parts at most."""


class Intake:
    """One upload on its way: an iterator of full parts, and one last that may be shorter."""

    def __init__(
        self,
        source: Source,
        hasher: Hasher | None,
        *,
        limit: int,
        threads: Threads,
        sending: asyncio.Semaphore,
    ) -> None:
        self._source = aiter(source)
        self._hasher = hasher
        self._limit = min(limit, MOST)
        self._threads = threads
        self._sending = sending
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
        self._waiting = b""
        self._filling: asyncio.Task[int] | None = None
        self._sends = False
        self._asked_again = False
        self._at = self._length = 0
        self.failure: BaseException | None = None
        self.ended = False
        self.count = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Be the iterator."""
        return self

    async def __anext__(self) -> bytes:
        """Give the next piece of the part being sent, and nothing after each part.

        The client library asks for the next piece while it still sends a part, but must have
        sent it before it can take another piece, be it empty: asking once more says that the
        part is gone, and its place with it.
        """
        try:
            if self.failure:
                raise self.failure
            if self._at == self._length and not await self._next_part():
                return b""
            piece = await self._threads.run(
                os.pread, self._file.fileno(), min(PIECE, self._length - self._at), self._at
            )
        except StopAsyncIteration:
            raise
        except BaseException as failure:
            self.failure = self.failure or failure
            # What drives the iterator is not Python: it must see an error, not a cancellation.
            message = "the upload was given up"
            raise RuntimeError(message) from failure
        self._at += len(piece)
        if self._at == self._length and not self.ended:
            self._filling = asyncio.create_task(self._fill())
        return piece

    async def _next_part(self) -> bool:
        """Wait for a part and a place; False when the former part may still be on its way."""
        if self._sends and not self._asked_again:
            self._asked_again = True
            return False
        if self._filling is None:
            # The last part is sent only now that this has been said; close() frees its place.
            raise StopAsyncIteration
        self._release()
        filled = await self._filled()
        if not filled:
            raise StopAsyncIteration
        await self._sending.acquire()
        self._sends, self._asked_again = True, False
        self._at, self._length = 0, filled
        return True

    async def fill(self) -> bool:
        """Have the first part filled; False when there may be no second."""
        self._filling = asyncio.create_task(self._fill())
        await asyncio.wait((self._filling,))
        self._filling.result()
        return not self.ended

    async def whole(self) -> bytes:
        """Take the only part, when there is a place to send it from."""
        filled = await self._filled()
        await self._sending.acquire()
        self._sends = True
        return await self._threads.run(os.pread, self._file.fileno(), filled, 0)

    async def _filled(self) -> int:
        """Give the length of the part that has been filled meanwhile; 0 after the last."""
        filled = await self._filling if self._filling else 0
        self._filling = None
        return filled

    async def close(self) -> None:
        """Stop taking bytes, give the place back and let the file go."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.wait((self._filling,))
            if not self._filling.cancelled():
                self._filling.exception()
        self._release()
        self._file.close()

    def give_up(self, failure: BaseException) -> None:
        """Make the iterator fail at once, even while it waits for the sender."""
        self.failure = self.failure or failure
        if self._filling is not None:
            self._filling.cancel()

    async def _fill(self) -> int:
        """Take bytes off the source until the part is full."""
        at = held = 0
        batch: list[bytes] = []
        while at + held < PART:
            piece = await self._take(PART - at - held)
            if piece is None:
                self.ended = True
                break
            batch.append(piece)
            held += len(piece)
            if held >= BATCH:
                at += await self._threads.run(self._keep, batch, at)
                batch, held = [], 0
        return at + (await self._threads.run(self._keep, batch, at) if batch else 0)

    async def _take(self, room: int) -> bytes | None:
        """Take a piece off the source, and put by what is more than there is room for."""
        if not self._waiting:
            piece = await anext(self._source, None)
            if piece is None:
                return None
            self._admit(len(piece))
            self._waiting = piece
        taken, self._waiting = self._waiting[:room], self._waiting[room:]
        return taken

    def _admit(self, count: int) -> None:
        self.count += count
        if self.count > self._limit:
            message = f"more than the {self._limit} bytes that are allowed"
            raise SizeInvalid(message, limit=self._limit)

    def _keep(self, batch: list[bytes], at: int) -> int:
        """Hash and write, in a worker thread."""
        try:
            return self._write(batch, at)
        except OSError as problem:
            if problem.errno in NO_ROOM:
                raise StorageFull(retry_after=60) from problem
            raise

    def _write(self, batch: list[bytes], at: int) -> int:
        kept = 0
        for piece in batch:
            if self._hasher:
                self._hasher.update(piece)
            rest = memoryview(piece)
            while rest:
                written = os.pwrite(self._file.fileno(), rest, at + kept)
                rest = rest[written:]
                kept += written
        return kept

    def _release(self) -> None:
        if self._sends:
            self._sends = False
            self._sending.release()
