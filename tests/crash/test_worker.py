"""Workers that are killed, starved of disk and doubled: nothing is lost, nothing is done twice.

Run as a program this file is a worker with a job of its own: it makes a file for each event that it was told of.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, select, update

from moorage import parts, settings, working
from moorage.db import Database, Statement, insert
from moorage.db import tables as t
from moorage.jobs import Event, Job
from moorage.registry import events
from moorage.registry.events import SYSTEM
from moorage.serving import on_signal
from moorage.storage import Key, new_key
from moorage.storage.memory import BytesSource
from tests.servers.house import environment
from tests.servers.postgres import PostgresServer
from tests.worlds import MASTER_KEY, World, opened

ROOT = Path(__file__).parents[2]
SECONDS = 120.0
# What a worker says is read when it has ended: until then it must not wait for a reader.
TOLD = 1 << 24
STUCK = "one-that-never-ends-a-job"
EVENTS = Statement(select(t.event.c.uuid, t.event.c.kind, t.event.c.body).order_by(t.event.c.id))
WAITING = Statement(select(t.outbox.c.uuid).order_by(t.outbox.c.id))
DOOMED = Statement(select(t.doomed.c.key))
DOOM = Statement(insert(t.doomed).values(key=bindparam("key"), size=1, destroy_at=1))
OLD = Statement(update(t.event).values(at=1))
RECORD = Statement(select(t.event.c.id))


@dataclass(frozen=True, slots=True)
class Note(Job):
    """Make a file of an event's name, if there is none."""

    uuid: str

    @classmethod
    def of(cls, event: Event) -> Note:
        """Promise it."""
        return cls(event.uuid)


@dataclass(slots=True)
class Work:
    """A cell without servers, and the workers that a test lets loose on it."""

    world: World
    data: Path
    settings: dict[str, str]
    workers: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def notes(self) -> set[str]:
        """List the files that the job has made."""
        return {path.name for path in (self.data / "notes").iterdir()}

    async def db(self) -> Database:
        """Give the first registry's rows."""
        return (await self.world.registry()).db

    async def worker(self, *program: str, name: str = "", **given: str) -> asyncio.subprocess.Process:
        """Start a worker: Moorage's own, or (a *program*) one with a job of the test's."""
        command = program or ("-m", "moorage", "work")
        set_ = environment(self.data, **self.settings, **given, WORKER_NAME=name)
        set_["PYTHONPATH"] += f":{ROOT}"
        made = await asyncio.create_subprocess_exec(
            sys.executable, *command, env=set_, stderr=asyncio.subprocess.PIPE, limit=TOLD
        )
        self.workers.append(made)
        return made

    async def close(self) -> None:
        """End the workers that a test which failed has left."""
        for one in self.workers:
            if one.returncode is None:
                await kill(one)


@asynccontextmanager
async def cell(data: Path, **given: str) -> AsyncIterator[Work]:
    """Make a cell with one registry."""
    place = parts.Place(data, given.get("DATABASE_URL", ""), (data / "blobs").as_uri(), MASTER_KEY)
    (data / "notes").mkdir()
    async with opened(place) as world:
        work = Work(world, data, {"MASTER_KEY": MASTER_KEY, "COLLECTION_INTERVAL": "1s", **given})
        try:
            yield work
        finally:
            await work.close()


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[Work]:
    """Make a cell on SQLite."""
    async with cell(tmp_path) as made:
        yield made


