"""A registry whose grace is over is destroyed, down to the last byte and row, and a certificate says so when it is so."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import bindparam, select, update

from moorage.cloud import (
    certificates,
    destroying,
    provisioning,
    reconciling,
    registries,
    registry_users,
    restrictions,
    signing,
)
from moorage.cloud.alerts import Alerts
from moorage.cloud.errors import RegistryUnknown
from moorage.cloud.events import SYSTEM, Origin
from moorage.cloud.provisioning import NoPortFree
from moorage.cloud.reconciling import Reconcile
from moorage.cloud.registries import Registry
from moorage.cloud.restrictions import Wanted
from moorage.db import Statement, migrate
from moorage.db.cell import address_rules
from moorage.db.platform import cloud_event, cloud_registry, cloud_restrictions, destruction, login
from moorage.db.tables import metadata
from moorage.registry import fsck
from moorage.registry.address_rules import Part
from moorage.registry.directory import Entry
from moorage.storage import new_key, open_store
from moorage.storage.memory import BytesSource
from tests.conformance.site import Site, digest_of
from tests.functional.cloud_api_world import Api
from tests.functional.ordering_world import Orders
from tests.worlds import PASSWORD

BOTH = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-s3"], indirect=True)
SQLITE = pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)

ALICE = Origin("acme/alice", "customer", "request-1", "192.0.2.7", "docker/29")
SECRET = b"the customer's own words 7f3a"
PLENTY = 1 << 40
EARLIER = Statement(
    update(destruction).where(destruction.c.cloud_registry_id == bindparam("which")).values(ended_at=1)
)
LONG_AGO = Statement(
    update(cloud_registry).where(cloud_registry.c.id == bindparam("which")).values(updated_at=1)
)
ADDRESSED = Statement(update(login).where(login.c.id == bindparam("which")).values(email=bindparam("email")))
LATER = Statement(
    update(cloud_registry).where(cloud_registry.c.id == bindparam("which")).values(closed_at=bindparam("at"))
)


async def site(orders: Orders, found: Registry) -> Site:
    """Give a registry's repository to an administrator of it."""
    entry = await orders.entry(found)
    db = await orders.world.parts.open_database(entry)
    made = await registry_users.create(
        db, orders.world.passwords, ALICE, login="alice", password=PASSWORD, email="alice@acme.example"
    )
    await registry_users.set_as_admin(db, ALICE, made.user.id)
    await db.close()
    return Site(await orders.world.as_("alice", entry=entry), "library/secret-app")


async def filled(orders: Orders, name: str) -> tuple[Registry, Site, str]:
    """Make a registry with an image, one in the trash, and an upload that nobody ends."""
    made = await orders.desk.order(orders.project, name=name, region="LOCAL", plan=None, origin=ALICE)
    await orders.work()
    made = await orders.again(made)
    home = await site(orders, made)
    digest = await home.push_image("v1", SECRET)
    gone = await home.push_image("v2", SECRET + b" gone")
    assert (await home.ask("DELETE", f"manifests/{gone}")).status_code == 202
    assert (await home.append(await home.begin(), b"half sent")).status_code == 202
    await orders.desk.rename(orders.project, made.id, f"{name} of Alice", ALICE)
    wanted = [Wanted("192.0.2.0/24", "where Alice lives")]
    await orders.platform.change(
        lambda tx: restrictions.replace(tx, orders.project, made.id, Part.MANAGEMENT, wanted, ALICE)
    )
    await orders.work()
    return made, home, digest


async def kept_bytes(orders: Orders, entry: Entry) -> list[str]:
    """List what a store keeps under a prefix, as another process sees it that opens the store anew."""
    store = open_store(orders.world.parts.place.store_url)
    try:
        return [*await store.under(entry.prefix).remains()]
    finally:
        await store.close()


