"""Long bodies past the parser, over raw sockets: whole, cut, stalled and slow."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading
from dataclasses import replace
from functools import partial

import pytest

from moorage.api.http import receiving
from moorage.api.http.bodies import RECEIVE
from moorage.api.http.cycle import Cycle
from moorage.api.http.limits import Limits
from moorage.api.http.protocol import Protocol
from tests.functional.http_world import (
    BIG,
    CHUNKED,
    GET,
    MIB,
    SECONDS,
    Client,
    Site,
    Start,
    descriptors,
    eventually,
    push,
)

# Uploads


async def test_a_long_upload_is_read_past_the_parser_and_the_connection_goes_on(site: Site, wire: Client):
    await wire.send(push(len(BIG)) + BIG + GET)

    pushed, then = await wire.answer(), await wire.answer()

    assert (pushed[0], pushed[2], then[2]) == (201, b"%d" % len(BIG), b"hello")
    assert hashlib.sha256(site.app.kept).digest() == hashlib.sha256(BIG).digest()
    assert RECEIVE in site.app.extensions[0]
    assert RECEIVE not in site.app.extensions[1]
    assert threading.get_ident() not in site.app.threads


@pytest.mark.parametrize("rest", [-1, 0, 1, receiving.WORTH_READING + 1])
async def test_a_tail_too_short_to_be_worth_reading_is_read_all_the_same(
    site: Site, wire: Client, monkeypatch: pytest.MonkeyPatch, rest: int
):
    # Nobody is saved by the clock here.
    monkeypatch.setattr(receiving, "LULL", 10 * SECONDS)
    body = (BIG * 2)[: 2 * MIB + rest]
    await wire.send(push(len(body)) + body[:300])
    await site.app.until_kept(300)

    for at in range(300, len(body), 100_000):
        await wire.send(body[at : at + 100_000])
    await wire.send(GET)

    assert [(await wire.answer())[0] for _ in range(2)] == [201, 200]
    assert bytes(site.app.kept) == body


async def test_bytes_that_are_not_worth_reading_are_kept_after_a_lull(site: Site, wire: Client):
    await wire.send(push(2 * MIB) + BIG[:300])
    await site.app.until_kept(300)

    for kept in (400, 500):
        await wire.send(BIG[kept - 100 : kept])
        await site.app.until_kept(kept)

    assert bytes(site.app.kept) == BIG[:500]


async def test_two_long_uploads_share_a_connection(site: Site, wire: Client):
    await wire.send((push(len(BIG)) + BIG) * 2)

    statuses = [(await wire.answer())[0] for _ in range(2)]

    assert statuses == [201, 201]
    assert bytes(site.app.kept) == BIG * 2


async def test_a_long_upload_behind_another_request_takes_the_plain_way(site: Site, wire: Client):
    await wire.send(GET + push(len(BIG)) + BIG + GET)

    bodies = [(await wire.answer())[2] for _ in range(3)]

    assert bodies == [b"hello", b"%d" % len(BIG), b"hello"]
    assert bytes(site.app.kept) == BIG
    assert RECEIVE not in site.app.extensions[1]


@pytest.mark.parametrize("size", [10_000, 50_000, 2 * MIB])
async def test_an_upload_in_chunks_arrives_whole_and_the_connection_goes_on(
    site: Site, wire: Client, chunked: bytes, size: int
):
    pieces = [BIG[at : at + size] for at in range(0, len(BIG), size)]
    chunks = b"".join(b"%x;e=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    await wire.send(chunked + chunks + b"0\r\nX: y\r\n\r\n" + GET)

    pushed, then = await wire.answer(), await wire.answer()

    assert (pushed[2], then[2]) == (b"%d" % len(BIG), b"hello")
    assert bytes(site.app.kept) == BIG
    assert (RECEIVE in site.app.extensions[0]) == (chunked[:1] == b"P")


async def test_chunks_that_come_byte_by_byte_are_put_together(site: Site, wire: Client, chunked: bytes):
    for byte in chunked + b"5\r\nhello\r\n3;x\r\n yo\r\n0\r\n\r\n":
        await wire.send(bytes([byte]))
        await asyncio.sleep(0)

    status, _, _ = await wire.answer()

    assert status == 201
    assert bytes(site.app.kept) == b"hello yo"


async def test_a_body_in_chunks_that_is_read_in_the_plain_way_is_the_same(site: Site, wire: Client):
    head = CHUNKED["past the parser"].replace(b"/push", b"/read")
    await wire.send(head + b"5\r\nhel")
    await wire.send(b"lo\r\n0\r\n\r\n" + GET)

    read, then = await wire.answer(), await wire.answer()

    assert (read[2], then[2]) == (b"hello", b"hello")
    assert RECEIVE in site.app.extensions[0]


async def test_a_body_in_chunks_that_nobody_reads_closes_the_connection(wire: Client):
    head = CHUNKED["past the parser"].replace(b"/push", b"/refuse")
    await wire.send(head + b"5\r\nhel")

    status, headers, _ = await wire.answer()

    assert (status, headers[b"connection"]) == (401, b"close")


async def test_a_small_body_is_not_sent_to_a_thread(site: Site, wire: Client):
    await wire.send(push(5) + b"small")

    status, _, _ = await wire.answer()

    assert status == 201
    assert site.app.threads == {threading.get_ident()}


async def test_a_client_that_expects_100_continue_gets_it_before_it_sends(site: Site, wire: Client):
    await wire.send(push(len(BIG), more=b"Expect: 100-continue\r\n"))
    interim = await wire.reader.readuntil(b"\r\n\r\n")
    await wire.send(BIG + GET)

    pushed, then = await wire.answer(), await wire.answer()

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (pushed[0], then[0]) == (201, 200)


async def test_a_refusal_instead_of_100_continue_closes_the_connection(wire: Client):
    await wire.send(push(5, path=b"/refuse", more=b"Expect: 100-continue\r\n"))

    status, headers, _ = await wire.answer()

    assert (status, headers[b"connection"]) == (401, b"close")
    assert await wire.closed() == b""


async def test_a_short_body_that_was_refused_unread_is_dropped(wire: Client):
    await wire.send(push(1000, path=b"/refuse") + b"x" * 400)
    refused, _, _ = await wire.answer()
    await wire.send(b"x" * 600 + GET)

    status, _, _ = await wire.answer()

    assert (refused, status) == (401, 200)


async def test_a_client_that_goes_on_sending_a_long_refused_body_gets_the_answer(
    wire: Client,
):
    await wire.send(push(100 * MIB, path=b"/refuse"))
    await wire.send(b"x" * (8 * MIB))

    status, headers, body = await wire.answer()

    assert (status, headers[b"connection"], body) == (401, b"close", b"no")


async def test_a_consumer_that_fails_is_answered_for_and_the_connection_closed(
    wire: Client,
):
    await wire.send(push(len(BIG), path=b"/limited") + BIG[: 2 * MIB])

    status, headers, _ = await wire.answer()

    assert (status, headers[b"connection"]) == (507, b"close")


# Uploads that end too early


@pytest.mark.parametrize(
    "head", [push(len(BIG)), *[head + b"%x\r\n" % len(BIG) for head in CHUNKED.values()]]
)
async def test_a_cut_upload_keeps_what_came(site: Site, head: bytes):
    client = await site.connect()
    await client.send(head + BIG[: 2 * MIB])
    await client.close()

    ended = await site.app.until(1)

    assert ended == ["Disconnected"]
    assert bytes(site.app.kept) == BIG[: 2 * MIB]


@pytest.mark.parametrize("size", [len(BIG), 1000])
@pytest.mark.parametrize("way", ["length", *CHUNKED])
async def test_a_stalled_upload_keeps_what_came_and_is_answered_408(site: Site, size: int, way: str):
    before = descriptors()
    client = await site.connect()
    head = push(size) if way == "length" else CHUNKED[way] + b"%x\r\n" % size
    await client.send(head + BIG[: size // 2])
    await eventually(lambda: _came(site, size) >= size // 2)
    answering = asyncio.create_task(client.answer())
    while not answering.done():
        site.let_time_pass()
        await asyncio.sleep(0.01)

    status, headers, body = await answering

    assert (status, headers[b"connection"]) == (408, b"close")
    assert b"at least" in body
    assert bytes(site.app.kept) == BIG[: size // 2]
    await client.close()
    await site.until_closed()
    assert descriptors() <= before


def _came(site: Site, size: int) -> int:
    """Count the bytes that came of a body; what is short is consumed only when it is whole, or ends."""
    kept = len(site.app.kept)
    return kept if size > 1000 else max(kept, site.connections[0].moved)


async def test_an_upload_that_never_moves_again_is_answered_408_in_time(impatient: Site):
    client = await impatient.connect()
    await client.send(push(1000) + BIG[:500])

    assert (await client.answer())[0] == 408
    await client.close()


async def test_a_slow_upload_that_moves_passes(start_site: Start):
    site = await start_site(replace(Limits(), pace_bytes=1))
    client = await site.connect()
    size = 300 * 1024
    await client.send(push(size) + BIG[: size - 8])
    await site.app.until_kept(size - 8)
    for at in range(size - 8, size):
        await eventually(lambda: site.connections[0].waiting)
        site.let_time_pass()
        await client.send(BIG[at : at + 1])
        await site.app.until_kept(at + 1)

    status, _, _ = await client.answer()

    assert status == 201
    assert bytes(site.app.kept) == BIG[:size]
    await client.close()


async def test_stalled_uploads_hold_no_buffers(start_site: Start):
    site = await start_site(Limits())
    clients = [await site.connect() for _ in range(100)]
    for client in clients:
        await client.send(push(100 * MIB) + BIG[:MIB])
    await site.app.until_kept(100 * MIB)

    buffers = site.connections[0].buffers
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

    assert descriptors() <= before


# Downloads


async def test_a_file_is_sent_whole_and_the_connection_goes_on(wire: Client):
    await wire.send(b"GET /pull HTTP/1.1\r\nHost: h\r\n\r\n" + GET)

    pulled, then = await wire.answer(), await wire.answer()

    assert hashlib.sha256(pulled[2]).digest() == hashlib.sha256(BIG).digest()
    assert then[2] == b"hello"


async def test_head_of_a_file_has_its_length_and_no_bytes(wire: Client):
    await wire.send(b"HEAD /pull HTTP/1.1\r\nHost: h\r\n\r\n" + GET)

    status, headers, _ = await wire.answer(body=False)
    _, _, then = await wire.answer()

    assert (status, headers[b"content-length"], then) == (
        200,
        b"%d" % len(BIG),
        b"hello",
    )


def enlarge(site: Site) -> None:
    os.truncate(site.app.file, 256 * MIB)


@pytest.mark.parametrize("path", [b"/pull", b"/stream"])
async def test_a_stalled_download_is_cut_and_leaves_no_descriptor(impatient: Site, path: bytes):
    enlarge(impatient)
    before = descriptors()
    client = await impatient.connect()
    client.stop_reading()
    await client.send(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path)

    ended = await impatient.app.until(1)

    assert ended == ["Disconnected"]
    await impatient.until_closed()
    client.cut()
    await eventually(lambda: descriptors() <= before)


async def test_stalled_downloads_cost_nothing_and_let_others_pass(site: Site):
    enlarge(site)
    clients = [await site.connect() for _ in range(200)]
    for client in clients:
        client.stop_reading()
        await client.send(b"GET /pull HTTP/1.1\r\nHost: h\r\n\r\n")
    other = await site.connect()

    # The kernel may take a little more, a while after it took no more.
    async with asyncio.timeout(SECONDS):
        while not await _stand_still(site, other, 200):
            pass

    assert threading.active_count() < 50
    for client in [other, *clients]:
        client.cut()
    await eventually(lambda: site.app.ended.count("Disconnected") == 200)


async def _stand_still(site: Site, other: Client, count: int) -> bool:
    """Tell whether so many downloads wait, and move nothing while another client is answered."""
    running = [connection.running for connection in site.connections]
    stalled = [cycle for cycle in running if isinstance(cycle, Cycle) and cycle.waiting_for]
    moved = [cycle.proto.moved for cycle in stalled]
    for _ in range(50):
        await other.send(GET)
        await other.answer()
    return len(stalled) == count and [cycle.proto.moved for cycle in stalled] == moved


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
    assert descriptors() <= before


def _has_moved(site: Site, connection: Protocol, before: int) -> bool:
    """Tell whether a download moved enough, or is at its end."""
    return _has_taken(connection, before + Limits().pace_bytes) or bool(site.app.ended)


async def test_a_slow_download_passes_though_the_kernel_takes_its_bytes_in_strides(site: Site):
    enlarge(site)
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.settimeout(0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        await loop.sock_connect(client, ("127.0.0.1", site.port))
        await loop.sock_sendall(client, b"GET /pull HTTP/1.1\r\nHost: h\r\n\r\n")
        await eventually(lambda: any(connection.waiting for connection in site.connections))
        (connection,) = site.connections
        for _ in range(40):
            taken, left = connection.taken(), 64 * 1024
            while left:
                left -= len(await loop.sock_recv(client, left))
            await eventually(partial(_has_taken, connection, taken + Limits().pace_bytes))
            site.let_time_pass()

        assert (site.app.ended, site.connections) == ([], [connection])


def _has_taken(connection: Protocol, count: int) -> bool:
    return connection.taken() >= count


async def test_a_slow_download_that_moves_passes(site: Site):
    os.truncate(site.app.file, 24 * MIB)
    client = await site.connect()
    client.stop_reading()
    await client.send(b"GET /pull HTTP/1.1\r\nHost: h\r\n\r\n")
    await eventually(lambda: any(connection.waiting for connection in site.connections))
    (connection,) = site.connections
    while not site.app.ended:
        moved = connection.taken()
        client.go_on_reading()
        await eventually(partial(_has_moved, site, connection, moved))
        client.stop_reading()
        site.let_time_pass()

    assert site.app.ended == ["answered"]
    client.cut()
