"""A cell's PostgreSQL, whose tables all of its registries share."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import operator
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakValueDictionary

import asyncpg

from moorage.db import migrate
from moorage.db.listener import Listener
from moorage.db.pool import LOST, Address, Pool, translated
from moorage.db.sqlite import clock
from moorage.db.statements import POSTGRES, POSTGRES_BOUND, REGISTRY, Plan, Statement
from moorage.db.turns import Turns, counted
from moorage.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from moorage.db import Tx
    from moorage.db.pool import Connection

T = TypeVar("T")

_THERE = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1"
_NUMBERS = (
    "SELECT t.relname AS name, pg_sequence_last_value(s.oid) AS last FROM pg_class s"
    " JOIN pg_depend d ON d.objid = s.oid AND d.deptype = 'i' JOIN pg_class t ON t.oid = d.refobjid"
    " WHERE s.relkind = 'S' AND t.relnamespace = current_schema()::regnamespace"
)
_NUMBER_PAST = (
    "SELECT setval(s, GREATEST($2::bigint, COALESCE(pg_sequence_last_value(s), 1)))"
    " FROM (SELECT pg_get_serial_sequence(quote_ident($1::text), 'id')::regclass AS s) AS named"
)
_LONG = 3600.0
"""Seconds a statement of a snapshot may take: a recount reads everything."""


class Postgres:
    """The connections of one process to a cell's database."""

    def __init__(self, address: Address, now: Callable[[], int]) -> None:
        self.pool = Pool(address)
        self.listener = Listener(address)
        self.now = now
        self._turns: WeakValueDictionary[int, Turns] = WeakValueDictionary()

    @classmethod
    async def connect(
        cls,
        dsn: str,
        *,
        clock: Callable[[], int] = clock,
        create: bool = False,
        size: int = 10,
        families: Sequence[migrate.Family] = (),
    ) -> Self:
        """Connect, on no more than *size* connections, and check the schema; *create* makes or upgrades it.

        Only what is of these *families* is looked at, without any a cell's: who pulls needs nothing of the platform's.

        Raises Unavailable when nobody answers or the schema is too old, and NewerSchema.
        """
        made = cls(Address.parse(dsn, size=size), clock)
        try:
            await made._check(dsn if create else None, families or migrate.of_a_cell())
        except BaseException:
            await made.pool.close()
            raise
        made.listener.start()
        return made

    async def bring(self, dsn: str, *families: migrate.Family) -> None:
        """Make or bring forward more *families* of tables where they are not served yet, or raise NewerSchema."""
        await self._check(dsn, families)

    def bound(self, registry_id: int) -> PostgresDatabase:
        """Give the database of one registry."""
        if not 0 < registry_id < 1 << 32:
            raise ValueError(f"a registry's number is between 1 and 2^32: {registry_id}")
        return PostgresDatabase(self, registry_id, self._queue(registry_id))

    def unbound(self) -> PostgresDatabase:
        """Give the cell's own database."""
        return PostgresDatabase(self, None, self._queue(0))

    async def marked(self) -> list[int]:
        """List the registries whose outbox holds anything; raise Unavailable."""
        asked = "SELECT DISTINCT registry_id FROM outbox"
        return [row[0] for row in await self.pool.read(operator.methodcaller("fetch", asked))]

    async def close(self) -> None:
        """Finish the waiting changes and let go of every connection."""
        for turns in list(self._turns.values()):
            await turns.finish()
        await self.listener.stop()
        await self.pool.close()

    def _queue(self, registry: int) -> Turns:
        turns = self._turns.get(registry)
        if turns is None:
            turns = Turns(self.pool, self.listener, registry or None, self.now)
            self._turns[registry] = turns
        return turns

    async def _check(self, upgraded: str | None, families: Sequence[migrate.Family]) -> None:
        """Raise Unavailable for a schema that is too old, unless the address to upgrade is given."""
        old = tuple([family for family in families if not await self._is_served(family)])
        if not old:
            return
        if upgraded is None:
            raise Unavailable("the database's schema is too old for this release: run `moorage migrate`")
        await asyncio.to_thread(migrate.upgrade_postgres, upgraded, old)

    async def _is_served(self, family: migrate.Family) -> bool:
        """Tell whether this code works on a family's schema as it is, or raise NewerSchema."""
        there = operator.methodcaller("fetchval", _THERE, family.version_table)
        if not await self.pool.read(there):
            return False
        asked = f"SELECT version_num FROM {family.version_table}"  # noqa: S608 - a constant.
        version = await self.pool.read(operator.methodcaller("fetchval", asked))
        family.check(version)
        return version is not None and version >= family.serves_from


