"""A file sent from the kernel, as fast as the other end takes it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from moorage.storage.store import Disconnected

if TYPE_CHECKING:
    from moorage.api.http.cycle import Cycle

# What one call may send: other connections wait so long.
STRIDE = 2 * 1024 * 1024


class Sending:
    """One download: it works when the socket takes bytes and otherwise costs nothing.

    It writes to a duplicate of the socket, because the loop does not share a descriptor that one of
    its transports has.
    """

    __slots__ = ("at", "cycle", "end", "file", "out")

    def __init__(self, cycle: Cycle, file: int, start: int, end: int) -> None:
        self.cycle = cycle
        self.file = file
        self.at = start
        self.end = end
        self.out = -1

    async def run(self) -> None:
        """Send it all, or cut the connection and raise."""
        proto = self.cycle.proto
        proto.waits()
        whole = False
        try:
            # The answer's head is written at the end of the loop's turn, and goes first.
            await asyncio.sleep(0)
            if self.cycle.disconnected:
                raise Disconnected
            self.out = os.dup(proto.transport.get_extra_info("socket").fileno())
            await self._send()
            whole = True
        finally:
            proto.goes_on()
            if self.out >= 0:
                os.close(self.out)
            if not whole:
                self.cycle.disconnected = True
                proto.transport.abort()

    async def _send(self) -> None:
        loop = self.cycle.proto.loop
        done = self.cycle.waiting_for = loop.create_future()
        self._step()
        if not done.done():
            loop.add_writer(self.out, self._step)
        try:
            await done
        finally:
            loop.remove_writer(self.out)
            self.cycle.waiting_for = None

    def _step(self) -> None:
        done = self.cycle.waiting_for
        if done is None or done.done():
            return
        if self.cycle.transport.get_write_buffer_size():
            return
        try:
            sent = os.sendfile(self.out, self.file, self.at, min(self.end - self.at, STRIDE))
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionError:
            done.set_exception(Disconnected())
            return
        except OSError as error:
            done.set_exception(error)
            return
        self.at += sent
        self.cycle.proto.moved += sent
        self.cycle.went += sent
        if self.at >= self.end:
            done.set_result(None)
        elif not sent:
            done.set_exception(EOFError("the file is shorter than the answer announced"))
