"""Two machines of one fleet: a whole `moorage up` each, on one PostgreSQL, one store and one Redis."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

import httpx
import ovh
import psycopg
import pytest
from ovh import config
from ovh.client import ENDPOINTS

from moorage import parts
from moorage.parts import Parts, Place
from tests.servers.house import SOURCE, House, house, moorage
from tests.servers.processes import children_of, standing_still, until_gone

T = TypeVar("T")

SECONDS = 120.0
PROMISED = 1.0
"""Seconds within which every process of every machine keeps to a change."""
PASSWORD = "Moorage-pass-1"
HOOKS = Path(__file__).parent / "held"
SMALL, MEDIUM = "9f728ba5-998b-4401-ab0f-497cd8bc6a89", "c5ddc763-be75-48f7-b7ec-e923ca040bee"
MIB = 1 << 20
STORED, AT_ONCE = {SMALL: 8 * MIB, MEDIUM: 16 * MIB}, {SMALL: 5, MEDIUM: 12}
_KEYS = re.compile(r"^(Cloud project|Application key|Application secret|Consumer key) +(\w+)$", re.MULTILINE)


@dataclass(slots=True)
class Machine:
    """A machine of the fleet, which can be lost and started again."""

    name: str
    data: Path
    given: dict[str, str]
    keys: dict[str, str]
    _up: House | None = None
    _running: ExitStack = field(default_factory=ExitStack)

    @property
    def up(self) -> House:
        """Give its house."""
        assert self._up is not None
        return self._up

    @property
    def held(self) -> Path:
        """Give the folder of the files that hold its processes; see tests/servers/held."""
        return self.data / "held"

    def start(self) -> None:
        """Start its house under its own name; the ports are others each time."""
        self.held.mkdir(parents=True, exist_ok=True)
        running = house(self.data, source=f"{HOOKS}:{SOURCE}", WORKER_NAME=self.name, **self.given)
        self._up = self._running.enter_context(running)
        ENDPOINTS[self.name] = f"{self.up.console}/1.0"

    def lose(self) -> None:
        """End every process of it at once, as a power cut would."""
        process = self.up.process
        # One that runs would make new ones in the place of those that were killed.
        with standing_still(process.pid):
            children = children_of(process.pid)
            for child in children:
                os.kill(child, 9)
            process.kill()
        process.wait(SECONDS)
        assert until_gone(children) == []
        self._running.close()
        self._up = None

    def stop(self) -> None:
        """Have it end in order, if it runs."""
        self._running.close()
        ENDPOINTS.pop(self.name, None)

    def client(self, consumer: str = "", **changed: str) -> Any:
        """Make the provider's SDK, unmodified, for its console."""
        given = {
            "application_key": self.keys["Application key"],
            "application_secret": self.keys["Application secret"],
            "consumer_key": consumer or self.keys["Consumer key"],
        }
        return ovh.Client(self.name, **(given | changed))

    def lines(self) -> list[Line]:
        """Open a line to each process that serves registries."""
        port, processes = self.up.ports["Registry"], self.up.children("serve registry")
        return [Line(port, process, processes) for process in processes]

    def hold(self, name: str, place: str = "") -> Path:
        """Hold whoever comes by a place; give the file that tells that somebody did."""
        told = self.held / f"{name}.reached"
        told.unlink(missing_ok=True)
        # Whoever reads it shall find it whole.
        (draft := self.held / f".{name}").write_text(place)
        draft.rename(self.held / name)
        return told

    def let_go(self) -> None:
        """Hold nobody any more who has not come by yet."""
        for file in self.held.iterdir():
            file.unlink()


