"""Grants for single repositories: what a user, a group or a robot may where a name matches a pattern, within one project.

They add to what roles give, and take nothing away. A grant hangs on its project's number and on names within the project,
so it goes with the project wherever that is renamed to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import bindparam, delete, func, select, union_all, update

from moorage.db import Statement, insert, one_of, pages
from moorage.db import places as places_
from moorage.db.pages import Listing
from moorage.db.tables import project, repository_grant, robot, user, user_group, user_group_member
from moorage.errors import Problem
from moorage.identity import roles
from moorage.identity.accounts import PREFIX, full_name
from moorage.identity.roles import Permission

if TYPE_CHECKING:
    from moorage.db import Reader, Tx
    from moorage.identity.callers import Caller
    from moorage.identity.roles import Permissions

Kind = Literal["user", "group", "robot"]

PLACE: Final = places_.Place(repository_grant)
LONGEST_PATTERN: Final = 255
MOST: Final = 100
"""So many grants somebody has in one project: each is matched where no role gives what is asked for."""

_PATTERN = re.compile(r"[a-z0-9._/*?{},-]+")
_WHOSE: Final[dict[Kind, Any]] = {
    "user": repository_grant.c.user_id,
    "group": repository_grant.c.group_id,
    "robot": repository_grant.c.robot_id,
}
_NAME: Any = func.coalesce(user.c.name, user_group.c.name, robot.c.name)
_COLUMNS = (
    repository_grant.c.id, repository_grant.c.project_id, repository_grant.c.user_id, repository_grant.c.group_id,
    repository_grant.c.robot_id, _NAME.label("name"), repository_grant.c.pattern, repository_grant.c.permissions,
    repository_grant.c.created_at, repository_grant.c.updated_at, PREFIX,
)  # fmt: skip
_SOURCE: Any = (
    repository_grant.outerjoin(user, user.c.id == repository_grant.c.user_id)
    .outerjoin(user_group, user_group.c.id == repository_grant.c.group_id)
    .outerjoin(robot, robot.c.id == repository_grant.c.robot_id)
)
_HERE = (repository_grant.c.id == bindparam("number"), repository_grant.c.project_id == bindparam("project"))
_GET = Statement(select(*_COLUMNS).select_from(_SOURCE).where(*_HERE))
_ADD = Statement(
    insert(repository_grant)
    .values(
        project_id=bindparam("project"),
        user_id=bindparam("user"),
        group_id=bindparam("group"),
        robot_id=bindparam("robot"),
        pattern=bindparam("pattern"),
        permissions=bindparam("permissions"),
        created_at=bindparam("now"),
        updated_at=bindparam("now"),
    )
    .returning(repository_grant.c.id)
)
_CHANGE = Statement(
    update(repository_grant)
    .where(*_HERE)
    .values(pattern=bindparam("pattern"), permissions=bindparam("permissions"), updated_at=bindparam("now"))
)
_REMOVE = Statement(delete(repository_grant).where(*_HERE))
_HELD_IN = {
    kind: Statement(
        select(repository_grant.c.pattern).where(
            column == bindparam("whose"), repository_grant.c.project_id == bindparam("project")
        )
    )
    for kind, column in _WHOSE.items()
}
_TAKE_ALL = {
    kind: Statement(delete(repository_grant).where(column == bindparam("whose")))
    for kind, column in _WHOSE.items()
}
_OF_ROBOTS = Statement(
    select(
        repository_grant.c.robot_id, project.c.name.label("project"), repository_grant.c.project_id,
        repository_grant.c.pattern, repository_grant.c.permissions,
    )
    .join_from(repository_grant, project, project.c.id == repository_grant.c.project_id)
    .where(one_of(repository_grant.c.robot_id, "robots"), project.c.deleted_at.is_(None))
    .order_by(repository_grant.c.robot_id, project.c.name, repository_grant.c.pattern)
)  # fmt: skip


def _places(*where: Any) -> Any:
    return (
        select(
            repository_grant.c.project_id, project.c.name.label("project"), repository_grant.c.pattern,
            repository_grant.c.permissions,
        )
        .join_from(repository_grant, project, project.c.id == repository_grant.c.project_id)
        .where(project.c.deleted_at.is_(None), *where)
    )  # fmt: skip


_PLACES = Statement(
    union_all(
        _places(repository_grant.c.user_id == bindparam("user")),
        _places(repository_grant.c.robot_id == bindparam("robot")),
        _places(user_group_member.c.user_id == bindparam("user"), user_group.c.deleted_at.is_(None))
        .join(user_group, user_group.c.id == repository_grant.c.group_id)
        .join(user_group_member, user_group_member.c.group_id == user_group.c.id),
    )
)

LISTED: Final = Listing(
    shown=_COLUMNS,
    source=_SOURCE,
    id=repository_grant.c.id,
    where=(repository_grant.c.project_id == bindparam("project"),),
    keys={
        "id": pages.number(repository_grant.c.id),
        "repository": pages.text(repository_grant.c.pattern),
        "entity_name": pages.text(_NAME),
        "creation_time": pages.time(repository_grant.c.created_at),
        "update_time": pages.time(repository_grant.c.updated_at),
    },
    order=(("id", False),),
)


class GrantInvalid(Problem):
    """The grant breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not a grant that can be made"


class GrantUnknown(Problem):
    """The project has no such grant."""

    code, status, summary = "NOT_FOUND", 404, "the project has no such grant"


class GrantExists(Problem):
    """Whoever is to have the grant has one for the same repositories."""

    code, status, summary = "CONFLICT", 409, "there is a grant for these repositories"


