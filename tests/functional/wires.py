"""Requests on connections of their own, read and written when a test says so and not before."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field

from tests.functional.http_world import MIB, SECONDS

# What a client's machine takes that the client has not read.
SMALL = 16 * 1024


@dataclass
class Wire:
    """One connection, and what was read on it after a head."""

    socket: socket.socket
    got: bytearray = field(default_factory=bytearray)

    async def send(self, data: bytes) -> None:
        """Send it all."""
        async with asyncio.timeout(SECONDS):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def head(self) -> bytes:
        """Read the answer's head, and what comes with it."""
        async with asyncio.timeout(SECONDS):
            while b"\r\n\r\n" not in self.got:
                assert await self._piece(SMALL), "the connection ended"
        head, _, self.got = self.got.partition(b"\r\n\r\n")
        return bytes(head + b"\r\n")

    async def read(self, count: int) -> None:
        """Read so much more."""
        end = len(self.got) + count
        async with asyncio.timeout(SECONDS):
            while len(self.got) < end:
                assert await self._piece(end - len(self.got)), "the connection ended"

    async def rest(self) -> None:
        """Read until the connection ends, however that is."""
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionError):
                while await self._piece(MIB):
                    pass

    def stands(self) -> bool:
        """Say whether nothing came, not even an end."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False

    async def _piece(self, most: int) -> bytes:
        piece = await asyncio.get_running_loop().sock_recv(self.socket, min(most, MIB))
        self.got += piece
        return piece


async def connect(port: int, *, segment: int = 0) -> Wire:
    """Connect from a machine that takes little that its client has not read, in segments as small as those of a far one."""
    made = socket.socket()
    made.settimeout(0)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    if segment:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
    try:
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    except OSError:
        made.close()
        raise
    return Wire(made)
