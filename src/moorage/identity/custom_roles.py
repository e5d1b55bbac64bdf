"""Roles of a registry's own beside Harbor's five: of the whole registry, or of one project.

A role is a name for permissions in a project. Harbor's five have the numbers 1 to 5 and cannot be changed; these have
numbers from a hundred on, which are never given twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, func, or_, select, update

from moorage.db import Statement, insert, one_of
from moorage.db.tables import member, project, project_role, project_role_permission
from moorage.errors import Problem
from moorage.identity import roles
from moorage.identity.roles import OF_ROLE, Permission, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.db import Reader, Tx
    from moorage.identity.roles import Permissions

LONGEST_NAME: Final = 64
LONGEST_DESCRIPTION: Final = 1024
MOST: Final = 100
"""So many the whole registry has, and each project: a list of all is one answer."""

_NAME = re.compile(r"[A-Za-z0-9]+(?:[ ._-][A-Za-z0-9]+)*")
_BUILT_IN = frozenset(role.shown for role in Role)

_columns = (
    project_role.c.id, project_role.c.project_id, project_role.c.name, project_role.c.description,
    project_role.c.created_at, project_role.c.updated_at,
)  # fmt: skip
_of_registry = project_role.c.project_id.is_(None)
_here = project_role.c.id == bindparam("id")
_LISTED = Statement(select(*_columns).where(_of_registry).order_by(project_role.c.name))
_LISTED_IN = Statement(
    select(*_columns).where(project_role.c.project_id == bindparam("project")).order_by(project_role.c.name)
)
_GET = Statement(select(*_columns).where(_here))
_NAMED = Statement(select(project_role.c.id).where(_of_registry, project_role.c.name == bindparam("name")))
_NAMED_IN = Statement(
    select(project_role.c.id).where(
        project_role.c.project_id == bindparam("project"), project_role.c.name == bindparam("name")
    )
)
_ADD = Statement(
    insert(project_role)
    .values(
        project_id=bindparam("project"),
        name=bindparam("name"),
        description=bindparam("description"),
        created_at=bindparam("now"),
        updated_at=bindparam("now"),
    )
    .returning(project_role.c.id)
)
_CHANGE = Statement(
    update(project_role)
    .where(_here)
    .values(name=bindparam("name"), description=bindparam("description"), updated_at=bindparam("now"))
)
_REMOVE = Statement(delete(project_role).where(_here))
_GIVE = Statement(
    insert(project_role_permission).values(
        role_id=bindparam("id"), resource=bindparam("resource"), action=bindparam("action")
    )
)
_TAKE_ALL = Statement(
    delete(project_role_permission).where(project_role_permission.c.role_id == bindparam("id"))
)
_PERMISSIONS = Statement(
    select(
        project_role_permission.c.role_id,
        project_role_permission.c.resource,
        project_role_permission.c.action,
    ).where(one_of(project_role_permission.c.role_id, "ids"))
)
_HOLDERS = Statement(
    select(func.count().label("n"), func.count(func.distinct(member.c.project_id)).label("projects"))
    .select_from(member.join(project, project.c.id == member.c.project_id))
    .where(member.c.role == bindparam("number"), project.c.deleted_at.is_(None))
)


class RoleInvalid(Problem):
    """The role breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not a role that can be made"


class RoleExists(Problem):
    """There is a role of this name."""

    code, status, summary = "CONFLICT", 409, "there is a role of this name"


class RoleMissing(Problem):
    """There is no such role."""

    code, status, summary = "NOT_FOUND", 404, "there is no such role"


class RoleHeld(Problem):
    """Somebody holds the role."""

    code, status, summary = "PRECONDITION", 412, "a role that somebody holds is not deleted"


class RoleUnknown(Problem):
    """There is no such role to be given."""

    code, status, summary = "BAD_REQUEST", 400, "there is no such role"


@dataclass(frozen=True, slots=True)
class CustomRole:
    """A role; of the whole registry without a project. Harbor's five have no times."""

    number: int
    name: str
    permissions: Permissions
    description: str = ""
    project: int | None = None
    created_at: int = 0
    updated_at: int = 0

    @property
    def built_in(self) -> bool:
        """Say whether it is one of Harbor's five, which stay as they are."""
        return self.number < roles.CUSTOM


def sees(column: Any, permission: Permission) -> Any:
    """Make the condition that a member's role (a column of its number) has a permission that each of Harbor's five has."""
    held = project_role_permission.c
    chosen = select(held.role_id).where(
        held.role_id == column - roles.CUSTOM,
        held.resource == permission.resource,
        held.action == permission.action,
    )
    return or_(column < roles.CUSTOM, chosen.exists())


BUILT_IN: Final = tuple(CustomRole(int(role), role.shown, OF_ROLE[role]) for role in Role)


def check(name: str, description: str, permissions: Permissions) -> None:
    """Raise RoleInvalid, unless there may be such a role."""
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise RoleInvalid(
            f"a role's name is at most {LONGEST_NAME} letters and digits, joined by single spaces, dots, dashes or"
            " underscores",
            name=name[:LONGEST_NAME],
        )
    if name in _BUILT_IN:
        raise RoleExists(f"{name} is one of the five roles that every registry has", name=name)
    if len(description) > LONGEST_DESCRIPTION or "\0" in description:
        raise RoleInvalid(f"a role's description has at most {LONGEST_DESCRIPTION} characters, and no NUL")
    if not permissions:
        raise RoleInvalid("a role that may nothing is of no use: give it a permission")
    if strange := sorted(permissions - roles.EVERYTHING):
        raise RoleInvalid(f"there is no permission {strange[0]} in projects"[:512])


