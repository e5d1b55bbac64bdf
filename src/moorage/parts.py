"""What every process of a cell works with: its database, its store and its master key; some work with the platform's too."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from moorage.db import Database, Statement, migrate
from moorage.db.cell import entry
from moorage.db.destroying import FileRows, Rows, SharedRows
from moorage.db.files import MARKS, Stamp, stamp
from moorage.db.sqlite import SqliteDatabase
from moorage.identity.keys import MasterKey, MasterKeyWrong
from moorage.registry.directory import Entry
from moorage.storage import BlobStore, Key, open_store

if TYPE_CHECKING:
    from moorage.db.postgres import Postgres

KEY_FILE = "master.key"
CELL_FILE = "cell.sqlite"
PLATFORM_FILE = "platform.sqlite"
JOBS_FILE = "jobs.sqlite"
REGISTRIES = "registries"

# Nothing is ever kept under these: the answer that there is nothing is a sign of life.
_NO_KEY = Key("00000000000000000000000000000000")
_ANY_ROW = Statement(select(entry.c.id).limit(1))


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything is kept, and the key that opens what is wrapped."""

    data: Path
    database_url: str
    store_url: str
    master_key: str
    connections: int = 10
    """To PostgreSQL, of one process."""
    platform_url: str = ""
    """The platform's PostgreSQL, when it is not the cell's."""

    @property
    def platform_file(self) -> Path:
        """Give the file of the platform's rows, when there is no PostgreSQL."""
        return self.data / PLATFORM_FILE

    @property
    def cell_file(self) -> Path:
        """Give the file of the cell's directory, when there is no PostgreSQL."""
        return self.data / CELL_FILE

    @property
    def registries(self) -> Path:
        """Give the folder of the registries' files, when there is no PostgreSQL."""
        return self.data / REGISTRIES

    @property
    def jobs_file(self) -> Path:
        """Give the file of the worker's jobs, when there is no PostgreSQL."""
        return self.data / JOBS_FILE

    @property
    def slots(self) -> Path:
        """Give the folder of the files in which this machine's processes count requests at once."""
        return self.data / "slots"

    @property
    def rates(self) -> Path:
        """Give the file in which this machine's processes count the requests of each identity."""
        return self.data / "rates"

    @property
    def key_file(self) -> Path:
        """Give the file of the master key, when the environment has none."""
        return self.data / KEY_FILE

    @property
    def has_key(self) -> bool:
        """Say whether there is a master key already."""
        return bool(self.master_key) or self.key_file.exists()


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts, opened: *postgres* is None when each registry has a SQLite file of its own.

    The registry plane has no *platform_*: pulls go on when that database is away.
    """

    place: Place
    cell: Database
    postgres: Postgres | None
    store: BlobStore
    master: MasterKey
    platform_: Database | None = None

    @property
    def platform(self) -> Database:
        """Give the platform's rows; who did not open them has no business with them."""
        if self.platform_ is None:
            raise RuntimeError("this process was opened without the platform's database")
        return self.platform_

    async def open_database(self, found: Entry, *, create: bool = True) -> Database:
        """Open a registry's rows, bound to it; on SQLite its file is made when it is not there yet.

        Who serves does not *create* it: a file that is gone is one that was destroyed.
        """
        if self.postgres is not None:
            return self.postgres.bound(found.id)
        return await registry_file(self.place.data, found, create=create)

    def rows(self, found: Entry) -> Rows:
        """Give a registry's rows as what is to be destroyed."""
        if self.postgres is not None:
            return SharedRows(self.postgres.bound(found.id))
        return FileRows(_registry_path(self.place.data, found), found.id)

    def has_database(self, found: Entry) -> bool:
        """Say whether a registry has rows: one that was only placed, or is destroyed, has none."""
        return self.postgres is not None or _registry_path(self.place.data, found).exists()

    def stamp(self, found: Entry) -> Stamp | None:
        """Give what differs once a registry's rows were written to, without opening them; None where only they can tell."""
        return None if self.postgres is not None else stamp(_registry_path(self.place.data, found))

    async def ask_database(self) -> None:
        """Raise Unavailable if the cell's database does not answer."""
        await self.cell.one(_ANY_ROW)

    async def ask_store(self) -> None:
        """Raise Unavailable if the store does not answer."""
        await self.store.size(_NO_KEY)


