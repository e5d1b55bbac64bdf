"""What is granted for single repositories, on the wire and through Harbor's API: it adds up, is cut to, and ends."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from moorage.api.harbor.operations import PREFIX
from moorage.db import Tx
from moorage.identity import members, robots, users
from moorage.identity.accounts import Grant
from moorage.identity.callers import Caller
from moorage.identity.roles import Permission, Role
from moorage.registry import projects
from tests.functional.test_work import push
from tests.worlds import PASSWORD, World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

PROJECT = f"{PREFIX}/projects/team"
GRANTS = f"{PROJECT}/grants"
REPOSITORIES = ("prod/a", "prod/b/c", "ci/app", "ci/app2", "other")
READ = ("repository:read", "repository:list", "repository:pull", "artifact:read", "artifact:list", "tag:list")


def access(*permissions: str) -> list[dict[str, str]]:
    """Write permissions as a client does."""
    return [dict(zip(("resource", "action"), one.split(":"), strict=True)) for one in permissions]


async def user(world: World, name: str) -> httpx.AsyncClient:
    """Make a user who is in no project; give a client of theirs."""
    hashed = await world.passwords.hash(PASSWORD)
    await (await world.registry()).db.change(lambda tx: users.create(tx, name=name, password=hashed))
    return await world.as_(name)


async def granted(client: httpx.AsyncClient, repository: str, *permissions: str, **whose: Any) -> str:
    """Grant something, and give the grant's path."""
    answer = await client.post(
        GRANTS, json={"repository": repository, "access": access(*permissions), **whose}
    )
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


def of_user(name: str) -> dict[str, Any]:
    return {"member_user": {"username": name}}


async def filled(world: World) -> None:
    """Make a private project with some repositories in it."""
    await world.add_project("team")
    for name in REPOSITORIES:
        await push(world, f"team/{name}")


async def pulled(client: httpx.AsyncClient) -> list[str]:
    """Say which of the repositories somebody can pull from."""
    return [
        name
        for name in REPOSITORIES
        if (await client.get(f"/v2/team/{name}/manifests/one")).status_code == 200
    ]


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["x-total-count"]) == len(answer.json())
    return sorted(one["name"] for one in answer.json())


async def test_who_has_a_grant_alone_sees_and_pulls_its_repositories_and_no_others(world: World):
    await filled(world)
    ann = await user(world, "ann")
    assert await pulled(ann) == []
    path = await granted(world.client, "prod/**", *READ, **of_user("ann"))

    assert await pulled(ann) == ["prod/a", "prod/b/c"]
    seen = ["team/prod/a", "team/prod/b/c"]
    assert names(await ann.get(f"{PROJECT}/repositories")) == seen
    assert names(await ann.get(f"{PREFIX}/repositories")) == seen
    assert names(await ann.get(f"{PREFIX}/projects")) == ["team"]
    assert (await ann.get(PROJECT)).json()["repo_count"] == 2
    assert (await ann.get(f"{PROJECT}/summary")).json()["repo_count"] == 2
    found = (await ann.get(f"{PREFIX}/search", params={"q": "app"})).json()
    assert found["repository"] == []
    found = (await ann.get(f"{PREFIX}/search", params={"q": "a"})).json()
    assert [one["repository_name"] for one in found["repository"]] == seen
    for latest in ("true", "false"):
        artifacts = await ann.get(f"{PROJECT}/artifacts", params={"latest_in_repository": latest})
        assert {one["repository_name"] for one in artifacts.json()} == {*seen}, artifacts.text
        assert artifacts.headers["x-total-count"] == "2"
    for name, status in (("prod%252Fa", 200), ("ci%252Fapp", 403), ("none", 403)):
        here = f"{PROJECT}/repositories/{name}"
        for one in (here, f"{here}/artifacts", f"{here}/artifacts/one", f"{here}/artifacts/one/tags"):
            assert (await ann.get(one)).status_code == status, one
        assert (await ann.delete(here)).status_code == 403
    for one in ("members", "logs", "grants", "metadatas/", "immutabletagrules"):
        assert (await ann.get(f"{PROJECT}/{one}")).status_code == 403
    assert (await ann.get("/v2/_catalog")).status_code == 403
    assert (await ann.get("/v2/team/ci/app/tags/list")).status_code == 403
    # Warm as it is, it ends with the next request.
    assert (await world.client.delete(path)).status_code == 200
    assert await pulled(ann) == []
    assert [(await ann.get(one)).status_code for one in (PROJECT, f"{PROJECT}/repositories")] == [403, 403]
    assert names(await ann.get(f"{PREFIX}/projects")) == []


