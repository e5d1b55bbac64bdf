"""Lists that are paged by number, searched and sorted: what a caller asks for, made into statements of known shapes.

A list says which of its columns may be asked for, and how. What a caller writes only chooses among these; it never becomes
SQL. A page skips rows in an index and reads no others than its own; a total is counted in an index. Statements of one shape
are made once.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Text, and_, bindparam, false, func, select

from moorage.db.statements import Statement, one_of
from moorage.errors import Problem

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause

    from moorage.db import Reader

MOST_ROWS: Final = 1 << 40
LARGEST: Final = (1 << 63) - 1
_SHAPES: Final = 64
_INTEGER: Final = re.compile(r"[+-]?\d{1,19}")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class QueryInvalid(Problem):
    """What is searched for cannot be read."""

    code, status, summary = "BAD_REQUEST", 400, "the query cannot be read"


class How(Enum):
    """How a value is looked for."""

    EXACT = "="
    FUZZY = "~"
    RANGE = "[]"
    ANY = "{}"
    ALL = "()"


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is looked for: all of a query's must hold."""

    name: str
    how: How
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A page that is asked for: which one, of what, in which order (names, each with whether the last comes first)."""

    number: int = 1
    size: int = 10
    conditions: tuple[Condition, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()

    @property
    def skip(self) -> int:
        """Give how many rows come before the page."""
        return min((self.number - 1) * self.size, MOST_ROWS)


@dataclass(frozen=True, slots=True)
class Key:
    """A column that may be asked for, and what its values are."""

    column: ColumnElement[Any]
    read: Callable[[str], object]
    fuzzy: bool = False


def snake(name: str) -> str:
    """Write a name as columns are written, which Harbor's code also calls by another: CreationTime, ProjectID."""
    return _HUMP.sub("_", name).lower()


def text(column: ColumnElement[str]) -> Key:
    """Let a column of text be asked for, also by a part of it."""
    return Key(column, lambda value: value.replace("\0", ""), fuzzy=True)


def number(column: ColumnElement[int]) -> Key:
    """Let a column of integers be asked for."""
    return Key(column, _integer)


def time(column: ColumnElement[int]) -> Key:
    """Let a column of times be asked for, written as Harbor does: 2006-01-02T15:04:05, or a day alone."""
    return Key(column, _time)


def flag(column: ColumnElement[int]) -> Key:
    """Let a column that is 0 or 1 be asked for, as true and false."""
    return Key(column, _flag)


Special = Callable[[Condition, str], "tuple[ColumnElement[bool], object]"]
"""Makes of what is asked, and of a parameter's name, a condition and the parameter's value.

What is asked of one name in one way gives one condition, whatever the values: statements are kept by that.
"""


