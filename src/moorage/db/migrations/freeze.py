"""What a family's tables are in SQL: as a first revision has frozen it, and as the code has it today.

``python -m moorage.db.migrations.freeze`` prints today's, to copy from when a revision is written. What a revision
that was released runs is never changed: databases out there have it behind them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from alembic import op
from sqlalchemy import Column, ForeignKeyConstraint, PrimaryKeyConstraint, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.sqlite.base import SQLiteDDLCompiler
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from moorage.db import counting
from moorage.db.migrate import CELL, PLATFORM, REGISTRY, Family
from moorage.db.migrations import online

_BETWEEN = ";\n\n"
_Compiler: Any = SQLiteDDLCompiler


def _numbered(table: Any) -> bool:
    return isinstance(table, Table) and bool(table.info.get("numbered"))


class _OneRegistry(_Compiler):  # type: ignore[misc]
    """Writes a registry's tables for a file of its own, where ``id`` alone is the key and never comes back."""

    def get_column_specification(self, column: Column[Any], **kw: Any) -> str:
        text: str = super().get_column_specification(column, **kw)
        counted = _numbered(column.table) and column.name == "id"
        return f"{text} PRIMARY KEY AUTOINCREMENT" if counted else text

    def visit_primary_key_constraint(self, constraint: PrimaryKeyConstraint, **kw: Any) -> Any:
        return None if _numbered(constraint.table) else super().visit_primary_key_constraint(constraint, **kw)

    def visit_foreign_key_constraint(self, constraint: ForeignKeyConstraint, **kw: Any) -> Any:
        text = super().visit_foreign_key_constraint(constraint, **kw)
        return text.replace("(registry_id, ", "(") if _numbered(constraint.referred_table) else text


def dialects() -> tuple[Any, Any]:
    """Give what writes tables for each engine."""
    sqlite: Any = SQLiteDialect_pysqlite()
    sqlite.ddl_compiler = _OneRegistry
    kind: Any = postgresql.dialect
    return sqlite, kind()


def ddl(family: Family, dialect: Any) -> list[str]:
    """Write the statements that make a family's tables as the code has them."""
    made: list[str] = []
    for table in family.metadata().sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        made.extend(str(CreateIndex(index).compile(dialect=dialect)) for index in indexes)
    made.extend(counting.ddl(dialect.name) if family is REGISTRY else [])
    return ["\n".join(line.rstrip() for line in text.strip().splitlines()) for text in made]


def run_frozen(revision: str) -> None:
    """Run the frozen statements that stand beside the revision's file, for the engine at hand."""
    connection = op.get_bind()
    for statement in frozen(revision, connection.dialect.name):
        connection.exec_driver_sql(statement)


def run_frozen_briefly(revision: str) -> None:
    """Run frozen statements that refer to tables which are being used, each of which may be there already.

    On PostgreSQL what they refer to is locked for a moment: of a push and this, this gives way.
    """
    if op.get_bind().dialect.name != "postgresql":
        run_frozen(revision)
        return
    with op.get_context().autocommit_block():
        for statement in frozen(revision, "postgresql"):
            online.briefly(op.get_bind(), statement)


def frozen(revision: str, engine: str) -> list[str]:
    """Give the frozen statements that stand beside the revision's file, for an engine."""
    text = Path(revision).with_suffix(f".{engine}.sql").read_text()
    return text.strip().removesuffix(";").split(_BETWEEN)


if __name__ == "__main__":
    for _family in (REGISTRY, CELL, PLATFORM):
        for _dialect in dialects():
            sys.stdout.write(f"-- {_family.name}, {_dialect.name}\n\n")
            sys.stdout.write(_BETWEEN.join(ddl(_family, _dialect)) + ";\n\n")
