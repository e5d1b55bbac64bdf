"""Schemas on both engines: made, checked, brought forward, and refused when they are newer."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.pool import NullPool

from moorage import parts
from moorage.db import Statement, files, migrate
from moorage.db import tables as t
from moorage.db.migrations import freeze
from moorage.db.postgres import Postgres
from moorage.db.sqlite import SqliteDatabase
from moorage.errors import NewerSchema, Unavailable
from tests.servers.postgres import PostgresServer

FAMILIES = (migrate.REGISTRY, migrate.CELL, migrate.PLATFORM)
REVISION = '''"""A made-up revision."""
from alembic import op
revision = "{number}"
down_revision = "{before}"
PHASE = "{phase}"
def upgrade():
    op.execute("{sql}")
'''
ADD = "ALTER TABLE label ADD COLUMN mood TEXT DEFAULT 'good' NOT NULL"
DROP = "ALTER TABLE label DROP COLUMN mood"
ADD_AGAIN = "ALTER TABLE label ADD COLUMN weather TEXT"


NOW = migrate.REGISTRY.revisions[-1]
FIRST, SECOND, THIRD = (f"{int(NOW) + step:04}" for step in (1, 2, 3))


def later(folder: Path, *steps: tuple[str, str], serves_from: str = "0001") -> migrate.Family:
    """Make a family that goes on from ours by *steps*: a phase and what it runs."""
    versions = folder / "versions"
    versions.mkdir()
    for path in migrate.REGISTRY.folder.glob("0*_*"):
        (versions / path.name).write_bytes(path.read_bytes())
    before = NOW
    for number, (phase, sql) in zip((FIRST, SECOND, THIRD), steps, strict=False):
        text = REVISION.format(number=number, before=before, phase=phase, sql=sql)
        (versions / f"{number}_step.py").write_text(text)
        before = number
    return migrate.Family("registry", versions, "schema_registry", serves_from)


def columns(path: Path) -> set[str]:
    connection = files.connect(path, reads=True)
    try:
        return {row[1] for row in connection.execute("PRAGMA table_info(label)")}
    finally:
        files.close(path, connection)


def version(path: Path, family: migrate.Family = migrate.REGISTRY) -> str | None:
    connection = files.connect(path, reads=True)
    try:
        return migrate.file_version(family, connection)
    finally:
        files.close(path, connection)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "registry.1.sqlite"
    migrate.clone(migrate.REGISTRY, made)
    return made


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_migrated_file_has_the_tables_of_the_code(family: migrate.Family, tmp_path: Path) -> None:
    made = tmp_path / "made.sqlite"
    migrate.clone(family, made)
    connection = sqlite3.connect(tmp_path / "wanted.sqlite")
    for statement in freeze.ddl(family, freeze.dialects()[0]):
        connection.execute(statement)
    connection.close()

    assert drawn(made) - {family.version_table} == drawn(tmp_path / "wanted.sqlite")


def drawn(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
    connection.close()
    return {name if name.startswith("schema_") else " ".join(sql.split()) for name, sql in rows}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_migrated_postgres_has_the_tables_of_the_code(
    family: migrate.Family, postgres_server: PostgresServer
) -> None:
    migrated, wanted = postgres_server.database(), postgres_server.database()
    migrate.upgrade_postgres(migrated, (family,))
    engine = create_engine(wanted.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    family.metadata().create_all(engine)

    assert dumped(postgres_server, migrated, family) == dumped(postgres_server, wanted, family)


def dumped(server: PostgresServer, url: str, family: migrate.Family) -> list[str]:
    command = [str(server.programs / "pg_dump"), "--schema-only", "-T", family.version_table, url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return sorted(line for line in text.splitlines() if line and not line.startswith(("--", "\\")))


def test_looking_at_a_file_that_is_up_to_date_costs_two_statements(path: Path) -> None:
    reader = files.connect(path, reads=True)
    asked: list[str] = []
    reader.set_trace_callback(asked.append)

    migrate.ensure_file(migrate.REGISTRY, path, reader)

    files.close(path, reader)
    assert len(asked) == 2


@pytest.mark.parametrize("waits", [False, True], ids=["all is done", "one waits to be asked for"])
def test_opening_needs_no_alembic_when_there_is_nothing_to_do(
    path: Path, tmp_path: Path, *, waits: bool
) -> None:
    family = later(tmp_path, ("pre", ADD), ("post", DROP)) if waits else migrate.REGISTRY
    migrate.upgrade_file(family, path)
    script = (
        "import asyncio, sys; from pathlib import Path; from moorage.db import migrate\n"
        "from moorage.db.sqlite import SqliteDatabase\n"
        f"migrate.REGISTRY = migrate.Family('registry', Path({str(family.folder)!r}), 'schema_registry', '0001')\n"
        f"asyncio.run(SqliteDatabase.open(Path({str(path)!r}), 1)); assert 'alembic' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2] / "src")


AT_ONCE = """
import sqlite3, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from moorage.db import files, migrate

