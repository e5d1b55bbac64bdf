"""Users who sign in to an account: found by the name that they write, and believed by their password."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, select, update

from moorage.cloud import devices, events
from moorage.cloud.events import Origin
from moorage.db import Database, Reader, Statement
from moorage.db.platform import account, login
from moorage.errors import Problem
from moorage.identity.passwords import Passwords

LONGEST: Final = 512

_columns = select(
    login.c.id,
    login.c.account_id,
    login.c.name,
    login.c.password,
    account.c.name.label("account_name"),
).join_from(login, account, login.c.account_id == account.c.id)
_open = (login.c.disabled == 0, account.c.state == "ACTIVE")
_NAMED = Statement(_columns.where(login.c.name == bindparam("name"), *_open).limit(2))
_NAMED_IN = Statement(
    _columns.where(login.c.name == bindparam("name"), account.c.name == bindparam("account"), *_open)
)
_BY_ID = Statement(_columns.where(login.c.id == bindparam("id"), *_open))
_OF_ACCOUNT = Statement(
    _columns.where(login.c.name == bindparam("name"), login.c.account_id == bindparam("account"), *_open)
)
_PROFILE = Statement(
    select(
        login.c.name,
        login.c.email,
        account.c.id.label("account_id"),
        account.c.name.label("account_name"),
        account.c.currency,
    )
    .join_from(login, account, login.c.account_id == account.c.id)
    .where(login.c.id == bindparam("id"), *_open)
)
_REHASH = Statement(
    update(login)
    .where(login.c.id == bindparam("id"), login.c.password == bindparam("old"))
    .values(password=bindparam("hashed"))
)


_STANDING = Statement(
    select(login.c.admin)
    .join_from(login, account, login.c.account_id == account.c.id)
    .where(login.c.id == bindparam("id"), *_open)
)


class UserNeeded(Problem):
    """The call is a user's own, and a client of OAuth2 is none."""

    code, status, summary = "FORBIDDEN", 403, "this call needs a user: an OAuth2 client cannot make it"


class AdministratorNeeded(Problem):
    """Only users who administer the account may make this call."""

    code, status, summary = "FORBIDDEN", 403, "only users who administer the account may do this"


class SignInRefused(Problem):
    """The user or the password is wrong; which of them is not told."""

    code, status, summary = "UNAUTHORIZED", 401, "unknown user, or wrong password"


@dataclass(frozen=True, slots=True)
class Login:
    """A user who may sign in."""

    id: str
    account_id: str
    name: str
    account_name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Profile:
    """A user, and the account."""

    name: str
    email: str
    account_id: str
    account_name: str
    currency: str


async def profile(db: Reader, id_: str) -> Profile:
    """Give a user's profile, or raise SignInRefused for one who may not sign in any more."""
    row = await db.one(_PROFILE, id=id_)
    if row is None:
        raise SignInRefused
    return Profile(*row)


async def check(db: Reader, id_: str | None, *, administrator: bool) -> None:
    """Raise UserNeeded unless a call is a user's, and AdministratorNeeded unless they administer the account if they have to."""
    row = None if id_ is None else await db.one(_STANDING, id=id_)
    if row is None:
        raise UserNeeded
    if administrator and not row.admin:
        raise AdministratorNeeded


async def find(db: Reader, name: str) -> Login | None:
    """Find a user by ``account/user``, or by the user's name alone if only one account has it."""
    if len(name) > LONGEST or "\0" in name:
        return None
    owner, _, user = name.rpartition("/")
    rows = await (db.all(_NAMED_IN, name=user, account=owner) if owner else db.all(_NAMED, name=user))
    if len(rows) != 1:
        return None
    return _login(rows[0])


async def sign_in(
    db: Database, passwords: Passwords, name: str, password: str, origin: Origin, *, device: str = ""
) -> Login:
    """Give the user of this name and password, or raise SignInRefused, or TooManyRequests.

    Wrong passwords are put off longer each time, by the address that they come from, and once many came for a user, checked one
    at a time; who comes with a *device* of theirs waits for none of that, so nobody locks another out. Those for a
    user whom there is are noted in the record, and no others: nobody fills it with names.
    """
    found = await find(db, name)
    known = await devices.known(db, found.id if found else "", device)
    return await _believe(db, passwords, found, name, password, origin, known=known)


async def prove(db: Database, passwords: Passwords, id_: str, password: str, origin: Origin) -> Login:
    """Give a user who is signed in already if this is their password, or raise SignInRefused, or TooManyRequests."""
    row = await db.one(_BY_ID, id=id_)
    return await _believe(
        db, passwords, None if row is None else _login(row), id_, password, origin, known=True
    )


async def by_id(db: Reader, id_: str) -> Login | None:
    """Find a user who may sign in."""
    row = await db.one(_BY_ID, id=id_)
    return None if row is None else _login(row)


async def named(db: Reader, account_id: str, name: str) -> Login | None:
    """Find an account's user who may sign in."""
    row = None if "\0" in name else await db.one(_OF_ACCOUNT, account=account_id, name=name)
    return None if row is None else _login(row)


async def _believe(
    db: Database,
    passwords: Passwords,
    found: Login | None,
    name: str,
    password: str,
    origin: Origin,
    *,
    known: bool,
) -> Login:
    # Whom an OpenID provider vouches for may have no password: none is right then, and it takes as long.
    hashed = (found.password or None) if found else None
    right = await passwords.verify(
        password, hashed, address=origin.address, name=name, whose=name[:LONGEST].lower(), known=known
    )
    if found is None:
        raise SignInRefused
    if not right:
        await devices.guessed(db, found.id)
        rule = "wrong password"
        await events.deny(db, "user.sign-in", origin, rule=rule, target=found.id, account=found.account_id)
        raise SignInRefused
    if passwords.outdated(found.password):
        await db.write(_REHASH, id=found.id, old=found.password, hashed=await passwords.hash(password))
    return found


def _login(row: Any) -> Login:
    return Login(row.id, row.account_id, row.name, row.account_name, row.password)
