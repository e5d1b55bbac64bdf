"""A body read from the socket into buffers, past the parser, and consumed in worker threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import time
from typing import TYPE_CHECKING

from moorage.api.http.waiting import settled
from moorage.storage.store import Disconnected

if TYPE_CHECKING:
    from moorage.api.http.bodies import Consume
    from moorage.api.http.cycle import Cycle

# A body that pauses for so long is read whatever little came, and gives its buffer back.
LULL = 0.5
# A fast sender's bytes are waited for until there are so many: each wait costs the same. The kernel
# may hold that much for a connection, whether we look or not.
WORTH_READING = 256 * 1024
# How long a thread goes on with one body before others have their turn, in seconds, and how long it
# waits for a sender that kept up so far, in milliseconds.
TURN = 0.05
PATIENCE = 2


class Receiving:
    """One upload of known length: each piece is received, hashed and written while it is in the processor's cache."""

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
            cycle.came = self.total
        if self.left:
            raise Disconnected
        return self.total

    async def _begin(self, first: bytearray) -> None:
        """Consume what came with the head."""
        if first:
            self.job = self._start(memoryview(first))

    async def _receive(self) -> None:
        proto = self.cycle.proto
        while self.left and not self.ended and not self.cycle.disconnected:
            proto.waits()
            try:
                await self._until_worth_reading()
            finally:
                proto.goes_on()
            await self._settle()
            before, self.buffer = self.total, self.buffers.take()
            self.job = self.loop.run_in_executor(self.pool, self._pump, memoryview(self.buffer))
            try:
                await self._settle()
            finally:
                proto.moved += self.total - before
                self._give_back()

    async def _until_worth_reading(self) -> None:
        """Wait until enough came, or anything after a lull, or the sender is gone."""
        done = self.cycle.waiting_for = self.loop.create_future()
        self._tell_of(min(WORTH_READING, self.left))
        self.lull = self.loop.call_later(LULL, self._tell_of, 1)
        self.loop.add_reader(self.socket.fileno(), self._told)
        try:
            await done
        finally:
            self.loop.remove_reader(self.socket.fileno())
            self.cycle.waiting_for = None
            self.lull.cancel()

    def _told(self) -> None:
        done = self.cycle.waiting_for
        if done is not None and not done.done():
            done.set_result(None)

    def _tell_of(self, count: int) -> None:
        """Have the kernel tell of bytes when there are so many."""
        if count != self.low:
            self.low = count
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def _pump(self, buffer: memoryview) -> None:
        """Receive and consume as long as the sender keeps up, for one turn; in a worker thread."""
        ends = time.monotonic() + TURN
        ready = select.poll()
        ready.register(self.socket, select.POLLIN)
        while self.left and time.monotonic() < ends:
            try:
                count = self.socket.recv_into(buffer[: self.left])
            except (BlockingIOError, InterruptedError):
                self._tell_of(min(WORTH_READING, self.left))
                if not ready.poll(PATIENCE):
                    return
                continue
            except OSError:
                count = 0
            if not count:
                self.ended = True
                return
            self.left -= count
            self.total += count
            self.consume(buffer[:count])

    def _start(self, piece: memoryview) -> asyncio.Future[None]:
        """Have a piece consumed in a worker thread."""
        self.total += len(piece)
        return self.loop.run_in_executor(self.pool, self.consume, piece)

    async def _settle(self) -> None:
        job, self.job = self.job, None
        if job is not None:
            await settled(job)

    async def _stop(self) -> None:
        # The connection's own descriptor is of the same socket, and heads are short.
        with contextlib.suppress(OSError):
            self._tell_of(1)
        self.socket.close()
        try:
            await self._settle()
        finally:
            self._give_back()

    def _give_back(self) -> None:
        if self.buffer is not None:
            self.buffers.give(self.buffer)
            self.buffer = None
