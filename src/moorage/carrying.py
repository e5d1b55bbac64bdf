"""A whole house carried elsewhere: the platform, the cell and every registry, as of one moment each, to another engine too.

    registries (rows, then the bytes they name) ──▶ platform ──▶ the cell's directory, in one change

The directory comes last: what was cut on the way has none, so it is no house and nobody takes it for one. Nothing is written where
anything is. The master key is not in it: with the same one every wrapped secret opens there, without it none.
"""

from __future__ import annotations

import asyncio
import contextlib
import operator
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from moorage.cloud import accounts, provisioning
from moorage.db import Database, Reader, Statement, cell, migrate, tables
from moorage.db.sqlite import SqliteDatabase
from moorage.errors import Problem, Unavailable
from moorage.parts import CELL_FILE, PLATFORM_FILE, Parts, registry_file
from moorage.registry import copying
from moorage.registry.directory import READY, Entry
from moorage.storage import BlobStore, open_store

if TYPE_CHECKING:
    from moorage.db.postgres import Postgres

_ROW = Statement(select(tables.registry.c.clock))
_DIRECTORY = (cell.entry, cell.host, cell.address_rules)
_PLATFORM = migrate.PLATFORM.metadata()
_ALL = (*tables.metadata.tables, *cell.metadata.tables, *_PLATFORM.tables)
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"


class NotEmpty(Problem):
    """A copy goes where nothing is."""

    code, status, summary = "CONFLICT", 409, "a copy needs an empty place"


class OrderedMeanwhile(Problem):
    """A registry came between the moments of the platform and of the cell."""

    code, status, summary = (
        "CONFLICT",
        409,
        "a registry was ordered just when the copy began: throw it away, copy again",
    )


@dataclass(frozen=True, slots=True)
class Target:
    """Where a copy goes: a data folder, and what is not kept in it."""

    folder: Path
    database_url: str = field(default="", repr=False)
    platform_url: str = field(default="", repr=False)
    store_url: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Name it, without a password."""
        return f"{self.folder}{' and the database' if self.database_url else ''}{' and the store' if self.store_url else ''}"


@dataclass(frozen=True, slots=True)
class _There:
    """The copy, opened: *finish* makes its directory one that a house starts from."""

    cell: Database
    platform: Database
    store: BlobStore
    registry: Callable[[Entry], Awaitable[Database]]
    finish: Callable[[], Awaitable[None]]


async def carry(parts: Parts, target: Target) -> copying.Copied:
    """Copy everything to an empty place; raise NotEmpty, OrderedMeanwhile or Unavailable."""
    await _check_schema(parts)
    async with contextlib.AsyncExitStack() as opening:
        there = await _opened(target, opening)
        of_platform = await opening.enter_async_context(parts.platform.snapshot())
        of_cell = await opening.enter_async_context(parts.cell.snapshot())
        await check_moments(parts, of_platform, of_cell)
        count = blobs = total = 0
        for one in await provisioning.every(of_cell):
            if not parts.has_database(one):
                continue
            source = await parts.open_database(one, create=False)
            if await source.one(_ROW) is None:
                # It was destroyed, or is only placed.
                await source.close()
                continue
            made = await there.registry(one)
            count += await copying.rows(source, made)
            added, bytes_ = await copying.content(
                made, parts.store.under(one.prefix), there.store.under(one.prefix)
            )
            blobs, total = blobs + added, total + bytes_
            await made.number_past(_of(await source.numbers(), tables.metadata.tables))
            await made.close()
            await source.close()
        count += await copying.of_moment(of_platform, there.platform, _PLATFORM.sorted_tables)
        await there.platform.number_past(_of(await parts.platform.numbers(), _PLATFORM.tables))
        count += await copying.of_moment(of_cell, there.cell, [cell.traffic])
        count += await copying.at_once(of_cell, there.cell, _DIRECTORY)
        await there.cell.number_past(_of(await parts.cell.numbers(), cell.metadata.tables))
        await there.finish()
    return copying.Copied(count, blobs, total)


async def _check_schema(parts: Parts) -> None:
    """Raise Unavailable for a schema of the release before: files come forward when they are opened, a database does not."""
    postgres = parts.postgres
    if postgres is None:
        return
    for family in migrate.of_a_cell():
        asked = f"SELECT version_num FROM {family.version_table}"  # noqa: S608 - a constant.
        version = await postgres.pool.read(operator.methodcaller("fetchval", asked))
        if family.opened_to.get(version) != version:
            raise Unavailable(
                "the database's schema is of the release before: run `moorage migrate` before you copy it"
            )


def _of(numbers: Mapping[str, int], known: Mapping[str, object]) -> dict[str, int]:
    """Choose what is of these tables: on PostgreSQL several families stand in one database."""
    return {name: last for name, last in numbers.items() if name in known}


async def check_moments(parts: Parts, of_platform: Reader, of_cell: Reader) -> None:
    """Raise OrderedMeanwhile if the cell has a registry that the platform's moment does not know yet."""
    known = await accounts.held(of_platform)
    new = {one.uuid for one in await provisioning.listed(of_cell) if one.state == READY} - known
    if new & await accounts.held(parts.platform):
        raise OrderedMeanwhile


