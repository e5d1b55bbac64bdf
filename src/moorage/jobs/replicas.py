"""The workers of a fleet: each says that it lives, and the living take over the jobs of the dead."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from moorage.db.pool import LOST, translated
from moorage.jobs.engine import SCHEMA

if TYPE_CHECKING:
    from moorage.db.pool import Pool

LOG = logging.getLogger(__name__)

BEAT = 3
DEAD = 12
"""Seconds without a beat after which a worker is dead."""

_LOCK = 0x4D6F6F72 << 32 | 0xFFFFFFFF
_TABLE = f"""
SELECT pg_advisory_xact_lock({_LOCK});
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.worker (name text PRIMARY KEY, beat_at timestamptz NOT NULL)
"""
_BEAT = f"INSERT INTO {SCHEMA}.worker VALUES ($1, now()) ON CONFLICT (name) DO UPDATE SET beat_at = now()"  # noqa: S608 - constants.
_SILENT = f"SELECT name FROM {SCHEMA}.worker WHERE beat_at < now() - interval '{DEAD} seconds' AND name <> $1"  # noqa: S608 - constants.
_LOCKED = f"SELECT pg_try_advisory_xact_lock({_LOCK})"
_BURY = f"DELETE FROM {SCHEMA}.worker WHERE name = $1 AND beat_at < now() - interval '{DEAD} seconds'"  # noqa: S608 - constants.


@dataclass(frozen=True, slots=True)
class Replicas:
    """This worker among the others of its cell."""

    pool: "Pool"
    name: str

    async def join(self) -> None:
        """Be known before the first job is taken, or nobody would miss this worker."""
        try:
            async with self.pool.connection() as connection, connection.transaction():
                await connection.execute(_TABLE)
                await connection.execute(_BEAT, self.name)
        except (asyncpg.PostgresError, *LOST) as error:
            raise translated(error) from error

    async def beat(self, take_over: Callable[[str], Awaitable[int]]) -> None:
        """Say that this worker lives, and take over from those who no longer say so; raise Unavailable."""
        try:
            async with self.pool.connection() as connection:
                await connection.execute(_BEAT, self.name)
                if await connection.fetchval(_SILENT, self.name) is not None:
                    async with connection.transaction():
                        if await connection.fetchval(_LOCKED):
                            await self._bury(connection, take_over)
        except (asyncpg.PostgresError, *LOST) as error:
            raise translated(error) from error

    async def _bury(
        self, connection: "asyncpg.Connection", take_over: Callable[[str], Awaitable[int]]
    ) -> None:
        for row in await connection.fetch(_SILENT, self.name):
            taken = await take_over(row["name"])
            # The row goes with this transaction's end: who dies here leaves it to the next.
            await connection.execute(_BURY, row["name"])
            LOG.warning("took over from a worker that is gone", extra={"worker": row["name"], "jobs": taken})
