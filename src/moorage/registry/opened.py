"""Open registries: each a world of its own, bound to its rows and its bytes, that knows of no other."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from moorage.db import Database
from moorage.errors import Problem
from moorage.identity.access import Access
from moorage.registry.directory import Entry
from moorage.registry.pulls import Pulls
from moorage.registry.slots import Slots
from moorage.registry.uploads import Uploads
from moorage.storage import BlobStore


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may be; times in microseconds, sizes in bytes."""

    manifest_size: int = 4 << 20
    tags_per_push: int = 50
    page_size: int = 1000
    upload_lifetime: int = 7 * 86_400_000_000
    blob_size: int = 1 << 50
    slowest_transfer: int = 32 << 10


@dataclass(frozen=True, slots=True)
class Registry:
    """One registry, open: everything that its requests work on."""

    entry: Entry
    db: Database
    store: BlobStore
    access: Access
    uploads: Uploads
    pulls: Pulls
    slots: Slots
    limits: Limits


Open = Callable[[Entry], Awaitable[Registry]]


@dataclass(slots=True)
class Registries:
    """The registries that this process has open, at most *most*; the one asked longest ago is closed first."""

    open: Open
    most: int
    _open: OrderedDict[tuple[int, int], asyncio.Future[Registry]] = field(default_factory=OrderedDict)
    _closing: set[asyncio.Task[None]] = field(default_factory=set)

    async def get(self, entry: Entry) -> Registry:
        """Give an open registry, opening it once however many ask."""
        key = (entry.id, entry.generation)
        found = self._open.get(key)
        if found is None:
            found = self._open[key] = asyncio.ensure_future(self.open(entry))
            self._make_room()
        elif found.done():
            self._open.move_to_end(key)
            if not found.cancelled() and found.exception() is None:
                return found.result()
        try:
            return await asyncio.shield(found)
        except BaseException:
            if (
                found.done()
                and (found.cancelled() or found.exception() is not None)
                and self._open.get(key) is found
            ):
                del self._open[key]
            raise

    def _make_room(self) -> None:
        while len(self._open) > self.most:
            _, oldest = self._open.popitem(last=False)
            closing = asyncio.ensure_future(_close(oldest))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every open registry."""
        while self._open:
            await _close(self._open.popitem()[1])
        await asyncio.gather(*self._closing)


async def _close(opened: asyncio.Future[Registry]) -> None:
    try:
        registry = await opened
    except (asyncio.CancelledError, Problem):
        return
    await registry.pulls.flush()
    await registry.db.close()
