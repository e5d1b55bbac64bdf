"""The ledger is told what was done in a registry: how often, between when and when, and nothing twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from moorage.cloud import activities, contents, exports, ledger, notifications, releases
from moorage.cloud.catalogue import read
from moorage.cloud.events import SYSTEM
from moorage.db import Database
from moorage.registry import events as record
from moorage.registry import relay
from tests.functional.ordering_world import Orders

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)


async def done(db: Database, entry_uuid: str, *kinds: str) -> None:
    """Have things happen in a registry, and their events in its record."""
    for kind in kinds:
        await db.change(lambda tx, kind=kind: record.record(tx, kind, SYSTEM, repository="library/app"))  # type: ignore[misc]
    await relay.drain(db, entry_uuid, {}, nothing)


async def nothing(*_: object) -> None:
    raise AssertionError("no job hangs on these events")


async def sums(orders: Orders, registry: str) -> list[tuple[str, int]]:
    await orders.work()
    found = await ledger.listed(orders.platform, registry)
    said = [(one.entry.kind, json.loads(one.said["body"])) for one in found if one.said]
    return [(kind, body["count"]) for kind, body in said if kind.startswith("content.")]


async def test_what_was_done_is_counted_once_whoever_counts(orders: Orders):
    made = await orders.made()
    entry = await orders.entry(made)
    db = await orders.world.parts.open_database(entry)
    await done(
        db, entry.uuid, *["manifest.push"] * 3, "tag.delete", "manifest.delete", "manifest.purge", "blob.push"
    )

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(contents.sum_up(orders.platform, db, entry.uuid))
    first = [("content.pushed", 3), ("content.deleted", 2), ("content.collected", 1)]
    assert await sums(orders, made.id) == first
    await contents.sum_up(orders.platform, db, entry.uuid)
    assert await sums(orders, made.id) == first
    await done(db, entry.uuid, "manifest.push", "user.create")
    await contents.sum_up(orders.platform, db, entry.uuid)
    assert await sums(orders, made.id) == [*first, ("content.pushed", 1), ("content.access-changed", 1)]
    parties = {one.entry.kind: one.entry.party for one in await ledger.listed(orders.platform, made.id)}
    assert (parties["content.pushed"], parties["content.collected"]) == ("customer", "provider")
    await db.close()


async def test_pulls_are_counted_once_their_rows_stay_as_they_are(orders: Orders):
    made = await orders.made()
    entry = await orders.entry(made)
    db = await orders.world.parts.open_database(entry)
    long_ago = db.now() - 2 * contents.SETTLED
    for at, count in ((long_ago, 5), (long_ago + 1, 2), (db.now(), 1)):
        row = {
            "uuid": f"{made.id}-{at}", "kind": "manifest.pull", "at": at, "actor": "a", "party": "customer", "outcome": "success",
            "rule": "", "request_id": "", "address": "", "agent": "", "project": "", "target": "", "body": "{}", "count": count,
        }  # fmt: skip
        await db.record(lambda tx, row=row: record.keep(tx, [row]))  # type: ignore[misc]

    for _ in range(2):
        await contents.sum_up(orders.platform, db, entry.uuid)

    assert await sums(orders, made.id) == [("content.pulled", 7)]
    await db.close()


async def test_a_registry_that_nobody_ordered_tells_the_ledger_nothing(orders: Orders):
    await orders.world.add_registry()
    entry = orders.world.entries[-1]
    db = await orders.world.parts.open_database(entry)
    await done(db, entry.uuid, "manifest.push")

    assert await contents.sum_up(orders.platform, db, entry.uuid) == 0
    await db.close()


async def test_who_is_informed_finds_it_in_their_feed_and_nobody_elses(orders: Orders):
    made, other = await orders.made(), await orders.made("other")
    await orders.work()

    def told(feed: list[notifications.Notification]) -> set[tuple[str, Any]]:
        return {(one.kept.entry.kind, one.told["source"]) for one in feed}

    here = f"/cloud/project/{orders.project}/containerRegistry/"
    of_one = told(
        await notifications.for_customer(orders.platform, orders.project, registry=made.id, most=1000)
    )
    of_all = told(await notifications.for_customer(orders.platform, orders.project, most=1000))
    assert ("registry.delivered", here + made.id) in of_one
    assert ("registry.delivered", here + other.id) not in of_one
    assert {("registry.delivered", here + made.id), ("registry.delivered", here + other.id)} <= of_all
    # The customer did this, so it is the provider who is informed.
    assert ("registry.ordered", here + made.id) not in of_all
    last = 0
    provider: set[tuple[str, Any]] = set()
    while page := await notifications.for_provider(orders.platform, after=last, most=1000):
        provider |= told(page)
        last = page[-1].number
    assert ("registry.ordered", here + made.id) in provider
    strangers = await notifications.for_customer(orders.platform, "0" * 32, most=1000)
    assert {one.kept.entry.cloud_project for one in strangers} <= {""}


async def test_a_notification_is_a_cloudevent(orders: Orders):
    made = await orders.made()
    await orders.work()
    feed = await notifications.for_customer(orders.platform, orders.project, registry=made.id, most=1000)

    (told,) = [one.told for one in feed if one.kept.entry.kind == "registry.delivered"]
    entry = next(one for one in feed if one.kept.entry.kind == "registry.delivered").kept
    assert {name: told[name] for name in ("specversion", "type", "subject", "datacontenttype")} == {
        "specversion": "1.0", "type": "moorage.registry.delivered", "subject": made.id, "datacontenttype": "application/json",
    }  # fmt: skip
    assert told["id"] == entry.entry.event
    assert told["data"]["entry"] == {"chain": made.id, "seq": entry.entry.seq, "hash": entry.hash}  # type: ignore[index]
    assert told["data"]["activities"] == list(activities.matrix().evidence_of("registry.delivered"))  # type: ignore[index]
    assert (
        await notifications.for_customer(
            orders.platform, orders.project, after=feed[-1].number, registry=made.id
        )
    ) == []


async def test_a_release_and_a_catalogue_are_told_once_to_everybody(orders: Orders):
    version = f"9.{orders.platform.now()}"
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(releases.note(orders.platform, version, read()))
    await orders.work()

    feed: list[notifications.Notification] = []
    while page := await notifications.for_customer(
        orders.platform, orders.project, after=feed[-1].number if feed else 0, most=1000
    ):
        feed += page
    mine = [one for one in feed if one.told.get("subject") == version]
    assert [one.told["source"] for one in mine] == ["/provider"]
    assert mine[0].kept.entry.activities == ("R31", "R39", "R41")


async def test_a_chain_in_pages_is_the_chain_as_a_whole(orders: Orders):
    made = await orders.made()
    for number in range(5):
        await orders.desk.rename(orders.project, made.id, f"name-{number}", SYSTEM)
    await orders.work()

    whole = [json.dumps(one) async for one in exports.lines(orders.platform, made.id)]
    pages = [
        json.dumps(one)
        for after in range(0, 12, 2)
        async for one in exports.lines(orders.platform, made.id, after=after, most=2)
    ]
    checked, _keys = exports.check(pages)
    assert checked.faults == []
    assert [one for one in pages if '"entry"' in one] == [one for one in whole if '"entry"' in one]
