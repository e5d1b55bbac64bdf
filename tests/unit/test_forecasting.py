"""How growth is told from days, when a limit is reached, and which plan is advised."""

from __future__ import annotations

from decimal import Decimal

import pytest

from moorage.api.cloud import files
from moorage.cloud import catalogue, forecasting
from moorage.cloud.billing import Month, rounded
from moorage.cloud.usage import DAY

GIB = 1 << 30
KNOWN = catalogue.read()
SMALL, MEDIUM, LARGE, LOCAL = KNOWN.plans
HERE = KNOWN.regions[0]


def days(*sizes: int) -> list[tuple[int, int]]:
    return [(place * DAY, size) for place, size in enumerate(sizes)]


def test_growth_is_the_median_of_slopes_and_needs_three_days() -> None:
    steady = forecasting.growth(days(*(day * GIB for day in range(10))))
    # One push of a terabyte, and one clean-up, on the way.
    bumpy = forecasting.growth(days(0, GIB, 2 * GIB, 1003 * GIB, 4 * GIB, 5 * GIB, 0, 7 * GIB, 8 * GIB))
    few = forecasting.growth(days(0, 100 * GIB))

    assert (steady.per_day, steady.days) == (GIB, 10)
    assert bumpy.per_day == GIB
    assert (few.per_day, few.told(100)) == (None, "not enough data")


def test_a_limit_is_reached_when_growth_says_so_or_never() -> None:
    grows, shrinks = forecasting.growth(days(0, 10, 20)), forecasting.growth(days(20, 10, 0))

    assert grows.full_at(100, 150, 7) == 7 + 5 * DAY
    assert grows.full_at(100, 100, 7) == 7
    assert grows.full_at(100, -1, 7) is None
    assert shrinks.full_at(100, 150, 7) is None
    assert [one.told(1) for one in (grows, shrinks, forecasting.growth(days(5, 5, 5)))] == [
        "grows",
        "shrinks",
        "stays",
    ]


@pytest.mark.parametrize(
    ("plan", "used", "per_day", "advised", "dearer"),
    [
        (SMALL, 10 * GIB, 0, SMALL, "0.00"),
        (SMALL, 150 * GIB, 2 * GIB, MEDIUM, "0.03"),
        (SMALL, 190 * GIB, None, MEDIUM, "0.03"),
        (LARGE, 10 * GIB, 0, SMALL, "-0.24"),
        (MEDIUM, 5000 * GIB, 100 * GIB, LARGE, "0.21"),
        (LOCAL, 9000 * GIB, 0, LOCAL, "0"),
    ],
)
def test_the_smallest_plan_that_will_do_is_advised_with_its_price(
    plan: catalogue.Plan, used: int, per_day: int | None, advised: catalogue.Plan, dearer: str
) -> None:
    found = forecasting.advice(KNOWN, plan, HERE, used, forecasting.Growth(per_day, 9))

    assert (found.plan.name, found.dearer) == (advised.name, Decimal(dearer))
    assert found.reason


def test_months_meet_and_money_is_rounded_once_half_up() -> None:
    december, january = Month.called(2026, 12), Month.called(2027, 1)

    assert december.until == january.since
    assert Month.of(january.since) == january
    assert Month.of(january.since - 1) == december
    assert [str(rounded(Decimal(text))) for text in ("0.005", "14.994999", "14.88")] == [
        "0.01",
        "14.99",
        "14.88",
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_of_a_csv_is_a_formula(text: str) -> None:
    body = files.table(files.CSV, "name", ["a", "b"], [{"a": text, "b": -5}]).body.decode()

    cell = body.partition("\r\n")[2].lstrip('"')
    assert cell.startswith(f"'{text}")
    assert body.endswith(",-5\r\n")
