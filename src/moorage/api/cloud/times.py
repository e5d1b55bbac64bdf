"""Times as the provider's API writes them, which is as notifications do, and as it reads them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from moorage.api.cloud.bodies import invalid
from moorage.cloud.times import written, written_or_none

__all__ = ["read_or_none", "written", "written_or_none"]

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


def read_or_none(text: str | None, field: str) -> int | None:
    """Read a time as RFC 3339 has it, or raise BodyInvalid, which names the *field*."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = datetime.min  # noqa: DTZ901 - it has no zone, so it is refused.
    if at.tzinfo is None or at <= _START:
        raise invalid(field, "must be a time with its zone, such as 2027-01-31T12:00:00Z")
    return (at - _START) // timedelta(microseconds=1)
