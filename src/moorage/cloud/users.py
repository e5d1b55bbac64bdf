"""The users of an account, as those who administer it make, change and end them, and as they change themselves."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, func, select, update

from moorage.cloud import events, factors, logins, members, oidc_identities, policies
from moorage.cloud.callers import user_identity
from moorage.cloud.events import Origin
from moorage.cloud.logins import SignInRefused
from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.platform import account, application, login
from moorage.errors import Problem
from moorage.identity import users as rules
from moorage.identity.keys import MasterKey
from moorage.identity.passwords import Passwords

LONGEST_EMAIL: Final = 254
MOST: Final = 1000

_EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+")
_users = (
    select(
        login.c.id,
        login.c.name,
        login.c.email,
        login.c.description,
        login.c.admin,
        login.c.disabled,
        login.c.valid_from,
        login.c.created_at,
        account.c.name.label("account_name"),
    )
    .join_from(login, account, account.c.id == login.c.account_id)
    .where(login.c.account_id == bindparam("account"), login.c.deleted_at.is_(None))
)
_ALL = Statement(_users.order_by(login.c.created_at, login.c.id))
_ONE = Statement(_users.where(login.c.name == bindparam("name")))
_COUNT = Statement(
    select(func.count().label("n")).where(
        login.c.account_id == bindparam("account"), login.c.deleted_at.is_(None)
    )
)
_OTHER_ADMINISTRATORS = Statement(
    select(func.count().label("n")).where(
        login.c.account_id == bindparam("account"),
        login.c.id != bindparam("id"),
        login.c.admin == 1,
        login.c.disabled == 0,
        # Who signs in by another's word alone cannot put the account right when that is not to be had.
        login.c.password != "",
    )
)
_ADD = Statement(
    insert(login).values(
        id=bindparam("id"),
        account_id=bindparam("account"),
        name=bindparam("name"),
        email=bindparam("email"),
        password=bindparam("password"),
        description=bindparam("description"),
        admin=bindparam("admin"),
        valid_from=bindparam("at"),
        created_at=bindparam("at"),
    )
)
_CHANGE = Statement(
    update(login)
    .where(login.c.id == bindparam("which"))
    .values(email=bindparam("email"), description=bindparam("description"), admin=bindparam("admin"))
)
_DISABLE = Statement(
    update(login).where(login.c.id == bindparam("which")).values(disabled=bindparam("disabled"))
)
_PASSWORD = Statement(
    update(login)
    .where(login.c.id == bindparam("which"))
    .values(password=bindparam("hashed"), valid_from=bindparam("at"))
)
_EMAIL_OF = Statement(update(login).where(login.c.id == bindparam("which")).values(email=bindparam("email")))
_END = Statement(
    update(login)
    .where(login.c.id == bindparam("which"))
    .values(disabled=1, admin=0, email="", password="", description="", deleted_at=bindparam("at"))
)
_REVOKE_APPLICATIONS = Statement(
    update(application)
    .where(application.c.login_id == bindparam("login"), application.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)


class LoginUnknown(Problem):
    """The account has no such user."""

    code, status, summary = "NOT_FOUND", 404, "this account has no such user"


class LoginTaken(Problem):
    """The account has a user of this name."""

    code, status, summary = "CONFLICT", 409, "this account has a user of this name"


class UsersExceeded(Problem):
    """The account has as many users as it may."""

    code, status, summary = "FORBIDDEN", 403, "this account has as many users as it may"


class LastAdministrator(Problem):
    """An account that nobody administers could not be put right by anybody."""

    code, status, summary = (
        "CONFLICT",
        409,
        "the last user who administers an account stays one: let another administer it first",
    )


class UserInvalid(Problem):
    """A field of a user breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "a field of the user breaks a rule"


class PasswordWrong(Problem):
    """The password that proves who changes something is wrong."""

    code, status, summary = "FORBIDDEN", 403, "currentPassword: is not your password"


class CodeRefused(Problem):
    """The code that proves who changes something is wrong."""

    code, status, summary = "FORBIDDEN", 403, "code: is not the one of this moment"


@dataclass(frozen=True, slots=True)
class User:
    """A user of an account."""

    id: str
    name: str
    email: str
    description: str
    admin: bool
    disabled: bool
    password_at: int
    created_at: int
    account_name: str

    @property
    def identity(self) -> str:
        """Give the name that policies know the user by."""
        return user_identity(self.account_name, self.name)


