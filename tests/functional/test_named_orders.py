"""Registries that whoever runs the house makes by a command are orders as any other, and those of before become so."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import bindparam, select

from moorage import ordering
from moorage.cloud import accounts, logins, provisioning, registries, spans
from moorage.cloud.errors import CloudProjectUnknown, PlanUnknown, RegistryNameInvalid
from moorage.cloud.events import SYSTEM
from moorage.cloud.reconciling import Reconcile
from moorage.cloud.registries import Registry
from moorage.db import Statement
from moorage.db.platform import cloud_registry
from moorage.parts import Place
from moorage.registry.directory import Suspension, What
from moorage.registry.errors import NameTaken
from tests import worlds
from tests.functional.ordering_world import Orders
from tests.worlds import MASTER_KEY

OF_ENTRY = Statement(select(cloud_registry.c.id).where(cloud_registry.c.entry_uuid == bindparam("entry")))
BOTH = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)


async def create(
    orders: Orders, name: str, grants: str = "S", project: str | None = ""
) -> tuple[Registry, str]:
    """Do what the command does, in this test's cloud project; give the row and the password."""
    world = orders.world
    made = await ordering.create_registry(
        world.settings, world.parts, name, grants, orders.project if project == "" else project
    )
    assert made.password is not None
    return await of_entry(orders, made.entry.uuid), made.password


async def of_entry(orders: Orders, uuid: str) -> Registry:
    """Give the row of an entry, wherever it is."""
    row = await orders.platform.one(OF_ENTRY, entry=uuid)
    found = await registries.find(orders.platform, row.id)
    assert found is not None
    return found


def named() -> str:
    """Make up a name: the directory is every test's."""
    return f"team-{secrets.token_hex(4)}"


async def signs_in(orders: Orders, found: Registry, password: str) -> int:
    """Ask the registry as its administrator."""
    client: httpx.AsyncClient = await orders.world.as_("admin", password, entry=await orders.entry(found))
    return (await client.get("/v2/")).status_code


@BOTH
async def test_a_registry_made_by_the_command_is_an_order_that_the_api_shows_changes_and_ends(orders: Orders):
    name = named()

    made, password = await create(orders, name, "M")

    assert (made.name, made.status, made.cloud_project_id) == (name, "READY", orders.project)
    assert [one.id for one in await registries.listed(orders.platform, orders.project)] == [made.id]
    assert (await orders.entry(made)).name == name
    assert await signs_in(orders, made, password) == 200
    assert await orders.told(made.id) == [("registry.ordered", "success"), ("registry.delivered", "success")]
    assert await orders.again(made) == made
    metered = await spans.within(orders.platform, 0, 1 << 62)
    assert [one.plan for one in metered if one.registry == made.id] == [made.plan]
    small = next(one.id for one in orders.desk.catalogue.plans if one.name == "SMALL")
    await orders.desk.change_plan(orders.project, made.id, small, SYSTEM)
    await orders.work()
    assert await orders.limits(made) == (200 << 30, 200 << 30, 15)
    gone = await orders.destroyed(made)
    assert (gone.destroyed_at is not None, gone.name, gone.called) == (True, gone.id, None)
    again, _ = await create(orders, name)
    assert (await orders.entry(again)).name == name


@BOTH
async def test_a_worker_may_be_at_the_commands_order_at_the_same_time(orders: Orders):
    name = named()
    found = await orders.desk.order_called(orders.project, name=name, grants="S", origin=SYSTEM)

    await asyncio.gather(*(orders.reconcile(Reconcile(found.id)) for _ in range(3)))

    assert (await orders.again(found)).status == "READY"
    assert [kind for kind, _ in await orders.told(found.id)] == ["registry.ordered", "registry.delivered"]
    assert [one.name for one in await provisioning.listed(orders.world.parts.cell)].count(name) == 1


@BOTH
async def test_an_order_that_the_command_began_is_ended_by_a_worker(orders: Orders):
    name = named()
    found = await orders.desk.order_called(orders.project, name=name, grants="LOCAL", origin=SYSTEM)

    await orders.work()

    assert (await orders.entry(found)).name == name
    assert (await orders.limits(found))[0] == -1
    with pytest.raises(NameTaken, match=name):
        await create(orders, name)


