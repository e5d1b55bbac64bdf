"""Roles of a registry's own: made, given, changed and deleted, and what their holders may."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from moorage.api.harbor.operations import PREFIX
from moorage.db import Tx
from moorage.identity import members, robots, users
from moorage.identity.accounts import Grant
from moorage.identity.callers import Caller
from moorage.identity.roles import OF_ROLE, Permission, Role
from moorage.registry import projects
from tests.functional.test_work import push
from tests.worlds import PASSWORD, World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

ROLES = f"{PREFIX}/roles"
MEMBERS = f"{PREFIX}/projects/library/members"


def access(*permissions: str) -> list[dict[str, str]]:
    """Write permissions as a client does."""
    return [dict(zip(("resource", "action"), one.split(":"), strict=True)) for one in permissions]


async def made(client: httpx.AsyncClient, name: str, *permissions: str, **more: Any) -> int:
    """Make a role, and give its number."""
    answer = await client.post(ROLES, json={"name": name, "permissions": access(*permissions), **more})
    assert answer.status_code == 201, answer.text
    return int(answer.headers["location"].removeprefix(f"{ROLES}/"))


async def user(world: World, name: str) -> httpx.AsyncClient:
    """Make a user who is in no project; give a client of theirs."""
    hashed = await world.passwords.hash(PASSWORD)
    await (await world.registry()).db.change(lambda tx: users.create(tx, name=name, password=hashed))
    return await world.as_(name)


async def joins(client: httpx.AsyncClient, name: str, role: int, path: str = MEMBERS) -> int:
    """Make a user a member, and give the answer's status."""
    answer = await client.post(path, json={"role_id": role, "member_user": {"username": name}})
    return answer.status_code


async def joined(client: httpx.AsyncClient, name: str, role: int) -> int:
    """Make a user a member, and give the member's number."""
    answer = await client.post(MEMBERS, json={"role_id": role, "member_user": {"username": name}})
    assert answer.status_code == 201, answer.text
    return int(answer.headers["location"].rpartition("/")[2])


async def status(client: httpx.AsyncClient, path: str) -> int:
    return (await client.get(path)).status_code


async def test_a_role_is_made_shown_given_changed_and_deleted_and_each_acts_with_the_next_request(
    world: World,
):
    await push(world)
    ann = await user(world, "ann")
    manifest = "/v2/library/app/manifests/one"
    number = await made(world.client, "puller", "repository:pull", description="pulls alone")

    shown = (await world.client.get(f"{ROLES}/{number}")).json()
    assert number >= 100
    assert {name: shown[name] for name in ("id", "name", "description", "is_builtin", "permissions")} == {
        "id": number, "name": "puller", "description": "pulls alone", "is_builtin": False,
        "permissions": access("repository:pull"),
    }  # fmt: skip
    assert await status(ann, manifest) == 403
    mid = await joined(world.client, "ann", number)
    (member,) = [one for one in (await world.client.get(MEMBERS)).json() if one["id"] == mid]
    assert (member["role_id"], member["role_name"]) == (number, "puller")
    # It pulls, and sees neither the project, nor what is in it, in any list.
    assert await status(ann, manifest) == 200
    paths = [f"{PREFIX}/projects/library", f"{PREFIX}/projects/library/repositories", MEMBERS]
    assert [await status(ann, one) for one in paths] == [403, 403, 403]
    found = (await ann.get(f"{PREFIX}/search", params={"q": "app"})).json()
    listed = [(await ann.get(f"{PREFIX}{one}")).json() for one in ("/projects", "/repositories")]
    assert (found, listed) == ({"project": [], "repository": []}, [[], []])
    # Warm, and after a change of the role.
    body = {"name": "looker", "permissions": access("project:read", "repository:list", "log:list")}
    assert (await world.client.put(f"{ROLES}/{number}", json=body)).status_code == 200
    assert await status(ann, manifest) == 403
    assert [await status(ann, one) for one in paths] == [200, 200, 403]
    assert (await ann.get(f"{PREFIX}/projects/library")).json()["current_user_role_id"] == number
    assert [len((await ann.get(f"{PREFIX}{one}")).json()) for one in ("/projects", "/repositories")] == [1, 1]
    assert (await ann.get(f"{PREFIX}/statistics")).json()["private_repo_count"] == 1
    assert {one["operation"] for one in (await ann.get(f"{PREFIX}/audit-logs")).json()} <= {
        "create",
        "update",
    }
    held = await world.client.delete(f"{ROLES}/{number}")
    assert (held.status_code, "by 1 members in 1 projects" in held.text) == (412, True)
    assert (await world.client.put(f"{MEMBERS}/{mid}", json={"role_id": 5})).status_code == 200
    assert (await world.client.delete(f"{ROLES}/{number}")).status_code == 200
    assert [await status(world.client, f"{ROLES}/{number}"), await status(ann, manifest)] == [404, 200]


