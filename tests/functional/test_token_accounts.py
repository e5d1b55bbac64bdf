"""Making users and robots: the rules for their names, passwords, numbers and last ones."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moorage.db import Tx
from moorage.identity import refresh, robots, users
from moorage.identity.accounts import Grant
from moorage.identity.robots import Owner, RobotExists, RobotInvalid, RobotUnknown
from moorage.identity.roles import Permission
from moorage.identity.users import (
    LastAdministrator,
    PasswordTooWeak,
    UserExists,
    UserNameInvalid,
    UserUnknown,
)
from tests.functional.identity_world import ENGINES, OPERATOR, PASSWORD, Clock, World, grant, place_for


@pytest.fixture(params=ENGINES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = await (await World.begin(place_for(request, tmp_path), Clock())).people()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("name", "owner", "grants", "days"),
    [
        ("UPPER", None, [grant("repository:pull", "*")], -1),
        ("a+b", None, [grant("repository:pull", "*")], -1),
        ("", None, [grant("repository:pull", "*")], -1),
        ("ci", None, [], -1),
        ("ci", None, [grant("repository:pull", "*")], 0),
        ("ci", None, [grant("repository:pull", "*")], -2),
        ("ci", None, [grant("repository:fly", "*")], -1),
        ("ci", None, [grant("repository:pull", "/")], -1),
        ("ci", None, [Grant("system", "*", Permission("catalog", "read"))], -1),
        ("ci", None, [Grant("galaxy", "*", Permission("repository", "pull"))], -1),
        ("ci", Owner(1, "team"), [grant("repository:pull", "other")], -1),
        ("ci", Owner(1, "team"), [grant("repository:pull", "*")], -1),
        ("ci", Owner(1, "team"), [grant("catalog:read", "/")], -1),
    ],
)
async def test_a_robot_that_breaks_a_rule_is_not_made(
    world: World, name: str, owner: Owner | None, grants: list[Grant], days: int
) -> None:
    with pytest.raises(RobotInvalid):
        await world.change(
            lambda tx: robots.create(tx, name=name, owner=owner, grants=grants, creator=OPERATOR, days=days)
        )


async def test_a_robots_name_is_given_once_and_after_its_deletion_again(world: World) -> None:
    robot = await world.add_robot("ci", "repository:pull")
    with pytest.raises(RobotExists):
        await world.add_robot("ci", "repository:pull")

    await world.change(lambda tx: robots.remove(tx, robot.id))

    assert (await world.add_robot("ci", "repository:pull")).id > robot.id
    with pytest.raises(RobotUnknown):
        await world.change(lambda tx: robots.remove(tx, robot.id))


async def test_the_last_administrator_stays_one(world: World) -> None:
    number = world.numbers["admin"]
    for change in (
        lambda tx: users.set_admin(tx, number, admin=False),
        lambda tx: users.set_disabled(tx, number, disabled=True),
        lambda tx: users.remove(tx, number),
    ):
        with pytest.raises(LastAdministrator):
            await world.change(change)

    await world.add_user("second", "$argon2id$nobody", admin=True)

    await world.change(lambda tx: users.remove(tx, number))


@pytest.mark.parametrize("name", ["", "a b", "robot$ci", "a,b", 'a"b', "a:b", "x" * 256, "a\n", "a\0", "a/b"])
async def test_a_users_name_that_breaks_a_rule_is_refused(world: World, name: str) -> None:
    with pytest.raises(UserNameInvalid):
        await world.add_user(name, "$argon2id$nobody")


async def test_a_users_name_is_given_once(world: World) -> None:
    with pytest.raises(UserExists):
        await world.add_user("guest", "$argon2id$nobody")
    with pytest.raises(UserUnknown):
        await world.change(lambda tx: users.find(tx, "nobody-here"))


@pytest.mark.parametrize(
    "password", ["", "Short-1", "x" * 10, "NOLOWER123", "noupper123", "NoDigitsHere", "Aa1" * 60]
)
def test_a_weak_password_is_refused(password: str) -> None:
    with pytest.raises(PasswordTooWeak):
        users.check_password(password)


def test_a_good_password_is_taken() -> None:
    users.check_password("Correct-horse-9")


async def test_ids_of_deleted_users_never_come_back(world: World) -> None:
    last = await world.add_user("late", "$argon2id$nobody")
    await world.change(lambda tx: users.remove(tx, last))

    assert await world.add_user("late", "$argon2id$nobody") > last


async def test_a_flood_of_sign_ins_drops_the_refresh_token_that_was_not_used_for_longest(
    world: World,
) -> None:
    caller = (await world.access.sign_in("guest", PASSWORD)).caller

    async def fill(tx: Tx) -> list[str]:
        return [await refresh.issue(tx, caller, client="ci") for _ in range(refresh.MOST // 4)]

    filled = []
    for _ in range(4):
        world.clock.go_on(1)
        filled.append(await world.change(fill))
    kept, unused = [texts[0] for texts in filled], filled[0][1]
    world.clock.go_on(7200)
    before = (await world.post(grant_type="refresh_token", refresh_token=kept[0])).status_code
    world.clock.go_on(1)

    newest = await world.access.issue_refresh_token(caller, client="ci")

    after = [
        (await world.post(grant_type="refresh_token", refresh_token=one)).status_code
        for one in (*kept, newest)
    ]
    # The first of all was used since, so it stays; of its time only those go that were not.
    assert (before, after) == (200, [200, 200, 200, 200, 200])
    assert (await world.post(grant_type="refresh_token", refresh_token=unused)).status_code == 401


async def test_a_refresh_token_that_is_revoked_is_refused(world: World) -> None:
    kept = (await world.ask(user="guest", offline_token="true")).json()["refresh_token"]

    first = await world.change(lambda tx: refresh.revoke(tx, kept))
    second = await world.change(lambda tx: refresh.revoke(tx, kept))

    assert (first, second) == (True, False)
    assert (await world.post(grant_type="refresh_token", refresh_token=kept)).status_code == 401
