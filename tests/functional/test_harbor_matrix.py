"""Every operation of Harbor's API that takes a permission, asked by every role and by robots, as its table has it.

Each asks with no body and for what is not there: whoever may is told of that, and whoever may not is told that alone.
Operations that ask further by themselves stand in test_harbor_matrix_own.py, single permissions in
test_harbor_matrix_permissions.py.
"""

from __future__ import annotations

from collections.abc import Collection

import httpx
import pytest

from moorage.api.harbor.operations import OPERATIONS, PREFIX, Needs, Operation
from moorage.identity import robots, roles, users
from moorage.identity.accounts import Grant
from moorage.identity.callers import Caller
from moorage.identity.robots import EVERY_PROJECT, SYSTEM
from moorage.identity.roles import Permission, Role
from tests.worlds import PASSWORD, World

# What is allowed is reckoned in the program alike on both engines; how it is found in the rows has tests of its own.
pytestmark = pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)

PROJECT = "matrix"
OF_PROJECT = [one for one in OPERATIONS if one.needs in {Needs.PROJECT, Needs.NAMED}]
OF_SYSTEM = [one for one in OPERATIONS if one.needs is Needs.SYSTEM]
# Whoever may do it ends what the others are asked about.
ENDS = {"deleteProject"}


def path_of(one: Operation) -> str:
    """Fill an operation's path: the project is there, and nothing in it."""
    values = {"project_name": PROJECT, "project_name_or_id": PROJECT, "job_type": "all"}
    return PREFIX + one.path.format(**{name: values.get(name, "77") for name in one.parameters})


async def check(client: httpx.AsyncClient, one: Operation, *, allowed: bool, refused: int = 403) -> str:
    """Ask, and say what is wrong with the answer: nothing, mostly."""
    if allowed and one.id in ENDS:
        return ""
    answer = await client.request(one.method, path_of(one))
    fits = (
        answer.status_code not in {401, 403} and answer.status_code < 500
        if allowed
        else answer.status_code == refused
    )
    return "" if fits else f"{one.id} {answer.status_code}, and is {'' if allowed else 'not '}allowed"


async def wrong(
    client: httpx.AsyncClient, held: Collection[Permission], ops: list[Operation], refused: int = 403
) -> list[str]:
    """Ask all of some operations, and list what answers otherwise than the permissions that are held say."""
    found = [await check(client, one, allowed=one.permission in held, refused=refused) for one in ops]
    return [one for one in found if one]


async def robot(world: World, name: str, held: Collection[Permission], *, kind: str) -> httpx.AsyncClient:
    """Make a robot of the registry that may what is held; give a client of its own."""
    where = SYSTEM if kind == "system" else EVERY_PROJECT
    grants = [Grant(kind, where, one) for one in sorted(held)]
    creator = Caller("user", 1, "admin")
    made = await (await world.registry()).db.change(
        lambda tx: robots.create(tx, name=name, owner=None, grants=grants, creator=creator)
    )
    return await world.as_(made.name, made.secret)


async def test_every_role_may_what_the_table_of_roles_says_and_no_more(world: World):
    await world.add_project(PROJECT)
    hashed = await world.passwords.hash(PASSWORD)
    await (await world.registry()).db.change(lambda tx: users.create(tx, name="nobody", password=hashed))

    found = {}
    for role in Role:
        client = await world.add_user(role.name.lower(), role, PROJECT)
        found[role.name] = await wrong(client, roles.OF_ROLE[role], OF_PROJECT)
        found[f"{role.name} in the system"] = await wrong(client, (), OF_SYSTEM)
    found["nobody"] = await wrong(await world.as_("nobody"), (), OF_PROJECT + OF_SYSTEM)
    found["anonymous"] = await wrong(await world.as_(None), (), OF_PROJECT + OF_SYSTEM, refused=401)
    every = {one.permission for one in OPERATIONS if one.permission}
    found["administrator"] = await wrong(world.client, every, OF_PROJECT + OF_SYSTEM)
    assert {who: what for who, what in found.items() if what} == {}


@pytest.mark.parametrize(
    ("kind", "catalogue", "ops"),
    [("project", roles.ROBOT_PROJECT, OF_PROJECT), ("system", roles.ROBOT_SYSTEM, OF_SYSTEM)],
    ids=["project", "system"],
)
async def test_a_robot_may_what_it_was_given_and_no_more(
    world: World, kind: str, catalogue: frozenset[Permission], ops: list[Operation]
):
    """For each permission two robots: one that has it alone, and one that has all others."""
    await world.add_project(PROJECT)
    taken = sorted({one.permission for one in ops if one.permission in catalogue and one.permission})

    found = {}
    for place, permission in enumerate(taken):
        alone = await robot(world, f"alone-{place}", {permission}, kind=kind)
        others = await robot(world, f"others-{place}", catalogue - {permission}, kind=kind)
        asked = [one for one in ops if one.permission == permission]
        found[f"{permission} alone"] = await wrong(alone, {permission}, asked)
        found[f"all but {permission}"] = await wrong(others, (), asked)
    all_of_it = await robot(world, "all", catalogue, kind=kind)
    # What no robot can be given is refused to each, and one kind of permission is none of the other.
    found["all"] = await wrong(all_of_it, catalogue, ops)
    found["the other kind"] = await wrong(all_of_it, (), OF_SYSTEM if kind == "project" else OF_PROJECT)
    assert {who: what for who, what in found.items() if what} == {}
