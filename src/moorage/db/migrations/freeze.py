"""Freeze today's tables into a revision: ``python -m moorage.db.migrations.freeze``.

Only for revision 0001, before a first release: later revisions are written by hand, since they
say how one schema becomes the next.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import op
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from moorage.db.migrate import CELL, REGISTRY, Family

_BETWEEN = ";\n\n"


def ddl(family: Family, dialect: Any) -> list[str]:
    """Write the statements that make a family's tables as the code has them."""
    made: list[str] = []
    for table in family.metadata().sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        made.extend(str(CreateIndex(index).compile(dialect=dialect)) for index in indexes)
    return ["\n".join(line.rstrip() for line in text.strip().splitlines()) for text in made]


def run_frozen(revision: str) -> None:
    """Run the frozen statements that stand beside the revision's file, for the engine at hand."""
    connection = op.get_bind()
    frozen = Path(revision).with_suffix(f".{connection.dialect.name}.sql").read_text()
    for statement in frozen.strip().removesuffix(";").split(_BETWEEN):
        connection.exec_driver_sql(statement)


def freeze(family: Family) -> None:
    """Write both engines' statements beside the family's first revision."""
    first = next(family.folder.glob("0001_*.py"))
    kinds: tuple[Any, ...] = (sqlite.dialect, postgresql.dialect)
    for dialect in (kind() for kind in kinds):
        text = _BETWEEN.join(ddl(family, dialect)) + ";\n"
        first.with_suffix(f".{dialect.name}.sql").write_text(text)


if __name__ == "__main__":
    freeze(REGISTRY)
    freeze(CELL)