paths = [Path(sys.argv[1]) / f"{number}.sqlite" for number in range(8)]
for path in paths:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
ready = Barrier(len(paths))

def bring_forward(path):
    ready.wait()
    migrate.upgrade_file(migrate.REGISTRY, path)
    connection = files.connect(path, reads=True)
    try:
        return migrate.file_version(migrate.REGISTRY, connection)
    finally:
        connection.close()

with ThreadPoolExecutor(len(paths)) as pool:
    print(*pool.map(bring_forward, paths))
"""


def test_files_that_are_brought_forward_at_once_are_each_changed_by_their_own_steps(tmp_path: Path) -> None:
    # In a process of its own: with one connection under two threads it would be killed.
    ran = subprocess.run(
        [sys.executable, "-c", AT_ONCE, str(tmp_path)], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[2] / "src",
    )  # fmt: skip

    assert (ran.returncode, ran.stdout.split()) == (0, [NOW] * 8), ran.stderr


def test_a_path_is_never_used_twice(path: Path) -> None:
    with pytest.raises(FileExistsError):
        migrate.clone(migrate.REGISTRY, path)

    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


async def test_a_missing_registry_is_not_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await SqliteDatabase.open(tmp_path / "none.sqlite", 1)

    assert not (tmp_path / "none.sqlite").exists()


async def test_a_newer_file_is_refused_with_both_versions_and_what_to_do(path: Path, tmp_path: Path) -> None:
    newer = later(tmp_path, ("pre", ADD))
    migrate.upgrade_file(newer, path)

    with pytest.raises(NewerSchema, match=rf"{FIRST} .* {NOW}: start the release"):
        await SqliteDatabase.open(path, 1)


async def test_a_newer_postgres_is_refused_too(postgres_server: PostgresServer, tmp_path: Path) -> None:
    url = postgres_server.cell()
    migrate.upgrade_postgres(url, (later(tmp_path, ("pre", ADD)),))

    with pytest.raises(NewerSchema, match=FIRST):
        await Postgres.connect(url)


async def test_a_file_is_brought_forward_when_it_is_opened(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await SqliteDatabase.open(path, 1)
    monkeypatch.setattr(migrate, "REGISTRY", later(tmp_path, ("pre", ADD)))

    new = await SqliteDatabase.open(path, 1)

    # The code of the release before goes on beside it, on the schema that it does not know.
    names = Statement(select(t.label.c.name))
    assert await old.all(names) == await new.all(names) == []
    assert "mood" in columns(path)
    for db in (old, new):
        await db.close()


def test_opening_stops_before_a_step_that_the_release_before_would_not_survive(
    path: Path, tmp_path: Path
) -> None:
    family = later(tmp_path, ("pre", ADD), ("post", DROP), ("pre", ADD_AGAIN))
    reader = files.connect(path, reads=True)

    migrate.ensure_file(family, path, reader)
    first = version(path, family), columns(path) & {"mood", "weather"}
    migrate.ensure_file(family, path, reader)
    migrate.ensure_file(family, path, reader, contract=True)
    second = version(path, family), columns(path) & {"mood", "weather"}

    files.close(path, reader)
    assert first == (FIRST, {"mood"})
    assert second == (THIRD, {"weather"})


def test_a_postgres_is_brought_forward_step_by_step_too(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.cell()
    family = later(tmp_path, ("pre", ADD), ("post", DROP), ("pre", ADD_AGAIN))

    migrate.upgrade_postgres(url, (family,))
    first = postgres_version(url)
    migrate.upgrade_postgres(url, (family,), contract=True)

    assert (first, postgres_version(url)) == (FIRST, THIRD)


def test_what_has_no_tables_yet_gets_them_whole(postgres_server: PostgresServer, tmp_path: Path) -> None:
    url, made = postgres_server.database(), tmp_path / "made.sqlite"
    family = later(tmp_path, ("pre", ADD), ("post", DROP))

    migrate.upgrade_postgres(url, (family,))
    migrate.clone(family, made)

    assert (postgres_version(url), version(made, family)) == (SECOND, SECOND)


def test_a_revision_that_does_not_say_its_phase_is_none(path: Path, tmp_path: Path) -> None:
    family = later(tmp_path, ("pre", ADD), ("perhaps", DROP))

    with pytest.raises(ValueError, match=f"{SECOND}_step.py: a revision says its phase"):
        migrate.upgrade_file(family, path)


def test_migrating_a_folder_brings_every_registry_forward_but_those_that_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = parts.Place(tmp_path, "", "", "")
    place.registries.mkdir()
    parts.upgrade(place, contract=False)
    one, other, deleted = (place.registries / f"{name}.sqlite" for name in ("one", "other", "deleted"))
    for path in (one, other, deleted):
        migrate.clone(migrate.REGISTRY, path)
    connection = files.connect(deleted, reads=False)
    connection.execute(f"PRAGMA user_version = {files.DELETED}")
    files.close(deleted, connection)
    monkeypatch.setattr(migrate, "REGISTRY", later(tmp_path, ("pre", ADD), ("post", DROP)))

    parts.upgrade(place, contract=False)
    first = [version(path) for path in (one, other, deleted)]
    parts.upgrade(place, contract=True)
    second = [version(path) for path in (one, other, deleted)]

    assert first == [FIRST, FIRST, NOW]
    assert second == [SECOND, SECOND, NOW]


def postgres_version(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT version_num FROM schema_registry").fetchone()
        assert row
        return str(row[0])


async def test_a_postgres_older_than_the_code_serves_is_refused(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.cell()
    monkeypatch.setattr(
        migrate, "REGISTRY", later(tmp_path, ("pre", ADD), ("pre", ADD_AGAIN), serves_from=FIRST)
    )

    with pytest.raises(Unavailable, match="moorage migrate"):
        await Postgres.connect(url)


def test_a_step_that_fails_leaves_the_file_as_it_was_before_it(path: Path, tmp_path: Path) -> None:
    family = later(tmp_path, ("pre", ADD), ("pre", "INSERT INTO nothing VALUES (1)"))

    with pytest.raises(Exception, match="nothing"):
        migrate.upgrade_file(family, path)

    assert (version(path), "mood" in columns(path)) == (FIRST, True)


KILLED = """
import os, signal, sys
from pathlib import Path
from moorage.db import migrate
family = migrate.Family("registry", Path(sys.argv[1]), "schema_registry", "0001")
migrate.upgrade_{engine}(family, Path(sys.argv[2])) if {file} else migrate.upgrade_postgres(sys.argv[2], (family,))
"""


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, path: Path) -> str:
    """Give a database with our schema: a file's path, or an address."""
    return str(path) if request.param == "sqlite" else request.getfixturevalue("postgres_server").cell()


