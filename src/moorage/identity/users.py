"""People who sign in: made, changed, disabled and deleted, each time voiding what must be void."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, func, select, update

from moorage.db import Statement, insert, one_of
from moorage.db.tables import member, repository_grant, user, user_group_member, user_identity
from moorage.errors import Problem
from moorage.identity import repository_grants
from moorage.identity.repository_grants import Whose

if TYPE_CHECKING:
    from collections.abc import Collection

    from moorage.db import Database, Reader, Tx
    from moorage.identity.accounts import Account

SHORTEST_PASSWORD: Final = 8
LONGEST_PASSWORD: Final = 128
LONGEST_NAME: Final = 255

_FORBIDDEN = re.compile(r'[\x00-\x20\x7f,"~#%$:/\\]')
_KINDS = (re.compile("[A-Z]"), re.compile("[a-z]"), re.compile("[0-9]"))

_HERE = (user.c.id == bindparam("number"), user.c.deleted_at.is_(None))
_COLUMNS = (user.c.id, user.c.name, user.c.email, user.c.admin, user.c.disabled, user.c.created_at)
_LISTED = Statement(select(*_COLUMNS).where(user.c.deleted_at.is_(None)).order_by(user.c.id))
_GET = Statement(select(*_COLUMNS).where(*_HERE))
_FIND = Statement(select(user.c.id).where(user.c.name == bindparam("name"), user.c.deleted_at.is_(None)))
_FIND_EMAIL = Statement(
    select(user.c.id).where(user.c.email == bindparam("email"), user.c.deleted_at.is_(None)).limit(1)
)
_ADD = Statement(
    insert(user)
    .values(
        name=bindparam("name"),
        email=bindparam("email"),
        realname=bindparam("realname"),
        comment=bindparam("comment"),
        password=bindparam("password"),
        admin=bindparam("admin"),
        disabled=0,
        valid_from=bindparam("now"),
        created_at=bindparam("now"),
    )
    .returning(user.c.id)
)
_STAMPS: dict[str, Any] = {"valid_from": bindparam("now"), "updated_at": bindparam("now")}
_PASSWORD = Statement(update(user).where(*_HERE).values(password=bindparam("hashed"), **_STAMPS))
_DISABLED = Statement(update(user).where(*_HERE).values(disabled=bindparam("yes"), **_STAMPS))
_ADMIN = Statement(update(user).where(*_HERE).values(admin=bindparam("yes"), updated_at=bindparam("now")))
_VOID = Statement(update(user).where(*_HERE).values(**_STAMPS))
_DELETE = Statement(
    update(user)
    .where(*_HERE)
    .values(deleted_at=bindparam("now"), password=None, admin=0, disabled=1, valid_from=bindparam("now"))
)
_LEAVE_PROJECTS = Statement(delete(member).where(member.c.user_id == bindparam("number")))
_LEAVE_GROUPS = Statement(delete(user_group_member).where(user_group_member.c.user_id == bindparam("number")))
_DELETE_ALL = Statement(
    update(user)
    .where(one_of(user.c.id, "numbers"), user.c.deleted_at.is_(None))
    .values(deleted_at=bindparam("now"), password=None, admin=0, disabled=1, valid_from=bindparam("now"))
)
_ALL_LEAVE_PROJECTS = Statement(delete(member).where(one_of(member.c.user_id, "numbers")))
_ALL_LOSE_GRANTS = Statement(delete(repository_grant).where(one_of(repository_grant.c.user_id, "numbers")))
_ALL_LEAVE_GROUPS = Statement(delete(user_group_member).where(one_of(user_group_member.c.user_id, "numbers")))
_BUT_ONE = Statement(
    select(user.c.id, user.c.name)
    .where(user.c.deleted_at.is_(None), user.c.name != bindparam("name"))
    .order_by(user.c.id)
)
# Not by LIKE: a backslash, as distinguished names have them, means there what follows it, and on one engine alone.
_OF_ISSUERS = select(user_identity.c.user_id).where(
    func.substr(
        user_identity.c.issuer, 1, func.length(bindparam("issuer", type_=user_identity.c.issuer.type))
    )
    == bindparam("issuer", type_=user_identity.c.issuer.type)
)
_FROM_OUTSIDE = Statement(
    select(user.c.id, user.c.name)
    .where(user.c.deleted_at.is_(None), user.c.id.in_(_OF_ISSUERS))
    .order_by(user.c.id)
)
_VOID_OUTSIDE = Statement(
    update(user).where(user.c.deleted_at.is_(None), user.c.id.in_(_OF_ISSUERS)).values(**_STAMPS)
)
_FORGET_IDENTITIES = Statement(delete(user_identity).where(one_of(user_identity.c.user_id, "numbers")))
_ADMINS = Statement(
    select(func.count().label("count")).where(
        user.c.admin == 1, user.c.disabled == 0, user.c.deleted_at.is_(None)
    )
)
_REHASH = Statement(
    update(user)
    .where(user.c.id == bindparam("number"), user.c.password == bindparam("old"))
    .values(password=bindparam("hashed"))
)
_OTHER_ADMINS = Statement(
    select(func.count().label("count")).where(
        user.c.admin == 1,
        user.c.disabled == 0,
        user.c.deleted_at.is_(None),
        user.c.id != bindparam("number"),
    )
)


class UserNameInvalid(Problem):
    """The name breaks a rule for users' names."""

    code, status, summary = "BAD_REQUEST", 400, "not a user's name"


