"""A plan's requests at once over two houses of one cell: one PostgreSQL, one S3 store, with one Redis and without."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from moorage import parts
from moorage.cloud import provisioning
from moorage.db import Tx
from moorage.identity import members, users
from moorage.identity.passwords import Passwords
from moorage.identity.roles import Role
from moorage.oci.names import LIBRARY
from moorage.registry import projects
from tests.conformance.site import digest_of
from tests.servers.fleet import Replica, replica
from tests.servers.house import House, house
from tests.servers.orders import ordered
from tests.servers.processes import standing_still
from tests.servers.redis import RedisServer, running_redis

PLAN, MOST = "S", 15
TRANSFERS = 40
PATIENCE = 2.0
SECONDS = 120.0
PASSWORD = "Moorage-pass-1"
LAYER = secrets.token_bytes(1 << 20) * 32
PIECE = b"p" * 50_000
GIVEN = {
    "PASSWORD": PASSWORD,
    "DOMAIN": "moorage.test",
    "PARALLEL_WAIT": f"{PATIENCE}s",
    # What is slow here is slow on purpose, and for as long as it takes.
    "SLOWEST_TRANSFER": "0",
    "BODY_IDLE": "10m",
    "MASTER_KEY": "0d" * 32,
}


@dataclass
class Fleet:
    """Two houses that serve one registry, which has the plan S."""

    ports: tuple[int, int]
    host: str
    password: str
    place: parts.Place
    kill: Callable[[], None]
    """End the second house without a word."""

    def client(self, number: int) -> httpx.AsyncClient:
        """Give a client of one house, the administrator."""
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.ports[number % 2]}",
            headers={"host": self.host},
            auth=("admin", self.password),
            timeout=SECONDS,
        )

    async def open(self, number: int, head: str, who: str = "", password: str = "") -> Request:
        """Send a request to a house, over a connection of its own whose other end reads little ahead."""
        shown = base64.b64encode(f"{who or 'admin'}:{password or self.password}".encode()).decode()
        connecting = socket.socket()
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        connecting.setblocking(False)  # noqa: FBT003 - takes it by place only
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connecting, ("127.0.0.1", self.ports[number % 2]))
        reader, writer = await asyncio.open_connection(sock=connecting, limit=16 << 10)
        first, _, rest = head.partition("\r\n")
        writer.write(
            f"{first} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Basic {shown}\r\n{rest}\r\n".encode()
        )
        return Request(reader, writer)

    async def known(self) -> list[int]:
        """Ask each house whether it has the registry."""
        answers = []
        for number in (0, 1):
            async with self.client(number) as client:
                answers.append((await client.get("/v2/")).status_code)
        return answers

    async def begin(self, number: int, who: str = "", password: str = "") -> Request:
        """Begin a push that sends nothing: answered 100 it holds a slot, until it is closed."""
        head = f"PUT /v2/{LIBRARY}/held/manifests/x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n"
        return await self.open(number, head, who, password)

    async def hold(self, number: int, count: int) -> list[Request]:
        """Hold so many slots, or as many as are given."""
        asked = [await self.begin(number) for _ in range(count)]
        answers = await asyncio.gather(*(request.answer() for request in asked))
        assert {status for status, _ in answers} <= {100, 429}
        for request, (status, _) in zip(asked, answers, strict=True):
            if status == 429:
                request.close()
        return [request for request, (status, _) in zip(asked, answers, strict=True) if status == 100]

    async def given(self, *numbers: int) -> list[int]:
        """Count the slots that the houses give to more than the plan's requests at once; they come back."""
        held = await asyncio.gather(*(self.hold(number, MOST + 3) for number in numbers))
        let_go(*held)
        return [len(some) for some in held]


def let_go(*held: list[Request]) -> None:
    for request in (one for some in held for one in some):
        request.close()


