"""What a registry used, hour by hour, as metering has written it down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select

from moorage.db import Reader, Statement
from moorage.db.cell import TRAFFIC
from moorage.db.platform import usage_hour

DAY: Final = 86_400_000_000
STORED: Final = ("logical_bytes", "unique_bytes", "trash_bytes")

_HOURS = Statement(
    select(
        usage_hour.c.hour,
        usage_hour.c.plan,
        usage_hour.c.price,
        usage_hour.c.currency,
        usage_hour.c.measured_at,
        *(usage_hour.c[name] for name in (*STORED, *TRAFFIC)),
    )
    .where(
        usage_hour.c.cloud_registry_id == bindparam("which"),
        usage_hour.c.hour >= bindparam("since"),
        usage_hour.c.hour < bindparam("until"),
    )
    .order_by(usage_hour.c.hour)
    .limit(bindparam("most"))
)
_LEVELS = Statement(
    select(usage_hour.c.hour, usage_hour.c.unique_bytes)
    .where(
        usage_hour.c.cloud_registry_id == bindparam("which"),
        usage_hour.c.hour >= bindparam("since"),
        usage_hour.c.unique_bytes.is_not(None),
    )
    .order_by(usage_hour.c.hour)
)


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of a registry. Bytes are None where nobody measured them (*measured_at*)."""

    hour: int
    plan: str
    price: str | None
    currency: str | None
    measured_at: int | None
    logical_bytes: int | None
    unique_bytes: int | None
    trash_bytes: int | None
    manifest_pulls: int
    blob_pulls: int
    pushes: int
    others: int
    refusals: int
    bytes_in: int
    bytes_out: int


async def hours(reader: Reader, registry: str, since: int, until: int, most: int) -> list[Hour]:
    """List a registry's hours that begin in a time, the oldest first, *most* of them."""
    rows = await reader.all(_HOURS, which=registry, since=since, until=until, most=most)
    return [Hour(*row) for row in rows]


async def days(reader: Reader, registry: str, since: int) -> list[tuple[int, int]]:
    """Give for each day on which a registry was measured the last hour's time, and the bytes that it held then."""
    last = {
        row.hour // DAY: (row.hour, row.unique_bytes)
        for row in await reader.all(_LEVELS, which=registry, since=since)
    }
    return list(last.values())
