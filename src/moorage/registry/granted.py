"""Which repositories of a project patterns name: what somebody sees of it who was granted something for these alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, select

from moorage.db import Statement
from moorage.db.tables import repository
from moorage.oci import globs
from moorage.registry.project_pages import LIVE_REPOSITORIES

if TYPE_CHECKING:
    from collections.abc import Collection

    from moorage.db import Reader

_LITERAL: Final = re.compile(r"[^*?{}]*")
_LAST: Final = "~"
"""Comes after every letter that names of repositories have."""
# Names are read from where a pattern's first letters lead to, and not the whole project's.
_NAMES = Statement(
    select(repository.c.id, repository.c.name).where(
        repository.c.project_id == bindparam("project"),
        repository.c.name >= bindparam("low"),
        repository.c.name < bindparam("high"),
        *LIVE_REPOSITORIES,
    )
)


async def matching(reader: Reader, project: int, name: str, patterns: Collection[str]) -> list[int]:
    """Give the numbers of a project's repositories whose names within it match one of the patterns."""
    found: set[int] = set()
    for start in _starts(patterns):
        low = f"{name}/{start}"
        for row in await reader.all(_NAMES, project=project, low=low, high=low + _LAST):
            within = row.name.partition("/")[2]
            if any(globs.matches(pattern, within) for pattern in patterns):
                found.add(row.id)
    return sorted(found)


def _starts(patterns: Collection[str]) -> list[str]:
    """Give the letters that names begin with, none of which begins with another."""
    starts: list[str] = []
    for pattern in sorted(patterns, key=_start):
        start = _start(pattern)
        if not starts or not start.startswith(starts[-1]):
            starts.append(start)
    return starts


def _start(pattern: str) -> str:
    found = _LITERAL.match(pattern)
    return "" if found is None else found[0]
