"""Refresh tokens: what ``docker login`` keeps instead of a password.

256 random bits, of which only the hash is kept. One lives for a time after its last use, and ends at once
with whatever voids its account's tokens.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, delete, func, select, update

from moorage.db import Statement, insert
from moorage.db.tables import refresh_token
from moorage.errors import StorageFull
from moorage.identity import accounts
from moorage.oci.errors import Unauthorized

if TYPE_CHECKING:
    from moorage.db import Database, Tx
    from moorage.identity.accounts import Account
    from moorage.identity.callers import Caller

LIFE: Final = 90 * 24 * 3600 * 1_000_000
"""Microseconds that one is good for after its last use, unless an operator says otherwise."""
MOST: Final = 1000
"""An account has no more refresh tokens than this: the one that was not used for longest goes first."""
_MARKED_USED_AFTER: Final = 3600 * 1_000_000
_MARKED_IN_A_LIFE: Final = 24
_LONGEST = 256
_NOT_SHOWN = re.compile(r"[^ -~]")

_ADD = Statement(
    insert(refresh_token).values(
        hash=bindparam("hash"),
        caller_kind=bindparam("kind"),
        caller_id=bindparam("number"),
        client=bindparam("client"),
        created_at=bindparam("now"),
        expires_at=bindparam("until"),
    )
)
_OF_CALLER = (
    refresh_token.c.caller_kind == bindparam("kind"),
    refresh_token.c.caller_id == bindparam("number"),
)
_COUNT = Statement(select(func.count().label("count")).select_from(refresh_token).where(*_OF_CALLER))
_OLDEST_KEPT = Statement(
    select(refresh_token.c.expires_at)
    .where(*_OF_CALLER)
    .order_by(refresh_token.c.expires_at.desc())
    .limit(1)
    .offset(MOST - 1)
)
_DROP = Statement(delete(refresh_token).where(*_OF_CALLER, refresh_token.c.expires_at <= bindparam("oldest")))
_FIND = Statement(
    select(
        refresh_token.c.caller_kind,
        refresh_token.c.caller_id,
        refresh_token.c.created_at,
        refresh_token.c.expires_at,
        refresh_token.c.last_used_at,
    ).where(refresh_token.c.hash == bindparam("hash"), refresh_token.c.revoked_at.is_(None))
)
_USED = Statement(
    update(refresh_token)
    .where(refresh_token.c.hash == bindparam("key"))
    .values(last_used_at=bindparam("now"), expires_at=bindparam("until"))
)
_REVOKE = Statement(
    update(refresh_token)
    .where(refresh_token.c.hash == bindparam("key"), refresh_token.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
)


async def issue(tx: Tx, caller: Caller, *, client: str, life: int = LIFE) -> str:
    """Make a refresh token for *caller* of a *life* in microseconds; *client* is the program that asked."""
    text = secrets.token_urlsafe(32)
    mine = {"kind": caller.kind, "number": caller.id}
    counted = await tx.one(_COUNT, **mine)
    full = counted is not None and counted.count >= MOST
    oldest = await tx.one(_OLDEST_KEPT, **mine) if full else None
    await tx.run(_DROP, **mine, oldest=max(tx.at, oldest.expires_at) if oldest else tx.at)
    shown = _NOT_SHOWN.sub("", client)[:64]
    await tx.run(_ADD, **mine, hash=_hash(text), client=shown, now=tx.at, until=tx.at + life)
    return text


async def account(db: Database, text: str, *, life: int = LIFE) -> Account:
    """Give the account that *text* stands for, or raise Unauthorized.

    A *life* that was shortened counts for the tokens that are out, too.
    """
    now = db.now()
    row = await db.one(_FIND, hash=_hash(text)) if len(text) <= _LONGEST else None
    found = await accounts.by_subject(db, row.caller_kind, row.caller_id) if row else None
    used = (row.last_used_at or row.created_at) if row else 0
    if row is None or found is None or now >= min(row.expires_at, used + life):
        raise Unauthorized("the refresh token is unknown or has expired; sign in again")
    # Stamps of one registry rise, so whatever voids tokens is younger than those it voids.
    if row.created_at <= found.valid_from or not found.works(now):
        raise Unauthorized("the refresh token is void since its account changed; sign in again")
    if used < now - min(_MARKED_USED_AFTER, life // _MARKED_IN_A_LIFE):
        # Clients sign in with it to pull, which needs no room.
        with contextlib.suppress(StorageFull):
            await db.write(_USED, key=_hash(text), now=now, until=now + life)
    return found


async def revoke(tx: Tx, text: str) -> bool:
    """End a refresh token, and tell whether there was one."""
    return await tx.run(_REVOKE, key=_hash(text), now=tx.at) > 0


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