async def test_a_grant_adds_to_what_a_role_gives_and_to_a_public_project(world: World):
    await filled(world)
    guest = await world.add_user("guest", Role.GUEST, "team")
    await user(world, "ann")
    await granted(world.client, "ci/app", "repository:push", "repository:pull", **of_user("guest"))

    assert await pulled(guest) == list(REPOSITORIES)
    assert len(names(await guest.get(f"{PROJECT}/repositories"))) == len(REPOSITORIES)
    begun = [(await guest.post(f"/v2/team/{one}/blobs/uploads/")).status_code for one in REPOSITORIES]
    assert begun == [403, 403, 202, 403, 403]


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_a_token_says_what_is_granted_and_no_more_than_is_granted_still(world: World, *, warm: bool):
    await filled(world)
    ann = await user(world, "ann")
    bob = await user(world, "bob")
    paths = [
        await granted(world.client, "ci/*", "repository:pull", "repository:push", **of_user("ann")),
        await granted(world.client, "ci/app", "artifact:delete", **of_user("ann")),
    ]
    if warm:
        await pulled(ann)
    scopes = [f"repository:team/{one}:pull,push,delete" for one in ("ci/app", "ci/app2", "prod/a")]
    form = {
        "grant_type": "password", "username": "ann", "password": PASSWORD, "service": "harbor-registry",
        "scope": " ".join(scopes),
    }  # fmt: skip
    answer = await (await world.as_(None)).post("/service/token", data=form)
    assert sorted(answer.json()["scope"].split()) == [
        "repository:team/ci/app2:pull,push", "repository:team/ci/app:delete,pull,push",
    ]  # fmt: skip
    bearer = {"authorization": f"Bearer {answer.json()['token']}"}
    shown = await world.as_(None)

    async def status(method: str, path: str) -> int:
        return (await shown.request(method, path, headers=bearer)).status_code

    assert await status("GET", "/v2/team/ci/app/manifests/one") == 200
    assert await status("DELETE", "/v2/team/ci/app2/manifests/one") == 403
    assert await status("GET", "/v2/team/prod/a/manifests/one") in {401, 403}
    body = {"repository": "ci/app2", "access": access("repository:pull")}
    assert (await world.client.put(paths[0], json=body)).status_code == 200
    assert await status("GET", "/v2/team/ci/app/manifests/one") == 403
    assert await status("GET", "/v2/team/ci/app2/manifests/one") == 200
    assert await pulled(ann) == ["ci/app2"]
    assert await pulled(bob) == []


async def test_what_may_not_be_read_is_neither_mounted_nor_copied(world: World):
    await filled(world)
    ann = await user(world, "ann")
    await granted(
        world.client, "ci/app", "repository:pull", "repository:push", "artifact:create", **of_user("ann")
    )
    manifest = (await world.client.get("/v2/team/other/manifests/one")).json()
    # Bytes that stand in a repository which ann does not see, and in none that she does.
    secret = await push(world, "team/other", "two", config=b'{"secret": 1}')
    config = (await world.client.get(f"/v2/team/other/manifests/{secret}")).json()["config"]["digest"]
    assert manifest["config"]["digest"] != config

    mount = {"mount": config, "from": "team/other"}
    refused = await ann.post("/v2/team/ci/app/blobs/uploads/", params=mount)
    anywhere = await ann.post("/v2/team/ci/app/blobs/uploads/", params={"mount": config})
    assert [refused.status_code, anywhere.status_code] == [202, 202]
    assert (await ann.head(f"/v2/team/ci/app/blobs/{config}")).status_code == 404
    copy = f"{PROJECT}/repositories/ci%252Fapp/artifacts"
    assert (await ann.post(copy, params={"from": "team/other:two"})).status_code == 403
    assert (await ann.get(f"/v2/team/other/referrers/{secret}")).status_code == 403
    await granted(world.client, "other", "repository:pull", **of_user("ann"))
    assert (await ann.post("/v2/team/ci/app/blobs/uploads/", params=mount)).status_code == 201
    assert (await ann.post(copy, params={"from": "team/other:two"})).status_code == 201


