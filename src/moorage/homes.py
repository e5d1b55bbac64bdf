"""The registries that a worker has open, few of however many there are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moorage.parts import name_of

if TYPE_CHECKING:
    from moorage.db import Database
    from moorage.parts import Parts
    from moorage.registry.directory import Entry


@dataclass(frozen=True, slots=True)
class Home:
    """A registry, open for work in the background."""

    entry: Entry
    db: Database


@dataclass(slots=True)
class Homes:
    """The registries that a worker has open, few of however many there are: the one asked longest ago is closed."""

    parts: Parts
    most: int = 64
    _open: dict[str, tuple[Home, float]] = field(default_factory=dict)
    _using: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self, entry: Entry) -> Database:
        """Give a registry's rows; raises Unavailable."""
        async with self._using:
            found = self._open.get(name_of(entry))
            home = found[0] if found else Home(entry, await self.parts.open_database(entry, create=False))
            self._open[name_of(entry)] = (home, time.monotonic())
            if len(self._open) > self.most:
                oldest = min(self._open, key=lambda name: self._open[name][1])
                await self._open.pop(oldest)[0].db.close()
            return home.db

    async def keep(self, known: Collection[str]) -> None:
        """Close those that are not among these names: who has left the directory is destroyed, once nobody has it open."""
        async with self._using:
            for name in [name for name in self._open if name not in known]:
                await self._open.pop(name)[0].db.close()

    async def close(self, *, idle_for: float = 0.0) -> None:
        """Close those that were not asked for in so many seconds."""
        async with self._using:
            before = time.monotonic() - idle_for
            for name in [name for name, (_, asked) in self._open.items() if asked <= before]:
                await self._open.pop(name)[0].db.close()
