"""The binder: SQL compilers that hold every table of a statement to one registry.

The rows of all registries share their tables on PostgreSQL, and on SQLite the tables are the same.
So the condition ``registry_id = …`` is added here, where SQL text is written, and nowhere else:

- SELECT: to WHERE for what FROM names first, to ON for what is joined, in every subquery alike;
- UPDATE and DELETE: to WHERE, for the table and for what it is compared with;
- INSERT: as the first value of each row, and as the first column of a conflict's target.

What cannot be held so is refused with Unbindable: text, tables of no registry, FULL JOIN.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Integer, LargeBinary, Table, and_, bindparam, select, true
from sqlalchemy.dialects.postgresql.asyncpg import PGCompiler_asyncpg, PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql.selectable import (
    AliasedReturnsRows,
    CompoundSelect,
    FromGrouping,
    Join,
    Select,
    TableValuedAlias,
    Values,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.sql.elements import ColumnElement
    from sqlalchemy.sql.selectable import FromClause

COLUMN = "registry_id"
REGISTRY = "_registry"
"""The parameter that holds the registry's number in every bound statement."""

_HERE: Any = bindparam(REGISTRY, type_=BigInteger())
_PLAIN_TEXT = re.compile(r"[\w.*]+|'[^']*'")


class Unbindable(Exception):
    """A statement has a part that cannot be held to one registry, or that no engine can prepare."""


def is_bound(table: FromClause) -> bool:
    """Tell whether *table* is one of a registry's: ``registry_id`` is its first column."""
    return isinstance(table, Table) and next(iter(table.columns.keys()), None) == COLUMN


def conditions(source: FromClause) -> list[ColumnElement[bool]]:
    """List what holds *source* to the registry, but for joined sides, whose ON does it."""
    if isinstance(source, Join):
        return conditions(source.left)
    if isinstance(source, FromGrouping):
        return conditions(source.element)
    table: Any = source
    while isinstance(table, AliasedReturnsRows) and not isinstance(table, TableValuedAlias):
        table = table.element
    if isinstance(table, Table):
        if not is_bound(table):
            raise Unbindable(f"{table.name} is not a table of a registry")
        return [source.c[COLUMN] == _HERE]
    if isinstance(table, TableValuedAlias | Values | Select | CompoundSelect) or table.is_dml:
        return []
    raise Unbindable(f"a registry's statement cannot read from {table!r}")


def _refuse_registry(columns: Iterable[Any]) -> None:
    """Raise Unbindable when the registry is among the columns that a statement gives values to."""
    if COLUMN in {getattr(column, "key", column) for column in columns}:
        raise Unbindable("the registry is added to a row, not given with it")


def _tables(source: Any) -> list[Table]:
    """List the tables that *source* names itself, not those of its subqueries."""
    if isinstance(source, Join):
        return _tables(source.left) + _tables(source.right)
    if isinstance(source, FromGrouping | AliasedReturnsRows):
        return _tables(source.element)
    return [source] if isinstance(source, Table) else []


# SQLAlchemy's compilers are typed for their callers, not for those who extend them.
_Base: Any = object
_Sqlite: Any = SQLiteCompiler
_Postgres: Any = PGCompiler_asyncpg
_postgres_dialect: Any = PGDialect_asyncpg