@dataclass(frozen=True, slots=True)
class Whose:
    """Who has a grant."""

    kind: Kind
    id: int


@dataclass(frozen=True, slots=True)
class RepositoryGrant:
    """Permissions in the repositories of a project whose names match a pattern."""

    id: int
    project: int
    whose: Whose
    name: str
    pattern: str
    permissions: Permissions
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a caller was granted something."""

    project: int
    project_name: str
    pattern: str
    permissions: Permissions


def read(text: str) -> Permissions:
    """Read permissions as a row keeps them."""
    return frozenset(Permission(*word.split(":")) for word in text.split())


def check(pattern: str, permissions: Permissions) -> None:
    """Raise GrantInvalid, unless there may be such a grant."""
    if len(pattern) > LONGEST_PATTERN or not _PATTERN.fullmatch(pattern):
        raise GrantInvalid(
            f"repository is a pattern of at most {LONGEST_PATTERN} characters that names within the project match:"
            " app, team/*, or ** for all",
            repository=pattern[:LONGEST_PATTERN],
        )
    if not permissions:
        raise GrantInvalid("a grant of nothing is of no use: give it a permission")
    if strange := sorted(permissions - roles.IN_REPOSITORIES):
        known = ", ".join(map(str, sorted(roles.IN_REPOSITORIES)))
        raise GrantInvalid(f"{str(strange[0])[:128]} is not granted for repositories, but one of {known}")


def shown(row: Any) -> RepositoryGrant:
    """Read a row of the list."""
    kind: Kind = "user" if row.user_id is not None else "group" if row.group_id is not None else "robot"
    whose = Whose(kind, int(row.user_id or row.group_id or row.robot_id))
    name = full_name(row.name, row.prefix) if kind == "robot" else row.name
    return RepositoryGrant(
        row.id,
        row.project_id,
        whose,
        name,
        row.pattern,
        read(row.permissions),
        row.created_at,
        row.updated_at,
    )


async def get(reader: Reader, project_id: int, number: int) -> RepositoryGrant:
    """Give a grant of a project, or raise GrantUnknown."""
    row = await reader.one(_GET, project=project_id, number=number)
    if row is None:
        raise GrantUnknown(f"grant {number} is none of this project's", grant=number)
    return shown(row)


async def add(tx: Tx, project_id: int, whose: Whose, pattern: str, permissions: Permissions) -> int:
    """Grant something, and give the grant's number; raises GrantInvalid or GrantExists."""
    check(pattern, permissions)
    there = [row.pattern for row in await tx.all(_HELD_IN[whose.kind], whose=whose.id, project=project_id)]
    if pattern in there:
        raise GrantExists(f"there is a grant for {pattern} already: change that one", repository=pattern)
    if len(there) >= MOST:
        raise GrantInvalid(f"{MOST} grants in one project are the most that anybody has: use a wider pattern")
    whom = {"user": None, "group": None, "robot": None} | {whose.kind: whose.id}
    row = await tx.one(
        _ADD, project=project_id, pattern=pattern, permissions=_written(permissions), now=tx.at,
        user=whom["user"], group=whom["group"], robot=whom["robot"],
    )  # fmt: skip
    await tx.touch_access()
    return int(row.id)


async def change(
    tx: Tx, project_id: int, number: int, pattern: str, permissions: Permissions
) -> RepositoryGrant:
    """Make a grant another, and tell what it was; raises GrantUnknown, GrantInvalid or GrantExists."""
    check(pattern, permissions)
    before = await get(tx, project_id, number)
    there = await tx.all(_HELD_IN[before.whose.kind], whose=before.whose.id, project=project_id)
    if pattern != before.pattern and pattern in {row.pattern for row in there}:
        raise GrantExists(f"there is a grant for {pattern} already: change that one", repository=pattern)
    await tx.run(
        _CHANGE,
        project=project_id,
        number=number,
        pattern=pattern,
        permissions=_written(permissions),
        now=tx.at,
    )
    await tx.touch_access()
    return before


async def remove(tx: Tx, project_id: int, number: int) -> RepositoryGrant:
    """End a grant, and tell what it was; or raise GrantUnknown."""
    before = await get(tx, project_id, number)
    await tx.run(_REMOVE, project=project_id, number=number)
    await tx.touch_access()
    return before


async def remove_of(tx: Tx, whose: Whose) -> None:
    """End all that somebody was granted, who is going."""
    await tx.run(_TAKE_ALL[whose.kind], whose=whose.id)
    await tx.touch_access()


async def of_robots(reader: Reader, numbers: list[int]) -> dict[int, list[Place]]:
    """List what each of some robots was granted for single repositories."""
    found: dict[int, list[Place]] = {}
    for row in await reader.all(_OF_ROBOTS, robots=numbers):
        found.setdefault(row.robot_id, []).append(_place(row))
    return found


async def places(reader: Reader, caller: Caller) -> tuple[Place, ...]:
    """List all that a caller was granted in any project, by themselves and through groups."""
    if not await PLACE.is_there(reader):
        return ()
    numbers = {"user": 0, "robot": 0} | {caller.kind: caller.id}
    rows = await reader.all(_PLACES, user=numbers["user"], robot=numbers["robot"])
    return tuple(_place(row) for row in rows)


def _place(row: Any) -> Place:
    return Place(row.project_id, row.project, row.pattern, read(row.permissions))


def _written(permissions: Permissions) -> str:
    return " ".join(map(str, sorted(permissions)))
