"""A real server with a small application, and raw connections to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from starlette.types import Receive, Scope, Send

from moorage.api.http import responses
from moorage.api.http.bodies import Body
from moorage.api.http.limits import Limits
from moorage.api.http.problems import RequestTimeout
from moorage.api.http.protocol import Protocol
from moorage.api.http.server import Server

MIB = 1024 * 1024
BIG = bytes(range(256)) * (3 * MIB // 256)
# How long what must come may take to come, on a machine that is busy with other things.
SECONDS = 60.0
# Only for who never moves again: a busy machine may keep anybody from anything for so long.
IMPATIENT = Limits(pace_seconds=0.2, pace_bytes=1)
GET = b"GET /hello HTTP/1.1\r\nHost: here\r\n\r\n"


@dataclass
class App:
    """A small application, and what happened in it."""

    file: Path
    kept: bytearray = field(default_factory=bytearray)
    ended: list[str] = field(default_factory=list)
    extensions: list[set[str]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.extensions.append(set(scope.get("extensions") or {}))
        handler: Callable[..., Awaitable[None]] = getattr(self, scope["path"].strip("/"))
        try:
            await handler(scope, receive, send)
        except BaseException as error:
            await self.end(type(error).__name__)
            raise
        await self.end("answered")

    async def end(self, how: str) -> None:
        async with self.changed:
            self.ended.append(how)
            self.changed.notify_all()

    async def until(self, count: int) -> list[str]:
        """Wait until *count* requests have ended, and say how."""
        async with asyncio.timeout(SECONDS), self.changed:
            await self.changed.wait_for(lambda: len(self.ended) >= count)
        return self.ended

    async def until_kept(self, count: int) -> None:
        async with asyncio.timeout(SECONDS), self.changed:
            await self.changed.wait_for(lambda: len(self.kept) >= count)

    async def hello(self, scope: Scope, receive: Receive, send: Send) -> None:
        await responses.send_bytes(scope, send, b"hello")

    async def path(self, scope: Scope, receive: Receive, send: Send) -> None:
        await responses.send_bytes(scope, send, b"%b" % scope["headers"].__repr__().encode())

    async def push(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()

        async def tell() -> None:
            async with self.changed:
                self.changed.notify_all()

        def consume(piece: memoryview) -> None:
            self.threads.add(threading.get_ident())
            self.kept += piece
            loop.call_soon_threadsafe(lambda: loop.create_task(tell()))

        try:
            count = await Body(scope, receive).drain(consume)
        except RequestTimeout as slow:
            await responses.send_bytes(scope, send, str(slow).encode(), status=408)
            return
        await responses.send_bytes(scope, send, b"%d" % count, status=201)

    async def read(self, scope: Scope, receive: Receive, send: Send) -> None:
        await responses.send_bytes(scope, send, await Body(scope, receive).read(1000))

    async def limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        def consume(_: memoryview) -> None:
            raise OSError(28, "no space")

        try:
            await Body(scope, receive).drain(consume)
        except OSError:
            await responses.send_bytes(scope, send, b"full", status=507)

    async def refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await responses.send_bytes(scope, send, b"no", status=401)

    async def pull(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = self.file.stat().st_size
        await responses.send_file(scope, send, self.file, start=0, end=size)

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(256):
                yield b"s" * MIB

        await responses.send_stream(scope, send, pieces(), length=256 * MIB)

    async def wait(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.hold.wait()
        await responses.send_bytes(scope, send, b"waited")

    async def inject(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"location", b"/a\r\nset-cookie: b=c")]
        await responses.send_bytes(scope, send, headers=headers)


@dataclass
class Site:
    """A server under test, and the ways to talk to it."""

    app: App
    server: Server
    serving: asyncio.Task[None]
    port: int
    clients: list[Client] = field(default_factory=list)

    async def connect(self, tls: ssl.SSLContext | None = None) -> Client:
        streams = await asyncio.open_connection("127.0.0.1", self.port, limit=16 * MIB, ssl=tls)
        self.clients.append(Client(*streams))
        return self.clients[-1]

    async def stop(self) -> None:
        self.server.stop()
        await self.serving

    @property
    def connections(self) -> list[Protocol]:
        return cast("list[Protocol]", list(self.server.server_state.connections))

    async def until_closed(self) -> None:
        await eventually(lambda: not self.connections)

    def let_time_pass(self) -> None:
        """Come to the end of a window of time, as its timer would, in every connection whose other end is waited for."""
        for connection in self.connections:
            if connection.waiting:
                connection._expired()


@dataclass
class Client:
    """One connection, spoken to in bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, body: bool = True) -> tuple[int, dict[bytes, bytes], bytes]:
        """Read one answer: its status, headers and body."""
        async with asyncio.timeout(SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head[:-4].split(b"\r\n")
            headers = dict(line.split(b": ", 1) for line in lines)
            length = int(headers.get(b"content-length", 0)) if body else 0
            return int(first.split()[1]), headers, await self.reader.readexactly(length)

    async def closed(self) -> bytes:
        """Wait for the other end to close, and give what came before."""
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
            return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def stop_reading(self) -> None:
        cast("asyncio.ReadTransport", self.writer.transport).pause_reading()

    def go_on_reading(self) -> None:
        cast("asyncio.ReadTransport", self.writer.transport).resume_reading()

    def cut(self) -> None:
        self.writer.transport.abort()


async def eventually(true: Callable[[], bool]) -> None:
    """Wait for what nothing tells of."""
    async with asyncio.timeout(SECONDS):
        while not true():
            await asyncio.sleep(0.01)


def push(size: int, *, path: bytes = b"/push", more: bytes = b"") -> bytes:
    return b"PATCH %b HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n%b\r\n" % (
        path,
        size,
        more,
    )


def descriptors() -> set[str]:
    """Name the open sockets and blobs: the loop has other descriptors of its own."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(link.readlink())
            if target.startswith("socket:") or target.endswith("/blob"):
                found.add(f"{link.name} {target}")
    return found


Start = Callable[..., Awaitable[Site]]


@pytest.fixture
async def start_site(tmp_path: Path) -> AsyncIterator[Start]:
    sites: list[Site] = []
    file = tmp_path / "blob"
    file.write_bytes(BIG)

    async def started(limits: Limits, grace: float = 5.0, tls: ssl.SSLContext | None = None) -> Site:
        app = App(file)
        server = Server(app, limits=limits, grace=grace, tls=tls)
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        port = listening.getsockname()[1]
        serving = asyncio.create_task(server.serve([listening]))
        await server.up.wait()
        sites.append(Site(app, server, serving, port))
        return sites[-1]

    yield started
    for site in sites:
        for client in site.clients:
            client.cut()
        site.server.grace = 0
        await site.stop()


@pytest.fixture
async def site(start_site: Start) -> Site:
    return await start_site(Limits())


@pytest.fixture
async def impatient(start_site: Start) -> Site:
    return await start_site(IMPATIENT)


@pytest.fixture
async def wire(site: Site) -> Client:
    return await site.connect()


CHUNKED = {
    "past the parser": b"PATCH /push HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    # With an empty line before it, the head's end is not as easily found.
    "plain": b"\r\nPATCH /push HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
}


@pytest.fixture(params=CHUNKED)
def chunked(request: pytest.FixtureRequest) -> bytes:
    return CHUNKED[request.param]