async def rows(orders: Orders, entry: Entry) -> list[str]:
    """List the tables with rows of a registry: on PostgreSQL past everything that binds statements to one."""
    place = orders.world.parts.place
    if not place.database_url:
        return [path.name for path in place.data.rglob(f"*{entry.uuid}*") if "blobs" not in path.parts]
    connection = await asyncpg.connect(place.database_url)
    try:
        asked = "SELECT count(*) FROM {} WHERE registry_id = $1"
        return [
            table.name
            for table in metadata.sorted_tables
            if await connection.fetchval(asked.format(f'"{table.name}"'), entry.id)
        ]
    finally:
        await connection.close()


async def tables_with(orders: Orders, word: str) -> list[str]:
    """List the platform's tables in which a word stands anywhere."""
    found = []
    for table in migrate.PLATFORM.metadata().sorted_tables:
        held = await orders.platform.all(Statement(select(table)))
        if any(word in str(value) for row in held for value in row):
            found.append(table.name)
    return found


async def certificate(orders: Orders, found: Registry) -> dict[str, Any]:
    """Give a registry's certificate, checked by the published keys."""
    document = await certificates.find(orders.platform, found.id)
    assert document is not None
    return certificates.verify(document.encode(), await signing.published(orders.platform))[0]


@BOTH
async def test_nothing_of_a_destroyed_registry_is_left_and_another_beside_it_stays_whole(orders: Orders):
    doomed, _, _ = await filled(orders, "doomed")
    other, beside, digest = await filled(orders, "beside")
    entry, there = await orders.entry(doomed), await orders.entry(other)
    before = await rows(orders, entry)

    gone = await orders.destroyed(doomed)

    assert before
    assert await kept_bytes(orders, entry) == await rows(orders, entry) == []
    assert (gone.status, gone.name, gone.url, gone.size, gone.error) == ("DELETED", gone.id, "", 0, "")
    assert gone.destroyed_at is not None
    told = await certificate(orders, doomed)
    destroyed = told["destroyed"]
    assert (destroyed["manifests"], destroyed["tags"], destroyed["blobs"]) == (2, 1, 3)
    assert destroyed["blobBytes"] == len(b"{}") + 2 * len(SECRET) + len(b" gone")
    assert destroyed["objects"] >= 4
    assert (destroyed["rows"]["user"], destroyed["rows"]["upload"], len(destroyed["signingKeys"])) == (
        2,
        1,
        0,
    )
    assert (told["registry"], told["region"], told["plan"]["name"]) == (doomed.id, "LOCAL", "SMALL")
    assert (
        list(told["times"].values()) == sorted(told["times"].values(), key=str)
        or told["times"]["graceEndedAt"]
    )
    assert told["account"] == certificates.pseudonym(told["salt"], doomed.account_id)
    assert doomed.account_id not in json.dumps(told)
    registry = await orders.world.registry(there)
    assert (await fsck.check(registry.db, registry.store, digests=True)).findings == ()
    assert (await beside.get("manifests/v1")).headers["docker-content-digest"] == digest
    assert (await beside.get(f"blobs/{digest_of(SECRET)}")).content == SECRET
    assert (await orders.entry(await orders.made())).port not in {entry.port, there.port}


@SQLITE
async def test_no_file_of_the_house_has_a_readable_word_of_it(orders: Orders):
    doomed, _, _ = await filled(orders, "doomed-by-its-name")
    data = orders.world.parts.place.data

    def found(*words: bytes) -> list[str]:
        files = [path for path in data.rglob("*") if path.is_file()]
        return [path.name for path in files if any(word in path.read_bytes() for word in words)]

    before = found(SECRET)
    await orders.destroyed(doomed)

    assert before
    assert found(SECRET, b"secret-app", b"alice@acme.example") == []


