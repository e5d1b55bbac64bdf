"""The provider stops a registry's pulls, or its pushes alone, and lets them go on; its customer cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import update

from moorage import ordering
from moorage.cloud import provisioning, registries, registry_users, suspensions
from moorage.cloud.errors import NotReady, RegistryUnknown
from moorage.cloud.events import SYSTEM, Origin
from moorage.cloud.reconciling import Reconcile
from moorage.cloud.registries import Registry
from moorage.cloud.suspensions import ReasonInvalid
from moorage.db import Statement
from moorage.db.platform import cloud_registry
from moorage.registry.directory import READY, Suspension, What
from tests.conformance.site import Site, refused
from tests.functional.cloud_api_world import LARGE, Api
from tests.functional.ordering_world import Orders
from tests.worlds import PASSWORD, planted

BOTH = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)
SQLITE = pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)

REASON = "the invoice of May is unpaid: call +33 1 23"
OPERATOR = Origin("operator")
PULL = "/service/token?service=harbor-registry&scope=repository:library/app:pull"


async def made(orders: Orders) -> tuple[Registry, Site]:
    """Make a registry with an image, and an administrator of it."""
    found = await orders.made()
    entry = await orders.entry(found)
    db = await orders.world.parts.open_database(entry)
    user = await registry_users.create(db, orders.world.passwords, SYSTEM, login="crew", password=PASSWORD)
    await registry_users.set_as_admin(db, SYSTEM, user.user.id)
    await db.close()
    site = Site(await orders.world.as_("crew", entry=entry))
    await site.push_image("v1")
    return found, site


async def suspended(orders: Orders, found: Registry, what: What, reason: str = REASON) -> Registry:
    """Suspend a registry, and let every process that serves it read the directory again."""
    await orders.platform.change(
        lambda tx: suspensions.suspend(tx, found.id, suspensions.checked(what, reason), OPERATOR)
    )
    return await settled(orders, found)


async def resumed(orders: Orders, found: Registry) -> Registry:
    """Let it serve again."""
    await orders.platform.change(lambda tx: suspensions.resume(tx, found.id, OPERATOR))
    return await settled(orders, found)


async def settled(orders: Orders, found: Registry) -> Registry:
    """Do what was asked for."""
    await orders.work()
    await orders.world.plane.directory.refresh()
    await orders.world.plane.let_go()
    return await orders.again(found)


@BOTH
async def test_suspended_pushes_change_no_repository_through_harbors_api_either(orders: Orders):
    found, site = await made(orders)
    home = "/api/v2.0/projects/library/repositories"
    app = f"{home}/app"
    copied = {"from": "library/app:v1"}
    asked: tuple[tuple[str, str, dict[str, str] | None, dict[str, str]], ...] = (
        ("POST", f"{home}/copy/artifacts", None, copied),
        ("POST", "/api/v2.0/projects/library/%72epositories/copy/artifacts", None, copied),
        ("POST", f"{app}/artifacts/v1/tags", {"name": "v2"}, {}),
        ("DELETE", f"{app}/artifacts/v1/tags/v1", None, {}),
        ("DELETE", f"{app}/artifacts/v1", None, {}),
        ("DELETE", app, None, {}),
    )

    now = await suspended(orders, found, What.PUSHES)
    for method, path, body, query in asked:
        answer = await site.client.request(method, path, json=body, params=query)
        assert (answer.status_code, REASON in answer.text) == (403, True), (path, answer.text)
    assert (await site.client.get(f"{app}/artifacts/v1")).status_code == 200
    # What is in no repository is managed all the same.
    label = {"name": "checked", "scope": "g"}
    assert (await site.client.post("/api/v2.0/labels", json=label)).status_code == 201
    await resumed(orders, now)
    assert (await site.client.post(f"{app}/artifacts/v1/tags", json={"name": "v2"})).status_code == 201


@BOTH
async def test_suspended_pushes_are_refused_with_the_reason_and_pulls_go_on(orders: Orders):
    found, site = await made(orders)
    location = await site.begin()

    now = await suspended(orders, found, What.PUSHES)

    assert (now.status, now.wanted, now.suspension, now.suspended_for) == (
        "SUSPENDED",
        "SUSPENDED",
        "pushes",
        REASON,
    )
    for answer in (
        await site.ask("POST", "blobs/uploads/"),
        await site.append(location, b"more"),
        await site.push(b"{}", "v2"),
        await site.ask("DELETE", "manifests/v1"),
    ):
        refused(answer, 403, "DENIED")
        assert REASON in answer.json()["errors"][0]["message"]
        assert "suspended pushes" in answer.text
    for _ in range(3):
        assert (await site.get("manifests/v1")).status_code == 200
    assert (await site.client.get(PULL)).status_code == 200
    back = await resumed(orders, found)
    assert (back.status, back.suspension, back.suspended_for) == ("READY", "", "")
    assert (await site.append(location, b"more")).status_code == 202
    assert [kind for kind, _ in await orders.told(found.id)][2:] == [
        "registry.suspend-asked", "registry.suspended", "registry.resume-asked", "registry.restored",
    ]  # fmt: skip


@BOTH
async def test_suspended_pulls_stop_everything_tokens_too_on_every_replica(orders: Orders):
    found, site = await made(orders)
    world = orders.world
    other, app = planted(world.settings, world.parts, world.closing)
    replica = Site(await world.as_("crew", entry=await orders.entry(found), app=app))
    for each in (site, replica):
        # Answered at once from now on, where that is possible.
        assert {(await each.get("manifests/v1")).status_code for _ in range(3)} == {200}

    await suspended(orders, found, What.PULLS)
    await other.directory.refresh()

    for each in (site, replica):
        for answer in (
            await each.get("manifests/v1"),
            await each.client.get("/v2/"),
            await each.client.get(PULL),
            await each.ask("POST", "blobs/uploads/"),
        ):
            refused(answer, 403, "DENIED")
            assert REASON in answer.text
    await resumed(orders, found)
    await other.directory.refresh()
    for each in (site, replica):
        assert (await each.get("manifests/v1")).status_code == 200
    await other.registries.close()


@SQLITE
async def test_what_is_under_way_when_pulls_are_suspended_is_cut_and_not_when_pushes_are(orders: Orders):
    found, site = await made(orders)
    sending = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"begun"
        sending.set()
        await asyncio.get_running_loop().create_future()

    request = asyncio.create_task(site.client.patch(await site.begin(), content=body()))
    await sending.wait()
    await suspended(orders, found, What.PUSHES)
    going_on = not request.done()
    await suspended(orders, found, What.PULLS)
    with pytest.raises(asyncio.CancelledError):
        await request

    assert going_on


@BOTH
async def test_a_suspended_registry_keeps_its_plan_and_says_why(api: Api):
    shown = await api.ready()
    found = await _row(api.orders, shown["id"])
    await suspended(api.orders, found, What.PUSHES)

    plan = await api.owner.call("PUT", f"/containerRegistry/{found.id}/plan", {"planID": LARGE})
    told = await api.get(found.id)

    assert plan.status_code == 409
    assert REASON in plan.json()["message"]
    assert (told["status"], told["suspension"], told["suspendedFor"]) == ("SUSPENDED", "pushes", REASON)
    await resumed(api.orders, found)
    told = await api.get(found.id)
    assert (told["status"], told["suspension"], told["suspendedFor"]) == ("READY", None, None)


@BOTH
async def test_a_customer_can_delete_a_suspended_registry_and_has_it_back_suspended(orders: Orders):
    found, site = await made(orders)
    await suspended(orders, found, What.PULLS)
    await orders.desk.delete(orders.project, found.id, SYSTEM)
    gone = await settled(orders, found)
    await orders.desk.undelete(orders.project, found.id, SYSTEM)

    back = await settled(orders, found)

    assert (gone.status, back.status, back.suspension) == ("DELETED", "SUSPENDED", "pulls")
    answer = await site.get("manifests/v1")
    refused(answer, 403, "DENIED")
    assert REASON in answer.text


@BOTH
async def test_a_suspension_is_changed_to_another_and_asked_twice_changes_nothing(orders: Orders):
    found, site = await made(orders)
    await suspended(orders, found, What.PULLS)
    first = await suspended(orders, found, What.PULLS)
    again = await suspended(orders, found, What.PULLS)
    milder = await suspended(orders, found, What.PUSHES, "still unpaid")

    assert first == again
    assert (milder.suspension, milder.suspended_for) == ("pushes", "still unpaid")
    assert (await site.get("manifests/v1")).status_code == 200


@BOTH
async def test_reconciling_a_suspended_registry_again_changes_nothing_and_mends_it_if_it_failed(
    orders: Orders,
):
    found, site = await made(orders)
    now = await suspended(orders, found, What.PULLS)
    await orders.reconcile(Reconcile(found.id))
    same = await orders.again(found)
    await orders.platform.write(
        Statement(update(cloud_registry).where(cloud_registry.c.id == found.id).values(status="ERROR"))
    )
    await provisioning.set_state(orders.world.parts.cell, (await orders.entry(found)).id, READY)
    await orders.reconcile(Reconcile(found.id))

    assert same == now
    assert (await settled(orders, found)).status == "SUSPENDED"
    assert (await site.get("manifests/v1")).status_code == 403


@SQLITE
async def test_what_cannot_be_suspended_or_resumed_is_told(orders: Orders):
    ordered = await orders.ordered()
    with pytest.raises(NotReady, match="INSTALLING: you can suspend it when it is READY or SUSPENDED"):
        await suspended(orders, ordered, What.PULLS)
    await orders.work()
    with pytest.raises(NotReady, match="READY, and not suspended"):
        await resumed(orders, ordered)
    with pytest.raises(RegistryUnknown):
        await orders.platform.change(
            lambda tx: suspensions.suspend(tx, "none", Suspension(What.PULLS, "x"), OPERATOR)
        )
    for reason in ("", "  ", "x" * 201, "a\0b"):
        with pytest.raises(ReasonInvalid, match="1 to 200"):
            suspensions.checked(What.PULLS, reason)
    assert suspensions.checked(What.PULLS, " a\n b ").reason == "a b"


@BOTH
async def test_the_command_finds_a_registry_by_its_name_and_takes_in_one_that_has_no_row(orders: Orders):
    found, site = await made(orders)
    world, why = orders.world, suspensions.checked(What.PULLS, REASON)
    await world.add_registry()
    alone, client = world.entries[-1], world.clients[-1]

    for name in (found.id, alone.name):
        assert REASON in await ordering.suspend(world.settings, world.parts, name, why)
    await settled(orders, found)
    stopped = [await _status(site.client), await _status(client)]
    for name in (found.id, alone.uuid):
        assert "serves again" in await ordering.resume(world.settings, world.parts, name)
    await settled(orders, found)

    assert stopped == [403, 403]
    assert [await _status(site.client), await _status(client)] == [200, 200]
    with pytest.raises(RegistryUnknown, match="no registry nobody"):
        await ordering.suspend(world.settings, world.parts, "nobody", why)
    with pytest.raises(NotReady):
        await ordering.resume(world.settings, world.parts, alone.name)


def test_a_suspension_is_read_as_it_was_written():
    for one in (Suspension(What.PULLS, "a b  c"), Suspension(What.PUSHES, "")):
        assert Suspension.read(str(one)) == one
    for state in ("READY", "SUSPENDED", "SUSPENDED x y", "DELETED", ""):
        assert Suspension.read(state) is None


async def _status(client: httpx.AsyncClient) -> int:
    return (await client.get("/v2/")).status_code


async def _row(orders: Orders, id_: str) -> Registry:
    found = await registries.find(orders.platform, id_)
    assert found is not None
    return found
