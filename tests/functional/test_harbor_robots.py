"""Robots through Harbor's API: made, shown, changed, given new secrets and deleted, in the registry and in projects."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from moorage.api.harbor.operations import PREFIX
from moorage.identity import accounts, robots
from moorage.identity.accounts import Grant
from moorage.identity.callers import Caller
from moorage.identity.roles import Permission, Role
from moorage.registry import projects
from tests.worlds import World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

ROBOTS = f"{PREFIX}/robots"
CHOSEN = "Chosen-by-me-1"
PULL = {"resource": "repository", "action": "pull"}


def of_project(
    name: str = "ci", project: str = "library", *access: dict[str, str], **more: Any
) -> dict[str, Any]:
    """Say what makes a robot of a project."""
    given = [{"kind": "project", "namespace": project, "access": list(access or (PULL,))}]
    return {"name": name, "level": "project", "duration": -1, "permissions": given} | more


def of_system(name: str = "ci", *given: tuple[str, str, str, str], **more: Any) -> dict[str, Any]:
    """Say what makes a robot of the registry: kind, namespace, resource and action of each permission."""
    rows = given or (("project", "*", "repository", "pull"),)
    permissions = [
        {"kind": kind, "namespace": where, "access": [{"resource": resource, "action": action}]}
        for kind, where, resource, action in rows
    ]
    return {"name": name, "level": "system", "duration": -1, "permissions": permissions} | more


async def made(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(ROBOTS, json=body)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{ROBOTS}/{told['id']}"
    return told


async def pulls(world: World, name: str, secret: str) -> bool:
    """Say whether a robot signs in to pull from the library."""
    client = await world.as_(name, secret)
    scope = {"service": "harbor-registry", "scope": "repository:library/app:pull"}
    return (await client.get("/service/token", params=scope)).status_code == 200


async def number_of(world: World, project: str) -> int:
    found = await projects.find((await world.registry()).db, project)
    assert found is not None
    return found.id


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


async def test_a_robot_of_a_project_is_made_shown_changed_and_deleted(world: World):
    boss = await world.add_user("boss", Role.PROJECT_ADMIN)
    told = await made(boss, of_project(duration=30, description="builds"))

    assert (told["name"], sorted(told)) == (
        "robot$library+ci",
        ["creation_time", "expires_at", "id", "name", "secret"],
    )
    assert await pulls(world, told["name"], told["secret"])
    path = f"{ROBOTS}/{told['id']}"
    seen = (await boss.get(path)).json()
    assert (seen["level"], seen["duration"], seen["expires_at"]) == ("project", 30, told["expires_at"])
    assert (seen["editable"], seen["disable"], seen["creator_type"]) == (True, False, "local")
    access = [PULL | {"effect": "allow"}]
    assert seen["permissions"] == [{"kind": "project", "namespace": "library", "access": access}]
    assert "secret" not in seen
    changed = seen | {"disable": True, "description": "", "duration": -1}
    changed["permissions"][0]["access"].append({"resource": "tag", "action": "list"})
    assert (await boss.put(path, json=changed)).status_code == 200
    now = (await boss.get(path)).json()
    assert (now["disable"], now["expires_at"], len(now["permissions"][0]["access"])) == (True, -1, 2)
    assert not await pulls(world, told["name"], told["secret"])
    assert (await boss.put(path, json=changed | {"disable": False, "duration": 7})).status_code == 200
    assert await pulls(world, told["name"], told["secret"])
    assert (await boss.get(path)).json()["expires_at"] == told["expires_at"] - 23 * 86_400
    assert (await boss.delete(path)).status_code == 200
    assert not await pulls(world, told["name"], told["secret"])
    assert [refusal(await world.client.get(path)), refusal(await boss.get(path))] == [
        (404, "NOT_FOUND"),
        (403, "FORBIDDEN"),
    ]
    assert (await made(boss, of_project()))["id"] > told["id"]


async def test_what_breaks_a_rule_is_refused(world: World):
    await made(world.client, of_project())
    wrong = [
        of_project("Upper"),
        of_project("a+b"),
        of_project("grant-me"),
        of_project("x", duration=0),
        of_project("x", duration=-2),
        of_project("x", level="galaxy"),
        of_project("x", permissions=[]),
        of_project("x", permissions=[{"kind": "project", "namespace": "library"}]),
        of_project("x", permissions=of_project()["permissions"] * 2),
        of_project("x", "library", {"resource": "robot", "action": "update"}),
        of_project("x", "library", PULL | {"effect": "deny"}),
        of_project("x", secret="weak"),
        of_project("x", permissions=of_system("x", ("system", "/", "catalog", "read"))["permissions"]),
        of_system("x", ("galaxy", "/", "catalog", "read")),
        of_system("x", ("system", "library", "catalog", "read")),
        of_system("x", ("system", "/", "repository", "pull")),
        of_system("x", ("project", "nothing", "repository", "pull")),
    ]

    for body in wrong:
        answer = await world.client.post(ROBOTS, json=body)
        assert answer.status_code in {400, 404}, (body, answer.text)
    assert refusal(await world.client.post(ROBOTS, json=of_project())) == (409, "CONFLICT")
    assert refusal(await world.client.post(ROBOTS, json=of_project("x", "nothing"))) == (404, "NOT_FOUND")
    # What Harbor's clients leave out.
    await made(world.client, of_system("usual", ("system", "", "catalog", "read"), duration=None))


async def test_robots_are_listed_where_they_belong(world: World):
    await world.add_project("other")
    for name in ("b", "a", "c"):
        await made(world.client, of_project(name))
    await made(world.client, of_project("z", "other"))
    await made(world.client, of_system("machine"))
    library = await number_of(world, "library")

    async def names(query: str) -> tuple[list[str], str]:
        answer = await world.client.get(f"{ROBOTS}?{query}")
        assert answer.status_code == 200, answer.text
        assert all(one["permissions"] for one in answer.json())
        return [one["name"] for one in answer.json()], answer.headers["x-total-count"]

    of_library = f"q=Level%3Dproject%2CProjectID%3D{library}"
    assert await names("") == (["robot$machine"], "1")
    assert await names("q=Level%3Dsystem") == (["robot$machine"], "1")
    assert await names(f"{of_library}&page_size=2") == (["robot$library+a", "robot$library+b"], "3")
    assert await names(f"{of_library}&sort=-name&page_size=1") == (["robot$library+c"], "3")
    assert await names(f"{of_library}%2Cname%3Dlibrary%2Bb".replace("%2B", "%252B")) == (
        ["robot$library+b"],
        "1",
    )
    for query in ("q=Level%3Dproject", "q=Level%3Dx", "q=Level%3Dproject%2CProjectID%3Dx"):
        assert refusal(await world.client.get(f"{ROBOTS}?{query}")) == (400, "BAD_REQUEST")


async def test_a_new_secret_takes_the_place_of_the_old_at_once_or_after_a_while(world: World):
    told = await made(world.client, of_project())
    name, path = told["name"], f"{ROBOTS}/{told['id']}"

    second = (await world.client.patch(path, json={})).json()["secret"]
    assert [await pulls(world, name, one) for one in (told["secret"], second)] == [False, True]
    third = (await world.client.patch(path, json={"overlap": 3600})).json()["secret"]
    assert [await pulls(world, name, one) for one in (second, third)] == [True, True]
    assert "old_secret_until" in (await world.client.get(path)).json()
    assert (await world.client.patch(path, json={"secret": CHOSEN, "overlap": 3600})).json() == {}
    assert [await pulls(world, name, one) for one in (second, third, CHOSEN)] == [False, True, True]
    # A chosen secret is guessed as a password is, so it is kept as one.
    account = await accounts.by_subject((await world.registry()).db, "robot", told["id"])
    assert account is not None
    assert account.secret.startswith(b"$argon2id$")
    fourth = (await world.client.patch(path, json={"overlap": 60})).json()["secret"]
    assert [await pulls(world, name, one) for one in (CHOSEN, fourth, "Wrong-one-1")] == [True, True, False]
    assert (await world.client.patch(path, json={"secret": ""})).json()["secret"] != fourth
    assert not await pulls(world, name, CHOSEN)
    for body in ({"secret": "weak"}, {"overlap": -1}, {"overlap": 10**9}):
        assert refusal(await world.client.patch(path, json=body)) == (400, "BAD_REQUEST"), body
    chosen = await made(world.client, of_project("second", secret=CHOSEN))
    assert chosen["secret"] == CHOSEN
    assert await pulls(world, chosen["name"], CHOSEN)


async def test_a_robot_makes_robots_that_may_no_more_than_itself(world: World):
    await world.add_project("other")
    creates = ("project", "library", "robot", "create")
    rights = [creates, ("project", "library", "repository", "pull"), ("project", "*", "tag", "list"),
              ("system", "/", "robot", "create"), ("system", "/", "robot", "read")]  # fmt: skip
    maker = await made(world.client, of_system("maker", *rights))
    machine = await world.as_(maker["name"], maker["secret"])

    child = await made(machine, of_project("child"))
    seen = (await world.client.get(f"{ROBOTS}/{child['id']}")).json()
    assert (seen["creator_type"], seen["creator_ref"]) == ("robot", maker["id"])
    await made(
        machine, of_system("lister", ("project", "other", "tag", "list"), ("project", "*", "tag", "list"))
    )
    for body in (
        of_project("more", "library", {"resource": "repository", "action": "push"}),
        of_system("more", ("project", "*", "repository", "pull")),
        of_system("more", ("project", "other", "repository", "pull")),
        of_system("more", ("system", "/", "robot", "delete")),
    ):
        assert refusal(await machine.post(ROBOTS, json=body)) == (403, "FORBIDDEN"), body
    assert refusal(await machine.post(ROBOTS, json=of_project("more", "other"))) == (403, "FORBIDDEN")
    # No robot changes one, itself neither.
    for number in (maker["id"], child["id"]):
        assert (await machine.patch(f"{ROBOTS}/{number}", json={})).status_code == 403


async def test_whoever_may_not_is_refused_alike_for_what_is_there_and_what_is_not(world: World):
    await world.add_project("other")
    ours = await made(world.client, of_project())
    others = await made(world.client, of_project("ci", "other"))
    systems = await made(world.client, of_system())
    boss = await world.add_user("boss", Role.PROJECT_ADMIN)
    guest = await world.add_user("limited", Role.LIMITED_GUEST)
    anonymous = await world.as_(None)
    body = of_project()

    for who, status, numbers in (
        (anonymous, 401, (ours["id"], others["id"], systems["id"], 99999)),
        (guest, 403, (ours["id"], others["id"], systems["id"], 99999)),
        (boss, 403, (others["id"], systems["id"], 99999)),
    ):
        for number in numbers:
            path = f"{ROBOTS}/{number}"
            answers = [
                await who.request(method, path, json=body) for method in ("GET", "PUT", "PATCH", "DELETE")
            ]
            assert {one.status_code for one in answers} == {status}
    library = await number_of(world, "library")
    of = "?q=Level%3Dproject%2CProjectID%3D"
    queries = ("", f"{of}{library}", f"{of}99999")
    bodies = (of_project("x"), of_project("x", "nothing"), of_system("x"))
    for who, status in ((anonymous, 401), (guest, 403)):
        answers = [await who.get(f"{ROBOTS}{query}") for query in queries]
        answers += [await who.post(ROBOTS, json=one) for one in bodies]
        assert {one.status_code for one in answers} == {status}
    assert (await boss.get(f"{ROBOTS}{of}{library}")).status_code == 200


async def test_the_providers_robots_are_seen_and_ended_and_not_changed(world: World):
    registry = await world.registry()
    grants = [Grant("project", "*", Permission("repository", "pull"))]
    until = registry.db.now() + 3_600_000_000
    told = await registry.db.change(
        lambda tx: robots.create(
            tx, name="grant-77", owner=None, grants=grants, creator=Caller("anonymous", 0, "x"), until=until
        )
    )
    path = f"{ROBOTS}/{told.id}"

    seen = (await world.client.get(path)).json()
    assert (seen["editable"], seen["expires_at"]) == (False, until // 1_000_000)
    refused = [await world.client.patch(path, json={}), await world.client.put(path, json=seen)]
    assert [refusal(one) for one in refused] == [(403, "FORBIDDEN")] * 2
    assert (await world.client.delete(path)).status_code == 200
    assert not await pulls(world, told.name, told.secret)


async def test_robots_are_called_what_the_registry_has_them_called(world: World):
    before = await made(world.client, of_project("before"))
    assert before["name"] == "robot$library+before"

    for refused in ("", "ci", "ci-", "a b$", "x" * 32 + "$", "\u00e9$"):
        answer = await world.client.put(f"{PREFIX}/configurations", json={"robot_name_prefix": refused})
        assert (answer.status_code, "robot_name_prefix" in answer.text) == (400, True), refused
    answer = await world.client.put(f"{PREFIX}/configurations", json={"robot_name_prefix": "ci#"})
    assert answer.status_code == 200

    after = await made(world.client, of_project("after"))
    assert after["name"] == "ci#library+after"
    for robot, name in ((before, "library+before"), (after, "library+after")):
        assert await pulls(world, f"ci#{name}", robot["secret"])
        assert await pulls(world, f"robot${name}", robot["secret"])
        assert not await pulls(world, f"ci#{name}", "wrong")
        assert not await pulls(world, f"x#{name}", robot["secret"])
        assert not await pulls(world, name, robot["secret"])
    query = {"q": f"Level=project,ProjectID={await number_of(world, 'library')},name=ci#library%2Bafter"}
    found = (await world.client.get(ROBOTS, params=query)).json()
    assert [one["name"] for one in found] == ["ci#library+after"]

    # One that begins as the usual one does.
    await world.client.put(f"{PREFIX}/configurations", json={"robot_name_prefix": "robot$ci$"})
    assert await pulls(world, "robot$ci$library+after", after["secret"])
    assert await pulls(world, "robot$library+after", after["secret"])

    back = await world.client.put(f"{PREFIX}/configurations", json={"robot_name_prefix": "robot$"})
    assert back.status_code == 200
    assert not await pulls(world, "ci#library+after", after["secret"])
    shown = (await world.client.get(f"{ROBOTS}/{after['id']}")).json()
    assert shown["name"] == "robot$library+after"


async def test_who_enters_by_a_grant_is_always_known_by_the_providers_name(world: World):
    await world.client.put(f"{PREFIX}/configurations", json={"robot_name_prefix": "ci#"})
    db = (await world.registry()).db
    creator, given = Caller("user", 1, "x"), [Grant("project", "*", Permission("repository", "pull"))]
    until = db.now() + 3_600_000_000
    await db.change(
        lambda tx: robots.create(
            tx, name="grant-1", owner=None, grants=given, creator=creator, until=until, days=-1
        )
    )

    found = await accounts.by_name(db, "robot$grant-1")

    assert found is not None
    assert found.caller.name == "robot$grant-1"
