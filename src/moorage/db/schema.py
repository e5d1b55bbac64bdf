"""Which revision a cell's schema is of: one of the release before lacks what this one can do without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import column, select, table

from moorage.db.statements import Statement
from moorage.db.tables import ASCII

if TYPE_CHECKING:
    from moorage.db import Reader

_VERSION = Statement(select(column("version_num", ASCII)).select_from(table("schema_cell")))


async def has(cell: Reader, revision: str) -> bool:
    """Say whether a cell's schema has what a revision brought."""
    row = await cell.one(_VERSION)
    return row is not None and str(row.version_num) >= revision
