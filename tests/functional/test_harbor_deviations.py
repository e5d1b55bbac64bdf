"""Where a registry's management API answers other than Harbor's, on purpose: the list of docs/reference/harbor-api.md.

A difference that does not stand there is a bug.
"""

from __future__ import annotations

from typing import Any

import pytest

from moorage import __version__
from moorage.api.harbor.operations import PREFIX
from moorage.db import Tx
from moorage.identity.roles import Role
from moorage.registry import artifact_copies, projects
from tests.functional.harbor_artifacts import IMAGE
from tests.functional.harbor_artifacts import push as push_artifact
from tests.functional.test_work import push as push_image
from tests.worlds import ADMIN, PASSWORD, World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)


async def get(world: World, path: str, **query: Any) -> Any:
    """Get what must be there."""
    answer = await world.client.get(f"{PREFIX}{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_no_page_is_longer_than_a_hundred_whatever_is_asked_for(world: World):
    async def work(tx: Tx) -> None:
        for number in range(101):
            await projects.create(tx, f"many-{number}")

    await (await world.registry()).db.change(work)

    assert len(await get(world, "/projects", page_size=-1)) == 100
    assert len((await get(world, "/search", q="many"))["project"]) == 100


async def test_volumes_are_the_plans_limit_and_what_is_free_of_it(world: World):
    limited = await world.add_registry("S")

    assert await get(world, "/systeminfo/volumes") == {"storage": []}
    (volume,) = (await limited.get(f"{PREFIX}/systeminfo/volumes")).json()["storage"]
    assert volume["total"] == volume["free"] > 0


async def test_three_components_have_health_and_the_version_is_harbors_then_ours(world: World):
    health = await get(world, "/health")
    told = await get(world, "/systeminfo")

    assert [one["name"] for one in health["components"]] == ["core", "database", "registry"]
    assert told["harbor_version"] == f"v2.15.2-moorage.{__version__}"


async def test_the_log_is_always_kept(world: World):
    for key, value in (
        ("skip_audit_log_database", True),
        ("audit_log_forward_endpoint", "udp://192.0.2.1:514"),
    ):
        refused = await world.client.put(f"{PREFIX}/configurations", json={key: value})
        assert (refused.status_code, key in refused.json()["errors"][0]["message"]) == (412, True)
    purge = {"schedule": {"type": "Daily"}, "parameters": {}}
    assert (await world.client.post(f"{PREFIX}/system/purgeaudit/schedule", json=purge)).status_code == 412


async def test_a_schedule_that_there_is_not_is_an_object_that_says_nothing(world: World):
    for path in ("/system/gc/schedule", "/system/purgeaudit/schedule"):
        assert await get(world, path) == {}


async def test_the_name_of_what_was_deleted_is_free_at_once(world: World):
    path = f"{PREFIX}/projects/library/repositories/app"
    await push_image(world, "library/app", "v1")
    first = (await world.client.get(path)).json()
    assert (await world.client.delete(path)).status_code == 200
    assert (await world.client.get(path)).status_code == 404

    await push_image(world, "library/app", "v1")

    assert (await world.client.get(path)).json()["id"] != first["id"]
    for _ in range(2):
        assert (
            await world.client.post(f"{PREFIX}/projects", json={"project_name": "again"})
        ).status_code == 201
        assert (await world.client.delete(f"{PREFIX}/projects/again")).status_code == 200


async def test_the_last_administrator_stays_one(world: World):
    number = (await get(world, "/users/current"))["user_id"]

    taken = await world.client.put(f"{PREFIX}/users/{number}/sysadmin", json={"sysadmin_flag": False})
    deleted = await world.client.delete(f"{PREFIX}/users/{number}")

    assert 400 <= taken.status_code < 500
    assert 400 <= deleted.status_code < 500
    assert (await get(world, "/users/current"))["sysadmin_flag"] is True


async def test_a_robots_secret_is_good_a_while_beside_the_next_one(world: World):
    given = {
        "name": "ci", "level": "project", "duration": 1,
        "permissions": [{"kind": "project", "namespace": "library", "access": [{"resource": "repository", "action": "list"}]}],
    }  # fmt: skip
    made = (await world.client.post(f"{PREFIX}/robots", json=given)).json()
    asked = {"secret": "Another-secret-1", "overlap": 600}
    assert (await world.client.patch(f"{PREFIX}/robots/{made['id']}", json=asked)).status_code == 200

    for secret in (made["secret"], "Another-secret-1"):
        robot = await world.as_(made["name"], secret)
        assert (await robot.get(f"{PREFIX}/projects/library/repositories")).status_code == 200


async def test_a_robot_has_no_power_over_administrators(world: World):
    rights = [
        {"resource": "user", "action": action} for action in ("create", "read", "update", "list", "delete")
    ]
    given = {
        "name": "people", "level": "system", "secret": "Another-secret-1",
        "permissions": [{"kind": "system", "namespace": "/", "access": rights}],
    }  # fmt: skip
    made = (await world.client.post(f"{PREFIX}/robots", json=given)).json()
    robot = await world.as_(made["name"], "Another-secret-1")
    admin = f"{PREFIX}/users/{(await get(world, '/users/current'))['user_id']}"

    assert made["secret"] == "Another-secret-1"
    assert (await robot.get(admin)).status_code == 200
    refused = [
        await robot.put(f"{admin}/password", json={"new_password": "Another-pass-1"}),
        await robot.put(f"{admin}/sysadmin", json={"sysadmin_flag": True}),
        await robot.delete(admin),
    ]
    assert {one.status_code for one in refused} == {403}
    # It lives as long as robots do where nothing is said.
    usual = (await get(world, "/configurations"))["robot_token_duration"]["value"]
    assert (await get(world, f"/robots/{made['id']}"))["duration"] == usual
    await (await world.registry()).write_down(pulls=True)
    assert "last_used_time" in await get(world, f"/robots/{made['id']}")


async def test_what_cannot_be_given_and_who_is_not_there_is_refused(world: World):
    access = [{"resource": "repository", "action": "pull", "effect": "deny"}]
    given = [{"kind": "project", "namespace": "library", "access": access}]
    robot = {"name": "ci", "level": "project", "duration": 1, "permissions": given}
    members = f"{PREFIX}/projects/library/members"
    answers = [
        await world.client.post(f"{PREFIX}/robots", json=robot),
        await world.client.post(members, json={"role_id": 2, "member_user": {"username": "nobody"}}),
        await world.client.post(f"{PREFIX}/usergroups", json={"group_name": "x", "group_type": 1}),
        await world.client.post(f"{PREFIX}/usergroups", json={"group_name": "x", "group_type": 9}),
        await world.client.put(f"{members}/99999", json={"role_id": 2}),
    ]

    assert [one.status_code for one in answers] == [400, 400, 400, 400, 404]


async def test_whoever_knows_the_password_is_let_in_after_somebody_guessed(world: World):
    await world.add_user("someone", Role.GUEST)
    guesses = await world.as_("someone", "Wrong-pass-1")
    assert (await guesses.get(f"{PREFIX}/users/current")).status_code == 401

    for name in ("someone", ADMIN):
        knows = await world.as_(name, PASSWORD)
        assert (await knows.get(f"{PREFIX}/users/current")).status_code == 200


async def test_of_an_artifact_a_part_is_shown_and_of_its_tags_when_it_was_pulled(world: World):
    notes = {"long": "x" * (1 << 17), "short": "y"}
    digest = await push_artifact(world.client, "library/app", "v1", {"os": "linux"}, annotations=notes)
    await world.client.post(
        f"{PREFIX}/projects/library/repositories/app/artifacts/v1/tags", json={"name": "next"}
    )
    await world.client.get("/v2/library/app/manifests/next")
    await (await world.registry()).pulls.flush()

    found = await get(world, f"/projects/library/repositories/app/artifacts/{digest}")

    assert (found["annotations"], found["icon"]) == ({"short": "y"}, "")
    assert {one["pull_time"] for one in found["tags"]} == {found["pull_time"]}
    assert found["pull_time"] >= found["push_time"]


async def test_a_copy_of_very_many_manifests_is_refused(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(artifact_copies, "MOST", 1)
    await push_artifact(world.client, "library/app", "v1", {"os": "linux"})
    digest = (await world.client.head("/v2/library/app/manifests/v1")).headers["docker-content-digest"]
    subject = {"mediaType": IMAGE, "digest": digest, "size": 1}
    for n in range(3):
        await push_artifact(world.client, "library/app", None, {"n": n}, subject=subject)

    refused = await world.client.post(
        f"{PREFIX}/projects/library/repositories/copy/artifacts", params={"from": "library/app:v1"}
    )

    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (412, "PRECONDITION")
    listed = await world.client.get(f"{PREFIX}/projects/library/repositories")
    assert [one["name"] for one in listed.json()] == ["library/app"]
