"""A body read from the socket into buffers, past the parser, and consumed in worker threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from functools import partial
from typing import TYPE_CHECKING

from typing_extensions import override

from moorage.api.http.chunks import Chunks
from moorage.api.http.waiting import settled
from moorage.storage.store import Disconnected

if TYPE_CHECKING:
    from moorage.api.http.bodies import Consume
    from moorage.api.http.cycle import Cycle

# A body that pauses for so long gives its buffer back, so a stalled upload holds none.
LULL = 0.5
_SPARE = 16
# A fast sender's bytes are waited for until there are so many: each time that costs the same. The
# kernel may hold that much for a connection, whether we look or not.
WORTH_READING = 256 * 1024
# A body in chunks has no length before its end, which looks like this.
_UNKNOWN = 1 << 62
_LAST = b"\r\n\r\n"
_NEWLINE = 0x0A
# So many chunks are taken apart before others have their turn.
_AT_ONCE = 1024


class Buffers:
    """A process's buffers for bodies: so many large ones, and small ones for those who come later.

    This is what keeps memory flat whatever the number of uploads.
    """

    def __init__(self, size: int, count: int) -> None:
        self.size = size
        self.count = count
        self.given = 0
        self._spare: list[bytearray] = []

    def take(self) -> bytearray:
        """Give a buffer: a spare one, a new one, or a small one if too many are out."""
        self.given += 1
        if self._spare:
            return self._spare.pop()
        return bytearray(self.size if self.given <= self.count else self.size // 8)

    def give(self, buffer: bytearray) -> None:
        """Take a buffer back."""
        self.given -= 1
        if len(buffer) == self.size and len(self._spare) < min(_SPARE, self.count):
            self._spare.append(buffer)


class Receiving:
    """One upload of known length: while one piece is consumed, the next is received."""

    def __init__(self, cycle: Cycle, consume: Consume) -> None:
        self.cycle = cycle
        self.loop = cycle.proto.loop
        self.consume = consume
        self.buffers = cycle.proto.buffers
        self.pool = cycle.proto.pool
        # Of its own, because the loop does not share a descriptor that one of its transports has.
        descriptor = cycle.proto.transport.get_extra_info("socket").fileno()
        self.socket = socket.socket(fileno=os.dup(descriptor))
        self.left = cycle.proto.body_left or 0
        self.total = 0
        # What was read of the next request.
        self.rest = b""
        self.ended = False
        self.buffer: bytearray | None = None
        self.filled = 0
        self.job: asyncio.Future[None] | None = None
        self.lull: asyncio.TimerHandle | None = None
        # How many bytes must have come before the loop tells of any.
        self.low = 1

    async def run(self) -> int:
        """Receive all that was announced and count it, or raise Disconnected or RequestTimeout."""
        cycle = self.cycle
        first, cycle.body = cycle.body, bytearray()
        try:
            await self._begin(first)
            await self._receive()
        finally:
            await self._stop()
        if self.left:
            raise Disconnected
        return self.total

    async def _begin(self, first: bytearray) -> None:
        """Consume what came with the head."""
        if first:
            self.job = self._start(memoryview(first))

    def _whole(self, buffer: bytearray) -> bool:
        """Tell whether what is in the buffer may be all that comes."""
        return self.filled == len(buffer) or not self.left

    async def _decoded(self, buffer: bytearray, count: int) -> int:
        """Leave the body's bytes at the buffer's start and tell how many of *count* they are."""
        del buffer
        return count

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
                self._wait_for(self._worth())
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
        end = min(len(buffer), self.filled + self.left)
        try:
            count = self.socket.recv_into(memoryview(buffer)[self.filled : end])
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
            self.lull = self.loop.call_later(LULL, self._slow)
        elif self._worth() < self.low:
            self._wait_for(self._worth())

    def _worth(self) -> int:
        """Say how many bytes are sure to come, and worth a look."""
        return min(WORTH_READING, self.left)

    def _wait_for(self, count: int) -> None:
        """Have the loop tell of bytes when so many came, or at once after a lull."""
        if count != self.low:
            self.low = count
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
        if count > 1 and self.lull is None:
            self.lull = self.loop.call_later(LULL, self._slow)

    def _slow(self) -> None:
        self.lull = None
        done = self.cycle.waiting_for
        if done is None or done.done():
            return
        if self.low > 1:
            self._wait_for(1)
            self._readable()
        if self.filled and not done.done():
            done.set_result(None)

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

    def _start(self, piece: memoryview) -> asyncio.Future[None]:
        self.total += len(piece)
        return self.loop.run_in_executor(self.pool, self.consume, piece)

    def _consumed(self, buffer: bytearray, _: asyncio.Future[None]) -> None:
        self.buffers.give(buffer)

    async def _settle(self) -> None:
        job, self.job = self.job, None
        if job is not None:
            await settled(job)

    async def _stop(self) -> None:
        # The connection's own descriptor is of the same socket, and heads are short.
        with contextlib.suppress(OSError):
            self._wait_for(1)
        self.socket.close()
        try:
            await self._settle()
        finally:
            self._give_back()

    def _give_back(self) -> None:
        if self.buffer is not None:
            self.buffers.give(self.buffer)
            self.buffer = None


class ReceivingChunks(Receiving):
    """One upload in chunks, which may read further than the body's end."""

    def __init__(self, cycle: Cycle, consume: Consume) -> None:
        super().__init__(cycle, consume)
        self.left = _UNKNOWN
        self.chunks = Chunks()

    @override
    async def _begin(self, first: bytearray) -> None:
        """Consume what came with the head."""
        size = await self._decoded(first, len(first))
        if size:
            self.job = self._start(memoryview(first)[:size])

    @override
    def _whole(self, buffer: bytearray) -> bool:
        """Tell whether what is in the buffer may be all that comes: a last chunk looks so."""
        if self.filled == len(buffer):
            return True
        return buffer.endswith(_LAST, max(0, self.filled - len(_LAST)), self.filled) or (
            self.filled < len(_LAST) and buffer[self.filled - 1] == _NEWLINE
        )

    @override
    def _worth(self) -> int:
        """Say how many bytes are worth a look: any may be the last."""
        return 1

    @override
    async def _decoded(self, buffer: bytearray, count: int) -> int:
        """Take the data out of the chunks; raise RequestMalformed."""
        at = size = 0
        while at < count and not self.chunks.ended:
            at, size = self.chunks.decode(buffer, start=at, end=count, into=size, most=_AT_ONCE)
            if at < count and not self.chunks.ended:
                await asyncio.sleep(0)
        if self.chunks.ended:
            self.rest = bytes(buffer[at:count])
            self.left = 0
        return size
