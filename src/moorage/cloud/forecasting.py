"""Forecasts: how fast a registry grows, when it is full, and which plan would suit it.

A registry's growth is the median of the slopes between every two days (Theil and Sen): one large push, or one clean-up,
does not change it much.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import median
from typing import Final

from moorage.cloud.catalogue import Catalogue, Plan, Region
from moorage.cloud.usage import DAY

LOOKS_BACK: Final = 60 * DAY
LEAST_DAYS: Final = 3
AHEAD: Final = 30
"""A plan suits that is large enough in so many days."""
ROOM: Final = 10
"""Percent of a plan that are to stay free."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How many bytes a registry grows by in a day, and from how many days that is known; None: from too few."""

    per_day: int | None
    days: int

    def full_at(self, used: int, limit: int, now: int) -> int | None:
        """Give when a limit is reached, or None if it is not, or nobody can say."""
        if limit < 0:
            return None
        if used >= limit:
            return now
        if self.per_day is None or self.per_day <= 0:
            return None
        return now + (limit - used) * DAY // self.per_day

    def told(self, limit: int) -> str:
        """Say in a word what is known."""
        if limit < 0:
            return "no limit"
        if self.per_day is None:
            return "not enough data"
        return "grows" if self.per_day > 0 else "shrinks" if self.per_day < 0 else "stays"


def growth(days: Sequence[tuple[int, int]]) -> Growth:
    """Tell how a registry grows from what it held at some time of each day (microseconds, bytes)."""
    if len(days) < LEAST_DAYS:
        return Growth(None, len(days))
    slopes = [
        (after[1] - before[1]) * DAY / (after[0] - before[0])
        for before, after in itertools.combinations(days, 2)
    ]
    return Growth(round(median(slopes)), len(days))


@dataclass(frozen=True, slots=True)
class Advice:
    """The plan that suits a registry, why, and by how much its hour is dearer than that of the plan it has."""

    plan: Plan
    reason: str
    dearer: Decimal


def advice(catalogue: Catalogue, plan: Plan, region: Region, used: int, grows: Growth) -> Advice:
    """Advise the smallest plan that what is stored fits into, now and in a month, with some room."""
    if not plan.orderable:
        return Advice(plan, "nothing but the disk limits it, so no plan is needed", Decimal(0))
    coming = used + max(grows.per_day or 0, 0) * AHEAD
    fitting = [one for one in catalogue.orderable if _fits(coming, one)]
    best = fitting[0] if fitting else catalogue.orderable[-1]
    return Advice(
        best, _reason(plan, best, coming, grows, fits=bool(fitting)), best.price_hour[region.type] - plan.price_hour[region.type]
    )  # fmt: skip


def _fits(coming: int, plan: Plan) -> bool:
    limit = plan.grants.limit_bytes
    return limit < 0 or coming * 100 <= limit * (100 - ROOM)


def _reason(plan: Plan, best: Plan, coming: int, grows: Growth, *, fits: bool) -> str:
    known = (
        f"it will hold {coming} bytes in {AHEAD} days if it grows as in the last {grows.days} days"
        if grows.per_day is not None
        else f"it holds {coming} bytes now; how it grows is known after {LEAST_DAYS} days"
    )
    if not fits:
        return f"{known}: no plan leaves {ROOM} % free, and {best.name} is the largest"
    if best.id == plan.id:
        return f"{known}: {plan.name} is the smallest plan that leaves {ROOM} % free"
    way = "needed for it" if best.place > plan.place else "enough for it"
    return f"{known}: {best.name} is {way}, with {ROOM} % left free"
