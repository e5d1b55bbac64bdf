"""The rows of one registry at their end: counted, closed to every change, destroyed in bounded pieces, looked for again.

On SQLite they are a file, which is marked before it is unlinked, and unlinked only once no process has it open: each
holds a shared lock on ``<file>.use`` for as long as it has (`db.files`). On PostgreSQL they share tables with other
registries' rows: the registry's own row goes first, without which no turn begins, and then all others, few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy import bindparam as given
from sqlalchemy import delete, func, select, tuple_

from moorage.db import files
from moorage.db.errors import Vanished
from moorage.db.sqlite import SqliteDatabase
from moorage.db.statements import Statement
from moorage.db.tables import blob, metadata, registry, signing_key, tag

if TYPE_CHECKING:
    from sqlalchemy import Table

    from moorage.db import Database

_TABLES: Final = tuple(reversed(metadata.sorted_tables))


def _some(table: Table) -> Statement:
    """Delete up to ``most`` rows of a table, whichever: on both engines by their keys."""
    keys: list[Any] = [column for column in table.primary_key.columns if column.name != "registry_id"]
    if not keys:
        return Statement(delete(table))
    chosen = select(*keys).limit(given("most"))
    named: Any = keys[0] if len(keys) == 1 else tuple_(*keys)
    return Statement(delete(table).where(named.in_(chosen)))


_COUNTS: Final = {
    table.name: Statement(select(func.count().label("n")).select_from(table)) for table in _TABLES
}
_SOME: Final = {table.name: _some(table) for table in _TABLES if table is not registry}
_BYTES = Statement(select(func.coalesce(func.sum(blob.c.size), 0).label("n")))
_TAGS = Statement(select(func.count().label("n")).select_from(tag).where(tag.c.end_at.is_(None)))
_KEYS = Statement(select(signing_key.c.id).order_by(signing_key.c.created_at, signing_key.c.id))
_NO_ROW = Statement(delete(registry))
_NO_KEYS = Statement(delete(signing_key))


@dataclass(frozen=True, slots=True)
class Stock:
    """What a registry's rows are: how many of each table, how many tags are set, the bytes of its blobs, its keys' names."""

    rows: Mapping[str, int] = field(default_factory=dict)
    tags: int = 0
    bytes: int = 0
    keys: Sequence[str] = ()


class Rows(Protocol):
    """A registry's rows. What is done to them may be cut anywhere and done again."""

    @property
    def engine(self) -> str:
        """Name the engine that keeps them."""
        ...

    async def stock(self) -> Stock:
        """Count what there is, without holding it."""
        ...

    async def seal(self) -> None:
        """Ensure that no process changes anything any more, and that the keys are gone."""
        ...

    async def destroy(self, most: int) -> int:
        """Destroy up to *most* rows, or a whole file; give how many it was, 0 when none is left. Raises FileUsed."""
        ...

    async def remains(self) -> Sequence[str]:
        """Name whatever is left, as the engine says just now."""
        ...


async def count(db: Database) -> Stock:
    """Count a registry's rows as of one moment, however many there are."""
    async with db.snapshot() as moment:
        rows = {name: int((await moment.one(asked)).n) for name, asked in _COUNTS.items()}
        return Stock(
            {name: n for name, n in sorted(rows.items()) if n},
            int((await moment.one(_TAGS)).n),
            int((await moment.one(_BYTES)).n),
            [row.id for row in await moment.all(_KEYS)],
        )


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows in a file of their own."""

    path: Path
    registry_id: int
    engine: str = "SQLite"

    async def stock(self) -> Stock:
        """Count them; a file that was never made has none."""
        if not self.path.exists():
            return Stock()
        db = await SqliteDatabase.open(self.path, self.registry_id)
        try:
            return await count(db)
        finally:
            await db.close()

    async def seal(self) -> None:
        """Delete the keys and mark the file: whoever has it open still is refused from now on."""
        if not self.path.exists():
            return
        db = await SqliteDatabase.open(self.path, self.registry_id)
        try:
            await db.write(_NO_KEYS)
            await db.mark_deleted()
        except Vanished:
            return
        finally:
            await db.close()

    async def destroy(self, most: int) -> int:
        """Unlink the file and all beside it, once nobody has it open."""
        del most
        return await asyncio.to_thread(files.destroy, self.path)

    async def remains(self) -> Sequence[str]:
        """Look for anything of its name in the folder."""
        return [path.name for path in await asyncio.to_thread(files.beside, self.path)]


@dataclass(frozen=True, slots=True)
class SharedRows:
    """Rows among those of other registries."""

    db: Database
    engine: str = "PostgreSQL"

    async def stock(self) -> Stock:
        """Count them on a connection of its own, which no limit of time cuts."""
        return await count(self.db)

    async def seal(self) -> None:
        """Delete the registry's own row, without which no turn begins; then the keys."""
        await self.db.write(_NO_ROW)
        await self.db.write(_NO_KEYS)

    async def destroy(self, most: int) -> int:
        """Delete rows of one table, those first that name others."""
        for statement in _SOME.values():
            gone = await self.db.write(statement, most=most)
            if gone:
                return gone
        return await self.db.write(_NO_ROW)

    async def remains(self) -> Sequence[str]:
        """Count once more, in every table."""
        return [f"{n} rows of {name}" for name, n in (await count(self.db)).rows.items()]
