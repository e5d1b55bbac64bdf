"""People of an account's OpenID provider who are invited to become users, each by a code that is good once."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select

from moorage.cloud import events, users
from moorage.cloud.events import Origin
from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform_sign_in import oidc_invitation
from moorage.errors import Problem

LASTS: Final = 7 * 86_400_000_000
"""Microseconds for which a code can be used."""
MOST: Final = 100

_ADD = Statement(
    insert(oidc_invitation).values(
        id=bindparam("id"),
        account_id=bindparam("account"),
        hash=bindparam("hash"),
        name=bindparam("name"),
        email=bindparam("email"),
        description=bindparam("description"),
        created_at=bindparam("at"),
        expires_at=bindparam("expires"),
    )
)
_ALL = Statement(
    select(oidc_invitation)
    .where(
        oidc_invitation.c.account_id == bindparam("account"), oidc_invitation.c.expires_at > bindparam("now")
    )
    .order_by(oidc_invitation.c.created_at, oidc_invitation.c.id)
)
_CODE = Statement(
    select(oidc_invitation).where(
        oidc_invitation.c.hash == bindparam("hash"),
        oidc_invitation.c.account_id == bindparam("account"),
        oidc_invitation.c.expires_at > bindparam("now"),
    )
)
_COUNT = Statement(
    select(func.count().label("n")).where(oidc_invitation.c.account_id == bindparam("account"))
)
_DROP = Statement(
    delete(oidc_invitation).where(
        oidc_invitation.c.id == bindparam("id"), oidc_invitation.c.account_id == bindparam("account")
    )
)
_DROP_OLD = Statement(
    delete(oidc_invitation).where(
        oidc_invitation.c.account_id == bindparam("account"), oidc_invitation.c.expires_at <= bindparam("now")
    )
)


class InvitationUnknown(Problem):
    """There is no such invitation, it was taken, or it is too old."""

    code, status, summary = (
        "NOT_FOUND",
        404,
        "there is no such invitation, or it was taken, or is too old: ask for another",
    )


class InvitationsExceeded(Problem):
    """The account has as many open invitations as it may."""

    code, status, summary = "FORBIDDEN", 403, "this account has as many open invitations as it may"


@dataclass(frozen=True, slots=True)
class Invitation:
    """Somebody who is invited, and what they will be called."""

    id: str
    name: str
    email: str
    description: str
    created_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation, and its code, which is shown this once."""

    invitation: Invitation
    code: str = field(repr=False)


async def invite(
    tx: Tx, account_id: str, origin: Origin, *, name: str, email: str, description: str
) -> Invited:
    """Invite somebody to become the user *name*; raise UserInvalid, LoginTaken or InvitationsExceeded."""
    users.check_name(name)
    users.check_email(email)
    await users.check_free(tx, account_id, name)
    await tx.run(_DROP_OLD, account=account_id, now=tx.at)
    count = (await tx.one(_COUNT, account=account_id)).n
    if count >= MOST:
        raise InvitationsExceeded(f"{count} invitations of this account are open: take one back first")
    code = secrets.token_urlsafe(24)
    made = Invitation(str(uuid.uuid4()), name, email, description, tx.at, tx.at + LASTS)
    await tx.run(
        _ADD, id=made.id, account=account_id, hash=_hash(code), name=name, email=email, description=description,
        at=tx.at, expires=made.expires_at,
    )  # fmt: skip
    await events.record(tx, "user.oidc-invited", origin, target=made.id, account=account_id, name=name)
    return Invited(made, code)


async def listed(reader: Reader, account_id: str, now: int) -> list[Invitation]:
    """List an account's open invitations."""
    return [_invitation(row) for row in await reader.all(_ALL, account=account_id, now=now)]


async def of_code(reader: Reader, account_id: str, code: str, now: int) -> Invitation:
    """Find an account's open invitation by its code, or raise InvitationUnknown."""
    row = await reader.one(_CODE, account=account_id, hash=_hash(code.strip()), now=now)
    if row is None:
        raise InvitationUnknown
    return _invitation(row)


async def take(tx: Tx, account_id: str, id_: str) -> Invitation:
    """Take an invitation, which is good once; raise InvitationUnknown."""
    found = next((one for one in await listed(tx, account_id, tx.at) if one.id == id_), None)
    if found is None or not await tx.run(_DROP, account=account_id, id=id_):
        raise InvitationUnknown
    return found


async def take_back(tx: Tx, account_id: str, id_: str, origin: Origin) -> None:
    """End an invitation, or raise InvitationUnknown."""
    found = await take(tx, account_id, id_)
    await events.record(
        tx, "user.oidc-invitation-ended", origin, target=id_, account=account_id, name=found.name
    )


def _hash(code: str) -> bytes:
    # It is random, so nothing slower is needed.
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()


def _invitation(row: Any) -> Invitation:
    return Invitation(row.id, row.name, row.email, row.description, row.created_at, row.expires_at)
