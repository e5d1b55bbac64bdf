"""What a cloud project's registries cost: hours times the price that each hour had, without a rounding but the last.

A begun hour counts whole, once, at the dearest plan that the registry had in it (see `metering`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from sqlalchemy import bindparam, func, select

from moorage.cloud.catalogue import Catalogue
from moorage.cloud.errors import PlanUnknown, RegionUnknown
from moorage.db import Reader, Statement
from moorage.db.platform import cloud_registry, plan_span, usage_hour
from moorage.registry.traffic import HOUR

CENT: Final = Decimal("0.01")

_by = (
    usage_hour.c.cloud_registry_id, usage_hour.c.region, usage_hour.c.plan, usage_hour.c.price, usage_hour.c.currency,
)  # fmt: skip
_LINES = Statement(
    select(*_by, func.count().label("hours"), func.min(usage_hour.c.hour).label("since"),
           func.max(usage_hour.c.hour).label("last"))
    .where(
        usage_hour.c.cloud_project_id == bindparam("cloud_project"),
        usage_hour.c.hour >= bindparam("since"),
        usage_hour.c.hour < bindparam("until"),
    )
    .group_by(*_by)
)  # fmt: skip
_NAMES = Statement(
    select(cloud_registry.c.id, cloud_registry.c.name).where(
        cloud_registry.c.cloud_project_id == bindparam("cloud_project")
    )
)
_RUNNING = Statement(
    select(plan_span.c.plan, cloud_registry.c.region)
    .join_from(cloud_registry, plan_span, plan_span.c.cloud_registry_id == cloud_registry.c.id)
    .where(cloud_registry.c.cloud_project_id == bindparam("cloud_project"), plan_span.c.until.is_(None))
)


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month, in UTC."""

    since: int
    until: int

    @classmethod
    def of(cls, at: int) -> Month:
        """Give the month of a moment."""
        moment = datetime.fromtimestamp(at // 1_000_000, UTC)
        return cls.called(moment.year, moment.month)

    @classmethod
    def called(cls, year: int, month: int) -> Month:
        """Give a month by its number."""
        after = (year + 1, 1) if month == 12 else (year, month + 1)  # noqa: PLR2004 - December.
        return cls(
            *(int(datetime(*one, 1, tzinfo=UTC).timestamp()) * 1_000_000 for one in ((year, month), after))
        )


@dataclass(frozen=True, slots=True)
class Line:
    """Hours of one registry with one plan at one price, from *since* to *until*; *price* is None if nobody knows it."""

    registry: str
    name: str
    region: str
    plan: str
    hours: int
    since: int
    until: int
    hour_price: Decimal | None
    price: Decimal | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Bill:
    """What a time cost, exactly, by currency; and what the whole month will if nothing changes."""

    month: Month
    metered_until: int
    lines: list[Line]
    totals: dict[str, Decimal]
    expected: dict[str, Decimal]


def rounded(price: Decimal) -> Decimal:
    """Round to cents, as the last step and the only one."""
    return price.quantize(CENT, ROUND_HALF_UP)


async def bill(reader: Reader, catalogue: Catalogue, cloud_project: str, month: Month, now: int) -> Bill:
    """Draw up what a month has cost so far; of a month that is over that is the whole."""
    rows = await reader.all(_LINES, cloud_project=cloud_project, since=month.since, until=month.until)
    names = {row.id: row.name for row in await reader.all(_NAMES, cloud_project=cloud_project)}
    lines = []
    for row in rows:
        price = None if row.price is None else Decimal(row.price)
        lines.append(
            Line(
                registry=row.cloud_registry_id, name=names.get(row.cloud_registry_id, ""), region=row.region,
                plan=row.plan, hours=row.hours, since=row.since, until=row.last + HOUR, hour_price=price,
                price=None if price is None else price * row.hours, currency=row.currency,
            )
        )  # fmt: skip
    lines.sort(key=lambda one: (one.name, one.registry, one.since, one.plan))
    metered = max((one.until for one in lines), default=month.since)
    totals = _summed((one.currency, one.price) for one in lines)
    expected = dict(totals)
    if month.since <= now < month.until:
        left = (month.until - max(metered, now - now % HOUR)) // HOUR
        for currency, price in _summed(await _running(reader, catalogue, cloud_project)).items():
            expected[currency] = expected.get(currency, Decimal(0)) + price * left
    return Bill(month, metered, lines, totals, expected)


async def _running(
    reader: Reader, catalogue: Catalogue, cloud_project: str
) -> list[tuple[str | None, Decimal | None]]:
    """List what an hour of each registry costs now."""
    found: list[tuple[str | None, Decimal | None]] = []
    for row in await reader.all(_RUNNING, cloud_project=cloud_project):
        try:
            plan, region = catalogue.plan(row.plan), catalogue.region(row.region)
        except (PlanUnknown, RegionUnknown):
            continue
        found.append((plan.currency, plan.price_hour[region.type]))
    return found


def _summed(prices: Iterable[tuple[str | None, Decimal | None]]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for currency, price in prices:
        if currency is not None and price is not None:
            sums[currency] += price
    return dict(sums)
