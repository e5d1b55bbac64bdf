"""Accounts for machines: ``robot$name`` for a whole registry, ``robot$project+name`` for one project.

A robot's secret is 256 random bits that are shown once; only their SHA-256 is kept, which is enough
for what nobody can guess and costs nothing to check.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import bindparam, delete, select, update

from moorage.db import Statement, insert
from moorage.db.tables import project, robot, robot_permission, robot_trust
from moorage.errors import Problem
from moorage.identity import accounts, old_names, repository_grants, roles
from moorage.identity.accounts import GRANT_PREFIX, Grant
from moorage.identity.repository_grants import Whose

if TYPE_CHECKING:
    from collections.abc import Collection

    from moorage.db import Tx
    from moorage.identity.callers import Caller

FOR_EVER: Final = -1
EVERY_PROJECT: Final = "*"
SYSTEM: Final = "/"
LONGEST_NAME: Final = 255
LONGEST_DURATION: Final = 36_500
_DAY = 24 * 3600 * 1_000_000
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")

_FIND = Statement(select(robot.c.id).where(robot.c.name == bindparam("name"), robot.c.deleted_at.is_(None)))
_ADD = Statement(
    insert(robot)
    .values(
        project_id=bindparam("project"),
        name=bindparam("name"),
        description=bindparam("description"),
        secret=bindparam("secret"),
        duration=bindparam("duration"),
        expires_at=bindparam("expires_at"),
        creator_kind=bindparam("creator_kind"),
        creator_id=bindparam("creator_id"),
        valid_from=bindparam("now"),
        created_at=bindparam("now"),
    )
    .returning(robot.c.id)
)
_GIVE = Statement(
    insert(robot_permission).values(
        robot_id=bindparam("robot"),
        kind=bindparam("kind"),
        namespace=bindparam("namespace"),
        resource=bindparam("resource"),
        action=bindparam("action"),
    )
)
_TAKE_ALL = Statement(delete(robot_permission).where(robot_permission.c.robot_id == bindparam("robot")))
_HERE = (robot.c.id == bindparam("number"), robot.c.deleted_at.is_(None))
_STAMPS: dict[str, Any] = {"valid_from": bindparam("now"), "updated_at": bindparam("now")}
_DISABLED = Statement(update(robot).where(*_HERE).values(disabled=bindparam("yes"), **_STAMPS))
_SECRET = Statement(
    update(robot).where(*_HERE).values(secret=bindparam("hashed"), old_secret=None, old_until=None, **_STAMPS)
)
_SECRET_BESIDE_OLD = Statement(
    update(robot)
    .where(*_HERE)
    .values(
        old_secret=robot.c.secret,
        secret=bindparam("hashed"),
        old_until=bindparam("until"),
        updated_at=bindparam("now"),
    )
)
_DESCRIBE = Statement(
    update(robot)
    .where(*_HERE)
    .values(
        description=bindparam("description"),
        duration=bindparam("duration"),
        expires_at=bindparam("expires_at"),
        updated_at=bindparam("now"),
    )
)
_DELETE = Statement(
    update(robot).where(*_HERE).values(deleted_at=bindparam("now"), disabled=1, valid_from=bindparam("now"))
)
_VOID = Statement(update(robot).where(*_HERE).values(**_STAMPS))
_TRUST_NOBODY = Statement(delete(robot_trust).where(robot_trust.c.robot_id == bindparam("robot")))
_OF_PROJECT = Statement(
    select(robot.c.id).where(robot.c.project_id == bindparam("project"), robot.c.deleted_at.is_(None))
)
_TAKE_IN_PROJECT = Statement(
    delete(robot_permission).where(
        robot_permission.c.kind == "project", robot_permission.c.namespace == bindparam("name")
    )
)
_NAMED_IN_PROJECT = Statement(
    select(robot.c.id, robot.c.name).where(
        robot.c.project_id == bindparam("project"), robot.c.deleted_at.is_(None)
    )
)
_RENAME = Statement(update(robot).where(robot.c.id == bindparam("number")).values(name=bindparam("to")))
_RENAME_IN_GRANTS = Statement(
    update(robot_permission)
    .where(robot_permission.c.kind == "project", robot_permission.c.namespace == bindparam("name"))
    .values(namespace=bindparam("to"))
)
_LIVES = Statement(
    select(robot.c.project_id, project.c.name.label("project"))
    .select_from(robot.outerjoin(project, project.c.id == robot.c.project_id))
    .where(*_HERE)
)


class RobotInvalid(Problem):
    """The robot breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not a robot that can be made"


