"""What strangers make of Harbor's API: numbers and texts that no row holds, names that were another's, and what they are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from moorage.api.harbor.operations import PREFIX
from moorage.db import Tx
from moorage.identity.roles import Role
from moorage.oci.names import RepositoryName
from moorage.registry import relay, sinking
from moorage.registry.events import SYSTEM
from tests.functional.harbor_artifacts import push
from tests.functional.test_harbor_robots import made, of_project, of_system
from tests.worlds import World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

# Its first twenty digits are a small number.
LONG = "0" * 20 + "9" * 30
NUMBERED = (
    "robots", "labels", "users", "quotas", "projects", "usergroups", "projects/library/members",
)  # fmt: skip
HUGE = (10**30, 1 << 63, -(1 << 63) - 1)
NULL = "a\0b"


@pytest.mark.parametrize("name", [None, "guest"])
async def test_a_number_in_a_path_that_no_row_can_have_is_refused_as_such(
    world: World, name: str | None
) -> None:
    asking = await world.as_(None) if name is None else await world.add_user(name, Role.GUEST)

    for start in NUMBERED:
        for number in (LONG, f"-{LONG}"):
            answer = await asking.get(f"{PREFIX}/{start}/{number}")
            assert 400 <= answer.status_code < 500, answer.text
    answer = await asking.get(f"{PREFIX}/projects/library/artifacts", params={"q": f"labels={{1 {LONG}}}"})
    assert answer.status_code in {400, 401}


async def test_a_number_in_a_body_that_no_row_can_have_is_refused_as_such(world: World) -> None:
    boss = await world.add_user("boss", Role.PROJECT_ADMIN)
    members = "projects/library/members"

    for number in HUGE:
        bodies: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("POST", "labels", {"name": "x", "scope": "p", "project_id": number}),
            ("POST", members, {"role_id": number, "member_user": {"user_id": 1}}),
            ("PUT", f"{members}/1", {"role_id": number}),
            ("POST", members, {"role_id": 1, "member_user": {"user_id": number}}),
            ("POST", members, {"role_id": 1, "member_group": {"id": number}}),
            ("PUT", "projects/library", {"cve_allowlist": {"items": [], "expires_at": number}}),
            ("POST", "robots", of_project(duration=number)),
        )
        for method, path, body in bodies:
            answer = await boss.request(method, f"{PREFIX}/{path}", json=body)
            assert answer.status_code in {400, 422}, (body, answer.text)


async def test_a_text_with_a_null_character_is_refused_on_either_engine(world: World) -> None:
    boss = await world.add_user("boss", Role.PROJECT_ADMIN)
    members = "projects/library/members"
    bodies: tuple[tuple[str, dict[str, Any]], ...] = (
        (members, {"role_id": 1, "member_user": {"username": NULL}}),
        (members, {"role_id": 1, "member_group": {"group_name": NULL, "group_type": 3}}),
        ("users", {"username": "eve", "password": "Moorage-pass-2", "email": "a\0c@b.co", "realname": "x"}),
    )

    for path, body in bodies:
        answer = await (world.client if path == "users" else boss).post(f"{PREFIX}/{path}", json=body)
        assert answer.status_code == 400, answer.text
    kept = {"name": r"a\u0000b", "scope": "g"}
    assert (await world.client.post(f"{PREFIX}/labels", json=kept)).status_code == 201
    for query in ("tags=a%00", "tags=~a%00", "tags={a%00 b}"):
        answer = await boss.get(f"{PREFIX}/projects/library/artifacts", params={"q": query})
        assert (answer.status_code, answer.json()) == (200, [])


async def test_whose_project_has_the_name_of_one_that_is_gone_is_told_nothing_of_it(world: World) -> None:
    admin, eve = world.client, await world.add_user("eve", Role.GUEST)
    registry = await world.registry()
    assert (await admin.post(f"{PREFIX}/projects", json={"project_name": "secret"})).status_code == 201
    await made(admin, of_project("ci", "secret"))
    assert (await admin.delete(f"{PREFIX}/projects/secret")).status_code == 200
    assert (await eve.post(f"{PREFIX}/projects", json={"project_name": "secret"})).status_code == 201
    await relay.drain(registry.db, registry.entry.uuid, {}, _never)

    for path in ("projects/secret/logs", "projects/secret/auditlog-exts", "audit-logs", "auditlog-exts"):
        answer = await eve.get(f"{PREFIX}/{path}")
        told = [(one["username"], one["operation"]) for one in answer.json()]
        assert (told, answer.headers["x-total-count"]) == ([("eve", "create")], "1"), path
    everything = (await admin.get(f"{PREFIX}/audit-logs", params={"q": "project=secret"})).json()
    assert [one["operation"] for one in everything] == ["create", "delete", "create", "create"]


async def test_a_robot_may_nothing_in_a_project_that_has_the_name_of_one_that_is_gone(world: World) -> None:
    admin, eve = world.client, await world.add_user("eve", Role.GUEST)
    assert (await admin.post(f"{PREFIX}/projects", json={"project_name": "old"})).status_code == 201
    given = [("project", where, "repository", "list") for where in ("old", "library")]
    told = await made(admin, of_system("ci", *given))
    robot = await world.as_(told["name"], told["secret"])
    assert (await robot.get(f"{PREFIX}/projects/old/repositories")).status_code == 200
    assert (await admin.delete(f"{PREFIX}/projects/old")).status_code == 200
    assert (await eve.post(f"{PREFIX}/projects", json={"project_name": "old"})).status_code == 201

    assert (await robot.get(f"{PREFIX}/projects/old/repositories")).status_code == 403
    assert (await robot.get(f"{PREFIX}/projects/library/repositories")).status_code == 200
    seen = (await admin.get(f"{PREFIX}/robots/{told['id']}")).json()
    assert [one["namespace"] for one in seen["permissions"]] == ["library"]


async def test_who_deletes_a_repository_is_not_said_to_delete_what_others_do(world: World) -> None:
    admin, registry = world.client, await world.registry()
    for name in ("library/hers", "library/his"):
        await push(admin, name, "v1", {"of": name})
    await registry.db.change(lambda tx: sinking.begin(tx, RepositoryName.parse("library/hers"), SYSTEM))

    assert (await admin.delete(f"{PREFIX}/projects/library/repositories/his")).status_code == 200
    # Hers is left to who deletes it, or to collection.
    assert await sinking.finish(registry.db) == 1
    await relay.drain(registry.db, registry.entry.uuid, {}, _never)
    log = (await admin.get(f"{PREFIX}/audit-logs", params={"q": "operation=delete"})).json()
    who = {(one["resource"].partition("@")[0], one["username"]) for one in log}
    assert {one for one in who if one[0].startswith("library/hers")} == {("library/hers", SYSTEM.actor)}


async def test_who_may_nothing_with_robots_is_refused_alike_for_those_that_are_there_and_those_that_are_not(
    world: World,
) -> None:
    eve = await world.add_user("eve", Role.LIMITED_GUEST)
    await world.add_project("other")
    project = await made(world.client, of_project("his", "other"))
    system = await made(world.client, of_system("theirs"))

    refusals = {
        (answer.status_code, answer.json()["errors"][0]["message"].partition(" (request")[0])
        for answer in [await eve.get(f"{PREFIX}/robots/{n}") for n in (project["id"], system["id"], 99_999)]
    }
    assert len(refusals) == 1


async def test_a_change_that_has_to_be_made_once_more_is_the_same_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn begins anew where PostgreSQL's schema moved under it."""
    kind = type((await world.registry()).db)
    real = kind.change

    async def once_more(self: Any, work: Callable[[Tx], Awaitable[Any]]) -> Any:
        async def moved(tx: Tx) -> None:
            await work(tx)
            raise LookupError

        with contextlib.suppress(LookupError):
            await real(self, moved)
        return await real(self, work)

    monkeypatch.setattr(kind, "change", once_more)
    given = {"project_name": "open", "metadata": {"public": "true", "auto_scan": "true"}}
    answer = await world.client.post(f"{PREFIX}/projects", json=given)

    assert answer.status_code == 201, answer.text
    seen = (await world.client.get(f"{PREFIX}/projects/open")).json()
    assert seen["metadata"] == given["metadata"]


async def test_of_several_who_delete_the_same_at_once_one_does_and_the_others_find_it_gone(
    world: World,
) -> None:
    admin, registry = world.client, await world.registry()
    assert (await admin.post(f"{PREFIX}/projects", json={"project_name": "gone"})).status_code == 201
    label = await admin.post(f"{PREFIX}/labels", json={"name": "gone", "scope": "g"})

    for path in (f"{PREFIX}/projects/gone", label.headers["location"]):
        answers = await asyncio.gather(*(admin.delete(path) for _ in range(4)))
        assert sorted(one.status_code for one in answers) == [200, 404, 404, 404]
    await relay.drain(registry.db, registry.entry.uuid, {}, _never)
    log = (await admin.get(f"{PREFIX}/audit-logs", params={"q": "operation=delete"})).json()
    assert [(one["resource_type"], one["resource"]) for one in log] == [
        ("label", "gone"),
        ("project", "gone"),
    ]


async def _never(*_: object) -> None:
    raise AssertionError("no job waits for these events")