def test_a_process_killed_in_the_middle_of_a_step_is_followed_by_one_that_ends_it(
    place: str, tmp_path: Path
) -> None:
    family = later(tmp_path, ("pre", ADD), ("pre", ADD_AGAIN))
    third = family.folder / f"{SECOND}_step.py"
    whole = third.read_text()
    third.write_text(whole + "    __import__('os').kill(__import__('os').getpid(), 9)\n")
    is_file = not place.startswith("postgres")
    script = KILLED.format(engine="file", file=is_file)
    killed = subprocess.run(
        [sys.executable, "-c", script, str(family.folder), place],
        cwd=Path(__file__).parents[2] / "src",
        check=False,
    )
    third.write_text(whole)

    after = version(Path(place)) if is_file else postgres_version(place)
    again = migrate.Family("registry", family.folder, "schema_registry", "0001")
    if is_file:
        migrate.upgrade_file(again, Path(place))
    else:
        migrate.upgrade_postgres(place, (again,))

    assert killed.returncode == -9
    assert after == FIRST
    assert (version(Path(place)) if is_file else postgres_version(place)) == SECOND


async def test_many_who_open_an_old_file_at_once_bring_it_forward_once(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "REGISTRY", later(tmp_path, ("pre", ADD)))

    opened = await asyncio.gather(*(SqliteDatabase.open(path, 1) for _ in range(6)))

    for db in opened:
        await db.close()
    assert version(path) == FIRST