class RobotExists(Problem):
    """There is a robot of this name."""

    code, status, summary = "CONFLICT", 409, "there is a robot of this name"


class RobotUnknown(Problem):
    """There is no such robot."""

    code, status, summary = "NOT_FOUND", 404, "there is no such robot"


class GrantsExceeded(Problem):
    """A robot gives another what it does not have itself."""

    code, status, summary = "FORBIDDEN", 403, "a robot gives no more than it has"


class Owner(NamedTuple):
    """The project that a robot is of."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class NewRobot:
    """A robot just made, and its secret, which is shown this once."""

    id: int
    name: str
    secret: str = field(repr=False)
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A secret that somebody made up, and its hash: it can be guessed, so it is hashed and checked as passwords are."""

    text: str = field(repr=False)
    hashed: bytes = field(repr=False)


def check_days(days: int) -> None:
    """Raise RobotInvalid, unless a robot may live for so many days."""
    if days != FOR_EVER and not 1 <= days <= LONGEST_DURATION:
        raise RobotInvalid(f"a robot lives 1 to {LONGEST_DURATION} days, or -1 for ever", duration=days)


def expiry(since: int, days: int) -> int | None:
    """Say when a robot expires that lives for so many days since a moment; None: never."""
    return None if days == FOR_EVER else since + days * _DAY


def new_secret() -> str:
    """Make up 256 bits as text that has what passwords must have: both cases, and a digit."""
    while True:
        text = secrets.token_urlsafe(32)
        if re.search("[A-Z]", text) and re.search("[a-z]", text) and re.search("[0-9]", text):
            return text


def require_subset(wanted: Collection[Grant], held: Collection[Grant], name: str) -> None:
    """Raise GrantsExceeded unless each of *wanted* is among what the robot that gives it holds itself."""
    known = {(one.kind, one.namespace, one.permission) for one in held}
    for one in wanted:
        places = {one.namespace, EVERY_PROJECT} if one.kind == "project" else {one.namespace}
        if not any((one.kind, place, one.permission) in known for place in places):
            raise GrantsExceeded(
                f"{name} has no {one.permission} for {one.kind} {one.namespace}, and gives no robot what it does not have",
                permission=str(one.permission),
            )


async def create(
    tx: Tx,
    *,
    name: str,
    owner: Owner | None,
    grants: Collection[Grant],
    creator: Caller,
    days: int = FOR_EVER,
    until: int | None = None,
    description: str = "",
    chosen: Chosen | None = None,
    has_more: bool = False,
) -> NewRobot:
    """Make a robot of a project, or of the whole registry without an *owner*; it expires after days, or at a moment.

    One that *has_more*, in single repositories, may have nothing beside.
    """
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise RobotInvalid(
            "a robot's name is lower-case letters and digits, joined by one of . _ -",
            name=name[:LONGEST_NAME],
        )
    check_days(days)
    if until is None and name.startswith(GRANT_PREFIX):
        raise RobotInvalid(
            f"names that begin with {GRANT_PREFIX} are those of the provider's grants", name=name
        )
    if owner is not None:
        owner = Owner(owner.id, await _now(tx, owner.name))
    now = {name: await _now(tx, name) for name in sorted({one.namespace for one in grants})}
    grants = [replace(one, namespace=now[one.namespace]) for one in grants]
    _check(grants, owner, has_more=has_more)
    full = f"{owner.name}+{name}" if owner else name
    shown = accounts.full_name(full, await accounts.robot_prefix(tx))
    if await tx.one(_FIND, name=full) is not None:
        raise RobotExists(name=shown)
    secret = chosen.text if chosen else new_secret()
    if days != FOR_EVER:
        until = expiry(tx.at, days)
    row = await tx.one(
        _ADD, project=owner.id if owner else None, name=full, description=description,
        secret=chosen.hashed if chosen else _hash(secret), duration=days, expires_at=until, creator_kind=creator.kind,
        creator_id=creator.id, now=tx.at,
    )  # fmt: skip
    assert row is not None
    await _give(tx, row.id, grants)
    return NewRobot(int(row.id), shown, secret, until)


async def _now(tx: Tx, name: str) -> str:
    """Give what a project is called now: it may have been renamed since it was looked for."""
    return name if name in {EVERY_PROJECT, SYSTEM} else await old_names.project_of(tx, name) or name


async def find(tx: Tx, name: str) -> int | None:
    """Give the number of the robot of this name, without its prefix."""
    row = await tx.one(_FIND, name=name)
    return None if row is None else int(row.id)


