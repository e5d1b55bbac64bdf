"""A worker that is told to stop under a hundred transfers: those that move end whole, the others are cut and not half kept."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.site import Site, digest_of
from tests.crash.cells import Cell, cell
from tests.functional.http_world import MIB
from tests.functional.wires import Wire, connect
from tests.servers.fleet import SECONDS, Replica, replica

__all__ = ["cell"]

EACH = 25
# Read past the parser, and more than a socket holds.
SIZE, FIRST = 400_000, 100_000
HELD = int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[1])
LAYER = bytes(range(256)) * ((3 * MIB + 4 * HELD) // 256)
SEGMENT = 536


@dataclass
class Transfer:
    """One request under way."""

    wire: Wire
    content: bytes
    location: str = ""

    @property
    def digest(self) -> str:
        return digest_of(self.content)


@dataclass
class Busy:
    """A worker with transfers under way; each kind is cut in half: the first go on, the second stand still."""

    cell: Cell
    worker: Replica
    authorization: str
    pushes: list[Transfer] = field(default_factory=list)
    chunks: list[Transfer] = field(default_factory=list)
    pulls: list[Transfer] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)

    async def begin(self) -> None:
        await asyncio.gather(*(self._begin(number) for number in range(EACH)))

    async def _begin(self, number: int) -> None:
        content = b"%7d" % number + bytes(SIZE - 7)
        path = f"/v2/library/app/blobs/uploads/?digest={digest_of(content)}"
        self.pushes.append(await self._push("POST", path, content))
        content, location = b"%8d" % number + bytes(SIZE - 8), await self.cell.site.begin()
        self.chunks.append(await self._push("PATCH", location, content))
        for _ in range(2):
            wire = await self._ask(f"GET /v2/library/app/blobs/{digest_of(LAYER)}")
            assert (await wire.head()).startswith(b"HTTP/1.1 200")
            self.pulls.append(Transfer(wire, LAYER))

    async def _push(self, method: str, path: str, content: bytes) -> Transfer:
        wire = await self._ask(f"{method} {path}", "Expect: 100-continue", f"Content-Length: {len(content)}")
        assert (await wire.head()).startswith(b"HTTP/1.1 100")
        await wire.send(content[:FIRST])
        return Transfer(wire, content, path)

    async def _ask(self, request: str, *lines: str) -> Wire:
        wire = await connect(self.worker.port, segment=SEGMENT)
        self.wires.append(wire)
        head = [f"{request} HTTP/1.1", "Host: localhost", f"Authorization: {self.authorization}", *lines]
        await wire.send("".join(f"{line}\r\n" for line in [*head, ""]).encode())
        return wire

    async def until_deaf(self) -> None:
        """Wait until the worker takes no more connections: it was told to stop."""

        async def is_heard() -> bool:
            try:
                (await connect(self.worker.port)).socket.close()
            except ConnectionError:
                return False
            return True

        async with asyncio.timeout(SECONDS):
            while await is_heard():
                await asyncio.sleep(0.01)


@pytest.fixture
async def busy(cell: Cell) -> AsyncIterator[Busy]:
    await cell.site.push_blob(LAYER)
    named = {name.removeprefix("MOORAGE_"): value for name, value in cell.settings.items()}
    given = {name: named[name] for name in ("DATABASE_URL", "STORE_URL", "MASTER_KEY")}
    request = cell.site.client.build_request("GET", "/v2/")
    patient = {"SHUTDOWN_GRACE": "1h", "BODY_IDLE": "1h"}
    with replica(Path(named["DATA"]), **given, **patient) as worker:
        auth = cell.site.client.auth
        assert auth is not None
        authorization = next(auth.sync_auth_flow(request)).headers["authorization"]
        made = Busy(cell, worker, authorization)
        try:
            await made.begin()
            yield made
        finally:
            for wire in made.wires:
                wire.socket.close()


def moving(transfers: Sequence[Transfer]) -> Sequence[Transfer]:
    return transfers[::2]


def standing(transfers: Sequence[Transfer]) -> Sequence[Transfer]:
    return transfers[1::2]


async def each(transfers: Iterable[Transfer], do: Callable[[Transfer], Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*map(do, transfers))


async def test_of_a_hundred_transfers_those_that_move_end_and_the_others_are_cut_and_leave_nothing_half_made(
    busy: Busy,
) -> None:
    process, still = busy.worker.process, [*standing(busy.pushes), *standing(busy.chunks)]
    process.send_signal(signal.SIGTERM)
    await busy.until_deaf()

    await each(moving(busy.pushes), partial(is_answered, status=b"201"))
    await each(moving(busy.chunks), partial(is_answered, status=b"202"))
    await each(moving(busy.pulls), is_read_whole)

    # The grace lasts: those that stand still may go on. Told again, the worker no longer waits for them.
    assert process.poll() is None
    assert all(one.wire.stands() for one in still)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, SECONDS) == 0
    await each(still, is_not_answered)
    await each(standing(busy.pulls), is_seen_to_be_cut)
    await is_nothing_half_made(busy)


async def is_answered(one: Transfer, *, status: bytes) -> None:
    await one.wire.send(one.content[FIRST:])
    head = await one.wire.head()
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nconnection: close\r\n" in head


async def is_read_whole(one: Transfer) -> None:
    await one.wire.rest()
    assert one.wire.got == one.content


async def is_not_answered(one: Transfer) -> None:
    await one.wire.rest()
    assert one.wire.got == b""


async def is_seen_to_be_cut(one: Transfer) -> None:
    await one.wire.rest()
    assert len(one.wire.got) < len(one.content)


async def is_nothing_half_made(busy: Busy) -> None:
    """Find what was answered for, nothing that was not, and each begun upload where it says that it is."""
    site = busy.cell.site
    await busy.cell.is_clean()
    for one in moving(busy.pushes):
        assert (await site.get(f"blobs/{one.digest}")).content == one.content
    for one in standing(busy.pushes):
        assert (await site.get(f"blobs/{one.digest}")).status_code == 404
    await each(busy.chunks, partial(is_continued, site))
    await busy.cell.is_clean()
    await busy.cell.collect()


async def is_continued(site: Site, one: Transfer) -> None:
    """Go on with an upload where the registry says that it is, and finish it."""
    status = await site.client.get(one.location)
    last = status.headers["range"].rpartition("-")[2]
    at = int(last) + 1 if last != "0" else 0
    if at < len(one.content):
        assert (await site.append(one.location, one.content[at:], at)).status_code == 202
    assert (await site.finish(one.location, one.digest)).status_code == 201
    assert (await site.get(f"blobs/{one.digest}")).content == one.content
