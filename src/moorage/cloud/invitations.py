"""Users of other accounts who are asked to become members of a cloud project: nobody is made one without a word.

An invitation names a user whom there may or may not be; both are answered alike, so that asking tells nobody who there is.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select

from moorage.cloud import cloud_projects, events, members
from moorage.cloud.cloud_projects import CloudProject
from moorage.cloud.events import Origin
from moorage.cloud.members import Member, Role
from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform import cloud_invitation, cloud_project
from moorage.errors import Problem

LASTS: Final = 7 * 86_400_000_000
"""Microseconds for which an invitation can be taken up."""
MOST: Final = 100

_COLUMNS = (
    cloud_invitation.c.id, cloud_invitation.c.cloud_project_id, cloud_invitation.c.account_name, cloud_invitation.c.name,
    cloud_invitation.c.role, cloud_invitation.c.invited_by, cloud_invitation.c.created_at,
    cloud_invitation.c.expires_at, cloud_project.c.description,
)  # fmt: skip
_whole = (
    select(*_COLUMNS)
    .join_from(cloud_invitation, cloud_project, cloud_project.c.id == cloud_invitation.c.cloud_project_id)
    .where(cloud_invitation.c.expires_at > bindparam("now"), cloud_project.c.deleted_at.is_(None))
    .order_by(cloud_invitation.c.created_at, cloud_invitation.c.id)
)
_OF_PROJECT = Statement(_whole.where(cloud_invitation.c.cloud_project_id == bindparam("cloud_project")))
_OF_USER = Statement(
    _whole.where(
        cloud_invitation.c.account_name == bindparam("account"), cloud_invitation.c.name == bindparam("name")
    )
)
_COUNT = Statement(
    select(func.count().label("n")).where(cloud_invitation.c.cloud_project_id == bindparam("cloud_project"))
)
_DROP_OLD = Statement(
    delete(cloud_invitation).where(
        cloud_invitation.c.cloud_project_id == bindparam("cloud_project"),
        cloud_invitation.c.expires_at <= bindparam("now"),
    )
)
_put = insert(cloud_invitation).values(
    id=bindparam("id"),
    cloud_project_id=bindparam("cloud_project"),
    account_name=bindparam("account"),
    name=bindparam("name"),
    role=bindparam("role"),
    invited_by=bindparam("by"),
    created_at=bindparam("at"),
    expires_at=bindparam("expires"),
)
_PUT = Statement(
    _put.on_conflict_do_update(
        index_elements=[
            cloud_invitation.c.cloud_project_id,
            cloud_invitation.c.account_name,
            cloud_invitation.c.name,
        ],
        set_={
            name: getattr(_put.excluded, name)
            for name in ("id", "role", "invited_by", "created_at", "expires_at")
        },
    )
)
_DROP = Statement(delete(cloud_invitation).where(cloud_invitation.c.id == bindparam("id")))


class InvitationUnknown(Problem):
    """There is no such invitation, or it is too old."""

    code, status, summary = "NOT_FOUND", 404, "there is no such invitation, or it is too old"


class InvitationsExceeded(Problem):
    """The cloud project has as many open invitations as it may."""

    code, status, summary = "FORBIDDEN", 403, "this cloud project has as many open invitations as it may"


@dataclass(frozen=True, slots=True)
class Invitation:
    """A user who is asked to become a member."""

    id: str
    cloud_project: str
    description: str
    user: str
    role: Role
    invited_by: str
    created_at: int
    expires_at: int


async def invite(tx: Tx, home: CloudProject, user: tuple[str, str], role: Role, origin: Origin) -> Invitation:
    """Ask a user, named by account and name, to become a member; asked again, the last word counts."""
    account_name, name = user
    await tx.run(_DROP_OLD, cloud_project=home.id, now=tx.at)
    count = (await tx.one(_COUNT, cloud_project=home.id)).n
    if count >= MOST:
        raise InvitationsExceeded(f"{count} invitations to this cloud project are open: take one back first")
    id_ = str(uuid.uuid4())
    await tx.run(
        _PUT, id=id_, cloud_project=home.id, account=account_name, name=name, role=role.value, by=origin.actor,
        at=tx.at, expires=tx.at + LASTS,
    )  # fmt: skip
    await events.record(
        tx, "member.invited", origin, target=id_, account=home.account_id, cloud_project=home.id,
        user=f"{account_name}/{name}", role=role,
    )  # fmt: skip
    return next(one for one in await listed(tx, home.id, tx.at) if one.id == id_)


async def listed(reader: Reader, cloud_project: str, now: int) -> list[Invitation]:
    """List a cloud project's open invitations."""
    return [_invitation(row) for row in await reader.all(_OF_PROJECT, cloud_project=cloud_project, now=now)]


async def of_user(reader: Reader, account_name: str, name: str, now: int) -> list[Invitation]:
    """List the invitations that a user may take up."""
    rows = await reader.all(_OF_USER, account=account_name, name=name, now=now)
    return [_invitation(row) for row in rows]


async def take_back(tx: Tx, home: CloudProject, id_: str, origin: Origin) -> None:
    """End an invitation, or raise InvitationUnknown."""
    found = _one(await listed(tx, home.id, tx.at), id_)
    await tx.run(_DROP, id=id_)
    await events.record(
        tx, "member.invitation-ended", origin, target=id_, account=home.account_id, cloud_project=home.id,
        user=found.user,
    )  # fmt: skip


async def accept(tx: Tx, user: tuple[str, str], login: str, id_: str, origin: Origin) -> Member:
    """Become a member as an invitation says, or raise InvitationUnknown; a role that one has already is changed to it."""
    found = _one(await of_user(tx, *user, tx.at), id_)
    home = await cloud_projects.find(tx, found.cloud_project, login)
    if home is None:
        raise InvitationUnknown
    await tx.run(_DROP, id=id_)
    return await members.join(tx, home, login, found.role, origin)


async def decline(tx: Tx, user: tuple[str, str], id_: str, origin: Origin) -> None:
    """Refuse an invitation, or raise InvitationUnknown."""
    found = _one(await of_user(tx, *user, tx.at), id_)
    home = await cloud_projects.find(tx, found.cloud_project, "")
    await tx.run(_DROP, id=id_)
    await events.record(
        tx, "member.invitation-declined", origin, target=id_, account=home.account_id if home else "",
        cloud_project=found.cloud_project, user=found.user,
    )  # fmt: skip


def _one(open_: list[Invitation], id_: str) -> Invitation:
    found = next((one for one in open_ if one.id == id_), None)
    if found is None:
        raise InvitationUnknown
    return found


def _invitation(row: Any) -> Invitation:
    return Invitation(
        row.id, row.cloud_project_id, row.description, f"{row.account_name}/{row.name}", Role(row.role), row.invited_by,
        row.created_at, row.expires_at,
    )  # fmt: skip
