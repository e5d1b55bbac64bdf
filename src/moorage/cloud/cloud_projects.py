"""Cloud projects: what an account keeps its services in."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, bindparam, null, or_, select, union, update

from moorage.cloud.errors import CloudProjectUnknown
from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform import cloud_member, cloud_project, policy, policy_identity

LONGEST_LIST: Final = 1000

_COLUMNS = (
    cloud_project.c.id, cloud_project.c.account_id, cloud_project.c.description, cloud_project.c.state,
    cloud_project.c.created_at,
)  # fmt: skip
_FIND = Statement(
    select(*_COLUMNS, cloud_member.c.role)
    .join_from(
        cloud_project,
        cloud_member,
        and_(
            cloud_member.c.cloud_project_id == cloud_project.c.id,
            cloud_member.c.login_id == bindparam("login"),
        ),
        isouter=True,
    )
    .where(cloud_project.c.id == bindparam("id"), cloud_project.c.deleted_at.is_(None))
)
_OF = Statement(
    select(*_COLUMNS, null().label("role"))
    .where(
        cloud_project.c.id.in_(
            union(
                select(cloud_member.c.cloud_project_id).where(cloud_member.c.login_id == bindparam("login")),
                select(policy.c.cloud_project_id)
                .join_from(policy_identity, policy, policy.c.id == policy_identity.c.policy_id)
                .where(
                    policy_identity.c.identity == bindparam("identity"),
                    policy.c.allow != "[]",
                    or_(policy.c.expires_at.is_(None), policy.c.expires_at > bindparam("now")),
                ),
            )
        ),
        cloud_project.c.deleted_at.is_(None),
    )
    .order_by(cloud_project.c.created_at, cloud_project.c.id)
    .limit(LONGEST_LIST)
)
_ADD = Statement(
    insert(cloud_project).values(
        id=bindparam("id"),
        account_id=bindparam("account"),
        description=bindparam("description"),
        state="ok",
        created_at=bindparam("at"),
    )
)
_THERE = Statement(
    select(cloud_project.c.id).where(
        cloud_project.c.id == bindparam("id"), cloud_project.c.deleted_at.is_(None)
    )
)
_DESCRIBE = Statement(
    update(cloud_project)
    .where(cloud_project.c.id == bindparam("which"), cloud_project.c.deleted_at.is_(None))
    .values(description=bindparam("description"))
)


@dataclass(frozen=True, slots=True)
class CloudProject:
    """A cloud project, and the role in it of the user who looks."""

    id: str
    account_id: str
    description: str
    state: str
    created_at: int
    role: str | None


async def create(tx: Tx, account: str, description: str) -> str:
    """Make a cloud project of an account, and give its id."""
    id_ = uuid.uuid4().hex
    await tx.run(_ADD, id=id_, account=account, description=description, at=tx.at)
    return id_


async def find(reader: Reader, cloud_project_id: str, login: str) -> CloudProject | None:
    """Find a cloud project, and a user's role in it, if they have one; whether they may see it is for `members` to say."""
    row = await reader.one(_FIND, id=cloud_project_id, login=login)
    return None if row is None else CloudProject(*row)


async def ensure_there(reader: Reader, cloud_project_id: str) -> None:
    """Raise CloudProjectUnknown for an id that no account's cloud project has: for the provider's own work."""
    if await reader.one(_THERE, id=cloud_project_id) is None:
        raise CloudProjectUnknown(cloud_project=cloud_project_id[:80])


async def listed(reader: Reader, login: str, identity: str, now: int) -> list[CloudProject]:
    """List the cloud projects that a user is a member of, or that a policy lets an identity into, in the order they came."""
    return [CloudProject(*row) for row in await reader.all(_OF, login=login, identity=identity, now=now)]


async def describe(tx: Tx, cloud_project_id: str, description: str) -> None:
    """Describe a cloud project otherwise, or raise CloudProjectUnknown."""
    if not await tx.run(_DESCRIBE, which=cloud_project_id, description=description):
        raise CloudProjectUnknown(cloud_project=cloud_project_id[:80])