@dataclass(slots=True)
class Listing:
    """A list: what is shown of each row, where they come from, and what may be asked."""

    shown: tuple[Any, ...]
    source: FromClause
    id: ColumnElement[int]
    """Tells rows apart; the last to sort by."""
    where: tuple[ColumnElement[bool], ...]
    keys: Mapping[str, Key]
    order: tuple[tuple[str, bool], ...]
    """How it is sorted where nobody asks for anything else."""
    inner: FromClause | None = None
    """What rows are chosen from, where less than the source will do."""
    special: Mapping[str, Special] = field(default_factory=dict)
    whole: Statement | None = None
    """What says how long the list is (``n``) where nothing is looked for, if that is kept."""
    _made: OrderedDict[tuple[object, ...], Statement] = field(default_factory=OrderedDict)

    async def page(self, reader: Reader, asked: Asked, **params: object) -> list[Any]:
        """Give the rows of a page, or raise QueryInvalid; *params* are those of the list's own conditions."""
        conditions, given, shape = self._conditions(asked)
        sort = self._sort(asked)
        statement = self._statement(("page", shape, sort), lambda: self._page(conditions, sort))
        return await reader.all(statement, **params, **given, most=asked.size, skip=asked.skip)

    async def count(self, reader: Reader, asked: Asked, **params: object) -> int:
        """Count all that a query finds, or raise QueryInvalid."""
        conditions, given, shape = self._conditions(asked)
        if self.whole is not None and not conditions:
            return int((await reader.one(self.whole, **params)).n)
        statement = self._statement(("count", shape), lambda: self._count(conditions))
        row = await reader.one(statement, **params, **given)
        return int(row.n)

    async def listed(self, reader: Reader, asked: Asked, **params: object) -> tuple[list[Any], int]:
        """Give the rows of a page, and how many a query finds; behind the last page nothing is looked for."""
        total = await self.count(reader, asked, **params)
        return (await self.page(reader, asked, **params) if asked.skip < total else []), total

    def statements(self, asked: Asked) -> tuple[Statement, Statement]:
        """Make what gives the ids of a page, in order, and what counts all that a query finds; or raise QueryInvalid."""
        conditions, _, _ = self._conditions(asked)
        counted = self.whole if self.whole is not None and not conditions else None
        return Statement(self._chosen(conditions, self._sort(asked))), counted or Statement(
            self._count(conditions)
        )

    def _sort(self, asked: Asked) -> tuple[tuple[str, bool], ...]:
        named = [(self._name(name), last_first) for name, last_first in asked.sort]
        return tuple(one for one in named if one[0] in self.keys) or self.order

    def _name(self, name: str) -> str:
        """Give a key's own name, however it is asked for."""
        return name if name in self.keys or name in self.special else snake(name)

    def _order(self, sort: tuple[tuple[str, bool], ...]) -> list[Any]:
        order: list[Any] = [
            self.keys[name].column.desc() if last_first else self.keys[name].column
            for name, last_first in sort
        ]
        order.append(self.id.desc() if sort and sort[-1][1] else self.id)
        return order

    def _page(self, conditions: list[ColumnElement[bool]], sort: tuple[tuple[str, bool], ...]) -> Any:
        chosen = self._chosen(conditions, sort)
        return (
            select(*self.shown)
            .select_from(self.source)
            .where(self.id.in_(chosen))
            .order_by(*self._order(sort))
        )

    def _chosen(self, conditions: list[ColumnElement[bool]], sort: tuple[tuple[str, bool], ...]) -> Any:
        return (
            select(self.id)
            .select_from(self.inner if self.inner is not None else self.source)
            .where(*self.where, *conditions)
            .order_by(*self._order(sort))
            .limit(bindparam("most"))
            .offset(bindparam("skip"))
        )

    def _count(self, conditions: list[ColumnElement[bool]]) -> Any:
        source = self.inner if self.inner is not None else self.source
        return select(func.count().label("n")).select_from(source).where(*self.where, *conditions)

    def _statement(self, shape: tuple[object, ...], make: Callable[[], Any]) -> Statement:
        made = self._made.get(shape)
        if made is None:
            made = self._made[shape] = Statement(make())
            if len(self._made) > _SHAPES:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(shape)
        return made

    def _conditions(
        self, asked: Asked
    ) -> tuple[list[ColumnElement[bool]], dict[str, object], tuple[object, ...]]:
        """Make conditions, their parameters, and what tells their shape from others; unknown names ask for nothing."""
        made: list[ColumnElement[bool]] = []
        given: dict[str, object] = {}
        shape: list[object] = []
        for place, one in enumerate(asked.conditions):
            name, key = f"q{place}", self._name(one.name)
            if key in self.special:
                condition, given[name] = self.special[key](one, name)
                made.append(condition)
                shape.append((place, key, one.how))
            elif key in self.keys:
                condition, values, ends = _condition(self.keys[key], one, name)
                made.append(condition)
                given |= values
                shape.append((place, key, one.how, ends))
            else:
                shape.append(place)
        return made, given, tuple(shape)


def _condition(
    key: Key, asked: Condition, name: str
) -> tuple[ColumnElement[bool], dict[str, object], tuple[bool, ...]]:
    column, kind = key.column, key.column.type
    if asked.how is How.RANGE:
        ends = {f"{name}_{end}": value for end, value in zip(("from", "to"), asked.values, strict=True)}
        given = {one: key.read(value) for one, value in ends.items() if value}
        parts = []
        if f"{name}_from" in given:
            parts.append(column >= bindparam(f"{name}_from", type_=kind))
        if f"{name}_to" in given:
            parts.append(column <= bindparam(f"{name}_to", type_=kind))
        return and_(*parts) if parts else column.is_not(None), given, tuple(bool(one) for one in asked.values)
    if asked.how is How.ANY:
        plain = Text() if isinstance(kind, Text) else BigInteger()
        return one_of(column, name, plain), {name: [key.read(value) for value in asked.values]}, ()
    if asked.how is How.ALL and len(set(asked.values)) != 1:
        # No column has two values.
        return false(), {}, (False,)
    value = key.read(asked.values[0])
    if asked.how is How.FUZZY and key.fuzzy:
        # Not LIKE, which is blind to case on one engine and not on the other, and has wildcards.
        shortened: Any = func.replace(column, bindparam(name, type_=Text()), "")
        return shortened != column, {name: value}, ()
    return column == bindparam(name, type_=kind), {name: value}, ()


def _integer(value: str) -> int:
    if not _INTEGER.fullmatch(value) or abs(int(value)) > LARGEST:
        raise QueryInvalid(f"{value[:64]} is no integer", value=value[:64])
    return int(value)


def _time(value: str) -> int:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise QueryInvalid(
            f"{value[:64]} is no time: write it as 2006-01-02T15:04:05", value=value[:64]
        ) from None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return int(aware.timestamp()) * 1_000_000 + aware.microsecond


def _flag(value: str) -> int:
    if value.lower() not in {"true", "false", "1", "0"}:
        raise QueryInvalid(f"{value[:64]} is neither true nor false", value=value[:64])
    return int(value.lower() in {"true", "1"})
