"""Workers killed at each step of making, resizing, suspending and deleting a registry: it goes on, and nothing is done twice."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import bindparam, func, select

from moorage.cloud import certificates, heads, registries, signing, suspensions
from moorage.cloud.events import SYSTEM
from moorage.cloud.registries import Registry
from moorage.cloud.restrictions import Wanted
from moorage.db import Statement
from moorage.db.cell import entry
from moorage.db.platform import cloud_event, cloud_outbox
from moorage.db.tables import project, user
from moorage.registry.address_rules import Part
from moorage.registry.directory import What
from moorage.storage import new_key
from moorage.storage.memory import BytesSource
from tests.crash import stages
from tests.crash.test_worker import Work, cell, fleet_jobs, jobs_if_any, until
from tests.functional.ordering_world import Orders, opened
from tests.servers.house import environment
from tests.servers.postgres import PostgresServer

STEPS = ("place", "fill", "limit", "restrict", "open", "settle_open")
CLOSING = ("close", "settle_closed")
SUSPENDING = ("restrict", "suspend", "settle_suspended")
# Between two steps nothing happens: who is killed after one is killed before the next.
DESTROYING = ("seal", "end_rows", "end_bytes", "certify")
KIND = Statement(
    select(cloud_event.c.kind, func.count().label("count"))
    .where(cloud_event.c.target == bindparam("target"))
    .group_by(cloud_event.c.kind)
)
ELSEWHERE = Wanted("192.0.2.0/24")
WAITING = Statement(select(cloud_outbox.c.id).limit(1))
PLACES = Statement(select(func.count().label("count")).where(entry.c.name == bindparam("name")))
PROJECTS = Statement(select(func.count().label("count")).select_from(project))
USERS = Statement(select(func.count().label("count")).select_from(user))


@dataclasses.dataclass(slots=True)
class Fleet:
    """A cell with a desk, on one engine, and its workers."""

    work: Work
    orders: Orders

    async def killed_at(self, step: str, moment: str) -> None:
        """Let a worker loose that is killed at a step, and wait until it is."""
        await stages.ended(stages.reconciling(self.settings, step, moment))

    async def ended(self, found: Registry, status: str) -> Registry:
        """Let a whole worker end what was begun, until the row has a status and the record all of it."""
        async with self._working():
            await until(lambda: self._is(found, status))
        return await self.orders.again(found)

    async def destroyed(self, found: Registry) -> None:
        """Let a whole worker end a destruction that was begun."""

        async def is_so() -> bool:
            told = await self.kinds(found)
            return "registry.destroyed" in told

        async with self._working():
            await until(is_so)

    @property
    def settings(self) -> dict[str, str]:
        """Give what a worker of this cell is started with."""
        return environment(self.work.data, **self.work.settings, WORKER_NAME="one")

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[None]:
        worker = stages.reconciling(self.settings)
        try:
            yield
        finally:
            worker.kill()
            await asyncio.to_thread(worker.join)
            worker.close()

    async def _is(self, found: Registry, status: str) -> bool:
        if await self.orders.platform.one(WAITING) is not None or not await self._is_idle():
            return False
        return (await self.orders.again(found)).status == status

    async def _is_idle(self) -> bool:
        """Tell whether every reconciling has ended, those too that were begun for what others had made meanwhile."""
        fleet = self.orders.world.parts.postgres is not None
        found = await fleet_jobs(self.work) if fleet else jobs_if_any(self.work)
        states = [state for id_, state, _ in found if ":" not in id_]
        return bool(states) and set(states) == {"SUCCESS"}

    async def kinds(self, found: Registry) -> dict[str, int]:
        """Count what the record says of a registry; the day's head of its chain is signed when it is, and is none of this."""
        rows = await self.orders.platform.all(KIND, target=found.id)
        return {row.kind: row.count for row in rows if row.kind != heads.SIGNED}

    async def places(self, found: Registry) -> int:
        """Count its places in the directory."""
        row = await self.orders.world.parts.cell.one(PLACES, name=found.id)
        return int(row.count)


