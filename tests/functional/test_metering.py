"""Hours are written down once, whoever writes them how often, with the plan that they cost and what was used in them."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import pytest

from moorage.cloud import metering
from moorage.cloud.destroying import StillThere
from moorage.cloud.events import SYSTEM
from moorage.cloud.reconciling import Reconcile
from moorage.registry.traffic import HOUR, Meter
from tests.functional.cloud_api_world import LARGE, MEDIUM, SMALL
from tests.functional.ordering_world import Orders
from tests.functional.usage_world import (
    ADD,
    HOURS,
    LOGICAL,
    MOVE,
    SPANS,
    STORED,
    accounts,
    counted,
    hour_of,
    orders,
)

__all__ = ["orders"]


async def hours(orders: Orders, which: str) -> list[Any]:
    return await orders.platform.all(HOURS, which=which)


async def test_spans_follow_what_becomes_of_a_registry(orders: Orders) -> None:
    made = await orders.made("spans", SMALL)
    await orders.desk.change_plan(orders.project, made.id, LARGE, SYSTEM)
    await orders.work()
    await orders.desk.change_plan(orders.project, made.id, SMALL, SYSTEM)
    await orders.work()
    await orders.desk.delete(orders.project, made.id, SYSTEM)
    await orders.work()
    ended = await orders.platform.all(SPANS, which=made.id)
    await orders.desk.undelete(orders.project, made.id, SYSTEM)
    await orders.work()
    spans = await orders.platform.all(SPANS, which=made.id)

    assert [span.plan for span in spans] == [SMALL, LARGE, SMALL, SMALL]
    assert all(span.until is not None for span in ended)
    assert [span.until for span in spans[:2]] == [span.since for span in spans[1:3]]
    assert spans[2].until <= spans[3].since
    assert spans[3].until is None


async def test_an_hour_is_written_once_by_its_dearest_plan_and_a_gap_says_so(orders: Orders) -> None:
    made = await orders.made("hours", SMALL)
    entry = await orders.entry(made)
    db = await orders.world.parts.open_database(entry)
    await db.write(STORED, unique=700, trash=30)
    await db.write(LOGICAL, logical=900)
    await db.close()
    now = hour_of(orders.platform.now()) + 5 * HOUR
    begun = now - 4 * HOUR + 1_800_000_000
    (span,) = await orders.platform.all(SPANS, which=made.id)
    # SMALL for half an hour, MEDIUM for a while in the next, and SMALL again.
    moments = [begun, begun + HOUR, begun + HOUR + 60_000_000]
    plans = [SMALL, MEDIUM, SMALL]
    await orders.platform.write(MOVE, which=made.id, was=span.since, begins=begun, ends=moments[1])
    for place in (1, 2):
        until = moments[place + 1] if place < 2 else None
        await orders.platform.write(ADD, which=made.id, since=moments[place], until=until, plan=plans[place])
    worker = accounts(orders)

    await orders.world.plane.directory.refresh()
    while await worker.metering.sweep(now):
        pass
    again = await worker.metering.sweep(now)
    other = await accounts(orders).metering.sweep(now)
    written = await hours(orders, made.id)

    assert (again, other) == (0, 0)
    assert [row.hour for row in written] == [hour_of(begun) + number * HOUR for number in range(4)]
    assert [row.plan for row in written] == [SMALL, MEDIUM, SMALL, SMALL]
    assert [row.price for row in written] == ["0.02", "0.05", "0.02", "0.02"]
    assert [row.unique_bytes for row in written] == [None, None, None, 700]
    assert (written[3].logical_bytes, written[3].trash_bytes) == (900, 30)
    assert [row.measured_at is None for row in written] == [True, True, True, False]


async def test_traffic_is_taken_over_once_and_late_counts_too(orders: Orders) -> None:
    made = await orders.made("traffic", SMALL)
    entry = (await orders.entry(made)).uuid
    at = orders.platform.now()
    now = hour_of(at) + HOUR + 1
    worker = accounts(orders)

    await counted(orders, entry, at, "one", manifest_pulls=3, bytes_out=1 << 40)
    await counted(orders, entry, at, "two", manifest_pulls=4, pushes=2)
    await counted(orders, "of nobody", at, "two", manifest_pulls=9)
    await worker.metering.sweep(now)
    await worker.metering.sweep(now)
    (first,) = await hours(orders, made.id)
    await counted(orders, entry, at, "three", refusals=5)
    await counted(orders, entry, at, "one", manifest_pulls=4, bytes_out=1 << 40)
    await worker.metering.sweep(now)
    (second,) = await hours(orders, made.id)
    await worker.metering.prune(at - HOUR)
    kept = len(await hours(orders, made.id))
    await worker.metering.prune(now)

    assert (first.manifest_pulls, first.pushes, first.bytes_out, first.refusals) == (7, 2, 1 << 40, 0)
    assert (second.manifest_pulls, second.pushes, second.bytes_out, second.refusals) == (8, 2, 1 << 40, 5)
    assert (kept, await hours(orders, made.id)) == (1, [])


async def test_a_registry_that_is_destroyed_leaves_no_traffic_in_the_cell_and_all_of_it_in_its_hours(
    orders: Orders,
) -> None:
    doomed, beside = await orders.made("doomed", SMALL), await orders.made("beside", SMALL)
    cell, now = orders.world.parts.cell, orders.platform.now()
    for found, count in ((doomed, 3), (beside, 5)):
        assert found.entry_uuid is not None
        for source in ("one", "other"):
            await counted(orders, found.entry_uuid, now, source, blob_pulls=count, bytes_out=10 * count)
    assert doomed.entry_uuid is not None
    assert beside.entry_uuid is not None
    assert await metering.remains(cell, doomed.entry_uuid) == ["2 rows of traffic"]

    gone = await orders.destroyed(doomed)
    await orders.reconciler.destroyer.end_traffic(gone)

    assert gone.destroyed_at is not None
    assert await metering.remains(cell, doomed.entry_uuid) == []
    assert await metering.remains(cell, beside.entry_uuid) == ["2 rows of traffic"]
    billed = {one.hour: one for one in await hours(orders, doomed.id)}
    assert (billed[hour_of(now)].blob_pulls, billed[hour_of(now)].bytes_out) == (6, 60)
    assert billed[hour_of(now)].price is not None
    await orders.world.plane.directory.refresh()
    swept = await accounts(orders).metering.sweep(hour_of(now) + HOUR)
    assert swept == 1
    assert {one.hour: one for one in await hours(orders, doomed.id)} == billed
    assert (await hours(orders, beside.id))[-1].blob_pulls == 10


async def test_nothing_is_certified_while_the_cell_counts_what_comes_late(orders: Orders) -> None:
    doomed = await orders.made("late", SMALL)
    assert doomed.entry_uuid is not None
    destroyer = orders.reconciler.destroyer
    await orders.desk.delete(orders.project, doomed.id, SYSTEM)
    await orders.work()
    await orders.over(doomed)
    while not (closed := await orders.again(doomed)).deleted_at:
        await orders.reconciler.reconcile(Reconcile(doomed.id))
    for step in destroyer.steps(closed)[:-1]:
        await orders.work()
        assert await step(closed)
    await counted(orders, doomed.entry_uuid, orders.platform.now(), "late", pushes=1)

    with pytest.raises(StillThere, match="traffic: 1 rows of traffic"):
        await destroyer.certify(closed)

    await orders.reconcile(Reconcile(doomed.id))
    assert (await orders.again(doomed)).destroyed_at is not None
    assert await metering.remains(orders.world.parts.cell, doomed.entry_uuid) == []


@pytest.mark.parametrize("orders", ["sqlite"], indirect=True)
async def test_on_the_schema_of_the_release_before_counts_wait_and_all_else_goes_on(
    orders: Orders, caplog: pytest.LogCaptureFixture
) -> None:
    made = await orders.made("before", SMALL)
    cell, file = orders.world.parts.cell, orders.world.parts.place.cell_file
    meter, known = Meter(cell), orders.desk.catalogue
    meter.of("somebody").others += 1
    with contextlib.closing(sqlite3.connect(file)) as beside:
        table = beside.execute("SELECT sql FROM sqlite_master WHERE name = 'traffic'").fetchone()[0]
        now = beside.execute("SELECT version_num FROM schema_cell").fetchone()
        beside.executescript("DROP TABLE traffic; UPDATE schema_cell SET version_num = '0001'")
    books = metering.Metering(orders.platform, cell, known, metering.unmeasured)
    at = hour_of(orders.platform.now())

    await meter.write_down()
    swept = await books.sweep(at + 2 * HOUR)
    await books.prune(at)
    await books.end(made.id, str(made.entry_uuid))

    assert (swept, await metering.remains(cell, str(made.entry_uuid))) == (2, [])
    with contextlib.closing(sqlite3.connect(file)) as beside:
        beside.execute(table)
        beside.execute("UPDATE schema_cell SET version_num = ?", now)
        beside.commit()
    assert await meter.flush() == 1
    assert not caplog.records
