"""Who may do what in a cloud project: the roles of its members, what policies add and take away, and the one decision of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select

from moorage.cloud import cloud_projects, events, policies, subscriptions
from moorage.cloud.callers import Caller
from moorage.cloud.cloud_projects import CloudProject
from moorage.cloud.errors import ActionDenied, CloudProjectUnknown, RegistryUnknown
from moorage.cloud.events import Origin
from moorage.cloud.policies import Terms
from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform import account, cloud_member, cloud_project, login
from moorage.errors import Problem

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


TOLD: Final = (Role.OWNER, Role.ADMINISTRATOR)
"""Who is told notifications by mail unless they say no."""
NOTIFICATIONS: Final = f"{PREFIX}containerRegistry/notification/get"

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
        "webhook/*",
        "member/get",
        "policy/get",
    ),
    Role.REGISTRIES: (*_READS, "containerRegistry/*"),
    Role.READER: (*_READS, "containerRegistry/notification/mail/edit"),
    Role.BILLING: (
        "get",
        "region/get",
        "capabilities/containerRegistry/get",
        "containerRegistry/get",
        "containerRegistry/usage/get",
        "containerRegistry/limits/get",
        "containerRegistry/forecast/get",
        "inventory/get",
        "containerRegistry/certificate/get",
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
_members = (
    select(
        cloud_member.c.login_id,
        login.c.name,
        account.c.name.label("account_name"),
        cloud_member.c.role,
        cloud_member.c.created_at,
    )
    .join_from(cloud_member, login, login.c.id == cloud_member.c.login_id)
    .join(account, account.c.id == login.c.account_id)
)
_ALL = Statement(
    _members.where(cloud_member.c.cloud_project_id == bindparam("cloud_project")).order_by(
        cloud_member.c.created_at, cloud_member.c.login_id
    )
)
_ONE = Statement(
    _members.where(
        cloud_member.c.cloud_project_id == bindparam("cloud_project"),
        cloud_member.c.login_id == bindparam("login"),
    )
)
_OTHER_OWNERS = Statement(
    select(func.count().label("n"))
    .join_from(cloud_member, login, login.c.id == cloud_member.c.login_id)
    .where(
        cloud_member.c.cloud_project_id == bindparam("cloud_project"),
        cloud_member.c.login_id != bindparam("login"),
        cloud_member.c.role == Role.OWNER.value,
        login.c.disabled == 0,
    )
)
_OWNED = Statement(
    select(cloud_member.c.cloud_project_id)
    .join_from(cloud_member, cloud_project, cloud_project.c.id == cloud_member.c.cloud_project_id)
    .where(
        cloud_member.c.login_id == bindparam("login"),
        cloud_member.c.role == Role.OWNER.value,
        cloud_project.c.deleted_at.is_(None),
    )
)
_DROP_EVERYWHERE = Statement(delete(cloud_member).where(cloud_member.c.login_id == bindparam("login")))
_ROLE = Statement(
    select(cloud_member.c.role).where(
        cloud_member.c.cloud_project_id == bindparam("cloud_project"),
        cloud_member.c.login_id == bindparam("login"),
    )
)


class MemberUnknown(Problem):
    """The cloud project has no such member."""

    code, status, summary = "NOT_FOUND", 404, "this cloud project has no such member"


class LastOwner(Problem):
    """A cloud project without an owner could be given away by nobody."""

    code, status, summary = (
        "CONFLICT",
        409,
        "the last owner of a cloud project stays one: make another member an owner first",
    )


@dataclass(frozen=True, slots=True)
class Member:
    """A user who has a role in a cloud project."""

    id: str
    name: str
    account_name: str
    role: Role
    created_at: int


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

    @property
    def sees_all(self) -> bool:
        """Say whether the caller may do it on the whole cloud project."""
        return _allowed(self.cloud_project, self.policies, self.action, None)

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


async def reads_notifications(
    reader: Reader, cloud_project: str, login: str, identity: str, now: int
) -> bool:
    """Say whether a member may read a cloud project's notifications now: a policy may deny what the role gives."""
    found = await cloud_projects.find(reader, cloud_project, login)
    if found is None or found.role is None:
        return False
    return _allowed(found, await policies.of(reader, found.id, identity, now), NOTIFICATIONS, None)


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
    await subscriptions.follow_role(
        tx, cloud_project, login, by_default=role in TOLD, may=may(role, NOTIFICATIONS)
    )


async def drop(tx: Tx, cloud_project: str, login: str) -> None:
    """Take a user's role away."""
    await tx.run(_DROP, cloud_project=cloud_project, login=login)
    await subscriptions.end(tx, cloud_project, login)


async def listed(reader: Reader, cloud_project: str) -> list[Member]:
    """List a cloud project's members in the order they came."""
    return [_member(row) for row in await reader.all(_ALL, cloud_project=cloud_project)]


async def get(reader: Reader, cloud_project: str, login: str) -> Member:
    """Find a member, or raise MemberUnknown."""
    row = await reader.one(_ONE, cloud_project=cloud_project, login=login)
    if row is None:
        raise MemberUnknown
    return _member(row)


async def join(tx: Tx, home: CloudProject, login: str, role: Role, origin: Origin) -> Member:
    """Give a user a role in a cloud project; raise LastOwner where it would be left without one."""
    before = await role_of(tx, home.id, login)
    if before is Role.OWNER and role is not Role.OWNER:
        await _check_other_owner(tx, home.id, login)
    await put(tx, home.id, login, role)
    await events.record(
        tx, "member.changed" if before else "member.added", origin, target=login, account=home.account_id,
        cloud_project=home.id, before=before, after=role,
    )  # fmt: skip
    return await get(tx, home.id, login)


async def remove(tx: Tx, home: CloudProject, login: str, origin: Origin) -> None:
    """Take a member's role away; raise MemberUnknown or LastOwner."""
    found = await get(tx, home.id, login)
    if found.role is Role.OWNER:
        await _check_other_owner(tx, home.id, login)
    await drop(tx, home.id, login)
    await events.record(
        tx, "member.removed", origin, target=login, account=home.account_id, cloud_project=home.id,
        before=found.role,
    )  # fmt: skip


async def check_dispensable(tx: Tx, login: str) -> None:
    """Raise LastOwner if a cloud project would have no owner without this user."""
    for row in await tx.all(_OWNED, login=login):
        await _check_other_owner(tx, row.cloud_project_id, login)


async def drop_everywhere(tx: Tx, login: str) -> None:
    """Take every role of a user away."""
    await tx.run(_DROP_EVERYWHERE, login=login)
    await subscriptions.end_everywhere(tx, login)


async def _check_other_owner(tx: Tx, cloud_project: str, login: str) -> None:
    if not (await tx.one(_OTHER_OWNERS, cloud_project=cloud_project, login=login)).n:
        raise LastOwner(cloud_project=cloud_project)


def _member(row: Any) -> Member:
    return Member(row.login_id, row.name, row.account_name, Role(row.role), row.created_at)


async def role_of(reader: Reader, cloud_project: str, login: str) -> Role | None:
    """Give a user's role in a cloud project."""
    row = await reader.one(_ROLE, cloud_project=cloud_project, login=login)
    return None if row is None else Role(row.role)
