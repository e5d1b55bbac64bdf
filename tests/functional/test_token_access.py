"""Who may do what, with and without a token, and how soon a change of it is seen."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import update

from moorage.db import Statement, Tx
from moorage.db.tables import project
from moorage.identity import members, repository_grants, robots, users
from moorage.identity.access import NOBODY, Access, Identified, Verdict
from moorage.identity.callers import ANONYMOUS, Caller
from moorage.identity.repository_grants import Whose
from moorage.identity.roles import OF_ROLE, ROBOT_PROJECT, OciAction, Permission, Role
from moorage.oci.errors import Unauthorized
from moorage.oci.names import RepositoryName
from moorage.registry import projects
from tests.functional.identity_world import (
    ENGINES,
    OPERATOR,
    REGISTRY,
    Clock,
    SqlitePlace,
    World,
    basic,
    grant,
    place_for,
)

ALLOWED, SIGN_IN, SCOPE, DENIED = Verdict.ALLOWED, Verdict.SIGN_IN, Verdict.INSUFFICIENT_SCOPE, Verdict.DENIED
TEAM, OPEN, NOWHERE = (RepositoryName.parse(name) for name in ("team/app", "open/x", "nowhere/x"))
BURY = Statement(update(project).where(project.c.name == "team").values(deleted_at=1))
ACTIONS: tuple[OciAction, ...] = get_args(OciAction)


@pytest.fixture(params=ENGINES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = await (await World.begin(place_for(request, tmp_path), Clock())).people()
    yield made
    await made.close()


async def signed_in(world: World, user: str) -> Identified:
    return NOBODY if user == "nobody" else await world.access.identify(basic(user))


@pytest.mark.parametrize(
    ("user", "name", "verdicts"),
    [
        ("nobody", TEAM, [SIGN_IN, SIGN_IN, SIGN_IN]),
        ("nobody", OPEN, [ALLOWED, SIGN_IN, SIGN_IN]),
        ("nobody", NOWHERE, [SIGN_IN, SIGN_IN, SIGN_IN]),
        ("stranger", TEAM, [DENIED, DENIED, DENIED]),
        ("stranger", OPEN, [ALLOWED, DENIED, DENIED]),
        ("stranger", NOWHERE, [DENIED, DENIED, DENIED]),
        ("limited_guest", TEAM, [ALLOWED, DENIED, DENIED]),
        ("guest", TEAM, [ALLOWED, DENIED, DENIED]),
        ("developer", TEAM, [ALLOWED, ALLOWED, DENIED]),
        ("developer", OPEN, [ALLOWED, DENIED, DENIED]),
        ("maintainer", TEAM, [ALLOWED, ALLOWED, ALLOWED]),
        ("project_admin", TEAM, [ALLOWED, ALLOWED, ALLOWED]),
        ("project_admin", OPEN, [ALLOWED, DENIED, DENIED]),
        ("admin", TEAM, [ALLOWED, ALLOWED, ALLOWED]),
        ("admin", OPEN, [ALLOWED, ALLOWED, ALLOWED]),
        ("admin", NOWHERE, [ALLOWED, ALLOWED, ALLOWED]),
    ],
)
async def test_pull_push_and_delete_are_answered(
    world: World, user: str, name: RepositoryName, verdicts: list[Verdict]
) -> None:
    who = await signed_in(world, user)

    assert [await world.access.verdict(who, name, action) for action in ACTIONS] == verdicts


async def test_every_role_has_its_whole_table_and_no_more(world: World) -> None:
    for role in Role:
        caller = (await signed_in(world, role.name.lower())).caller

        assert await world.access.permissions(caller, "team") == OF_ROLE[role]
        assert await world.access.permissions(caller, "other") == frozenset()


@pytest.mark.parametrize(
    ("asked", "verdicts"),
    [
        ("repository:team/app:pull", [ALLOWED, SCOPE, DENIED]),
        ("repository:team/app:pull,push", [ALLOWED, ALLOWED, DENIED]),
        ("repository:team/other:pull,push", [SCOPE, SCOPE, DENIED]),
        ("repository:team/app:push", [SCOPE, ALLOWED, DENIED]),
        ("repository:team/app:*", [ALLOWED, ALLOWED, DENIED]),
        ("", [SCOPE, SCOPE, DENIED]),
    ],
)
async def test_a_token_limits_its_bearer(world: World, asked: str, verdicts: list[Verdict]) -> None:
    who = await world.access.identify(f"Bearer {await world.token(asked, user='developer')}")

    assert [await world.access.verdict(who, TEAM, action) for action in ACTIONS] == verdicts


async def test_several_actions_are_allowed_together_or_not_at_all(world: World) -> None:
    who = await world.access.identify(
        f"Bearer {await world.token('repository:team/app:pull', user='developer')}"
    )

    assert await world.access.verdict(who, TEAM, "pull", "push") is SCOPE
    assert await world.access.verdict(who, TEAM, "pull", "delete") is DENIED


async def test_an_anonymous_token_allows_what_is_public_and_else_asks_who_it_is(world: World) -> None:
    who = await world.access.identify(f"Bearer {await world.token('repository:open/x:pull')}")

    assert await world.access.verdict(who, OPEN, "pull") is ALLOWED
    assert await world.access.verdict(who, RepositoryName.parse("open/y"), "pull") is SCOPE
    assert await world.access.verdict(who, OPEN, "push") is SIGN_IN
    assert await world.access.verdict(who, TEAM, "pull") is SIGN_IN


async def test_a_token_with_push_loses_it_when_only_pull_is_left(world: World) -> None:
    who = await world.access.identify(
        f"Bearer {await world.token('repository:team/app:pull,push', user='developer')}"
    )
    assert await world.access.verdict(who, TEAM, "push") is ALLOWED

    await world.change(
        lambda tx: members.set_user(tx, world.projects["team"], world.numbers["developer"], Role.GUEST)
    )

    assert await world.access.verdict(who, TEAM, "push") is DENIED
    assert await world.access.verdict(who, TEAM, "pull") is ALLOWED


async def test_a_token_does_not_grow_with_its_account(world: World) -> None:
    text = await world.token("repository:team/app:pull,push", user="guest")

    await world.change(
        lambda tx: members.set_user(tx, world.projects["team"], world.numbers["guest"], Role.MAINTAINER)
    )

    who = await world.access.identify(f"Bearer {text}")
    assert await world.access.verdict(who, TEAM, "push") is SCOPE


async def test_a_member_who_leaves_may_nothing_with_a_warm_cache(world: World) -> None:
    who = await signed_in(world, "developer")
    assert await world.access.verdict(who, TEAM, "pull") is ALLOWED

    assert await world.change(
        lambda tx: members.remove_user(tx, world.projects["team"], world.numbers["developer"])
    )

    assert await world.access.verdict(who, TEAM, "pull") is DENIED


async def test_a_project_made_private_is_closed_to_anybody_at_once(world: World) -> None:
    assert await world.access.verdict(NOBODY, OPEN, "pull") is ALLOWED
    found = await projects.find(world.db, "open")
    assert found is not None

    await world.change(lambda tx: projects.set_public(tx, found, public=False))

    assert await world.access.verdict(NOBODY, OPEN, "pull") is SIGN_IN


async def test_a_project_made_after_it_was_asked_for_is_found(world: World) -> None:
    assert await world.access.verdict(NOBODY, NOWHERE, "pull") is SIGN_IN

    await world.add_project("nowhere", public=True)

    assert await world.access.verdict(NOBODY, NOWHERE, "pull") is ALLOWED


async def test_groups_add_to_what_a_user_may_and_take_it_back(world: World) -> None:
    group = await world.change(lambda tx: members.create_group(tx, "builders"))
    await world.change(lambda tx: members.set_group(tx, world.projects["team"], group, Role.MAINTAINER))
    who = await signed_in(world, "guest")
    assert await world.access.verdict(who, TEAM, "push") is DENIED

    await world.change(lambda tx: members.join_group(tx, group, world.numbers["guest"]))
    inside = await world.access.verdict(who, TEAM, "push")
    await world.change(lambda tx: members.leave_group(tx, group, world.numbers["guest"]))
    outside = await world.access.verdict(who, TEAM, "push")

    assert (inside, outside) == (ALLOWED, DENIED)
    assert await world.access.verdict(who, TEAM, "pull") is ALLOWED


async def test_a_group_that_leaves_a_project_takes_its_members_rights(world: World) -> None:
    group = await world.change(lambda tx: members.create_group(tx, "builders"))
    await world.change(lambda tx: members.set_group(tx, world.projects["other"], group, Role.DEVELOPER))
    await world.change(lambda tx: members.join_group(tx, group, world.numbers["stranger"]))
    caller = (await signed_in(world, "stranger")).caller
    assert await world.access.actions(caller, "other") == {"pull", "push"}

    await world.change(lambda tx: members.remove_group(tx, world.projects["other"], group))

    assert await world.access.actions(caller, "other") == frozenset()


async def test_an_administrator_who_is_one_no_more_loses_all_with_the_same_token(world: World) -> None:
    await world.add_user("second", await world.passwords.hash("Correct-horse-9"), admin=True)
    text = await world.token("repository:team/app:pull", user="second")

    await world.change(lambda tx: users.set_admin(tx, world.numbers["second"], admin=False))

    who = await world.access.identify(f"Bearer {text}")
    assert not who.caller.admin
    assert await world.access.verdict(who, TEAM, "pull") is DENIED


async def robot_caller(world: World, robot: robots.NewRobot) -> Caller:
    return (await world.access.identify(basic(robot.name, robot.secret))).caller


@pytest.mark.parametrize(
    ("permissions", "actions"),
    [
        (["repository:pull"], {"pull"}),
        (["repository:push"], {"push"}),
        (["repository:pull", "repository:push"], {"pull", "push"}),
        (["artifact:delete"], {"delete"}),
        (["repository:delete"], {"delete"}),
        (["tag:delete"], set()),
        (["repository:list"], set()),
    ],
)
async def test_a_robot_may_what_it_was_given(world: World, permissions: list[str], actions: set[str]) -> None:
    caller = await robot_caller(world, await world.add_robot("ci", *permissions))

    assert await world.access.actions(caller, "team") == actions


async def test_a_robot_of_one_project_may_nothing_in_another(world: World) -> None:
    caller = await robot_caller(world, await world.add_robot("ci", *map(str, sorted(ROBOT_PROJECT))))

    assert await world.access.actions(caller, "team") == {"pull", "push", "delete"}
    assert await world.access.actions(caller, "other") == frozenset()
    assert await world.access.actions(caller, "open") == {"pull"}
    assert await world.access.verdict(Identified(caller), RepositoryName.parse("other/x"), "pull") is DENIED


async def test_a_robot_of_a_dead_project_may_nothing_in_a_new_one_of_the_same_name(world: World) -> None:
    caller = await robot_caller(world, await world.add_robot("ci", "repository:pull"))

    async def bury(tx: Tx) -> None:
        await tx.run(BURY)
        await tx.touch_access()

    await world.change(bury)
    await world.add_project("team")

    assert await world.access.actions(caller, "team") == frozenset()


async def test_a_system_robot_may_in_every_project_or_in_one(world: World) -> None:
    everywhere = await robot_caller(world, await world.add_robot("all", "repository:pull", project=None))
    made = await world.change(
        lambda tx: robots.create(
            tx, name="some", owner=None, creator=OPERATOR,
            grants=[grant("repository:pull", "team"), grant("repository:push", "other")],
        )
    )  # fmt: skip
    somewhere = await robot_caller(world, made)

    assert [await world.access.actions(everywhere, one) for one in ("team", "other", "nowhere")] == [
        {"pull"},
        {"pull"},
        set(),
    ]
    assert [await world.access.actions(somewhere, one) for one in ("team", "other")] == [{"pull"}, {"push"}]


async def test_only_administrators_and_robots_that_were_given_it_read_the_catalog(world: World) -> None:
    made = await world.change(
        lambda tx: robots.create(
            tx, name="lister", owner=None, creator=OPERATOR, grants=[grant("catalog:read", "/")]
        )
    )
    lister = Identified(await robot_caller(world, made))

    verdicts = [
        await world.access.catalog_verdict(who)
        for who in (NOBODY, await signed_in(world, "project_admin"), await signed_in(world, "admin"), lister)
    ]

    assert verdicts == [SIGN_IN, DENIED, ALLOWED, ALLOWED]
    assert await world.granted("registry:catalog:*", user=made.name, password=made.secret) == {
        "catalog": ["*"]
    }


async def test_a_token_without_the_catalog_does_not_list_it(world: World) -> None:
    without = await world.access.identify(
        f"Bearer {await world.token('repository:team/app:pull', user='admin')}"
    )
    with_it = await world.access.identify(f"Bearer {await world.token('registry:catalog:*', user='admin')}")

    assert await world.access.catalog_verdict(without) is SCOPE
    assert await world.access.catalog_verdict(with_it) is ALLOWED


async def test_what_a_robot_is_given_can_be_replaced(world: World) -> None:
    robot = await world.add_robot("ci", "repository:pull")
    caller = await robot_caller(world, robot)
    assert await world.access.actions(caller, "team") == {"pull"}

    await world.change(lambda tx: robots.set_grants(tx, robot.id, [grant("repository:push", "team")]))

    assert await world.access.actions(caller, "team") == {"push"}


async def test_a_warm_request_asks_the_database_nothing(world: World) -> None:
    counting = Counting(world)
    access = Access(counting, REGISTRY, world.master, world.passwords)  # type: ignore[arg-type]
    text = await world.token("repository:team/app:pull", user="guest")
    robot = await world.add_robot("ci", "repository:pull")
    headers = [f"Bearer {text}", basic("guest"), basic(robot.name, robot.secret)]
    for header in headers:
        await access.verdict(await access.identify(header), TEAM, "pull")
    cold = counting.asked

    async with asyncio.timeout(30):
        # On PostgreSQL the news of the robot may still be on its way.
        while counting.asked:
            counting.asked = 0
            for header in headers:
                assert await access.verdict(await access.identify(header), TEAM, "pull") is ALLOWED
            await asyncio.sleep(0)

    # The signing keys; the user by number and by name; the robot by both, with what it was given
    # each time; two callers' permissions.
    assert cold <= 10 or not isinstance(world.place, SqlitePlace)


async def test_a_repository_is_looked_at_only_for_who_was_granted_something_for_some(world: World) -> None:
    number = await world.change(lambda tx: users.find(tx, "stranger"))
    home = await projects.find(world.db, "team")
    assert home is not None
    pulls = frozenset({Permission("repository", "pull")})
    await world.change(lambda tx: repository_grants.add(tx, home.id, Whose("user", number), "app*", pulls))
    counting = Counting(world)
    access = Access(counting, REGISTRY, world.master, world.passwords)  # type: ignore[arg-type]
    other = RepositoryName.parse("team/other")
    seen = []
    for user in ("guest", "stranger"):
        who = await access.identify(basic(user))
        for name in (TEAM, TEAM, other, RepositoryName.parse("team/app2")):
            counting.asked = 0
            seen.append((await access.verdict(who, name, "pull"), counting.asked))

    verdicts = [one for one, _ in seen]
    assert verdicts == [ALLOWED] * 4 + [ALLOWED, ALLOWED, DENIED, ALLOWED]
    # One question finds out what is held in a project, roles and grants alike; names are matched without any.
    assert [asked for _, asked in seen] == [1, 0, 0, 0] * 2 or not isinstance(world.place, SqlitePlace)


class Counting:
    """A database that counts what it is asked."""

    def __init__(self, world: World) -> None:
        self.asked = 0
        self.now = world.db.now
        self.access_version = world.db.access_version
        self.db = world.db

    async def one(self, *args: object, **params: object) -> object:
        self.asked += 1
        return await self.db.one(*args, **params)  # type: ignore[arg-type]

    async def all(self, *args: object, **params: object) -> object:
        self.asked += 1
        return await self.db.all(*args, **params)  # type: ignore[arg-type]


async def test_a_wrong_password_is_refused_and_not_taken_for_nobody(world: World) -> None:
    with pytest.raises(Unauthorized):
        await world.access.identify(basic("guest", "wrong"))


async def test_no_authorization_is_nobody(world: World) -> None:
    assert (await world.access.identify(None)).caller == ANONYMOUS
