"""What crosses from one tenant to another, and what outlives its revocation: each way there is, on a warm cache and a cold one.

One table names what stands in a project or a registry, and every operation that is given its number or name; it is asked under
another project, by another project's administrator, and in another registry. The other table names each way to get to a
repository, and each way to lose it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from moorage.api.harbor.operations import PREFIX
from moorage.identity import members
from moorage.identity.roles import Role
from tests.functional.test_work import push
from tests.worlds import PASSWORD, World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

PULL = [{"resource": "repository", "action": "pull"}, {"resource": "repository", "action": "read"}]
MANIFEST = "/v2/alpha/app/manifests/one"
REPOSITORY = f"{PREFIX}/projects/alpha/repositories/app"
IMAGE = f"{REPOSITORY}/artifacts/one"


@dataclass(frozen=True, slots=True)
class House:
    """Two projects, each with its administrator, and what stands in the first."""

    world: World
    admin: httpx.AsyncClient
    alpha: httpx.AsyncClient
    beta: httpx.AsyncClient
    things: dict[str, int]
    before: dict[str, Any]

    async def seen(self) -> dict[str, Any]:
        """Read all that stands there, as its administrator sees it."""
        n = self.things
        paths = {
            "member": f"{PREFIX}/projects/alpha/members/{n['member']}",
            "grant": f"{PREFIX}/projects/alpha/grants/{n['grant']}",
            "role": f"{PREFIX}/roles/{n['role']}",
            "robot": f"{PREFIX}/robots/{n['robot']}",
            "label": f"{PREFIX}/labels/{n['label']}",
            "artifact": f"{IMAGE}?with_label=true",
            "metadata": f"{PREFIX}/projects/alpha/metadatas/public",
        }
        found = {}
        for name, path in paths.items():
            answer = await self.alpha.get(path)
            assert answer.status_code == 200, (name, answer.text)
            found[name] = answer.json()
        return found


async def number(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> int:
    """Make something, and give its number."""
    answer = await client.post(f"{PREFIX}{path}", json=body)
    assert answer.status_code == 201, answer.text
    return int(answer.headers["location"].rpartition("/")[2])


async def built(world: World) -> House:
    alpha = await world.add_user("alpha-boss", Role.PROJECT_ADMIN, "alpha")
    beta = await world.add_user("beta-boss", Role.PROJECT_ADMIN, "beta")
    await world.add_user("ann", Role.GUEST, "beta")
    await push(world, "alpha/app")
    await push(world, "beta/app")
    home = (await alpha.get(f"{PREFIX}/projects/alpha")).json()["project_id"]
    given = [{"kind": "project", "namespace": "alpha", "access": PULL}]
    things = {
        "project": home,
        "member": await number(
            alpha, "/projects/alpha/members", {"role_id": 3, "member_user": {"username": "ann"}}
        ),
        "grant": await number(
            alpha, "/projects/alpha/grants",
            {"repository": "app", "access": PULL, "member_user": {"username": "ann"}},
        ),
        "role": await number(alpha, "/roles", {"name": "its", "permissions": PULL, "project_id": home}),
        "robot": await number(
            alpha, "/robots", {"name": "its", "level": "project", "duration": -1, "permissions": given}
        ),
        "label": await number(alpha, "/labels", {"name": "its", "scope": "p", "project_id": home}),
    }  # fmt: skip
    house = House(world, world.client, alpha, beta, things, {})
    house.before.update(await house.seen())
    return house


def of_things(n: dict[str, int]) -> list[tuple[str, str, dict[str, Any] | None]]:
    """Name every operation that is given something of the first project by its number: asked for as if it were the second's."""
    body = {"repository": "app", "access": PULL}
    role = {"name": "theirs", "permissions": PULL}
    robot = {
        "name": "robot$alpha+its", "level": "project", "duration": -1,
        "permissions": [{"kind": "project", "namespace": "beta", "access": PULL}],
    }  # fmt: skip
    beta, label = f"{PREFIX}/projects/beta", f"{PREFIX}/labels/{n['label']}"
    trusts = f"{PREFIX}/robots/{n['robot']}/trusts"
    return [
        ("GET", f"{beta}/members/{n['member']}", None),
        ("PUT", f"{beta}/members/{n['member']}", {"role_id": 1}),
        ("DELETE", f"{beta}/members/{n['member']}", None),
        ("GET", f"{beta}/grants/{n['grant']}", None),
        ("PUT", f"{beta}/grants/{n['grant']}", body),
        ("DELETE", f"{beta}/grants/{n['grant']}", None),
        ("POST", f"{beta}/grants", {**body, "robot": {"id": n["robot"]}}),
        ("POST", f"{beta}/members", {"role_id": n["role"], "member_user": {"username": "alpha-boss"}}),
        ("GET", f"{PREFIX}/roles/{n['role']}", None),
        ("PUT", f"{PREFIX}/roles/{n['role']}", role),
        ("DELETE", f"{PREFIX}/roles/{n['role']}", None),
        ("GET", f"{PREFIX}/robots/{n['robot']}", None),
        ("PUT", f"{PREFIX}/robots/{n['robot']}", robot),
        ("PATCH", f"{PREFIX}/robots/{n['robot']}", {}),
        ("DELETE", f"{PREFIX}/robots/{n['robot']}", None),
        ("GET", trusts, None),
        ("POST", trusts, {"issuer": "https://ci.example", "claims": {"repository_id": "1"}}),
        ("GET", label, None),
        ("PUT", label, {"name": "theirs"}),
        ("DELETE", label, None),
        ("POST", f"{beta}/repositories/app/artifacts/one/labels", {"id": n["label"]}),
        ("POST", f"{beta}/repositories/app/artifacts?from=alpha/app:one", None),
        ("POST", f"{beta}/repositories/app/move", {"project": "alpha", "name": "taken"}),
        ("GET", f"{PREFIX}/quotas/{n['project']}", None),
        ("PUT", f"{PREFIX}/quotas/{n['project']}", {"hard": {"storage": 1}}),
        ("GET", f"{beta}/repositories/..%252Falpha%252Fapp", None),
        ("GET", f"{beta}/repositories/alpha%252Fapp", None),
        ("GET", f"{PREFIX}/robots?q=Level=project,ProjectID={n['project']}", None),
        ("GET", f"{PREFIX}/labels?scope=p&project_id={n['project']}", None),
        ("GET", f"{PREFIX}/roles?project_id={n['project']}", None),
    ]


