"""One registry, the cell, or the platform, in a SQLite file of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Self, TypeVar

from moorage.db import files, migrate
from moorage.db.statements import REGISTRY, SQLITE, SQLITE_BOUND, Statement
from moorage.db.writer import SqliteTx, Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from moorage.db import Tx

T = TypeVar("T")

READ_BUSY_MS = 100
_VERSIONS = "SELECT clock, access_version FROM registry WHERE registry_id = ?"


def clock() -> int:
    """Give the time in microseconds since 1970."""
    return time.time_ns() // 1000


class SqliteDatabase:
    """A file that several processes share; see ``moorage.db.Database``.

    Reads run on the event loop itself: one takes less time than handing it to a thread. Writes
    run in a thread of the file's own (``moorage.db.writer``).
    """

    # Reads end without a pause: they may be driven where nothing can be awaited.
    inline = True

    def __init__(
        self,
        path: Path,
        registry_id: int | None,
        reader: sqlite3.Connection,
        now: Callable[[], int],
        held: int | None = None,
    ) -> None:
        self.path = path
        self.registry_id = registry_id
        self.now = now
        self._mode = SQLITE if registry_id is None else SQLITE_BOUND
        self._reader = reader
        self._writer = Writer(path, registry_id, now)
        self._inode = os.stat(path).st_ino  # noqa: PTH116 - twice as fast as Path's, and asked each second.
        self._seen = self._clock = self._access = -1
        # The last connection to close checkpoints, even one that only reads: never without the lock.
        self._end = weakref.finalize(self, _let_go, path, reader, held)

    @classmethod
    async def open(
        cls,
        path: Path,
        registry_id: int | None,
        *,
        clock: Callable[[], int] = clock,
        create: bool = False,
        family: migrate.Family | None = None,
    ) -> Self:
        """Open a file, bound to a registry or (None) as a cell's or another *family*'s, and migrate it if it is older.

        Raises Unavailable when it is not there (unless it is to be created), and NewerSchema.
        """
        return await asyncio.to_thread(cls._open, path, registry_id, clock, create=create, family=family)

    @classmethod
    def _open(
        cls,
        path: Path,
        registry_id: int | None,
        now: Callable[[], int],
        *,
        create: bool,
        family: migrate.Family | None,
    ) -> Self:
        family = family or (migrate.CELL if registry_id is None else migrate.REGISTRY)
        if create and not path.exists():
            with contextlib.suppress(FileExistsError):
                migrate.clone(family, path)
        # Only registries' files are ever destroyed. What is not there is not held either: that would leave a file.
        held = files.hold(path) if registry_id is not None and path.exists() else None
        try:
            reader = files.connect(path, reads=True)
        except BaseException:
            _close_descriptor(held)
            raise
        try:
            migrate.ensure_file(family, path, reader)
            # Reads run on the event loop, which must not stand still.
            reader.execute(f"PRAGMA busy_timeout = {READ_BUSY_MS}")
        except BaseException:
            _let_go(path, reader, held)
            raise
        return cls(path, registry_id, reader, now, held)

    async def one(self, statement: Statement, /, **params: Any) -> Any | None:
        """Give the first row, or None."""
        plan = statement.plans[self._mode] or statement.plan(self._mode)
        plan.fill(params)
        params[REGISTRY] = self.registry_id
        try:
            row = self._reader.execute(plan.sql, params).fetchone()
        except sqlite3.Error as error:
            raise files.translated(error) from error
        return None if row is None else plan.row(row)

    async def all(self, statement: Statement, /, **params: Any) -> list[Any]:
        """Give every row."""
        plan = statement.plans[self._mode] or statement.plan(self._mode)
        plan.fill(params)
        params[REGISTRY] = self.registry_id
        try:
            return list(map(plan.row, self._reader.execute(plan.sql, params)))
        except sqlite3.Error as error:
            raise files.translated(error) from error

    async def change(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run *work* in a turn of its own: all or nothing, durable when this returns."""
        given: T = await self._writer.change(work)
        return given

    async def record(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run *work* as `change` does, but in no turn."""
        given: T = await self._writer.change(work, stamped=False)
        return given

    async def write(self, statement: Statement, /, **params: object) -> int:
        """Run one durable statement outside any turn, and tell how many rows it changed."""

        async def work(tx: SqliteTx) -> int:
            return await tx.run(statement, **params)

        changed: int = await self._writer.change(work, stamped=False)
        return changed

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Read several times from one moment, in threads, on a connection of its own."""
        connection = await asyncio.to_thread(files.connect, self.path, reads=True)
        moment = Snapshot(connection, self.registry_id)
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
            yield moment
        finally:
            await asyncio.shield(asyncio.to_thread(moment.close, self.path))

    async def numbers(self) -> Mapping[str, int]:
        """Give the last number that each table gave."""
        return dict(self._reader.execute("SELECT name, seq FROM sqlite_sequence"))

    async def number_past(self, last: Mapping[str, int]) -> None:
        """Never give these numbers to another row, nor smaller ones."""

        async def work(tx: SqliteTx) -> None:
            tx.number_past(last)

        await self._writer.change(work, stamped=False)

    def version(self) -> int:
        """Give a number that stays the same only while no turn is taken, in any process."""
        self._look()
        return self._clock

    def access_version(self) -> int:
        """Give a number that differs whenever an access row changed, in any process."""
        self._look()
        return self._access

    def _look(self) -> None:
        """See whether anything was committed, and if so whether a turn was taken for it; raise Unavailable."""
        try:
            moved: int = self._reader.execute("PRAGMA data_version").fetchone()[0]
            if moved == self._seen:
                return
            if self.registry_id is None:
                self._clock = self._access = moved
            else:
                row = self._reader.execute(_VERSIONS, (self.registry_id,)).fetchone()
                self._clock, self._access = (-1, -1) if row is None else row
        except sqlite3.Error as error:
            raise files.translated(error) from error
        self._seen = moved

    async def mark_deleted(self) -> None:
        """Mark the file deleted: from now on every write to it, in any process, raises Vanished.

        Then its folder may be renamed, and unlinked when no process has it open any more.
        """

        async def work(tx: SqliteTx) -> None:
            tx.mark_deleted()

        await self._writer.change(work, stamped=False)

    def is_stale(self) -> bool:
        """Tell whether the path no longer leads to this file: it was deleted or moved."""
        try:
            return os.stat(self.path).st_ino != self._inode  # noqa: PTH116 - as above.
        except FileNotFoundError:
            return True

    def wal_size(self) -> int:
        """Give the size of the write-ahead log: over 64 MiB somebody reads for too long."""
        return files.wal_size(self.path)

    async def close(self) -> None:
        """Finish the waiting changes and close both connections."""
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._end)


