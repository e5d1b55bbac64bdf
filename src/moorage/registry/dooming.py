"""Doomed keys: bytes that no row names any more, and when they are destroyed.

The row goes first, in the turn that dooms the key, and the bytes after. A key whose row is gone is never given to
anything again, so to destroy it late, or twice, hits nobody.

What a request may still be writing under such a key comes back after it was destroyed. So the key of an upload is
destroyed twice: as soon as may be, and once more when no request can be left that would make it anew.
"""

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import bindparam, delete, exists, select, update

from moorage.db import Database, Statement, Tx, insert, one_of
from moorage.db.tables import blob, doomed, upload_part
from moorage.errors import Unavailable
from moorage.storage import BlobStore, Key

STEP = 50
AT_ONCE, TWICE = -1, -2
"""As times of destruction, before all others: nothing is waited for, not even another machine's clock."""

_DOOM = Statement(insert(doomed).values(key=bindparam("key"), size=0, destroy_at=bindparam("at")))
_DUE = Statement(
    select(doomed.c.key, doomed.c.destroy_at)
    .where(
        doomed.c.destroy_at < bindparam("before"),
        ~exists().where(blob.c.key == doomed.c.key),
        ~exists().where(upload_part.c.key == doomed.c.key),
    )
    .order_by(doomed.c.destroy_at)
    .limit(bindparam("most"))
)
_TRIED = Statement(update(doomed).where(one_of(doomed.c.key, "keys")).values(tries=doomed.c.tries + 1))
_AGAIN = Statement(
    update(doomed)
    .where(one_of(doomed.c.key, "keys"), doomed.c.destroy_at == TWICE)
    .values(destroy_at=bindparam("late"))
)
_DESTROYED = Statement(delete(doomed).where(one_of(doomed.c.key, "keys")))
_DOOMED = Statement(select(doomed.c.key, doomed.c.destroy_at).where(one_of(doomed.c.key, "keys")))
_ALARM = Statement(select(doomed.c.key).where(exists().where(blob.c.key == doomed.c.key)).limit(1))


async def doom(tx: Tx, key: Key, *, twice: bool) -> None:
    """Have an upload's bytes destroyed at once, and *twice* if a request may still be writing them."""
    await tx.run(_DOOM, key=key, at=TWICE if twice else AT_ONCE)


async def destroy(db: Database, store: BlobStore, *, margin: int, longest_request: int) -> int:
    """Destroy bytes whose time has come, then their rows. Nothing is held meanwhile: once more does no harm."""
    now = db.now()
    rows = await db.all(_DUE, before=now - margin, most=STEP)
    if not rows:
        return 0
    await db.write(_TRIED, keys=[row.key for row in rows])
    for row in rows:
        await _destroy(store, Key(row.key), half_sent=row.destroy_at == TWICE)
    again = [row.key for row in rows if row.destroy_at == TWICE]
    if again:
        await db.write(_AGAIN, keys=again, late=now + longest_request)
    done = [row.key for row in rows if row.destroy_at != TWICE]
    if done:
        await db.write(_DESTROYED, keys=done)
    return len(rows)


async def destroy_now(db: Database, store: BlobStore, keys: Sequence[Key]) -> None:
    """Destroy those of *keys* that are doomed without waiting for a round of collection, which does what is left.

    So bytes that were given up do not fill the disk for as long as two rounds lie apart.
    """
    if not keys:
        return
    with suppress(Unavailable):
        for row in await db.all(_DOOMED, keys=list(keys[:STEP])):
            await _destroy(store, Key(row.key), half_sent=row.destroy_at == TWICE)


async def contradiction(db: Database) -> str | None:
    """Name a key that is doomed and in use at once, which never happens; None is well."""
    row = await db.one(_ALARM)
    return None if row is None else str(row.key)


async def _destroy(store: BlobStore, key: Key, *, half_sent: bool) -> None:
    await store.delete(key)
    if half_sent:
        # A process that was killed may have left parts of it, which no list names.
        await store.abort_leftovers(older_than_seconds=0, key=key)
