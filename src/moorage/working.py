"""A worker, put together: the relay, collection and everything else that was promised to happen later."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from moorage import __version__, ordering
from moorage.accounting import Accounting
from moorage.cloud import contents, heads, passing_on, reconciling, registries, releases
from moorage.cloud import events as cloud_events
from moorage.cloud.entries import Entries
from moorage.cloud.passing_on import PassOn
from moorage.cloud.reconciling import Reconcile, Reconciler
from moorage.db import Database, Vanished, files
from moorage.db.files import Stamp
from moorage.errors import NewerSchema, Unavailable
from moorage.homes import Homes
from moorage.identity.keys import MasterKeyWrong
from moorage.jobs import Awaited, CannotWork, Handlers, Job
from moorage.parts import Parts, name_of
from moorage.registry import collection, dooming, relay
from moorage.registry.collection import Collected, Terms
from moorage.registry.directory import Directory, Entry
from moorage.registry.relay import Begin

if TYPE_CHECKING:
    from moorage.jobs.engine import Engine, Keeper
    from moorage.jobs.replicas import Replicas
    from moorage.settings import Settings

LOG = logging.getLogger(__name__)

SECOND = 1_000_000
DAY = 86_400 * SECOND
# A clock of another machine may differ so far from this one's.
MARGIN = 60 * SECOND
# An upload's last request may still be writing so long after the upload was given up.
LONGEST_REQUEST = DAY
HOUR = 3600.0
LOOK = 5.0
"""Seconds between two looks at the cell's directory."""
CHECK = 10.0

# What somebody waits for, of all events. Whoever adds a kind adds the handler of its job to `Worker.handlers`.
AWAITED: Awaited = dict.fromkeys(passing_on.KINDS, PassOn.of)
OF_PLATFORM: Awaited = dict.fromkeys(registries.BEGIN, Reconcile.of)


@dataclass(frozen=True, slots=True)
class Collect(Job):
    """Search one registry (its uuid) for what nothing needs any more."""

    registry: str


@dataclass(frozen=True, slots=True)
class Sweep(Job):
    """Abort what killed processes left half sent to the store."""

    older_than_seconds: int