async def test_groups_and_robots_have_grants_and_lose_them_with_themselves(world: World):
    await filled(world)
    ann = await user(world, "ann")
    registry = await world.registry()

    async def work(tx: Tx) -> tuple[int, Any]:
        group = await members.create_group(tx, "people")
        await members.join_group(tx, group, await users.find(tx, "ann"))
        some = [Grant("project", "library", Permission("label", "list"))]
        return group, await robots.create(
            tx, name="ci", owner=None, grants=some, creator=Caller("user", 1, "admin")
        )

    group, robot = await registry.db.change(work)
    machine = await world.as_(robot.name, robot.secret)
    await granted(world.client, "prod/*", *READ, member_group={"id": group})
    await granted(world.client, "ci/app", *READ, robot={"name": robot.name})
    listed = (await world.client.get(GRANTS)).json()
    assert [(one["entity_type"], one["entity_name"], one["repository"]) for one in listed] == [
        ("g", "people", "prod/*"), ("r", robot.name, "ci/app"),
    ]  # fmt: skip
    assert [await pulled(ann), await pulled(machine)] == [["prod/a"], ["ci/app"]]
    for client, seen in ((ann, "team/prod/a"), (machine, "team/ci/app")):
        assert names(await client.get(f"{PREFIX}/repositories")) == [seen]
        assert names(await client.get(f"{PROJECT}/repositories")) == [seen]
        found = (await client.get(f"{PREFIX}/search", params={"q": "team"})).json()
        assert [one["repository_name"] for one in found["repository"]] == [seen]
    assert (await world.client.delete(f"{PREFIX}/usergroups/{group}")).status_code == 200
    assert await pulled(ann) == []
    assert (await world.client.delete(f"{PREFIX}/robots/{robot.id}")).status_code == 200
    assert (await world.client.get(GRANTS)).json() == []
    await granted(world.client, "**", "repository:pull", **of_user("ann"))
    assert await pulled(ann) == list(REPOSITORIES)
    number = (await ann.get(f"{PREFIX}/users/current")).json()["user_id"]
    assert (await world.client.delete(f"{PREFIX}/users/{number}")).status_code == 200
    assert (await world.client.get(GRANTS)).json() == []


async def test_nobody_grants_what_they_do_not_have_nor_what_is_no_grant(world: World):
    await filled(world)
    outsider = await world.add_user("outsider", Role.PROJECT_ADMIN, "elsewhere")
    manager = await user(world, "manager")
    await user(world, "ann")
    role = await world.client.post(
        f"{PREFIX}/roles", json={"name": "managing", "permissions": access("member:create", "member:update")}
    )
    member = {"role_id": int(role.headers["location"].rpartition("/")[2]), **of_user("manager")}
    assert (await world.client.post(f"{PROJECT}/members", json=member)).status_code == 201
    await granted(world.client, "ci/*", "repository:pull", **of_user("manager"))

    async def status(client: httpx.AsyncClient, repository: str, *permissions: str, **whose: Any) -> int:
        body = {"repository": repository, "access": access(*permissions), **(whose or of_user("ann"))}
        return (await client.post(GRANTS, json=body)).status_code

    # By the very pattern that they have it by themselves.
    assert await status(manager, "ci/app", "repository:pull") == 403
    assert await status(manager, "ci/*", "repository:push") == 403
    assert await status(manager, "ci/*", "repository:pull") == 201
    assert await status(outsider, "ci/*", "repository:pull") == 403
    client = world.client
    assert await status(client, "ci/*", "repository:pull") == 409
    for repository in ("", "a" * 256, "Upper", "a b", "a\tb", "ä"):
        assert await status(client, repository, "repository:pull") == 400, repository
    for permissions in ((), ("member:list",), ("repository:own",), ("project:read",)):
        assert await status(client, "x", *permissions) == 400, permissions
    unknown: list[dict[str, Any]] = [
        {"member_user": {"user_id": 999999}}, {"robot": {"id": 999999}}, {"robot": {"name": "x"}}, {"robot": {}},
    ]  # fmt: skip
    for whose in unknown:
        assert await status(client, "x", "repository:pull", **whose) == 400, whose
    registry = await world.registry()
    home = await projects.find(registry.db, "library")
    assert home is not None
    some = [Grant("project", "library", Permission("label", "list"))]
    stranger = await registry.db.change(
        lambda tx: robots.create(
            tx,
            name="its",
            owner=robots.Owner(home.id, "library"),
            grants=some,
            creator=Caller("user", 1, "admin"),
        )
    )
    assert await status(client, "x", "repository:pull", robot={"id": stranger.id}) == 400
    # A grant of one project is none of another's.
    (number, *_) = [one["id"] for one in (await client.get(GRANTS)).json()]
    elsewhere = f"{PREFIX}/projects/elsewhere/grants/{number}"
    body = {"repository": "x", "access": access("repository:pull")}
    assert [
        (await client.get(elsewhere)).status_code,
        (await client.put(elsewhere, json=body)).status_code,
        (await client.delete(elsewhere)).status_code,
    ] == [404, 404, 404]


