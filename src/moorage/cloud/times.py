"""Times as the provider writes them, in its API and in notifications."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


def written(at: int) -> str:
    """Write a time (microseconds since 1970) as RFC 3339 has it."""
    return (_START + timedelta(microseconds=at)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def written_or_none(at: int | None) -> str | None:
    """Write a time, if there is one."""
    return None if at is None else written(at)
