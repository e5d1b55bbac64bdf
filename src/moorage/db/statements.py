"""Statements: SQL written once by SQLAlchemy, then given straight to the driver."""

from __future__ import annotations

import json
import sys
from collections import namedtuple
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import Boolean, LargeBinary, bindparam, types
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from typing_extensions import override

from moorage.db.binding import REGISTRY, Unbindable, dialects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.sql.elements import ColumnElement
    from sqlalchemy.sql.expression import Executable

__all__ = [
    "POSTGRES",
    "POSTGRES_BOUND",
    "REGISTRY",
    "SQLITE",
    "SQLITE_BOUND",
    "Plan",
    "Statement",
    "Unbindable",
    "insert",
    "one_of",
    "statements",
]

SQLITE_BOUND, SQLITE, POSTGRES_BOUND, POSTGRES = range(4)
"""Which of a statement's plans: an engine, and whether a registry is added."""

_DIALECTS = dialects()
_PLAIN = (types.Integer, types.String, LargeBinary, types.Float, types.NullType)


class one_of(FunctionElement[bool]):  # noqa: N801 - it is called like a function of SQL.
    """Test a column against a list given as one parameter, however long the list is."""

    name = "one_of"
    type = Boolean()
    inherit_cache = False

    def __init__(
        self, column: ColumnElement[Any], name: str, kind: types.TypeEngine[Any] | None = None
    ) -> None:
        """Compare *column* with the values of the parameter *name*, of the column's type."""
        super().__init__(column, bindparam(name, type_=types.ARRAY(kind or column.type)))


@compiles(one_of)
def _one_of(clause: one_of, compiler: Any, **kw: Any) -> str:
    text: str = compiler.visit_one_of(clause, **kw)
    return text


@dataclass(frozen=True, slots=True)
class Plan:
    """A statement as one engine takes it."""

    sql: str
    order: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    """Puts parameters in the order of the SQL's places (PostgreSQL only)."""
    needs: int
    """How many parameters the caller gives."""
    names: frozenset[str]
    constants: dict[str, Any]
    """Parameters whose values stand in the statement."""
    converters: tuple[tuple[str, Callable[[Any], Any]], ...]
    row: Callable[[Any], Any]
    """Makes a named tuple of a row."""

    def fill(self, params: dict[str, Any]) -> dict[str, Any]:
        """Complete and convert the caller's parameters, or raise TypeError for a wrong set."""
        if len(params) != self.needs or not self.names.issuperset(params):
            wanted, given = ", ".join(sorted(self.names)), ", ".join(sorted(params))
            raise TypeError(f"the statement takes ({wanted}), not ({given}): {self.sql}")
        for name, convert in self.converters:
            params[name] = convert(params[name])
        params.update(self.constants)
        return params


class Statement:
    """SQL that is written once for each engine, at its first use, and kept.

    Make them at module level. The parameters are the statement's ``bindparam`` names.
    """

    __slots__ = ("__weakref__", "clause", "plans", "where")

    def __init__(self, clause: Executable) -> None:
        """Take any SQLAlchemy Core statement; ``insert`` of this module also knows conflicts."""
        self.clause = clause
        self.plans: list[Plan | None] = [None, None, None, None]
        caller = sys._getframe(1)  # noqa: SLF001 - names the statement's line in errors and tests.
        self.where = f"{caller.f_globals.get('__name__', '?')}:{caller.f_lineno}"
        _ALL.add(self)

    @override
    def __repr__(self) -> str:
        """Say where the statement was made."""
        return f"<Statement of {self.where}>"

    def plan(self, mode: int) -> Plan:
        """Compile for an engine, once, or raise Unbindable."""
        plan = self.plans[mode]
        if plan is None:
            try:
                plan = _compile(self.clause, mode)
            except Unbindable as error:
                error.add_note(f"in the statement of {self.where}")
                raise
            self.plans[mode] = plan
        return plan


_ALL: WeakSet[Statement] = WeakSet()