class PasswordTooWeak(Problem):
    """The password breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "the password is too weak"


class UserExists(Problem):
    """There is a user of this name."""

    code, status, summary = "CONFLICT", 409, "there is a user of this name"


class UserUnknown(Problem):
    """There is no such user."""

    code, status, summary = "NOT_FOUND", 404, "there is no such user"


class LastAdministrator(Problem):
    """Nobody could administrate the registry after this."""

    code, status, summary = "PRECONDITION", 412, "the last administrator of a registry stays one"


@dataclass(frozen=True, slots=True)
class User:
    """A user, as lists show them."""

    id: int
    name: str
    email: str | None
    admin: bool
    disabled: bool
    created_at: int


def check_password(password: str) -> None:
    """Raise PasswordTooWeak, which tells the rule, unless *password* may be one."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise PasswordTooWeak(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters, not {len(password)}"
        )
    if not all(kind.search(password) for kind in _KINDS):
        raise PasswordTooWeak("a password needs an upper-case letter, a lower-case letter and a digit")


def generated_password() -> str:
    """Make up a password that keeps the rules."""
    while True:
        made = secrets.token_urlsafe(18)
        try:
            check_password(made)
        except PasswordTooWeak:
            # One in some thousands has no digit.
            continue
        return made


def check_name(name: str) -> None:
    """Raise UserNameInvalid, which tells the rule, unless *name* may be a user's."""
    if not 0 < len(name) <= LONGEST_NAME or _FORBIDDEN.search(name):
        raise UserNameInvalid(
            f"a user's name has 1 to {LONGEST_NAME} characters, none of them a space or one of , \" ~ # % $ : / \\",
            name=name[:LONGEST_NAME],
        )


async def create(
    tx: Tx,
    *,
    name: str,
    password: str | None,
    email: str | None = None,
    realname: str = "",
    comment: str = "",
    admin: bool = False,
) -> int:
    """Make a user and give its number; *password* is a hash, made outside the turn, or None."""
    check_name(name)
    if await tx.one(_FIND, name=name) is not None:
        raise UserExists(name=name)
    row = await tx.one(
        _ADD, name=name, email=email, realname=realname, comment=comment, password=password,
        admin=int(admin), now=tx.at,
    )  # fmt: skip
    await tx.touch_access()
    assert row is not None
    return int(row.id)


async def listed(db: Reader) -> list[User]:
    """List the users in the order they came."""
    return [_user(row) for row in await db.all(_LISTED)]


async def get(db: Reader, number: int) -> User:
    """Give a user, or raise UserUnknown."""
    row = await db.one(_GET, number=number)
    if row is None:
        raise UserUnknown(user=number)
    return _user(row)


