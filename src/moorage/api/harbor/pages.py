"""Pages of lists as Harbor's clients ask for them: ``page``, ``page_size``, ``q`` and ``sort``; and the links between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote_plus, urlencode

from moorage.api.harbor.problems import Invalid, invalid
from moorage.db.pages import Asked, Condition, How, QueryInvalid

SIZE: Final = 10
MOST: Final = 100
LONGEST_QUERY: Final = 4096
MOST_CONDITIONS: Final = 16
_INTEGER: Final = re.compile(r"-?\d{1,18}")
_BRACKETS: Final = {"[": ("]", How.RANGE), "{": ("}", How.ANY), "(": (")", How.ALL)}


@dataclass(frozen=True, slots=True)
class Page:
    """Which page of what a request asks for."""

    asked: Asked

    def links(self, path: str, query: str, total: int) -> str:
        """Write the Link header: the page before and the page after, where there are such."""
        number, size = self.asked.number, self.asked.size
        found = []
        if number > 1 and (number - 1) * size < total:
            found.append((number - 1, "prev"))
        if number * size < total:
            found.append((number + 1, "next"))
        return " , ".join(f'<{_at(path, query, one, size)}>; rel="{name}"' for one, name in found)


def read(query: Mapping[str, str]) -> Page:
    """Read what a request asks for, or raise Invalid or QueryInvalid."""
    number = max(integer(query, "page", 1), 1)
    size = integer(query, "page_size", SIZE)
    if size > MOST:
        raise Invalid(
            f"validation failure list: page_size in query should be less than or equal to {MOST}",
            field="page_size",
        )
    if size <= 0:
        # Harbor gives all there is then: here a page is never longer than this.
        size = MOST if size < 0 else SIZE
    return Page(Asked(number, size, conditions(query.get("q", "")), order(query.get("sort", ""))))


def integer(query: Mapping[str, str], name: str, default: int) -> int:
    """Read a whole number, or raise Invalid."""
    text = query.get(name, "")
    if not text:
        return default
    if not _INTEGER.fullmatch(text):
        raise invalid("query", name, f'must be of type int64: "{text[:64]}"')
    return int(text)


def conditions(text: str) -> tuple[Condition, ...]:
    """Read ``k=v``, ``k=~v``, ``k=[min~max]``, ``k={a b}`` and ``k=(a b)``, apart by commas; or raise QueryInvalid.

    The whole is decoded once more: Harbor's clients encode it twice.
    """
    if len(text) > LONGEST_QUERY:
        raise QueryInvalid(f"q has {len(text)} characters, and {LONGEST_QUERY} are read")
    parts = unquote_plus(text).replace("\0", "").split(",") if text else []
    if len(parts) > MOST_CONDITIONS:
        raise QueryInvalid(f"q has {len(parts)} conditions, and {MOST_CONDITIONS} are read")
    return tuple(map(_condition, parts))


def order(text: str) -> tuple[tuple[str, bool], ...]:
    """Read ``a,-b``: names to sort by, each with whether the last comes first."""
    names = [name.strip() for name in text[:LONGEST_QUERY].split(",")][:MOST_CONDITIONS]
    return tuple((name.lstrip("-"), name.startswith("-")) for name in names if name.strip("-"))


def _condition(part: str) -> Condition:
    name, equals, value = part.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name or not value:
        raise _unread(part, "is no condition, which is name=value")
    if value.startswith("~"):
        if value == "~":
            raise _unread(part, "looks for a part that is empty")
        return Condition(name, How.FUZZY, (value[1:],))
    if value[0] not in _BRACKETS:
        return Condition(name, How.EXACT, (_plain(value),))
    end, how = _BRACKETS[value[0]]
    if not value.endswith(end):
        raise _unread(part, f"lacks its {end}")
    return Condition(name, how, _inside(part, value[1:-1], how))


def _inside(part: str, text: str, how: How) -> tuple[str, ...]:
    if how is not How.RANGE:
        values = tuple(_plain(one) for one in text.split(" ") if one)
        if not values:
            raise _unread(part, "has no value")
        return values
    low, between, high = text.partition("~")
    if not between or "~" in high or not (low.strip() or high.strip()):
        raise _unread(part, "is no range, which is [min~max]")
    return _plain(low.strip()), _plain(high.strip())


def _unread(part: str, why: str) -> QueryInvalid:
    return QueryInvalid(f"q cannot be read: {part[:64]} {why}", value=part[:64])


def _plain(value: str) -> str:
    """Take off what says that the next character means itself, and the quotes that make a text of a number."""
    if value.startswith("\\"):
        return value[1:]
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return value[1:-1] if quoted else value


def _at(path: str, query: str, number: int, size: int) -> str:
    kept = [
        (name, value)
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name not in {"page", "page_size"}
    ]
    whole = sorted([*kept, ("page", str(number)), ("page_size", str(size))])
    return f"{path}?{urlencode(whole)}"
