"""Turns on PostgreSQL: the changes of one registry queue here, so they hold one connection at most."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import asyncpg

from moorage.db.errors import Failed, Vanished
from moorage.db.patience import Line
from moorage.db.pool import LOST, translated
from moorage.db.statements import POSTGRES, POSTGRES_BOUND, REGISTRY, Statement
from moorage.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from moorage.db.listener import Listener
    from moorage.db.pool import Connection, Pool

GROUP = 32
CHANNEL = "moorage_access"

_SPACE = 0x4D6F6F72 << 32
"""The upper half of every registry's advisory lock: "Moor"."""

# Two statements in one message: whatever comes after sees what was committed before the lock.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED; {settings}SELECT pg_advisory_xact_lock({key})"
_SETTINGS = (
    "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '10s';"
    " SET LOCAL idle_in_transaction_session_timeout = '5s'; "
)
_TURN = (
    "UPDATE registry SET clock = CASE WHEN clock >= $2::bigint THEN clock + $3::bigint"
    " ELSE $2::bigint + $3::bigint - 1 END WHERE registry_id = $1::bigint RETURNING clock"
)
_CLOCK = "SELECT clock FROM registry WHERE registry_id = $1::bigint"
_TOUCH = "UPDATE registry SET access_version = access_version + 1 WHERE registry_id = $1::bigint"