async def listed(reader: Reader, account_id: str) -> list[User]:
    """List an account's users in the order they came."""
    return [_user(row) for row in await reader.all(_ALL, account=account_id)]


async def get(reader: Reader, account_id: str, name: str) -> User:
    """Find an account's user, or raise LoginUnknown."""
    row = await reader.one(_ONE, account=account_id, name=name) if name.isprintable() else None
    if row is None:
        raise LoginUnknown
    return _user(row)


async def create(
    db: Database, passwords: Passwords, account_id: str, origin: Origin, *,
    name: str, password: str, email: str, description: str, admin: bool,
) -> User:  # fmt: skip
    """Make a user; raise UserInvalid, which names the field, LoginTaken or UsersExceeded."""
    check_name(name)
    check_password(password, "password")
    check_email(email)
    hashed = await passwords.hash(password)
    return await db.change(
        lambda tx: _create(
            tx,
            account_id,
            origin,
            name=name,
            password=hashed,
            email=email,
            description=description,
            admin=admin,
        )
    )


async def create_without_password(
    tx: Tx, account_id: str, origin: Origin, *, name: str, email: str, description: str
) -> User:
    """Make a user for whom the account's OpenID provider vouches; raise UserInvalid, LoginTaken or UsersExceeded."""
    check_name(name)
    return await _create(
        tx, account_id, origin, name=name, password="", email=email, description=description, admin=False
    )


async def _create(
    tx: Tx, account_id: str, origin: Origin, *, name: str, password: str, email: str, description: str, admin: bool
) -> User:  # fmt: skip
    await check_free(tx, account_id, name)
    count = (await tx.one(_COUNT, account=account_id)).n
    if count >= MOST:
        raise UsersExceeded(f"this account has {count} users, as many as it may: delete one first")
    id_ = str(uuid.uuid4())
    await tx.run(
        _ADD, id=id_, account=account_id, name=name, email=email, password=password, description=description,
        admin=int(admin), at=tx.at,
    )  # fmt: skip
    await events.record(tx, "user.created", origin, target=id_, account=account_id, name=name, admin=admin)
    return await get(tx, account_id, name)


async def change(
    tx: Tx, account_id: str, name: str, origin: Origin, *, email: str, description: str, admin: bool
) -> None:
    """Change a user; raise LoginUnknown, UserInvalid or LastAdministrator."""
    check_email(email)
    found = await get(tx, account_id, name)
    if found.admin and not admin:
        await _check_other_administrator(tx, account_id, found.id)
    await tx.run(_CHANGE, which=found.id, email=email, description=description, admin=int(admin))
    await events.record(
        tx, "user.changed", origin, target=found.id, account=account_id, name=name,
        before={"admin": found.admin}, after={"admin": admin}, email_changed=found.email != email,
    )  # fmt: skip


async def disable(tx: Tx, account_id: str, name: str, origin: Origin) -> None:
    """Let a user in no more, by whatever they show; raise LoginUnknown, LastAdministrator or LastOwner."""
    found = await get(tx, account_id, name)
    await _check_dispensable(tx, account_id, found)
    await tx.run(_DISABLE, which=found.id, disabled=1)
    await events.record(tx, "user.disabled", origin, target=found.id, account=account_id, name=name)


async def enable(tx: Tx, account_id: str, name: str, origin: Origin) -> None:
    """Let a user in again, or raise LoginUnknown."""
    found = await get(tx, account_id, name)
    await tx.run(_DISABLE, which=found.id, disabled=0)
    await events.record(tx, "user.enabled", origin, target=found.id, account=account_id, name=name)


async def delete(tx: Tx, account_id: str, name: str, origin: Origin) -> None:
    """End a user with their roles, applications and place in policies; raise LoginUnknown, LastAdministrator or LastOwner."""
    found = await get(tx, account_id, name)
    await _check_dispensable(tx, account_id, found)
    await members.drop_everywhere(tx, found.id)
    await policies.forget(tx, found.identity)
    await oidc_identities.forget(tx, found.id)
    await tx.run(_REVOKE_APPLICATIONS, login=found.id, at=tx.at)
    await tx.run(_END, which=found.id, at=tx.at)
    await events.record(tx, "user.deleted", origin, target=found.id, account=account_id, name=name)