async def _opened(target: Target, opening: contextlib.AsyncExitStack) -> _There:
    folder = target.folder
    if folder.exists() and any(folder.iterdir()):
        raise NotEmpty(f"{folder}: a copy needs an empty folder")
    store = open_store(target.store_url or (folder / "blobs").as_uri())
    opening.push_async_callback(store.close)
    async for _ in store.list():
        raise NotEmpty("the store: a copy needs one with nothing under its address")
    if not target.database_url:
        return await _files(folder, store, opening)
    families = migrate.of_a_cell() if target.platform_url else (*migrate.of_a_cell(), migrate.PLATFORM)
    rows = own = await _database(target.database_url, families, opening)
    if target.platform_url:
        own = await _database(target.platform_url, (migrate.PLATFORM,), opening)
    await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)

    async def registry(found: Entry) -> Database:
        return rows.bound(found.id)

    async def finish() -> None:
        return

    return _There(rows.unbound(), own.unbound(), store, registry, finish)


async def _files(folder: Path, store: BlobStore, opening: contextlib.AsyncExitStack) -> _There:
    await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
    begun = folder / f"copied-{CELL_FILE}"
    directory = await SqliteDatabase.open(begun, None, create=True)
    rows = await SqliteDatabase.open(folder / PLATFORM_FILE, None, create=True, family=migrate.PLATFORM)
    opening.push_async_callback(rows.close)
    opening.push_async_callback(directory.close)

    async def registry(found: Entry) -> Database:
        return await registry_file(folder, found)

    async def finish() -> None:
        # Closed, all of it stands in the one file.
        await directory.close()
        await asyncio.to_thread(begun.rename, folder / CELL_FILE)
        await asyncio.to_thread(begun.with_name(f"{begun.name}.lock").unlink, missing_ok=True)

    return _There(directory, rows, store, registry, finish)


async def _database(
    url: str, families: tuple[migrate.Family, ...], opening: contextlib.AsyncExitStack
) -> Postgres:
    # Who copies to files need not pay for its client's memory.
    from moorage.db.postgres import Postgres  # noqa: PLC0415

    made = await Postgres.connect(url, create=True, families=families)
    opening.push_async_callback(made.close)
    named = operator.methodcaller("fetch", _TABLES)
    for name in sorted({*_ALL} & {row["tablename"] for row in await made.pool.read(named)}):
        asked = operator.methodcaller("fetchval", f'SELECT EXISTS (SELECT 1 FROM "{name}")')  # noqa: S608 - a constant.
        if await made.pool.read(asked):
            raise NotEmpty(f"the database: a copy needs an empty one, and {name} has rows")
    return made
