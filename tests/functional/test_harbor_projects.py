"""Projects through Harbor's API: made, listed, shown, changed and deleted; their metadata, quotas, labels and logs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from moorage.api.harbor.operations import PREFIX
from moorage.db import Statement
from moorage.db.tables import outbox
from moorage.identity import accounts, robots
from moorage.identity.callers import Caller
from moorage.identity.roles import Permission, Role
from moorage.oci.digests import Digest
from moorage.oci.names import RepositoryName
from moorage.registry import relay, repositories
from tests.functional.test_work import push as push_image
from tests.worlds import World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

_OUTBOX = Statement(select(outbox.c.kind, outbox.c.body))


async def get(client: httpx.AsyncClient, path: str, **query: Any) -> Any:
    """Get what must be there."""
    answer = await client.get(f"{PREFIX}{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def make(client: httpx.AsyncClient, name: str, **more: Any) -> int:
    """Make a project, and give its number."""
    answer = await client.post(f"{PREFIX}/projects", json={"project_name": name, **more})
    assert (answer.status_code, answer.content) == (201, b""), answer.text
    return int(answer.headers["location"].rpartition("/")[2])


async def names(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """List projects' names."""
    return [one["name"] for one in await get(client, "/projects", **query)]


async def refused(client: httpx.AsyncClient, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Make a request that is refused, and give the status and the code."""
    answer = await client.request(method, f"{PREFIX}{path}", json=body)
    return answer.status_code, answer.json()["errors"][0]["code"]


async def test_a_project_lives_from_its_order_to_the_trash(world: World):
    admin = world.client
    number = await make(
        admin,
        "team",
        metadata={"public": "true", "prevent_vul": "true", "unknown": "x"},
        storage_limit=1 << 30,
    )
    shown = await get(admin, f"/projects/{number}")

    assert (shown["name"], shown["project_id"], shown["owner_name"], shown["repo_count"]) == (
        "team",
        number,
        "admin",
        0,
    )
    assert shown["metadata"] == {"public": "true", "prevent_vul": "true"}
    assert shown["cve_allowlist"]["items"] == []
    assert shown["current_user_role_id"] == 1
    assert (await admin.head(f"{PREFIX}/projects?project_name=team")).status_code == 200
    assert (await admin.head(f"{PREFIX}/projects?project_name=other")).status_code == 404
    assert await refused(admin, "POST", "/projects", {"project_name": "team"}) == (409, "CONFLICT")
    for wrong in (
        {"project_name": "Team"},
        {"project_name": "a", "metadata": {"public": "maybe"}},
        {"project_name": "a", "storage_limit": -2},
    ):
        assert await refused(admin, "POST", "/projects", wrong) == (400, "BAD_REQUEST")
    assert await refused(admin, "POST", "/projects", {"project_name": 1}) == (422, "UNPROCESSABLE_ENTITY")
    assert await refused(admin, "POST", "/projects", {"project_name": "a", "registry_id": 1}) == (
        412,
        "PRECONDITION",
    )

    change = {
        "metadata": {"public": "false", "severity": "HIGH"},
        "cve_allowlist": {"items": [{"cve_id": "CVE-2026-1"}], "expires_at": 99},
    }
    assert (await admin.put(f"{PREFIX}/projects/team", json=change)).status_code == 200
    shown = await get(admin, "/projects/team")
    assert shown["metadata"] == {"public": "false", "prevent_vul": "true", "severity": "high"}
    assert (shown["cve_allowlist"]["items"], shown["cve_allowlist"]["expires_at"]) == (
        [{"cve_id": "CVE-2026-1"}],
        99,
    )

    assert await get(admin, "/projects/team/_deletable") == {"deletable": True}
    robot = await _robot(world, number, "team", "repository:pull")
    assert (await admin.delete(f"{PREFIX}/projects/team")).status_code == 200
    assert await refused(admin, "GET", "/projects/team") == (404, "NOT_FOUND")
    assert (await robot.get("/v2/")).status_code == 401
    assert await make(admin, "team") != number
    kinds = {row.kind for row in await (await world.registry()).db.all(_OUTBOX)}
    assert {"project.create", "project.update", "project.delete"} <= kinds


async def test_a_project_with_something_in_it_is_not_deleted(world: World):
    number = await make(world.client, "team")
    await push_image(world, "team/app")
    assert await refused(world.client, "DELETE", f"/projects/{number}") == (412, "PRECONDITION")
    assert (await get(world.client, "/projects/team/_deletable"))["deletable"] is False
    await make(world.client, "begun")
    registry = await world.registry()
    await registry.db.change(lambda tx: repositories.begin(tx, RepositoryName.parse("begun/app")))
    assert await refused(world.client, "DELETE", "/projects/begun") == (412, "PRECONDITION")
    summary = await get(world.client, "/projects/team/summary")
    used = (await get(world.client, f"/quotas/{number}"))["used"]
    roles = ("project_admin", "maintainer", "developer", "guest", "limited_guest")
    assert summary.pop("quota") == {"hard": {"storage": -1}, "used": used}
    assert summary == {"repo_count": 1, **{f"{role}_count": int(role == "project_admin") for role in roles}}


async def test_everybody_sees_what_they_may_and_no_more(world: World):
    for name, public in (("open", "true"), ("team", "false"), ("secret", "false")):
        await make(world.client, name, metadata={"public": public})
    guest = await world.add_user("guest", Role.GUEST, "team")
    nobody = await world.as_(None)
    registry = await world.registry()
    number = (await get(world.client, "/projects/team"))["project_id"]
    robot = await _robot(world, number, "team", "repository:pull")
    assert registry

    assert await names(world.client) == ["library", "open", "secret", "team"]
    assert await names(guest) == await names(robot) == ["open", "team"]
    assert await names(nobody) == ["open"]
    assert await names(guest, public="false") == ["team"]
    assert await names(nobody, public="false") == []
    assert await names(world.client, name="e", sort="-name", page_size=2) == ["team", "secret"]
    assert await names(world.client, owner="admin") == ["open", "secret", "team"]
    assert await names(world.client, q="name={open team}") == ["open", "team"]
    assert await names(world.client, q="name=~ecre,public=false") == ["secret"]
    assert await names(world.client, q=f"project_id=[{number}~]", sort="project_id") == ["team", "secret"]
    assert await names(world.client, q="creation_time=[2020-01-01T00:00:00~2020-01-02T00:00:00]") == []
    assert await refused(world.client, "GET", "/projects?q=project_id=x") == (400, "BAD_REQUEST")
    roles = {one["name"]: one["current_user_role_ids"] for one in await get(guest, "/projects")}
    assert roles == {"open": [], "team": [3]}
    for one in ("secret", "nothing"):
        assert await refused(guest, "GET", f"/projects/{one}") == (403, "FORBIDDEN")
        assert await refused(nobody, "GET", f"/projects/{one}") == (401, "UNAUTHORIZED")
    found = await get(guest, "/search", q="e")
    assert [one["name"] for one in found["project"]] == ["open", "team"]
    assert await get(nobody, "/search", q="team") == {"project": [], "repository": []}


async def test_a_page_reads_as_much_however_many_there_are(world: World, monkeypatch: pytest.MonkeyPatch):
    registry = await world.registry()
    asked: list[str] = []
    kind = type(registry.db)
    whole = kind.all

    async def counted(self: Any, statement: Statement, /, **params: object) -> list[Any]:
        asked.append(statement.where)
        return await whole(self, statement, **params)

    monkeypatch.setattr(kind, "all", counted)

    async def page(number: int) -> httpx.Response:
        asked.clear()
        return await world.client.get(f"{PREFIX}/projects", params={"page_size": 3, "page": number})

    for name in ("a", "b"):
        await make(world.client, name)
    await page(1)
    few = list(asked)
    for name in ("c", "d", "e", "f", "g"):
        await make(world.client, name)
    listed = await page(2)

    assert asked == few
    assert len(asked) <= 8
    assert [one["name"] for one in listed.json()] == ["d", "e", "f"]
    assert listed.headers["x-total-count"] == "8"
    assert listed.headers["link"] == (
        '</api/v2.0/projects?page=1&page_size=3>; rel="prev" , </api/v2.0/projects?page=3&page_size=3>; rel="next"'
    )


async def test_who_may_make_projects_is_set(world: World):
    member = await world.add_user("someone", Role.DEVELOPER)
    admin = world.client
    system = await _robot(world, None, "/", "project:create")
    number = await make(member, "mine", storage_limit=5)
    assert (await get(member, "/projects/mine"))["current_user_role_ids"] == [1]
    assert (await get(admin, f"/quotas/{number}"))["hard"] == {"storage": -1}
    set_ = {"project_creation_restriction": "adminonly", "storage_per_project": 1000, "unknown": 1}
    assert (await admin.put(f"{PREFIX}/configurations", json=set_)).status_code == 200

    assert await refused(member, "POST", "/projects", {"project_name": "more"}) == (403, "FORBIDDEN")
    assert (await get(admin, f"/quotas/{await make(system, 'robots')}"))["hard"] == {"storage": 1000}
    of_project = await _robot(world, number, "mine", "repository:pull")
    assert await refused(of_project, "POST", "/projects", {"project_name": "more"}) == (403, "FORBIDDEN")
    assert await refused(await world.as_(None), "POST", "/projects", {"project_name": "more"}) == (
        401,
        "UNAUTHORIZED",
    )
    found = await get(admin, "/configurations")
    assert found["project_creation_restriction"] == {"value": "adminonly", "editable": True}
    assert found["auth_mode"] == {"value": "db_auth", "editable": True}
    assert await refused(admin, "PUT", "/configurations", {"read_only": True}) == (412, "PRECONDITION")
    assert (await admin.put(f"{PREFIX}/configurations", json={"read_only": False})).status_code == 200
    assert await refused(admin, "PUT", "/configurations", {"session_timeout": 0}) == (400, "BAD_REQUEST")
    assert await refused(member, "GET", "/configurations") == (403, "FORBIDDEN")
    assert await refused(admin, "GET", "/internalconfig") == (401, "UNAUTHORIZED")


async def test_what_is_set_for_a_project_is_set_one_by_one(world: World):
    number = await make(world.client, "team")
    path = f"/projects/{number}/metadatas/"
    assert (await world.client.post(f"{PREFIX}{path}", json={"auto_scan": "1"})).status_code == 200
    assert await get(world.client, path) == {"public": "false", "auto_scan": "true"}
    assert await refused(world.client, "POST", path, {"auto_scan": "true"}) == (409, "CONFLICT")
    assert await refused(world.client, "POST", path, {"a": "1", "b": "2"}) == (400, "BAD_REQUEST")
    assert await refused(world.client, "POST", path, {"nothing": "1"}) == (400, "BAD_REQUEST")
    assert (
        await world.client.put(f"{PREFIX}{path}auto_scan", json={"auto_scan": "false"})
    ).status_code == 200
    assert (await world.client.put(f"{PREFIX}{path}public", json={"public": "true"})).status_code == 200
    assert await get(world.client, f"{path}auto_scan") == {"auto_scan": "false"}
    assert (await world.client.delete(f"{PREFIX}{path}auto_scan")).status_code == 200
    assert await refused(world.client, "DELETE", f"{path}auto_scan") == (404, "NOT_FOUND")
    assert await get(world.client, path) == {"public": "true"}


async def test_quotas_are_listed_by_use_and_limit_pushes(world: World):
    small, large = await make(world.client, "small"), await make(world.client, "large")
    await push_image(world, "small/app")
    listed = await get(world.client, "/quotas", sort="-used.storage")
    assert (listed[0]["id"], listed[0]["ref"]) == (
        small,
        {"id": small, "name": "small", "owner_name": "admin"},
    )
    assert [one["id"] for one in await get(world.client, "/quotas", reference_id=large)] == [large]
    assert (
        await world.client.put(f"{PREFIX}/quotas/{large}", json={"hard": {"storage": 1}})
    ).status_code == 200
    begun = await world.client.post("/v2/large/app/blobs/uploads/")
    too_much = await world.client.put(
        begun.headers["location"], params={"digest": str(Digest.of(b"much"))}, content=b"much"
    )
    assert (too_much.status_code, too_much.json()["errors"][0]["code"]) == (403, "DENIED")
    wrongs: list[Any] = [{}, {"hard": {}}, {"hard": {"storage": 0}}, {"hard": {"count": 1}}]
    for wrong in wrongs:
        assert await refused(world.client, "PUT", f"/quotas/{large}", wrong) == (400, "BAD_REQUEST")
    assert await refused(world.client, "GET", "/quotas/99999") == (404, "NOT_FOUND")
    owner = await world.add_user("owner", Role.PROJECT_ADMIN, "large")
    assert await refused(owner, "PUT", f"/quotas/{large}", {"hard": {"storage": -1}}) == (403, "FORBIDDEN")


async def test_labels_are_the_registrys_or_a_projects(world: World):
    admin, number = world.client, await make(world.client, "team")
    boss = await world.add_user("boss", Role.PROJECT_ADMIN, "team")
    stranger = await world.add_user("stranger", Role.PROJECT_ADMIN, "other")
    ids = []
    for who, body in (
        (admin, {"name": "gold", "scope": "g", "color": "#FFF"}),
        (boss, {"name": "new", "scope": "p", "project_id": number}),
    ):
        made = await who.post(f"{PREFIX}/labels", json=body)
        assert made.status_code == 201, made.text
        assert (await who.post(f"{PREFIX}/labels", json=body)).status_code == 409
        ids.append(int(made.headers["location"].rpartition("/")[2]))
    assert [one["name"] for one in await get(stranger, "/labels", scope="g")] == ["gold"]
    assert [one["name"] for one in await get(boss, "/labels", scope="p", project_id=number)] == ["new"]
    assert await refused(stranger, "GET", f"/labels?scope=p&project_id={number}") == (403, "FORBIDDEN")
    assert await refused(stranger, "GET", "/labels?scope=p&project_id=99999") == (403, "FORBIDDEN")
    assert await refused(admin, "GET", "/labels?scope=x") == (400, "BAD_REQUEST")
    for method in ("GET", "PUT", "DELETE"):
        assert await refused(stranger, method, f"/labels/{ids[1]}", {"name": "x"}) == (403, "FORBIDDEN")
    assert await refused(boss, "PUT", f"/labels/{ids[0]}", {"name": "x"}) == (403, "FORBIDDEN")
    assert (
        await boss.put(f"{PREFIX}/labels/{ids[1]}", json={"name": "newer", "description": "d"})
    ).status_code == 200
    shown = await get(boss, f"/labels/{ids[1]}")
    assert (shown["name"], shown["description"], shown["scope"], shown["project_id"]) == (
        "newer",
        "d",
        "p",
        number,
    )
    assert (await boss.delete(f"{PREFIX}/labels/{ids[1]}")).status_code == 200
    assert await refused(boss, "GET", f"/labels/{ids[1]}") == (404, "NOT_FOUND")


async def test_the_log_tells_who_did_what(world: World):
    admin = world.client
    await make(admin, "team")
    await push_image(world, "team/app")
    await (await admin.get("/v2/team/app/manifests/one")).aread()
    boss = await world.add_user("boss", Role.PROJECT_ADMIN, "team")
    await world.add_user("guest", Role.GUEST, "team")
    registry = await world.registry()
    await registry.gathered.flush()
    await relay.drain(registry.db, registry.entry.uuid, {}, _never)

    log = await get(admin, "/audit-logs", q="resource_type=artifact", sort="op_time")
    told = [(one["username"], one["operation"], one["resource"].partition("@")[0]) for one in log]
    assert told[:2] == [("admin", "create", "team/app"), ("admin", "pull", "team/app")], told
    assert [
        one["operation"] for one in await get(admin, "/projects/team/logs", q="resource_type=project")
    ] == ["create"]
    assert {one["operation_result"] for one in await get(boss, "/projects/team/auditlog-exts")} == {True}
    assert {one["resource"].partition("/")[0] for one in await get(boss, "/audit-logs")} == {"team"}
    assert {"event_type": "create_project"} in await get(admin, "/auditlog-exts/events")
    stranger = await world.add_user("other", Role.GUEST, "team")
    assert await get(stranger, "/audit-logs") == []
    assert await refused(stranger, "GET", "/projects/team/logs") == (403, "FORBIDDEN")


async def test_the_registry_tells_of_itself(world: World):
    nobody, member = await world.as_(None), await world.add_user("someone", Role.GUEST, "team")
    await make(world.client, "open", public=True)
    assert (await nobody.get(f"{PREFIX}/ping")).text == "Pong"
    health = await get(nobody, "/health")
    assert (health["status"], {one["name"] for one in health["components"]}) == (
        "healthy",
        {"core", "database", "registry"},
    )
    assert await get(nobody, "/systeminfo") == {
        "auth_mode": "db_auth", "primary_auth_mode": False, "self_registration": False, "banner_message": "",
    }  # fmt: skip
    said = await world.client.put(f"{PREFIX}/configurations", json={"banner_message": "hello"})
    assert (said.status_code, (await get(nobody, "/systeminfo"))["banner_message"]) == (200, "hello")
    told = await get(member, "/systeminfo")
    assert told["harbor_version"].startswith("v2.15.2-")
    assert await refused(nobody, "GET", "/systeminfo/getcert") == (404, "NOT_FOUND")
    assert await get(world.client, "/systeminfo/volumes") == {"storage": []}
    assert await get(world.client, "/statistics") == {
        "public_project_count": 1, "public_repo_count": 0, "total_project_count": 3, "total_repo_count": 0,
        "total_storage_consumption": 0, "private_project_count": 2, "private_repo_count": 0,
    }  # fmt: skip
    assert (await get(member, "/statistics"))["private_project_count"] == 1
    every = await get(world.client, "/permissions")
    assert (len(every["system"]), len(every["project"])) == (70, 70)
    assert await refused(member, "GET", "/permissions") == (403, "FORBIDDEN")
    assert (
        await world.client.put(f"{PREFIX}/system/CVEAllowlist", json={"items": [{"cve_id": "CVE-1"}]})
    ).status_code == 200
    assert (await get(member, "/system/CVEAllowlist"))["items"] == [{"cve_id": "CVE-1"}]
    assert await refused(member, "PUT", "/system/CVEAllowlist", {"items": []}) == (403, "FORBIDDEN")


async def _robot(world: World, project: int | None, name: str, *permissions: str) -> httpx.AsyncClient:
    """Make a robot of a project, or (None) of the system, and give its client."""
    registry = await world.registry()
    kind = "project" if project else "system"
    grants = [accounts.Grant(kind, name, Permission(*one.split(":"))) for one in permissions]
    owner = robots.Owner(project, name) if project else None
    made = await registry.db.change(
        lambda tx: robots.create(
            tx, name="ci", owner=owner, grants=grants, creator=Caller("user", 1, "admin")
        )
    )
    return await world.as_(made.name, made.secret)


async def _never(*_: object) -> None:
    raise AssertionError("no job waits for these events")
