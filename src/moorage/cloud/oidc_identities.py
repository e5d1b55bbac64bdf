"""Whom an account's OpenID provider vouches for: an issuer's name and a subject of it stand for one user of the account.

Nothing else does. A mail address or a name that the provider tells may be anybody's, so no user is ever found by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, select, update

from moorage.cloud import events
from moorage.cloud.events import Origin
from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform import login
from moorage.db.platform_sign_in import oidc_identity, oidc_role
from moorage.errors import Problem

_FIND = Statement(
    select(oidc_identity).where(
        oidc_identity.c.account_id == bindparam("account"),
        oidc_identity.c.issuer == bindparam("issuer"),
        oidc_identity.c.subject == bindparam("subject"),
    )
)
_OF_USER = Statement(
    select(oidc_identity, login.c.password)
    .join_from(oidc_identity, login, login.c.id == oidc_identity.c.login_id)
    .where(oidc_identity.c.login_id == bindparam("login"))
    .order_by(oidc_identity.c.created_at)
)
_ADD = Statement(
    insert(oidc_identity)
    .values(
        account_id=bindparam("account"),
        issuer=bindparam("issuer"),
        subject=bindparam("subject"),
        login_id=bindparam("login"),
        created_at=bindparam("at"),
        last_used_at=bindparam("at"),
    )
    .on_conflict_do_nothing(
        index_elements=[oidc_identity.c.account_id, oidc_identity.c.issuer, oidc_identity.c.subject]
    )
)
_USE = Statement(
    update(oidc_identity)
    .where(
        oidc_identity.c.account_id == bindparam("account"),
        oidc_identity.c.issuer == bindparam("named"),
        oidc_identity.c.subject == bindparam("whom"),
    )
    .values(last_used_at=bindparam("at"))
)
_DROP_OF = Statement(
    delete(oidc_identity).where(
        oidc_identity.c.login_id == bindparam("login"), oidc_identity.c.issuer == bindparam("issuer")
    )
)
_FORGET = Statement(delete(oidc_identity).where(oidc_identity.c.login_id == bindparam("login")))
_FORGET_ROLES = Statement(delete(oidc_role).where(oidc_role.c.login_id == bindparam("login")))
_FORGET_ALL = Statement(delete(oidc_identity).where(oidc_identity.c.account_id == bindparam("account")))


class IdentityTaken(Problem):
    """Another user of the account signs in by this."""

    code, status, summary = (
        "CONFLICT",
        409,
        "another user of this account signs in by this person of the OpenID provider",
    )


class IdentityUnknown(Problem):
    """The user is linked to nobody at the provider."""

    code, status, summary = "NOT_FOUND", 404, "this user is linked to nobody at an OpenID provider"


class PasswordNeeded(Problem):
    """Without a password the user could not sign in any more."""

    code, status, summary = (
        "CONFLICT",
        409,
        "this user has no password, and could not sign in any more: give one first",
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a user is elsewhere."""

    issuer: str
    subject: str
    login_id: str
    created_at: int
    last_used_at: int | None


async def find(reader: Reader, account_id: str, issuer: str, subject: str) -> Identity | None:
    """Find who is called so by an issuer."""
    row = await reader.one(_FIND, account=account_id, issuer=issuer, subject=subject)
    return None if row is None else _identity(row)


async def of_user(reader: Reader, login_id: str) -> list[Identity]:
    """List who a user is elsewhere."""
    return [_identity(row) for row in await reader.all(_OF_USER, login=login_id)]


async def link(tx: Tx, account_id: str, issuer: str, subject: str, login_id: str, origin: Origin) -> None:
    """Let a user sign in as this person from now on, in place of another there; raise IdentityTaken."""
    found = await find(tx, account_id, issuer, subject)
    if found is not None and found.login_id == login_id:
        return
    if found is not None:
        raise IdentityTaken
    await tx.run(_DROP_OF, login=login_id, issuer=issuer)
    if not await tx.run(_ADD, account=account_id, issuer=issuer, subject=subject, login=login_id, at=tx.at):
        raise IdentityTaken
    await events.record(
        tx, "user.oidc-linked", origin, target=login_id, account=account_id, issuer=issuer, subject=subject
    )


async def use(tx: Tx, account_id: str, found: Identity) -> None:
    """Note that a user has signed in so."""
    await tx.run(_USE, account=account_id, named=found.issuer, whom=found.subject, at=tx.at)


async def unlink(tx: Tx, account_id: str, login_id: str, origin: Origin) -> None:
    """Let a user sign in with the password alone; raise IdentityUnknown or PasswordNeeded."""
    rows = await tx.all(_OF_USER, login=login_id)
    if not rows:
        raise IdentityUnknown
    if not rows[0].password:
        raise PasswordNeeded
    await forget(tx, login_id)
    await events.record(
        tx, "user.oidc-unlinked", origin, target=login_id, account=account_id,
        issuers=[row.issuer for row in rows],
    )  # fmt: skip


async def forget(tx: Tx, login_id: str) -> None:
    """Forget who a user is elsewhere."""
    await tx.run(_FORGET, login=login_id)
    await tx.run(_FORGET_ROLES, login=login_id)


async def forget_all(tx: Tx, account_id: str) -> None:
    """Forget who an account's users are elsewhere."""
    await tx.run(_FORGET_ALL, account=account_id)


def _identity(row: Any) -> Identity:
    return Identity(row.issuer, row.subject, row.login_id, row.created_at, row.last_used_at)
