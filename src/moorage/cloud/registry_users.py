"""The users of a registry, as its owner's account makes and ends them: rows of the registry's own, in its own turns."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from moorage.db import Database, Tx
from moorage.errors import Problem
from moorage.identity import users
from moorage.identity.passwords import Passwords
from moorage.identity.users import User
from moorage.registry import events
from moorage.registry.events import Origin

LONGEST_EMAIL: Final = 254
GENERATED: Final = 10

_LETTERS: Final = string.ascii_lowercase + string.digits
_EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+")


class EmailInvalid(Problem):
    """The text is no address of a mailbox."""

    code, status, summary = "BAD_REQUEST", 400, "not an address of a mailbox"


@dataclass(frozen=True, slots=True)
class Made:
    """A user who was made just now, and the password, which is not shown again."""

    user: User
    password: str = field(repr=False)


async def create(
    db: Database,
    passwords: Passwords,
    origin: Origin,
    *,
    login: str | None = None,
    email: str | None = None,
    password: str | None = None,
) -> Made:
    """Make a user, generating what is not given.

    Raises UserNameInvalid, UserExists, PasswordTooWeak or EmailInvalid, which say which rule is broken.
    """
    name = login if login is not None else _generated_name()
    chosen = password if password is not None else users.generated_password()
    with _naming("login"):
        users.check_name(name)
    with _naming("password"):
        users.check_password(chosen)
    if email is not None:
        _check_email(email)
    hashed = await passwords.hash(chosen)

    async def work(tx: Tx) -> User:
        number = await users.create(tx, name=name, password=hashed, email=email)
        await events.record(tx, "user.create", origin, user=number, name=name)
        return await users.get(tx, number)

    return Made(await db.change(work), chosen)


async def set_as_admin(db: Database, origin: Origin, number: int) -> None:
    """Make a user an administrator of the registry, or raise UserUnknown; done twice, it changes nothing more."""

    async def work(tx: Tx) -> None:
        found = await users.get(tx, number)
        if not found.admin:
            await users.set_admin(tx, number, admin=True)
            await events.record(tx, "user.admin", origin, user=number, name=found.name)

    await db.change(work)


async def delete(db: Database, origin: Origin, number: int) -> None:
    """End a user, whose tokens are void at once; raise UserUnknown or LastAdministrator."""

    async def work(tx: Tx) -> None:
        found = await users.get(tx, number)
        await users.remove(tx, number)
        await events.record(tx, "user.delete", origin, user=number, name=found.name)

    await db.change(work)


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Say of a refusal which field it is about."""
    try:
        yield
    except Problem as problem:
        raise type(problem)(f"{field}: {problem}", field=field) from None


def _check_email(email: str) -> None:
    if len(email) > LONGEST_EMAIL or not _EMAIL.fullmatch(email):
        raise EmailInvalid(
            f"email: must be an address such as name@example.com, of at most {LONGEST_EMAIL} visible ASCII characters",
            field="email",
        )


def _generated_name() -> str:
    return "user-" + "".join(secrets.choice(_LETTERS) for _ in range(GENERATED))
