"""PostgreSQL's keys: a row names rows of its own registry, whoever writes it, and how an older cell came to them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy import Column, Engine, ForeignKeyConstraint, LargeBinary, Table, Text, create_engine, event

from moorage.db import migrate, tables
from moorage.db.migrations import freeze, online
from tests.servers.postgres import PostgresServer

KEYS = [
    pytest.param(key, id=f"{table.name}-{'-'.join(list(key.columns.keys())[1:])}")
    for table in tables.metadata.sorted_tables
    for key in sorted(table.foreign_key_constraints, key=lambda key: list(key.columns.keys()))
]
OURS, OTHERS = 1, 2


@pytest.fixture(scope="module")
def cell(postgres_server: PostgresServer) -> str:
    return postgres_server.cell()


@pytest.fixture
async def connection(cell: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    made = await asyncpg.connect(cell)
    await made.execute("BEGIN")
    yield made
    await made.close()


class Rows:
    """Makes rows of any table, straight in the database, and the rows that they must name."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self.connection = connection
        self.made = 0

    async def add(self, table: Table, registry: int, **given: Any) -> dict[str, Any]:
        """Insert a row of *registry*; it names rows of the same one, where nothing else is given."""
        values = {"registry_id": registry, **given}
        for key in table.foreign_key_constraints:
            if not given.keys() & set(list(key.columns.keys())[1:]) and _must(table, key, values):
                values |= await self.named(key, registry)
        for column in table.columns:
            if column.name not in values and _needed(column):
                values[column.name] = self.some(column)
        names = ", ".join(f'"{name}"' for name in values)
        places = ", ".join(f"${place}" for place, _ in enumerate(values, 1))
        made = await self.connection.fetchrow(
            f'INSERT INTO "{table.name}" ({names}) VALUES ({places}) RETURNING *',  # noqa: S608 - our tables.
            *values.values(),
        )
        assert made
        return dict(made)

    def some(self, column: Column[Any]) -> Any:
        """Give a value for a column: names and digests are new ones, numbers all the same."""
        self.made += 1
        if isinstance(column.type, Text):
            return f"some {self.made}"
        return b"some %d" % self.made if isinstance(column.type, LargeBinary) else 1

    async def named(self, key: ForeignKeyConstraint, registry: int) -> dict[str, Any]:
        """Make a row in *registry* for *key* to name, and give the columns that name it."""
        row = await self.add(key.referred_table, registry)
        return {pair.parent.name: row[pair.column.name] for pair in key.elements[1:]}


def _must(table: Table, key: ForeignKeyConstraint, values: dict[str, Any]) -> bool:
    """Tell whether a key's columns need values: what is a user's or another's is a user's here, unless it is said whose."""
    column = list(key.columns)[1]
    either = table.name in {"member", "repository_grant"} and not values.keys() & {"group_id", "robot_id"}
    return not column.nullable or (either and column.name == "user_id")


def _needed(column: Column[Any]) -> bool:
    return not column.nullable and column.server_default is None


@pytest.mark.parametrize("key", KEYS)
async def test_a_row_cannot_name_a_row_of_another_registry(
    connection: asyncpg.Connection[Any], key: ForeignKeyConstraint
) -> None:
    rows = Rows(connection)

    await rows.add(key.table, OURS, **await rows.named(key, OURS))
    theirs = await rows.named(key, OTHERS)
    with pytest.raises(asyncpg.ForeignKeyViolationError) as refused:
        await rows.add(key.table, OURS, **theirs)

    columns = "_".join(key.columns.keys())
    assert refused.value.constraint_name == f"{key.table.name}_{columns}_fkey"


async def test_two_registries_may_use_one_number(connection: asyncpg.Connection[Any]) -> None:
    rows = Rows(connection)
    made = await rows.add(tables.project, OURS)

    again = await rows.add(tables.project, OTHERS, id=made["id"])
    with pytest.raises(asyncpg.UniqueViolationError, match="project_pkey"):
        await rows.add(tables.project, OTHERS, id=made["id"])

    assert again["id"] == made["id"]


# --- how an older cell comes to them --------------------------------------------------------------------------