class PostgresTx:
    """A transaction on PostgreSQL; see ``moorage.db.Tx``."""

    __slots__ = ("_connection", "_mode", "_registry", "at", "failed", "touched")

    def __init__(self, connection: Connection, registry: int | None, at: int) -> None:
        self._connection: Connection | None = connection
        self._registry = registry
        self._mode = POSTGRES if registry is None else POSTGRES_BOUND
        self.at = at
        self.failed: BaseException | None = None
        self.touched = False

    async def one(self, statement: Statement, /, **params: object) -> Any | None:
        """Give the first row, or None."""
        plan, values = self._filled(statement, params)
        with self._watched() as connection:
            row = await connection.fetchrow(plan.sql, *values)
        return None if row is None else plan.row(row)

    async def all(self, statement: Statement, /, **params: object) -> list[Any]:
        """Give every row."""
        plan, values = self._filled(statement, params)
        with self._watched() as connection:
            return list(map(plan.row, await connection.fetch(plan.sql, *values)))

    async def run(self, statement: Statement, /, **params: object) -> int:
        """Change rows and tell how many."""
        plan, values = self._filled(statement, params)
        with self._watched() as connection:
            return counted(await connection.execute(plan.sql, *values))

    async def many(self, statement: Statement, rows: Sequence[Mapping[str, object]]) -> None:
        """Run one statement for each row of parameters."""
        plan = statement.plan(self._mode)
        filled = [plan.order(plan.fill({**row}) | {REGISTRY: self._registry}) for row in rows]
        with self._watched() as connection:
            await connection.executemany(plan.sql, filled)

    async def touch_access(self) -> None:
        """Move the registry's access version, and tell every process when this is committed."""
        self.touched = True
        if self._registry is not None:
            with self._watched() as connection:
                await connection.execute(_TOUCH, self._registry)

    async def mark(self) -> None:
        """Nothing: the relay asks all registries' outbox in one question."""

    def end(self) -> None:
        """Refuse whatever a function that was given this tx still tries."""
        self._connection = None

    def _filled(self, statement: Statement, params: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        plan = statement.plans[self._mode] or statement.plan(self._mode)
        plan.fill(params)
        params[REGISTRY] = self._registry
        return plan, plan.order(params)

    @contextlib.contextmanager
    def _watched(self) -> Any:
        if self._connection is None:
            raise RuntimeError("the change is over: its tx cannot be used any more")
        if self.failed is not None:
            raise self.failed
        try:
            yield self._connection
        except asyncpg.InvalidCachedStatementError as error:
            self.failed = error
            raise
        except (asyncpg.PostgresError, *LOST) as error:
            self.failed = translated(error)
            raise self.failed from error


def counted(status: str) -> int:
    """Read the row count of a command's status: ``INSERT 0 3``."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdecimal() else 0


class Change:
    """A function that waits for its turn, and what became of it."""

    __slots__ = (
        "_begun", "_context", "_line", "_timer", "_work", "error", "future", "stamped", "touched", "value",
    )  # fmt: skip

    def __init__(self, work: Callable[[PostgresTx], Awaitable[Any]], line: Line, *, stamped: bool) -> None:
        loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = loop.create_future()
        self._context = contextvars.copy_context()
        self._line = line
        self._begun = time.monotonic()
        self._timer = loop.call_later(line.left(self._begun), self._give_up)
        self._work = work
        self.stamped = stamped
        self.touched = False
        self.value: Any = None
        self.error: BaseException | None = None

    def take(self) -> bool:
        """Begin it, unless its caller has left."""
        self._timer.cancel()
        return not self.future.done()

    async def run(self, tx: PostgresTx) -> None:
        """Run the function to its end, and keep what it gave or raised."""
        self.value, self.error = None, None
        task = asyncio.get_running_loop().create_task(_drive(self._work, tx), context=self._context)
        try:
            self.value = await task
            self.error = tx.failed
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and task.cancel():
                raise
            self.error = error
        finally:
            self.touched = tx.touched
            tx.end()

    def settle(self, error: BaseException | None) -> None:
        """Tell the caller."""
        self._timer.cancel()
        if self.future.done():
            return
        if error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(error)

    def _give_up(self) -> None:
        left = self._line.left(self._begun)
        if left > 0:
            self._timer = self.future.get_loop().call_later(left, self._give_up)
        else:
            self.settle(Unavailable("too many changes wait for this registry", retry_after=2))


async def _drive(work: Callable[[PostgresTx], Awaitable[Any]], tx: PostgresTx) -> Any:
    return await work(tx)


class Turns:
    """The changes of one registry, in order, as many in one commit as wait."""

    def __init__(
        self, pool: Pool, listener: Listener, registry: int | None, clock: Callable[[], int]
    ) -> None:
        self._pool = pool
        self._listener = listener
        self._registry = registry
        self._clock = clock
        self._waiting: deque[Change] = deque()
        self._task: asyncio.Task[None] | None = None
        self._last = 0
        self._line = Line()
        settings = "" if pool.address.prepared else _SETTINGS
        self._begin = _BEGIN.format(settings=settings, key=_SPACE + (registry or 0))

    async def change(self, work: Callable[[PostgresTx], Awaitable[Any]], *, stamped: bool = True) -> Any:
        """Run *work* in a turn, and wait until it is durable."""
        change = Change(work, self._line, stamped=stamped and self._registry is not None)
        self._waiting.append(change)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())
        return await change.future

    async def finish(self) -> None:
        """Wait until no change is left."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._waiting:
                group: list[Change] = []
                try:
                    async with self._pool.connection() as connection:
                        await self._serve(connection, group)
                    self._line.move()
                except BaseException as error:
                    for change in group or self._take():
                        change.settle(_unwritten(error))
                    if not isinstance(error, (asyncpg.PostgresError, Unavailable, Vanished, *LOST)):
                        raise
        finally:
            self._task = None

    def _take(self) -> list[Change]:
        group: list[Change] = []
        while self._waiting and len(group) < GROUP:
            change = self._waiting.popleft()
            if change.take():
                group.append(change)
        return group

    async def _serve(self, connection: Connection, group: list[Change]) -> None:
        """Run one group to its commit; once more when the schema moved under its statements."""
        for last in (False, True):
            try:
                await connection.execute(self._begin)
                # Taken under the lock, so that those who came while it was awaited are in.
                group.extend([] if group else self._take())
                await self._commit(connection, group)
            except asyncpg.InvalidCachedStatementError:
                await connection.execute("ROLLBACK")
                if last:
                    raise
            except BaseException:
                await self._abandon(connection)
                raise
            else:
                return

    async def _commit(self, connection: Connection, group: list[Change]) -> None:
        at = await self._stamps(connection, sum(change.stamped for change in group))
        alone = len(group) == 1
        undo = ""
        for change in group:
            if not alone:
                await connection.execute(f"{undo}SAVEPOINT one")
            await change.run(PostgresTx(connection, self._registry, at))
            if connection.is_closed():
                raise change.error or Unavailable(retry_after=2)
            if isinstance(change.error, asyncpg.InvalidCachedStatementError):
                raise change.error
            undo = "" if change.error is None else "ROLLBACK TO SAVEPOINT one; "
            at += change.stamped
        kept = [change for change in group if change.error is None]
        touched = any(change.touched for change in kept)
        await connection.execute(self._ending(undo, kept=bool(kept), touched=touched))
        if touched:
            self._listener.moved(self._registry or 0)
        for change in group:
            change.settle(change.error)

    def _ending(self, undo: str, *, kept: bool, touched: bool) -> str:
        if not kept:
            return "ROLLBACK"
        return f"{undo}NOTIFY {CHANNEL}, '{self._registry or 0}'; COMMIT" if touched else f"{undo}COMMIT"

    async def _stamps(self, connection: Connection, count: int) -> int:
        """Take *count* stamps at once, and give the first."""
        now = self._clock()
        if self._registry is None:
            self._last = max(self._last + 1, now)
            return self._last
        taken = connection.fetchval(_TURN, self._registry, now, count) if count else None
        last = await (taken or connection.fetchval(_CLOCK, self._registry))
        if last is None:
            raise Vanished("the registry has no row: write() it before the first change")
        return int(last) - count + 1

    async def _abandon(self, connection: Connection) -> None:
        """Leave no transaction open on a connection that goes back."""
        try:
            if not connection.is_closed():
                await connection.execute("ROLLBACK", timeout=2)
        except (asyncpg.PostgresError, *LOST):
            connection.terminate()


def _unwritten(error: BaseException) -> BaseException:
    if isinstance(error, Unavailable | Vanished):
        return error
    known = translated(error)
    return Unavailable(f"nothing was written: {error}", retry_after=2) if isinstance(known, Failed) else known
