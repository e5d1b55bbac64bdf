"""A copy of a running registry: its rows as of one moment, then the bytes that these rows name.

Bytes outlive their row by the window a restore may reach back, so all that the rows name is still there when it is
copied, whatever is deleted meanwhile. Uploads on their way are left behind.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Column, Table, and_, bindparam, func, or_, select

from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.tables import blob, doomed, metadata, pull_stat, registry, upload, upload_part
from moorage.oci.digests import Digest
from moorage.storage import BlobStore, Hasher, Key

PAGE = 500
# What is about bytes that a copy does not have.
LEFT_BEHIND = frozenset({upload.name, upload_part.name, doomed.name})

_BLOBS = Statement(
    select(blob.c.id, blob.c.key, blob.c.digest, blob.c.size)
    .where(blob.c.id > bindparam("after"))
    .order_by(blob.c.id)
    .limit(PAGE)
)


class CopyDamaged(Exception):
    """The copy would not be whole: bytes of the source do not match their digest, or rows are not all there."""


@dataclass(frozen=True, slots=True)
class Copied:
    """How much was copied."""

    rows: int
    blobs: int
    bytes: int


def _data(table: Table) -> list[Column[Any]]:
    """Give what is copied of a row: not what the database counts itself where the rows arrive."""
    return [column for column in table.c if column.name != "registry_id" and not column.info.get("counted")]


@cache
def _page(table: Table) -> Statement:
    keys = [column for column in table.primary_key if column.name != "registry_id"]
    return Statement(select(*_data(table)).where(_after(keys)).order_by(*keys).limit(PAGE))


@cache
def _first_page(table: Table) -> Statement:
    keys = [column for column in table.primary_key if column.name != "registry_id"]
    return Statement(select(*_data(table)).order_by(*keys).limit(PAGE))


@cache
def _count(table: Table) -> Statement:
    return Statement(select(func.count().label("n")).select_from(table))


@cache
def _add(table: Table) -> Statement:
    return Statement(
        insert(table).values({column.name: bindparam(f"new_{column.name}") for column in _data(table)})
    )


def _after(keys: Sequence[Column[Any]]) -> Any:
    """Say that a row's key comes after the last one's, column by column."""
    steps = [
        and_(
            *(keys[m] == bindparam(f"last_{keys[m].name}") for m in range(n)),
            key > bindparam(f"last_{key.name}"),
        )
        for n, key in enumerate(keys)
    ]
    return or_(*steps)


async def rows(source: Database, target: Database) -> int:
    """Copy every row of a registry of one moment into an empty database of the same schema, and give how many."""
    async with source.snapshot() as moment:
        # Pulls are counted with the manifests they are of, so these come before them.
        tables = sorted(metadata.sorted_tables, key=lambda one: (one is not registry, one is pull_stat))
        return await of_moment(moment, target, [one for one in tables if one.name not in LEFT_BEHIND])


async def of_moment(moment: Reader, target: Database, tables: Sequence[Table]) -> int:
    """Copy every row of some tables, in this order, into empty ones, and count them there; raise CopyDamaged."""
    total = 0
    for table in tables:
        count = 0
        async for page in _pages(moment, table):
            await _write(target, table, page)
            count += len(page)
        there = (await target.one(_count(table))).n
        if there != count:
            raise CopyDamaged(f"{count} rows of {table.name} were copied, and {there} are there")
        total += count
    return total


async def at_once(moment: Reader, target: Database, tables: Sequence[Table]) -> int:
    """Copy every row of some small tables in one change, so that all are there or none; give how many."""
    held = [(table, [row async for page in _pages(moment, table) for row in page]) for table in tables]

    async def work(tx: Tx) -> None:
        for table, found in held:
            if found:
                await tx.many(_add(table), [_filled(row) for row in found])

    await target.change(work)
    return sum(len(found) for _, found in held)


async def _pages(moment: Reader, table: Table) -> AsyncIterator[Sequence[Any]]:
    if not any(column.name != "registry_id" for column in table.primary_key):
        yield await moment.all(_first_page(table))
        return
    page = await moment.all(_first_page(table))
    while page:
        yield page
        last = page[-1]._asdict()
        keys = [column.name for column in table.primary_key if column.name != "registry_id"]
        page = await moment.all(_page(table), **{f"last_{name}": last[name] for name in keys})


async def _write(target: Database, table: Table, page: Sequence[Any]) -> None:
    values = [_filled(row) for row in page]
    if table is registry:
        # A turn needs this row to take its stamp from, so it comes before any turn.
        await target.write(_add(table), **values[0])
        return

    async def work(tx: Tx) -> None:
        await tx.many(_add(table), values)

    await target.change(work)


def _filled(row: Any) -> Mapping[str, object]:
    return {f"new_{name}": value for name, value in row._asdict().items()}


async def content(copied: Database, source: BlobStore, target: BlobStore) -> tuple[int, int]:
    """Copy the bytes that *copied*'s rows name, checking each digest; give how many blobs and bytes.

    What the target has whole already is not copied again, so a cut copy goes on.
    """
    blobs = total = 0
    after = 0
    while page := await copied.all(_BLOBS, after=after):
        for row in page:
            key = Key(row.key)
            if await target.size(key) != row.size:
                await _one(source, target, key, Digest.from_raw(row.digest), row.size)
            blobs, total, after = blobs + 1, total + row.size, row.id
    return blobs, total


async def _one(source: BlobStore, target: BlobStore, key: Key, digest: Digest, size: int) -> None:
    await target.delete(key)
    hasher = Hasher(digest.algorithm)
    await target.write(key, 0, _Stored(source, key, size), hasher, limit=size)
    if hasher.digest() != digest:
        await target.delete(key)
        message = f"the bytes of {digest} have digest {hasher.digest()}: run fsck --digests on the source"
        raise CopyDamaged(message)
    await target.commit([key], key)


@dataclass(frozen=True, slots=True)
class _Stored:
    """The bytes of one store, as a source for another."""

    store: BlobStore
    key: Key
    size: int

    async def drain(self, consume: Callable[[memoryview], None]) -> int:
        """Hand over every piece."""
        async for piece in self:
            consume(memoryview(piece))
        return self.size

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give every piece."""
        return self.store.read(self.key, 0, self.size)