def of_project(n: dict[str, int]) -> list[tuple[str, str, dict[str, Any] | None]]:
    """Name operations of the first project itself, by its name and its number."""
    found: list[tuple[str, str, dict[str, Any] | None]] = []
    for named in ("alpha", n["project"]):
        home = f"{PREFIX}/projects/{named}"
        found += [
            ("GET", home, None),
            ("PUT", home, {"metadata": {"public": "true"}}),
            ("DELETE", home, None),
            ("GET", f"{home}/summary", None),
            ("GET", f"{home}/_deletable", None),
            ("GET", f"{home}/members", None),
            ("GET", f"{home}/grants", None),
            ("GET", f"{home}/artifacts", None),
            ("PUT", f"{home}/metadatas/public", {"public": "true"}),
            ("POST", f"{home}/rename", {"name": "theirs"}),
            ("GET", f"{home}/old-names", None),
            ("DELETE", f"{home}/old-names/before", None),
        ]
    return [
        *found,
        ("GET", f"{PREFIX}/projects/alpha/logs", None),
        ("GET", f"{PREFIX}/projects/alpha/repositories", None),
        ("GET", REPOSITORY, None),
        ("DELETE", REPOSITORY, None),
        ("DELETE", IMAGE, None),
        ("POST", f"{IMAGE}/tags", {"name": "theirs"}),
        ("DELETE", f"{IMAGE}/tags/one", None),
        ("POST", f"{REPOSITORY}/move", {"name": "theirs"}),
    ]


