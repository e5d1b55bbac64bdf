"""A body in chunks, read from the socket into buffers past the parser."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from typing_extensions import override

from moorage.api.http.chunks import Chunks
from moorage.api.http.receiving import LULL, Receiving

if TYPE_CHECKING:
    from moorage.api.http.bodies import Consume
    from moorage.api.http.cycle import Cycle

# A body in chunks has no length before its end, which looks like this.
_UNKNOWN = 1 << 62
_LAST = b"\r\n\r\n"
_NEWLINE = 0x0A
# So many chunks are taken apart before others have their turn.
_AT_ONCE = 1024


class ReceivingChunks(Receiving):
    """One upload in chunks, which may read further than the body's end.

    Chunks are taken apart on the loop, so here one piece is consumed while the next is received.
    """

    def __init__(self, cycle: Cycle, consume: Consume) -> None:
        super().__init__(cycle, consume)
        self.left = _UNKNOWN
        self.chunks = Chunks()
        self.filled = 0

    @override
    async def _begin(self, first: bytearray) -> None:
        """Consume what came with the head."""
        size = await self._decoded(first, len(first))
        if size:
            self.job = self._start(memoryview(first)[:size])

    @override
    async def _receive(self) -> None:
        proto = self.cycle.proto
        while self.left and not self.ended and not self.cycle.disconnected:
            proto.waits()
            try:
                await self._fill()
            finally:
                proto.goes_on()
                await self._hand_on()

    async def _fill(self) -> None:
        """Wait until the buffer is full, the body whole, the sender slow or gone."""
        done = self.cycle.waiting_for = self.loop.create_future()
        try:
            self._readable()
            if not done.done():
                self.loop.add_reader(self.socket.fileno(), self._readable)
            await done
        finally:
            self.loop.remove_reader(self.socket.fileno())
            self.cycle.waiting_for = None
            if self.lull is not None:
                self.lull.cancel()
                self.lull = None

    def _readable(self) -> None:
        done = self.cycle.waiting_for
        if done is None or done.done():
            return
        self.buffer = buffer = self.buffer or self.buffers.take()
        try:
            count = self.socket.recv_into(memoryview(buffer)[self.filled :])
        except (BlockingIOError, InterruptedError):
            if not self.filled:
                self._give_back()
            return
        except OSError:
            count = 0
        self.ended = not count
        self.filled += count
        self.left -= count
        self.cycle.proto.moved += count
        if self.ended or self._whole(buffer):
            done.set_result(None)
        elif self.lull is None:
            self.lull = self.loop.call_later(LULL, self._told)

    def _whole(self, buffer: bytearray) -> bool:
        """Tell whether what is in the buffer may be all that comes: a last chunk looks so."""
        if self.filled == len(buffer):
            return True
        return buffer.endswith(_LAST, max(0, self.filled - len(_LAST)), self.filled) or (
            self.filled < len(_LAST) and buffer[self.filled - 1] == _NEWLINE
        )

    async def _hand_on(self) -> None:
        """Have what was received consumed, once the piece before it is."""
        await self._settle()
        if not self.filled or self.buffer is None:
            self._give_back()
            return
        size = await self._decoded(self.buffer, self.filled)
        self.filled = 0
        if not size:
            self._give_back()
            return
        buffer, self.buffer = self.buffer, None
        # Not when the next piece comes: that may take long, and a stalled upload holds none.
        self.job = self._start(memoryview(buffer)[:size])
        self.job.add_done_callback(partial(self._consumed, buffer))

    def _consumed(self, buffer: bytearray, _: asyncio.Future[None]) -> None:
        self.buffers.give(buffer)

    async def _decoded(self, buffer: bytearray, count: int) -> int:
        """Leave the data at the buffer's start and tell how much of *count* bytes it is; raise RequestMalformed."""
        at = size = 0
        while at < count and not self.chunks.ended:
            at, size = self.chunks.decode(buffer, start=at, end=count, into=size, most=_AT_ONCE)
            if at < count and not self.chunks.ended:
                await asyncio.sleep(0)
        if self.chunks.ended:
            self.rest = bytes(buffer[at:count])
            self.left = 0
        return size