def statements() -> list[Statement]:
    """List every statement made so far that is still in use."""
    return list(_ALL)


def _compile(clause: Executable, mode: int) -> Plan:
    dialect = _DIALECTS[mode]
    compiled: Any = clause.compile(dialect=dialect)  # type: ignore[attr-defined]
    if compiled.insert_prefetch or compiled.update_prefetch:
        raise Unbindable("defaults computed in Python are not run: give the value")
    sqlite = mode in (SQLITE_BOUND, SQLITE)
    params = {name: param for param, name in compiled.bind_names.items()}
    free = {name for name, param in params.items() if param.required and name != REGISTRY}
    constants = {
        name: _converter(param.type, dialect, sqlite=sqlite)(param.value)
        for name, param in params.items()
        if not param.required and name != REGISTRY
    }
    converters = [(name, _converter(params[name].type, dialect, sqlite=sqlite)) for name in sorted(free)]
    return Plan(
        compiled.string,
        _order(tuple(compiled.positiontup or ())),
        len(free),
        frozenset(free),
        constants,
        tuple((name, convert) for name, convert in converters if convert is not _same),
        _row(compiled, dialect, sqlite=sqlite),
    )


def _order(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if not names:
        return lambda _: ()
    if len(names) == 1:
        only = names[0]
        return lambda params: (params[only],)
    return itemgetter(*names)


def _same(value: Any) -> Any:
    return value


def _converter(kind: Any, dialect: Any, *, sqlite: bool) -> Callable[[Any], Any]:
    """Find what a value becomes on its way to the driver."""
    if isinstance(kind, types.ARRAY):
        each = _converter(kind.item_type, dialect, sqlite=sqlite)
        if not sqlite:
            return list if each is _same else lambda values: [each(value) for value in values]
        if isinstance(kind.item_type, LargeBinary) or _is_bytes(kind.item_type):
            return lambda values: json.dumps([each(value).hex() for value in values])
        return lambda values: json.dumps([each(value) for value in values])
    if isinstance(kind, types.TypeDecorator):
        return kind.bind_processor(dialect) or _same
    if isinstance(kind, (*_PLAIN, Boolean)):
        return _same
    raise Unbindable(f"parameters of the type {kind!r} are not used here")


def _is_bytes(kind: Any) -> bool:
    return isinstance(kind, types.TypeDecorator) and isinstance(kind.impl, LargeBinary)


def _row(compiled: Any, dialect: Any, *, sqlite: bool) -> Callable[[Any], Any]:
    """Make the function that turns the driver's rows into named tuples."""
    columns = compiled._result_columns  # noqa: SLF001 - the result's names and types, shown nowhere else.
    names = [column.keyname for column in columns]
    if len(set(names)) != len(names):
        raise Unbindable(f"two columns have one name, label them: {', '.join(names)}")
    make_type: Any = namedtuple  # noqa: PYI024 - its names are known here only.
    row = make_type("Row", names, rename=True)
    back = [_back(column.type, dialect, sqlite=sqlite) for column in columns]
    if all(convert is _same for convert in back):
        return partial(tuple.__new__, row)
    changed = [(place, convert) for place, convert in enumerate(back) if convert is not _same]

    def make(values: Any) -> Any:
        values = list(values)
        for place, convert in changed:
            values[place] = convert(values[place])
        return tuple.__new__(row, values)

    return make


def _back(kind: Any, dialect: Any, *, sqlite: bool) -> Callable[[Any], Any]:
    """Find what a driver's value becomes on its way to the caller."""
    if isinstance(kind, types.TypeDecorator):
        return kind.result_processor(dialect, None) or _same
    if isinstance(kind, Boolean):
        return _truth if sqlite else _same
    if isinstance(kind, _PLAIN):
        return _same
    raise Unbindable(f"columns of the type {kind!r} are not used here")


def _truth(value: Any) -> bool | None:
    return None if value is None else bool(value)
