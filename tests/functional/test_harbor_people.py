"""Users through Harbor's API: made, listed, changed and deleted by administrators, and what each may of themselves."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from moorage.api.harbor.operations import PREFIX
from moorage.db import Statement, Tx
from moorage.db.tables import outbox
from moorage.identity import configuration
from moorage.identity.accounts import Grant
from moorage.identity.callers import Caller
from moorage.identity.robots import EVERY_PROJECT, SYSTEM, Owner, create
from moorage.identity.roles import Permission, Role
from moorage.registry import projects
from tests.worlds import ADMIN, PASSWORD, World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

USERS = f"{PREFIX}/users"
NEW = "Another-pass-2"


def person(name: str, **given: str) -> dict[str, str]:
    """Say what makes a user."""
    said = {"username": name, "password": PASSWORD, "email": f"{name}@example.com", "realname": name.title()}
    return said | given


async def made(world: World, name: str) -> tuple[int, httpx.AsyncClient]:
    """Make a user; give the number, and a client of theirs."""
    answer = await world.client.post(USERS, json=person(name))
    assert answer.status_code == 201, answer.text
    path, _, number = answer.headers["location"].rpartition("/")
    assert path == USERS
    return int(number), await world.as_(name)


async def robot(world: World, *granted: tuple[str, str], kind: str = "system") -> httpx.AsyncClient:
    """Make a robot that may what is granted; give a client of its own."""
    registry = await world.registry()
    where = SYSTEM if kind == "system" else EVERY_PROJECT
    grants = [Grant(kind, where, Permission(*one)) for one in granted]
    home: Owner | None = None
    new = await registry.db.change(
        lambda tx: create(tx, name="machine", owner=home, grants=grants, creator=Caller("user", 1, ADMIN))
    )
    return await world.as_(new.name, new.secret)


async def own(client: httpx.AsyncClient) -> str:
    """Give the path of a user, as the user asks for it."""
    return f"{USERS}/{(await client.get(f'{USERS}/current')).json()['user_id']}"


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


async def test_a_user_is_made_seen_changed_and_deleted(world: World):
    number, ann = await made(world, "ann")

    seen: dict[str, Any] = (await ann.get(f"{USERS}/current")).json()
    assert seen == (await world.client.get(f"{USERS}/{number}")).json()
    assert (seen["user_id"], seen["username"], seen["sysadmin_flag"]) == (number, "ann", False)
    assert seen["creation_time"] == seen["update_time"]
    changed = {"email": "ann@new.example", "realname": "Ann of the new", "comment": "hello"}
    assert (await ann.put(f"{USERS}/{number}", json=changed)).status_code == 200
    now = (await ann.get(f"{USERS}/current")).json()
    assert {name: now[name] for name in changed} == changed
    assert (await world.client.delete(f"{USERS}/{number}")).status_code == 200
    assert refusal(await world.client.get(f"{USERS}/{number}")) == (404, "NOT_FOUND")
    assert (await ann.get(f"{USERS}/current")).status_code == 401
    # Name and mail address can be had again, the number never.
    again, _ = await made(world, "ann")
    assert again > number


async def test_what_breaks_a_rule_or_stands_in_the_way_is_refused(world: World):
    number, ann = await made(world, "ann")
    boss = await own(world.client)
    wrong: list[dict[str, str]] = [
        person("bob", password="short-1A"[:7]),
        person("bob", password="A1a" * 43),
        person("bob", password="no-digit-Here"),
        person("bob", email=""),
        person("bob", email="nowhere"),
        person("bob", realname=""),
        person("bob", realname="a,b"),
        person("bob", comment="c" * 31),
        person("bob", comment="\0"),
        person("b,b"),
        person("b" * 256, email="b@example.com"),
        person(""),
    ]

    for one in wrong:
        assert refusal(await world.client.post(USERS, json=one)) == (400, "BAD_REQUEST"), one
    for one in (person("ann", email="other@example.com"), person("bob", email="ann@example.com")):
        assert refusal(await world.client.post(USERS, json=one)) == (409, "CONFLICT"), one
    assert refusal(await world.client.post(USERS, json={"username": 3})) == (422, "UNPROCESSABLE_ENTITY")
    taken = {"email": "admin@example.com", "realname": "x"}
    assert (await world.client.put(boss, json=taken)).status_code == 200
    assert refusal(await ann.put(f"{USERS}/{number}", json=taken)) == (409, "CONFLICT")
    assert refusal(await world.client.get(f"{USERS}/x")) == (422, "UNPROCESSABLE_ENTITY")


async def test_users_are_listed_searched_and_sorted(world: World):
    for name in ("carl", "ann", "bob"):
        await made(world, name)

    async def names(query: str, path: str = USERS) -> tuple[list[str], str]:
        answer = await world.client.get(f"{path}?{query}")
        assert answer.status_code == 200, answer.text
        return [one["username"] for one in answer.json()], answer.headers["x-total-count"]

    assert await names("page_size=2") == (["admin", "ann"], "4")
    assert await names("sort=-username&page=2&page_size=3") == (["admin"], "4")
    assert await names("sort=-creation_time&page_size=1") == (["bob"], "4")
    assert await names("q=username%3D~a%2Csysadmin_flag%3Dfalse") == (["ann", "carl"], "2")
    assert await names("q=email%3Dbob%40example.com") == (["bob"], "1")
    assert await names("username=ar") == (["carl"], "1")
    assert await names("username=n", f"{USERS}/search") == (["admin", "ann"], "2")
    found = (await (await world.as_("ann")).get(f"{USERS}/search?username=bo")).json()
    assert [sorted(one) for one in found] == [["user_id", "username"]]
    assert refusal(await world.client.get(f"{USERS}/search")) == (422, "UNPROCESSABLE_ENTITY")


async def test_a_password_is_changed_with_the_one_before_or_by_an_administrator(world: World):
    number, ann = await made(world, "ann")
    path = f"{USERS}/{number}/password"

    assert refusal(await ann.put(path, json={"old_password": NEW, "new_password": NEW})) == (403, "FORBIDDEN")
    same = {"old_password": PASSWORD, "new_password": PASSWORD}
    assert refusal(await ann.put(path, json=same)) == (400, "BAD_REQUEST")
    weak = {"old_password": PASSWORD, "new_password": "weak"}
    assert refusal(await ann.put(path, json=weak)) == (400, "BAD_REQUEST")
    assert (await ann.put(path, json={"old_password": PASSWORD, "new_password": NEW})).status_code == 200
    assert (await ann.get(f"{USERS}/current")).status_code == 401
    assert (await (await world.as_("ann", NEW)).get(f"{USERS}/current")).status_code == 200
    assert (await world.client.put(path, json={"new_password": PASSWORD})).status_code == 200
    assert (await ann.get(f"{USERS}/current")).status_code == 200
    assert refusal(await ann.put(f"{USERS}/{number}/cli_secret", json={})) == (412, "PRECONDITION")


async def test_the_last_administrator_stays_one_and_nobody_deletes_themselves(world: World):
    number, _ = await made(world, "ann")
    boss = await own(world.client)

    assert refusal(await world.client.put(f"{boss}/sysadmin", json={"sysadmin_flag": False})) == (
        412,
        "PRECONDITION",
    )
    assert refusal(await world.client.delete(boss)) == (403, "FORBIDDEN")
    promoted = await world.client.put(f"{USERS}/{number}/sysadmin", json={"sysadmin_flag": True})
    assert promoted.status_code == 200
    ann = await world.as_("ann")
    assert (await ann.put(f"{boss}/sysadmin", json={"sysadmin_flag": False})).status_code == 200
    assert (await world.client.get(USERS)).status_code == 403
    assert (await ann.delete(boss)).status_code == 200


async def test_of_others_nobody_is_told_whether_they_are_there(world: World):
    number, _ = await made(world, "ann")
    guest = await world.add_user("guest", Role.GUEST)
    anonymous = await world.as_(None)
    body = person("ann") | {"new_password": NEW}

    for who, refused in ((anonymous, 401), (guest, 403)):
        for path in (f"{USERS}/{number}", f"{USERS}/99999"):
            answers = [
                await who.get(path),
                await who.put(path, json=body),
                await who.delete(path),
                await who.put(f"{path}/password", json=body),
                await who.put(f"{path}/sysadmin", json={"sysadmin_flag": True}),
                await who.put(f"{path}/cli_secret", json={}),
            ]
            assert {one.status_code for one in answers} == {refused}
        assert (await who.post(USERS, json=person("eve"))).status_code == refused
        assert (await who.get(USERS)).status_code == refused


async def test_people_register_themselves_only_where_they_may_and_at_a_browser(world: World):
    registry = await world.registry()
    anonymous = await world.as_(None)
    opened = {"self_registration": "true"}
    cookie = {"cookie": "sid=none"}

    await registry.db.change(lambda tx: configuration.put(tx, opened))
    assert refusal(await anonymous.post(USERS, json=person("eve"))) == (403, "FORBIDDEN")
    told = await anonymous.get(f"{PREFIX}/retentions/metadatas", headers=cookie)
    guard = {"x-harbor-csrf-token": told.headers["x-harbor-csrf-token"]}
    anonymous.cookies.set("sid", "none")
    assert (await anonymous.post(USERS, json=person("eve"), headers=guard)).status_code == 201
    await registry.db.change(lambda tx: configuration.put(tx, {"auth_mode": "iam_auth"}))
    assert refusal(await world.client.post(USERS, json=person("bob"))) == (403, "FORBIDDEN")


async def test_a_robot_with_power_over_users_has_none_over_administrators(world: World):
    number, _ = await made(world, "ann")
    boss = await own(world.client)
    actions = ("create", "read", "update", "list", "delete")
    machine = await robot(world, *(("user", action) for action in actions))

    assert refusal(await machine.get(f"{USERS}/current")) == (412, "PRECONDITION")
    assert (await machine.post(USERS, json=person("bob"))).status_code == 201
    assert (await machine.put(f"{USERS}/{number}/password", json={"new_password": NEW})).status_code == 200
    for answer in (
        await machine.put(f"{boss}/password", json={"new_password": NEW}),
        await machine.put(boss, json={"email": "a@example.com", "realname": "a"}),
        await machine.delete(boss),
        await machine.put(f"{USERS}/{number}/sysadmin", json={"sysadmin_flag": True}),
    ):
        assert refusal(answer) == (403, "FORBIDDEN")
    assert (await machine.delete(f"{USERS}/{number}")).status_code == 200


async def test_callers_are_told_what_they_may(world: World):
    guest = await world.add_user("guest", Role.GUEST)
    registry = await world.registry()
    library = await projects.find(registry.db, "library")
    assert library is not None

    async def told(who: httpx.AsyncClient, query: str) -> set[tuple[str, str]]:
        answer = await who.get(f"{USERS}/current/permissions?{query}")
        assert answer.status_code == 200, answer.text
        return {(one["resource"], one["action"]) for one in answer.json()}

    scope = f"/project/{library.id}"
    assert (scope, "read") in await told(guest, f"scope={scope}")
    assert (f"{scope}/repository", "push") not in await told(guest, f"scope={scope}")
    relative = await told(guest, f"scope={scope}&relative=true")
    assert {(".", "read"), ("repository", "pull")} <= relative
    assert ("member", "create") in await told(world.client, f"scope={scope}&relative=true")
    assert ("/system/user", "create") in await told(world.client, "scope=/system")
    assert await told(guest, "scope=/system") == set()
    assert [await told(guest, f"scope={one}") for one in ("", "/project/999999", "/project/x", "/x")] == [
        set()
    ] * 4
    machine = await robot(world, ("repository", "pull"), kind="project")
    assert ("repository", "pull") in await told(machine, f"scope={scope}&relative=true")


async def test_what_is_done_to_users_stands_in_the_record(world: World):
    number, ann = await made(world, "ann")
    await ann.put(f"{USERS}/{number}", json={"email": "a@example.com", "realname": "A"})
    await ann.put(f"{USERS}/{number}/password", json={"old_password": PASSWORD, "new_password": NEW})
    await world.client.put(f"{USERS}/{number}/sysadmin", json={"sysadmin_flag": True})
    await world.client.delete(f"{USERS}/{number}")

    registry = await world.registry()
    seen = await registry.db.change(_waiting)
    assert [(one["kind"], one["actor"]) for one in seen if one.get("user") == number] == [
        ("user.create", ADMIN),
        ("user.update", "ann"),
        ("user.password", "ann"),
        ("user.admin", ADMIN),
        ("user.delete", ADMIN),
    ]
    assert PASSWORD not in str(seen)
    assert NEW not in str(seen)


async def _waiting(tx: Tx) -> list[dict[str, Any]]:
    rows = await tx.all(Statement(select(outbox.c.kind, outbox.c.body).order_by(outbox.c.id)))
    return [{"kind": row.kind, **json.loads(row.body)} for row in rows]