class _Binder(_Base):  # type: ignore[misc]
    """What both engines' compilers add; *bound* stands on the class made for bound databases."""

    bound = False
    granted: set[Table]

    def __init__(self, *args: Any, **options: Any) -> None:
        self.granted = set()
        super().__init__(*args, **options)

    def _hold(self, sources: Sequence[FromClause]) -> list[ColumnElement[bool]]:
        """Grant every table of *sources* and give the conditions that hold them."""
        if not self.bound:
            return []
        for source in sources:
            self.granted.update(_tables(source))
        return [condition for source in sources for condition in conditions(source)]

    def visit_table(self, table: Table, asfrom: bool = False, **kw: Any) -> Any:  # noqa: FBT001, FBT002 - SQLAlchemy's signature.
        """Write a table's name, once it is known to be held."""
        if asfrom and self.bound and table not in self.granted:
            raise Unbindable(f"{table.name} is read where nothing holds it to a registry")
        if asfrom and not self.bound and is_bound(table):
            raise Unbindable(f"{table.name} is a registry's table, and this database is not bound")
        return super().visit_table(table, asfrom=asfrom, **kw)

    def _compose_select_body(
        self, text: str, stmt: Any, state: Any, columns: Any, froms: Any, *rest: Any
    ) -> Any:
        held = self._hold(froms)
        stmt = stmt.where(*held) if held else stmt
        return super()._compose_select_body(text, stmt, state, columns, froms, *rest)

    def visit_join(self, join: Join, **kw: Any) -> Any:
        """Write a join, its right side held in ON, so that outer joins keep their rows."""
        if self.bound:
            if join.full:
                raise Unbindable("a FULL JOIN cannot be held to a registry")
            given: Any = join.onclause
            onclause = and_(given, *conditions(join.right))
            join = Join(join.left, join.right, onclause, isouter=join.isouter)
        return super().visit_join(join, **kw)

    def visit_update(self, stmt: Any, *args: Any, **kw: Any) -> Any:
        """Write an UPDATE, its table and what it is compared with held in WHERE."""
        return super().visit_update(self._held_change(stmt), *args, **kw)

    def visit_delete(self, stmt: Any, *args: Any, **kw: Any) -> Any:
        """Write a DELETE, its table and what it is compared with held in WHERE."""
        return super().visit_delete(self._held_change(stmt), *args, **kw)

    def _held_change(self, stmt: Any) -> Any:
        names = [getattr(key, "key", key) for key in stmt.__dict__.get("_values") or ()]
        if COLUMN in names and self.bound:
            raise Unbindable("a row does not move to another registry")
        if not self.bound:
            return stmt
        state = stmt._compile_state_factory(stmt, self)  # noqa: SLF001 - the only way to its FROM.
        return stmt.where(*self._hold([stmt.table, *getattr(state, "_extra_froms", [])]))

    def visit_insert(self, stmt: Any, *args: Any, **kw: Any) -> Any:
        """Write an INSERT whose rows all begin with the registry."""
        if not self.bound and is_bound(stmt.table):
            raise Unbindable(f"{stmt.table.name} is a registry's table, and this database is not bound")
        stmt = self._held_insert(stmt) if self.bound else stmt
        return super().visit_insert(stmt if stmt._returning else stmt.inline(), *args, **kw)  # noqa: SLF001 - inline() alone keeps SQLAlchemy from adding RETURNING.

    def _held_insert(self, stmt: Any) -> Any:
        self._hold([stmt.table])
        if stmt.select is not None:
            _refuse_registry(stmt._select_names)  # noqa: SLF001 - as below.
            inner = stmt.select.subquery("given")
            self._hold([inner])
            # WHERE, because SQLite takes ON CONFLICT after a bare FROM for a join's ON.
            outer = select(_HERE.label(COLUMN), *inner.c).select_from(inner).where(true())
            clone = stmt._clone()  # noqa: SLF001 - from_select() may be called only once.
            clone._select_names = [COLUMN, *stmt._select_names]  # noqa: SLF001 - as above.
            clone.select = outer
            return clone
        if stmt._multi_values:  # noqa: SLF001 - SQLAlchemy shows it nowhere else.
            for rows in stmt._multi_values:  # noqa: SLF001 - as above.
                for row in rows:
                    _refuse_registry(row)
            clone = stmt._clone()  # noqa: SLF001 - as above.
            clone._multi_values = tuple(  # noqa: SLF001 - as above.
                [{COLUMN: _HERE, **row} for row in rows]
                for rows in stmt._multi_values  # noqa: SLF001 - as above.
            )
            return clone
        if not stmt._values:  # noqa: SLF001 - as above.
            raise Unbindable(f"say which columns of {stmt.table.name} are inserted: .values(…)")
        _refuse_registry(stmt._values)  # noqa: SLF001 - as above.
        return stmt.values({COLUMN: _HERE})

    def _on_conflict_target(self, clause: Any, **kw: Any) -> str:
        text: str = super()._on_conflict_target(clause, **kw)
        if getattr(clause, "constraint_target", None) is not None:
            raise Unbindable("name a conflict's columns: SQLite knows no ON CONSTRAINT")
        if self.bound:
            _refuse_registry(getattr(clause, "update_values_to_set", ()))
        if self.bound and text.startswith("(") and COLUMN not in text:
            text = f"({COLUMN}, {text[1:]}"
        return text

    def visit_textclause(self, clause: Any, **_: Any) -> str:
        """Refuse text: nobody can tell which tables it reads."""
        raise Unbindable(f"text cannot be held to a registry: {clause.text!r}")

    def visit_textual_select(self, clause: Any, **_: Any) -> str:
        """Refuse text, as above."""
        raise Unbindable(f"text cannot be held to a registry: {clause!r}")

    def visit_column(self, column: Any, **kw: Any) -> Any:
        """Write a column; a literal one may be a name, a number or a star, never a query."""
        if column.is_literal and not _PLAIN_TEXT.fullmatch(column.name):
            raise Unbindable(f"text cannot be held to a registry: {column.name!r}")
        return super().visit_column(column, **kw)

    def visit_bindparam(self, param: Any, **kw: Any) -> Any:
        """Write a parameter; whole numbers that the code itself gives are written out.

        So ``held = 1`` can use an index made ``WHERE held = 1``, which no parameter could.
        """
        constant = param.unique and not param.required and type(param.value) is int
        if constant and isinstance(param.type, Integer):
            return str(param.value)
        return super().visit_bindparam(param, **kw)


