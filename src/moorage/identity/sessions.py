"""Sessions of people who signed in at a registry's own pages: a cookie's hash in a row, ended by time and by what voids tokens.

A session is of one registry and of its management alone: it is no credential for images, and none for another registry or for
the console.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, delete, select, update

from moorage.db import Statement, insert
from moorage.db.tables import session
from moorage.errors import StorageFull
from moorage.identity import accounts

if TYPE_CHECKING:
    from moorage.db import Database, Tx
    from moorage.identity.accounts import Account

MINUTE: Final = 60_000_000
TIMEOUT: Final = 60
"""Minutes without a request after which a session ends, unless the registry says otherwise."""
LONGEST: Final = 24 * 3600 * 1_000_000 * 30
LONGEST_COOKIE: Final = 128

_ADD = Statement(
    insert(session).values(
        hash=bindparam("hash"), user_id=bindparam("user"), created_at=bindparam("at"), last_at=bindparam("at"),
        address=bindparam("address"), agent=bindparam("agent"),
    )
)  # fmt: skip
_FIND = Statement(
    select(session.c.user_id, session.c.created_at, session.c.last_at).where(
        session.c.hash == bindparam("hash")
    )
)
_SEEN = Statement(update(session).where(session.c.hash == bindparam("hash")).values(last_at=bindparam("at")))
_END = Statement(delete(session).where(session.c.hash == bindparam("hash")))
_END_OLD = Statement(delete(session).where(session.c.last_at < bindparam("before")))


async def begin(tx: Tx, registry: str, account: Account, *, address: str, agent: str) -> str:
    """Begin a session of an account at the registry whose lasting name is *registry*; give its cookie."""
    cookie = secrets.token_urlsafe(32)
    await tx.run(_END_OLD, before=tx.at - LONGEST)
    await tx.run(
        _ADD, hash=_hash(registry, cookie), user=account.caller.id, at=tx.at, address=address, agent=agent
    )
    return cookie


async def find(db: Database, registry: str, cookie: str, *, minutes: int = TIMEOUT) -> Account | None:
    """Give the account whose session a cookie is of; None if it is over, or void since the account changed."""
    if not cookie or len(cookie) > LONGEST_COOKIE:
        return None
    hashed, now = _hash(registry, cookie), db.now()
    row = await db.one(_FIND, hash=hashed)
    if row is None or row.last_at + minutes * MINUTE < now or row.created_at + LONGEST < now:
        return None
    account = await accounts.by_subject(db, "user", row.user_id)
    # What voids tokens is stamped on the account: a password, a sign-out, being disabled.
    if account is None or account.valid_from >= row.created_at or not account.works(now):
        return None
    if row.last_at + MINUTE < now:
        with contextlib.suppress(StorageFull):
            await db.write(_SEEN, hash=hashed, at=now)
    return account


async def end(tx: Tx, registry: str, cookie: str) -> bool:
    """End a session, and tell whether there was one."""
    return await tx.run(_END, hash=_hash(registry, cookie)) > 0


def _hash(registry: str, cookie: str) -> bytes:
    return hashlib.sha256(f"moorage session {registry} {cookie}".encode("utf-8", "surrogatepass")).digest()
