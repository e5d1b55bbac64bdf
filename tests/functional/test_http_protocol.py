"""The HTTP/1.1 protocol over raw sockets, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from moorage.api.http import responses
from moorage.api.http.bodies import RECEIVE, Body
from moorage.api.http.cycle import Cycle
from moorage.api.http.limits import Limits
from moorage.api.http.problems import RequestTimeout
from moorage.api.http.server import Server
from moorage.storage.store import Disconnected

MIB = 1024 * 1024
BIG = bytes(range(256)) * (3 * MIB // 256)
QUICK = Limits(
    head_seconds=0.3,
    idle_seconds=0.4,
    pace_seconds=0.2,
    pace_bytes=1,
    linger_seconds=0.3,
)
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

    async def __call__(
        self, scope: responses.Scope, receive, send: responses.Send
    ) -> None:
        self.extensions.append(set(scope.get("extensions") or {}))
        handler: Callable[..., Awaitable[None]] = getattr(
            self, scope["path"].strip("/")
        )
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
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.ended) >= count)
        return self.ended

    async def until_kept(self, count: int) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.kept) >= count)

    async def hello(self, scope, receive, send) -> None:
        await responses.send_bytes(scope, send, b"hello")

    async def path(self, scope, receive, send) -> None:
        await responses.send_bytes(
            scope, send, b"%b" % scope["headers"].__repr__().encode()
        )

    async def push(self, scope, receive, send) -> None:
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

    async def limited(self, scope, receive, send) -> None:
        def consume(_: memoryview) -> None:
            raise OSError(28, "no space")

        try:
            await Body(scope, receive).drain(consume)
        except OSError:
            await responses.send_bytes(scope, send, b"full", status=507)

    async def refuse(self, scope, receive, send) -> None:
        await responses.send_bytes(scope, send, b"no", status=401)

    async def pull(self, scope, receive, send) -> None:
        size = self.file.stat().st_size
        await responses.send_file(scope, send, self.file, start=0, end=size)

    async def stream(self, scope, receive, send) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(256):
                yield b"s" * MIB

        await responses.send_stream(scope, send, pieces(), length=256 * MIB)

    async def wait(self, scope, receive, send) -> None:
        await self.hold.wait()
        await responses.send_bytes(scope, send, b"waited")

    async def inject(self, scope, receive, send) -> None:
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

    async def connect(self) -> Client:
        streams = await asyncio.open_connection("127.0.0.1", self.port, limit=16 * MIB)
        self.clients.append(Client(*streams))
        return self.clients[-1]

    async def stop(self) -> None:
        self.server.stop()
        await self.serving

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)

    async def until_closed(self) -> None:
        await eventually(lambda: not self.connections)


@dataclass
class Client:
    """One connection, spoken to in bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, *, body: bool = True
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        """Read one answer: its status, headers and body."""
        async with asyncio.timeout(20):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head[:-4].split(b"\r\n")
            headers = dict(line.split(b": ", 1) for line in lines)
            length = int(headers.get(b"content-length", 0)) if body else 0
            return int(first.split()[1]), headers, await self.reader.readexactly(length)

    async def closed(self) -> bytes:
        """Wait for the other end to close, and give what came before."""
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
            return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def cut(self) -> None:
        self.writer.transport.abort()


async def eventually(true: Callable[[], bool]) -> None:
    """Wait for what nothing tells of."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


def push(size: int, *, path: bytes = b"/push", more: bytes = b"") -> bytes:
    return b"PATCH %b HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n%b\r\n" % (
        path,
        size,
        more,
    )


def descriptors() -> int:
    """Count the open sockets and blobs: the loop has other descriptors of its own."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(f"/proc/self/fd/{name}")
            found += target.startswith("socket:") or target.endswith("/blob")
    return found