async def set_grants(tx: Tx, number: int, grants: Collection[Grant], *, has_more: bool = False) -> None:
    """Replace all that a robot was given in projects and in the system."""
    row = await tx.one(_LIVES, number=number)
    if row is None:
        raise RobotUnknown(robot=number)
    owner = Owner(row.project_id, row.project) if row.project_id is not None else None
    _check(grants, owner, has_more=has_more)
    await tx.run(_TAKE_ALL, robot=number)
    await _give(tx, number, grants)


async def set_disabled(tx: Tx, number: int, *, disabled: bool) -> None:
    """Keep a robot out, or let it in again; its tokens are void either way."""
    await _change(tx, _DISABLED, number, yes=int(disabled))


async def refresh_secret(tx: Tx, number: int, *, keep_old: int = 0, chosen: Chosen | None = None) -> str:
    """Give a robot a new secret, or the *chosen* one, and return it; the old one is good for *keep_old* seconds more.

    Without a while for the old one, every token of the robot is void at once.
    """
    secret = chosen.text if chosen else new_secret()
    hashed = chosen.hashed if chosen else _hash(secret)
    if keep_old > 0:
        until = tx.at + keep_old * 1_000_000
        await _change(tx, _SECRET_BESIDE_OLD, number, hashed=hashed, until=until)
    else:
        await _change(tx, _SECRET, number, hashed=hashed)
    return secret


async def describe(tx: Tx, number: int, *, description: str, days: int, expires_at: int | None) -> None:
    """Change what is said of a robot, and how long it lives."""
    await _change(tx, _DESCRIBE, number, description=description, duration=days, expires_at=expires_at)


async def void_tokens(tx: Tx, number: int) -> None:
    """Void every token that a robot was given so far; what signs it in is as it was."""
    await _change(tx, _VOID, number)


async def remove(tx: Tx, number: int) -> None:
    """Delete a robot. The number is never given again."""
    await _change(tx, _DELETE, number)
    await tx.run(_TAKE_ALL, robot=number)
    await tx.run(_TRUST_NOBODY, robot=number)
    await repository_grants.remove_of(tx, Whose("robot", number))


async def remove_of_project(tx: Tx, project: int, name: str) -> None:
    """Delete the robots of a project, and take from all others what they were given in it: the name may be another's soon."""
    for row in await tx.all(_OF_PROJECT, project=project):
        await remove(tx, row.id)
    await tx.run(_TAKE_IN_PROJECT, name=name)
    await tx.touch_access()


async def rename_project(tx: Tx, project: int, name: str, to: str) -> None:
    """Go on giving robots what they were given in a project that has another name now, and call its own robots by that."""
    await take_in_project(tx, to)
    await tx.run(_RENAME_IN_GRANTS, name=name, to=to)
    own = await tx.all(_NAMED_IN_PROJECT, project=project)
    await tx.many(_RENAME, [{"number": row.id, "to": f"{to}+{row.name.partition('+')[2]}"} for row in own])


async def take_in_project(tx: Tx, name: str) -> None:
    """Take from all robots what they were given in what had this name: the name is about to mean something else."""
    await tx.run(_TAKE_IN_PROJECT, name=name)


async def _change(tx: Tx, statement: Statement, number: int, **values: object) -> None:
    if not await tx.run(statement, number=number, now=tx.at, **values):
        raise RobotUnknown(robot=number)
    await tx.touch_access()


async def _give(tx: Tx, number: int, grants: Collection[Grant]) -> None:
    rows = {
        (grant.kind, grant.namespace, grant.permission.resource, grant.permission.action) for grant in grants
    }
    names = ("kind", "namespace", "resource", "action")
    await tx.many(_GIVE, [{"robot": number, **dict(zip(names, row, strict=True))} for row in sorted(rows)])
    await tx.touch_access()


def _check(grants: Collection[Grant], owner: Owner | None, *, has_more: bool) -> None:
    if not grants and not has_more:
        raise RobotInvalid("a robot that may nothing is of no use: give it a permission")
    for grant in grants:
        catalogue = roles.ROBOT_SYSTEM if grant.kind == "system" else roles.ROBOT_PROJECT
        if grant.kind not in {"system", "project"} or grant.permission not in catalogue:
            raise RobotInvalid(f"robots cannot be given {grant.permission} for a {grant.kind}")
        if (grant.kind == "system") != (grant.namespace == SYSTEM):
            raise RobotInvalid('the namespace of system permissions, and only theirs, is "/"')
        if owner is not None and (grant.kind, grant.namespace) != ("project", owner.name):
            raise RobotInvalid(f"a robot of the project {owner.name} is given permissions in it alone")


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
