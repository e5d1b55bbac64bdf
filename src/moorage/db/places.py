"""Whether a table of a later revision is there: a fleet's cell is served before its schema is brought forward.

Who asks a table on the way of every pull, push or sign-in looks here first, and goes without it as long as it is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Table, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from moorage.db.statements import Statement

if TYPE_CHECKING:
    from moorage.db import Reader


class _has_place(FunctionElement[int]):  # noqa: N801 - it is called like a function of SQL.
    """Tell (1 or 0) whether the schema has a table."""

    name = "has_place"
    type = BigInteger()
    inherit_cache = False

    def __init__(self, table: str) -> None:
        super().__init__()
        self.table = table


@compiles(_has_place)
def _in_a_file(*_: Any, **_more: Any) -> str:
    # A file is brought forward when it is opened.
    return "1"


@compiles(_has_place, "postgresql")
def _in_a_cell(element: Any, *_: Any, **_more: Any) -> str:
    return f"(CASE WHEN to_regclass('{element.table}') IS NULL THEN 0 ELSE 1 END)"


@dataclass(slots=True)
class Place:
    """A table's place in the schema of the cell that this process serves: once it is there, it is there for ever."""

    table: Table
    _there: bool = False
    _asked: Statement = field(init=False)

    def __post_init__(self) -> None:
        """Write down what asks for it."""
        self._asked = Statement(select(_has_place(self.table.name).label("place")))

    async def is_there(self, reader: Reader) -> bool:
        """Say whether the schema has the table."""
        if not self._there:
            row = await reader.one(self._asked)
            assert row is not None
            self._there = bool(row.place)
        return self._there
