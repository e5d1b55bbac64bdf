"""What every process of a cell works with: its database, its store and its master key."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from moorage.db import Database, Statement, migrate
from moorage.db.cell import entry
from moorage.db.postgres import Postgres
from moorage.db.sqlite import SqliteDatabase
from moorage.identity.keys import MasterKey
from moorage.storage import BlobStore, Key, open_store

KEY_FILE = "master.key"
CELL_FILE = "cell.sqlite"

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

    @property
    def cell_file(self) -> Path:
        """Give the file of the cell's directory, when there is no PostgreSQL."""
        return self.data / CELL_FILE

    def master(self) -> MasterKey:
        """Read the master key; its file is made when there is neither; raise MasterKeyWrong."""
        return MasterKey.open(self.master_key, self.data / KEY_FILE)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts, opened: *postgres* is None when each registry has a SQLite file of its own."""

    place: Place
    cell: Database
    postgres: Postgres | None
    store: BlobStore
    master: MasterKey

    async def ask_database(self) -> None:
        """Raise Unavailable if the cell's database does not answer."""
        await self.cell.one(_ANY_ROW)

    async def ask_store(self) -> None:
        """Raise Unavailable if the store does not answer."""
        await self.store.size(_NO_KEY)


@contextlib.asynccontextmanager
async def opened(place: Place, *, create: bool = False) -> AsyncIterator[Parts]:
    """Open everything; *create* makes what is missing. Raises Unavailable, NewerSchema."""
    master = place.master()
    store = open_store(place.store_url)
    if place.database_url:
        postgres = await Postgres.connect(place.database_url, create=create)
        try:
            yield Parts(place, postgres.unbound(), postgres, store, master)
        finally:
            await postgres.close()
    else:
        cell = await SqliteDatabase.open(place.cell_file, None, create=create)
        try:
            yield Parts(place, cell, None, store, master)
        finally:
            await cell.close()


def upgrade(place: Place, *, contract: bool) -> None:
    """Bring the cell's schema forward; raise Unavailable or NewerSchema."""
    if place.database_url:
        migrate.upgrade_postgres(place.database_url, contract=contract)
    elif place.cell_file.exists():
        migrate.upgrade_file(migrate.CELL, place.cell_file, contract=contract)
    else:
        migrate.clone(migrate.CELL, place.cell_file)
