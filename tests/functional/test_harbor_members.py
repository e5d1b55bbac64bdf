"""Members of projects, and groups of users, through Harbor's API."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from moorage.api.harbor.operations import PREFIX
from moorage.db import Tx
from moorage.identity import groups, members, users
from moorage.identity.roles import Role
from tests.worlds import PASSWORD, World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

GROUPS = f"{PREFIX}/usergroups"
MEMBERS = f"{PREFIX}/projects/library/members"


async def user(world: World, name: str) -> tuple[int, httpx.AsyncClient]:
    """Make a user who is in no project; give the number, and a client of theirs."""
    registry = await world.registry()
    hashed = await world.passwords.hash(PASSWORD)
    number = await registry.db.change(lambda tx: users.create(tx, name=name, password=hashed))
    return number, await world.as_(name)


async def added(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> int:
    """Make a member or a group, and give its number."""
    answer = await client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    where, _, number = answer.headers["location"].rpartition("/")
    assert where == path
    return int(number)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


async def test_a_user_becomes_a_member_gets_another_role_and_leaves(world: World):
    number, ann = await user(world, "ann")
    assert (await ann.get(MEMBERS)).status_code == 403

    mid = await added(world.client, MEMBERS, {"role_id": 3, "member_user": {"username": "ann"}})
    shown = (await ann.get(f"{MEMBERS}/{mid}")).json()
    project = shown.pop("project_id")
    assert shown == {
        "id": mid, "entity_name": "ann", "entity_id": number, "entity_type": "u", "role_id": 3, "role_name": "guest",
    }  # fmt: skip
    # By the project's number, too.
    path = f"{PREFIX}/projects/{project}/members"
    assert (await ann.put(f"{path}/{mid}", json={"role_id": 1})).status_code == 403
    assert (await world.client.put(f"{path}/{mid}", json={"role_id": 1})).status_code == 200
    other, _ = await user(world, "bob")
    await added(ann, path, {"role_id": 5, "member_user": {"user_id": other}})
    assert (await ann.delete(f"{MEMBERS}/{mid}")).status_code == 200
    assert [(await ann.get(one)).status_code for one in (MEMBERS, f"{MEMBERS}/{mid}")] == [403, 403]
    assert refusal(await world.client.get(f"{MEMBERS}/{mid}")) == (404, "NOT_FOUND")
    assert (await world.client.delete(f"{MEMBERS}/{mid}")).status_code == 200


async def test_who_cannot_be_a_member_is_refused_with_the_reason(world: World):
    await user(world, "ann")
    await added(world.client, MEMBERS, {"role_id": 2, "member_user": {"username": "ann"}})
    await user(world, "bob")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"role_id": 2}, "at least one of member_user or member_group"),
        ({"role_id": 2, "member_user": {"user_id": 999999}}, "User 999999 not found"),
        ({"role_id": 2, "member_user": {"username": "nobody"}}, "User nobody not found"),
        ({"role_id": 2, "member_group": {"id": 999999}}, "Group 999999 not found"),
        ({"role_id": 2, "member_group": {"group_name": "none", "group_type": 3}}, "group none of type 3"),
        (
            {"role_id": 2, "member_group": {"ldap_group_dn": "cn=x,dc=y"}},
            "LDAP Group DN is not found: DN:cn=x,dc=y",
        ),
        ({"role_id": 6, "member_user": {"username": "bob"}}, "role 6 is none: it is one of 1 (projectAdmin)"),
        ({"member_user": {"username": "bob"}}, "role 0 is none"),
    ]

    for body, told in wrong:
        answer = await world.client.post(MEMBERS, json=body)
        assert refusal(answer) == (400, "BAD_REQUEST"), body
        assert told in answer.text
    again = await world.client.post(MEMBERS, json={"role_id": 3, "member_user": {"username": "ann"}})
    assert refusal(again) == (409, "CONFLICT")
    assert refusal(await world.client.put(f"{MEMBERS}/999999", json={"role_id": 2})) == (404, "NOT_FOUND")
    assert refusal(await world.client.put(f"{MEMBERS}/0", json={"role_id": 2})) == (400, "BAD_REQUEST")


async def test_members_are_listed_by_name_and_each_project_has_its_own(world: World):
    for name in ("carl", "ann", "bob"):
        await world.add_user(name, Role.DEVELOPER)
    await world.add_user("eve", Role.GUEST, "other")
    gid = await added(world.client, GROUPS, {"group_name": "builders", "group_type": 3})
    await added(world.client, MEMBERS, {"role_id": 4, "member_group": {"id": gid}})

    async def names(query: str) -> tuple[list[str], str]:
        answer = await world.client.get(f"{MEMBERS}?{query}")
        return [one["entity_name"] for one in answer.json()], answer.headers["x-total-count"]

    assert await names("") == (["ann", "bob", "builders", "carl"], "4")
    assert await names("page=2&page_size=3") == (["carl"], "4")
    assert await names("entityname=bob") == (["bob"], "1")
    listed = (await world.client.get(f"{MEMBERS}?entityname=builders")).json()[0]
    assert (listed["entity_type"], listed["entity_id"], listed["role_name"]) == ("g", gid, "maintainer")
    # A membership is known in its own project alone, to whoever may see both.
    others = (await world.client.get(f"{PREFIX}/projects/other/members")).json()
    assert refusal(await world.client.get(f"{MEMBERS}/{others[0]['id']}")) == (404, "NOT_FOUND")
    refused = await world.client.put(f"{MEMBERS}/{others[0]['id']}", json={"role_id": 1})
    assert refused.status_code == 404
    await world.client.delete(f"{MEMBERS}/{others[0]['id']}")
    assert len((await world.client.get(f"{PREFIX}/projects/other/members")).json()) == 1


async def test_a_groups_users_have_its_role_until_it_goes(world: World):
    number, ann = await user(world, "ann")
    gid = await added(world.client, GROUPS, {"group_name": "builders", "group_type": 3})
    registry = await world.registry()
    await registry.db.change(lambda tx: members.join_group(tx, gid, number))

    mid = await added(
        world.client, MEMBERS, {"role_id": 1, "member_group": {"group_name": "builders", "group_type": 3}}
    )
    assert (await ann.get(f"{MEMBERS}/{mid}")).status_code == 200
    assert (await ann.put(f"{MEMBERS}/{mid}", json={"role_id": 3})).status_code == 200
    assert (await ann.put(f"{MEMBERS}/{mid}", json={"role_id": 1})).status_code == 403
    assert (await world.client.delete(f"{GROUPS}/{gid}")).status_code == 200
    assert (await ann.get(MEMBERS)).status_code == 403
    assert (await world.client.get(MEMBERS)).json() == []


async def test_groups_are_made_found_renamed_and_deleted(world: World):
    _, ann = await user(world, "ann")
    made = {
        name: await added(world.client, GROUPS, {"group_name": name, "group_type": kind})
        for name, kind in (("testers", 3), ("builders", 3), ("bakers", 2))
    }

    listed = await world.client.get(f"{GROUPS}?group_name=er&page_size=2")
    assert [one["group_name"] for one in listed.json()] == ["bakers", "builders"]
    assert listed.headers["x-total-count"] == "3"
    assert (await world.client.get(f"{GROUPS}?ldap_group_dn=cn%3Dx")).json() == []
    assert (await world.client.get(f"{GROUPS}/{made['bakers']}")).json() == {
        "id": made["bakers"], "group_name": "bakers", "group_type": 2, "ldap_group_dn": "",
    }  # fmt: skip
    found = (await ann.get(f"{GROUPS}/search?groupname=build")).json()
    assert found == [{"id": made["builders"], "group_name": "builders", "group_type": 3}]
    assert refusal(await ann.get(f"{GROUPS}/search")) == (422, "UNPROCESSABLE_ENTITY")
    assert refusal(await ann.get(f"{GROUPS}/search?groupname=")) == (400, "BAD_REQUEST")
    # A name is one group's of its type.
    assert refusal(await world.client.post(GROUPS, json={"group_name": "testers", "group_type": 3})) == (
        409,
        "CONFLICT",
    )
    await added(world.client, GROUPS, {"group_name": "testers", "group_type": 2})
    path = f"{GROUPS}/{made['builders']}"
    assert refusal(await world.client.put(path, json={"group_name": "testers"})) == (409, "CONFLICT")
    assert (await world.client.put(path, json={"group_name": "masons"})).status_code == 200
    assert (await world.client.get(path)).json()["group_name"] == "masons"
    registry = await world.registry()
    kept = await groups.get(registry.db, made["builders"])
    assert (kept.name, kept.external) == ("masons", "builders")
    for body in (
        {"group_name": "", "group_type": 3},
        {"group_name": "x"},
        {"group_name": "x", "group_type": 4},
        {"group_name": "x", "group_type": 1, "ldap_group_dn": "cn=x"},
        {"group_name": "a\0b", "group_type": 3},
    ):
        assert refusal(await world.client.post(GROUPS, json=body)) == (400, "BAD_REQUEST"), body
    assert (await world.client.delete(path)).status_code == 200
    for method in ("GET", "PUT", "DELETE"):
        answer = await world.client.request(method, path, json={"group_name": "x"})
        assert refusal(answer) == (404, "NOT_FOUND")
    await added(world.client, GROUPS, {"group_name": "masons", "group_type": 3})


async def test_whoever_may_not_is_refused_alike_for_what_is_there_and_what_is_not(world: World):
    guest = await world.add_user("limited", Role.LIMITED_GUEST)
    anonymous = await world.as_(None)
    mid = await added(world.client, MEMBERS, {"role_id": 2, "member_user": {"username": "admin"}})
    gid = await added(world.client, GROUPS, {"group_name": "builders", "group_type": 3})

    for who, refused in ((anonymous, 401), (guest, 403)):
        for path in (f"{MEMBERS}/{mid}", f"{MEMBERS}/99999", f"{GROUPS}/{gid}", f"{GROUPS}/99999"):
            answers = [await who.request(method, path, json={}) for method in ("GET", "PUT", "DELETE")]
            assert {one.status_code for one in answers} == {refused}, path
        for path in (MEMBERS, GROUPS):
            assert {(await who.post(path, json={})).status_code, (await who.get(path)).status_code} == {
                refused
            }


async def test_a_user_who_is_deleted_is_a_member_no_more(world: World):
    number, _ = await user(world, "ann")
    await added(world.client, MEMBERS, {"role_id": 2, "member_user": {"user_id": number}})

    async def gone(tx: Tx) -> None:
        await users.remove(tx, number)

    await (await world.registry()).db.change(gone)
    answer = await world.client.get(MEMBERS)
    assert (answer.json(), answer.headers["x-total-count"]) == ([], "0")
