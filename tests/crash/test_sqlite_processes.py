"""One SQLite file under several processes, some killed: each rule, and what would break it.

Run as a program this file is one of those processes.
"""

# ruff: noqa: T201 - the processes talk to the test through their output.

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, func, select

from moorage.db import Statement, Tx, Vanished, files, insert, patience, writer
from moorage.db import tables as t
from moorage.db.sqlite import SqliteDatabase
from moorage.errors import Unavailable

ROOT = Path(__file__).parents[2]
REGISTRY = 1
MIB = 1 << 20
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]

START = Statement(
    insert(t.registry).values(clock=0, limit_bytes=-1, lease=1, trash_window=1, backup_window=1)
)
SAY = Statement(
    insert(t.event).values(
        uuid=bindparam("uuid"),
        kind="",
        at=bindparam("at"),
        actor=bindparam("actor"),
        outcome="",
        body=bindparam("body"),
    )
)
SAID = Statement(select(t.event.c.uuid, t.event.c.at).order_by(t.event.c.id))
PAIRS = Statement(select(t.event.c.actor, func.count().label("n")).group_by(t.event.c.actor))


def saying(uuid: str, body: str = "") -> Any:
    """Make a change of two rows: both are there, or neither."""

    async def work(tx: Tx) -> str:
        await tx.run(SAY, uuid=f"{uuid}/1", at=tx.at, actor=uuid, body=body)
        await tx.run(SAY, uuid=f"{uuid}/2", at=tx.at, actor=uuid, body="")
        return uuid

    return work


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    made = await SqliteDatabase.open(tmp_path / "registry.1.sqlite", REGISTRY, create=True)
    await made.write(START)
    yield made
    await made.close()


@pytest.fixture
async def process(db: SqliteDatabase) -> AsyncIterator[Start]:
    """Give what starts this file as a process on the database, and waits until it says that it is ready."""
    async with AsyncExitStack() as ending:

        async def start(mode: str, name: str = "") -> asyncio.subprocess.Process:
            made = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.crash.test_sqlite_processes", str(db.path), mode, name,
                cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            ending.push_async_callback(end, made)
            assert made.stdout
            assert await made.stdout.readline() == b"ready\n"
            return made

        yield start


async def end(made: asyncio.subprocess.Process) -> None:
    """Take a process away, if it is there still, and what it has said."""
    if made.returncode is None:
        made.kill()
    await made.communicate()


