"""A cell and a platform of a test's own, so that its hours are nobody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import bindparam, select, update

from moorage import accounting, parts
from moorage.accounting import Accounting
from moorage.db import Statement, insert
from moorage.db.platform import plan_span, usage_hour
from moorage.db.tables import project
from moorage.db.tables import registry as rows
from moorage.registry.traffic import HOUR, Meter
from tests.functional import ordering_world
from tests.functional.ordering_world import Orders
from tests.servers.postgres import PostgresServer
from tests.worlds import MASTER_KEY, opened

HOURS = Statement(
    select(usage_hour).where(usage_hour.c.cloud_registry_id == bindparam("which")).order_by(usage_hour.c.hour)
)
SPANS = Statement(
    select(plan_span.c.plan, plan_span.c.since, plan_span.c.until)
    .where(plan_span.c.cloud_registry_id == bindparam("which"))
    .order_by(plan_span.c.since)
)
MOVE = Statement(
    update(plan_span)
    .where(plan_span.c.cloud_registry_id == bindparam("which"), plan_span.c.since == bindparam("was"))
    .values(since=bindparam("begins"), until=bindparam("ends"))
)
ADD = Statement(
    insert(plan_span).values(
        cloud_registry_id=bindparam("which"),
        since=bindparam("since"),
        until=bindparam("until"),
        plan=bindparam("plan"),
    )
)
STORED = Statement(update(rows).values(used=bindparam("unique"), trash=bindparam("trash")))
LOGICAL = Statement(update(project).values(used=bindparam("logical")))


@pytest.fixture(params=["sqlite", "postgres"])
async def orders(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Orders]:
    """Open the desk of a cell that no other test knows."""
    server: PostgresServer | None = (
        request.getfixturevalue("postgres_server") if request.param == "postgres" else None
    )
    place = parts.Place(
        data=tmp_path,
        database_url=server.cell() if server else "",
        store_url=(tmp_path / "blobs").as_uri(),
        master_key=MASTER_KEY,
    )
    async with opened(place) as world:
        made = await ordering_world.opened(world)
        yield made
        made.reconciler.passwords.close()


def hour_of(at: int) -> int:
    return at - at % HOUR


def accounts(orders: Orders) -> Accounting:
    """Give a worker's part in usage."""
    world = orders.world
    return accounting.Accounting.of(
        world.settings, world.parts, world.plane.directory, world.parts.open_database
    )


async def counted(orders: Orders, entry: str, at: int, source: str, **counts: int) -> None:
    """Write what a process counted in the hour of a moment."""
    meter = Meter(orders.world.parts.cell, source)
    running = meter.of(entry)
    for name, count in counts.items():
        setattr(running, name, count)
    meter._hour = hour_of(at)
    meter._wait(entry, running.take())
    await meter.flush()
