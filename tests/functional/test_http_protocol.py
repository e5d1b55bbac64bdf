"""Heads, limits and what may not be read in two ways, over raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from moorage.api.http.limits import Limits
from tests.functional.http_world import GET, MIB, Client, Site, Start, push

# Requests one after another


async def test_pipelined_requests_are_answered_in_order(wire: Client):
    await wire.send(GET * 20)

    answers = [await wire.answer() for _ in range(20)]

    assert [(status, body) for status, _, body in answers] == [(200, b"hello")] * 20


async def test_too_many_pipelined_requests_are_refused_after_the_ones_before(
    start_site: Start,
):
    site = await start_site(replace(Limits(), pipelined=3))
    client = await site.connect()
    await client.send(GET * 20)

    statuses = [(await client.answer())[0] for _ in range(5)]

    assert statuses == [200, 200, 200, 200, 429]
    assert await client.closed() == b""
    await client.close()


# Heads


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: h\r\nX-A"])
async def test_a_stalled_head_is_answered_408(start_site: Start, sent: bytes):
    site = await start_site(replace(Limits(), head_seconds=0.3))
    client = await site.connect()
    await client.send(sent)

    status, _, _ = await client.answer()

    assert status == 408
    assert await client.closed() == b""
    await client.close()


async def test_a_dripped_head_is_answered_408(site: Site):
    client = await site.connect()
    await client.send(GET)
    await client.answer()
    site.connections[0].limits = replace(Limits(), head_seconds=0.3)

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


async def test_a_connection_without_requests_is_closed(start_site: Start):
    site = await start_site(replace(Limits(), idle_seconds=0.4))
    client = await site.connect()
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


async def test_five_thousand_headers_are_refused(wire: Client):
    lines = b"".join(b"X-%d: y\r\n" % n for n in range(5000))
    await wire.send(b"GET /hello HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n")

    status, _, _ = await wire.answer()

    assert status == 431


async def test_a_long_head_in_one_piece_is_refused(wire: Client):
    await wire.send(b"GET /hello HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n" % (b"y" * 40_000))

    status, _, _ = await wire.answer()

    assert status == 431


async def test_a_head_behind_a_long_body_is_not_taken_for_a_long_head(wire: Client):
    body = b"x" * 100_000
    await wire.send(push(len(body)) + body + GET[:20])
    first, _, _ = await wire.answer()
    await wire.send(GET[20:])

    second, _, _ = await wire.answer()

    assert (first, second) == (201, 200)


AMBIGUOUS = {
    "no host": (b"GET /hello HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "two hosts in 1.0": (b"GET /hello HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "two answers to who asks": (
        b"GET /hello HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\nAuthorization: Basic YTpj\r\n\r\n",
        400,
    ),
    "two ranges of a chunk": (
        b"PATCH /push HTTP/1.1\r\nHost: a\r\nContent-Range: 0-1\r\ncontent-range: 2-3\r\n\r\n",
        400,
    ),
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
        b"PATCH / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
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
async def test_what_two_servers_might_read_in_two_ways_is_refused(site: Site, wire: Client, name: str):
    request, expected = AMBIGUOUS[name]
    await wire.send(request + GET)

    status, headers, _ = await wire.answer()

    assert status == (expected or status)
    assert status in {400, 501, 505}
    assert headers[b"connection"] == b"close"
    assert await wire.closed() == b""
    assert "answered" not in site.app.ended


async def test_garbage_behind_a_request_does_not_spoil_its_answer(site: Site, wire: Client):
    await wire.send(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n\0\0garbage")
    site.app.hold.set()

    first, second = await wire.answer(), await wire.answer()

    assert (first[0], first[2], second[0]) == (200, b"waited", 400)


@pytest.mark.parametrize("garbage", [b"zz\r\n", b"-5\r\nhello\r\n", b"5\r\nhelloX\r\n", b"5\nhello"])
async def test_a_broken_chunk_ends_the_upload(site: Site, wire: Client, chunked: bytes, garbage: bytes):
    await wire.send(chunked)
    await wire.send(garbage + b"0\r\n\r\n" + GET)

    await wire.closed()

    assert site.app.ended == ["RequestMalformed"]


async def test_trailers_are_no_headers(site: Site, wire: Client):
    await wire.send(b"PATCH /path HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    await wire.send(b"1\r\nx\r\n0\r\nAuthorization: me\r\n\r\n")

    _, _, seen = await wire.answer()

    assert b"authorization" not in seen.lower()


@pytest.mark.parametrize("tail", [b"1;" + b"x" * 1000, b"0\r\nX: " + b"y" * 1000])
async def test_endless_trailers_and_extensions_are_refused(
    site: Site, wire: Client, chunked: bytes, tail: bytes
):
    await wire.send(chunked)

    async def flood() -> None:
        with contextlib.suppress(ConnectionError):
            await wire.send(tail)
            while True:
                await wire.send(b"z" * MIB)

    flooding = asyncio.create_task(flood())

    assert await site.app.until(1) == ["RequestMalformed"]
    flooding.cancel()


@pytest.mark.parametrize("size", [0, 5])
async def test_an_offer_of_another_protocol_is_declined_and_its_body_read(
    site: Site, wire: Client, size: int
):
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    await wire.send(push(size, more=offer) + b"x" * size + GET)

    pushed, then = await wire.answer(), await wire.answer()

    assert (pushed[0], pushed[2], then[2]) == (201, b"%d" % size, b"hello")


async def test_a_header_that_ends_its_line_is_never_sent(wire: Client):
    await wire.send(b"GET /inject HTTP/1.1\r\nHost: h\r\n\r\n")

    status, headers, _ = await wire.answer()

    assert status == 500
    assert b"set-cookie" not in headers


async def test_answers_have_a_date_and_no_server(wire: Client):
    await wire.send(GET)

    _, headers, _ = await wire.answer()

    assert set(headers) == {b"date", b"content-length"}


async def test_an_http_1_0_request_is_answered_and_the_connection_closed(
    wire: Client,
):
    await wire.send(b"GET /hello HTTP/1.0\r\n\r\n")

    status, headers, _ = await wire.answer()

    assert (status, headers[b"connection"]) == (200, b"close")
    assert await wire.closed() == b""