@BOTH
async def test_what_remains_names_no_person_and_no_word_of_the_customer(orders: Orders):
    doomed, _, _ = await filled(orders, "doomed")
    entry = await orders.entry(doomed)
    await orders.destroyed(doomed)

    rows = await orders.platform.all(Statement(cloud_event.select().where(cloud_event.c.target == doomed.id)))

    told = {row.kind: row for row in rows}
    assert {"registry.ordered", "registry.renamed", "registry.delete-asked", "registry.destroyed"} <= set(
        told
    )
    assert told["registry.ordered"].actor == told["registry.renamed"].actor
    assert told["registry.ordered"].actor.startswith("person-")
    assert told["registry.ordered"].request_id == "request-1"
    assert json.loads(told["registry.ordered"].body).keys() == {"region", "plan"}
    assert "registry" in told["registry.destroyed"].kind
    for row in rows:
        assert not {"acme", "alice", "Alice", "doomed", "192.0.2.7", "docker"} & set(
            str([row.actor, row.address, row.agent, row.body]).replace("/", " ").replace('"', " ").split()
        )
    begun = await orders.platform.one(
        Statement(destruction.select().where(destruction.c.cloud_registry_id == doomed.id))
    )
    assert begun.secret == b""
    kept = Statement(cloud_restrictions.select().where(cloud_restrictions.c.cloud_registry_id == doomed.id))
    rules = Statement(address_rules.select().where(address_rules.c.entry_id == entry.id))
    assert await orders.platform.one(kept) is await orders.world.parts.cell.one(rules) is None


@pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)
async def test_no_table_of_the_platform_has_a_word_of_it_left(orders: Orders, api: Api):
    """What the API answered is kept for who sends an order again, and a warning stands in a mail: both name it."""
    word = f"secret-{secrets.token_hex(6)}"
    name = f"the {word}"
    await orders.platform.write(ADDRESSED, which=api.owner.login, email="owner@example.com")
    ordered = await api.owner.call(
        "POST", "/containerRegistry", {"name": name, "region": "LOCAL"}, **{"Idempotency-Key": word}
    )
    await orders.work()
    row = await registries.find(orders.platform, ordered.json()["id"])
    assert row is not None
    alerts = Alerts(orders.platform, "en")
    assert row.entry_uuid is not None
    assert await alerts.look(row.entry_uuid, 99, 100)
    await orders.work()
    before = await tables_with(orders, word)

    await api.owner.call("DELETE", f"/containerRegistry/{row.id}")
    await orders.work()
    await orders.over(row)
    await orders.reconcile(Reconcile(row.id))
    await orders.work()
    await orders.reconcile(Reconcile(row.id))

    assert (await orders.again(row)).destroyed_at is not None
    assert {"cloud_registry", "cloud_event", "idempotency", "mail"} <= set(before)
    assert await tables_with(orders, word) == []


@BOTH
async def test_an_empty_registry_is_destroyed_too_and_a_second_time_changes_nothing(orders: Orders):
    await filled(orders, "so that the bucket is there")
    made = await orders.made()
    gone = await orders.destroyed(made)
    document = await certificates.find(orders.platform, made.id)

    await orders.reconcile(Reconcile(made.id))
    # What `moorage verify` is given once another key signs.
    new = await signing.rotate(orders.platform, orders.world.parts.master, SYSTEM)
    keys = certificates.read_keys(
        certificates.written_keys(await signing.published(orders.platform)).encode()
    )
    assert document is not None
    status, told = certificates.judged(document.encode(), keys)

    assert (status, new in told) == (certificates.HOLDS, False)
    assert await orders.again(made) == gone
    assert await certificates.find(orders.platform, made.id) == document
    assert [kind for kind, _ in await orders.told(made.id)].count("registry.destroyed") == 1


