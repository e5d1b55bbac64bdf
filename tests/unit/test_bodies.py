"""Request bodies over plain ASGI."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from moorage.api.http.bodies import WORTH_A_THREAD, Body
from moorage.api.http.problems import RequestTimeout
from moorage.oci.errors import ManifestTooLarge
from moorage.storage.store import Disconnected

LONG = b"x" * WORTH_A_THREAD


class Caller:
    """Sends *parts*, then does what *end* says; counts how often it was asked."""

    def __init__(self, *parts: bytes, end: str | Exception = "whole") -> None:
        self.parts = list(parts)
        self.end = end
        self.asked = 0

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        if self.parts:
            more = len(self.parts) > 1 or self.end != "whole"
            return {"type": "http.request", "body": self.parts.pop(0), "more_body": more}
        if isinstance(self.end, Exception):
            raise self.end
        return {"type": "http.disconnect"}


def body(
    caller: Caller, *, length: int | None = None, receive: Callable[..., Awaitable[int]] | None = None
) -> Body:
    headers = [] if length is None else [(b"content-length", b"%d" % length)]
    extensions = {} if receive is None else {"moorage.receive": receive}
    scope = {"type": "http", "headers": headers, "extensions": extensions}
    return Body(scope, caller.receive)


async def drained(given: Body) -> tuple[list[bytes], set[int]]:
    pieces: list[bytes] = []
    threads = set()

    def consume(piece: memoryview) -> None:
        pieces.append(bytes(piece))
        threads.add(threading.get_ident())

    await given.drain(consume)
    return pieces, threads


async def test_a_long_body_is_consumed_in_order_and_off_the_loop():
    parts = [bytes([n]) * WORTH_A_THREAD for n in range(20)]

    pieces, threads = await drained(body(Caller(*parts)))

    assert pieces == parts
    assert threading.get_ident() not in threads


async def test_pieces_are_consumed_one_at_a_time():
    running = []
    most = []

    def consume(_: memoryview) -> None:
        running.append(1)
        most.append(len(running))
        running.pop()

    count = await body(Caller(*[LONG] * 20)).drain(consume)

    assert count == 20 * len(LONG)
    assert max(most) == 1


async def test_a_small_body_is_consumed_on_the_loop():
    pieces, threads = await drained(body(Caller(b"small", b" body")))

    assert pieces == [b"small body"]
    assert threads == {threading.get_ident()}


async def test_small_pieces_are_joined():
    pieces = [piece async for piece in body(Caller(*[b"x" * 1000] * 100))]

    assert [len(piece) for piece in pieces] == [66_000, 34_000]


async def test_an_empty_body_has_no_pieces():
    given = body(Caller(b""), length=0)

    assert [piece async for piece in given] == []
    assert given.length == 0


@pytest.mark.parametrize(("end", "error"), [("cut", Disconnected), (RequestTimeout(), RequestTimeout)])
async def test_a_cut_body_hands_on_what_came_and_then_says_so(end: str | Exception, error: type[Exception]):
    pieces = []

    with pytest.raises(error):
        await body(Caller(LONG, b"rest", end=end)).drain(lambda piece: pieces.append(bytes(piece)))

    assert b"".join(pieces) == LONG + b"rest"


async def test_what_a_consumer_raises_ends_the_body():
    caller = Caller(*[LONG] * 20)

    def consume(_: memoryview) -> None:
        raise OSError(28, "full")

    with pytest.raises(OSError, match="full"):
        await body(caller).drain(consume)

    assert caller.asked <= 3


async def test_a_cancelled_request_waits_for_the_piece_being_consumed():
    began, may_end = threading.Event(), threading.Event()
    ended = []

    def consume(_: memoryview) -> None:
        began.set()
        may_end.wait(10)
        ended.append(True)

    task = asyncio.create_task(body(Caller(LONG, LONG, LONG)).drain(consume))
    await asyncio.to_thread(began.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    waited = not task.done()
    may_end.set()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert waited
    assert ended == [True]


async def test_the_servers_own_way_is_used_where_it_is_offered():
    async def receive(consume: Callable[[memoryview], None]) -> int:
        consume(memoryview(b"taken"))
        return 5

    caller = Caller()
    pieces, _ = await drained(body(caller, length=5, receive=receive))

    assert (pieces, caller.asked) == ([b"taken"], 0)


async def test_a_body_within_the_limit_is_read_whole():
    assert await body(Caller(b"abc", b"de")).read(5) == b"abcde"


async def test_a_body_announced_too_long_is_refused_unread():
    caller = Caller(b"abcdef")

    with pytest.raises(ManifestTooLarge, match="6 bytes"):
        await body(caller, length=6).read(5)

    assert caller.asked == 0


async def test_a_body_that_grows_too_long_is_read_no_further():
    caller = Caller(*[b"abc"] * 10)

    with pytest.raises(ManifestTooLarge):
        await body(caller).read(5)

    assert caller.asked == 2


async def test_a_body_cut_while_it_is_read_is_no_body():
    with pytest.raises(Disconnected):
        await body(Caller(b"abc", end="cut")).read(5)
