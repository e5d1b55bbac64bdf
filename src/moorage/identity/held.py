"""What somebody holds in a project: permissions everywhere in it, and more in repositories that patterns name.

It is found with one question, however somebody came to it: by a role of their own, by their groups' roles, by what was
granted to them, to their groups or to a robot. A role of the registry's own takes one question more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, literal, select, union_all

from moorage.db import Statement
from moorage.db.tables import member, project, repository_grant, user_group, user_group_member
from moorage.identity import custom_roles, roles
from moorage.identity.repository_grants import PLACE, read
from moorage.identity.roles import NOTHING
from moorage.oci import globs

if TYPE_CHECKING:
    from moorage.db import Reader
    from moorage.identity.accounts import Account
    from moorage.identity.callers import Caller
    from moorage.identity.roles import Permission, Permissions

_here = (project.c.name == bindparam("name"), project.c.deleted_at.is_(None))
_through_groups = (
    user_group_member.c.user_id == bindparam("user"),
    user_group.c.deleted_at.is_(None),
)


def _role(number: Any) -> Any:
    return select(
        project.c.id, project.c.public, number, literal("").label("pattern"), literal("").label("granted")
    )


def _grant() -> Any:
    return select(
        project.c.id, project.c.public, literal(0).label("role"), repository_grant.c.pattern,
        repository_grant.c.permissions.label("granted"),
    ).join_from(project, repository_grant, repository_grant.c.project_id == project.c.id)  # fmt: skip


# All questions in one, each answered by an index however many members there are: an OR of user and group would walk
# all of them.
_by_roles = (
    _role(literal(0).label("role")).where(*_here),
    _role(member.c.role)
    .join_from(project, member, member.c.project_id == project.c.id)
    .where(*_here, member.c.user_id == bindparam("user")),
    _role(member.c.role)
    .join_from(project, member, member.c.project_id == project.c.id)
    .join(user_group, user_group.c.id == member.c.group_id)
    .join(user_group_member, user_group_member.c.group_id == user_group.c.id)
    .where(*_here, *_through_groups),
)
_HELD = Statement(
    union_all(
        *_by_roles,
        _grant().where(*_here, repository_grant.c.user_id == bindparam("user")),
        _grant()
        .join(user_group, user_group.c.id == repository_grant.c.group_id)
        .join(user_group_member, user_group_member.c.group_id == user_group.c.id)
        .where(*_here, *_through_groups),
        _grant().where(*_here, repository_grant.c.robot_id == bindparam("robot")),
    )
)
# In a cell whose schema has no place for grants yet.
_HELD_BY_ROLES = Statement(union_all(*_by_roles))


EVERY_REPOSITORY: Final = "**"


@dataclass(frozen=True, slots=True)
class Held:
    """Permissions in a whole project, and in its repositories that match patterns."""

    everywhere: Permissions = NOTHING
    granted: tuple[tuple[str, Permissions], ...] = ()

    def within(self, repository: str) -> Permissions:
        """Give all that is held in a repository, named as it is within the project."""
        more = [given for pattern, given in self.granted if globs.matches(pattern, repository)]
        return self.everywhere.union(*more) if more else self.everywhere

    def somewhere(self, permission: Permission) -> bool:
        """Say whether a permission is held in the project, or in any repository that may be in it."""
        return permission in self.everywhere or any(permission in given for _, given in self.granted)

    def patterns(self, permission: Permission) -> list[str] | None:
        """Give the patterns of the repositories that a permission is held in; None: in all of them."""
        found = sorted({pattern for pattern, given in self.granted if permission in given})
        return None if permission in self.everywhere or EVERY_REPOSITORY in found else found

    def lacks(self, wanted: Permissions, *, pattern: str = "", by_robot: bool = False) -> list[Permission]:
        """List what of *wanted* is not held, in the project or (with a *pattern*) by that very pattern."""
        also = [given for one, given in self.granted if pattern and one == pattern]
        return roles.missing(wanted, self.everywhere.union(*also), by_robot=by_robot)


NONE: Final = Held()
ALL: Final = Held(roles.EVERYTHING)


async def find(reader: Reader, caller: Caller, name: str, robot: Account | None) -> Held:
    """Find what a caller who is no administrator holds in a project; nothing where there is no such project."""
    numbers = {"user": 0, "robot": 0} | {caller.kind: caller.id}
    if await PLACE.is_there(reader):
        rows = await reader.all(_HELD, name=name, user=numbers["user"], robot=numbers["robot"])
    else:
        rows = await reader.all(_HELD_BY_ROLES, name=name, user=numbers["user"])
    if not rows:
        return NONE
    everywhere = roles.PUBLIC if rows[0].public else NOTHING
    if caller.kind == "user":
        everywhere |= await custom_roles.permissions_of(reader, (row.role for row in rows if row.role))
    elif robot is None or robot.project_id not in (None, rows[0].id):
        return Held(everywhere)
    else:
        everywhere |= _given(robot, name)
    granted = tuple((row.pattern, read(row.granted)) for row in rows if row.granted)
    # Whoever has anything in a project sees the project itself, as each of Harbor's roles does.
    return Held(everywhere | {roles.SEE_PROJECT} if granted else everywhere, granted)


def _given(robot: Account, name: str) -> Permissions:
    """Add up what a robot was given for a project, as far as robots may be given it at all."""
    given = (one.permission for one in robot.grants if one.kind == "project" and one.namespace in ("*", name))
    return frozenset(given) & roles.ROBOT_PROJECT