@BOTH
async def test_pieces_that_are_small_come_to_the_same_end(orders: Orders, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(destroying, "PIECE", 2)
    monkeypatch.setattr(destroying, "PIECES", 2)
    doomed, _, _ = await filled(orders, "doomed")
    entry = await orders.entry(doomed)
    await orders.desk.delete(orders.project, doomed.id, SYSTEM)
    await orders.work()
    await orders.over(doomed)

    rounds = 1
    while await orders.reconciler.reconcile(Reconcile(doomed.id)):
        rounds += 1

    assert rounds > 3
    assert await kept_bytes(orders, entry) == await rows(orders, entry) == []
    assert (await certificate(orders, doomed))["destroyed"]["blobs"] == 3


@BOTH
async def test_a_store_that_is_away_is_told_as_an_error_and_destroying_goes_on_when_it_is_back(
    orders: Orders,
):
    doomed, _, _ = await filled(orders, "doomed")
    ground = orders.reconciler.destroyer.ground
    away = open_store("s3://none/?endpoint=http://127.0.0.1:9&access_key_id=a&secret_access_key=b")
    await orders.desk.delete(orders.project, doomed.id, SYSTEM)
    await orders.work()
    await orders.over(doomed)
    while (await orders.again(doomed)).deleted_at is None:
        await orders.reconciler.reconcile(Reconcile(doomed.id))
    orders.reconciler.destroyer.ground = dataclasses.replace(ground, store=away)
    await orders.platform.write(LONG_AGO, which=doomed.id)

    again = await orders.reconciler.reconcile(Reconcile(doomed.id))

    failed = await orders.again(doomed)
    assert not again
    assert (failed.status, await certificates.find(orders.platform, doomed.id)) == ("ERROR", None)
    assert "the store answers" in failed.error
    assert doomed.id in await destroying.told(orders.platform)
    assert await registries.listed(orders.platform, orders.project) == []
    assert Reconcile(doomed.id) not in await reconciling.due(orders.platform)
    await orders.platform.write(LONG_AGO, which=doomed.id)
    assert Reconcile(doomed.id) in await reconciling.due(orders.platform)
    orders.reconciler.destroyer.ground = ground
    await orders.reconcile(Reconcile(doomed.id))
    assert (await orders.again(doomed)).status == "DELETED"
    assert (await certificate(orders, doomed))["destroyed"]["blobs"] == 3
    assert ("registry.failed", "success") in await orders.told(doomed.id)
    await away.close()


@SQLITE
async def test_no_certificate_is_signed_over_what_is_still_there(orders: Orders):
    doomed, _, _ = await filled(orders, "doomed")
    entry = await orders.entry(doomed)
    destroyer = orders.reconciler.destroyer
    found = dataclasses.replace(doomed, entry_uuid=entry.uuid)

    with pytest.raises(destroying.StillThere, match=f"rows: {entry.uuid}.*; bytes: "):
        await destroyer.certify(found)

    assert await certificates.find(orders.platform, doomed.id) is None


@SQLITE
async def test_a_file_that_a_process_has_open_is_not_unlinked_before_it_lets_go(orders: Orders):
    doomed, home, _ = await filled(orders, "doomed")
    entry = await orders.entry(doomed)
    holder = await orders.world.parts.open_database(entry, create=False)
    gone = await orders.destroyed(doomed)
    waiting = [path.name for path in orders.world.parts.place.registries.glob(f"{entry.uuid}*.sqlite")]
    await holder.close()
    await orders.reconcile(Reconcile(doomed.id))
    await orders.world.plane.directory.refresh()

    assert (gone.status, gone.destroyed_at, len(waiting)) == ("DELETED", None, 1)
    assert (await certificate(orders, doomed))["destroyed"]["blobs"] == 3
    assert (await home.get("manifests/v1")).status_code == 421


@BOTH
async def test_who_still_sends_when_a_registry_is_closed_is_cut_and_leaves_nothing(orders: Orders):
    doomed, home, _ = await filled(orders, "doomed")
    entry = await orders.entry(doomed)
    location, sending = await home.begin(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"begun"
        sending.set()
        await asyncio.get_running_loop().create_future()

    request = asyncio.create_task(home.client.patch(location, content=body()))
    await sending.wait()
    gone = await orders.destroyed(doomed)
    with pytest.raises(asyncio.CancelledError):
        await request

    assert gone.destroyed_at is not None
    assert await kept_bytes(orders, entry) == await rows(orders, entry) == []


@BOTH
async def test_nothing_is_counted_or_destroyed_before_all_have_had_time_to_let_go(orders: Orders):
    made = await orders.made()
    await orders.desk.delete(orders.project, made.id, SYSTEM)
    await orders.work()
    await orders.over(made)
    await orders.platform.write(LATER, which=made.id, at=orders.platform.now() + 1_000_000_000)

    await orders.reconcile(Reconcile(made.id))
    waits = await orders.again(made)

    assert (waits.status, waits.destroyed_at) == ("DELETED", None)
    assert Reconcile(made.id) in await reconciling.due(orders.platform)
    assert (
        await orders.platform.all(
            Statement(destruction.select().where(destruction.c.cloud_registry_id == made.id))
        )
        == []
    )


@BOTH
async def test_what_comes_after_all_is_destroyed_a_day_later(orders: Orders):
    made, _, _ = await filled(orders, "doomed")
    entry = await orders.entry(made)
    await orders.destroyed(made)
    await orders.world.parts.store.under(entry.prefix).write(
        new_key(), 0, BytesSource(b"late"), None, limit=PLENTY
    )
    await orders.reconcile(Reconcile(made.id))
    early = await kept_bytes(orders, entry)
    await orders.platform.write(EARLIER, which=made.id)
    due = await reconciling.due(orders.platform)
    await orders.reconcile(Reconcile(made.id))

    assert len(early) == 1
    assert Reconcile(made.id) in due
    assert await kept_bytes(orders, entry) == []
    assert Reconcile(made.id) not in await reconciling.due(orders.platform)
    assert [kind for kind, _ in await orders.told(made.id)][-1] == "registry.destroyed-again"


@SQLITE
async def test_a_certificate_is_given_to_whoever_could_read_the_registry(api: Api):
    made = await api.ready()
    path = f"/containerRegistry/{made['id']}/certificate"
    before = await api.owner.call("GET", path)
    found = await registries.find(api.orders.platform, made["id"])
    assert found is not None
    await api.owner.call("DELETE", f"/containerRegistry/{made['id']}")
    await api.orders.work()
    await api.orders.over(found)
    await api.orders.reconcile(Reconcile(found.id))

    given = await api.owner.call("GET", path)
    keys = await api.owner.client.get("/1.0/cloud/signingKey", auth=None)

    assert (before.status_code, given.status_code) == (409, 200)
    body, _ = certificates.verify(given.content, certificates.read_keys(keys.content))
    assert body["registry"] == made["id"]
    assert (await api.owner.call("GET", f"/containerRegistry/{made['id']}")).status_code == 404
    with pytest.raises(RegistryUnknown):
        await registries.get_ever(api.orders.platform, api.orders.project, made["id"])


@BOTH
async def test_a_registry_that_cannot_be_made_says_why_and_is_made_when_it_can(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
):
    ordered = await orders.ordered()

    def full(*_: object) -> int:
        raise NoPortFree("no port from 5001 to 65535 is free")

    with monkeypatch.context() as none_free:
        none_free.setattr(provisioning, "_next_port", full)
        await orders.work()
        failed = await orders.again(ordered)
        retried = await orders.reconciler.reconcile(Reconcile(ordered.id))

    assert (failed.status, failed.error, retried) == ("ERROR", NoPortFree.summary, False)
    await orders.reconcile(Reconcile(ordered.id))
    made = await orders.again(ordered)
    assert (made.status, made.error) == ("READY", "")
    assert await orders.status(made) == 401
    assert [kind for kind, _ in await orders.told(made.id)] == [
        "registry.ordered",
        "registry.failed",
        "registry.delivered",
    ]


@BOTH
async def test_a_registry_in_error_can_be_deleted_and_its_plan_asked_for_again(orders: Orders):
    made = await orders.made()
    broken = Statement(
        update(cloud_registry).where(cloud_registry.c.id == made.id).values(status="ERROR", error="why")
    )
    await orders.platform.write(broken)
    asked = await orders.desk.change_plan(orders.project, made.id, made.plan, SYSTEM)
    await orders.work()
    back = await orders.again(made)
    await orders.platform.write(broken)
    await orders.desk.delete(orders.project, made.id, SYSTEM)
    await orders.work()

    assert (asked.status, back.status, back.error) == ("SCALING_UP", "READY", "")
    assert (await orders.again(made)).status == "DELETED"
