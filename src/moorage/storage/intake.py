"""From a client to an object store: bytes wait on disk, and only parts being sent are in memory.

A slow client fills its part in an anonymous file, which costs no memory and holds up nobody. A
full part takes one of the process's places for sending, is read and sent, and gives it back: so
memory is places times parts, whatever the number of uploads and however slow they are.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator

from moorage.oci.errors import SizeInvalid
from moorage.storage.hashing import Hasher
from moorage.storage.store import Source
from moorage.storage.threads import Threads

PART = 8 * 1024 * 1024
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
        self.failure: BaseException | None = None
        self.ended = False
        self.count = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Be the iterator."""
        return self

    async def __anext__(self) -> bytes:
        """Give the next part when there is a place to send it from, and nothing after each.

        The client library asks for the next piece while it still sends the last, but must have
        sent it before it can take another, be it empty: asking once more says that the part is
        gone, and its place with it.
        """
        if self._sends and not self._asked_again:
            self._asked_again = True
            return b""
        self._release()
        try:
            filled = await self.fill()
            if not filled:
                raise StopAsyncIteration
            await self._sending.acquire()
            self._sends, self._asked_again = True, False
            part = await self._threads.run(os.pread, self._file.fileno(), filled, 0)
        except StopAsyncIteration:
            raise
        except BaseException as failure:
            self.failure = self.failure or failure
            # What drives the iterator is not Python: it must see an error, not a cancellation.
            message = "the upload was given up"
            raise RuntimeError(message) from failure
        self._filling = None if self.ended else asyncio.create_task(self._fill())
        return part

    async def fill(self) -> int:
        """Have a part filled, and give its length; 0 after the last."""
        if self._filling is None:
            if self.ended:
                return 0
            self._filling = asyncio.create_task(self._fill())
        return await self._filling

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
        """Make the iterator fail at once."""
        self.failure = self.failure or failure
        self.ended = True
        if self._filling is None:
            self._filling = asyncio.create_task(self._fill())
        self._filling.cancel()

    async def _fill(self) -> int:
        """Take bytes off the source until the part is full."""
        at = 0
        batch = [self._waiting] if self._waiting else []
        held = len(self._waiting)
        self._waiting = b""
        while at + held < PART:
            piece = await anext(self._source, None)
            if piece is None:
                self.ended = True
                break
            self._admit(len(piece))
            room = PART - at - held
            if len(piece) > room:
                piece, self._waiting = piece[:room], piece[room:]
            batch.append(piece)
            held += len(piece)
            if held >= BATCH:
                at += await self._threads.run(self._keep, batch, at)
                batch, held = [], 0
        return at + (await self._threads.run(self._keep, batch, at) if batch else 0)

    def _admit(self, count: int) -> None:
        self.count += count
        if self.count > self._limit:
            message = f"more than the {self._limit} bytes that are allowed"
            raise SizeInvalid(message, limit=self._limit)

    def _keep(self, batch: list[bytes], at: int) -> int:
        """Hash and write, in a worker thread."""
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
