"""Who belongs to a project, and in which role: users themselves, and groups of users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, func, select, union_all, update

from moorage.db import Statement, insert, one_of, pages
from moorage.db.pages import Listing
from moorage.db.tables import member, project, project_role, user, user_group, user_group_member
from moorage.errors import Problem
from moorage.identity.roles import CUSTOM, OF_ROLE, Role

if TYPE_CHECKING:
    from moorage.db import Reader, Tx

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
_NAME: Any = func.coalesce(user.c.name, user_group.c.name)
_COLUMNS = (
    member.c.id, member.c.project_id, member.c.user_id, member.c.group_id, member.c.role, _NAME.label("name"),
    project_role.c.name.label("custom"),
)  # fmt: skip
_SOURCE: Any = (
    member.outerjoin(user, user.c.id == member.c.user_id)
    .outerjoin(user_group, user_group.c.id == member.c.group_id)
    .outerjoin(project_role, project_role.c.id == member.c.role - CUSTOM)
)
_HERE = (member.c.id == bindparam("number"), member.c.project_id == bindparam("project"))
_GET = Statement(select(*_COLUMNS).select_from(_SOURCE).where(*_HERE))
_ADD = Statement(_adds.returning(member.c.id))
_IS_USER = Statement(
    select(member.c.id).where(
        member.c.user_id == bindparam("user"), member.c.project_id == bindparam("project")
    )
)
_IS_GROUP = Statement(
    select(member.c.id).where(
        member.c.group_id == bindparam("group"), member.c.project_id == bindparam("project")
    )
)
_ROLE = Statement(update(member).where(*_HERE).values(**_changes))
_REMOVE = Statement(delete(member).where(*_HERE))
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

LISTED: Final = Listing(
    shown=_COLUMNS,
    source=_SOURCE,
    inner=member,
    id=member.c.id,
    where=(member.c.project_id == bindparam("project"),),
    keys={"entity_name": pages.text(member.c.name), "role_id": pages.number(member.c.role)},
    order=(("entity_name", False),),
)


class MemberExists(Problem):
    """Who is to be a member of the project is one."""

    code, status, summary = "CONFLICT", 409, "the project has this member"


class MemberUnknown(Problem):
    """The project has no such member."""

    code, status, summary = "NOT_FOUND", 404, "the project has no such member"


@dataclass(frozen=True, slots=True)
class Member:
    """A user or a group (the other is None) in a role of a project, one of Harbor's or of the registry's own."""

    id: int
    project: int
    user: int | None
    group: int | None
    role: int
    name: str
    role_name: str


def _role_name(row: Any) -> str:
    return Role(row.role).shown if row.role in OF_ROLE else row.custom or ""


def member_of(row: Any) -> Member:
    """Read a row of the list."""
    return Member(
        row.id, row.project_id, row.user_id, row.group_id, row.role, row.name or "", _role_name(row)
    )


async def get(db: Reader, project: int, number: int) -> Member:
    """Give a member of a project, or raise MemberUnknown."""
    row = await db.one(_GET, project=project, number=number)
    if row is None:
        raise MemberUnknown(
            f"the project member is not found, project id {project}, member id {number}", member=number
        )
    return member_of(row)


async def add(tx: Tx, project: int, role: int, *, user: int | None = None, group: int | None = None) -> int:
    """Make a user or a group a member of a project, and give the membership's number; or raise MemberExists."""
    found = await (tx.one(_IS_USER, project=project, user=user) if user is not None
                   else tx.one(_IS_GROUP, project=project, group=group))  # fmt: skip
    if found is not None:
        raise MemberExists("The project member specified already exist", member=found.id)
    row = await tx.one(_ADD, project=project, user=user, group=group, role=role, now=tx.at)
    await tx.touch_access()
    return int(row.id)


async def change_role(tx: Tx, project: int, number: int, role: int) -> Member:
    """Give a member another role, and tell what it was; or raise MemberUnknown."""
    before = await get(tx, project, number)
    await tx.run(_ROLE, project=project, number=number, role=role, now=tx.at)
    await tx.touch_access()
    return before


async def remove(tx: Tx, project: int, number: int) -> Member | None:
    """End a membership, and tell what it was; None where there was none."""
    row = await tx.one(_GET, project=project, number=number)
    if row is None:
        return None
    await tx.run(_REMOVE, project=project, number=number)
    await tx.touch_access()
    return member_of(row)


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
