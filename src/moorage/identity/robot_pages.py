"""Robots as they are shown: one, or a page of them, each with all that it was given."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, func, select

from moorage.db import Statement, one_of, pages
from moorage.db.pages import Key, Listing
from moorage.db.tables import project, robot, robot_permission
from moorage.identity import repository_grants
from moorage.identity.accounts import GRANT_PREFIX, PREFIX, Grant, full_name, without_prefix
from moorage.identity.robots import RobotUnknown
from moorage.identity.roles import Permission

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.db import Reader
    from moorage.identity.repository_grants import Place

_COLUMNS = (
    robot.c.id, robot.c.name, robot.c.description, robot.c.project_id, project.c.name.label("project"),
    robot.c.disabled, robot.c.duration, robot.c.expires_at, robot.c.creator_kind, robot.c.creator_id,
    robot.c.last_used_at, robot.c.old_until, robot.c.created_at, robot.c.updated_at, PREFIX,
)  # fmt: skip
_SOURCE: Any = robot.outerjoin(project, project.c.id == robot.c.project_id)
_LIVE = robot.c.deleted_at.is_(None)
_GET = Statement(select(*_COLUMNS).select_from(_SOURCE).where(robot.c.id == bindparam("number"), _LIVE))
_GRANTS = Statement(
    select(
        robot_permission.c.robot_id,
        robot_permission.c.kind,
        robot_permission.c.namespace,
        robot_permission.c.resource,
        robot_permission.c.action,
    )
    .where(one_of(robot_permission.c.robot_id, "robots"))
    .order_by(
        robot_permission.c.robot_id,
        robot_permission.c.kind,
        robot_permission.c.namespace,
        robot_permission.c.resource,
        robot_permission.c.action,
    )
)
_KEYS = {
    "id": pages.number(robot.c.id),
    "name": Key(robot.c.name, lambda value: without_prefix(value.replace("\0", "")), fuzzy=True),
    "description": pages.text(robot.c.description),
    "disabled": pages.flag(robot.c.disabled),
    "duration": pages.number(robot.c.duration),
    "expires_at": pages.number(func.coalesce(robot.c.expires_at // 1_000_000, -1)),
    "creator_ref": pages.number(robot.c.creator_id),
    "creation_time": pages.time(robot.c.created_at),
    "update_time": pages.time(robot.c.updated_at),
}


def _listing(of: Any) -> Listing:
    return Listing(
        shown=_COLUMNS, source=_SOURCE, id=robot.c.id, where=(of, _LIVE), keys=_KEYS, order=(("name", False),),
        inner=robot,
    )  # fmt: skip


OF_SYSTEM: Final = _listing(robot.c.project_id.is_(None))
OF_PROJECT: Final = _listing(robot.c.project_id == bindparam("project"))


@dataclass(frozen=True, slots=True)
class Robot:
    """A robot, without its secret; *name* has no prefix, *project* is None for one of the whole registry."""

    id: int
    name: str
    description: str
    project_id: int | None
    project: str | None
    disabled: bool
    days: int
    expires_at: int | None
    creator_kind: str
    creator_id: int | None
    last_used_at: int | None
    old_until: int | None
    created_at: int
    updated_at: int
    grants: tuple[Grant, ...]
    places: tuple[Place, ...]
    """What it was given in single repositories."""
    prefix: str | None

    @property
    def full_name(self) -> str:
        """Give the name that it signs in with."""
        return full_name(self.name, self.prefix)

    @property
    def is_providers(self) -> bool:
        """Say whether the provider's people enter by it, for as long as they were let in."""
        return self.name.startswith(GRANT_PREFIX)


async def get(db: Reader, number: int) -> Robot | None:
    """Give a robot, or None; one of a project that is gone is not there."""
    row = await db.one(_GET, number=number)
    if row is None or (row.project_id is not None and row.project is None):
        return None
    return (await shown(db, [row]))[0]


async def require(db: Reader, number: int) -> Robot:
    """Give a robot, or raise RobotUnknown."""
    found = await get(db, number)
    if found is None:
        raise RobotUnknown(f"robot {number} not found", robot=number)
    return found


async def shown(db: Reader, rows: Iterable[Any]) -> list[Robot]:
    """Give the robots of a page, with two more questions for what all of them were given."""
    every = list(rows)
    given: defaultdict[int, list[Grant]] = defaultdict(list)
    places: dict[int, list[Place]] = {}
    if every:
        places = await repository_grants.of_robots(db, [row.id for row in every])
        for one in await db.all(_GRANTS, robots=[row.id for row in every]):
            permission = Permission(one.resource, one.action)
            given[one.robot_id].append(Grant(one.kind, one.namespace, permission))
    return [
        Robot(
            row.id, row.name, row.description, row.project_id, row.project, bool(row.disabled), row.duration,
            row.expires_at, row.creator_kind, row.creator_id, row.last_used_at, row.old_until, row.created_at,
            row.updated_at or row.created_at, tuple(given[row.id]), tuple(places.get(row.id, ())), row.prefix,
        )
        for row in every
    ]  # fmt: skip
