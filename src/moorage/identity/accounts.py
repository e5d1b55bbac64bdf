"""The accounts of a registry as they are this moment: users and robots, found by name or number."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, null, select

from moorage.db import Statement
from moorage.db.tables import configuration, robot, robot_permission, user
from moorage.identity import configuration as configured
from moorage.identity.callers import Caller
from moorage.identity.roles import Permission

if TYPE_CHECKING:
    from moorage.db import Reader

ROBOT_PREFIX: Final = "robot$"
"""What every robot may be called by, whatever else a registry has its robots called."""
PREFIX_KEY: Final = "robot_name_prefix"
GRANT_PREFIX: Final = "grant-"
"""What robots are called that the provider's people enter by, and no other robot is."""

# One of these is in every robot's full name, and in no user's.
_ROBOTS_ALONE: Final = re.compile("[~#%$]")
_PREFIX: Final = re.compile("[A-Za-z0-9._+~#%$-]{0,31}[~#%$]")
PREFIX: Final[Any] = (
    select(configuration.c.value).where(configuration.c.name == PREFIX_KEY).scalar_subquery().label("prefix")
)
"""What a registry has its robots called by; null where it has not said."""

_USER = select(user.c.id, user.c.name, user.c.password, user.c.admin, user.c.disabled, user.c.valid_from)
_USER_NAMED = Statement(_USER.where(user.c.name == bindparam("name"), user.c.deleted_at.is_(None)))
_USER_NUMBERED = Statement(_USER.where(user.c.id == bindparam("number"), user.c.deleted_at.is_(None)))
_ROBOT = select(
    robot.c.id, robot.c.name, robot.c.project_id, robot.c.secret, robot.c.old_secret, robot.c.old_until,
    robot.c.disabled, robot.c.expires_at, robot.c.valid_from,
)  # fmt: skip
_NAMED = (robot.c.name == bindparam("name"), robot.c.deleted_at.is_(None))
_NUMBERED = (robot.c.id == bindparam("number"), robot.c.deleted_at.is_(None))
_ROBOT_NAMED = Statement(_ROBOT.add_columns(PREFIX).where(*_NAMED))
_ROBOT_NUMBERED = Statement(_ROBOT.add_columns(PREFIX).where(*_NUMBERED))
# In a cell whose schema has no place for a prefix yet.
_PREFIXLESS = _ROBOT.add_columns(null().label("prefix"))
_PREFIXLESS_NAMED = Statement(_PREFIXLESS.where(*_NAMED))
_PREFIXLESS_NUMBERED = Statement(_PREFIXLESS.where(*_NUMBERED))
_ROBOT_MAY = Statement(
    select(
        robot_permission.c.kind,
        robot_permission.c.namespace,
        robot_permission.c.resource,
        robot_permission.c.action,
    ).where(robot_permission.c.robot_id == bindparam("number"))
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a robot was given: a permission in one project, in all (``*``), or in the system (``/``)."""

    kind: str
    namespace: str
    permission: Permission


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody whom the registry knows, and what it takes to believe that it is them."""

    caller: Caller
    valid_from: int
    disabled: bool
    password: str | None = field(default=None, repr=False)
    secret: bytes = field(default=b"", repr=False)
    old_secret: bytes | None = field(default=None, repr=False)
    old_until: int = 0
    expires_at: int | None = None
    project_id: int | None = None
    grants: tuple[Grant, ...] = ()
    by: str = ""
    """Whose token signed it in, in place of a secret of its own: it is given nothing then that lasts longer."""

    def secrets(self, now: int) -> tuple[bytes, ...]:
        """Give a robot's secrets that are good now, as they are kept: two while the one takes the other's place."""
        old = self.old_secret if now < self.old_until else None
        return (self.secret,) if old is None else (self.secret, old)

    def works(self, now: int) -> bool:
        """Say whether the account may be used at all."""
        return not self.disabled and (self.expires_at is None or now < self.expires_at)


def is_prefix(text: str) -> bool:
    """Say whether robots may be called by it: it ends in a sign that no user's name has, so that none is taken for a robot."""
    return bool(_PREFIX.fullmatch(text))


def without_prefix(name: str) -> str:
    """Take from a name, or a part of one, whatever prefix it has."""
    return _ROBOTS_ALONE.split(name)[-1]


def is_robots(name: str) -> bool:
    """Say whether a name can only be a robot's."""
    return bool(_ROBOTS_ALONE.search(name))


def full_name(name: str, prefix: str | None) -> str:
    """Give what a robot is called: with its registry's *prefix* (None: the usual one), but for the provider's own."""
    return (prefix if prefix and not name.startswith(GRANT_PREFIX) else ROBOT_PREFIX) + name


async def robot_prefix(reader: Reader) -> str:
    """Give what a registry has its robots called by."""
    found = (await configured.get(reader, PREFIX_KEY)).get(PREFIX_KEY)
    return ROBOT_PREFIX if found is None else found.text


async def by_name(db: Reader, name: str) -> Account | None:
    """Find the account that signs in as *name*, a user's or ``robot$…``."""
    if not is_robots(name):
        return _user(await db.one(_USER_NAMED, name=name))
    usual = name.startswith(ROBOT_PREFIX) and not is_robots(name.removeprefix(ROBOT_PREFIX))
    # A registry's own prefix may begin as the usual one does.
    prefix = ROBOT_PREFIX if usual else await robot_prefix(db)
    if not name.startswith(prefix):
        return None
    named = _ROBOT_NAMED if await configured.PLACE.is_there(db) else _PREFIXLESS_NAMED
    return await _robot(db, await db.one(named, name=name.removeprefix(prefix)))


async def by_subject(db: Reader, kind: str, number: int) -> Account | None:
    """Find an account by its caller's kind and id."""
    if kind == "robot":
        numbered = _ROBOT_NUMBERED if await configured.PLACE.is_there(db) else _PREFIXLESS_NUMBERED
        return await _robot(db, await db.one(numbered, number=number))
    return _user(await db.one(_USER_NUMBERED, number=number))


def _user(row: Any | None) -> Account | None:
    if row is None:
        return None
    caller = Caller("user", row.id, row.name, bool(row.admin))
    return Account(caller, row.valid_from, bool(row.disabled), row.password)


async def _robot(db: Reader, row: Any | None) -> Account | None:
    if row is None:
        return None
    given = await db.all(_ROBOT_MAY, number=row.id)
    return Account(
        Caller("robot", row.id, full_name(row.name, row.prefix)),
        row.valid_from,
        bool(row.disabled),
        secret=row.secret,
        old_secret=row.old_secret,
        old_until=row.old_until or 0,
        expires_at=row.expires_at,
        project_id=row.project_id,
        grants=tuple(Grant(one.kind, one.namespace, Permission(one.resource, one.action)) for one in given),
    )