async def test_the_five_stay_as_they_are_and_what_is_no_role_is_refused(world: World):
    client = world.client
    listed = (await client.get(ROLES)).json()
    assert [(one["id"], one["name"]) for one in listed] == [(int(role), role.shown) for role in Role]
    assert all(len(one["permissions"]) == len(OF_ROLE[Role(one["id"])]) for one in listed)
    body = {"name": "other", "permissions": access("repository:pull")}
    assert [(await client.put(f"{ROLES}/{one}", json=body)).status_code for one in (1, 99, 100, 7777)] == [
        412, 404, 404, 404,
    ]  # fmt: skip
    assert (await client.delete(f"{ROLES}/5")).status_code == 412
    number = await made(client, "puller", "repository:pull")
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"name": "guest"}, 409),
        ({"name": "puller"}, 409),
        ({"name": ""}, 400),
        ({"name": "a" * 65}, 400),
        ({"name": "a\tb"}, 400),
        ({"name": "b", "permissions": []}, 400),
        ({"name": "b", "permissions": access("repository:own")}, 400),
        ({"name": "b", "permissions": access("user:create")}, 400),
        ({"name": "b", "permissions": [{"resource": "log", "action": "list", "effect": "deny"}]}, 400),
        ({"name": "b", "description": "x" * 1025}, 400),
        ({"name": "b", "project_id": 999999}, 404),
    ]
    for given, expected in wrong:
        answer = await client.post(ROLES, json=body | given)
        assert answer.status_code == expected, (given, answer.text)
    assert [one["id"] for one in (await client.get(ROLES, params={"q": "name=~pull"})).json()] == [number]
    page = await client.get(ROLES, params={"page_size": 2, "page": 3})
    assert (page.headers["x-total-count"], [one["name"] for one in page.json()]) == (
        "6",
        ["limitedGuest", "puller"],
    )


async def test_nobody_gives_a_role_with_more_than_they_have(world: World):
    admin = await world.add_user("boss", Role.PROJECT_ADMIN)
    manager = await user(world, "manager")
    await user(world, "ann")
    more = await made(world.client, "more", "metadata:list")
    less = await made(world.client, "less", "repository:pull")
    managing = await made(
        world.client,
        "managing",
        "member:create",
        "member:update",
        "member:list",
        "repository:pull",
        "project:read",
    )
    await joined(world.client, "manager", managing)

    assert await joins(admin, "ann", more) == 403
    assert [await joins(manager, "ann", one) for one in (1, 2, 3, 4, 5, more)] == [403] * 6
    mid = await joined(manager, "ann", less)
    assert [
        (await manager.put(f"{MEMBERS}/{mid}", json={"role_id": one})).status_code
        for one in (1, managing, more)
    ] == [403, 200, 403]
    # Neither does a robot, as far as robots can have it.
    grants = [Grant("project", "library", Permission("member", one)) for one in ("create", "update")]
    registry = await world.registry()
    robot = await registry.db.change(
        lambda tx: robots.create(
            tx, name="adder", owner=None, grants=grants, creator=Caller("user", 1, "admin")
        )
    )
    machine = await world.as_(robot.name, robot.secret)
    await user(world, "bob")
    assert [await joins(machine, "bob", one) for one in (1, 5, less)] == [403, 403, 403]


async def test_a_projects_role_is_its_own(world: World):
    boss = await world.add_user("boss", Role.PROJECT_ADMIN)
    other = await world.add_user("other", Role.PROJECT_ADMIN, "elsewhere")
    await user(world, "ann")
    registry = await world.registry()
    home = await projects.find(registry.db, "library")
    assert home is not None

    assert (await boss.post(ROLES, json={"name": "x", "permissions": access("log:list")})).status_code == 403
    too_much = {"name": "x", "project_id": home.id, "permissions": access("metadata:list")}
    assert (await boss.post(ROLES, json=too_much)).status_code == 403
    number = await made(boss, "ours", "repository:pull", project_id=home.id)
    path = f"{ROLES}/{number}"
    assert [await status(one, path) for one in (boss, other, world.client)] == [200, 404, 200]
    body = {"name": "ours", "permissions": access("repository:push")}
    assert [(await one.put(path, json=body)).status_code for one in (other, boss)] == [404, 200]
    assert (await boss.put(path, json=too_much)).status_code == 403
    assert (await other.delete(path)).status_code == 404
    assert await joins(other, "ann", number, f"{PREFIX}/projects/elsewhere/members") == 400
    assert [len((await boss.get(ROLES, params=one)).json()) for one in ({}, {"project_id": home.id})] == [
        5,
        6,
    ]
    assert (await other.get(ROLES, params={"project_id": home.id})).status_code == 403
    assert (await (await world.as_(None)).get(ROLES)).status_code == 401
    mid = await joined(boss, "ann", number)
    assert (await boss.delete(path)).status_code == 412
    assert (await boss.delete(f"{MEMBERS}/{mid}")).status_code == 200
    assert (await boss.delete(path)).status_code == 200


