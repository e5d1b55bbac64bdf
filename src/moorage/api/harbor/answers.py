"""Answers in Harbor's manner: JSON, lists with their totals and links, and what says only that it is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from moorage.api.dialects import Answer, header

if TYPE_CHECKING:
    from moorage.api.harbor.asks import Ask

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
JSON: Final = "application/json"
_COMMON: Final = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))


def encode(content: object) -> bytes:
    """Write JSON as Harbor does: compact, and with a line end."""
    return msgspec.json.encode(content) + b"\n"


def given(content: object, *headers: tuple[str, str], status: int = 200) -> Answer:
    """Answer with JSON."""
    return raw(encode(content), *headers, media=JSON, status=status)


def raw(body: bytes, *headers: tuple[str, str], media: str, status: int = 200) -> Answer:
    """Answer with bytes of some media type."""
    every = [("content-type", media), ("content-length", str(len(body))), *_COMMON, *headers]
    return Answer(status, [header(name, value) for name, value in every], body)


def done(*headers: tuple[str, str], status: int = 200) -> Answer:
    """Answer that it is done, and nothing else."""
    every = [("content-length", "0"), *_COMMON, *headers]
    return Answer(status, [header(name, value) for name, value in every], b"")


def created(ask: Ask, name: object, content: object = None) -> Answer:
    """Answer 201 with where the new thing is, below the path that was asked."""
    where = ("location", f"{ask.path.rstrip('/')}/{name}")
    return done(where, status=201) if content is None else given(content, where, status=201)


def moment(at: int) -> str:
    """Write a time (microseconds since 1970) as Harbor does, to the millisecond."""
    return (_START + timedelta(microseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def listed(ask: Ask, items: Sequence[object] | Iterable[object], total: int) -> Answer:
    """Answer with a page of a list: how many there are in all, and where the pages beside it are."""
    headers = [("x-total-count", str(total))]
    if link := ask.page.links(ask.path, ask.query_string, total):
        headers.append(("link", link))
    return given(list(items), *headers)