async def test_what_one_may_in_a_repository_is_told_beside_what_one_may_in_its_project(world: World):
    await filled(world)
    ann = await user(world, "ann")
    await granted(world.client, "ci/*", "repository:push", **of_user("ann"))
    number = (await ann.get(PROJECT)).json()["project_id"]

    async def told(scope: str) -> set[str]:
        path = f"{PREFIX}/users/current/permissions"
        found = (
            await ann.get(path, params={"scope": f"/project/{number}{scope}", "relative": "true"})
        ).json()
        return {f"{one['resource']}:{one['action']}" for one in found}

    assert await told("") == {".:read"}
    assert await told("/repository/ci/app") == {".:read", "repository:push"}
    assert await told("/repository/prod/a") == {".:read"}


async def test_a_robot_is_made_with_what_it_may_in_single_repositories_and_keeps_it_from_who_does_not_know_of_it(
    world: World,
):
    await filled(world)
    boss = await world.add_user("boss", Role.PROJECT_ADMIN, "team")
    path = f"{PREFIX}/robots"
    given = {"repository": "ci/app", "access": access("repository:pull", "repository:push")}
    body: dict[str, Any] = {
        "name": "ci", "level": "project", "duration": -1, "repositories": [given],
        "permissions": [{"kind": "project", "namespace": "team", "access": []}],
    }  # fmt: skip

    made = await boss.post(path, json=body)
    assert made.status_code == 201, made.text
    machine = await world.as_(made.json()["name"], made.json()["secret"])
    assert await pulled(machine) == ["ci/app"]
    begun = [
        (await machine.post(f"/v2/team/{one}/blobs/uploads/")).status_code for one in ("ci/app", "other")
    ]
    assert begun == [202, 403]
    here = f"{path}/{made.json()['id']}"
    shown = (await boss.get(here)).json()
    assert shown["repositories"] == [{"namespace": "team", **given}]
    assert shown["permissions"] == body["permissions"]
    # What Harbor's clients know of it they send back, and nothing is wider by that.
    known = {name: one for name, one in shown.items() if name != "repositories"}
    assert (await boss.put(here, json=known)).status_code == 200
    assert await pulled(machine) == ["ci/app"]
    wider = {**known, "repositories": [{"repository": "ci/*", "access": access("repository:pull")}]}
    assert (await boss.put(here, json=wider)).status_code == 200
    assert await pulled(machine) == ["ci/app", "ci/app2"]
    # It has to have something.
    assert (await boss.put(here, json={**known, "repositories": []})).status_code == 400
    for wrong in (
        {"repository": "ci/app", "namespace": "library", "access": access("repository:pull")},
        {"repository": "ci/app", "access": access("member:list")},
        {"repository": "", "access": access("repository:pull")},
    ):
        answer = await boss.post(path, json={**body, "name": "no", "repositories": [wrong]})
        assert answer.status_code in {400, 403}, wrong


async def test_a_robot_gives_robots_in_single_repositories_no_more_than_it_has_there(world: World):
    await filled(world)
    path = f"{PREFIX}/robots"
    making = [{"kind": "project", "namespace": "team", "access": access("robot:create")}]
    pulls = {"namespace": "team", "repository": "ci/*", "access": access("repository:pull")}
    maker = await world.client.post(
        path,
        json={
            "name": "maker",
            "level": "system",
            "duration": -1,
            "permissions": making,
            "repositories": [pulls],
        },
    )
    machine = await world.as_(maker.json()["name"], maker.json()["secret"])
    body = {
        "level": "project", "duration": 1, "permissions": [{"kind": "project", "namespace": "team", "access": []}],
    }  # fmt: skip

    async def status(name: str, **place: Any) -> int:
        return (
            await machine.post(path, json={**body, "name": name, "repositories": [pulls | place]})
        ).status_code

    assert await status("same") == 201
    assert await status("wider", repository="**") == 403
    assert await status("more", access=access("repository:push")) == 403


async def test_grants_go_with_a_project_that_is_renamed(world: World):
    await filled(world)
    ann = await user(world, "ann")
    await granted(world.client, "prod/**", *READ, **of_user("ann"))
    assert await pulled(ann) == ["prod/a", "prod/b/c"]

    renamed = await world.client.post(f"{PROJECT}/rename", json={"name": "crew"})

    assert renamed.status_code in {200, 201}, renamed.text
    seen = ["crew/prod/a", "crew/prod/b/c"]
    assert names(await ann.get(f"{PREFIX}/repositories")) == seen
    assert names(await ann.get(f"{PREFIX}/projects/crew/repositories")) == seen
    assert [
        (await ann.get(f"/v2/{one}/manifests/one")).status_code
        for one in ("crew/prod/a", "crew/ci/app", "team/prod/a", "team/ci/app")
    ] == [200, 403, 200, 403]