@pytest.fixture(params=["sqlite", "postgres"])
async def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Make a cell with its first account."""
    given = {}
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        given["DATABASE_URL"] = await asyncio.to_thread(server.cell)
    async with cell(tmp_path, **given) as work:
        orders = await opened(work.world)
        yield Fleet(work, orders)
        orders.reconciler.passwords.close()


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_order_is_made_once_wherever_its_worker_is_killed(fleet: Fleet, moment: str):
    orders = fleet.orders
    ordered = [await orders.ordered(f"at {step}") for step in ("one", "two")]
    # It has no place yet that its rules could be taken to, so that is left to the workflow.
    await orders.desk.restrict(orders.project, ordered[1].id, Part.REGISTRY, [ELSEWHERE], SYSTEM)
    for step in STEPS:
        await fleet.killed_at(step, moment)

    made = [await fleet.ended(one, "READY") for one in ordered]

    assert len({one.url for one in made}) == 2
    asked = {registries.RESTRICTED: 1}
    for one, more, answer in zip(made, ({}, asked), (401, 403), strict=True):
        assert await fleet.places(one) == 1
        assert await fleet.kinds(one) == {"registry.ordered": 1, "registry.delivered": 1, **more}
        assert (await orders.limits(one))[2] == 15
        db = await fleet.work.world.parts.open_database(await orders.entry(one))
        assert [(await db.one(asked)).count for asked in (PROJECTS, USERS)] == [1, 1]
        await db.close()
        assert await orders.status(one) == answer


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_plan_is_changed_once_wherever_its_worker_is_killed(fleet: Fleet, moment: str):
    made = await fleet.orders.made()
    large = fleet.orders.desk.catalogue.plans[2]
    await fleet.orders.desk.change_plan(fleet.orders.project, made.id, large.id, SYSTEM)
    for step in ("limit", "open", "settle_open"):
        await fleet.killed_at(step, moment)

    now = await fleet.ended(made, "READY")

    assert now.plan == large.id
    assert await fleet.orders.limits(now) == (large.grants.limit_bytes, large.grants.limit_bytes, 90)
    assert (await fleet.kinds(now))["registry.plan-changed"] == 1
    assert await fleet.places(now) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_registry_is_deleted_once_and_taken_back_once_wherever_a_worker_is_killed(
    fleet: Fleet, moment: str
):
    made = await fleet.orders.made()
    await fleet.orders.desk.delete(fleet.orders.project, made.id, SYSTEM)
    for step in CLOSING:
        await fleet.killed_at(step, moment)
    gone = await fleet.ended(made, "DELETED")
    refused = await fleet.orders.status(gone)
    await fleet.orders.desk.undelete(fleet.orders.project, made.id, SYSTEM)
    await fleet.killed_at("open", moment)

    back = await fleet.ended(made, "READY")

    assert refused == 403
    assert await fleet.orders.status(back) == 401
    assert back.url == made.url
    kinds = await fleet.kinds(back)
    assert {kinds[kind] for kind in ("registry.deleted", "registry.restored", "registry.delete-asked")} == {1}


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_registry_is_suspended_once_and_serves_again_once_wherever_a_worker_is_killed(
    fleet: Fleet, moment: str
):
    orders, made = fleet.orders, await fleet.orders.made()
    why = suspensions.checked(What.PULLS, "an unpaid bill")
    await orders.platform.change(lambda tx: suspensions.suspend(tx, made.id, why, SYSTEM))
    for step in SUSPENDING:
        await fleet.killed_at(step, moment)
    stopped = await fleet.ended(made, "SUSPENDED")
    refused = await orders.status(stopped)
    await orders.platform.change(lambda tx: suspensions.resume(tx, made.id, SYSTEM))
    for step in ("open", "settle_open"):
        await fleet.killed_at(step, moment)

    back = await fleet.ended(made, "READY")

    assert (refused, await orders.status(back)) == (403, 401)
    assert (stopped.suspended_for, back.suspension) == ("an unpaid bill", "")
    kinds = await fleet.kinds(back)
    asked = ("registry.suspend-asked", "registry.suspended", "registry.resume-asked", "registry.restored")
    assert {kinds.get(kind) for kind in asked} == {1}
    assert await fleet.places(back) == 1


async def test_a_registry_is_destroyed_once_and_wholly_wherever_its_worker_is_killed(fleet: Fleet):
    orders = fleet.orders
    doomed, other = await orders.made("doomed"), await orders.made("beside")
    entry, there = await orders.entry(doomed), await orders.entry(other)
    for one in (entry, there):
        store = orders.world.parts.store.under(one.prefix)
        for _ in range(3):
            await store.write(new_key(), 0, BytesSource(b"bytes"), None, limit=10)
    await orders.desk.delete(orders.project, doomed.id, SYSTEM)
    await orders.work()
    await orders.over(doomed)
    for step in DESTROYING:
        await fleet.killed_at(step, "after")

    await fleet.destroyed(doomed)

    whole = await certificates.find(orders.platform, doomed.id)
    assert whole is not None
    told, _ = certificates.verify(whole.encode(), await signing.published(orders.platform))
    assert (told["destroyed"]["objects"], told["destroyed"]["rows"]["project"]) == (3, 1)
    assert await orders.world.parts.store.under(entry.prefix).remains() == []
    assert await orders.world.parts.rows(entry).remains() == []
    kinds = await fleet.kinds(doomed)
    assert {kinds[kind] for kind in ("registry.deleted", "registry.grace-over", "registry.destroyed")} == {1}
    assert len([one async for one in orders.world.parts.store.under(there.prefix).list()]) == 3
    assert await orders.status(other) == 401
