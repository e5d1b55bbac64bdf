"""Orders that are made once however often they are sent: who sends one names it by a key, and hears the same again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy import bindparam, delete, select

from moorage.db import Database, Statement, Tx, insert
from moorage.db.platform import idempotency
from moorage.errors import Problem

KEPT: Final = 86_400_000_000
"""Microseconds for which an order is known by its key."""
OK: Final = 200

_KEY = re.compile(r"[!-~]{1,255}")
_FIND = Statement(
    select(idempotency.c.request_hash, idempotency.c.body).where(
        idempotency.c.account_id == bindparam("account"), idempotency.c.key == bindparam("key")
    )
)
_ADD = Statement(
    insert(idempotency).values(
        account_id=bindparam("account"),
        key=bindparam("key"),
        request_hash=bindparam("hash"),
        status=OK,
        body=bindparam("body"),
        created_at=bindparam("at"),
    )
)
_DROP = Statement(
    delete(idempotency).where(
        idempotency.c.account_id == bindparam("account"), idempotency.c.created_at <= bindparam("before")
    )
)


_DROP_ALL = Statement(delete(idempotency).where(idempotency.c.created_at <= bindparam("before")))


class IdempotencyKeyInvalid(Problem):
    """The key breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not a key for an order"


class IdempotencyKeyReused(Problem):
    """The key names another order."""

    code, status, summary = "CONFLICT", 409, "this key was sent with another order"


async def drop_old(db: Database) -> int:
    """Drop the answers that nobody asks for by their keys any more; give how many."""
    return await db.write(_DROP_ALL, before=db.now() - KEPT)


async def once(
    tx: Tx, account: str, key: str, request: tuple[str, ...], work: Callable[[Tx], Awaitable[bytes]]
) -> bytes:
    """Do *work* and give what it answers, or give what it answered when the same *request* came with this key before.

    In one transaction, so the order and the memory of it are there together or not at all. Raises IdempotencyKeyInvalid, and
    IdempotencyKeyReused when another request came with the key.
    """
    if not _KEY.fullmatch(key):
        raise IdempotencyKeyInvalid(
            "Idempotency-Key: must have 1 to 255 visible ASCII characters", field="Idempotency-Key"
        )
    hashed = hashlib.sha256("\0".join(request).encode("utf-8", "surrogatepass")).digest()
    await tx.run(_DROP, account=account, before=tx.at - KEPT)
    known = await tx.one(_FIND, account=account, key=key)
    if known is None:
        body = await work(tx)
        await tx.run(_ADD, account=account, key=key, hash=hashed, body=body.decode(), at=tx.at)
        return body
    if known.request_hash != hashed:
        raise IdempotencyKeyReused(
            f"Idempotency-Key: {key[:80]} came with another order: send each order with a key of its own",
            field="Idempotency-Key",
        )
    return str(known.body).encode()
