"""Hears from PostgreSQL which registries' access rows have changed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import asyncpg

from moorage.db.pool import LOST
from moorage.errors import Unavailable

if TYPE_CHECKING:
    from moorage.db.pool import Address, Connection

CHANNEL = "moorage_access"
BEAT = 0.4
"""Seconds between two questions whether the line still stands: a lost one is known within a second."""

# One statement, so that who is counted counts itself from the first time on; the view is of one moment.
_PEERS = """
WITH called AS MATERIALIZED (SELECT set_config('application_name', $1, false) AS name)
SELECT count(*) FILTER (WHERE pid <> pg_backend_pid()) + 1 AS peers,
    count(*) FILTER (WHERE (backend_start, pid) < (SELECT backend_start, pid FROM pg_stat_activity
        WHERE pid = pg_backend_pid())) AS before
FROM pg_stat_activity, called
WHERE datname = current_database() AND (application_name = called.name OR pid = pg_backend_pid())
"""


class Listener:
    """Keeps a number for each registry, which moves when the registry's access rows do.

    While nobody can be heard, every question gets a new number: then caches are never believed.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._numbers = itertools.count(1)
        self._base = 0
        self._moved: dict[int, int] = {}
        self._hears = False
        self._task: asyncio.Task[None] | None = None
        self.heard = asyncio.Event()
        """Set when the line stands."""
        self.peers: tuple[int, int] | None = None
        """How many processes are counted with this one, and how many of them came before it, as last heard."""
        self._called = ""

    def start(self) -> None:
        """Listen until stopped, through every loss."""
        if self._address.listen is not None:
            self._task = asyncio.get_running_loop().create_task(self._run(self._address.listen))

    def count_as(self, name: str) -> None:
        """Count the processes whose line has this name, which this one's takes: a line ends with its process."""
        self._called = name

    async def stop(self) -> None:
        """Listen no more."""
        self._lose()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def version(self, registry: int) -> int:
        """Give the registry's number."""
        if not self._hears:
            return next(self._numbers)
        return self._moved.get(registry, self._base)

    def moved(self, registry: int) -> None:
        """Give the registry a new number: this process itself has just changed it."""
        self._moved[registry] = next(self._numbers)

    async def _run(self, url: str) -> None:
        while True:
            with contextlib.suppress(Unavailable, asyncpg.PostgresError, *LOST):
                connection = await self._address.connect(url)
                try:
                    await self._listen(connection)
                finally:
                    self._lose()
                    connection.terminate()
            await asyncio.sleep(BEAT)

    async def _listen(self, connection: Connection) -> None:
        connection.add_termination_listener(self._lose)
        await connection.add_listener(CHANNEL, self._hear)
        # Whatever happened before was not heard, so every number is new.
        self._moved.clear()
        self._base = next(self._numbers)
        self._hears = True
        await self._ask(connection)
        self.heard.set()
        while True:
            await asyncio.sleep(BEAT)
            await self._ask(connection)

    async def _ask(self, connection: Connection) -> None:
        """See that the line stands, and who else is there."""
        if self._called:
            counted = await connection.fetchrow(_PEERS, self._called, timeout=BEAT)
            self.peers = (counted["peers"], counted["before"])
        else:
            await connection.execute("SELECT 1", timeout=BEAT)

    def _hear(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        self.moved(int(payload))

    def _lose(self, _connection: Any = None) -> None:
        self._hears = False
        self.heard.clear()