@pytest.fixture
def old(postgres_server: PostgresServer, tmp_path: Path) -> str:
    """Give a cell whose tables are those of the first revision."""
    for path in migrate.REGISTRY.folder.glob("0001_*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    url = postgres_server.database()
    migrate.upgrade_postgres(url, (migrate.Family("registry", tmp_path, "schema_registry", "0001"),))
    return url


def keys(url: str) -> set[tuple[str, str]]:
    """List every key that a cell has, and whether it is valid."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype IN ('p', 'f') "
            "UNION SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) || indisvalid FROM pg_index "
            "WHERE indrelid::regclass::text NOT LIKE 'pg_%'"
        ).fetchall()
    return {(str(name), str(what)) for name, what in found}


@pytest.fixture(scope="module")
def wanted(postgres_server: PostgresServer) -> set[tuple[str, str]]:
    """List the keys of the tables as the code has them."""
    url = postgres_server.database()
    with psycopg.connect(url) as connection:
        for statement in freeze.ddl(migrate.REGISTRY, freeze.dialects()[1]):
            connection.execute(statement.encode())
        connection.execute("CREATE TABLE schema_registry (version_num varchar(32) NOT NULL)")
        connection.execute(
            "ALTER TABLE schema_registry ADD CONSTRAINT schema_registry_pkc PRIMARY KEY (version_num)"
        )
    return keys(url)


def migrated(url: str) -> None:
    migrate.upgrade_postgres(url, (migrate.REGISTRY,))


class Killed(Exception):
    """Stands for the end of a process: the transaction is lost, what was committed stays."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Give the number of statements (in the only place) after which a migration ends."""
    left = [0]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    event.listen(Engine, "before_cursor_execute", count)
    yield left
    event.remove(Engine, "before_cursor_execute", count)


@pytest.mark.parametrize("at", [12, 31, 60, 110, 150, 170])
def test_a_migration_that_is_killed_is_followed_by_one_that_goes_on(
    old: str, wanted: set[tuple[str, str]], killed_at: list[int], at: int
) -> None:
    killed_at[0] = at
    with pytest.raises(Killed):
        migrated(old)
    between = keys(old)

    migrated(old)

    assert between != wanted
    assert keys(old) == wanted


def test_an_index_that_was_left_half_made_is_made_anew(old: str, wanted: set[tuple[str, str]]) -> None:
    with psycopg.connect(old, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO label (registry_id, name, created_at) VALUES (1, 'a', 0), (1, 'b', 0)"
        )
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY label_number ON label (registry_id)")

    migrated(old)

    assert keys(old) == wanted


def test_a_row_that_names_another_registrys_stops_the_migration_and_nothing_is_lost(
    old: str, wanted: set[tuple[str, str]]
) -> None:
    with psycopg.connect(old, autocommit=True) as connection:
        connection.execute("INSERT INTO project (registry_id, id, name, created_at) VALUES (1, 1, 'a', 0)")
        connection.execute(
            "INSERT INTO label (registry_id, project_id, name, created_at) VALUES (2, 1, 'b', 0)"
        )
        with pytest.raises(Exception, match="label_registry_id_project_id_fkey"):
            migrated(old)
        version = connection.execute("SELECT version_num FROM schema_registry").fetchone()
        left = {name for name, _ in keys(old)}
        connection.execute("DELETE FROM label")

    migrated(old)

    assert version == ("0001",)
    assert {"label_project_id_fkey", "label_pkey"} < left
    assert keys(old) == wanted


def test_several_who_migrate_a_cell_at_once_all_come_to_an_end(
    old: str, wanted: set[tuple[str, str]]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrated, [old] * 4))

    assert keys(old) == wanted


def test_a_step_that_waits_for_a_lock_holds_up_no_writer(old: str) -> None:
    add = "INSERT INTO label (registry_id, name, created_at) VALUES (1, 'a', 0)"
    drop = "ALTER TABLE label DROP CONSTRAINT label_project_id_fkey"
    engine = create_engine(old.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with psycopg.connect(old) as holder, psycopg.connect(old, autocommit=True) as writer:
        holder.execute(add)
        writer.execute("SET lock_timeout = '5s'")
        with engine.connect() as connection, ThreadPoolExecutor(1) as pool:
            step = pool.submit(online.briefly, connection, drop)
            for _ in range(5):
                until_waiting(writer)
                writer.execute(add)
            waits = not step.done()
            holder.commit()
            step.result(30)
    engine.dispose()

    assert waits
    assert "label_project_id_fkey" not in {name for name, _ in keys(old)}


def until_waiting(connection: psycopg.Connection) -> None:
    """Wait until somebody waits for a table; no event tells of it."""
    until = time.monotonic() + 30
    asked = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'label'::regclass"
    while connection.execute(asked).fetchone() is None:
        assert time.monotonic() < until, "nobody waits"
        time.sleep(0.01)
