"""What does not grow with the number of a cell's registries: counted, and never timed."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import resource
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import bindparam, update

import moorage
from moorage import starting, supervisor, working
from moorage.accounting import Accounting
from moorage.cloud import destroying, provisioning, restrictions
from moorage.cloud.reconciling import Reconcile
from moorage.db import Database, Statement, cell
from moorage.db.platform import cloud_registry
from moorage.db.postgres import Postgres
from moorage.db.sqlite import SqliteDatabase
from moorage.db.statements import SQLITE, Unbindable
from moorage.homes import Homes
from moorage.planes import RegistryPlane
from moorage.registry import collection
from moorage.registry.directory import FRESH, PACE, UNTOLD, Directory, Entry, RegistryUnknown
from moorage.supervisor import Leash
from tests.functional.ordering_world import Orders, orders
from tests.worlds import World

__all__ = ["orders"]

SECONDS = 60.0
MANY = 1000
PLAN = provisioning.PLANS["S"]
LATE = Statement(update(cloud_registry).where(cloud_registry.c.id == bindparam("which")).values(updated_at=1))
CHANGES = ("INSERT INTO", "UPDATE", "DELETE FROM")
DIRECTORY = (cell.entry, cell.host, cell.address_rules)


@dataclass
class Processes:
    """Two processes of a cell, as far as its directory goes: one writes, and the other reads and is counted."""

    writes: Database
    reads: Database
    hears: Callable[[], Awaitable[object]]
    asked: list[Statement] = field(default_factory=list)
    now: float = 0.0
    takes: float = 0.0
    """How long a question of the directory's takes, by its clock."""

    def directory(self) -> Directory:
        """Give a directory whose reader's questions are counted, and whose clock stands still."""
        reads = cast(
            "Any",
            SimpleNamespace(one=self.reads.one, all=self._all, access_version=self.reads.access_version),
        )
        return Directory(reads, 5000, clock=lambda: self.now)

    async def _all(self, statement: Statement, **given: object) -> list[Any]:
        self.asked.append(statement)
        self.now += self.takes
        return await self.reads.all(statement, **given)

    async def sees(self, directory: Directory, seen: Callable[[], bool]) -> None:
        """Look until what the other process wrote is seen; that the time never comes to read it untold is the clock's."""
        async with asyncio.timeout(SECONDS):
            while not seen():
                await asyncio.sleep(0.01)
                await directory.look()


@pytest.fixture(params=["sqlite", "postgres"])
async def processes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Processes]:
    """Open a cell twice on each engine."""
    if request.param == "sqlite":
        writes = await SqliteDatabase.open(tmp_path / "cell.sqlite", None, create=True)
        reads = await SqliteDatabase.open(tmp_path / "cell.sqlite", None)
        yield Processes(writes, reads, lambda: asyncio.sleep(0))
        await reads.close()
        await writes.close()
    else:
        url = request.getfixturevalue("postgres_url")
        one, other = await Postgres.connect(url), await Postgres.connect(url)
        yield Processes(one.unbound(), other.unbound(), other.listener.heard.wait)
        await other.close()
        await one.close()


async def test_a_directory_that_nobody_changes_is_asked_for_no_row(processes: Processes) -> None:
    await processes.hears()
    directory = processes.directory()
    await directory.refresh()
    read = len(processes.asked)

    for _ in range(int(UNTOLD / FRESH)):
        processes.now += FRESH
        await directory.look()

    assert len(processes.asked) == read > 0


async def test_a_directory_is_read_anew_now_and_then_though_nobody_says_that_it_changed(
    processes: Processes,
) -> None:
    await processes.hears()
    directory = processes.directory()
    await directory.refresh()
    read = len(processes.asked)

    processes.now += UNTOLD + FRESH
    await directory.look()

    assert len(processes.asked) == 2 * read