class Line:
    """A connection that one process answers, and no other."""

    def __init__(self, port: int, process: int, among: list[int]) -> None:
        """Open connections until the process has taken one."""
        self.port, self.process, self.among = port, process, among
        self._connection = self._open()

    def _open(self) -> HTTPConnection:
        until_ = time.monotonic() + SECONDS
        while time.monotonic() < until_:
            # Who is asked by several at once leaves some to others.
            tried = [HTTPConnection("127.0.0.1", self.port, timeout=SECONDS) for _ in range(4)]
            for one in tried:
                one.connect()
            mine = [one for one in tried if self._takes(one) == self.process]
            for one in tried:
                if one not in mine[:1]:
                    one.close()
            if mine:
                return mine[0]
        pytest.fail(f"process {self.process} takes no connection at port {self.port}")

    def _takes(self, connection: HTTPConnection) -> int:
        ours = connection.sock.getsockname()[1]
        inode = until(lambda: _inode(self.port, ours), bool, pause=0.001)
        return until(lambda: _owner(inode, self.among), bool, pause=0.001)

    def ask(self, path: str, host: str, authorization: str = "") -> int:
        """Ask, and give the status."""
        if self._connection.sock is None:
            self._connection = self._open()
        shown = {"Authorization": authorization} if authorization else {}
        self._connection.request("GET", path, headers={"Host": host, **shown})
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        """End it."""
        self._connection.close()


def _inode(port: int, ours: int) -> int:
    """Find the far end of a connection of ours; 0 while nobody has taken it."""
    ends = [f"0100007F:{number:04X}" for number in (port, ours)]
    for line in Path("/proc/net/tcp").read_text().splitlines():
        fields = line.split()
        if fields[1:3] == ends:
            return int(fields[9])
    return 0


def _owner(inode: int, among: list[int]) -> int:
    """Find the process that has a socket; 0 while it is on its way to none."""
    for process in among:
        for end in Path(f"/proc/{process}/fd").iterdir():
            try:
                if end.readlink() == Path(f"socket:[{inode}]"):
                    return process
            except FileNotFoundError:
                continue
    return 0


def until(
    ask: Callable[[], T], wanted: Callable[[T], object], *, pause: float = 0.1, seconds: float = SECONDS
) -> T:
    """Ask until the answer is the one that is waited for."""
    end = time.monotonic() + seconds
    while not wanted(answer := ask()):
        assert time.monotonic() < end, answer
        time.sleep(pause)
    return answer


def within_a_second(since: float, lines: list[Line], ask: Callable[[Line], int], wanted: set[int]) -> None:
    """See every process keep to a change that was answered at *since*.

    What was asked a second after that, or later, must be answered so. A machine that is too busy to ask in time is no fault of
    the product's, so the second is longer there by what the slowest answer took.
    """
    left, slowest = list(lines), 0.0
    while left:
        for line in list(left):
            begun = time.monotonic()
            status = ask(line)
            slowest = max(slowest, time.monotonic() - begun)
            if status in wanted:
                left.remove(line)
            else:
                assert begun < since + PROMISED + 2 * slowest, (line.process, status)


@dataclass(slots=True)
class Fleet:
    """Both machines."""

    one: Machine
    two: Machine
    place: Place

    @property
    def project(self) -> str:
        """Give the cloud project that is ordered in."""
        return self.one.keys["Cloud project"]

    @property
    def registries(self) -> str:
        """Give the path of its registries."""
        return f"/cloud/project/{self.project}/containerRegistry"

    def opened(self, work: Callable[[Parts], Awaitable[T]]) -> T:
        """Do something as a third machine of the fleet, where an operator's commands run."""

        async def whole() -> T:
            async with parts.opened(self.place) as made:
                return await work(made)

        return asyncio.run(whole())

    def asked(self, sql: str, *given: object) -> list[tuple[Any, ...]]:
        """Ask the fleet's database, or change something in it."""
        with psycopg.connect(self.place.database_url, autocommit=True) as connection:
            done = connection.execute(sql.encode(), given)
            return done.fetchall() if done.description else []

    def lines(self) -> list[Line]:
        """Open a line to each process that serves registries, of both machines."""
        return [*self.one.lines(), *self.two.lines()]

    def path(self, registry: dict[str, Any]) -> str:
        """Give a registry's path."""
        return f"{self.registries}/{registry['id']}"

    def is_so(self, machine: Machine, registry: dict[str, Any], status: str) -> dict[str, Any]:
        """Wait until a machine tells a registry's status, and give what it tells."""
        client = machine.client()
        return until(lambda: client.get(self.path(registry)), lambda found: found["status"] == status)

    def order(self, *names: str, plan: str = SMALL) -> list[dict[str, Any]]:
        """Order registries at the first machine, and wait until the second tells that they are ready."""
        client = self.one.client()
        ordered = [client.post(self.registries, name=name, region="LOCAL", planID=plan) for name in names]
        return [self.is_so(self.two, one, "READY") for one in ordered]


