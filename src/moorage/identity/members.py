"""Who belongs to a project, and in which role: users themselves, and groups of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, select, union_all

from moorage.db import Statement, insert, one_of
from moorage.db.tables import member, project, user_group, user_group_member

if TYPE_CHECKING:
    from moorage.db import Reader, Tx
    from moorage.identity.roles import Role

_adds = insert(member).values(
    project_id=bindparam("project"),
    user_id=bindparam("user"),
    group_id=bindparam("group"),
    role=bindparam("role"),
    created_at=bindparam("now"),
)
_changes: dict[str, Any] = {"role": bindparam("role"), "updated_at": bindparam("now")}
_SET_USER = Statement(
    _adds.on_conflict_do_update(
        index_elements=[member.c.user_id, member.c.project_id],
        index_where=member.c.user_id.is_not(None),
        set_=_changes,
    )
)
_SET_GROUP = Statement(
    _adds.on_conflict_do_update(
        index_elements=[member.c.group_id, member.c.project_id],
        index_where=member.c.group_id.is_not(None),
        set_=_changes,
    )
)
_REMOVE_USER = Statement(
    delete(member).where(member.c.project_id == bindparam("project"), member.c.user_id == bindparam("user"))
)
_REMOVE_GROUP = Statement(
    delete(member).where(member.c.project_id == bindparam("project"), member.c.group_id == bindparam("group"))
)
_through_groups = (
    user_group_member.c.user_id == bindparam("user"),
    user_group.c.deleted_at.is_(None),
)
_ROLES_IN = Statement(
    union_all(
        select(member.c.project_id, member.c.role).where(
            member.c.user_id == bindparam("user"), one_of(member.c.project_id, "projects")
        ),
        select(member.c.project_id, member.c.role)
        .join_from(user_group_member, user_group, user_group.c.id == user_group_member.c.group_id)
        .join(member, member.c.group_id == user_group.c.id)
        .where(*_through_groups, one_of(member.c.project_id, "projects")),
    )
)
_ROLES_OF = Statement(
    union_all(
        select(project.c.name, member.c.role)
        .join_from(member, project, project.c.id == member.c.project_id)
        .where(member.c.user_id == bindparam("user"), project.c.deleted_at.is_(None)),
        select(project.c.name, member.c.role)
        .join_from(user_group_member, user_group, user_group.c.id == user_group_member.c.group_id)
        .join(member, member.c.group_id == user_group.c.id)
        .join(project, project.c.id == member.c.project_id)
        .where(*_through_groups, project.c.deleted_at.is_(None)),
    )
)
_COUNT_ROLES = Statement(
    select(member.c.role, func.count().label("n"))
    .where(member.c.project_id == bindparam("project"))
    .group_by(member.c.role)
)
_ADD_GROUP = Statement(
    insert(user_group)
    .values(
        name=bindparam("name"),
        source=bindparam("source"),
        external=bindparam("external"),
        created_at=bindparam("now"),
    )
    .returning(user_group.c.id)
)
_JOIN = Statement(
    insert(user_group_member)
    .values(group_id=bindparam("group"), user_id=bindparam("user"), at=bindparam("now"))
    .on_conflict_do_nothing(index_elements=[user_group_member.c.group_id, user_group_member.c.user_id])
)
_LEAVE = Statement(
    delete(user_group_member).where(
        user_group_member.c.group_id == bindparam("group"),
        user_group_member.c.user_id == bindparam("user"),
    )
)


async def roles_in(reader: Reader, user: int, projects: list[int]) -> dict[int, list[int]]:
    """Give the roles that a user has in each of some projects, their own and their groups'."""
    found: dict[int, set[int]] = {}
    for row in await reader.all(_ROLES_IN, user=user, projects=projects):
        found.setdefault(row.project_id, set()).add(row.role)
    return {project: sorted(roles) for project, roles in found.items()}


async def roles_of(reader: Reader, user: int) -> list[tuple[str, int]]:
    """Give all projects that a user is a member of, by name, with the role (or several) there."""
    return [(row.name, row.role) for row in await reader.all(_ROLES_OF, user=user)]


async def count_roles(reader: Reader, project: int) -> dict[int, int]:
    """Count the members of a project by their role."""
    return {row.role: row.n for row in await reader.all(_COUNT_ROLES, project=project)}


async def set_user(tx: Tx, project: int, user: int, role: Role) -> None:
    """Make a user a member of a project, or change the member's role."""
    await tx.run(_SET_USER, project=project, user=user, group=None, role=int(role), now=tx.at)
    await tx.touch_access()


async def set_group(tx: Tx, project: int, group: int, role: Role) -> None:
    """Make a group a member of a project, or change the group's role."""
    await tx.run(_SET_GROUP, project=project, user=None, group=group, role=int(role), now=tx.at)
    await tx.touch_access()


async def remove_user(tx: Tx, project: int, user: int) -> bool:
    """End a user's membership, and tell whether there was one."""
    removed = await tx.run(_REMOVE_USER, project=project, user=user)
    await tx.touch_access()
    return removed > 0


async def remove_group(tx: Tx, project: int, group: int) -> bool:
    """End a group's membership, and tell whether there was one."""
    removed = await tx.run(_REMOVE_GROUP, project=project, group=group)
    await tx.touch_access()
    return removed > 0


async def create_group(tx: Tx, name: str, *, source: str = "local", external: str = "") -> int:
    """Make a group, and give its number; *external* is what its *source* calls it."""
    row = await tx.one(_ADD_GROUP, name=name, source=source, external=external, now=tx.at)
    assert row is not None
    return int(row.id)


async def join_group(tx: Tx, group: int, user: int) -> None:
    """Put a user into a group."""
    await tx.run(_JOIN, group=group, user=user, now=tx.at)
    await tx.touch_access()


async def leave_group(tx: Tx, group: int, user: int) -> None:
    """Take a user out of a group."""
    await tx.run(_LEAVE, group=group, user=user)
    await tx.touch_access()