async def find(tx: Tx, name: str) -> int:
    """Give the number of the user *name*, or raise UserUnknown."""
    row = await tx.one(_FIND, name=name)
    if row is None:
        raise UserUnknown(name=name)
    return int(row.id)


async def is_taken(db: Reader, *, name: str = "", email: str = "") -> bool:
    """Say whether a user has this name, or this mail address."""
    found = await (db.one(_FIND_EMAIL, email=email) if email else db.one(_FIND, name=name))
    return found is not None


async def set_password(tx: Tx, number: int, hashed: str) -> None:
    """Change a user's password to the one *hashed*; whatever was signed in is not any more."""
    await _change(tx, _PASSWORD, number, hashed=hashed)


async def set_disabled(tx: Tx, number: int, *, disabled: bool) -> None:
    """Keep a user out, or let them in again; their tokens are void either way."""
    if disabled:
        await _keep_an_admin(tx, number)
    await _change(tx, _DISABLED, number, yes=int(disabled))


async def set_admin(tx: Tx, number: int, *, admin: bool) -> None:
    """Make a user a system administrator, or an ordinary one."""
    if not admin:
        await _keep_an_admin(tx, number)
    await _change(tx, _ADMIN, number, yes=int(admin))


async def sign_out(tx: Tx, number: int) -> None:
    """Void every token that a user has, of either kind."""
    await _change(tx, _VOID, number)


async def remove(tx: Tx, number: int) -> None:
    """Delete a user, who leaves every project and group. The number is never given again."""
    await _keep_an_admin(tx, number)
    await _change(tx, _DELETE, number)
    await tx.run(_LEAVE_PROJECTS, number=number)
    await tx.run(_LEAVE_GROUPS, number=number)
    await tx.run(_FORGET_IDENTITIES, numbers=[number])
    await repository_grants.remove_of(tx, Whose("user", number))


async def all_but(db: Reader, name: str) -> dict[int, str]:
    """Give the numbers and names of all users but one."""
    return {int(row.id): str(row.name) for row in await db.all(_BUT_ONE, name=name)}


async def from_outside(db: Reader, issuer: str = "") -> dict[int, str]:
    """Give the numbers and names of users who came with an identity that somebody else vouches for, called so at its start."""
    return {int(row.id): str(row.name) for row in await db.all(_FROM_OUTSIDE, issuer=issuer)}


async def sign_out_outside(tx: Tx, issuer: str) -> None:
    """Void every token and session of those who came by an issuer that is called so at its start."""
    await tx.run(_VOID_OUTSIDE, issuer=issuer, now=tx.at)
    await tx.touch_access()


async def remove_all(tx: Tx, numbers: Collection[int]) -> None:
    """Delete many users, as `remove` does each; raise LastAdministrator if nobody could administrate after that."""
    if not numbers:
        return
    every = list(numbers)
    await tx.run(_DELETE_ALL, numbers=every, now=tx.at)
    for statement in (_ALL_LEAVE_PROJECTS, _ALL_LOSE_GRANTS, _ALL_LEAVE_GROUPS, _FORGET_IDENTITIES):
        await tx.run(statement, numbers=every)
    if not (await tx.one(_ADMINS)).count:
        raise LastAdministrator
    await tx.touch_access()


async def rehash(db: Database, account: Account, hashed: str) -> None:
    """Keep the same password under today's parameters; signs nobody out."""

    async def work(tx: Tx) -> None:
        await tx.run(_REHASH, number=account.caller.id, old=account.password, hashed=hashed)
        await tx.touch_access()

    await db.change(work)


def _user(row: Any) -> User:
    return User(row.id, row.name, row.email, bool(row.admin), bool(row.disabled), row.created_at)


async def _change(tx: Tx, statement: Statement, number: int, **values: object) -> None:
    if not await tx.run(statement, number=number, now=tx.at, **values):
        raise UserUnknown(user=number)
    await tx.touch_access()


async def _keep_an_admin(tx: Tx, number: int) -> None:
    others = await tx.one(_OTHER_ADMINS, number=number)
    if others is None or not others.count:
        raise LastAdministrator
