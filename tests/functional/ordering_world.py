"""A cell with its platform, a desk where orders are taken, and who makes registries of them, one round after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from sqlalchemy import bindparam, select, update

from moorage import ordering
from moorage.cloud import accounts, cloud_projects, events, registries
from moorage.cloud.desk import Desk
from moorage.cloud.events import SYSTEM
from moorage.cloud.reconciling import Reconcile, Reconciler
from moorage.cloud.registries import Registry
from moorage.db import Database, Statement, Tx
from moorage.db.platform import cloud_event, cloud_registry
from moorage.db.tables import registry as rows
from moorage.jobs import Job
from moorage.registry.directory import Entry
from moorage.working import OF_PLATFORM
from tests.worlds import World

KINDS = Statement(
    select(cloud_event.c.kind, cloud_event.c.outcome, cloud_event.c.actor)
    .where(cloud_event.c.target == bindparam("target"))
    .order_by(cloud_event.c.id)
)
STORE = Statement(update(rows).values(used=bindparam("bytes")))
LIMITS = Statement(select(rows.c.limit_bytes, rows.c.trash_window))
OVER = Statement(
    update(cloud_registry).where(cloud_registry.c.id == bindparam("which")).values(delete_after=1)
)


@dataclass(slots=True)
class Orders:
    """What a test orders with: everything an owner of the first account may do."""

    world: World
    desk: Desk
    reconciler: Reconciler
    first: accounts.First

    @property
    def platform(self) -> Database:
        """Give the platform's rows."""
        return self.desk.platform

    @property
    def project(self) -> str:
        """Give the cloud project that is ordered in."""
        return self.first.cloud_project_id

    async def ordered(self, name: str = "team", plan: str | None = None) -> Registry:
        """Order a registry, and wait for nothing."""
        return await self.desk.order(self.project, name=name, region="LOCAL", plan=plan, origin=SYSTEM)

    async def made(self, name: str = "team", plan: str | None = None) -> Registry:
        """Order a registry, and make it."""
        found = await self.ordered(name, plan)
        await self.work()
        return await self.again(found)

    async def work(self) -> list[Job]:
        """Do all that events promise, as a worker does; give the jobs."""
        promised: list[Job] = []

        async def begin(job: Job, _: str) -> None:
            promised.append(job)

        await events.drain(self.platform, OF_PLATFORM, begin)
        for job in promised:
            assert isinstance(job, Reconcile)
            await self.reconcile(job)
        return promised

    async def reconcile(self, job: Reconcile) -> None:
        """Do every round of one job."""
        rounds = 1
        while await self.reconciler.reconcile(job):
            rounds += 1
            assert rounds < 10

    async def over(self, found: Registry) -> None:
        """Let a deleted registry's grace be over, and all processes have let go of it."""
        await self.platform.write(OVER, which=found.id)
        await self.world.plane.directory.refresh()
        await self.world.plane.let_go()

    async def destroyed(self, found: Registry) -> Registry:
        """Delete a registry, let its grace be over and destroy it."""
        await self.desk.delete(self.project, found.id, SYSTEM)
        await self.work()
        await self.over(found)
        await self.reconcile(Reconcile(found.id))
        await self.work()
        return await self.again(found)

    async def again(self, found: Registry) -> Registry:
        """Read a registry's row again."""
        now = await registries.find(self.platform, found.id)
        assert now is not None
        return now

    async def entry(self, found: Registry) -> Entry:
        """Give a registry's place in the directory as the registry plane sees it now."""
        await self.world.plane.directory.refresh()
        now = await self.again(found)
        return next(one for one in self.world.plane.directory.all() if one.uuid == now.entry_uuid)

    async def status(self, found: Registry) -> int:
        """Ask a registry's own address who answers there."""
        entry = await self.entry(found)
        client = await self.world.as_(None, entry=entry)
        answer: httpx.Response = await client.get("/v2/")
        return answer.status_code

    async def limits(self, found: Registry) -> tuple[int, int, int]:
        """Give what is in force: bytes in the registry's rows, bytes and requests in the directory."""
        entry = await self.entry(found)
        db = await self.world.parts.open_database(entry)
        row = await db.one(LIMITS)
        await db.close()
        return row.limit_bytes, entry.limit_bytes, entry.parallel

    async def store(self, found: Registry, count: int) -> None:
        """Have so many bytes counted against a registry."""
        db = await self.world.parts.open_database(await self.entry(found))
        await db.write(STORE, bytes=count)
        await db.close()

    async def told(self, target: str) -> list[tuple[str, str]]:
        """List what the record says of something, once everything is moved there."""
        await self.work()
        return [(row.kind, row.outcome) for row in await self.platform.all(KINDS, target=target)]


@pytest.fixture
async def orders(world: World) -> AsyncIterator[Orders]:
    """Open the desk of a cell whose first registry belongs to a first account."""
    made = await opened(world)
    yield made
    made.reconciler.passwords.close()


async def opened(world: World) -> Orders:
    """Make the first account, in a cloud project of this test's own, and open the desk."""
    set_, everything = world.settings, world.parts
    await ordering.first_account(set_, everything, world.entry)
    desk = ordering.desk(set_, everything)

    async def work(tx: Tx) -> accounts.First:
        found = await accounts.first(tx)
        assert found is not None
        project = await cloud_projects.create(tx, found.account_id, world.name)
        return dataclasses.replace(found, cloud_project_id=project)

    first = await everything.platform.change(work)
    reconciler = ordering.reconciler(set_, everything)
    ground = dataclasses.replace(reconciler.destroyer.ground, letting_go=0)
    reconciler.destroyer = dataclasses.replace(reconciler.destroyer, ground=ground)
    return Orders(world, desk, reconciler, first)
