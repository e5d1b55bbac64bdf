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

    def start(self) -> None:
        """Listen until stopped, through every loss."""
        if self._address.listen is not None:
            self._task = asyncio.get_running_loop().create_task(self._run(self._address.listen))

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
        self.heard.set()
        while True:
            await asyncio.sleep(BEAT)
            await connection.execute("SELECT 1", timeout=BEAT)

    def _hear(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        self.moved(int(payload))

    def _lose(self, _connection: Any = None) -> None:
        self._hears = False
        self.heard.clear()
