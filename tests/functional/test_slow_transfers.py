"""Transfers that hardly move, over real sockets: their slots go to others and they go on; what is only uneven keeps its slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from sqlalchemy import bindparam, update

from moorage.api.distribution import watches as watching
from moorage.api.distribution.watches import PATIENCE, Watches
from moorage.db import Statement
from moorage.db.cell import entry
from moorage.db.tables import project
from moorage.oci.digests import Digest
from moorage.planes import RegistryApp
from moorage.registry.opened import Limits, Registry
from tests.functional.http_world import MIB, eventually
from tests.functional.quick_world import client
from tests.functional.wires import Wire, connect
from tests.worlds import World

__all__ = ["client"]

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-s3"], indirect=True)

RATE = Limits().slowest_transfer
# More than the kernel may hold of what a reader has not read.
READ = 6 * MIB
HELD = int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2]) + 2 * MIB
BLOB = bytes(range(256)) * ((READ + HELD) // 256)
_PUBLIC = Statement(update(project).where(project.c.name == "library").values(public=bindparam("public")))
NEVER = 3600.0
_PARALLEL = Statement(
    update(entry).where(entry.c.id == bindparam("which")).values(parallel=bindparam("parallel"))
)


@dataclass
class Place:
    """A registry behind the real protocol whose transfers are looked at when the test says so."""

    world: World
    client: httpx.AsyncClient
    watches: Watches
    registry: Registry
    wires: list[Wire] = field(default_factory=list)

    async def allow(self, parallel: int) -> None:
        """Let the plan have so many requests at once."""
        await self.world.parts.cell.write(_PARALLEL, which=self.registry.entry.id, parallel=parallel)
        await self.world.plane.directory.refresh()
        assert (await self.client.get("/v2/")).status_code == 200
        assert self.registry.slots.most == parallel

    async def open(self, *, to_anybody: bool) -> None:
        """Let anybody pull, or nobody who does not sign in."""
        await self.registry.db.write(_PUBLIC, public=int(to_anybody))

    async def ask(self, request: str, *lines: str, anonymous: bool = False) -> Wire:
        """Send the head of a request, from a machine that takes little that its client has not read."""
        self.wires.append(await connect(self.client.base_url.port or 0))
        shown = [] if anonymous else [f"Authorization: {self.client.headers['authorization']}"]
        head = [f"{request} HTTP/1.1", f"Host: {self.client.headers['host']}", *shown, *lines]
        await self.wires[-1].send("".join(f"{line}\r\n" for line in [*head, ""]).encode())
        return self.wires[-1]

    async def pull(self, *, anonymous: bool = False) -> Wire:
        """Begin to read the blob."""
        path = f"/v2/library/app/blobs/{Digest.of(BLOB)}"
        wire = await self.ask(f"GET {path}", anonymous=anonymous)
        assert (await wire.head()).startswith(b"HTTP/1.1 200")
        return wire

    async def ask_to_push(self) -> Wire:
        """Begin to push, and send nothing; 100 tells that there was a slot."""
        return await self.ask(
            "PUT /v2/library/app/manifests/held", "Expect: 100-continue", "Content-Length: 100"
        )

    async def hold(self, *, anonymous: bool = False) -> Wire:
        """Ask for a slot, to do nothing with it."""
        before = sum(self.counts())
        if anonymous:
            wire = await self.ask(f"GET /v2/library/app/blobs/{Digest.of(BLOB)}", anonymous=True)
        else:
            wire = await self.ask_to_push()
        await eventually(lambda: sum(self.counts()) > before)
        return wire

    def counts(self) -> tuple[int, int]:
        """Say how many slots are out, and how many requests wait for one."""
        return self.registry.slots.busy, self.registry.slots.queued

    async def look(self) -> None:
        """Look once, when nothing but the other ends is waited for."""
        await eventually(lambda: all(one.pace()[1] for one in self.watches._watched))
        self.watches.look()

    async def looks_until_given_up(self, between: Callable[[], Awaitable[None]]) -> int:
        """Look until each that holds a slot now has given it up, and count the looks."""
        looks, holding = 0, set(self.watches._watched)
        while holding & self.watches._watched:
            assert looks < 4 * PATIENCE, "a slot was not given up"
            await between()
            await self.look()
            looks += 1
        return looks

    async def let_go(self, *wires: Wire) -> None:
        """Leave, and wait until that is seen."""
        left = self.registry.use.count - len(wires)
        for wire in wires:
            wire.socket.close()
        await eventually(lambda: self.registry.use.count <= left)

    async def ended(self, under_way: int) -> None:
        """Wait until no more than so many requests are under way."""
        await eventually(lambda: self.registry.use.count <= under_way)

    async def has_exactly(self, parallel: int) -> None:
        """Take every slot there is, from none on."""
        await self.ended(0)
        assert self.counts() == (0, 0)
        wires = [await self.hold() for _ in range(parallel + 1)]
        assert self.counts() == (parallel, 1)
        await self.let_go(*wires)
        assert self.counts() == (0, 0)


@pytest.fixture
async def place(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Place]:
    """Serve a registry with one long blob, and never look at its transfers."""
    monkeypatch.setattr(watching, "LOOK", NEVER)
    path = f"/v2/library/app/blobs/uploads/?digest={Digest.of(BLOB)}"
    assert (await client.post(path, content=BLOB)).status_code == 201
    app = await world.plane.find(client.headers["host"], client.base_url.port or 0)
    assert isinstance(app, RegistryApp)
    registry = app.distribution.registry
    registry.slots.patience = NEVER
    postgres = world.parts.postgres
    if postgres is not None:
        await eventually(lambda: postgres.listener.peers == (1, 0))
    made = Place(world, client, app.distribution.watches, registry)
    yield made
    for wire in made.wires:
        wire.socket.close()
    await made.ended(0)
    await made.allow(0)
    await made.open(to_anybody=False)


async def test_a_download_that_hardly_moves_gives_its_slot_to_another_and_ends_whole(place: Place) -> None:
    await place.allow(2)
    slow = [await place.pull() for _ in range(2)]
    waits = await place.hold()
    assert place.counts() == (2, 1)

    # The other one stands still.
    looks = await place.looks_until_given_up(lambda: slow[0].read(16))

    # What their machines take unread counts, and is soon behind.
    assert PATIENCE < looks < 2 * PATIENCE
    assert (await waits.head()).startswith(b"HTTP/1.1 100")
    others = [waits, await place.hold(), await place.hold()]
    assert place.counts() == (2, 1)
    for wire in slow:
        await wire.read(len(BLOB) - len(wire.got))
        assert wire.got == BLOB
    # Nothing is given back twice: the third still waits.
    await place.ended(3)
    assert place.counts() == (2, 1)
    await place.let_go(*others)
    await place.has_exactly(2)


@pytest.mark.parametrize(("burst", "pause"), [(4 * RATE, 3), (MIB, 1)], ids=["uneven", "fast"])
async def test_a_reader_above_the_slowest_rate_keeps_its_slot_until_it_stands_still(
    place: Place, burst: int, pause: int
) -> None:
    await place.allow(1)
    reader, waits = await place.pull(), await place.hold()
    (watch,) = place.watches._watched

    for _ in range(READ // burst):
        await reader.read(burst)
        # The reader's machine may be a little late to say that it took them.
        await eventually(lambda: watch.pace()[0] >= len(reader.got))
        for _ in range(pause):
            await place.look()
        assert place.counts() == (1, 1)
    looks = await place.looks_until_given_up(lambda: asyncio.sleep(0))

    # However much it read before, nothing of that is credit.
    assert PATIENCE - pause < looks < 2 * PATIENCE
    await reader.read(len(BLOB) - len(reader.got))
    assert reader.got == BLOB
    await place.let_go(waits)
    await place.has_exactly(1)


# Short of the others, which go past the parser.
SHORT, LONG = 100_000, 400_000
PUSHES = {"short": SHORT, "long": LONG, "chunked": LONG}


async def test_a_push_that_hardly_moves_gives_its_slot_to_another_and_ends_whole(place: Place) -> None:
    begun = [await place.client.post("/v2/library/app/blobs/uploads/") for _ in PUSHES]
    locations = [one.headers["location"] for one in begun]
    await place.allow(3)
    slow: list[Push] = []
    for (kind, size), location in zip(PUSHES.items(), locations, strict=True):
        body = "Transfer-Encoding: chunked" if kind == "chunked" else f"Content-Length: {size}"
        slow.append(Push(await place.ask(f"PATCH {location}", body), size, chunked=kind == "chunked"))
    await eventually(lambda: place.counts() == (3, 0))
    waits = await place.hold()

    async def send_bits() -> None:
        for one in slow:
            await one.send(16)

    looks = await place.looks_until_given_up(send_bits)

    assert PATIENCE < looks < 2 * PATIENCE
    assert (await waits.head()).startswith(b"HTTP/1.1 100")
    others = [waits, *[await place.hold() for _ in range(3)]]
    assert place.counts() == (3, 1)
    for one in slow:
        await one.finish()
        assert (await one.wire.head()).startswith(b"HTTP/1.1 202")
    await place.ended(4)
    assert place.counts() == (3, 1)
    await place.let_go(*others)
    await place.has_exactly(3)
    for one, location in zip(slow, locations, strict=True):
        digest = Digest.of(BLOB[: one.size])
        assert (await place.client.put(location, params={"digest": str(digest)})).status_code == 201
        assert (await place.client.get(f"/v2/library/app/blobs/{digest}")).content == BLOB[: one.size]


@dataclass
class Push:
    """A chunk of an upload on its way."""

    wire: Wire
    size: int
    chunked: bool
    at: int = 0

    async def send(self, count: int) -> None:
        piece = BLOB[self.at : self.at + count]
        self.at += len(piece)
        if piece:
            await self.wire.send(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)

    async def finish(self) -> None:
        await self.send(self.size - self.at)
        if self.chunked:
            await self.wire.send(b"0\r\n\r\n")


async def test_anonymous_callers_half_is_given_on_among_them(place: Place) -> None:
    await place.open(to_anybody=True)
    await place.allow(4)
    slow = [await place.pull(anonymous=True) for _ in range(2)]
    waits = await place.hold(anonymous=True)
    assert place.counts() == (2, 1)

    looks = await place.looks_until_given_up(lambda: slow[0].read(16))

    assert PATIENCE < looks < 2 * PATIENCE
    others = [waits, *[await place.hold(anonymous=True) for _ in range(2)]]
    assert place.counts() == (2, 1)
    for wire in slow:
        await wire.read(len(BLOB) - len(wire.got))
        assert wire.got == BLOB
    await place.ended(3)
    assert place.counts() == (2, 1)
    signed_in = [await place.hold() for _ in range(2)]
    assert place.counts() == (4, 1)
    await place.let_go(*signed_in, *others)
    await place.has_exactly(4)


async def test_transfers_are_looked_at_without_being_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LOOK", 0.01)
    await place.allow(2)
    stalled = await place.pull()

    pushes = [await place.ask_to_push() for _ in range(4)]

    for push in pushes:
        assert (await push.head()).startswith(b"HTTP/1.1 100")
    await stalled.read(len(BLOB) - len(stalled.got))
    assert stalled.got == BLOB