@dataclass
class Pushing:
    """Pushes blobs of one MiB through both machines, until there is no room."""

    fleet: Fleet
    made: dict[str, Any]
    user: dict[str, Any]
    kept: list[str] = field(default_factory=list)

    def push(self, number: int) -> bool:
        """Push one; say whether there was room."""
        machine = (self.fleet.one, self.fleet.two)[number % 2]
        blob = secrets.token_bytes(16) * (MIB // 16)
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        path = f"{machine.up.registry}/v2/library/app/blobs/uploads/?digest={digest}"
        answer = until(lambda: self.ask("POST", path, blob), lambda found: found.status_code != 429)
        assert answer.status_code in {201, 403}, answer.text
        if answer.status_code == 201:
            self.kept.append(digest)
        return answer.status_code == 201

    def ask(self, method: str, url: str, blob: bytes = b"") -> httpx.Response:
        auth = (self.user["user"], self.user["password"])
        return httpx.request(
            method, url, content=blob, auth=auth, headers={"host": host(self.made)}, timeout=SECONDS
        )

    def fill(self) -> int:
        """Push by both until there is no room, four at a time and then one by one; give what is kept."""
        with ThreadPoolExecutor(4) as pushing:
            while any(pushing.map(self.push, range(8))):
                pass
        while self.push(len(self.kept)):
            pass
        return len(self.kept) * MIB

    def drop(self, count: int) -> None:
        """Delete some, through both."""
        for number in range(count):
            machine = (self.fleet.one, self.fleet.two)[number % 2]
            path = f"{machine.up.registry}/v2/library/app/blobs/{self.kept.pop()}"
            assert self.ask("DELETE", path).status_code == 202

    def plan(self) -> str:
        """Tell the plan that is in force, once one is."""
        self.fleet.is_so(self.fleet.two, self.made, "READY")
        return str(self.fleet.two.client().get(f"{self.fleet.path(self.made)}/plan")["id"])


def host(registry: dict[str, Any]) -> str:
    """Give a registry's host name."""
    return str(registry["url"].partition("://")[2].partition(":")[0])


@contextmanager
def fleet_of_two(folder: Path, database_url: str, store_url: str, redis_url: str) -> Iterator[Fleet]:
    """Start both at once, and make a key by the command that they name."""
    catalogue = folder / "catalogue.toml"
    text = (SOURCE / "moorage/cloud/catalogue.toml").read_text()
    smaller = {"214_748_364_800": str(STORED[SMALL]), "644_245_094_400": str(STORED[MEDIUM])}
    smaller |= {f"parallel_requests = {n}": f"parallel_requests = {AT_ONCE[plan]}"
                for n, plan in ((15, SMALL), (45, MEDIUM))}  # fmt: skip
    for old, new in smaller.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    catalogue.write_text(text)
    given = {
        "DATABASE_URL": database_url,
        "STORE_URL": store_url,
        "REDIS_URL": redis_url,
        "MASTER_KEY": secrets.token_hex(32),
        "PASSWORD": PASSWORD,
        "DOMAIN": "moorage.test",
        "CATALOGUE": str(catalogue),
        "PARALLEL_WAIT": "200ms",
        # Who holds a place sends nothing, for as long as a test takes.
        "SLOWEST_TRANSFER": "0",
        "BODY_IDLE": "10m",
    }
    keys: dict[str, str] = {}
    machines = [Machine(name, folder / name, given, keys) for name in ("one", "two")]
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        # Whatever this machine's user has set for the real service stays out of it.
        patch.setattr(config, "CONFIG_PATH", [])
        with ThreadPoolExecutor(2) as both:
            stack.callback(lambda: list(ThreadPoolExecutor(2).map(Machine.stop, machines)))
            list(both.map(Machine.start, machines))
        made = moorage("application", "create", "sdk", data=machines[1].data, **given)
        assert made.returncode == 0, made.stderr
        keys |= dict(_KEYS.findall(made.stdout))
        yield Fleet(machines[0], machines[1], Place(folder, database_url, store_url, given["MASTER_KEY"]))
