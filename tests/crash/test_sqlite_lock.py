"""A lock that cannot be opened for a while, and a log that cannot be looked at: nothing is lost by either."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, select

from moorage.db import Statement, Tx, files, insert
from moorage.db import tables as t
from moorage.db.sqlite import SqliteDatabase
from moorage.errors import Unavailable

START = Statement(
    insert(t.registry).values(clock=0, limit_bytes=-1, lease=1, trash_window=1, backup_window=1)
)
ADD = Statement(insert(t.label).values(name=bindparam("name"), created_at=bindparam("at")))
NAMES = Statement(select(t.label.c.name))


def saying(name: str) -> Any:
    async def work(tx: Tx) -> str:
        await tx.run(ADD, name=name, at=tx.at)
        return name

    return work


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    made = await SqliteDatabase.open(tmp_path / "registry.1.sqlite", 1, create=True)
    await made.write(START)
    yield made
    await made.close()


async def test_a_writer_outlives_a_lock_that_cannot_be_opened(db: SqliteDatabase) -> None:
    await db.change(saying("before"))
    with lock_in_the_way(db.path):
        refused = [
            await asyncio.gather(db.change(saying(name)), return_exceptions=True) for name in ("one", "two")
        ]

    await db.change(saying("after"))

    assert [type(outcome) for [outcome] in refused] == [Unavailable, Unavailable]
    assert {row.name for row in await db.all(NAMES)} == {"before", "after"}


async def test_a_connection_that_could_not_be_locked_is_closed_after_the_next(db: SqliteDatabase) -> None:
    kept, last = (files.connect(db.path, reads=True) for _ in range(2))
    with lock_in_the_way(db.path):
        files.close(db.path, kept)
    kept.execute("SELECT 1")

    files.close(db.path, last)

    for connection in (kept, last):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


async def test_a_committed_change_is_told_so_whatever_befalls_its_writer_next(
    db: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wal_size(path: Path) -> int:
        raise PermissionError(path)

    monkeypatch.setattr(files, "wal_size", wal_size)
    change = asyncio.ensure_future(db.change(saying("kept")))
    await asyncio.sleep(0)
    db._writer.close()

    assert await change == "kept"


@contextmanager
def lock_in_the_way(path: Path) -> Iterator[None]:
    """Put a folder where the lock is, so that nobody can open it."""
    lock, away = Path(f"{path}.lock"), path.with_suffix(".away")
    lock.rename(away)
    lock.mkdir()
    try:
        yield
    finally:
        lock.rmdir()
        away.rename(lock)
