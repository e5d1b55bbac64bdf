"""Members of a cloud project: which role a user has there, and which of the provider's actions a role may do."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from sqlalchemy import bindparam, delete, select

from moorage.cloud.cloud_projects import CloudProject, get
from moorage.cloud.errors import ActionDenied
from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform import cloud_member

PREFIX: Final = "publicCloudProject:apiovh:"


class Role(StrEnum):
    """What a user may do in a cloud project."""

    OWNER = "owner"
    ADMINISTRATOR = "administrator"
    REGISTRIES = "registries"
    READER = "reader"
    BILLING = "billing"


# Patterns of action names after the prefix; ``*`` stands for anything. What no pattern of a role has, it may not do.
_READS: Final = (
    "get",
    "region/get",
    "capabilities/containerRegistry/get",
    "containerRegistry/get",
    "containerRegistry/*/get",
)
GRANTED: Final[Mapping[Role, tuple[str, ...]]] = {
    Role.OWNER: ("*",),
    Role.ADMINISTRATOR: (*_READS, "edit", "containerRegistry/*", "event/*", "usage/*", "member/get"),
    Role.REGISTRIES: (*_READS, "containerRegistry/*"),
    Role.READER: _READS,
    Role.BILLING: (
        "get",
        "region/get",
        "capabilities/containerRegistry/get",
        "containerRegistry/get",
        "usage/*",
    ),
}

_put = insert(cloud_member).values(
    cloud_project_id=bindparam("cloud_project"),
    login_id=bindparam("login"),
    role=bindparam("role"),
    created_at=bindparam("at"),
)
_PUT = Statement(
    _put.on_conflict_do_update(
        index_elements=[cloud_member.c.cloud_project_id, cloud_member.c.login_id],
        set_={"role": _put.excluded.role},
    )
)
_DROP = Statement(
    delete(cloud_member).where(
        cloud_member.c.cloud_project_id == bindparam("cloud_project"),
        cloud_member.c.login_id == bindparam("login"),
    )
)
_ROLE = Statement(
    select(cloud_member.c.role).where(
        cloud_member.c.cloud_project_id == bindparam("cloud_project"),
        cloud_member.c.login_id == bindparam("login"),
    )
)


def may(role: Role, action: str) -> bool:
    """Say whether a role may do an action, named as the provider names it."""
    if not action.startswith(PREFIX):
        return False
    return any(fnmatchcase(action.removeprefix(PREFIX), pattern) for pattern in GRANTED[role])


async def check(reader: Reader, cloud_project: str, login: str, action: str) -> CloudProject:
    """Give a cloud project in which a user may do an action; raise CloudProjectUnknown or ActionDenied."""
    found = await get(reader, cloud_project, login)
    role = Role(found.role)
    if not may(role, action):
        raise ActionDenied(
            f"{action} is not among what the role {role} may do in this cloud project",
            action=action,
            role=role.value,
        )
    return found


async def put(tx: Tx, cloud_project: str, login: str, role: Role) -> None:
    """Give a user a role in a cloud project, in place of the one they have."""
    await tx.run(_PUT, cloud_project=cloud_project, login=login, role=role.value, at=tx.at)


async def drop(tx: Tx, cloud_project: str, login: str) -> None:
    """Take a user's role away."""
    await tx.run(_DROP, cloud_project=cloud_project, login=login)


async def role_of(reader: Reader, cloud_project: str, login: str) -> Role | None:
    """Give a user's role in a cloud project."""
    row = await reader.one(_ROLE, cloud_project=cloud_project, login=login)
    return None if row is None else Role(row.role)