@pytest.fixture
async def fleet(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[Work]:
    """Make a cell on a PostgreSQL of its own."""
    async with cell(tmp_path, DATABASE_URL=postgres_server.cell()) as made:
        yield made


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what other processes do: they tell nobody."""
    async with asyncio.timeout(SECONDS):
        while not await is_so():
            await asyncio.sleep(0.05)


async def change(db: Database, first: int, count: int) -> list[str]:
    """Make one change with several events, and give their numbers once they are safe."""

    async def work(tx: Any) -> None:
        for n in range(first, first + count):
            await events.record(tx, "test.change", SYSTEM, repository="library/app", n=str(n))

    await db.change(work)
    return [str(n) for n in range(first, first + count)]


async def kill(process: asyncio.subprocess.Process) -> None:
    """Take a process away at once."""
    process.kill()
    await process.wait()


async def stop(process: asyncio.subprocess.Process) -> int:
    """Ask a process to end, and give its status."""
    process.terminate()
    await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode is not None
    return process.returncode


async def is_relayed(db: Database) -> bool:
    """Tell whether the outbox is empty."""
    return not await db.all(WAITING)


async def numbers(db: Database) -> list[str]:
    """List the changes that the record tells of, in its order."""
    return [json.loads(row.body)["n"] for row in await db.all(EVENTS) if row.kind == "test.change"]


async def test_events_are_exactly_the_changes_however_often_the_worker_is_killed(work: Work):
    db = await work.db()
    made: list[str] = []
    chance = random.Random(4)
    for _ in range(6):
        worker = await work.worker()
        async with asyncio.timeout(SECONDS):
            end = asyncio.get_running_loop().time() + chance.uniform(0.7, 3.0)
            while asyncio.get_running_loop().time() < end:
                made += await change(db, len(made), chance.randint(1, 300))
        await kill(worker)

    last = await work.worker()
    await until(lambda: is_relayed(db))
    status = await stop(last)

    assert await numbers(db) == made
    assert status == 0


async def test_a_collection_that_is_killed_is_taken_up_and_ends(work: Work):
    registry = await work.world.registry()
    gone, kept = [new_key() for _ in range(600)], [new_key() for _ in range(20)]
    for key in (*gone, *kept):
        await write(registry.store, key)
    await registry.db.change(lambda tx: tx.many(DOOM, [{"key": key} for key in gone]))
    await change(registry.db, 0, 3000)
    killed = 0
    chance = random.Random(7)
    while await registry.db.all(DOOMED) and killed < 8:
        worker = await work.worker()
        await asyncio.sleep(chance.uniform(1.2, 2.5))
        await kill(worker)
        killed += 1
    left = {id_ for id_, _, _ in jobs_if_any(work)}
    last = await work.worker()

    await until(lambda: is_empty(registry.db, DOOMED))
    await until(lambda: have_ended(work, left))
    await stop(last)

    stored = {one.key async for one in registry.store.list()}
    assert stored == set(kept)
    # One that was promised since may wait for the next worker.
    assert {state for _, state, _ in jobs(work)} <= {"SUCCESS", "ENQUEUED", "PENDING"}


async def write(store: Any, key: Key) -> None:
    """Keep a byte under a key."""
    await store.write(key, 0, BytesSource(b"x"), None, limit=10)
    await store.commit([key], key)


async def is_empty(db: Database, statement: Statement) -> bool:
    """Tell whether a question has no answer left."""
    return not await db.all(statement)


async def have_ended(work: Work, ids: set[str]) -> bool:
    """Tell whether jobs were done to their end."""
    return ids <= {id_ for id_, state, _ in jobs_if_any(work) if state == "SUCCESS"}


async def is_done(work: Work) -> bool:
    """Tell whether every job has ended, in a cell whose worker still promises new ones."""
    found = jobs(work)
    return bool(found) and all(state == "SUCCESS" for _, state, _ in found)


def jobs(work: Work) -> list[tuple[str, str, str]]:
    """List the jobs of a cell on SQLite: id, state, and who does it."""
    asked = "SELECT workflow_uuid, status, executor_id FROM workflow_status"
    with sqlite3.connect(work.data / "jobs.sqlite", timeout=30) as connection:
        found: list[tuple[str, str, str]] = connection.execute(asked).fetchall()
    connection.close()
    return found


async def test_a_job_begins_once_for_each_event_however_often_the_worker_is_killed(work: Work):
    db = await work.db()
    chance = random.Random(1)
    made: list[str] = []
    for _ in range(4):
        worker = await work.worker(__file__)
        made += await change(db, len(made), 10)
        await asyncio.sleep(chance.uniform(1.0, 4.0))
        await kill(worker)

    last = await work.worker(__file__)
    await until(lambda: is_relayed(db))
    expected = {row.uuid for row in await db.all(EVENTS) if row.kind == "test.change"}
    await until(lambda: is_noted(work, expected))
    await stop(last)

    begun = [id_ for id_, _, _ in jobs(work) if ":" not in id_]
    assert len(made) == len(expected) == 40
    assert sorted(begun) == sorted(expected)
    assert work.notes == expected


async def is_noted(work: Work, expected: set[str]) -> bool:
    """Tell whether the job of every event was done, and has ended."""
    ended = {id_ for id_, state, _ in jobs(work) if state == "SUCCESS"}
    return expected <= work.notes and expected <= ended


async def test_a_worker_without_disk_ends_and_the_next_takes_everything_up(work: Work):
    db = await work.db()
    worker = await work.worker()
    await until(lambda: is_known(work, "collect:"))
    await until(lambda: is_done(work))

    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    await change(db, 0, 50)
    _, told = await asyncio.wait_for(worker.communicate(), SECONDS)
    again = await work.worker()
    await until(lambda: is_relayed(db))
    await until(lambda: is_done(work))
    await stop(again)

    assert worker.returncode == 1, told.decode()
    assert b"the jobs' database refuses" in told or b"a job is stuck" in told
    assert await numbers(db) == [str(n) for n in range(50)]


async def is_known(work: Work, prefix: str) -> bool:
    """Tell whether there is a job whose id begins so."""
    return (work.data / "jobs.sqlite").exists() and any(
        id_.startswith(prefix) for id_, _, _ in jobs_if_any(work)
    )


def jobs_if_any(work: Work) -> list[tuple[str, str, str]]:
    """List the jobs, none before their table is made."""
    try:
        return jobs(work)
    except sqlite3.OperationalError:
        return []


async def test_one_folder_takes_one_worker(work: Work):
    first = await work.worker()
    await until(lambda: is_known(work, "collect:"))

    second = await work.worker()
    _, told = await asyncio.wait_for(second.communicate(), SECONDS)
    await stop(first)

    assert second.returncode == 1
    assert told.decode().count("\n") == 1
    assert "one folder takes one worker" in told.decode()


async def test_two_workers_share_a_fleet_and_one_takes_over_from_the_other(fleet: Work):
    db = await fleet.db()
    workers = [await fleet.worker(__file__, name=name) for name in (STUCK, "two")]
    made = await change(db, 0, 1)
    async with asyncio.timeout(SECONDS):
        while not (held := await held_by(fleet, STUCK)):
            made += await change(db, len(made), 1)
            await asyncio.sleep(0.2)
    await kill(workers[0])
    made += await change(db, len(made), 20)

    await until(lambda: is_relayed(db))
    expected = {row.uuid for row in await db.all(EVENTS) if row.kind == "test.change"}
    await until(lambda: is_ended(fleet, expected))
    await stop(workers[1])

    assert await numbers(db) == made
    assert fleet.notes == expected
    assert held <= expected


async def held_by(work: Work, executor: str) -> set[str]:
    """List the events whose job a worker has begun and not ended, on PostgreSQL."""
    return {
        row[0] for row in await fleet_jobs(work) if row[1:] == ("PENDING", executor) and ":" not in row[0]
    }


async def fleet_jobs(work: Work) -> list[tuple[str, str, str]]:
    """List the jobs of a cell on PostgreSQL: id, state, and who does it; none before their table is made."""
    assert work.world.parts.postgres is not None
    there = "SELECT to_regclass('moorage_jobs.workflow_status') IS NOT NULL"
    asked = "SELECT workflow_uuid, status, executor_id FROM moorage_jobs.workflow_status"
    pool = work.world.parts.postgres.pool
    if not await pool.read(lambda connection: connection.fetchval(there)):
        return []
    return [tuple(row) for row in await pool.read(lambda connection: connection.fetch(asked))]


async def is_ended(work: Work, expected: set[str]) -> bool:
    """Tell whether the job of every event has ended, on PostgreSQL."""
    found = {uuid: state for uuid, state, _ in await fleet_jobs(work)}
    return all(found.get(uuid) == "SUCCESS" for uuid in expected)


def main() -> None:
    """Work as Moorage does, with one more kind of job."""
    set_ = settings.read(os.environ)
    place = parts.Place(
        set_.keeping.data, set_.keeping.database_url, set_.keeping.blobs, set_.keeping.master_key
    )

    async def note(job: Note) -> bool:
        if set_.upkeep.worker_name == STUCK:
            await asyncio.Event().wait()
        (set_.keeping.data / "notes" / job.uuid).touch()
        return False

    async def run() -> None:
        asked = asyncio.Event()
        on_signal(asked.set)
        async with parts.opened(place) as made:
            worker = working.Worker.of(set_, made, {"test.change": Note.of})
            await working.work(worker, asked, set_.upkeep.worker_name, {Note: note})
        os._exit(0)

    asyncio.run(run())


if __name__ == "__main__":
    main()