async def registry_file(data: Path, found: Entry, *, create: bool = True) -> SqliteDatabase:
    """Open a registry's file in a data folder, making it when it is not there yet unless that is denied."""
    path = _registry_path(data, found)
    (path.parent / MARKS).mkdir(mode=0o700, parents=True, exist_ok=True)
    return await SqliteDatabase.open(path, found.id, create=create)


def _registry_path(data: Path, found: Entry) -> Path:
    return data / REGISTRIES / f"{name_of(found)}.sqlite"


def name_of(found: Entry) -> str:
    """Name a registry's file: a path is never used twice."""
    return f"{found.uuid}-{found.generation}"


@contextlib.asynccontextmanager
async def opened(place: Place, *, create: bool = False, platform: bool = True) -> AsyncIterator[Parts]:
    """Open everything, the *platform*'s rows too unless that is denied; *create* makes what is missing.

    Raises Unavailable and NewerSchema, and what the operator set wrong: MasterKeyWrong,
    StoreAddressInvalid.
    """
    async with contextlib.AsyncExitStack() as opening:
        store = open_store(place.store_url)
        opening.push_async_callback(store.close)
        if place.database_url:
            postgres = await _connected(place.database_url, place, create=create)
            opening.push_async_callback(postgres.close)
            cell: Database = postgres.unbound()
        else:
            postgres = None
            cell = await SqliteDatabase.open(place.cell_file, None, create=create)
            opening.push_async_callback(cell.close)
        rows = await _platform(place, opening, postgres, create=create) if platform else None
        yield Parts(place, cell, postgres, store, await _master(place, cell, create=create), rows)


async def _platform(
    place: Place, opening: contextlib.AsyncExitStack, cell: Postgres | None, *, create: bool
) -> Database:
    """Open the platform's rows: in a database of their own, beside the cell's, or in a file."""
    if place.platform_url:
        own = await _connected(place.platform_url, place, migrate.PLATFORM, create=create)
        opening.push_async_callback(own.close)
        return own.unbound()
    if cell is not None:
        # The release before has no such tables and misses none, so whoever comes first with this one makes them.
        await cell.bring(place.database_url, migrate.PLATFORM)
        return cell.unbound()
    file = await SqliteDatabase.open(place.platform_file, None, create=create, family=migrate.PLATFORM)
    opening.push_async_callback(file.close)
    return file


async def _connected(url: str, place: Place, *families: migrate.Family, create: bool) -> Postgres:
    # Imported here, since a machine with SQLite should not pay for the client's memory.
    from moorage.db.postgres import Postgres  # noqa: PLC0415

    return await Postgres.connect(url, create=create, size=place.connections, families=families)


async def _master(place: Place, cell: Database, *, create: bool) -> MasterKey:
    if not place.has_key and (not create or await cell.one(_ANY_ROW)):
        # A new key would open nothing of what there is, and be believed to be the right one.
        raise MasterKeyWrong(f"{place.key_file} is missing: put it back, or set MOORAGE_MASTER_KEY")
    return MasterKey.open(place.master_key, place.key_file)


def upgrade(place: Place, *, contract: bool) -> None:
    """Bring the schema of a cell, its registries and the platform forward; raise Unavailable or NewerSchema."""
    if place.platform_url:
        migrate.upgrade_postgres(place.platform_url, (migrate.PLATFORM,), contract=contract)
    if place.database_url:
        families = (*migrate.of_a_cell(), *(() if place.platform_url else (migrate.PLATFORM,)))
        migrate.upgrade_postgres(place.database_url, families, contract=contract)
        return
    _upgrade_or_make(migrate.CELL, place.cell_file, contract=contract)
    for path in sorted(place.registries.glob("*.sqlite")):
        migrate.upgrade_file(migrate.REGISTRY, path, contract=contract)
    if not place.platform_url:
        _upgrade_or_make(migrate.PLATFORM, place.platform_file, contract=contract)


def _upgrade_or_make(family: migrate.Family, path: Path, *, contract: bool) -> None:
    if path.exists():
        migrate.upgrade_file(family, path, contract=contract)
    else:
        migrate.clone(family, path)
