"""Every single permission against every operation: exactly those that need it open up, and no other.

One robot, and one user by a role of the registry's own, hold one permission after the other. So each is asked warm, too, right
after another permission was taken from it. Requests go straight to the application, since they are many thousands.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from starlette.types import Message

from moorage.api.harbor.operations import Needs, Operation
from moorage.db import Tx
from moorage.identity import custom_roles, members, repository_grants, robots, roles, users
from moorage.identity.accounts import Grant
from moorage.identity.callers import Caller
from moorage.identity.repository_grants import Whose
from moorage.identity.robots import EVERY_PROJECT, SYSTEM
from moorage.identity.roles import Permission
from moorage.registry import projects
from tests.functional.test_harbor_matrix import ENDS, OF_PROJECT, OF_SYSTEM, PROJECT, path_of
from tests.functional.test_work import push
from tests.worlds import PASSWORD, World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

GUARDED = OF_PROJECT + OF_SYSTEM
IN_PROJECT = {Needs.PROJECT, Needs.NAMED}
REPOSITORY = "app"


async def ask(world: World, one: Operation, authorization: bytes, path: str = "") -> int:
    """Ask an operation with no body, and give the answer's status."""
    raw = (path or path_of(one)).encode()
    port = world.entry.port or world.settings.listening.registry_port
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http", "http_version": "1.1", "method": one.method, "scheme": "http", "path": raw.decode(),
        "raw_path": raw, "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1), "extensions": {},
        "server": ("localhost", port), "state": {},
        "headers": [(b"host", b"localhost:%d" % port), (b"authorization", authorization)],
    }  # fmt: skip
    await world.app(scope, receive, send)
    return statuses[0]


def basic(name: str, secret: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{name}:{secret}".encode())


def asked_on(world: World, held: Permission) -> list[Operation]:
    """Give what is asked: all on SQLite; on PostgreSQL, which takes longer, what opens up, and each tenth of the rest."""
    if world.parts.postgres is None:
        return GUARDED
    return [one for place, one in enumerate(GUARDED) if one.permission == held or place % 10 == 0]


async def wrong(world: World, authorization: bytes, held: Permission, kinds: set[Needs]) -> list[str]:
    """List what opens up to who holds one permission and should not, or the other way round."""
    found = []
    for one in asked_on(world, held):
        opens = one.permission == held and one.needs in kinds
        if opens and one.id in ENDS:
            continue
        status = await ask(world, one, authorization)
        fits = (status not in {401, 403} and status < 500) if opens else status == 403
        if not fits:
            found.append(f"{held}: {one.id} answers {status}")
    return found


async def test_a_robot_of_one_permission_opens_what_needs_it_and_nothing_else(world: World):
    await world.add_project(PROJECT)
    db = (await world.registry()).db
    first = Grant("system", SYSTEM, min(roles.ROBOT_SYSTEM))
    robot = await db.change(
        lambda tx: robots.create(
            tx, name="one", owner=None, grants=[first], creator=Caller("user", 1, "admin")
        )
    )

    async def give(grant: Grant) -> None:
        await db.change(lambda tx: robots.set_grants(tx, robot.id, [grant]))

    found: list[str] = []
    for kind, where, catalogue, kinds in (
        ("system", SYSTEM, roles.ROBOT_SYSTEM, {Needs.SYSTEM}),
        ("project", EVERY_PROJECT, roles.ROBOT_PROJECT, IN_PROJECT),
    ):
        for held in sorted(catalogue):
            await give(Grant(kind, where, held))
            found += await wrong(world, basic(robot.name, robot.secret), held, kinds)
    assert found == []


async def test_a_member_by_a_role_of_one_permission_opens_what_needs_it_and_nothing_else(world: World):
    await world.add_project(PROJECT)
    db = (await world.registry()).db
    hashed = await world.passwords.hash(PASSWORD)

    async def work(tx: Tx) -> int:
        role = await custom_roles.create(tx, "one", frozenset({roles.SEE_PROJECT}))
        home = await projects.find(tx, PROJECT)
        assert home is not None
        await members.add(tx, home.id, role, user=await users.create(tx, name="one", password=hashed))
        return role

    role = await db.change(work)

    async def give(held: Permission) -> None:
        only = frozenset({held})
        await db.change(lambda tx: custom_roles.change(tx, role, "one", only, description=""))

    found: list[str] = []
    for held in sorted(roles.EVERYTHING):
        await give(held)
        found += await wrong(world, basic("one", PASSWORD), held, IN_PROJECT)
    assert found == []


async def test_a_grant_of_one_permission_opens_what_needs_it_in_its_repositories_and_nothing_else(
    world: World,
):
    """In them alone: each operation on a repository is asked of one that the grant is for, and of one that it is not."""
    await world.add_project(PROJECT)
    for name in (REPOSITORY, "other"):
        await push(world, f"{PROJECT}/{name}")
    db = (await world.registry()).db
    hashed = await world.passwords.hash(PASSWORD)

    async def work(tx: Tx) -> tuple[int, int]:
        home = await projects.find(tx, PROJECT)
        assert home is not None
        whose = Whose("user", await users.create(tx, name="one", password=hashed))
        return home.id, await repository_grants.add(tx, home.id, whose, REPOSITORY, frozenset({_PULL}))

    home, number = await db.change(work)

    async def give(held: Permission) -> None:
        only = frozenset({held})
        await db.change(lambda tx: repository_grants.change(tx, home, number, REPOSITORY, only))

    found: list[str] = []
    for held in sorted(roles.IN_REPOSITORIES):
        await give(held)
        for one, path, opens in _paths(held):
            status = await ask(world, one, basic("one", PASSWORD), path)
            if (status in {401, 403}) == opens or status >= 500:
                found.append(f"{held}: {one.method} {path} answers {status}")
    assert found == []


_PULL = Permission("repository", "pull")
_LISTS = {
    "listRepositories": Permission("repository", "list"),
    "listArtifactsOfProject": Permission("artifact", "list"),
}


def _paths(held: Permission) -> Iterator[tuple[Operation, str, bool]]:
    """Give each operation of a project, its path (twice, where it is of a repository), and whether the grant opens it."""
    for one in OF_PROJECT:
        path = path_of(one)
        if "repository_name" not in one.parameters:
            seen = one.permission == roles.SEE_PROJECT or _LISTS.get(one.id) == held
            yield one, path, seen
            continue
        for name in (REPOSITORY, "other"):
            # What would delete the repository, or what is in it, is asked of what is not there: 404 to who may.
            there = path.replace("/repositories/77", f"/repositories/{name}")
            if one.id != "deleteRepository" or name == "other" or one.permission != held:
                yield one, there, one.permission == held and name == REPOSITORY