class PostgresDatabase:
    """One registry's rows, or the cell's own; see ``moorage.db.Database``."""

    inline = False

    def __init__(self, postgres: Postgres, registry_id: int | None, turns: Turns) -> None:
        self.registry_id = registry_id
        self.now = postgres.now
        self._mode = POSTGRES if registry_id is None else POSTGRES_BOUND
        self._pool = postgres.pool
        self._versions = itertools.count()
        self._listener = postgres.listener
        self._turns = turns

    async def one(self, statement: Statement, /, **params: Any) -> Any | None:
        """Give the first row, or None."""
        plan, values = self._filled(statement, params)
        row = await self._pool.read(lambda connection: connection.fetchrow(plan.sql, *values))
        return None if row is None else plan.row(row)

    async def all(self, statement: Statement, /, **params: Any) -> list[Any]:
        """Give every row."""
        plan, values = self._filled(statement, params)
        return list(
            map(plan.row, await self._pool.read(lambda connection: connection.fetch(plan.sql, *values)))
        )

    async def change(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run *work* in a turn of its own: all or nothing, durable when this returns."""
        given: T = await self._turns.change(work)
        return given

    async def record(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run *work* as `change` does, but in no turn."""
        given: T = await self._turns.change(work, stamped=False)
        return given

    async def write(self, statement: Statement, /, **params: Any) -> int:
        """Run one durable statement outside any turn, and tell how many rows it changed."""
        plan, values = self._filled(statement, params)
        try:
            async with self._pool.connection() as connection:
                return counted(await connection.execute(plan.sql, *values))
        except (asyncpg.PostgresError, *LOST) as error:
            raise translated(error) from error

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Read several times from one moment, on a connection of its own."""
        connection = await self._pool.address.connect()
        try:
            await connection.execute(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0;"
                " SET LOCAL idle_in_transaction_session_timeout = '10min'"
            )
            yield Snapshot(connection, self)
        finally:
            connection.terminate()

    async def numbers(self) -> Mapping[str, int]:
        """Give the last number that each table gave, to whichever registry."""
        asked = operator.methodcaller("fetch", _NUMBERS)
        return {row["name"]: row["last"] for row in await self._pool.read(asked) if row["last"] is not None}

    async def number_past(self, last: Mapping[str, int]) -> None:
        """Never give these numbers to another row, nor smaller ones."""
        try:
            async with self._pool.connection() as connection:
                await connection.executemany(_NUMBER_PAST, list(last.items()))
        except (asyncpg.PostgresError, *LOST) as error:
            raise translated(error) from error

    def version(self) -> int:
        """Give another number each time: what others commit is not told here before it is done."""
        return next(self._versions)

    def access_version(self) -> int:
        """Give a number that differs whenever an access row changed, in any process."""
        return self._listener.version(self.registry_id or 0)

    async def close(self) -> None:
        """Finish the waiting changes; the connections are the cell's."""
        await self._turns.finish()

    def _filled(self, statement: Statement, params: dict[str, Any]) -> tuple[Plan, tuple[Any, ...]]:
        plan = statement.plans[self._mode] or statement.plan(self._mode)
        plan.fill(params)
        params[REGISTRY] = self.registry_id
        return plan, plan.order(params)


class Snapshot:
    """Reads of one moment."""

    def __init__(self, connection: Connection, database: PostgresDatabase) -> None:
        self._connection = connection
        self._filled = database._filled  # noqa: SLF001 - the same module.

    async def one(self, statement: Statement, /, **params: Any) -> Any | None:
        """Give the first row, or None."""
        plan, values = self._filled(statement, params)
        try:
            row = await self._connection.fetchrow(plan.sql, *values, timeout=_LONG)
        except (asyncpg.PostgresError, *LOST) as error:
            raise translated(error) from error
        return None if row is None else plan.row(row)

    async def all(self, statement: Statement, /, **params: Any) -> list[Any]:
        """Give every row."""
        plan, values = self._filled(statement, params)
        try:
            return list(map(plan.row, await self._connection.fetch(plan.sql, *values, timeout=_LONG)))
        except (asyncpg.PostgresError, *LOST) as error:
            raise translated(error) from error