@dataclass(slots=True)
class Worker:
    """Everything that one process does in the background, for every registry of its cell."""

    parts: Parts
    directory: Directory
    terms: Terms
    interval: float
    leftovers_after: float
    awaited: Awaited
    homes: Homes
    reconciler: Reconciler
    events_kept: int
    accounting: Accounting
    engine: Engine | None = None
    replicas: Replicas | None = None
    _left: set[str] = field(default_factory=set)
    _slots: dict[str, int] = field(default_factory=dict)
    _sums: dict[str, Collected] = field(default_factory=dict)
    # As of which stamp of a file its outbox was seen empty.
    _quiet: dict[str, Stamp] = field(default_factory=dict)

    @classmethod
    def of(cls, set_: Settings, parts: Parts, awaited: Awaited = AWAITED) -> Worker:
        """Build it out of its parts."""
        directory, homes = Directory(parts.cell, set_.listening.registry_port), Homes(parts)
        return cls(
            parts=parts,
            directory=directory,
            terms=terms(set_, parts),
            interval=set_.upkeep.collection_interval,
            leftovers_after=set_.upkeep.upload_expiry,
            awaited=awaited,
            homes=homes,
            reconciler=ordering.reconciler(set_, parts),
            events_kept=int(set_.upkeep.events_kept * SECOND),
            accounting=Accounting.of(set_, parts, directory, homes.get),
        )

    def handlers(self) -> Handlers:
        """Pair each kind of job with what does it."""
        return {
            Collect: self.collect,
            Sweep: self.sweep,
            Reconcile: self.reconcile,
            PassOn: partial(passing_on.pass_on, self.parts.platform),
        }

    async def run(self, keeper: Keeper, handlers: Handlers) -> None:
        """Work until cancelled; raise CannotWork when only a restart helps."""
        from moorage.jobs.engine import Engine  # noqa: PLC0415 - DBOS takes a second to import: the process is up before.

        self.engine = engine = Engine(keeper, handlers)
        await self.directory.refresh()
        if self.replicas is not None:
            await self.replicas.join()
        await engine.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._every(1.0, self.relay))
                group.create_task(self._every(1.0, self.relay_platform))
                group.create_task(self._every(CHECK, self.promise_platform))
                group.create_task(self._every(HOUR, self.relay_all))
                group.create_task(self._every(min(self.interval, CHECK), self.promise))
                group.create_task(self._every(LOOK, self.look))
                group.create_task(self._every(CHECK, engine.check))
                group.create_task(self._every(HOUR, self._tidy))
                for seconds, work_ in self.accounting.rounds():
                    group.create_task(self._every(seconds, work_))
                group.create_task(self._every(HOUR, self.record))
                group.create_task(self._every(CHECK, self.tend_grants))
                if self.replicas is not None:
                    group.create_task(self._every(3.0, self._beat))
        finally:
            engine.stop()

    async def look(self) -> None:
        """See which registries there are, and let go of those that are no more."""
        await self.directory.look()
        await self.homes.keep({name_of(entry) for entry in self.directory.all()})

    async def relay(self) -> None:
        """Move the events of the registries that are marked."""
        for entry in await self._marked():
            await self._drain(entry)

    async def relay_all(self) -> None:
        """Look into every outbox, marked or not: a power cut may have taken marks.

        A file that nobody wrote to since its outbox was seen empty is not opened for it.
        """
        if self.parts.postgres is not None:
            # It tells every outbox that holds anything each second.
            return
        before, self._quiet = self._quiet, {}
        for entry in self.directory.all():
            name, stamp = name_of(entry), self.parts.stamp(entry)
            if stamp is None or before.get(name) != stamp:
                await self._drain(entry, look_first=True)
            if stamp is not None and name not in self._left:
                self._quiet[name] = stamp

    async def relay_platform(self) -> None:
        """Move the platform's events, and begin what follows from them."""
        await cloud_events.drain(self.parts.platform, OF_PLATFORM, self._promise)

    async def promise_platform(self) -> None:
        """Promise what is to be done for registries though no event says so now.

        What an event promised may wait long where many were ordered at once: it is not promised twice.
        """
        assert self.engine is not None
        due = await reconciling.due(self.parts.platform)
        busy = await self.engine.busy() if due else set()
        for job in due:
            if job.registry not in busy:
                await self._promise(job, f"reconcile:{job.registry}:{int(time.time())}")

    async def record(self) -> None:
        """Tell the ledger what runs here, and sign the heads of its chains that are due."""
        await releases.note(self.parts.platform, __version__, self.reconciler.catalogue)
        try:
            signed = await heads.sign_due(self.parts.platform, self.parts.master)
        except MasterKeyWrong as wrong:
            # Whatever else this worker does goes on.
            LOG.error("ALARM: heads of the ledger cannot be signed: %s", wrong)  # noqa: TRY400 - the line says it.
            return
        if signed:
            LOG.info("signed heads of the ledger", extra={"chains": signed})

    async def tend_grants(self) -> None:
        """End the grants whose time is over, and tell of what was done with those in force."""
        await Entries(self.parts.platform, self.reconciler.site).tend()

    async def reconcile(self, job: Reconcile) -> bool:
        """Do one round of a registry's reconciling."""
        return await self.reconciler.reconcile(job)

    async def _promise(self, job: Job, id_: str) -> None:
        assert self.engine is not None
        assert isinstance(job, Reconcile)
        await self.engine.submit(job, id_=id_, partition=job.registry)

    async def promise(self) -> None:
        """Promise the collections whose time has come, and a day's sweep of the store."""
        assert self.engine is not None
        now = time.time()
        day = int(now // 86_400)
        if self._slots.get("") != day:
            await self.engine.submit(Sweep(int(self.leftovers_after)), id_=f"sweep:{day}", partition="store")
            self._slots[""] = day
        busy: set[str] | None = None
        for entry in self.directory.all():
            # Registries are collected one after another, not all at the full hour.
            slot = int((now + hash_of(entry.uuid) * self.interval) // self.interval)
            if self._slots.get(entry.uuid) == slot:
                continue
            busy = await self.engine.busy() if busy is None else busy
            if entry.uuid not in busy:
                id_ = f"collect:{entry.uuid}:{self.interval:g}:{slot}"
                await self.engine.submit(Collect(entry.uuid), id_=id_, partition=entry.uuid)
            self._slots[entry.uuid] = slot

    async def collect(self, job: Collect) -> bool:
        """Do one round of a registry's collection; say whether there is another."""
        entry = next((one for one in self.directory.all() if one.uuid == job.registry), None)
        if entry is None:
            return False
        db = await self.homes.get(entry)
        try:
            done = await collection.tend(db, self.parts.store.under(entry.prefix), self.terms)
        except Vanished:
            return False
        total = self._sums.pop(entry.uuid, Collected()) + done
        if done:
            self._sums[entry.uuid] = total
            return True
        if total:
            LOG.info("collected", extra={"registry": entry.name, **figures(total)})
        await alarm(db, entry)
        await contents.sum_up(self.parts.platform, db, entry.uuid)
        await reconciling.note_size(self.parts.platform, entry.uuid, (await reconciling.stored(db)).stored)
        return False

    async def sweep(self, job: Sweep) -> bool:
        """Abort old leftovers of the whole store."""
        swept = await self.parts.store.abort_leftovers(older_than_seconds=job.older_than_seconds)
        if swept:
            LOG.info("aborted uploads that were left half sent", extra={"uploads": swept})
        return False

    async def _marked(self) -> list[Entry]:
        if self.parts.postgres is not None:
            ids = set(await self.parts.postgres.marked())
            if not ids:
                return []
            return [entry for entry in self.directory.all() if entry.id in ids]
        self._left.update(files.take_marks(self.parts.place.registries))
        if not self._left:
            return []
        known = {name_of(entry): entry for entry in self.directory.all()}
        if self._left - known.keys():
            await self.directory.refresh()
            known = {name_of(entry): entry for entry in self.directory.all()}
            self._left &= known.keys()
        return [known[name] for name in sorted(self._left)]

    async def _drain(self, entry: Entry, *, look_first: bool = False) -> None:
        name = name_of(entry)
        try:
            db = await self.homes.get(entry)
            if not look_first or await relay.has_waiting(db):
                await relay.drain(db, entry.uuid, self.awaited, self._begin(entry))
                await self.accounting.look(entry.uuid, db)
            self._left.discard(name)
        except CannotWork:
            raise
        except Vanished:
            self._left.discard(name)
        except (Unavailable, NewerSchema) as problem:
            self._left.add(name)
            LOG.warning("events wait in the outbox: %s", problem, extra={"registry": entry.name})
        except Exception:
            # One registry's trouble shall not hold up the others'.
            self._left.add(name)
            LOG.exception("events cannot be moved", extra={"registry": entry.name})

    def _begin(self, entry: Entry) -> Begin:
        engine = self.engine
        assert engine is not None

        async def begin(job: Job, id_: str) -> None:
            await engine.submit(job, id_=id_, partition=entry.uuid)

        return begin

    async def _beat(self) -> None:
        assert self.replicas is not None
        assert self.engine is not None
        await self.replicas.beat(self.engine.take_over)

    async def _tidy(self) -> None:
        assert self.engine is not None
        await self.homes.close(idle_for=HOUR)
        await self.accounting.tidy()
        while await self.engine.forget():
            pass
        while await cloud_events.drop_old(self.parts.platform, self.parts.platform.now() - self.events_kept):
            pass

    @staticmethod
    async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Unavailable as problem:
                LOG.warning("background work waits: %s", problem)
            await asyncio.sleep(seconds)


async def work(worker: Worker, asked: asyncio.Event, name: str = "", more: Handlers | None = None) -> None:
    """Work until *asked* to end. *more* pairs further jobs with what does them."""
    working = asyncio.create_task(_work(worker, name, more or {}))
    waiting = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        working.cancel()
        await asyncio.wait((working,))
        await worker.homes.close()
    if not working.cancelled():
        # It ends by itself only when it cannot go on.
        working.result()


async def _work(worker: Worker, name: str, more: Handlers) -> None:
    from moorage.jobs.engine import Keeper  # noqa: PLC0415 - as in run().

    if worker.parts.postgres is None:
        keeper = Keeper.file(worker.parts.place.jobs_file)
    else:
        from moorage.jobs.replicas import Replicas  # noqa: PLC0415 - as above.

        address = worker.parts.postgres.pool.address
        keeper = Keeper(address.listen or address.url, name or socket.gethostname())
        worker.replicas = Replicas(worker.parts.postgres.pool, keeper.executor)
    await worker.run(keeper, {**worker.handlers(), **more})


async def collect_now(
    parts: Parts, terms_: Terms, name: str | None
) -> AsyncIterator[tuple[Entry, Collected]]:
    """Collect one registry, or (None) every one, to the end; any worker may be at it too. Gives what each had."""
    directory = Directory(parts.cell, 0)
    await directory.refresh()
    for entry in directory.all():
        if name in (None, entry.name):
            yield entry, await _collect_whole(parts, entry, terms_)


async def _collect_whole(parts: Parts, entry: Entry, terms_: Terms) -> Collected:
    db = await parts.open_database(entry)
    total = Collected()
    try:
        while done := await collection.tend(db, parts.store.under(entry.prefix), terms_):
            total += done
        await alarm(db, entry)
    finally:
        await db.close()
    return total


async def alarm(db: Database, entry: Entry) -> None:
    """Log an alarm if bytes that are in use stand to be destroyed, which collection itself then refuses to do."""
    key = await dooming.contradiction(db)
    if key is not None:
        LOG.error("ALARM: bytes are doomed and in use at once", extra={"registry": entry.name, "key": key})


def terms(set_: Settings, parts: Parts) -> Terms:
    """Give the terms on which this cell collects."""
    return Terms(
        lease=int(set_.upkeep.collection_grace * SECOND),
        longest_request=LONGEST_REQUEST,
        # One machine has one clock.
        margin=0 if parts.postgres is None else MARGIN,
        events=int(set_.upkeep.events_kept * SECOND),
    )


def figures(done: Collected) -> Mapping[str, int]:
    """Name what collection did."""
    return {
        "uploads_expired": done.uploads,
        "manifests_purged": done.manifests,
        "links_reviewed": done.links,
        "tags_forgotten": done.tags,
        "keys_destroyed": done.destroyed,
        "events_dropped": done.events,
    }


def hash_of(text: str) -> float:
    """Give a number from 0 to 1 that is always the same for a registry's uuid."""
    return int(text.replace("-", "")[:8], 16) / (1 << 32)