@pytest.mark.parametrize(("takes", "longest"), [(0.0, PACE), (0.01, FRESH)])
async def test_a_flood_of_unknown_hosts_has_a_small_part_of_the_time_however_long_a_directory_is_read(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, takes: float, longest: float
) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        processes.now += max(seconds, 0.0)

    await processes.hears()
    directory, processes.takes = processes.directory(), takes
    await directory.refresh()
    read, begun = len(processes.asked), processes.now
    monkeypatch.setattr("moorage.registry.directory.asyncio", SimpleNamespace(sleep=sleep))
    for _ in range(20):
        with pytest.raises(RegistryUnknown):
            await directory.find("nobody.example", 5000)

    assert len(slept) == 20
    assert max(slept) <= longest
    assert (len(processes.asked) - read) * takes <= (processes.now - begun) / 8


async def test_every_change_of_the_directory_is_heard_by_the_other_processes(processes: Processes) -> None:
    await processes.hears()
    directory, writes, name = processes.directory(), processes.writes, f"heard-{secrets.token_hex(8)}"
    await directory.refresh()

    def entry() -> Any:
        return next((one for one in directory.all() if one.uuid == made.uuid), None)

    made = await provisioning.place(writes, name, PLAN, first_port=5000)
    await processes.sees(directory, lambda: entry() is not None)
    await provisioning.set_state(writes, made.id, "SUSPENDED pushes for a test")
    await processes.sees(directory, lambda: entry().state.startswith("SUSPENDED"))
    await provisioning.limit(writes, made.id, provisioning.PLANS["M"])
    await processes.sees(directory, lambda: entry().parallel == provisioning.PLANS["M"].parallel)
    await provisioning.place(writes, name, PLAN, first_port=5000, zone="heard.example")
    host = provisioning.host_name(made, "heard.example")
    await processes.sees(
        directory, lambda: directory.known(host, 1) is not None or host in directory._seen.hosts
    )
    rules = {"entry": made.uuid, "registry": "192.0.2.0/24", "management": "", "at": 1}
    await provisioning.note(writes, restrictions._CARRY_OUT, **rules)
    await processes.sees(directory, lambda: entry().rules is not None)
    await provisioning.note(writes, destroying._NO_RULES, entry=made.id)
    await processes.sees(directory, lambda: entry().rules is None)
    await provisioning.forget_name(writes, made.id)
    await processes.sees(directory, lambda: entry().name == made.uuid)
    await provisioning.leave(writes, made.id)
    await processes.sees(directory, lambda: entry() is None)


def test_no_other_statement_changes_the_directory() -> None:
    """Whoever adds one runs it with `provisioning.note`, or touches the access, and has the test above hear it."""
    found = set()
    for module in pkgutil.walk_packages(moorage.__path__, "moorage."):
        if "migrations" in module.name or module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Statement) and _changes_directory(value):
                found.add(f"{module.name.removeprefix('moorage.cloud.')}.{name}")

    assert found == {
        "provisioning._ADD", "provisioning._ADD_HOST", "provisioning._SET_PORT", "provisioning._LIMIT", "provisioning._STATE",
        "provisioning._LEAVE", "provisioning._FORGET_NAME", "restrictions._CARRY_OUT", "destroying._NO_RULES",
    }  # fmt: skip


def _changes_directory(statement: Statement) -> bool:
    try:
        sql = statement.plan(SQLITE).sql.upper()
    except Unbindable:
        # It is about a registry's own rows.
        return False
    return any(sql.startswith(f"{verb} {table.name} ".upper()) for table in DIRECTORY for verb in CHANGES)


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_who_answers_for_many_registries_holds_those_that_are_open(world: World) -> None:
    clients = [await world.add_registry() for _ in range(5)]
    world.plane.registries.most = 2

    statuses = [(await client.get("/v2/")).status_code for client in [world.client, *clients]]

    assert statuses == [200] * 6

    assert len(world.plane.registries._open) == 2
    assert len(world.plane._apps) == 2


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_nothing_is_begun_each_second_for_a_registry_in_which_nothing_happened(world: World) -> None:
    registry = await world.registry()
    await registry.write_down(pulls=True)
    quiet = registry.has_gathered(pulls=True)

    registry.pulls.count(1)

    assert not quiet
    assert registry.has_gathered(pulls=True)
    assert not registry.has_gathered(pulls=False)


@pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)
async def test_a_collection_that_finds_nothing_due_takes_no_turn_and_writes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = await world.registry()
    terms = working.terms(world.settings, world.parts)
    await collection.tend(registry.db, registry.store, terms)
    changes: list[str] = []
    for name in ("change", "record", "write"):
        monkeypatch.setattr(type(registry.db), name, lambda *_, name=name, **__: changes.append(name))

    done = await collection.tend(registry.db, registry.store, terms)

    assert not done
    assert changes == []


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_the_hourly_sweeps_open_only_files_that_were_written_to_since(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await world.add_registry()
    worker = working.Worker.of(world.settings, world.parts)
    # An outbox is drained with what begins jobs, of which there are none here.
    monkeypatch.setattr(working.Worker, "_begin", lambda *_: None)
    await worker.directory.refresh()
    opened: list[str] = []
    get = worker.homes.get

    async def noted(entry: Entry) -> Database:
        opened.append(entry.uuid)
        return await get(entry)

    monkeypatch.setattr(Homes, "get", lambda _, entry: noted(entry))
    sweep = Accounting.of(world.settings, world.parts, worker.directory, noted).metering.measure

    async def swept() -> list[str]:
        opened.clear()
        await worker.relay_all()
        for entry in world.entries:
            await sweep(entry.uuid)
        return list(opened)

    # What is moved out of an outbox is a change of its own.
    while len(await swept()) != 0:
        assert len(opened) <= 2 * len(world.entries)
    await world.add_project("busy")
    busy = await swept()

    assert set(busy) == {world.entry.uuid}
    await worker.homes.close()


def _ends() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.settimeout(0)
    return ours, theirs


async def test_a_thousand_sockets_reach_a_child_that_was_busy_when_they_came() -> None:
    ours, theirs = _ends()
    listening, taken, all_there = socket.create_server(("127.0.0.1", 0)), [], asyncio.Event()
    running = supervisor._Running(cast("Any", None), cast("Any", SimpleNamespace(leash=ours)))

    def take(name: str, given: socket.socket) -> None:
        taken.append((name, given.getsockname()))
        given.close()
        if len(taken) == MANY:
            all_there.set()

    for _ in range(MANY):
        supervisor._hand(running, "door", listening)
    waiting = len(running.waiting)
    Leash(theirs).watch(take)
    await asyncio.wait_for(all_there.wait(), SECONDS)

    assert waiting > 0
    assert taken == [("door", listening.getsockname())] * MANY
    asyncio.get_running_loop().remove_reader(theirs)
    for one in (ours, theirs, listening):
        one.close()


async def test_a_thousand_ports_are_asked_for_though_the_supervisor_reads_them_later() -> None:
    ours, theirs = _ends()
    ports = set(range(6000, 6000 + MANY))
    plane = SimpleNamespace(
        directory=SimpleNamespace(main_port=5000, ports=lambda: {5000} | ports, look=lambda: asyncio.sleep(0))
    )
    asking = asyncio.create_task(RegistryPlane.open_ports(cast("Any", plane), Leash(theirs)))
    # Longer than it takes until the leash is full.
    for _ in range(3):
        await asyncio.sleep(0)

    asked: set[int] = set()
    async with asyncio.timeout(SECONDS):
        while asked != ports:
            asked.add(int((await asyncio.get_running_loop().sock_recv(ours, 256)).split()[2]))

    asking.cancel()
    for one in (ours, theirs):
        one.close()


def test_a_process_takes_as_many_descriptors_as_it_may_have() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(starting.DESCRIPTORS, before[1])
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        starting._allow_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_what_waits_in_a_long_queue_is_not_promised_once_more(orders: Orders) -> None:
    ordered = await orders.ordered("waits-long")
    await orders.platform.write(LATE, which=ordered.id)
    worker = working.Worker.of(orders.world.settings, orders.world.parts)
    promised: list[str] = []
    busy = {ordered.id}

    async def submit(job: Reconcile, **_: str) -> None:
        promised.append(job.registry)

    async def told() -> set[str]:
        return busy

    worker.engine = cast("Any", SimpleNamespace(submit=submit, busy=told))
    await worker.promise_platform()
    waiting = promised.count(ordered.id)
    busy = set()
    await worker.promise_platform()

    assert waiting == 0
    assert promised.count(ordered.id) == 1
    await orders.work()
