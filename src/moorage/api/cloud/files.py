"""Answers that are files, for spreadsheets and programs; and what a call's query says."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from moorage.api.cloud.asks import Ask
from moorage.api.cloud.bodies import invalid
from moorage.api.dialects import Answer, header

LONGEST: Final = 2048
CSV: Final = "csv"
JSON: Final = "json"
LINES: Final = "jsonl"

# A spreadsheet runs a cell that begins so: a quote before it makes it a text.
_RUNS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_KINDS: Final = {CSV: "text/csv; charset=utf-8", JSON: "application/json", LINES: "application/jsonl"}
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d))?")


def query(ask: Ask, *names: str) -> dict[str, str]:
    """Read a call's query, of these names only, or raise BodyInvalid."""
    text = ask.scope["query_string"]
    if len(text) > LONGEST:
        raise invalid("the query", f"must have at most {LONGEST} characters")
    given = dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True, max_num_fields=20))
    for name in given:
        if name not in names:
            raise invalid(name[:80], f"is no parameter of this call, which has {', '.join(names)}")
    return given


def moment(given: Mapping[str, str], name: str, otherwise: int) -> int:
    """Read a time such as 2026-01-31 or 2026-01-31T12:00:00Z (microseconds), or raise BodyInvalid."""
    text = given.get(name)
    if text is None:
        return otherwise
    # A plus that was not escaped has become a space.
    text = text.replace(" ", "+")
    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)
        read = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(name, "must be a time such as 2026-01-31T12:00:00Z") from None
    return int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()) * 1_000_000


def number(given: Mapping[str, str], name: str, otherwise: int) -> int:
    """Read a whole number, or raise BodyInvalid."""
    text = given.get(name)
    if text is None:
        return otherwise
    if not _NUMBER.fullmatch(text):
        raise invalid(name, "must be a whole number of at most 18 figures")
    return int(text)


def choice(given: Mapping[str, str], name: str, *known: str) -> str:
    """Read one of some words, the first without any, or raise BodyInvalid."""
    text = given.get(name, known[0])
    if text not in known:
        raise invalid(name, f"must be one of {', '.join(known)}")
    return text


def table(kind: str, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Answer:
    """Answer with a file of rows: CSV in which no cell is run as a formula, JSON, or a line of JSON for each."""
    if kind == CSV:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows([_cell(row[column]) for column in columns] for row in rows)
        body = text.getvalue().encode()
    elif kind == LINES:
        body = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    else:
        body = msgspec.json.format(msgspec.json.encode(list(rows)), indent=2) + b"\n"
    return Answer(
        200,
        [
            header("content-type", _KINDS[kind]),
            header("content-length", str(len(body))),
            header("content-disposition", f'attachment; filename="{name}.{kind}"'),
            header("cache-control", "no-store"),
            header("x-content-type-options", "nosniff"),
        ],
        body,
    )


def _cell(value: Any) -> str | int:
    if value is None:
        return ""
    if isinstance(value, int):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(_RUNS) else text
