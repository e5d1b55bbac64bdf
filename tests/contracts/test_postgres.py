"""What only PostgreSQL can do to us: it goes away, it waits, its schema moves, a proxy stands before it."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy import bindparam, select, update

from moorage.db import Statement, Tx, Vanished, insert
from moorage.db import tables as t
from moorage.db.postgres import Postgres, PostgresDatabase
from moorage.errors import Unavailable
from tests.servers.ports import reserved
from tests.servers.postgres import PostgresServer, running_postgres

ids = itertools.count(1_000_000)

START = Statement(
    insert(t.registry).values(clock=0, limit_bytes=-1, lease=1, trash_window=1, backup_window=1)
)
ADD = Statement(insert(t.label).values(name=bindparam("name"), created_at=bindparam("at")))
NAMES = Statement(select(t.label.c.name).order_by(t.label.c.name))
REGISTRY_ROW = Statement(select(t.registry.c.clock, t.registry.c.used))
USE = Statement(update(t.registry).values(used=bindparam("used")))


def adding(*names: str) -> Callable[[Tx], Any]:
    async def work(tx: Tx) -> int:
        for name in names:
            await tx.run(ADD, name=name, at=tx.at)
        return tx.at

    return work


async def names(db: PostgresDatabase) -> list[str]:
    return [row.name for row in await db.all(NAMES)]


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[Postgres]:
    made = await Postgres.connect(postgres_url)
    yield made
    await made.close()


@pytest.fixture
async def db(postgres: Postgres) -> PostgresDatabase:
    made = postgres.bound(next(ids))
    await made.write(START)
    return made


async def test_it_heals_by_itself_when_the_server_comes_back() -> None:
    with running_postgres(fsync=True) as server:
        postgres = await Postgres.connect(await asyncio.to_thread(server.cell))
        db = postgres.bound(1)
        await db.write(START)
        await db.change(adding("before"))

        server.kill()
        with pytest.raises(Unavailable) as read:
            await db.all(NAMES)
        with pytest.raises(Unavailable) as changed:
            await db.change(adding("lost"))
        versions = {db.access_version() for _ in range(3)}
        await asyncio.to_thread(server.start)

        assert read.value.retry_after
        assert changed.value.retry_after
        assert len(versions) == 3
        assert await names(db) == ["before"]
        await db.change(adding("after"))
        async with asyncio.timeout(60):
            await postgres.listener.heard.wait()
        assert db.access_version() == db.access_version()
        await postgres.close()


@pytest.mark.parametrize("turns", range(4))
async def test_connections_that_died_unseen_cost_no_read(
    db: PostgresDatabase, postgres: Postgres, postgres_url: str, turns: int
) -> None:
    await postgres.listener.heard.wait()
    await asyncio.gather(*(names(db) for _ in range(8)))
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        # Those of other databases are other tests'.
        admin.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE application_name = 'moorage' AND datname = current_database()"
        )

    # What the server said last is read in one turn of the loop, that it has gone in a later one.
    for _ in range(turns):
        await asyncio.sleep(0)
    answers = await asyncio.gather(*(names(db) for _ in range(8)))
    async with asyncio.timeout(60):
        while postgres.listener.version(0) != postgres.listener.version(0):
            await asyncio.sleep(0.01)

    assert answers == [[]] * 8


async def test_a_turn_held_too_long_elsewhere_is_told_as_unavailable(
    db: PostgresDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db._turns, "_begin", db._turns._begin.replace("BEGIN ISOLATION LEVEL READ COMMITTED;",
                        "BEGIN; SET LOCAL lock_timeout = '200ms';"))  # fmt: skip
    with psycopg.connect(postgres_url) as other:
        other.execute(f"SELECT pg_advisory_xact_lock({(0x4D6F6F72 << 32) + (db.registry_id or 0)})")
        outcomes = await asyncio.gather(
            db.change(adding("a")), db.change(adding("b")), return_exceptions=True
        )
        other.rollback()

    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    await db.change(adding("c"))
    assert await names(db) == ["c"]


async def test_a_storm_of_changes_in_one_registry_takes_one_connection(
    db: PostgresDatabase, postgres: Postgres
) -> None:
    await asyncio.gather(*(db.change(adding(f"{i:03}")) for i in range(200)))

    assert postgres.pool._made <= 2
    assert len(await names(db)) == 200


async def test_more_readers_than_connections_wait_in_line(db: PostgresDatabase, postgres: Postgres) -> None:
    await asyncio.gather(*(names(db) for _ in range(200)))

    assert postgres.pool._made <= postgres.pool.address.size


async def test_a_cancelled_read_leaves_the_pool_whole(db: PostgresDatabase, postgres: Postgres) -> None:
    for _ in range(3 * postgres.pool.address.size):
        reading = asyncio.ensure_future(names(db))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])

    answers = await asyncio.gather(*(names(db) for _ in range(20)))

    assert answers == [[]] * 20
    assert postgres.pool._made <= postgres.pool.address.size


@pytest.mark.parametrize("alive", [True, False])
async def test_a_connection_handed_to_a_caller_who_just_left_is_the_nexts(
    postgres: Postgres, *, alive: bool
) -> None:
    pool = postgres.pool
    held = [await pool.acquire() for _ in range(pool.address.size)]
    leaving = asyncio.ensure_future(pool.acquire())
    await asyncio.sleep(0)
    handed = held.pop()
    if not alive:
        handed.terminate()
    pool.release(handed)
    leaving.cancel()
    await asyncio.wait([leaving])

    held.append(await pool.acquire())

    assert leaving.cancelled()
    assert pool._made == len(held) == pool.address.size
    for connection in held:
        pool.release(connection)


async def test_a_number_that_no_registry_has_is_refused(postgres: Postgres) -> None:
    with pytest.raises(ValueError, match="number"):
        postgres.bound(0)
    with pytest.raises(ValueError, match="number"):
        postgres.bound(1 << 32)


async def test_a_registry_that_is_gone_has_no_record(postgres: Postgres) -> None:
    # A row that nobody would ever delete: on SQLite it would go with the file.
    with pytest.raises(Vanished):
        await postgres.bound(next(ids)).record(adding("left behind"))


async def test_a_schema_that_moves_under_a_statement_is_met_in_reads_and_in_turns(
    postgres_server: PostgresServer,
) -> None:
    url = await asyncio.to_thread(postgres_server.cell)
    postgres = await Postgres.connect(url, size=1)
    db = postgres.bound(1)
    await db.write(START)

    async def work(tx: Tx) -> Any:
        await tx.run(USE, used=7)
        return await tx.one(REGISTRY_ROW)

    await db.one(REGISTRY_ROW)
    await db.change(work)
    async with asyncio.timeout(30):
        other = await asyncpg.connect(url)
        await other.execute("ALTER TABLE registry ALTER COLUMN used TYPE NUMERIC")
        changed = await db.change(work)
        await other.execute("ALTER TABLE registry ALTER COLUMN used TYPE BIGINT")
        read: Any = await db.one(REGISTRY_ROW)
        await other.close()

    assert (changed.used, read.used) == (7, 7)
    await postgres.close()


async def test_processes_of_one_name_count_each_other_and_the_dead_no_more(
    own_postgres: PostgresServer,
) -> None:
    url = await asyncio.to_thread(own_postgres.cell)
    processes = [await Postgres.connect(url) for _ in range(4)]
    for process in processes[:3]:
        process.listener.count_as("these")

    async def seen(*expected: tuple[int, int] | None) -> None:
        async with asyncio.timeout(30):
            while sorted(map(str, (one.listener.peers for one in processes))) != sorted(map(str, expected)):
                await asyncio.sleep(0.05)

    await seen((3, 0), (3, 1), (3, 2), None)
    first = next(one for one in processes if one.listener.peers == (3, 0))
    await first.close()
    processes.remove(first)
    await seen((2, 0), (2, 1), None)
    await asyncio.to_thread(own_postgres.kill)
    await asyncio.to_thread(own_postgres.start)

    await seen((2, 0), (2, 1), None)
    for process in processes:
        await process.close()


async def test_a_change_that_takes_too_long_frees_its_turn(
    db: PostgresDatabase, postgres: Postgres, postgres_url: str
) -> None:
    slow = await Postgres.connect(postgres_url)
    stuck, entered = asyncio.Event(), asyncio.Event()

    async def work(tx: Tx) -> None:
        await tx.run(ADD, name="stuck", at=tx.at)
        entered.set()
        await stuck.wait()

    waiting = asyncio.ensure_future(slow.bound(db.registry_id or 0).change(work))
    await entered.wait()
    outcomes: list[Any] = []
    async with asyncio.timeout(60):
        while not outcomes or isinstance(outcomes[-1], Unavailable):
            outcomes += await asyncio.gather(db.change(adding("next")), return_exceptions=True)
    stuck.set()

    with pytest.raises(Unavailable):
        await waiting
    assert await names(db) == ["next"]
    await slow.close()


async def test_who_is_told_to_create_makes_the_schema_and_who_is_not_says_how(
    postgres_server: PostgresServer,
) -> None:
    url = await asyncio.to_thread(postgres_server.database)

    with pytest.raises(Unavailable, match="moorage migrate"):
        await Postgres.connect(url)
    made = await Postgres.connect(url, create=True)

    assert await made.bound(1).all(NAMES) == []
    await made.close()


@pytest.fixture
def bouncer(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[str]:
    """Run a PgBouncer that pools transactions before a cell of its own, and give its address."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("Debian's package pgbouncer is missing")
    url = postgres_server.cell()
    folder = postgres_server.folder / "bouncer"
    folder.mkdir()
    with reserved() as (port,):
        (folder / "pgbouncer.ini").write_text(
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nuser = postgres\n"
            f"[databases]\n* = host=127.0.0.1 port={postgres_server.port} user=postgres\n"
        )
        process = subprocess.Popen(
            [program, str(folder / "pgbouncer.ini")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        address = f"postgresql://postgres@127.0.0.1:{port}/{url.rpartition('/')[2]}"
        try:
            _answers(address)
            yield address
        finally:
            # Its own way of ending may wait for clients, for nothing that anybody wants.
            process.kill()
            process.wait()
            shutil.rmtree(folder)


def _answers(address: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(address, connect_timeout=2).close()
        except psycopg.OperationalError:
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return


async def test_behind_a_proxy_that_pools_transactions_everything_works(bouncer: str) -> None:
    postgres = await Postgres.connect(f"{bouncer}?prepared=0")
    ours, theirs = postgres.bound(1), postgres.bound(2)
    for db in (ours, theirs):
        await db.write(START)

    await asyncio.gather(*(db.change(adding(f"{i:02}")) for i in range(40) for db in (ours, theirs)))
    reads = await asyncio.gather(*(names(db) for _ in range(40) for db in (ours, theirs)))

    assert {tuple(read) for read in reads} == {tuple(f"{i:02}" for i in range(40))}
    assert ours.access_version() != ours.access_version()
    await postgres.close()


async def test_behind_a_proxy_notifications_may_come_by_another_way(
    bouncer: str, postgres_server: PostgresServer
) -> None:
    direct = postgres_server.url(bouncer.rpartition("/")[2])
    postgres = await Postgres.connect(f"{bouncer}?prepared=0&listen={direct}")
    await postgres.listener.heard.wait()
    db = postgres.bound(1)

    assert db.access_version() == db.access_version()
    await postgres.close()