async def crossed(house: House, asking: httpx.AsyncClient, allowed: set[int]) -> list[str]:
    """Ask all of both tables, and list what answers with no refusal; what stands there has to stay."""
    found = []
    for method, path, body in [*of_things(house.things), *of_project(house.things)]:
        answer = await asking.request(method, path, json=body)
        # To end a membership that is none is done already, for Harbor and for us: nobody leaves by that.
        done = answer.status_code == 200 and (method, path.split("/")[-2]) == ("DELETE", "members")
        if answer.status_code not in allowed and not done:
            found.append(f"{method} {path} answers {answer.status_code}: {answer.text[:200]}")
    return found


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_nothing_of_a_project_is_reached_by_anothers_administrator(world: World, *, warm: bool):
    house = await built(world)
    if not warm:
        # Whatever is remembered is forgotten with any change of who may do what.
        await world.add_user("somebody", Role.GUEST, "beta")

    assert await crossed(house, house.beta, {400, 403, 404}) == []
    assert await crossed(house, await world.as_(None), {401, 404}) == []
    assert await house.seen() == house.before


async def test_nothing_of_a_registry_is_reached_in_another(world: World):
    """By its administrator, who may everything there: all of it is not there, whatever the numbers are."""
    house = await built(world)
    stranger = await world.add_registry()
    assert (await stranger.get(f"{PREFIX}/users/current")).json()["sysadmin_flag"] is True
    await number_of_none(stranger, house)
    # Nor do another's people sign in there.
    there = await world.as_("alpha-boss", entry=world.entries[-1])
    assert (await there.get(f"{PREFIX}/users/current")).status_code == 401
    assert await house.seen() == house.before


async def number_of_none(stranger: httpx.AsyncClient, house: House) -> None:
    """Ask all that is given a number or a name, where no project of these names is."""
    found = []
    for method, path, body in of_project(house.things):
        answer = await stranger.request(method, path, json=body)
        # Its own project may have the first's number: it is its own that is shown, and nothing of the first's.
        if answer.status_code not in {404, 400, 422} and f"/{house.things['project']}" not in path:
            found.append(f"{method} {path} answers {answer.status_code}")
        if "alpha" in answer.text and answer.status_code < 400:
            found.append(f"{method} {path} tells of the first: {answer.text[:200]}")
    for method, path, body in of_things(house.things):
        answer = await stranger.request(method, path, json=body)
        if "its" in answer.text and answer.status_code < 400:
            found.append(f"{method} {path} tells of the first: {answer.text[:200]}")
    assert found == []


Ending = tuple[str, Callable[[House], Awaitable[Any]]]