async def set_password(
    db: Database, passwords: Passwords, account_id: str, name: str, password: str, origin: Origin
) -> None:
    """Give a user another password; sessions and credentials from before open nothing. Raise LoginUnknown or UserInvalid."""
    check_password(password, "password")
    hashed = await passwords.hash(password)

    async def work(tx: Tx) -> None:
        found = await get(tx, account_id, name)
        await tx.run(_PASSWORD, which=found.id, hashed=hashed, at=tx.at)
        await events.record(
            tx, "user.password-changed", origin, target=found.id, account=account_id, name=name
        )

    await db.change(work)


async def set_own_email(
    db: Database, passwords: Passwords, user: str, *, email: str, proof: str, origin: Origin
) -> None:
    """Change one's own mail address, which takes one's password; raise UserInvalid or PasswordWrong."""
    check_email(email)
    found = await prove(db, passwords, user, proof, origin)

    async def work(tx: Tx) -> None:
        await tx.run(_EMAIL_OF, which=user, email=email)
        await events.record(tx, "user.email-changed", origin, target=user, account=found)

    await db.change(work)


async def set_own_password(
    db: Database, passwords: Passwords, user: str, *, password: str, proof: str, origin: Origin
) -> None:
    """Change one's own password, which takes the one from before; raise UserInvalid or PasswordWrong.

    Sessions and credentials from before open nothing: whoever else may have known the password is out.
    """
    check_password(password, "password")
    found = await prove(db, passwords, user, proof, origin)
    hashed = await passwords.hash(password)

    async def work(tx: Tx) -> None:
        await tx.run(_PASSWORD, which=user, hashed=hashed, at=tx.at)
        await events.record(tx, "user.password-changed", origin, target=user, account=found)

    await db.change(work)


async def prove(db: Database, passwords: Passwords, user: str, password: str, origin: Origin) -> str:
    """Give a user's account if this is their password, or raise PasswordWrong."""
    try:
        return (await logins.prove(db, passwords, user, password, origin)).account_id
    except SignInRefused:
        raise PasswordWrong(field="currentPassword") from None


async def prove_code(
    db: Database, master: MasterKey, user: str, code: str, account_id: str, origin: Origin
) -> None:
    """Raise CodeRefused unless this is the code of a user who is signed in, if they have to show one."""
    try:
        await factors.check(db, master, user, code, account_id, origin)
    except (factors.CodeNeeded, factors.CodeWrong) as refused:
        raise CodeRefused(str(refused), field="code") from None


async def check_free(reader: Reader, account_id: str, name: str) -> None:
    """Raise LoginTaken if the account has a user of this name."""
    if await reader.one(_ONE, account=account_id, name=name) is not None:
        raise LoginTaken(f"login: this account has a user {name}", field="login")


def check_name(name: str) -> None:
    """Raise UserInvalid, which tells the rule, unless this may be a user's name."""
    with _naming("login"):
        rules.check_name(name)


def check_password(password: str, field: str) -> None:
    """Raise UserInvalid, which names the field and the rule, unless this may be a password."""
    with _naming(field):
        rules.check_password(password)


def check_email(email: str) -> None:
    """Raise UserInvalid unless this is an address of a mailbox."""
    if len(email) > LONGEST_EMAIL or not _EMAIL.fullmatch(email):
        raise UserInvalid(
            f"email: must be an address of a mailbox, such as ada@example.com, of at most {LONGEST_EMAIL} characters",
            field="email",
        )


async def _check_dispensable(tx: Tx, account_id: str, found: User) -> None:
    if found.admin:
        await _check_other_administrator(tx, account_id, found.id)
    await members.check_dispensable(tx, found.id)


async def _check_other_administrator(tx: Tx, account_id: str, id_: str) -> None:
    if not (await tx.one(_OTHER_ADMINISTRATORS, account=account_id, id=id_)).n:
        raise LastAdministrator


def _user(row: Any) -> User:
    return User(
        row.id, row.name, row.email, row.description, bool(row.admin), bool(row.disabled), row.valid_from, row.created_at,
        row.account_name,
    )  # fmt: skip


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Name the field in the refusal of its value."""
    try:
        yield
    except (rules.UserNameInvalid, rules.PasswordTooWeak) as refused:
        raise UserInvalid(f"{field}: {refused}", field=field) from None
