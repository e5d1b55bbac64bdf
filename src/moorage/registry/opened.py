"""Open registries: each a world of its own, bound to its rows and its bytes, that knows of no other."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass, field

from moorage.db import Broken, Database, Failed, Vanished
from moorage.errors import Problem, Unavailable
from moorage.identity.access import Access
from moorage.identity.oidc_sign_in import SignIns
from moorage.registry.directory import Entry
from moorage.registry.events import Gathered
from moorage.registry.pulls import Pulls
from moorage.registry.quota_events import Refusals
from moorage.registry.rates import Rates, unlimited
from moorage.registry.slots import Slots
from moorage.registry.traffic import Traffic
from moorage.registry.uploads import Uploads
from moorage.storage import BlobStore

LOG = logging.getLogger(__name__)
SECOND = 1.0
"""How often pulls and denials are written down: what a crash may lose of them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may be; times in microseconds, sizes in bytes."""

    manifest_size: int = 4 << 20
    tags_per_push: int = 50
    page_size: int = 1000
    page_size_most: int = 1000
    upload_lifetime: int = 7 * 86_400_000_000
    blob_size: int = 1 << 50
    slowest_transfer: int = 32 << 10


@dataclass(slots=True)
class Use:
    """How many requests work on something: it is not closed under them, unless they are cut."""

    count: int = 0
    _tasks: set[asyncio.Task[object]] = field(default_factory=set)

    def __enter__(self) -> None:
        self.count += 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)

    def __exit__(self, *_: object) -> None:
        self.count -= 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.discard(task)

    async def cut(self) -> None:
        """End every request that is under way now, and wait until it has let go."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


@dataclass(frozen=True, slots=True)
class Registry:
    """One registry, open: everything that its requests work on."""

    entry: Entry
    db: Database
    store: BlobStore
    access: Access
    uploads: Uploads
    pulls: Pulls
    gathered: Gathered
    slots: Slots
    limits: Limits
    sign_ins: SignIns
    traffic: Traffic = field(default_factory=Traffic)
    rates: Rates = field(default_factory=unlimited)
    use: Use = field(default_factory=Use)
    refusals: Refusals = field(default_factory=Refusals)

    def has_gathered(self, *, pulls: bool) -> bool:
        """Say whether anything waits to be written, counts of pulls among it if it is their time: mostly nothing does."""
        return (
            bool(self.gathered)
            or bool(self.refusals)
            or (pulls and (bool(self.pulls) or bool(self.access.used)))
        )

    async def write_down(self, *, pulls: bool) -> None:
        """Write what was gathered in memory, and pull counts if it is their time. What cannot be written waits."""
        try:
            await self.gathered.flush()
            await self.refusals.flush(self.db)
            if pulls:
                await self.pulls.flush()
                await self.access.used.flush()
        except Unavailable as problem:
            LOG.warning(
                "pulls and denials wait to be written: %s", problem, extra={"registry": self.entry.name}
            )
        except Vanished:
            return
        except (Broken, Failed):
            # A fault of ours, and no reason to stop answering pulls.
            LOG.exception("pulls and denials could not be written", extra={"registry": self.entry.name})

    async def close(self) -> None:
        """Write down what is left, and let go of the rows."""
        self.slots.close()
        await self.write_down(pulls=True)
        await self.db.close()


Open = Callable[[Entry], Awaitable[Registry]]


@dataclass(slots=True)
class Registries:
    """The registries that this process has open: at most *most*, and those in use. The one asked longest ago goes first."""

    open: Open
    most: int
    _open: OrderedDict[tuple[int, int], asyncio.Future[Registry]] = field(default_factory=OrderedDict)
    _closing: set[asyncio.Task[None]] = field(default_factory=set)

    def opened(self, entry: Entry) -> Registry | None:
        """Give a registry that is open, or None."""
        key = (entry.id, entry.generation)
        found = self._open.get(key)
        if found is None or not found.done() or found.cancelled() or found.exception() is not None:
            return None
        self._open.move_to_end(key)
        return found.result()

    def holds(self, registry: Registry) -> bool:
        """Say whether a registry is still open here."""
        found = self._open.get((registry.entry.id, registry.entry.generation))
        return (
            found is not None
            and found.done()
            and not found.cancelled()
            and found.exception() is None
            and found.result() is registry
        )

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

    async def tend(self, pulls_interval: float) -> None:
        """Write down what was gathered: events each second, counts of pulls at this interval. Until cancelled."""
        pause, counted = min(SECOND, pulls_interval), time.monotonic()
        while True:
            await asyncio.sleep(pause)
            due = time.monotonic() - counted >= pulls_interval
            if due:
                counted = time.monotonic()
            opened = [one for one in self._open.values() if one.done() and not one.cancelled()]
            registries = [one.result() for one in opened if one.exception() is None]
            await asyncio.gather(
                *(one.write_down(pulls=due) for one in registries if one.has_gathered(pulls=due))
            )

    async def let_go(self, serving: Container[tuple[int, int]]) -> list[Entry]:
        """Cut and close the registries that are not among those *serving* (ids with generations) any more; give them."""
        gone = [
            self._open.pop(key)
            for key, one in list(self._open.items())
            if key not in serving and one.done() and not one.cancelled() and one.exception() is None
        ]
        registries = [one.result() for one in gone]
        for registry in registries:
            await registry.use.cut()
            await registry.close()
        return [registry.entry for registry in registries]

    def _make_room(self) -> None:
        idle = [key for key, one in self._open.items() if not _is_used(one)]
        for key in idle[: max(len(self._open) - self.most, 0)]:
            closing = asyncio.ensure_future(_close(self._open.pop(key)))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every open registry."""
        while self._open:
            await _close(self._open.popitem()[1])
        await asyncio.gather(*self._closing)


def _is_used(opened: asyncio.Future[Registry]) -> bool:
    """Say whether a request works on a registry, or waits for it to be opened."""
    if not opened.done():
        return True
    return not opened.cancelled() and opened.exception() is None and opened.result().use.count > 0


async def _close(opened: asyncio.Future[Registry]) -> None:
    try:
        registry = await opened
    except (asyncio.CancelledError, Problem):
        return
    await registry.close()