class SqliteUnbound(_Binder, _Sqlite):  # type: ignore[misc]
    """Writes SQLite's SQL for a database of no registry."""

    def visit_one_of(self, clause: Any, **kw: Any) -> str:
        """Write a test against a list that is one parameter, in JSON (bytes as hex)."""
        column, values = clause.clauses
        value = "from_hex(value)" if isinstance(column.type, LargeBinary) else "value"
        given = self.process(values, **kw)
        return f"{self.process(column, **kw)} IN (SELECT {value} FROM json_each({given}))"  # noqa: S608 - both parts are ours.


class SqliteBound(SqliteUnbound):
    """Writes SQLite's SQL for a bound database."""

    bound = True


class PostgresUnbound(_Binder, _Postgres):  # type: ignore[misc]
    """Writes PostgreSQL's SQL for a database of no registry."""

    def visit_one_of(self, clause: Any, **kw: Any) -> str:
        """Write a test against a list that is one parameter, an array."""
        column, values = clause.clauses
        return f"{self.process(column, **kw)} = ANY ({self.process(values, **kw)})"

    def visit_sum_func(self, function: Any, **kw: Any) -> str:
        """Write a sum of whole numbers as one: PostgreSQL would answer with a decimal."""
        text = f"sum{self.function_argspec(function, **kw)}"
        return f"CAST({text} AS BIGINT)" if isinstance(function.type, Integer) else text


class PostgresBound(PostgresUnbound):
    """Writes PostgreSQL's SQL for a bound database."""

    bound = True


def dialects() -> tuple[Any, Any, Any, Any]:
    """Make the four dialects, in the order of statements' plans."""
    made: list[Any] = []
    for compiler in (SqliteBound, SqliteUnbound):
        dialect: Any = SQLiteDialect_pysqlite(paramstyle="named")
        dialect.statement_compiler = compiler
        # TRUE and FALSE are words of SQLite too; `(a IN b) = 1` would use no index.
        dialect.supports_native_boolean = True
        made.append(dialect)
    for postgres in (PostgresBound, PostgresUnbound):
        dialect = _postgres_dialect(paramstyle="numeric_dollar")
        dialect.statement_compiler = postgres
        made.append(dialect)
    return made[0], made[1], made[2], made[3]
