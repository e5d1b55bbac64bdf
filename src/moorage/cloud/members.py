"""Who may do what in a cloud project: the roles of its members, what policies add and take away, and the one decision of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from sqlalchemy import bindparam, delete, select

from moorage.cloud import cloud_projects, policies
from moorage.cloud.callers import Caller
from moorage.cloud.cloud_projects import CloudProject
from moorage.cloud.errors import ActionDenied, CloudProjectUnknown, RegistryUnknown
from moorage.cloud.policies import Terms
from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform import cloud_member

PREFIX: Final = policies.PREFIX
SEEING: Final = f"{PREFIX}containerRegistry/get"
"""Whoever may not do this on a registry is not told that it is there."""


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
    "inventory/get",
)
GRANTED: Final[Mapping[Role, tuple[str, ...]]] = {
    Role.OWNER: ("*",),
    Role.ADMINISTRATOR: (
        *_READS,
        "edit",
        "containerRegistry/*",
        "event/*",
        "usage/*",
        "member/get",
        "policy/get",
    ),
    Role.REGISTRIES: (*_READS, "containerRegistry/*"),
    Role.READER: _READS,
    Role.BILLING: (
        "get",
        "region/get",
        "capabilities/containerRegistry/get",
        "containerRegistry/get",
        "containerRegistry/usage/get",
        "containerRegistry/limits/get",
        "containerRegistry/forecast/get",
        "inventory/get",
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


@dataclass(frozen=True, slots=True)
class Granted:
    """An action that a caller may do in a cloud project, and on which of its registries."""

    cloud_project: CloudProject
    action: str
    policies: Sequence[Terms]

    def sees(self, registry: str) -> bool:
        """Say whether the caller may do it on a registry: what they may not is left out of lists."""
        return _allowed(self.cloud_project, self.policies, self.action, registry)


async def check(
    reader: Reader, cloud_project: str, who: Caller, action: str, *, now: int, registry: str | None = None,
    of_each: bool = False,
) -> Granted:  # fmt: skip
    """Grant a caller an action in a cloud project or on a registry of it; what nothing allows is refused.

    It is here, and nowhere else, that roles and policies are read. *of_each*: the action is done on each registry apart, so
    it is enough that it may be done on one. Raises CloudProjectUnknown for whom nothing there is allowed at all,
    RegistryUnknown for a registry that they may not even see, and else ActionDenied.
    """
    found = await cloud_projects.find(reader, cloud_project, who.login_id or "")
    if found is None:
        raise CloudProjectUnknown(cloud_project=cloud_project[:80])
    terms = await policies.of(reader, found.id, who.identity, now)
    if found.role is None and not any(one.allow for one in terms):
        raise CloudProjectUnknown(cloud_project=cloud_project[:80])
    granted = Granted(found, action, terms)
    if _allowed(found, terms, action, registry):
        return granted
    denied = any(one.denies(action, found.id, None) for one in terms)
    if of_each and not denied and any(one.allows_on_some(action) for one in terms):
        return granted
    if registry is not None and not _allowed(found, terms, SEEING, registry):
        raise RegistryUnknown(registry=registry[:80])
    role = f"the role {found.role}" if found.role else "no role"
    raise ActionDenied(
        f"{action} is not among what {role} and the policies about {who.identity} allow here",
        action=action,
        role=found.role or "",
    )


def _allowed(found: CloudProject, terms: Sequence[Terms], action: str, registry: str | None) -> bool:
    if any(one.denies(action, found.id, registry) for one in terms):
        return False
    if found.role is not None and may(Role(found.role), action):
        return True
    return not owners_alone(action) and any(one.allows(action, found.id, registry) for one in terms)


def owners_alone(action: str) -> bool:
    """Say whether only owners may do an action, whatever a policy says: who gives rights is trusted with all of them."""
    name = action.removeprefix(PREFIX)
    return name.startswith(("member/", "policy/")) and not name.endswith("/get")


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