@contextmanager
def lock_held(path: Path) -> Iterator[None]:
    descriptor = os.open(f"{path}.lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


async def test_no_acknowledged_change_is_lost_when_writers_are_killed(
    db: SqliteDatabase, process: Start
) -> None:
    acknowledged: list[str] = []

    async def slaughter(worker: int) -> None:
        for life in range(3):
            victim = await process("write", f"{worker}.{life}")
            assert victim.stdout
            for _ in range(random.randint(5, 200)):
                line = await victim.stdout.readline()
                acknowledged.extend([line.decode().strip()])
            victim.kill()
            acknowledged.extend(line.strip() for line in (await victim.stdout.read()).decode().splitlines(keepends=True)
                                if line.endswith("\n"))  # fmt: skip
            await victim.wait()

    await asyncio.gather(*(slaughter(worker) for worker in range(3)))

    rows = await db.all(SAID)
    said = {row.uuid.partition("/")[0] for row in rows}
    assert len(acknowledged) > 50
    assert set(acknowledged) <= said
    assert {row.n for row in await db.all(PAIRS)} == {2}
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    assert integrity(db.path) == "ok"


def integrity(path: Path) -> str:
    connection = files.connect(path, reads=True)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        files.close(path, connection)


async def test_every_write_waits_for_the_lock(db: SqliteDatabase) -> None:
    with lock_held(db.path):
        waiting = [
            asyncio.ensure_future(db.change(saying("a"))),
            asyncio.ensure_future(db.write(SAY, uuid="b", at=1, actor="b", body="")),
        ]
        done, _ = await asyncio.wait(waiting, timeout=0.3)
        assert not done
        assert await db.all(SAID) == []

    await asyncio.gather(*waiting)

    assert len(await db.all(SAID)) == 3


async def test_a_change_that_cannot_begin_is_given_up_and_never_happens(
    db: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "STILL", 0.1)
    with lock_held(db.path), pytest.raises(Unavailable) as told:
        await db.change(saying("late"))

    await db.change(saying("next"))

    assert told.value.retry_after
    assert {row.uuid for row in await db.all(SAID)} == {"next/1", "next/2"}


async def test_closing_waits_for_the_lock_since_the_last_to_close_checkpoints(tmp_path: Path) -> None:
    db = await SqliteDatabase.open(tmp_path / "registry.1.sqlite", REGISTRY, create=True)
    await db.write(START)
    with lock_held(db.path):
        closing = asyncio.ensure_future(db.close())
        done, _ = await asyncio.wait([closing], timeout=0.3)

        assert not done
        assert db.wal_size() > 0

    await closing
    assert db.wal_size() == 0


async def test_a_database_that_is_forgotten_is_closed(tmp_path: Path) -> None:
    db = await SqliteDatabase.open(tmp_path / "registry.1.sqlite", REGISTRY, create=True)
    path = db.path
    del db
    await asyncio.sleep(0)  # The loop itself still holds what the opening gave.
    gc.collect()

    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    connection.close()


async def test_a_reader_never_checkpoints_nor_writes(db: SqliteDatabase) -> None:
    reader = files.connect(db.path, reads=True)

    settings = {
        name: reader.execute(f"PRAGMA {name}").fetchone()[0] for name in ("wal_autocheckpoint", "query_only")
    }

    assert settings == {"wal_autocheckpoint": 0, "query_only": 1}
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM event")
    files.close(db.path, reader)


async def test_a_writer_is_fully_durable(db: SqliteDatabase) -> None:
    connection = files.connect(db.path, reads=False)

    settings = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "journal_mode", "foreign_keys")
    }

    files.close(db.path, connection)
    assert settings == {"synchronous": 2, "journal_mode": "wal", "foreign_keys": 1}


async def test_the_log_is_bounded(db: SqliteDatabase) -> None:
    biggest = 0
    for i in range(60):
        await db.change(saying(f"{i}", "x" * MIB))
        biggest = max(biggest, db.wal_size())

    assert biggest < writer.WAL_LIMIT + 8 * MIB


async def test_the_log_is_emptied_once_a_long_reader_has_ended(
    db: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAL_PAUSE", 0.0)
    async with db.snapshot() as moment:
        for i in range(24):
            await db.change(saying(f"{i}", "x" * MIB))
        held, seen = db.wal_size(), await moment.all(SAID)

    await db.change(saying("last"))
    await db.change(saying("very last"))

    assert seen == []
    assert held > writer.WAL_LIMIT > db.wal_size()


async def test_a_live_file_is_opened_by_nobody_but_sqlite(db: SqliteDatabase) -> None:
    opened: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[0], str):
            opened.append(arguments[0])

    sys.addaudithook(watch)
    await db.change(saying("a", "x" * MIB))
    async with db.snapshot() as moment:
        await moment.all(SAID)
    db.wal_size()
    db.is_stale()
    again = await SqliteDatabase.open(db.path, REGISTRY)
    await again.close()
    watching = False

    assert f"{db.path}.lock" in opened
    assert not {str(db.path), f"{db.path}-wal", f"{db.path}-shm"} & set(opened)


async def test_a_second_sqlite_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apsw", os)

    with pytest.raises(RuntimeError, match="apsw"):
        files.connect(tmp_path / "any", reads=True)


