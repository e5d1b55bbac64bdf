"""Groups of users: each of one source, which says who is in it, and under a name that is its own there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, case, delete, select, update

from moorage.db import Statement, pages
from moorage.db.pages import Listing
from moorage.db.tables import member, user_group, user_group_member
from moorage.errors import Problem
from moorage.identity import members, repository_grants
from moorage.identity.repository_grants import Whose
from moorage.outbound import ldap_names

if TYPE_CHECKING:
    from moorage.db import Reader, Tx

LOCAL, LDAP, HTTP, OIDC = "local", "ldap", "http", "oidc"
SOURCES: Final = {0: LOCAL, 1: LDAP, 2: HTTP, 3: OIDC}
"""What Harbor numbers as a group's type; it has no groups of a registry's own."""
TYPES: Final = {source: number for number, source in SOURCES.items()}
LONGEST: Final = 255

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_COLUMNS = (user_group.c.id, user_group.c.name, user_group.c.source, user_group.c.external)
_LIVE = user_group.c.deleted_at.is_(None)
_HERE = (user_group.c.id == bindparam("number"), _LIVE)
_GET = Statement(select(*_COLUMNS).where(*_HERE))
_NAMED = Statement(
    select(*_COLUMNS).where(
        user_group.c.source == bindparam("source"), user_group.c.name == bindparam("name"), _LIVE
    )
)
_OF_SOURCE = Statement(
    select(user_group.c.external, user_group.c.name).where(user_group.c.source == bindparam("source"), _LIVE)
)
_CALLED = Statement(
    select(*_COLUMNS)
    .where(user_group.c.source == bindparam("source"), user_group.c.external == bindparam("external"), _LIVE)
    .order_by(user_group.c.id)
    .limit(1)
)
_RENAME = Statement(update(user_group).where(*_HERE).values(name=bindparam("name")))
_DELETE = Statement(update(user_group).where(*_HERE).values(deleted_at=bindparam("now")))
_LEAVE_PROJECTS = Statement(delete(member).where(member.c.group_id == bindparam("number")))
_ALL_LEAVE = Statement(delete(user_group_member).where(user_group_member.c.group_id == bindparam("number")))

LISTED: Final = Listing(
    shown=_COLUMNS,
    source=user_group,
    id=user_group.c.id,
    where=(_LIVE,),
    keys={
        "id": pages.number(user_group.c.id),
        "group_name": pages.text(user_group.c.name),
        "group_type": pages.number(case(*((user_group.c.source == one, n) for one, n in TYPES.items()))),
        "ldap_group_dn": pages.text(user_group.c.external),
    },
    order=(("group_name", False),),
)


class GroupInvalid(Problem):
    """The group breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not a group that can be made"


class GroupExists(Problem):
    """There is a group of this name and source."""

    code, status, summary = "CONFLICT", 409, "there is a group of this name and type"


class GroupUnknown(Problem):
    """There is no such group."""

    code, status, summary = "NOT_FOUND", 404, "there is no such group"


@dataclass(frozen=True, slots=True)
class Group:
    """A group; *external* is what its source calls it: of LDAP, its distinguished name."""

    id: int
    name: str
    source: str
    external: str

    @property
    def type(self) -> int:
        """Give Harbor's number for where the group is from."""
        return TYPES.get(self.source, 0)


def group(row: Any) -> Group:
    """Read a row of the list."""
    return Group(row.id, row.name, row.source, row.external)


async def get(db: Reader, number: int) -> Group:
    """Give a group, or raise GroupUnknown."""
    row = await db.one(_GET, number=number)
    if row is None:
        raise GroupUnknown(f"the user group with id {number} is not found", group=number)
    return group(row)


async def externals(db: Reader, source: str) -> dict[str, str]:
    """Give the groups of a source: what it calls each, and the name here."""
    return {str(row.external): str(row.name) for row in await db.all(_OF_SOURCE, source=source)}


async def called(db: Reader, source: str, external: str) -> Group | None:
    """Find the group that a source calls so."""
    row = await db.one(_CALLED, source=source, external=external)
    return None if row is None else group(row)


async def find(db: Reader, source: str, name: str) -> Group | None:
    """Find the group of a source by its name."""
    row = await db.one(_NAMED, source=source, name=name)
    return None if row is None else group(row)


def dn(text: str) -> str:
    """Write a distinguished name as it is kept; what is none is that of no group."""
    try:
        return ldap_names.normal(text)
    except ValueError:
        return text


async def add(tx: Tx, name: str, source: str, external: str = "") -> int:
    """Make a group, and give its number; raises GroupInvalid or GroupExists."""
    await _require_free(tx, name, source)
    if external and await called(tx, source, external) is not None:
        raise GroupExists(f"there is a user group that is called {external} where it comes from", name=name)
    # What its source calls it stays, whatever it is renamed to here.
    return await members.create_group(tx, name, source=source, external=external or name)


async def rename(tx: Tx, number: int, name: str) -> Group:
    """Give a group another name, and tell what it was; raises GroupUnknown, GroupInvalid or GroupExists."""
    before = await get(tx, number)
    if name != before.name:
        await _require_free(tx, name, before.source)
        await tx.run(_RENAME, number=number, name=name)
    return before


async def remove(tx: Tx, number: int) -> Group:
    """Delete a group, which leaves every project, and tell what it was; raises GroupUnknown."""
    before = await get(tx, number)
    await tx.run(_DELETE, number=number, now=tx.at)
    await tx.run(_LEAVE_PROJECTS, number=number)
    await tx.run(_ALL_LEAVE, number=number)
    await repository_grants.remove_of(tx, Whose("group", number))
    await tx.touch_access()
    return before


async def _require_free(tx: Tx, name: str, source: str) -> None:
    if not 0 < len(name) <= LONGEST or _UNPRINTABLE.search(name):
        raise GroupInvalid(f"a group's name has 1 to {LONGEST} printable characters", field="group_name")
    if await find(tx, source, name) is not None:
        raise GroupExists(
            f"duplicate user group, group name:{name}, group type: {TYPES.get(source, 0)}", name=name
        )