Start = Callable[[Limits], Awaitable[Site]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    sites: list[Site] = []
    file = tmp_path / "blob"
    file.write_bytes(BIG)

    async def started(limits: Limits = Limits(), grace: float = 5.0) -> Site:
        app = App(file)
        server = Server(app, limits=limits, grace=grace)
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
async def site(start: Start) -> Site:
    return await start(Limits())


@pytest.fixture
async def quick(start: Start) -> Site:
    return await start(QUICK)


@pytest.fixture
async def client(site: Site) -> Client:
    return await site.connect()


# Requests one after another


async def test_pipelined_requests_are_answered_in_order(client: Client):
    await client.send(GET * 20)

    answers = [await client.answer() for _ in range(20)]

    assert [(status, body) for status, _, body in answers] == [(200, b"hello")] * 20


async def test_too_many_pipelined_requests_are_refused_after_the_ones_before(
    start: Start,
):
    site = await start(replace(Limits(), pipelined=3))
    client = await site.connect()
    await client.send(GET * 20)

    statuses = [(await client.answer())[0] for _ in range(5)]

    assert statuses == [200, 200, 200, 200, 429]
    assert await client.closed() == b""
    await client.close()


async def test_a_long_upload_is_read_past_the_parser_and_the_connection_goes_on(
    site: Site, client: Client
):
    await client.send(push(len(BIG)) + BIG + GET)

    pushed, then = await client.answer(), await client.answer()

    assert (pushed[0], pushed[2], then[2]) == (201, b"%d" % len(BIG), b"hello")
    assert hashlib.sha256(site.app.kept).digest() == hashlib.sha256(BIG).digest()
    assert RECEIVE in site.app.extensions[0]
    assert RECEIVE not in site.app.extensions[1]
    assert threading.get_ident() not in site.app.threads


async def test_two_long_uploads_share_a_connection(site: Site, client: Client):
    await client.send((push(len(BIG)) + BIG) * 2)

    statuses = [(await client.answer())[0] for _ in range(2)]

    assert statuses == [201, 201]
    assert bytes(site.app.kept) == BIG * 2


async def test_a_long_upload_behind_another_request_takes_the_plain_way(
    site: Site, client: Client
):
    await client.send(GET + push(len(BIG)) + BIG + GET)

    bodies = [(await client.answer())[2] for _ in range(3)]

    assert bodies == [b"hello", b"%d" % len(BIG), b"hello"]
    assert bytes(site.app.kept) == BIG
    assert RECEIVE not in site.app.extensions[1]


async def test_a_chunked_upload_takes_the_plain_way(site: Site, client: Client):
    await client.send(
        b"PATCH /push HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for at in range(0, len(BIG), 50_000):
        piece = BIG[at : at + 50_000]
        await client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    await client.send(b"0\r\n\r\n" + GET)

    pushed, then = await client.answer(), await client.answer()

    assert (pushed[2], then[2]) == (b"%d" % len(BIG), b"hello")
    assert bytes(site.app.kept) == BIG


async def test_a_small_body_is_not_sent_to_a_thread(site: Site, client: Client):
    await client.send(push(5) + b"small")

    status, _, _ = await client.answer()

    assert status == 201
    assert site.app.threads == {threading.get_ident()}


async def test_a_client_that_expects_100_continue_gets_it_before_it_sends(
    site: Site, client: Client
):
    await client.send(push(len(BIG), more=b"Expect: 100-continue\r\n"))
    interim = await client.reader.readuntil(b"\r\n\r\n")
    await client.send(BIG + GET)

    pushed, then = await client.answer(), await client.answer()

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (pushed[0], then[0]) == (201, 200)


async def test_a_refusal_instead_of_100_continue_closes_the_connection(client: Client):
    await client.send(push(5, path=b"/refuse", more=b"Expect: 100-continue\r\n"))

    status, headers, _ = await client.answer()

    assert (status, headers[b"connection"]) == (401, b"close")
    assert await client.closed() == b""


async def test_a_short_body_that_was_refused_unread_is_dropped(client: Client):
    await client.send(push(1000, path=b"/refuse") + b"x" * 400)
    refused, _, _ = await client.answer()
    await client.send(b"x" * 600 + GET)

    status, _, _ = await client.answer()

    assert (refused, status) == (401, 200)


async def test_a_client_that_goes_on_sending_a_long_refused_body_gets_the_answer(
    client: Client,
):
    await client.send(push(100 * MIB, path=b"/refuse"))
    await client.send(b"x" * (8 * MIB))

    status, headers, body = await client.answer()

    assert (status, headers[b"connection"], body) == (401, b"close", b"no")


async def test_a_consumer_that_fails_is_answered_for_and_the_connection_closed(
    client: Client,
):
    await client.send(push(len(BIG), path=b"/limited") + BIG[: 2 * MIB])

    status, headers, _ = await client.answer()

    assert (status, headers[b"connection"]) == (507, b"close")


# Uploads that end too early


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_cut_upload_keeps_what_came(site: Site, chunked: bool):
    client = await site.connect()
    if chunked:
        await client.send(
            b"PATCH /push HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await client.send(b"%x\r\n%b" % (len(BIG), BIG[: 2 * MIB]))
    else:
        await client.send(push(len(BIG)) + BIG[: 2 * MIB])
    await client.close()

    ended = await site.app.until(1)

    assert ended == ["Disconnected"]
    assert bytes(site.app.kept) == BIG[: 2 * MIB]


@pytest.mark.parametrize("size", [len(BIG), 1000])
async def test_a_stalled_upload_keeps_what_came_and_is_answered_408(
    quick: Site, size: int
):
    before = descriptors()
    client = await quick.connect()
    await client.send(push(size) + BIG[: size // 2])

    status, headers, body = await client.answer()

    assert (status, headers[b"connection"]) == (408, b"close")
    assert b"at least" in body
    assert bytes(quick.app.kept) == BIG[: size // 2]
    await client.close()
    await quick.until_closed()
    assert descriptors() == before


async def test_a_slow_upload_that_moves_passes(quick: Site):
    client = await quick.connect()
    size = 300 * 1024
    await client.send(push(size) + BIG[: size - 8])
    for at in range(size - 8, size):
        await asyncio.sleep(0.1)
        await client.send(BIG[at : at + 1])

    status, _, _ = await client.answer()

    assert status == 201
    assert bytes(quick.app.kept) == BIG[:size]
    await client.close()


async def test_stalled_uploads_hold_no_buffers(start: Start):
    site = await start(Limits())
    clients = [await site.connect() for _ in range(100)]
    for client in clients:
        await client.send(push(100 * MIB) + BIG[:MIB])
    await site.app.until_kept(100 * MIB)

    buffers = next(iter(site.server.server_state.connections)).buffers
    await eventually(lambda: buffers.given == 0)

    assert threading.active_count() < 50
    for client in clients:
        client.cut()
    assert await site.app.until(100) == ["Disconnected"] * 100


async def test_an_upload_that_is_cut_lets_go_of_its_descriptors(site: Site):
    before = descriptors()
    for _ in range(10):
        client = await site.connect()
        await client.send(push(100 * MIB) + BIG[:MIB])
        client.cut()
    await site.app.until(10)
    await site.until_closed()

    assert descriptors() == before


# Downloads


async def test_a_file_is_sent_whole_and_the_connection_goes_on(client: Client):
    await client.send(b"GET /pull HTTP/1.1\r\nHost: h\r\n\r\n" + GET)

    pulled, then = await client.answer(), await client.answer()

    assert hashlib.sha256(pulled[2]).digest() == hashlib.sha256(BIG).digest()
    assert then[2] == b"hello"


async def test_head_of_a_file_has_its_length_and_no_bytes(client: Client):
    await client.send(b"HEAD /pull HTTP/1.1\r\nHost: h\r\n\r\n" + GET)

    status, headers, _ = await client.answer(body=False)
    _, _, then = await client.answer()

    assert (status, headers[b"content-length"], then) == (
        200,
        b"%d" % len(BIG),
        b"hello",
    )


def enlarge(site: Site) -> None:
    os.truncate(site.app.file, 256 * MIB)


@pytest.mark.parametrize("path", [b"/pull", b"/stream"])
async def test_a_stalled_download_is_cut_and_leaves_no_descriptor(
    quick: Site, path: bytes
):
    enlarge(quick)
    before = descriptors()
    client = await quick.connect()
    client.writer.transport.pause_reading()
    await client.send(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)

    ended = await quick.app.until(1)

    assert ended == ["Disconnected"]
    await quick.until_closed()
    client.cut()
    await asyncio.sleep(0)
    assert descriptors() <= before + 1


async def test_stalled_downloads_cost_nothing_and_let_others_pass(site: Site):
    enlarge(site)
    clients = [await site.connect() for _ in range(200)]
    for client in clients:
        client.writer.transport.pause_reading()
        await client.send(b"GET /pull HTTP/1.1\r\nHost: h\r\n\r\n")
    calls = 0
    other = await site.connect()
    for _ in range(50):
        await other.send(GET)
        await other.answer()

    running = [
        connection.running for connection in site.server.server_state.connections
    ]
    stalled = [
        cycle for cycle in running if isinstance(cycle, Cycle) and cycle.waiting_for
    ]
    moved = [cycle.proto.moved for cycle in stalled]
    for _ in range(50):
        await other.send(GET)
        await other.answer()
        calls += 1

    assert len(stalled) == 200
    assert [cycle.proto.moved for cycle in stalled] == moved
    assert threading.active_count() < 50
    for client in [other, *clients]:
        client.cut()
    ended = await site.app.until(300)
    assert ended.count("Disconnected") == 200


async def test_a_download_that_is_cut_ends_its_request(site: Site):
    enlarge(site)
    before = descriptors()
    client = await site.connect()
    await client.send(b"GET /pull HTTP/1.1\r\nHost: h\r\n\r\n")
    await client.reader.readexactly(MIB)
    client.cut()

    ended = await site.app.until(1)

    assert ended == ["Disconnected"]
    await site.until_closed()
    assert descriptors() == before


async def test_a_slow_download_that_moves_passes(quick: Site):
    os.truncate(quick.app.file, 24 * MIB)
    client = await quick.connect()
    await client.send(b"GET /pull HTTP/1.1\r\nHost: h\r\n\r\n")
    for _ in range(24):
        await asyncio.sleep(0.05)
        await client.reader.readexactly(MIB - 10)

    await client.reader.read(1)

    assert await quick.app.until(1) == ["answered"]
    client.cut()


# Heads


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: h\r\nX-A"])
async def test_a_stalled_head_is_answered_408(quick: Site, sent: bytes):
    client = await quick.connect()
    await client.send(sent)

    status, _, _ = await client.answer()

    assert status == 408
    assert await client.closed() == b""
    await client.close()


async def test_a_dripped_head_is_answered_408(quick: Site):
    client = await quick.connect()
    await client.send(GET)
    await client.answer()

    async def drip() -> None:
        for letter in b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 1000:
            with contextlib.suppress(ConnectionError):
                await client.send(bytes([letter]))
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())

    status, _, _ = await client.answer()

    assert status == 408
    dripping.cancel()
    await client.close()


async def test_a_connection_without_requests_is_closed(quick: Site):
    client = await quick.connect()
    await client.send(GET)
    await client.answer()

    assert await client.closed() == b""
    await client.close()


@pytest.mark.parametrize("piece", [b"X-%d: y\r\n", b"x", b"X: y\r\n y\r\n"])
async def test_an_endless_head_is_refused_and_not_kept(site: Site, piece: bytes):
    client = await site.connect()
    line = b"".join(piece % n if b"%" in piece else piece for n in range(10_000))
    await client.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")

    async def flood() -> None:
        with contextlib.suppress(ConnectionError):
            for _ in range(100 * MIB // len(line)):
                await client.send(line)

    flooding = asyncio.create_task(flood())
    status, _, _ = await client.answer()

    assert status in {400, 431}
    assert site.app.ended == []
    flooding.cancel()
    client.cut()


async def test_five_thousand_headers_are_refused(client: Client):
    lines = b"".join(b"X-%d: y\r\n" % n for n in range(5000))
    await client.send(b"GET /hello HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n")

    status, _, _ = await client.answer()

    assert status == 431


async def test_a_long_head_in_one_piece_is_refused(client: Client):
    await client.send(
        b"GET /hello HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n" % (b"y" * 40_000)
    )

    status, _, _ = await client.answer()

    assert status == 431


async def test_a_head_behind_a_long_body_is_not_taken_for_a_long_head(client: Client):
    body = b"x" * 100_000
    await client.send(push(len(body)) + body + GET[:20])
    first, _, _ = await client.answer()
    await client.send(GET[20:])

    second, _, _ = await client.answer()

    assert (first, second) == (201, 200)


AMBIGUOUS = {
    "no host": (b"GET /hello HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "two hosts in 1.0": (b"GET /hello HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "a target elsewhere": (b"GET http://evil/hello HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "length and coding": (
        push(5, more=b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
        400,
    ),
    "coding and length": (
        b"PATCH /push HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        400,
    ),
    "two lengths": (push(5, more=b"Content-Length: 6\r\n") + b"hello", 400),
    "the same length twice": (push(5, more=b"Content-Length: 5\r\n") + b"hello", 400),
    "a list of lengths": (
        b"PATCH /push HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n",
        400,
    ),
    "a signed length": (
        b"PATCH /push HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n",
        400,
    ),
    "a length in letters": (
        b"PATCH /push HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n",
        400,
    ),
    "an endless length": (
        b"PATCH /push HTTP/1.1\r\nHost: h\r\nContent-Length: %b\r\n\r\n" % (b"9" * 40),
        400,
    ),
    "an unknown coding": (
        b"PATCH /push HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n",
        None,
    ),
    "chunked not last": (
        b"PATCH /push HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        None,
    ),
    "chunked twice": (
        b"PATCH /push HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        None,
    ),
    "a coding with a tab": (
        b"PATCH /push HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
        None,
    ),
    "chunked in 1.0": (
        b"PATCH /push HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a space before the colon": (b"PATCH /push HTTP/1.1\r\nHost : h\r\n\r\n", 400),
    "a folded line": (b"GET /hello HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400),
    "lines without CR": (b"GET /hello HTTP/1.1\nHost: h\n\n", 400),
    "a bare CR": (b"GET /hello HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400),
    "a NUL": (b"GET /hello HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 400),
    "bytes in the target": (b"GET /h\xff HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "another version": (b"GET /hello HTTP/2.0\r\nHost: h\r\n\r\n", None),
    "no version": (b"GET /hello\r\n\r\n", None),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a proxy's method": (b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_what_two_servers_might_read_in_two_ways_is_refused(
    site: Site, client: Client, name: str
):
    request, expected = AMBIGUOUS[name]
    await client.send(request + GET)

    status, headers, _ = await client.answer()

    assert status == (expected or status)
    assert status in {400, 501, 505}
    assert headers[b"connection"] == b"close"
    assert await client.closed() == b""
    assert "answered" not in site.app.ended


async def test_garbage_behind_a_request_does_not_spoil_its_answer(
    site: Site, client: Client
):
    await client.send(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n\0\0garbage")
    site.app.hold.set()

    first, second = await client.answer(), await client.answer()

    assert (first[0], first[2], second[0]) == (200, b"waited", 400)


@pytest.mark.parametrize(
    "garbage", [b"zz\r\n", b"-5\r\nhello\r\n", b"5\r\nhelloX\r\n", b"5\nhello"]
)
async def test_a_broken_chunk_ends_the_upload(
    site: Site, client: Client, garbage: bytes
):
    await client.send(
        b"PATCH /push HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    await client.send(garbage + b"0\r\n\r\n" + GET)

    await client.closed()

    assert site.app.ended == ["RequestMalformed"]


async def test_trailers_are_no_headers(site: Site, client: Client):
    await client.send(
        b"PATCH /path HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    await client.send(b"1\r\nx\r\n0\r\nAuthorization: me\r\n\r\n")

    _, _, seen = await client.answer()

    assert b"authorization" not in seen.lower()


@pytest.mark.parametrize("tail", [b"1;" + b"x" * 1000, b"0\r\nX: " + b"y" * 1000])
async def test_endless_trailers_and_extensions_are_refused(
    site: Site, client: Client, tail: bytes
):
    await client.send(
        b"PATCH /push HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    )

    async def flood() -> None:
        with contextlib.suppress(ConnectionError):
            await client.send(tail)
            while True:
                await client.send(b"z" * MIB)

    flooding = asyncio.create_task(flood())

    assert await site.app.until(1) == ["RequestMalformed"]
    flooding.cancel()


@pytest.mark.parametrize("size", [0, 5])
async def test_an_offer_of_another_protocol_is_declined_and_its_body_read(
    site: Site, client: Client, size: int
):
    offer = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    )
    await client.send(push(size, more=offer) + b"x" * size + GET)

    pushed, then = await client.answer(), await client.answer()

    assert (pushed[0], pushed[2], then[2]) == (201, b"%d" % size, b"hello")


async def test_a_header_that_ends_its_line_is_never_sent(client: Client):
    await client.send(b"GET /inject HTTP/1.1\r\nHost: h\r\n\r\n")

    status, headers, _ = await client.answer()

    assert status == 500
    assert b"set-cookie" not in headers


async def test_answers_have_a_date_and_no_server(client: Client):
    await client.send(GET)

    _, headers, _ = await client.answer()

    assert set(headers) == {b"date", b"content-length"}


async def test_an_http_1_0_request_is_answered_and_the_connection_closed(
    client: Client,
):
    await client.send(b"GET /hello HTTP/1.0\r\n\r\n")

    status, headers, _ = await client.answer()

    assert (status, headers[b"connection"]) == (200, b"close")
    assert await client.closed() == b""


# Ending


async def test_an_upload_in_flight_finishes_within_the_grace(site: Site):
    client, idle = await site.connect(), await site.connect()
    await client.send(push(len(BIG)) + BIG[:MIB])
    await site.app.until_kept(MIB)
    stopping = asyncio.create_task(site.stop())
    assert await idle.closed() == b""
    with pytest.raises(ConnectionError):
        await site.connect()
    await client.send(BIG[MIB:])

    status, headers, _ = await client.answer()

    assert (status, headers[b"connection"]) == (201, b"close")
    await stopping
    assert bytes(site.app.kept) == BIG
    await client.close()
    await idle.close()


async def test_an_upload_that_never_ends_is_cut_at_the_grace(start: Start):
    before = descriptors()
    site = await start(Limits(), grace=0.2)
    client = await site.connect()
    await client.send(push(len(BIG)) + BIG[:MIB])
    await site.app.until_kept(MIB)

    await site.stop()

    assert site.app.ended == ["CancelledError"]
    assert await client.closed() == b""
    await client.close()
    assert site.connections == 0
    assert descriptors() == before


async def test_a_process_told_to_end_answers_what_it_has_and_exits_cleanly(
    tmp_path: Path,
):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    ours = str(Path(responses.__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": ours}
    process = subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None
    with (
        process,
        socket.create_connection(
            ("127.0.0.1", int(process.stdout.readline()))
        ) as client,
    ):
        client.sendall(push(4) + b"in")
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "told\n"
        client.sendall(b"to")
        answer = client.recv(4096)

        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert process.wait(10) == 0


PROGRAM = """
import asyncio, signal, socket
from moorage.api.http import responses, server
from moorage.api.http.bodies import Body

async def app(scope, receive, send):
    print("asked", flush=True)
    await responses.send_bytes(scope, send, await Body(scope, receive).read(10))

def told(*_):
    stop.set()
    print("told", flush=True)

async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    await server.serve(
        app, [listening], grace=5, stop=stop, on_ready=lambda: print(port, flush=True)
    )

stop = asyncio.Event()
server.run(main())
"""