async def test_what_robots_can_be_given_is_told_to_whoever_gives_by_a_role_of_the_registrys_own(world: World):
    ann = await user(world, "ann")
    pulling = await made(world.client, "pulling", "repository:pull")
    giving = await made(world.client, "giving", "robot:create")
    mid = await joined(world.client, "ann", pulling)
    assert await status(ann, f"{PREFIX}/permissions") == 403

    await world.client.put(f"{MEMBERS}/{mid}", json={"role_id": giving})

    told = (await ann.get(f"{PREFIX}/permissions")).json()
    assert (told["system"], len(told["project"])) == ([], 70)


async def test_a_role_of_one_registry_is_none_of_another(world: World):
    number = await made(world.client, "puller", "repository:pull")
    stranger = await world.add_registry()

    assert await status(stranger, f"{ROLES}/{number}") == 404
    given = {"role_id": number, "member_user": {"username": "admin"}}
    assert (await stranger.post(MEMBERS, json=given)).status_code == 400


async def test_a_role_that_is_held_through_a_group_counts_and_ends_with_it(world: World):
    await push(world)
    ann = await user(world, "ann")
    number = await made(world.client, "puller", "repository:pull")
    registry = await world.registry()

    async def work(tx: Tx) -> int:
        group = await members.create_group(tx, "people")
        await members.join_group(tx, group, await users.find(tx, "ann"))
        return group

    group = await registry.db.change(work)
    given = {"role_id": number, "member_group": {"id": group}}
    assert (await world.client.post(MEMBERS, json=given)).status_code == 201
    assert await status(ann, "/v2/library/app/manifests/one") == 200
    assert (await world.client.delete(f"{ROLES}/{number}")).status_code == 412
    assert (await world.client.delete(f"{PREFIX}/usergroups/{group}")).status_code == 200
    assert await status(ann, "/v2/library/app/manifests/one") == 403
    assert (await world.client.delete(f"{ROLES}/{number}")).status_code == 200


async def test_who_may_make_robots_by_a_role_of_the_registrys_own_makes_none_that_may_more(world: World):
    ann = await user(world, "ann")
    boss = await world.add_user("boss", Role.PROJECT_ADMIN)
    number = await made(
        world.client, "machines", "robot:create", "robot:update", "robot:read", "repository:pull"
    )
    await joined(world.client, "ann", number)
    path = f"{PREFIX}/robots"

    def body(name: str, *permissions: str) -> dict[str, Any]:
        given = [{"kind": "project", "namespace": "library", "access": access(*permissions)}]
        return {"name": name, "level": "project", "duration": -1, "permissions": given}

    assert (await ann.post(path, json=body("more", "repository:push"))).status_code == 403
    less = await ann.post(path, json=body("less", "repository:pull"))
    # A project's administrator gives all that robots can have, as in Harbor: also what no role of Harbor's has.
    mighty = await boss.post(path, json=body("mighty", "repository:push", "metadata:list"))
    assert [less.status_code, mighty.status_code] == [201, 201]
    wider = body(less.json()["name"], "repository:pull", "repository:push")
    assert (await ann.put(f"{path}/{less.json()['id']}", json=wider)).status_code == 403
    # Nor are they one that may more, by a secret of it.
    taken = [await ann.patch(f"{path}/{one.json()['id']}", json={}) for one in (less, mighty)]
    assert [one.status_code for one in taken] == [200, 403]
    grant = {"repository": "app", "access": access("repository:push"), "robot": {"id": less.json()["id"]}}
    assert (await boss.post(f"{PREFIX}/projects/library/grants", json=grant)).status_code == 201
    assert (await ann.patch(f"{path}/{less.json()['id']}", json={})).status_code == 403