def _let_go(path: Path, reader: sqlite3.Connection, held: int | None) -> None:
    """Close the file, and say only then that this process has it open no more."""
    try:
        files.close(path, reader)
    finally:
        _close_descriptor(held)


def _close_descriptor(held: int | None) -> None:
    if held is not None:
        os.close(held)


class Snapshot:
    """Reads of one moment."""

    def __init__(self, connection: sqlite3.Connection, registry_id: int | None) -> None:
        self._connection = connection
        self._registry_id = registry_id
        self._mode = SQLITE if registry_id is None else SQLITE_BOUND
        self._used = threading.Lock()

    def close(self, path: Path) -> None:
        """Close, once a read that nobody waits for any more has ended."""
        with self._used:
            files.close(path, self._connection)

    async def one(self, statement: Statement, /, **params: Any) -> Any | None:
        """Give the first row, or None."""
        rows = await asyncio.to_thread(self._rows, statement, params, first=True)
        return rows[0] if rows else None

    async def all(self, statement: Statement, /, **params: Any) -> list[Any]:
        """Give every row."""
        return await asyncio.to_thread(self._rows, statement, params, first=False)

    def _rows(self, statement: Statement, params: dict[str, Any], *, first: bool) -> list[Any]:
        plan = statement.plan(self._mode)
        plan.fill(params)
        params[REGISTRY] = self._registry_id
        try:
            with self._used:
                cursor = self._connection.execute(plan.sql, params)
                return [plan.row(row) for row in (cursor.fetchmany(1) if first else cursor)]
        except sqlite3.Error as error:
            raise files.translated(error) from error
