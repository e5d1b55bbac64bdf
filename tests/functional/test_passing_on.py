"""What happens inside a registry and its customer is told of: once, whoever is killed in the middle."""

from __future__ import annotations

import json

from sqlalchemy import bindparam, select

from moorage.cloud import events, notifications, passing_on
from moorage.cloud.passing_on import KINDS, PassOn
from moorage.cloud.registries import Registry
from moorage.db import Statement, Tx, one_of
from moorage.db.platform import cloud_event
from moorage.jobs import Job
from moorage.registry import quota_events, relay, robot_warnings
from moorage.registry.events import SYSTEM, record
from moorage.working import AWAITED
from tests.functional.ordering_world import Orders
from tests.functional.usage_world import orders

__all__ = ["orders"]

_PASSED = Statement(
    select(cloud_event)
    .where(cloud_event.c.target == bindparam("target"), one_of(cloud_event.c.kind, "kinds"))
    .order_by(cloud_event.c.id)
)


async def happened(orders: Orders, found: Registry) -> list[PassOn]:
    """Have two things happen in a registry; give the jobs that its relay begins."""
    entry = await orders.entry(found)
    db = await orders.world.parts.open_database(entry)

    async def work(tx: Tx) -> None:
        await quota_events.warn(tx, "web", 90, 95, 100)
        await record(
            tx, robot_warnings.EXPIRING, SYSTEM, target="robot$ci", project="", robot=7, days=1, expires_at=5
        )
        await record(tx, "user.login", SYSTEM, target="somebody")

    await db.change(work)
    begun: list[Job] = []

    async def begin(job: Job, _: str) -> None:
        begun.append(job)

    await relay.drain(db, entry.uuid, AWAITED, begin)
    await db.close()
    return [job for job in begun if isinstance(job, PassOn)]


async def test_a_customer_is_told_once_what_its_registry_warns_of(orders: Orders) -> None:
    made = await orders.made()

    jobs = await happened(orders, made)
    for job in (*jobs, *jobs):
        assert not await passing_on.pass_on(orders.platform, job)
    await events.drain(orders.platform, {}, _nobody)
    for job in jobs:
        assert not await passing_on.pass_on(orders.platform, job)
    await events.drain(orders.platform, {}, _nobody)

    rows = await orders.platform.all(_PASSED, target=made.id, kinds=list(KINDS.values()))
    assert [(row.kind, json.loads(row.body)) for row in rows] == [
        (
            "registry.quota-warning",
            {"name": "team", "project": "web", "about": "web: 90 %", "level": 90, "used": 95, "limit": 100},
        ),
        (
            "registry.robot-expiring",
            {"name": "team", "project": "", "about": "robot$ci", "days": 1, "expires_at": 5},
        ),
    ]
    feed = await notifications.for_customer(orders.platform, orders.project, registry=made.id)
    assert [one.told["type"] for one in feed][-2:] == [
        "moorage.registry.quota-warning", "moorage.registry.robot-expiring"
    ]  # fmt: skip


async def test_what_a_registry_tells_that_nobody_orders_is_told_to_nobody(orders: Orders) -> None:
    """One that was destroyed meanwhile has no customer any more."""
    await passing_on.pass_on(orders.platform, PassOn("no-such-uuid", "an-id", quota_events.WARNING, "{}"))


async def _nobody(job: Job, id_: str) -> None:
    raise AssertionError((job, id_))
