"""What every Database must do, asked of SQLite and of a real PostgreSQL alike."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import bindparam, delete, exists, func, select, update

from moorage.db import Broken, Database, Statement, Tx, Vanished, insert, one_of
from moorage.db import cell as c
from moorage.db import tables as t
from moorage.db.postgres import Postgres
from moorage.db.sqlite import SqliteDatabase
from moorage.errors import Problem

# Other tests of the same server make registries from 1 on.
ids = itertools.count(2_000_000)

START = Statement(
    insert(t.registry).values(clock=0, limit_bytes=-1, lease=1, trash_window=1, backup_window=1)
)
ADD = Statement(
    insert(t.project)
    .values(name=bindparam("name"), limit_bytes=-1, created_at=bindparam("at"))
    .returning(t.project.c.id)
)
NAMES = Statement(select(t.project.c.name).order_by(t.project.c.name))
COUNT = Statement(
    select(func.count().label("n"), func.sum(t.project.c.created_at).label("total")).select_from(t.project)
)
FIND = Statement(select(t.project.c.id, t.project.c.name).where(t.project.c.name == bindparam("name")))
RENAME = Statement(
    update(t.project).values(name=bindparam("new")).where(t.project.c.name == bindparam("old"))
)
DROP = Statement(delete(t.project).where(t.project.c.name == bindparam("name")))
DROP_ALL = Statement(delete(t.project))
ADD_REPOSITORY = Statement(
    insert(t.repository).values(project_id=bindparam("project"), name=bindparam("name"), created_at=0)
)
JOINED = Statement(
    select(t.project.c.name, t.repository.c.name.label("repository"))
    .outerjoin(t.repository, t.repository.c.project_id == t.project.c.id)
    .order_by(t.project.c.name)
)
WITH_REPOSITORY = Statement(
    select(t.project.c.name).where(exists().where(t.repository.c.project_id == t.project.c.id))
)
COPIED = Statement(
    insert(t.label)
    .from_select(["name", "created_at"], select(t.project.c.name, t.project.c.created_at))
    .on_conflict_do_nothing()
)
LABELS = Statement(select(t.label.c.name).order_by(t.label.c.name))
PUT = Statement(
    insert(t.pull_stat)
    .values(manifest_id=bindparam("id"), pulls=bindparam("pulls"), last_at=0)
    .on_conflict_do_update(
        index_elements=[t.pull_stat.c.manifest_id],
        set_={"pulls": t.pull_stat.c.pulls + insert(t.pull_stat).excluded.pulls},
    )
)
CLOCK = Statement(select(t.registry.c.clock))
PULLS = Statement(select(t.pull_stat.c.manifest_id, t.pull_stat.c.pulls).order_by(t.pull_stat.c.manifest_id))
KEEP = Statement(
    insert(t.upload).values(
        id=bindparam("id"), repository_id=bindparam("repository"), subject="", algorithm="",
        hash_state=bindparam("state"),
        created_at=0, expires_at=0,
    )
)  # fmt: skip
KEPT = Statement(select(t.upload.c.hash_state).where(t.upload.c.id == bindparam("id")))
BY_STATE = Statement(select(t.upload.c.id).where(one_of(t.upload.c.hash_state, "states")))
BY_ID = Statement(select(func.count().label("n")).select_from(t.project).where(one_of(t.project.c.id, "ids")))
BY_NAME = Statement(
    select(t.project.c.name).where(one_of(t.project.c.name, "names")).order_by(t.project.c.name)
)
ENTRY = Statement(insert(c.entry).values(uuid=bindparam("uuid"), name="", plan="S", state="READY",
                                         prefix=bindparam("uuid"),
                                         created_at=0, deleted_at=0))  # fmt: skip
ENTRIES = Statement(select(c.entry.c.id, c.entry.c.uuid).order_by(c.entry.c.id))


class Engine(Protocol):
    """Opens databases as another process would: each with connections of its own."""

    async def open(self, registry: int | None, clock: Callable[[], int] | None = None) -> Database: ...


class SqliteEngine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: list[Database] = []

    async def open(self, registry: int | None, clock: Callable[[], int] | None = None) -> Database:
        more: dict[str, Any] = {"clock": clock} if clock else {}
        path = self.folder / f"{registry or 'cell'}.sqlite"
        self.opened.append(await SqliteDatabase.open(path, registry, create=True, **more))
        return self.opened[-1]

    async def close(self) -> None:
        for database in self.opened:
            await database.close()


class PostgresEngine:
    def __init__(self, url: str) -> None:
        self.url = url
        self.opened: list[Postgres] = []

    async def open(self, registry: int | None, clock: Callable[[], int] | None = None) -> Database:
        more: dict[str, Any] = {"clock": clock} if clock else {}
        made = await Postgres.connect(self.url, **more)
        self.opened.append(made)
        await made.listener.heard.wait()
        return made.bound(registry) if registry else made.unbound()

    async def close(self) -> None:
        for made in self.opened:
            await made.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    made: SqliteEngine | PostgresEngine
    made = (
        SqliteEngine(tmp_path)
        if request.param == "sqlite"
        else PostgresEngine(request.getfixturevalue("postgres_url"))
    )
    yield made
    await made.close()


@pytest.fixture
async def registry(engine: Engine) -> int:
    return await new_registry(engine)


@pytest.fixture
async def db(engine: Engine, registry: int) -> Database:
    return await engine.open(registry)


async def new_registry(engine: Engine) -> int:
    number = next(ids)
    await (await engine.open(number)).write(START)
    return number


async def names(db: Database) -> list[str]:
    return [row.name for row in await db.all(NAMES)]


def adding(*wanted: str, fails: Exception | None = None) -> Callable[[Tx], Any]:
    async def work(tx: Tx) -> int:
        for name in wanted:
            await tx.one(ADD, name=name, at=tx.at)
        if fails is not None:
            raise fails
        return tx.at

    return work


async def test_a_change_is_there_when_it_returns(db: Database, engine: Engine, registry: int) -> None:
    await db.change(adding("a", "b"))

    assert await names(db) == ["a", "b"]
    assert await names(await engine.open(registry)) == ["a", "b"]


async def test_a_change_gives_what_its_function_gives(db: Database) -> None:
    async def work(tx: Tx) -> tuple[str, int]:
        made = await tx.one(ADD, name="a", at=tx.at)
        found = await tx.one(FIND, name="a")
        assert made
        assert found
        return found.name, found.id - made.id

    assert await db.change(work) == ("a", 0)


async def test_a_change_that_raises_leaves_nothing(db: Database) -> None:
    with pytest.raises(Problem, match="no"):
        await db.change(adding("a", fails=Problem("no")))

    assert await names(db) == []


async def test_a_change_that_fails_takes_nothing_of_the_others_with_it(db: Database) -> None:
    works = [adding(f"n{i:02}", fails=Problem("no") if i % 3 == 0 else None) for i in range(40)]

    outcomes = await asyncio.gather(*(db.change(work) for work in works), return_exceptions=True)

    assert [isinstance(outcome, Problem) for outcome in outcomes] == [i % 3 == 0 for i in range(40)]
    assert await names(db) == [f"n{i:02}" for i in range(40) if i % 3]


async def test_a_broken_constraint_among_waiting_changes_is_told_to_its_caller_alone(db: Database) -> None:
    works = [adding("same"), adding("same"), adding("other"), adding("x", "other"), adding("last")]

    outcomes = await asyncio.gather(*(db.change(work) for work in works), return_exceptions=True)

    assert [isinstance(outcome, Broken) for outcome in outcomes] == [False, True, False, True, False]
    assert await names(db) == ["last", "other", "same"]


async def test_a_change_whose_statement_failed_is_lost_even_if_the_error_was_caught(db: Database) -> None:
    await db.change(adding("a"))

    async def work(tx: Tx) -> None:
        await tx.one(ADD, name="b", at=tx.at)
        with pytest.raises(Broken):
            await tx.one(ADD, name="a", at=tx.at)
        with pytest.raises(Broken):
            await tx.all(NAMES)

    with pytest.raises(Broken):
        await db.change(work)
    assert await names(db) == ["a"]


async def test_a_tx_is_of_no_use_after_its_change(db: Database) -> None:
    async def work(tx: Tx) -> Tx:
        return tx

    tx = await db.change(work)

    with pytest.raises(RuntimeError, match="over"):
        await tx.all(NAMES)


async def test_a_change_sees_what_was_committed_before_it(
    db: Database, engine: Engine, registry: int
) -> None:
    other = await engine.open(registry)

    async def count(tx: Tx) -> int:
        before = await tx.all(NAMES)
        await tx.one(ADD, name=f"{len(before):03}", at=tx.at)
        return len(before)

    seen = await asyncio.gather(
        *(db.change(count) for _ in range(30)), *(other.change(count) for _ in range(30))
    )

    assert sorted(seen) == list(range(60))


async def test_stamps_rise_whatever_the_clock_does(engine: Engine, registry: int) -> None:
    times = itertools.cycle([1000, 5000, 10, 4999, 5000, 1])
    db = await engine.open(registry, lambda: next(times))

    alone = [await db.change(adding()) for _ in range(8)]
    together = await asyncio.gather(*(db.change(adding()) for _ in range(50)))

    stamps = alone + list(together)
    assert stamps == sorted(set(stamps))
    assert stamps[0] >= 1000


async def test_stamps_follow_the_clock(db: Database) -> None:
    before = db.now()

    stamp = await db.change(adding())

    assert before <= stamp <= db.now()


async def test_an_id_is_never_given_twice(db: Database) -> None:
    await db.change(adding("a"))
    first = await db.one(FIND, name="a")
    await db.write(DROP, name="a")
    await db.change(adding("a"))

    second = await db.one(FIND, name="a")

    assert first
    assert second
    assert second.id > first.id


async def test_two_registries_never_see_each_other(engine: Engine) -> None:
    ours, theirs = [await engine.open(await new_registry(engine)) for _ in range(2)]
    for db in (ours, theirs):
        await db.change(adding("same", "both"))
    found = await theirs.one(FIND, name="same")
    assert found
    await theirs.write(ADD_REPOSITORY, project=found.id, name="same/app")
    await theirs.write(COPIED)

    assert await names(ours) == ["both", "same"]
    assert [row.repository for row in await ours.all(JOINED)] == [None, None]
    assert await ours.all(WITH_REPOSITORY) == []
    assert await ours.all(LABELS) == []
    counted = await ours.one(COUNT)
    assert counted
    assert counted.n == 2
    assert await ours.write(RENAME, old="same", new="mine") == 1
    assert await ours.write(DROP_ALL) == 2
    assert await names(theirs) == ["both", "same"]
    assert [row.name for row in await theirs.all(LABELS)] == ["both", "same"]


async def test_sums_of_whole_numbers_are_whole_numbers(db: Database) -> None:
    await db.change(adding("a", "b"))

    counted = await db.one(COUNT)

    assert counted
    assert type(counted.total) is int


async def test_a_conflict_can_be_an_update(db: Database) -> None:
    await db.write(PUT, id=1, pulls=2)
    await db.write(PUT, id=1, pulls=3)

    assert await db.all(PULLS) == [(1, 5)]


async def test_many_rows_go_in_one_call(db: Database) -> None:
    async def work(tx: Tx) -> None:
        await tx.many(PUT, [{"id": i, "pulls": 1} for i in range(1000)])

    await db.change(work)

    assert await db.all(PULLS) == [(i, 1) for i in range(1000)]


async def test_one_of_takes_a_hundred_thousand_values(db: Database) -> None:
    await db.change(adding("a", "b"))
    found = await db.one(FIND, name="a")
    assert found

    counted = await db.one(BY_ID, ids=[found.id, *range(10**9, 10**9 + 100_000)])

    assert counted
    assert counted.n == 1


async def test_one_of_takes_text_as_it_is(db: Database) -> None:
    odd = ['"', "\\", "ü", "'; --", "a,b", "{}"]
    await db.change(adding(*odd, "other"))

    assert {row.name for row in await db.all(BY_NAME, names=odd)} == set(odd)
    assert await db.all(BY_NAME, names=[]) == []


async def test_big_bytes_come_back_as_they_went(db: Database) -> None:
    blob = bytes(range(256)) * (16 << 10)
    await keep(db, "big", blob)
    await keep(db, "none", b"")

    kept = await db.one(KEPT, id="big")

    assert kept
    assert kept.hash_state == blob
    assert {row.id for row in await db.all(BY_STATE, states=[blob, b"", b"\x00"])} == {"big", "none"}


async def keep(db: Database, name: str, blob: bytes) -> None:
    await db.change(adding(name))
    project = await db.one(FIND, name=name)
    assert project
    await db.write(ADD_REPOSITORY, project=project.id, name=name)
    repository = await db.one(
        Statement(select(t.repository.c.id).where(t.repository.c.name == bindparam("n"))), n=name
    )
    assert repository
    await db.write(KEEP, id=name, repository=repository.id, state=blob)


async def test_a_snapshot_stays_at_its_moment(db: Database) -> None:
    await db.change(adding("a"))
    async with db.snapshot() as moment:
        before = await moment.all(NAMES)
        await db.change(adding("b"))

        assert await moment.all(NAMES) == before
        assert (await moment.one(COUNT)).n == 1
    assert await names(db) == ["a", "b"]


async def test_what_goes_to_the_record_is_durable_and_takes_no_turn(
    db: Database, engine: Engine, registry: int
) -> None:
    other = await engine.open(registry)
    before = await db.one(CLOCK)

    await db.record(lambda tx: tx.run(PUT, id=1, pulls=2))
    with pytest.raises(Problem, match="no"):
        await db.record(adding("a", fails=Problem("no")))

    assert [tuple(row) for row in await other.all(PULLS)] == [(1, 2)]
    assert (await names(db), await db.one(CLOCK)) == ([], before)


async def test_the_version_stands_still_only_while_no_turn_is_taken(
    db: Database, engine: Engine, registry: int
) -> None:
    other = await engine.open(registry)
    first = db.version()
    await other.record(lambda tx: tx.one(NAMES))
    second = db.version()

    await other.change(lambda tx: tx.one(ADD, name="new", at=1))

    assert db.version() not in {first, second}
    # Where it cannot be known at once it never stands still.
    assert first == second or not db.inline


async def test_a_write_outside_turns_is_durable_and_counted(
    db: Database, engine: Engine, registry: int
) -> None:
    await db.change(adding("a", "b"))

    assert await db.write(RENAME, old="a", new="c") == 1
    assert await db.write(RENAME, old="a", new="d") == 0
    assert await names(await engine.open(registry)) == ["b", "c"]


async def test_a_broken_constraint_is_told_outside_turns_too(db: Database) -> None:
    with pytest.raises(Broken):
        await db.write(ADD_REPOSITORY, project=10**12, name="orphan")


async def test_the_access_version_moves_for_everyone(db: Database, engine: Engine, registry: int) -> None:
    other = await engine.open(registry)
    before, before_there = db.access_version(), other.access_version()
    assert (db.access_version(), other.access_version()) == (before, before_there)

    await db.change(touching)

    assert db.access_version() != before
    # Told by an event: a busy machine may take its time, and nothing else would tell it.
    async with asyncio.timeout(30):
        while other.access_version() == before_there:
            await asyncio.sleep(0.005)


async def touching(tx: Tx) -> None:
    await tx.touch_access()


async def test_the_access_version_stands_still_when_nothing_of_access_changed(db: Database) -> None:
    before = db.access_version()

    await db.change(adding("a"))
    with pytest.raises(Problem):
        await db.change(failing_touch)

    assert db.access_version() == before


async def failing_touch(tx: Tx) -> None:
    await tx.touch_access()
    raise Problem


async def test_a_registry_without_a_row_takes_no_change(engine: Engine) -> None:
    db = await engine.open(next(ids))

    with pytest.raises(Vanished):
        await db.change(adding("a"))
    assert await names(db) == []


@pytest.mark.parametrize("params", [{}, {"name": "a", "nam": "b"}, {"nam": "a"}])
async def test_a_wrong_set_of_parameters_is_refused(db: Database, params: dict[str, str]) -> None:
    with pytest.raises(TypeError, match="takes"):
        await db.one(FIND, **params)


async def test_a_cancelled_caller_stops_nobody_else(db: Database) -> None:
    waiting = [asyncio.ensure_future(db.change(adding(f"{i}"))) for i in range(20)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()

    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    done = {f"{i}" for i, outcome in enumerate(outcomes) if isinstance(outcome, int)}
    assert done >= {f"{i}" for i in range(1, 20, 2)}
    await db.change(adding("z"))
    assert set(await names(db)) >= done | {"z"}


async def test_closing_finishes_what_waits(engine: Engine, registry: int) -> None:
    db = await engine.open(registry)
    waiting = [asyncio.ensure_future(db.change(adding(f"{i}"))) for i in range(10)]
    await asyncio.sleep(0)

    await db.close()

    await asyncio.gather(*waiting)
    assert len(await names(await engine.open(registry))) == 10


async def test_a_cell_keeps_its_own_tables(engine: Engine) -> None:
    db = await engine.open(None)
    before = len(await db.all(ENTRIES))

    async def work(tx: Tx) -> int:
        await tx.run(ENTRY, uuid=f"u{tx.at}")
        await tx.touch_access()
        return tx.at

    version = db.access_version()
    stamps = [await db.change(work), await db.change(work)]

    assert stamps[0] < stamps[1]
    assert len(await db.all(ENTRIES)) == before + 2
    assert db.access_version() != version