@dataclass
class Request:
    """A request under way, and its answer."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    headers: dict[str, str] = field(default_factory=dict)

    async def answer(self) -> tuple[int, bytes]:
        """Read a head, and the body if it was refused."""
        async with asyncio.timeout(SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head[:-4].split("\r\n")
            self.headers = dict(line.lower().split(": ", 1) for line in lines)
            status = int(first.split()[1])
            length = int(self.headers.get("content-length", 0)) if status >= 400 else 0
            return status, await self.reader.readexactly(length)

    def close(self) -> None:
        self.writer.transport.abort()


@dataclass
class Holding:
    """How many hold a slot, as the clients see it: from the answer on, until just before they let go."""

    now: int = 0
    most: int = 0
    served: int = 0
    refused: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def begin(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await self.tell()

    async def tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS), self.changed:
            await self.changed.wait_for(true)


@asynccontextmanager
async def transfer(fleet: Fleet, number: int, location: str, holding: Holding) -> AsyncIterator[int]:
    """Push a chunk or pull the layer through one house; give the first answer, and go on when the block ends."""
    if number % 4 < 2:
        request = await fleet.open(
            number, f"PATCH {location}\r\nExpect: 100-continue\r\nContent-Length: {len(PIECE)}\r\n"
        )
    else:
        request = await fleet.open(number, f"GET /v2/{LIBRARY}/app/blobs/{digest_of(LAYER)}\r\n")
    status, body = await request.answer()
    if status == 429:
        holding.refused.append((request.headers, body))
        await holding.tell()
        yield status
        request.close()
        return
    assert status in {100, 200}, body
    await holding.begin()
    request.writer.write(PIECE[:1000])
    yield status
    holding.now -= 1
    if status == 100:
        request.writer.write(PIECE[1000:])
        status, body = await request.answer()
        assert status == 202, body
    else:
        got = hashlib.sha256()
        async with asyncio.timeout(SECONDS):
            for _ in range(len(LAYER) >> 14):
                got.update(await request.reader.readexactly(1 << 14))
        assert f"sha256:{got.hexdigest()}" == digest_of(LAYER)
    holding.served += 1
    request.close()


@asynccontextmanager
async def locations(fleet: Fleet) -> AsyncIterator[list[str]]:
    """Begin an upload for each transfer, and see in the end that every one that was sent becomes a blob."""
    async with fleet.client(0) as client:
        begun = []
        for _ in range(TRANSFERS):
            answer = await client.post(f"/v2/{LIBRARY}/app/blobs/uploads/")
            begun.append(answer.headers["location"])
        pushed = await client.post(
            f"/v2/{LIBRARY}/app/blobs/uploads/", params={"digest": digest_of(LAYER)}, content=LAYER
        )
        assert pushed.status_code == 201, pushed.text
        yield begun
        for number, location in enumerate(begun):
            if number % 4 < 2:
                answer = await client.put(location, params={"digest": digest_of(PIECE)})
                assert answer.status_code == 201, answer.text


@pytest.fixture(scope="module")
def cells(request: pytest.FixtureRequest) -> Callable[[], dict[str, str]]:
    """Name a database and a store for two houses, others each time: those of one cell count each other."""
    database, store = request.getfixturevalue("postgres_server"), request.getfixturevalue("seaweedfs")
    return lambda: {
        "DATABASE_URL": database.cell(),
        "STORE_URL": store.url(f"plans-{secrets.token_hex(4)}"),
    }


@dataclass
class Pair:
    """One `moorage up` and one `moorage serve registry` beside it, which is another after it was killed."""

    first: Path
    second: Path
    given: dict[str, str]
    stack: ExitStack
    up: House = field(init=False)
    other: Replica = field(init=False)

    def __post_init__(self) -> None:
        self.up = self.stack.enter_context(house(self.first, **self.given))
        self.begin_other()

    def begin_other(self) -> None:
        self.other = self.stack.enter_context(replica(self.second, **self.given))

    async def fleet(self) -> Fleet:
        """Make a registry, and give it once both have it."""
        if self.other.process.poll() is not None:
            await asyncio.to_thread(self.begin_other)
        name = f"plan-{secrets.token_hex(4)}"
        ((host, password),) = await asyncio.to_thread(ordered, self.first, name, plan=PLAN)
        place = parts.Place(
            self.first, self.given["DATABASE_URL"], self.given["STORE_URL"], self.given["MASTER_KEY"]
        )
        both = self.up.ports["Registry"], self.other.port
        fleet = Fleet(both, host, password, place, self.other.kill)
        # A registry that was just made is seen within a second.
        await until(fleet.known, lambda answers: answers == [200, 200])
        return fleet


@contextmanager
def paired(folder: Path, cell: dict[str, str], redis: str = "", **others: str) -> Iterator[Pair]:
    """Run both houses, with a Redis or without."""
    given = {**GIVEN, **cell, "WORKERS": "1", **({"REDIS_URL": redis} if redis else {}), **others}
    with ExitStack() as stack:
        yield Pair(folder / "first", folder / "second", given, stack)


@pytest.fixture(scope="module", params=["redis", "alone"])
def pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    cells: Callable[[], dict[str, str]],
) -> Iterator[Pair]:
    """Run two houses that count in Redis, or each its share."""
    redis = request.getfixturevalue("redis_server").url if request.param == "redis" else ""
    with paired(tmp_path_factory.mktemp("pair"), cells(), redis) as made:
        yield made


@pytest.fixture(scope="module")
def bereaved(
    tmp_path_factory: pytest.TempPathFactory, cells: Callable[[], dict[str, str]]
) -> Iterator[tuple[RedisServer, Pair]]:
    """Run two houses, and a Redis of theirs that goes away and comes back.

    Who is over the plan waits no longer than it takes to be refused: here they ask again and again until it is as wished.
    """
    folder = tmp_path_factory.mktemp("bereaved")
    with running_redis() as server, paired(folder, cells(), server.url, PARALLEL_WAIT="200ms") as made:
        yield server, made


@pytest.fixture
async def fleet(pair: Pair) -> Fleet:
    """Make a registry of the plan S, all of whose slots are free."""
    made = await pair.fleet()
    await until(lambda: made.given(0, 1), lambda given: sum(given) == MOST)
    return made


async def until(ask: Callable[[], Awaitable[list[int]]], true: Callable[[list[int]], bool]) -> list[int]:
    """Ask until the answer is as wished: processes see of each other within seconds."""
    async with asyncio.timeout(SECONDS):
        while not true(given := await ask()):
            await asyncio.sleep(0.2)
        return given


async def test_forty_slow_transfers_over_two_houses_hold_the_plans_slots_and_no_more(fleet: Fleet):
    holding = Holding()

    async def one(number: int, location: str) -> None:
        while True:
            async with transfer(fleet, number, location, holding) as status:
                if status != 429:
                    await holding.goes_on.wait()
                    return
            await holding.goes_on.wait()
            await asyncio.sleep(PATIENCE)

    async with locations(fleet) as begun:
        asking = [asyncio.create_task(one(*each)) for each in enumerate(begun)]
        await holding.until(lambda: holding.now + len(holding.refused) == TRANSFERS)
        seen, refused = holding.now, list(holding.refused)
        holding.goes_on.set()
        await asyncio.gather(*asking)

    assert (seen, holding.most, holding.served) == (MOST, MOST, TRANSFERS)
    for headers, body in refused:
        assert headers["retry-after"] == f"{PATIENCE:g}"
        error = json.loads(body)["errors"][0]
        assert error["code"] == "TOOMANYREQUESTS"
        assert f"allows {MOST} requests at once and none came free within {PATIENCE:g} s" in error["message"]
        assert "larger plan" in error["message"]


async def test_who_waits_at_one_house_gets_the_slot_that_is_given_back(fleet: Fleet):
    held = await fleet.hold(0, MOST) + await fleet.hold(1, MOST)
    assert len(held) == MOST
    waiting = await fleet.begin(1)
    answering = asyncio.create_task(waiting.answer())
    await asyncio.sleep(0.1)
    assert not answering.done()

    held.pop().close()

    assert (await answering)[0] == 100
    let_go([waiting, *held])


async def test_a_house_that_is_killed_gives_its_slots_to_the_other(fleet: Fleet):
    held = await fleet.hold(1, 7), await fleet.hold(0, 7)
    assert len(held[0]) == len(held[1]) == 7

    fleet.kill()

    await until(lambda: fleet.given(0), lambda given: given == [MOST - 7])
    let_go(*held)
    await until(lambda: fleet.given(0), lambda given: given == [MOST])


async def test_one_who_hammers_both_houses_does_not_starve_another(fleet: Fleet):
    hammered = asked = 0
    ended = asyncio.Event()
    who = {"who": "modest", "password": PASSWORD}
    await add_user(fleet, "modest")

    async def hammer(number: int) -> None:
        nonlocal hammered
        while not ended.is_set():
            request = await fleet.begin(number)
            status, _ = await request.answer()
            if status == 100:
                hammered += 1
                await asyncio.sleep(0.05)
            request.close()

    hammering = [asyncio.create_task(hammer(number)) for number in range(4 * MOST)]
    async with asyncio.timeout(SECONDS):
        while hammered < 2 * MOST:
            await asyncio.sleep(0.05)
    for number in range(20):
        request = await fleet.begin(number, **who)
        status, body = await request.answer()
        asked += status == 100
        request.close()
        assert status == 100, body
    ended.set()
    await asyncio.gather(*hammering)

    assert asked == 20


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_without_their_redis_houses_go_on_with_their_shares_and_are_exact_when_it_is_back(
    bereaved: tuple[RedisServer, Pair], how: str
):
    server, pair = bereaved
    fleet = await pair.fleet()
    await until(lambda: fleet.given(0), lambda given: given == [MOST])
    with away(server, how):
        shares = await until(lambda: fleet.given(0, 1), lambda given: max(given) < MOST)
        alone = [await fleet.given(number) for number in (0, 1)]
    # Each has all that the other leaves, and both together no more.
    await until(lambda: fleet.given(0), lambda given: given == [MOST])
    await until(lambda: fleet.given(1), lambda given: given == [MOST])
    both = await fleet.given(0, 1)

    assert sorted(shares) == [7, 8]
    assert [*alone[0], *alone[1]] == shares
    assert sum(both) == MOST


@contextmanager
def away(server: RedisServer, how: str) -> Iterator[None]:
    assert server.process is not None
    if how == "stopped":
        with standing_still(server.process.pid):
            yield
    else:
        server.kill()
        yield
        server.start()


async def add_user(fleet: Fleet, name: str) -> None:
    """Make a user who may push to the registry."""
    passwords = Passwords()
    hashed = await passwords.hash(PASSWORD)
    passwords.close()

    async def work(tx: Tx) -> None:
        home = await projects.find(tx, LIBRARY)
        assert home is not None
        await members.set_user(
            tx, home.id, await users.create(tx, name=name, password=hashed), Role.DEVELOPER
        )

    async with parts.opened(fleet.place) as opened:
        found = [one for one in await provisioning.listed(opened.cell) if fleet.host.startswith(one.uuid[:8])]
        db = await opened.open_database(found[0])
        await db.change(work)
        await db.close()