@BOTH
async def test_what_the_command_cannot_order_is_refused_and_nothing_is_made(orders: Orders):
    world, taken = orders.world, orders.world.entry.name
    tries: list[tuple[type[Exception], str, str, str, str | None]] = [
        (NameTaken, "already", taken, "S", orders.project),
        (RegistryNameInvalid, "1 to 64 letters", "a/b", "S", orders.project),
        (PlanUnknown, "its plans grant: S, M, L, LOCAL", named(), "XL", orders.project),
        (CloudProjectUnknown, "cloud project", named(), "S", "0" * 32),
    ]

    for kind, told, name, grants, project in tries:
        with pytest.raises(kind, match=told):
            await ordering.create_registry(world.settings, world.parts, name, grants, project)

    assert await registries.listed(orders.platform, orders.project) == []
    entries = [one.name for one in await provisioning.listed(world.parts.cell)]
    assert not {name for _, _, name, *_ in tries[1:]} & set(entries)


@BOTH
async def test_two_orders_of_one_name_are_one(orders: Orders):
    name = named()

    ended = await asyncio.gather(*(create(orders, name) for _ in range(3)), return_exceptions=True)

    assert [type(one) for one in ended if not isinstance(one, tuple)] == [NameTaken, NameTaken]
    assert [one.name for one in await registries.listed(orders.platform, orders.project)] == [name]


@pytest.fixture(params=["sqlite", "postgres"])
async def alone(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Orders]:
    """Open the desk of a cell that no other test has registries in, and where nobody has an account yet."""
    url = request.getfixturevalue("postgres_server").cell() if request.param == "postgres" else ""
    async with worlds.opened(Place(tmp_path, url, (tmp_path / "blobs").as_uri(), MASTER_KEY)) as world:
        set_, everything = world.settings, world.parts
        maker = ordering.reconciler(set_, everything)
        yield Orders(world, ordering.desk(set_, everything), maker, accounts.First("", "", ""))
        maker.passwords.close()


async def test_registries_of_before_are_taken_in_as_they_are_and_once(alone: Orders):
    world = alone.world
    await world.add_registry("M")
    await world.add_registry()
    first, ready, stopped = world.entries
    why = Suspension(What.PUSHES, "an invoice")
    await provisioning.set_state(world.parts.cell, stopped.id, str(why))
    grants = provisioning.PLANS["S"]
    await provisioning.place(world.parts.cell, "begun", grants, first_port=6000, state="INSTALLING")

    taken = [await ordering.take_in_all(world.settings, world.parts) for _ in range(2)]

    assert taken == [3, 0]
    home = await accounts.first(alone.platform)
    assert home is not None
    shown = await registries.listed(alone.platform, home.cloud_project_id)
    assert [one.entry_uuid for one in shown] == [first.uuid, ready.uuid, stopped.uuid]
    assert [alone.desk.catalogue.plan(one.plan).grants.name for one in shown] == ["LOCAL", "M", "LOCAL"]
    assert [(one.wanted, one.status, one.suspension, one.suspended_for) for one in shown[1:]] == [
        ("READY", "READY", "", ""),
        ("SUSPENDED", "SUSPENDED", "pushes", "an invoice"),
    ]
    assert await alone.told(shown[1].id) == [("registry.taken-in", "success")]
    await alone.reconcile(Reconcile(shown[2].id))
    assert (await alone.entry(shown[2])).state == str(why)


async def test_where_nobody_has_an_account_the_first_order_makes_it_with_one_password(alone: Orders):
    """A fleet has no other start."""
    set_, everything, platform = alone.world.settings, alone.world.parts, alone.platform

    made, again = [await ordering.create_registry(set_, everything, one, "S", None) for one in ("a", "b")]

    home = await accounts.first(platform)
    assert home is not None
    assert [one.name for one in await registries.listed(platform, home.cloud_project_id)] == ["a", "b"]
    assert made.password is not None
    assert again.password is not None
    passwords = alone.world.passwords
    assert (await logins.sign_in(platform, passwords, "admin", made.password, SYSTEM)).id == home.login_id
    with pytest.raises(logins.SignInRefused):
        await logins.sign_in(platform, passwords, "admin", again.password, SYSTEM)
