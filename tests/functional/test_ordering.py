"""Registries are ordered, renamed, resized, deleted and taken back, each through the row that says what should be."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from contextlib import AsyncExitStack

import pytest

from moorage.cloud import accounts, provisioning, reconciling, registries
from moorage.cloud.errors import (
    DowngradeRefused,
    NotReady,
    OrdersExceeded,
    PlanUnknown,
    RegionUnknown,
    RegistryNameInvalid,
    RegistryUnknown,
    UndeleteRefused,
)
from moorage.cloud.events import SYSTEM
from moorage.cloud.reconciling import Reconcile
from moorage.cloud.registries import Use
from moorage.errors import Problem
from moorage.identity import users
from tests.functional.ordering_world import Orders
from tests.worlds import PASSWORD

BOTH = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

GIB = 1 << 30
S, M, L = 200 * GIB, 600 * GIB, 5 * 1024 * GIB
STRANGER = "00000000000000000000000000000000"


def plan(orders: Orders, name: str) -> str:
    """Give the id of a plan."""
    return next(one.id for one in orders.desk.catalogue.plans if one.name == name)


@BOTH
async def test_an_order_is_taken_at_once_and_made_after(orders: Orders):
    ordered = await orders.ordered("team")

    assert (ordered.status, ordered.url, ordered.entry_uuid) == ("INSTALLING", "", None)
    # The platform's tables are every test's: another's order may wait there too.
    assert (await orders.work()).count(Reconcile(ordered.id)) == 1
    made = await orders.again(ordered)
    assert (made.status, made.wanted, made.plan) == ("READY", "READY", plan(orders, "SMALL"))
    assert made.delivered_at is not None
    entry = await orders.entry(made)
    assert made.url == f"http://localhost:{entry.port}"
    assert entry.name == made.id
    assert await orders.limits(made) == (S, S, 15)
    assert await orders.status(made) == 401


@BOTH
async def test_two_registries_may_have_one_name_and_share_nothing(orders: Orders):
    one, other = await orders.made("team"), await orders.made("team")

    assert {one.url} != {other.url}
    assert [found.id for found in await registries.listed(orders.platform, orders.project)] == [
        one.id,
        other.id,
    ]


@BOTH
async def test_reconciling_again_changes_nothing(orders: Orders):
    made = await orders.made(plan=plan(orders, "MEDIUM"))
    before = await orders.entry(made)

    await orders.reconcile(Reconcile(made.id))
    await orders.reconcile(Reconcile(made.id))

    assert await orders.again(made) == made
    assert await orders.entry(made) == before
    assert await orders.told(made.id) == [("registry.ordered", "success"), ("registry.delivered", "success")]


@BOTH
async def test_rounds_at_once_make_a_registry_once(orders: Orders):
    """What is asked of a registry that is not made yet begins a round of its own."""
    ordered = await orders.ordered()

    await asyncio.gather(*(orders.reconcile(Reconcile(ordered.id)) for _ in range(8)))

    made = await orders.again(ordered)
    assert (made.status, made.error) == ("READY", "")
    assert await orders.told(made.id) == [("registry.ordered", "success"), ("registry.delivered", "success")]


@BOTH
@pytest.mark.parametrize("name", ["", " team", "team-", "a/b", "a\nb", "x" * 65, "te\0am", "-"])
async def test_a_name_that_no_registry_may_have_is_refused_with_field_and_rule(orders: Orders, name: str):
    made = await orders.made()

    with pytest.raises(RegistryNameInvalid, match=r"name: .*1 to 64") as refused:
        await orders.ordered(name)
    with pytest.raises(RegistryNameInvalid):
        await orders.desk.rename(orders.project, made.id, name, SYSTEM)

    assert refused.value.detail["field"] == "name"
    assert len(await registries.listed(orders.platform, orders.project)) == 1


@BOTH
async def test_an_unknown_plan_or_region_is_refused_with_those_there_are(orders: Orders):
    local = plan(orders, "LOCAL")
    for given in ("", "S", local, "\0"):
        with pytest.raises(PlanUnknown, match=r"planID: .* these can: .*SMALL.*MEDIUM.*LARGE"):
            await orders.ordered(plan=given)
    with pytest.raises(RegionUnknown, match=r"region: 'gra' is none; there are: LOCAL"):
        await orders.desk.order(orders.project, name="a", region="gra", plan=None, origin=SYSTEM)

    assert await registries.listed(orders.platform, orders.project) == []


@BOTH
async def test_an_account_has_no_more_registries_than_it_may(orders: Orders):
    there = len(await registries.listed(orders.platform, (await first(orders)).cloud_project_id))
    desk = dataclasses.replace(orders.desk, most=await _count(orders) + 1)
    await desk.order(orders.project, name="one", region="LOCAL", plan=None, origin=SYSTEM)

    with pytest.raises(OrdersExceeded, match=f"may have {desk.most}"):
        await desk.order(orders.project, name="two", region="LOCAL", plan=None, origin=SYSTEM)

    assert there >= 1


async def first(orders: Orders) -> accounts.First:
    found = await accounts.first(orders.platform)
    assert found is not None
    return found


async def _count(orders: Orders) -> int:
    """Count the account's registries in every cloud project of it: PostgreSQL's is shared by tests."""
    try:
        await dataclasses.replace(orders.desk, most=0).order(
            orders.project, name="x", region="LOCAL", plan=None, origin=SYSTEM
        )
    except OrdersExceeded as refused:
        return int(str(refused).split()[3])
    raise AssertionError


@BOTH
async def test_renaming_keeps_the_address(orders: Orders):
    made = await orders.made()

    renamed = await orders.desk.rename(orders.project, made.id, "crew", SYSTEM)
    await orders.desk.rename(orders.project, made.id, "crew", SYSTEM)

    assert (renamed.name, renamed.url, renamed.status) == ("crew", made.url, "READY")
    assert (await orders.told(made.id)).count(("registry.renamed", "success")) == 1


@BOTH
async def test_a_larger_plan_is_in_force_without_an_interruption(orders: Orders):
    made = await orders.made()
    await orders.store(made, S)

    asked = await orders.desk.change_plan(orders.project, made.id, plan(orders, "LARGE"), SYSTEM)
    answered = await orders.status(made)
    await orders.work()

    assert (asked.status, answered) == ("SCALING_UP", 401)
    assert (await orders.again(made)).status == "READY"
    assert await orders.limits(made) == (L, L, 90)


@BOTH
async def test_another_plan_holds_from_the_next_request_on_whatever_read_the_directory_last(orders: Orders):
    """A process also reads it each second by itself: a request that finds it fresh must not go by the plan of before."""
    made = await orders.made()
    plane, port = orders.world.plane, (await orders.entry(made)).port
    assert port is not None
    await plane.find(f"localhost:{port}", port)
    await orders.desk.change_plan(orders.project, made.id, plan(orders, "MEDIUM"), SYSTEM)
    await orders.work()

    await plane.directory.refresh()
    known = plane.known(f"localhost:{port}", port)

    assert known is not None
    assert known.distribution.registry.slots.most == 45


@BOTH
async def test_a_plan_is_changed_one_at_a_time(orders: Orders):
    made = await orders.made()
    asked = await orders.desk.change_plan(orders.project, made.id, plan(orders, "MEDIUM"), SYSTEM)

    again = await orders.desk.change_plan(orders.project, made.id, plan(orders, "MEDIUM"), SYSTEM)
    with pytest.raises(NotReady, match="SCALING_UP"):
        await orders.desk.change_plan(orders.project, made.id, plan(orders, "LARGE"), SYSTEM)

    assert again == asked


@BOTH
async def test_a_smaller_plan_is_granted_when_what_is_held_fits(orders: Orders):
    made = await orders.made(plan=plan(orders, "LARGE"))
    await orders.store(made, S)

    await orders.desk.change_plan(orders.project, made.id, plan(orders, "SMALL"), SYSTEM)
    await orders.work()

    assert (await orders.again(made)).plan == plan(orders, "SMALL")
    assert await orders.limits(made) == (S, S, 15)


@BOTH
async def test_a_smaller_plan_is_refused_with_the_list_of_what_does_not_fit(orders: Orders):
    made = await orders.made(plan=plan(orders, "LARGE"))
    await orders.store(made, S + 5)

    with pytest.raises(DowngradeRefused, match=r"SMALL: imageStorage: .* delete 5 bytes") as refused:
        await orders.desk.change_plan(orders.project, made.id, plan(orders, "SMALL"), SYSTEM)

    assert refused.value.detail["details"] == [
        {
            "limit": "imageStorage",
            "used": S + 5,
            "granted": S,
            "remedy": "delete 5 bytes; trash does not count",
        }
    ]
    assert (await orders.again(made)).status == "READY"
    assert await orders.limits(made) == (L, L, 90)
    assert ("registry.plan-change-asked", "denied") in await orders.told(made.id)
    reachable = await orders.desk.reachable_plans(orders.project, made.id)
    assert [one.name for one in reachable] == ["MEDIUM"]


@BOTH
async def test_parallel_requests_in_use_do_not_fit_either(orders: Orders):
    catalogue = orders.desk.catalogue
    small, medium = catalogue.plan(plan(orders, "SMALL")), catalogue.plan(plan(orders, "MEDIUM"))

    with pytest.raises(DowngradeRefused, match="parallelRequest: 16 used, 15 granted"):
        registries.check_fit(medium, small, Use(0, 16))
    registries.check_fit(medium, small, Use(0, 15))
    registries.check_fit(small, medium, Use(S * 10, 1000))


@BOTH
async def test_content_that_outgrows_a_smaller_plan_meanwhile_keeps_the_larger_one(orders: Orders):
    made = await orders.made(plan=plan(orders, "LARGE"))
    await orders.desk.change_plan(orders.project, made.id, plan(orders, "SMALL"), SYSTEM)
    await orders.store(made, S + 1)

    await orders.work()

    kept = await orders.again(made)
    assert (kept.status, kept.plan) == ("READY", plan(orders, "LARGE"))
    assert "does not fit into SMALL" in kept.error
    assert await orders.limits(made) == (L, L, 90)
    assert (await orders.told(made.id))[-1] == ("registry.plan-refused", "success")


@BOTH
async def test_a_deleted_registry_answers_nobody_and_can_be_taken_back(orders: Orders):
    made = await orders.made()

    asked = await orders.desk.delete(orders.project, made.id, SYSTEM)
    again = await orders.desk.delete(orders.project, made.id, SYSTEM)
    await orders.work()
    gone = await orders.again(made)
    refused = await orders.status(made)
    restoring = await orders.desk.undelete(orders.project, made.id, SYSTEM)
    await orders.work()
    back = await orders.again(made)

    assert asked.status == "DELETING"
    assert again == asked
    assert (gone.status, refused) == ("DELETED", 403)
    assert restoring.status == "RESTORING"
    assert (back.status, back.url, back.delete_after) == ("READY", made.url, None)
    assert await orders.status(made) == 401


@BOTH
async def test_a_deleted_registry_is_in_no_list_but_is_found_while_its_grace_lasts(orders: Orders):
    made = await orders.made()
    await orders.desk.delete(orders.project, made.id, SYSTEM)
    await orders.work()

    found = await registries.get(orders.platform, orders.project, made.id)

    assert found.status == "DELETED"
    assert found.delete_after is not None
    assert await registries.listed(orders.platform, orders.project) == []
    with pytest.raises(NotReady, match="DELETED"):
        await orders.desk.rename(orders.project, made.id, "other", SYSTEM)


@BOTH
async def test_after_its_grace_a_registry_is_gone_for_good(orders: Orders):
    made = await orders.made()
    entry = await orders.entry(made)
    await orders.desk.delete(orders.project, made.id, SYSTEM)
    await orders.work()
    await orders.over(made)

    with pytest.raises(UndeleteRefused, match="over"):
        await orders.desk.undelete(orders.project, made.id, SYSTEM)
    due = await reconciling.due(orders.platform)
    await orders.reconcile(Reconcile(made.id))

    assert Reconcile(made.id) in due
    assert Reconcile(made.id) not in await reconciling.due(orders.platform)
    with pytest.raises(RegistryUnknown):
        await registries.get(orders.platform, orders.project, made.id)
    assert entry.name not in [one.name for one in await provisioning.listed(orders.world.parts.cell)]
    assert [kind for kind, _ in await orders.told(made.id)][-3:] == [
        "registry.deleted",
        "registry.grace-over",
        "registry.destroyed",
    ]
    assert (await orders.entry(await orders.made())).port != entry.port


@BOTH
async def test_a_registry_on_its_way_is_not_deleted_nor_resized(orders: Orders):
    ordered = await orders.ordered()

    with pytest.raises(
        NotReady, match="INSTALLING: you can delete it when it is ERROR or READY or SUSPENDED"
    ):
        await orders.desk.delete(orders.project, ordered.id, SYSTEM)
    with pytest.raises(NotReady, match="INSTALLING: you can change its plan when it is READY"):
        await orders.desk.change_plan(orders.project, ordered.id, plan(orders, "LARGE"), SYSTEM)
    with pytest.raises(UndeleteRefused):
        await orders.desk.undelete(orders.project, ordered.id, SYSTEM)


@BOTH
async def test_another_cloud_projects_registry_is_not_there(orders: Orders):
    made = await orders.made()
    desk = orders.desk
    calls = [
        registries.get(orders.platform, STRANGER, made.id),
        desk.rename(STRANGER, made.id, "mine", SYSTEM),
        desk.change_plan(STRANGER, made.id, plan(orders, "LARGE"), SYSTEM),
        desk.reachable_plans(STRANGER, made.id),
        desk.delete(STRANGER, made.id, SYSTEM),
        desk.undelete(STRANGER, made.id, SYSTEM),
        registries.get(orders.platform, orders.project, STRANGER),
    ]

    problems = []
    for call in calls:
        with pytest.raises(Problem) as refused:
            await call
        problems.append(type(refused.value))

    assert set(problems) == {RegistryUnknown}
    assert await orders.again(made) == made


@BOTH
async def test_the_first_registry_is_shown_in_the_first_account(orders: Orders):
    home = await first(orders)

    shown = await registries.listed(orders.platform, home.cloud_project_id)

    held = next(one for one in shown if one.entry_uuid == orders.world.entry.uuid)
    assert (held.status, orders.desk.catalogue.plan(held.plan).name) == ("READY", "LOCAL")
    assert held.url.endswith(f":{orders.world.settings.listening.registry_port}") or orders.world.entry.port
    await orders.reconcile(Reconcile(held.id))
    assert await orders.again(held) == held
    reachable = await orders.desk.reachable_plans(home.cloud_project_id, held.id)
    assert [one.name for one in reachable] == ["SMALL", "MEDIUM", "LARGE"]


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_requests_under_way_are_counted_for_a_smaller_plan(orders: Orders):
    """They are under way in the registry plane's processes, which the desk's only sees by their locks."""
    made = await orders.made(plan=plan(orders, "MEDIUM"))
    client = await orders.world.as_(None, entry=await orders.entry(made))
    await client.get("/v2/")
    opened = await orders.world.registry(await orders.entry(made))
    async with AsyncExitStack() as held:
        for _ in range(16):
            await held.enter_async_context(opened.slots.one("somebody", anonymous=False))
        use = await orders.desk.use(made)

        with pytest.raises(DowngradeRefused, match="parallelRequest: 16 used, 15 granted"):
            await orders.desk.change_plan(orders.project, made.id, plan(orders, "SMALL"), SYSTEM)

    assert use.parallel == 16
    await orders.desk.change_plan(orders.project, made.id, plan(orders, "SMALL"), SYSTEM)


@BOTH
async def test_nobody_who_pushes_or_pulls_notices_a_change_of_plan(orders: Orders):
    made = await orders.made()
    entry = await orders.entry(made)
    registry = await orders.world.registry(entry)
    hashed = await orders.world.passwords.hash(PASSWORD)
    await registry.db.change(lambda tx: users.create(tx, name="crew", password=hashed, admin=True))
    client = await orders.world.as_("crew", entry=entry)
    ended = asyncio.Event()
    statuses: list[int] = []

    async def load(number: int) -> None:
        turn = 0
        while not ended.is_set() or not turn:
            body = f"{number} {turn}".encode()
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            pushed = await client.post(
                "/v2/library/app/blobs/uploads/", params={"digest": digest}, content=body
            )
            pulled = await client.get(f"/v2/library/app/blobs/{digest}")
            statuses.extend((pushed.status_code, pulled.status_code))
            turn += 1

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(load(number))
        for name in ("MEDIUM", "LARGE", "SMALL"):
            await orders.desk.change_plan(orders.project, made.id, plan(orders, name), SYSTEM)
            await orders.work()
        ended.set()

    assert set(statuses) == {201, 200}
    assert (await orders.again(made)).plan == plan(orders, "SMALL")
    assert await orders.limits(made) == (S, S, 15)