async def ask(house: House, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    answer = await house.admin.request(method, f"{PREFIX}{path}", json=body)
    assert answer.status_code in {200, 201}, answer.text
    return answer


def last(answer: httpx.Response) -> str:
    return answer.headers["location"].removeprefix(PREFIX)


async def user_of(house: House, name: str) -> int:
    found = (await ask(house, "GET", f"/users?q=username={name}")).json()
    return int(found[0]["user_id"])


async def group_with_eve(house: House) -> int:
    """Make a group that eve is in."""
    made = await ask(house, "POST", "/usergroups", {"group_name": "people", "group_type": 3})
    group = int(last(made).rpartition("/")[2])
    registry, eve = await house.world.registry(), await user_of(house, "eve")
    await registry.db.change(lambda tx: members.join_group(tx, group, eve))
    return group


async def by_membership(house: House) -> Ending:
    """Let eve in by a role of her own; the ways to end it."""
    given = {"role_id": 5, "member_user": {"username": "eve"}}
    member = last(await ask(house, "POST", "/projects/alpha/members", given))
    return ("the membership ends", lambda h: ask(h, "DELETE", member))


async def by_custom_role(house: House) -> Ending:
    """Let eve in by a role of the registry's own."""
    role = last(await ask(house, "POST", "/roles", {"name": "puller", "permissions": PULL}))
    given = {"role_id": int(role.rpartition("/")[2]), "member_user": {"username": "eve"}}
    await ask(house, "POST", "/projects/alpha/members", given)
    less = {"name": "puller", "permissions": [{"resource": "log", "action": "list"}]}
    return ("the role becomes less", lambda h: ask(h, "PUT", role, less))


async def by_group(house: House) -> Ending:
    """Let eve in by a group's role."""
    group = await group_with_eve(house)
    given = {"role_id": 5, "member_group": {"id": group}}
    await ask(house, "POST", "/projects/alpha/members", given)

    async def leaves(h: House) -> None:
        eve = await user_of(h, "eve")
        await (await h.world.registry()).db.change(lambda tx: members.leave_group(tx, group, eve))

    return ("she leaves the group", leaves)


async def by_group_that_ends(house: House) -> Ending:
    """Let eve in by a grant to a group."""
    group = await group_with_eve(house)
    given = {"repository": "app", "access": PULL, "member_group": {"id": group}}
    await ask(house, "POST", "/projects/alpha/grants", given)
    return ("the group is deleted", lambda h: ask(h, "DELETE", f"/usergroups/{group}"))


async def by_grant(house: House) -> Ending:
    """Let eve in by a grant of her own."""
    given = {"repository": "a*", "access": PULL, "member_user": {"username": "eve"}}
    grant = last(await ask(house, "POST", "/projects/alpha/grants", given))
    return ("the grant is for others", lambda h: ask(h, "PUT", grant, {"repository": "b*", "access": PULL}))


async def by_grant_that_ends(house: House) -> Ending:
    """Let eve in by another."""
    given = {"repository": "**", "access": PULL, "member_user": {"username": "eve"}}
    grant = last(await ask(house, "POST", "/projects/alpha/grants", given))
    return ("the grant ends", lambda h: ask(h, "DELETE", grant))


async def by_public(house: House) -> Ending:
    """Let everybody in."""
    await ask(house, "PUT", "/projects/alpha", {"metadata": {"public": "true"}})
    body = {"metadata": {"public": "false"}}
    return ("the project is private again", lambda h: ask(h, "PUT", "/projects/alpha", body))


async def by_admin(house: House) -> Ending:
    """Make eve an administrator of the registry."""
    path = f"/users/{await user_of(house, 'eve')}/sysadmin"
    await ask(house, "PUT", path, {"sysadmin_flag": True})
    return ("she is none any more", lambda h: ask(h, "PUT", path, {"sysadmin_flag": False}))


async def by_account(house: House) -> Ending:
    """Let eve in, who goes herself at last."""
    await by_membership(house)
    number = await user_of(house, "eve")
    return ("she is deleted", lambda h: ask(h, "DELETE", f"/users/{number}"))


ALL = [True] * 6
NONE = [False] * 6
# Anybody may pull from a public project, and list what is in it: not read what is said of a repository.
PUBLIC = [True, True, True, False, True, False]
WAYS = (
    by_membership, by_custom_role, by_group, by_group_that_ends, by_grant, by_grant_that_ends, by_public, by_admin,
    by_account,
)  # fmt: skip


async def bearer(house: House, name: str, secret: str) -> dict[str, str]:
    """Get a token for the image, which outlives many a right."""
    form = {
        "grant_type": "password", "username": name, "password": secret, "service": "harbor-registry",
        "scope": "repository:alpha/app:pull",
    }  # fmt: skip
    answer = await (await house.world.as_(None)).post("/service/token", data=form)
    assert answer.json()["scope"], answer.text
    return {"authorization": f"Bearer {answer.json()['token']}"}


async def reached(house: House, client: httpx.AsyncClient, token: dict[str, str]) -> list[bool]:
    """Say which of all ways to the image somebody has: on the wire and in the API, by their secret and by a token."""
    nobody = await house.world.as_(None)
    answers = [
        await client.get(MANIFEST),
        await client.head(MANIFEST),
        await client.get("/v2/alpha/app/tags/list"),
        await client.get(REPOSITORY),
        await nobody.get(MANIFEST, headers=token),
        await nobody.get(REPOSITORY, headers=token),
    ]
    assert all(one.status_code in {200, 401, 403} for one in answers), [one.text for one in answers]
    return [one.status_code == 200 for one in answers]


async def test_every_way_to_a_repository_ends_with_the_next_request_for_secrets_and_for_tokens(world: World):
    house = await built(world)
    eve = await world.add_user("eve", Role.GUEST, "beta")
    found = {}
    for way in WAYS:
        assert await reached(house, eve, {}) == NONE, way.__name__
        name, end = await way(house)
        token = await bearer(house, "eve", PASSWORD)
        opened = PUBLIC if way is by_public else ALL
        # Twice, so that all is remembered.
        before = [await reached(house, eve, token) for _ in range(2)]
        await end(house)
        after = [await reached(house, eve, token) for _ in range(2)]
        if (before, after) != ([opened] * 2, [NONE] * 2):
            found[way.__name__, name] = before, after
        await cleared(house)
    assert found == {}


async def cleared(house: House) -> None:
    """End what a way to the repository left there."""
    for one in (await ask(house, "GET", "/projects/alpha/members")).json():
        if one["entity_name"] in {"eve", "people"}:
            await ask(house, "DELETE", f"/projects/alpha/members/{one['id']}")
    for one in (await ask(house, "GET", "/usergroups")).json():
        await ask(house, "DELETE", f"/usergroups/{one['id']}")


IN_ALPHA = [{"kind": "project", "namespace": "alpha", "access": PULL}]
IN_BETA = [{"kind": "project", "namespace": "beta", "access": PULL}]
Robot = dict[str, Any]


async def changed(house: House, one: Robot, **more: Any) -> None:
    body = {"name": one["name"], "level": "system", "duration": -1, "permissions": IN_ALPHA, **more}
    await ask(house, "PUT", f"/robots/{one['id']}", body)


async def loses_permissions(house: House, one: Robot) -> None:
    await changed(house, one, permissions=IN_BETA)


async def is_disabled(house: House, one: Robot) -> None:
    await changed(house, one, disable=True)


async def gets_another_secret(house: House, one: Robot) -> None:
    await ask(house, "PATCH", f"/robots/{one['id']}", {})


async def is_deleted(house: House, one: Robot) -> None:
    await ask(house, "DELETE", f"/robots/{one['id']}")


async def loses_grant(house: House, one: Robot) -> None:
    listed = (await ask(house, "GET", "/projects/alpha/grants?q=entity_name=~granted")).json()
    (grant,) = [found["id"] for found in listed if found["entity_id"] == one["id"]]
    await ask(house, "DELETE", f"/projects/alpha/grants/{grant}")


async def robot(house: House, name: str, permissions: list[dict[str, Any]]) -> Robot:
    body = {"name": name, "level": "system", "duration": -1, "permissions": permissions}
    return dict((await ask(house, "POST", "/robots", body)).json())


async def test_every_way_of_a_robot_ends_with_the_next_request_for_its_secret_and_its_tokens(world: World):
    house = await built(world)
    ends = (loses_permissions, is_disabled, gets_another_secret, is_deleted)
    made = [(await robot(house, f"one-{place}", IN_ALPHA), end) for place, end in enumerate(ends)]
    granted = await robot(house, "granted", IN_BETA)
    body = {"repository": "app", "access": PULL, "robot": {"id": granted["id"]}}
    await ask(house, "POST", "/projects/alpha/grants", body)

    found = {}
    for one, end in [*made, (granted, loses_grant)]:
        client = await world.as_(one["name"], one["secret"])
        token = await bearer(house, one["name"], one["secret"])
        before = [await reached(house, client, token) for _ in range(2)]
        await end(house, one)
        after = [await reached(house, client, token) for _ in range(2)]
        if (before, after) != ([ALL] * 2, [NONE] * 2):
            found[end.__name__] = before, after
    assert found == {}