async def listed(reader: Reader, project_id: int | None = None) -> list[CustomRole]:
    """List Harbor's five roles, those of the whole registry, and those of a project."""
    rows = await reader.all(_LISTED)
    if project_id is not None:
        rows = [*rows, *await reader.all(_LISTED_IN, project=project_id)]
    return [*BUILT_IN, *await _read(reader, rows)]


async def get(reader: Reader, number: int) -> CustomRole:
    """Give a role by its number, or raise RoleMissing."""
    if found := next((one for one in BUILT_IN if one.number == number), None):
        return found
    row = await reader.one(_GET, id=number - roles.CUSTOM) if number > roles.CUSTOM else None
    if row is None:
        raise RoleMissing(f"role {number} not found", role=number)
    return (await _read(reader, [row]))[0]


async def to_give(reader: Reader, number: int, project_id: int) -> CustomRole:
    """Give a role that members of a project can have, or raise RoleUnknown."""
    try:
        found = await get(reader, number)
    except RoleMissing:
        found = None
    if found is None or found.project not in (None, project_id):
        known = ", ".join(f"{one.number} ({one.name})" for one in BUILT_IN)
        raise RoleUnknown(
            f"role {number} is none: it is one of {known}, or one of those at /roles", role=number
        )
    return found


async def permissions_of(reader: Reader, numbers: Iterable[int]) -> Permissions:
    """Add up what some roles may; a number that names none adds nothing."""
    every = set(numbers)
    held = roles.together(every)
    own = [number - roles.CUSTOM for number in every if number > roles.CUSTOM]
    if not own:
        return held
    rows = await reader.all(_PERMISSIONS, ids=own)
    return held | frozenset(Permission(row.resource, row.action) for row in rows)


async def create(
    tx: Tx, name: str, permissions: Permissions, *, project_id: int | None = None, description: str = ""
) -> int:
    """Make a role of the registry or of a project, and give its number; raises RoleInvalid or RoleExists."""
    check(name, description, permissions)
    await _require_free(tx, name, project_id)
    there = await (tx.all(_LISTED) if project_id is None else tx.all(_LISTED_IN, project=project_id))
    if len(there) >= MOST:
        raise RoleInvalid(f"there are {MOST} roles here already, the most there can be")
    row = await tx.one(_ADD, project=project_id, name=name, description=description, now=tx.at)
    await _give(tx, row.id, permissions)
    return roles.CUSTOM + int(row.id)


async def change(tx: Tx, number: int, name: str, permissions: Permissions, *, description: str) -> CustomRole:
    """Make a role another, for all who hold it, and tell what it was; raises RoleMissing, RoleInvalid or RoleExists."""
    before = await get(tx, number)
    check(name, description, permissions)
    if name != before.name:
        await _require_free(tx, name, before.project)
    own = number - roles.CUSTOM
    await tx.run(_CHANGE, id=own, name=name, description=description, now=tx.at)
    await tx.run(_TAKE_ALL, id=own)
    await _give(tx, own, permissions)
    return before


async def remove(tx: Tx, number: int) -> CustomRole:
    """Delete a role that nobody holds, and tell what it was; raises RoleMissing or RoleHeld."""
    before = await get(tx, number)
    held = await tx.one(_HOLDERS, number=number)
    if held.n:
        raise RoleHeld(
            f"{before.name} is held by {held.n} members in {held.projects} projects: give them another role first",
            members=held.n,
        )
    await tx.run(_TAKE_ALL, id=number - roles.CUSTOM)
    await tx.run(_REMOVE, id=number - roles.CUSTOM)
    await tx.touch_access()
    return before


async def _require_free(tx: Tx, name: str, project_id: int | None) -> None:
    """Raise RoleExists where a role of the registry has the name, or one of the project."""
    found = await tx.one(_NAMED, name=name)
    if found is None and project_id is not None:
        found = await tx.one(_NAMED_IN, name=name, project=project_id)
    if found is not None:
        raise RoleExists(f"there is a role {name} already", name=name)


async def _give(tx: Tx, own: int, permissions: Permissions) -> None:
    given = [{"id": own, "resource": one.resource, "action": one.action} for one in sorted(permissions)]
    await tx.many(_GIVE, given)
    await tx.touch_access()


async def _read(reader: Reader, rows: Iterable[Any]) -> list[CustomRole]:
    every = list(rows)
    held: dict[int, set[Permission]] = {row.id: set() for row in every}
    for row in await reader.all(_PERMISSIONS, ids=list(held)) if held else ():
        held[row.role_id].add(Permission(row.resource, row.action))
    return [
        CustomRole(
            roles.CUSTOM + row.id, row.name, frozenset(held[row.id]), row.description, row.project_id, row.created_at,
            row.updated_at,
        )
        for row in every
    ]  # fmt: skip
