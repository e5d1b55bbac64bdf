"""Robots that are about to expire are told of 30, 7 and 1 days ahead; and when a robot was last used is known."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import bindparam, select

from moorage.api.harbor.operations import PREFIX
from moorage.db import Statement
from moorage.db.tables import outbox
from moorage.identity import robots
from moorage.identity.accounts import Grant
from moorage.identity.callers import Caller
from moorage.identity.roles import Permission
from moorage.registry import robot_warnings
from tests.functional.registry_world import DAY, Held, held
from tests.worlds import World

__all__ = ["held"]

GRANTS = [Grant("project", "*", Permission("repository", "pull"))]
SOMEBODY = Caller("user", 1, "somebody")
_WARNINGS = Statement(select(outbox.c.body).where(outbox.c.kind == bindparam("kind")).order_by(outbox.c.id))


async def robot(held: Held, name: str, days: int) -> int:
    """Make a robot that lives for so many days; give its number."""
    made = await held.change(
        lambda tx: robots.create(tx, name=name, owner=None, grants=GRANTS, creator=SOMEBODY, days=days)
    )
    return int(made.id)


async def warned(held: Held) -> list[tuple[str, int]]:
    """Give all warnings that were written."""
    bodies: list[dict[str, Any]] = [
        json.loads(row.body) for row in await held.db.all(_WARNINGS, kind="robot.expiring")
    ]
    return [(one["target"], one["days"]) for one in bodies]


async def test_a_robots_end_is_told_thirty_seven_and_one_days_ahead_each_once(held: Held) -> None:
    await robot(held, "long", 60)
    await robot(held, "ever", -1)
    await robot(held, "week", 7)
    off = await robot(held, "off", 60)
    await held.change(lambda tx: robots.set_disabled(tx, off, disabled=True))

    # A turn's stamp may be a little later than the clock.
    held.clock.at += 1_000_000

    told = []
    for _ in range(61):
        held.clock.at += DAY
        told.append(await robot_warnings.warn(held.db) + await robot_warnings.warn(held.db))

    name = "robot$long"
    assert await warned(held) == [("robot$week", 1), (name, 30), (name, 7), (name, 1)]
    assert [day for day, count in enumerate(told, 1) if count] == [6, 30, 53, 59]


async def test_who_was_not_looked_for_in_a_while_is_told_once_of_what_is_left(held: Held) -> None:
    first = await robot(held, "first", 40)
    held.clock.at += 12 * DAY
    assert await robot_warnings.warn(held.db) == 0
    held.clock.at += DAY // 2
    await robot(held, "second", 30)
    # Thirty days and seven have passed since anybody looked: one warning says that it is near.
    held.clock.at += 21 * DAY
    await held.change(
        lambda tx: robots.describe(tx, first, description="", days=35, expires_at=held.clock.at + DAY)
    )
    held.clock.at += DAY // 4

    assert await robot_warnings.warn(held.db) == 1
    assert await warned(held) == [("robot$first", 1)]


@pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)
async def test_when_a_robot_was_last_used_is_written_with_what_was_gathered(world: World) -> None:
    registry = await world.registry()
    made = await registry.db.change(
        lambda tx: robots.create(tx, name="ci", owner=None, grants=GRANTS, creator=SOMEBODY)
    )
    path = f"{PREFIX}/robots/{made.id}"

    async def shown() -> dict[str, Any]:
        answer: httpx.Response = await world.client.get(path)
        return dict(answer.json())

    assert "last_used_time" not in await shown()
    machine = await world.as_(made.name, made.secret)
    assert (await machine.get("/v2/")).status_code == 200
    assert "last_used_time" not in await shown()
    assert registry.has_gathered(pulls=True)
    await registry.write_down(pulls=True)
    seen = (await shown())["last_used_time"]
    assert seen
    # A robot that works all day is written of once a minute, and what voids its tokens is not touched.
    assert (await machine.get("/v2/")).status_code == 200
    assert not registry.access.used