async def test_a_change_that_awaits_anything_else_is_refused_and_rolled_back(db: SqliteDatabase) -> None:
    async def work(tx: Tx) -> None:
        await tx.run(SAY, uuid="a", at=tx.at, actor="a", body="")
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="awaited something other"):
        await db.change(work)

    assert await db.all(SAID) == []


async def test_an_idle_writer_lets_go_and_comes_back(
    db: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "IDLE", 0.01)
    await db.change(saying("a"))
    thread = db._writer._thread
    if thread is not None:
        await asyncio.to_thread(thread.join)

    assert db._writer._thread is None
    await db.change(saying("b"))
    assert len(await db.all(SAID)) == 4


async def test_a_deleted_registry_takes_no_write_from_any_process(db: SqliteDatabase, process: Start) -> None:
    other = await process("try")
    elsewhere = await SqliteDatabase.open(db.path, REGISTRY)
    await elsewhere.change(saying("before"))

    await db.mark_deleted()

    with pytest.raises(Vanished):
        await elsewhere.change(saying("after"))
    with pytest.raises(Vanished):
        await elsewhere.write(SAY, uuid="after", at=1, actor="", body="")
    await elsewhere.close()
    told, _ = await other.communicate(b"now\n")
    assert told == b"Vanished\n"


async def test_a_moved_file_is_noticed_and_takes_no_write(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    db = await SqliteDatabase.open(tmp_path / "one" / "registry.1.sqlite", REGISTRY, create=True)
    await db.write(START)
    assert not db.is_stale()

    (tmp_path / "one").rename(tmp_path / "trash")

    assert db.is_stale()
    with pytest.raises(Vanished):
        await db.change(saying("a"))
    await db.close()
    shutil.rmtree(tmp_path / "trash")


async def test_a_full_disk_is_told_and_harms_nothing(db: SqliteDatabase, process: Start) -> None:
    other = await process("fill")

    told, _ = await other.communicate()

    assert told.decode().split() == ["Unavailable", "Unavailable", "2", "written"]
    assert {row.uuid.partition("/")[0] for row in await db.all(SAID)} == {"before", "after"}
    assert integrity(db.path) == "ok"


async def _write(path: Path, name: str) -> None:
    """Write for ever, eight at a time, and say what is safe."""
    db = await SqliteDatabase.open(path, REGISTRY)
    print("ready", flush=True)

    async def submit(one: int) -> None:
        i = 0
        while True:
            sys.stdout.write(
                await db.change(saying(f"{name}.{one}.{i}", "x" * random.randint(0, 20_000))) + "\n"
            )
            sys.stdout.flush()
            i += 1

    await asyncio.gather(*(submit(one) for one in range(8)))


async def _try(path: Path, _: str) -> None:
    """Open, wait to be told, then write."""
    db = await SqliteDatabase.open(path, REGISTRY)
    await db.change(saying("from elsewhere"))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    try:
        await db.change(saying("too late"))
    except Vanished as error:
        print(type(error).__name__, flush=True)
    await db.close()


async def _fill(path: Path, _: str) -> None:
    """Meet the end of the room, with one change and with many, then write again."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    db = await SqliteDatabase.open(path, REGISTRY)
    print("ready", flush=True)
    await db.change(saying("before"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (db.wal_size() + 100_000, resource.RLIM_INFINITY))
    try:
        await db.change(saying("alone", "x" * MIB))
    except Unavailable:
        print("Unavailable")
    outcomes = await asyncio.gather(
        *(db.change(saying(f"{i}", "x" * MIB)) for i in range(5)), return_exceptions=True
    )
    print("Unavailable" if all(isinstance(outcome, Unavailable) for outcome in outcomes) else outcomes)
    print(len(await db.all(SAID)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await db.change(saying("after"))
    await db.close()
    print("written", flush=True)


if __name__ == "__main__":
    asyncio.run({"write": _write, "try": _try, "fill": _fill}[sys.argv[2]](Path(sys.argv[1]), sys.argv[3]))
