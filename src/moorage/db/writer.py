"""The writer of one SQLite file: a thread that takes all waiting changes into one commit."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sqlite3
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from moorage.db import files
from moorage.db.errors import Failed, Vanished
from moorage.db.patience import Line
from moorage.db.statements import REGISTRY, SQLITE, SQLITE_BOUND, Statement
from moorage.errors import StorageFull, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

GROUP = 32
"""How many waiting changes share a commit."""
IDLE = 60.0
"""Seconds after which an idle writer lets go of its thread and its connection."""
WAL_LIMIT = 16 << 20
WAL_BUSY_MS = 100
WAL_PAUSE = 1.0

# Every change of a group has a stamp of its own, and all are taken at once.
TURN = (
    "UPDATE registry SET clock = CASE WHEN clock >= :now THEN clock + :n ELSE :now + :n - 1 END"
    " WHERE registry_id = :_registry RETURNING clock"
)
TOUCH = "UPDATE registry SET access_version = access_version + 1 WHERE registry_id = :_registry"


class SqliteTx:
    """A transaction that runs in the writer's thread; see ``moorage.db.Tx``."""

    __slots__ = ("_connection", "_marks", "_mode", "_path", "_registry", "at", "failed")

    def __init__(
        self, connection: sqlite3.Connection, registry: int | None, at: int, path: Path | None = None
    ) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._registry = registry
        self._mode = SQLITE if registry is None else SQLITE_BOUND
        self.at = at
        self.failed: BaseException | None = None
        self._path = path
        self._marks = path

    async def one(self, statement: Statement, /, **params: object) -> Any | None:
        """Give the first row, or None."""
        row = self._execute(statement, params).fetchone()
        return None if row is None else statement.plan(self._mode).row(row)

    async def all(self, statement: Statement, /, **params: object) -> list[Any]:
        """Give every row."""
        rows = self._execute(statement, params).fetchall()
        return list(map(statement.plan(self._mode).row, rows))

    async def run(self, statement: Statement, /, **params: object) -> int:
        """Change rows and tell how many."""
        before = self._open().total_changes
        cursor = self._execute(statement, params)
        cursor.fetchall()
        # A statement that begins with WITH has no row count of its own in the driver.
        return cursor.rowcount if cursor.rowcount >= 0 else self._open().total_changes - before

    def number_past(self, last: Mapping[str, int]) -> None:
        """Give no row of these tables a number up to these."""
        with self._watched() as connection:
            for table, number in last.items():
                raised = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?"
                if not connection.execute(raised, (number, table)).rowcount:
                    connection.execute(
                        "INSERT INTO sqlite_sequence (seq, name) VALUES (?, ?)", (number, table)
                    )

    async def many(self, statement: Statement, rows: Sequence[Mapping[str, object]]) -> None:
        """Run one statement for each row of parameters."""
        plan = statement.plan(self._mode)
        filled = [plan.fill({**row}) | {REGISTRY: self._registry} for row in rows]
        with self._watched() as connection:
            connection.executemany(plan.sql, filled)

    async def touch_access(self) -> None:
        """Move the registry's access version; an unbound file's every change moves it."""
        if self._registry is not None:
            with self._watched() as connection:
                connection.execute(TOUCH, {REGISTRY: self._registry})

    async def mark(self) -> None:
        """Leave the mark beside the files, before the commit: after it, a crash might come first."""
        if self._marks is not None:
            files.mark(self._marks)
            self._marks = None

    def mark_deleted(self) -> None:
        """Mark the file, so that every later write in any process is refused."""
        self._open().execute(f"PRAGMA user_version = {files.DELETED}")

    def end(self) -> None:
        """Refuse whatever a function that was given this tx still tries."""
        self._connection = None

    def _execute(self, statement: Statement, params: dict[str, Any]) -> sqlite3.Cursor:
        plan = statement.plans[self._mode] or statement.plan(self._mode)
        plan.fill(params)
        params[REGISTRY] = self._registry
        with self._watched() as connection:
            cursor: sqlite3.Cursor = connection.execute(plan.sql, params)
            return cursor

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the change is over: its tx cannot be used any more")
        if self.failed is not None:
            raise self.failed
        return self._connection

    @contextlib.contextmanager
    def _watched(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._open()
        except sqlite3.Error as error:
            self.failed = files.translated(error, self._path)
            raise self.failed from error


class Change:
    """A function that waits for its turn, and what became of it."""

    __slots__ = (
        "_begun", "_claim", "_context", "_future", "_line", "_loop", "_timer", "_work", "error", "stamped", "value",
    )  # fmt: skip

    def __init__(self, work: Callable[[SqliteTx], Awaitable[Any]], line: Line, *, stamped: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Any] = self._loop.create_future()
        self._context = contextvars.copy_context()
        self._claim = threading.Lock()
        self._line = line
        self._begun = time.monotonic()
        self._timer = self._loop.call_later(line.left(self._begun), self._give_up)
        self._work = work
        self.stamped = stamped
        self.value: Any = None
        self.error: BaseException | None = None

    async def wait(self) -> Any:
        """Wait until it is committed or refused."""
        try:
            return await self._future
        except asyncio.CancelledError:
            self.claim()
            raise
        finally:
            self._timer.cancel()

    def claim(self) -> bool:
        """Take the right to decide what becomes of it; only the first asked has it."""
        return self._claim.acquire(blocking=False)

    def run(self, tx: SqliteTx) -> None:
        """Drive the function to its end in this thread, and keep what it gave or raised."""
        self.value, self.error = None, None
        try:
            self.value = self._context.run(_drive, self._work, tx)
            self.error = tx.failed
        except BaseException as error:  # noqa: BLE001 - the writer outlives whatever a change raises.
            self.error = error
        finally:
            tx.end()

    def deliver(self) -> None:
        """Tell the caller, in its own loop."""
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            self._loop.call_soon_threadsafe(self._settle, self.value, self.error)

    def _settle(self, value: Any, error: BaseException | None) -> None:
        if self._future.done():
            return
        if error is None:
            self._future.set_result(value)
        else:
            self._future.set_exception(error)

    def _give_up(self) -> None:
        left = self._line.left(self._begun)
        if left > 0:
            self._timer = self._loop.call_later(left, self._give_up)
        elif self.claim():
            self._settle(None, Unavailable("too many changes wait for this registry", retry_after=2))


def _drive(work: Callable[[SqliteTx], Awaitable[Any]], tx: SqliteTx) -> Any:
    awaited = work(tx).__await__()
    try:
        next(awaited)
    except StopIteration as end:
        return end.value
    close = getattr(awaited, "close", None)
    if close:
        close()
    raise RuntimeError("a change awaited something other than its tx: do that before or after it")


class Writer:
    """Takes changes of one file, in order, as many at once as wait."""

    def __init__(self, path: Path, registry: int | None, clock: Callable[[], int]) -> None:
        self._path = path
        self._registry = registry
        self._clock = clock
        self._waiting: deque[Change] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._checkpoint_after = 0.0
        self._last = 0
        self._line = Line()

    async def change(self, work: Callable[[SqliteTx], Awaitable[Any]], *, stamped: bool = True) -> Any:
        """Run *work* in the writer's thread, and wait until it is durable."""
        change = Change(work, self._line, stamped=stamped and self._registry is not None)
        with self._wake:
            if self._closed:
                raise Unavailable("the registry is being closed", retry_after=1)
            self._waiting.append(change)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name=f"writer {self._path.name}", daemon=True
                )
                self._thread.start()
            else:
                self._wake.notify()
        return await change.wait()

    def close(self) -> None:
        """Finish what waits, and end the thread and its connection."""
        with self._wake:
            self._closed = True
            self._wake.notify()
            thread = self._thread
        while thread is not None:
            thread.join()
            with self._wake:
                thread = self._thread

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            while self._is_wanted():
                connection = self._take_turn(connection)
        finally:
            if connection is not None:
                files.close(self._path, connection)
            with self._wake:
                self._thread = None
                if self._waiting:  # Somebody came between the last look and now.
                    self._thread = threading.Thread(
                        target=self._run, name=f"writer {self._path.name}", daemon=True
                    )
                    self._thread.start()

    def _is_wanted(self) -> bool:
        with self._wake:
            return self._wake.wait_for(lambda: self._waiting or self._closed, IDLE) and bool(self._waiting)

    def _take_turn(self, connection: sqlite3.Connection | None) -> sqlite3.Connection | None:
        """Commit what waits, and give back the connection, or None when it is of no more use."""
        group: list[Change] = []
        try:
            with files.locked(self._path):
                # Taken under the lock, so that those who came while it was awaited are in.
                group = self._take()
                connection = connection or files.connect(self._path, reads=False)
                self._commit(connection, group)
                self._line.move()
                for change in group:
                    change.deliver()
                self._bound_wal(connection)
        except BaseException as error:  # noqa: BLE001 - the writer outlives whatever happens, and its callers hear of it.
            for change in group or self._take():
                change.value, change.error = None, _told(error, self._path)
                change.deliver()
            if connection is None or (isinstance(error, OSError) and not connection.in_transaction):
                return connection  # Only the lock could not be opened: the connection is as it was.
            files.close(self._path, connection)
            return None
        return connection

    def _take(self) -> list[Change]:
        group: list[Change] = []
        while self._waiting and len(group) < GROUP:
            change = self._waiting.popleft()
            if change.claim():
                group.append(change)
        return group

    def _commit(self, connection: sqlite3.Connection, group: list[Change]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        if files.is_deleted(connection):
            raise Vanished("the registry is deleted")
        at = self._stamps(connection, sum(change.stamped for change in group))
        for change in group:
            self._attempt(connection, change, at, alone=len(group) == 1)
            at += change.stamped
        if all(change.error is not None for change in group):
            connection.execute("ROLLBACK")
        else:
            connection.execute("COMMIT")

    def _stamps(self, connection: sqlite3.Connection, count: int) -> int:
        """Take *count* stamps at once, and give the first."""
        if not count:
            self._last = max(self._last + 1, self._clock())
            return self._last
        given = {"now": self._clock(), "n": count, REGISTRY: self._registry}
        rows = connection.execute(TURN, given).fetchall()
        if not rows:
            raise Vanished("the registry has no row: write() it before the first change")
        last: int = rows[0][0]
        return last - count + 1

    def _attempt(self, connection: sqlite3.Connection, change: Change, at: int, *, alone: bool) -> None:
        """Run one change, so that its failure takes nothing of the others with it."""
        if not alone:
            connection.execute("SAVEPOINT one")
        change.run(SqliteTx(connection, self._registry, at, self._path))
        if not connection.in_transaction:
            # A full disk makes SQLite roll back everything at once, the others' changes too.
            error = change.error
            raise (
                error
                if isinstance(error, Unavailable)
                else Unavailable("the commit was rolled back", retry_after=2)
            )
        if not alone:
            connection.execute("RELEASE one" if change.error is None else "ROLLBACK TO one")

    def _bound_wal(self, connection: sqlite3.Connection) -> None:
        """Empty a log that grew too long; readers that are in the way are tried again later."""
        if files.wal_size(self._path) <= WAL_LIMIT or time.monotonic() < self._checkpoint_after:
            return
        self._checkpoint_after = time.monotonic() + WAL_PAUSE
        connection.execute(f"PRAGMA busy_timeout = {WAL_BUSY_MS}")
        # The changes are committed and told by now: a failure here is not theirs.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute(f"PRAGMA busy_timeout = {files.BUSY_MS}")


def _told(error: BaseException, path: Path) -> BaseException:
    """Say what a group's failure means to each of its callers."""
    if isinstance(error, sqlite3.Error):
        known = files.translated(error, path)
        return (
            Unavailable(f"nothing was written: {error}", retry_after=2)
            if isinstance(known, Failed)
            else known
        )
    if isinstance(error, OSError) and error.errno in files.NO_ROOM:
        return StorageFull(f"there is no room beside {path}: {error.strerror}", retry_after=60)
    if isinstance(error, OSError):
        return Unavailable(f"nothing was written: {error.strerror}", retry_after=5)
    return error
