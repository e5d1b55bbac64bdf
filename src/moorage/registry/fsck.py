"""The check of a live registry: rows against rows, rows against bytes, bytes against rows, and bytes against digests.

It takes no lock and needs no pause. What it finds it looks at twice, for a push or a collection may have passed
between; so a finding is a fault, and not a registry at work.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select

from moorage.db import Database, Reader, Statement, Tx, insert, one_of
from moorage.db.tables import blob, doomed, manifest, manifest_blob, registry, repository, upload_part
from moorage.oci.digests import Digest
from moorage.registry import mending
from moorage.registry.findings import Finding
from moorage.registry.recount import recount
from moorage.storage import BlobStore, Hasher, Key, Missing, Stored

DAY = 86_400_000_000
PAGE = 500
ASKED_AT_ONCE = 16
SHOWN = 10

_BLOBS = Statement(
    select(blob.c.id, blob.c.digest, blob.c.size, blob.c.key)
    .where(blob.c.id > bindparam("after"))
    .order_by(blob.c.id)
    .limit(bindparam("most"))
)
_STILL = Statement(select(blob.c.id).where(blob.c.id == bindparam("blob"), blob.c.key == bindparam("key")))
_HURT = Statement(
    select(repository.c.name, manifest.c.digest)
    .select_from(
        manifest_blob.join(manifest, manifest.c.id == manifest_blob.c.manifest_id).join(
            repository, repository.c.id == manifest.c.repository_id
        )
    )
    .where(manifest_blob.c.blob_id == bindparam("blob"))
    .order_by(repository.c.name, manifest.c.id)
    .limit(bindparam("most"))
)
_KNOWN = tuple(
    Statement(select(column).where(one_of(column, "keys")))
    for column in (blob.c.key, upload_part.c.key, doomed.c.key)
)
_WINDOW = Statement(select(registry.c.backup_window))
_DOOM = Statement(
    insert(doomed).values(key=bindparam("key"), size=bindparam("size"), destroy_at=bindparam("at"), tries=0)
)

Told = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, what is wrong with it, and what of that is wrong no more."""

    blobs: int
    keys: int
    findings: tuple[Finding, ...]
    mended: tuple[Finding, ...]

    @property
    def left(self) -> tuple[Finding, ...]:
        """Give what is still wrong."""
        return tuple(one for one in self.findings if one not in self.mended)


async def check(
    db: Database, store: BlobStore, *, digests: bool = False, repair: bool = False, told: Told | None = None
) -> Report:
    """Prove a registry's invariants while it runs; *digests* reads every byte again, *repair* mends what can be.

    *told* hears how far it is: of what, and how many.
    """
    hear = told or _nobody
    counted = await recount(db)
    hear("counts", len(counted))
    seen, damaged = await _rows_to_bytes(db, store, hear, digests=digests)
    keys, strangers = await _bytes_to_rows(db, store, hear)
    findings = [*counted, *damaged, *map(_stranger, strangers)]
    mended: list[Finding] = []
    if repair and counted:
        await mending.mend(db)
        after = set(await recount(db))
        mended += [one for one in counted if one not in after]
    if repair and strangers:
        doomed_now = await db.change(lambda tx: _doom(tx, strangers))
        mended += [_stranger(one) for one in strangers if one.key in doomed_now]
    return Report(seen, keys, tuple(findings), tuple(mended))


def _nobody(what: str, count: int) -> None:
    del what, count


async def _rows_to_bytes(
    db: Database, store: BlobStore, told: Told, *, digests: bool
) -> tuple[int, list[Finding]]:
    """Ask the store for the bytes of every blob, some at once."""
    seen, found = 0, list[Finding]()
    slots = asyncio.Semaphore(1 if digests else ASKED_AT_ONCE)

    async def one(row: Any) -> Finding | None:
        async with slots:
            wrong = await _wrong_bytes(store, row, digests=digests)
            # A blob that was collected meanwhile has no bytes, and no row either.
            if wrong is None or await db.one(_STILL, blob=row.id, key=row.key) is None:
                return None
            return await _damage(db, row, wrong)

    async for page in _pages(db):
        found += [one for one in await asyncio.gather(*map(one, page)) if one is not None]
        seen += len(page)
        told("blobs", seen)
    return seen, found


async def _pages(reader: Reader) -> AsyncIterator[list[Any]]:
    after = 0
    while page := await reader.all(_BLOBS, after=after, most=PAGE):
        yield page
        after = page[-1].id


async def _wrong_bytes(store: BlobStore, row: Any, *, digests: bool) -> str | None:
    """Say what the store has instead of a blob's bytes; None if it has them."""
    size = await store.size(Key(row.key))
    if size is None:
        return "nothing"
    if size != row.size:
        return f"{size} bytes"
    if not digests:
        return None
    expected = Digest.from_raw(bytes(row.digest))
    hasher = Hasher(expected.algorithm)
    try:
        async for piece in store.read(Key(row.key), 0, size):
            hasher.update(piece)
    except Missing:
        return "nothing"
    actual = hasher.digest()
    return None if actual == expected else f"bytes of {actual}"


async def _damage(reader: Reader, row: Any, wrong: str) -> Finding:
    hurt = await reader.all(_HURT, blob=row.id, most=SHOWN + 1)
    named = [f"{one.name}@{Digest.from_raw(bytes(one.digest))}" for one in hurt[:SHOWN]]
    if len(hurt) > SHOWN:
        named.append("and others")
    digest = Digest.from_raw(bytes(row.digest))
    what = f"{digest} under {row.key}, named by {', '.join(named) or 'no manifest'}"
    return Finding("bytes", what, f"{row.size} bytes of it", wrong)


async def _bytes_to_rows(db: Database, store: BlobStore, told: Told) -> tuple[int, list[Stored]]:
    """Find what the store keeps and no row knows. Younger than a day it may be on its way."""
    seen, strangers = 0, list[Stored]()
    before = db.now() - DAY
    batch: list[Stored] = []
    async for stored in store.list():
        seen += 1
        if stored.modified_us < before:
            batch.append(stored)
        if len(batch) == PAGE:
            strangers += await _unknown(db, batch)
            batch = []
            told("keys", seen)
    strangers += await _unknown(db, batch)
    told("keys", seen)
    # Known at one moment and gone at the next is a key that was destroyed in between.
    return seen, [one for one in strangers if await store.size(one.key) is not None]


async def _unknown(reader: Reader, batch: Sequence[Stored]) -> list[Stored]:
    keys = [one.key for one in batch]
    known = (
        {row.key for statement in _KNOWN for row in await reader.all(statement, keys=keys)} if keys else set()
    )
    return [one for one in batch if one.key not in known]


def _stranger(stored: Stored) -> Finding:
    return Finding("unknown", f"key {stored.key}", "known to a row", f"{stored.size} bytes that no row names")


async def _doom(tx: Tx, strangers: Sequence[Stored]) -> set[str]:
    """Doom keys that are still unknown, for as long as a restore of the database may bring back their rows."""
    window = (await tx.one(_WINDOW)).backup_window
    rows = await _unknown(tx, strangers)
    if rows:
        await tx.many(_DOOM, [{"key": one.key, "size": one.size, "at": tx.at + window} for one in rows])
    return {one.key for one in rows}
