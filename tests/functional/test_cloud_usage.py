"""Calls about usage, limits, forecasts, bills and the inventory: exact, of one's own, and refused by field."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import bindparam

from moorage.cloud import registries
from moorage.cloud.billing import Month
from moorage.cloud.members import Role
from moorage.cloud.usage import DAY
from moorage.db import Statement, insert
from moorage.db.cell import TRAFFIC
from moorage.db.platform import usage_hour
from moorage.registry.traffic import HOUR
from tests.functional.cloud_api_world import LARGE, MEDIUM, SMALL, Api, api
from tests.functional.usage_world import hour_of, orders

__all__ = ["api", "orders"]

GIB = 1 << 30
ADD = Statement(
    insert(usage_hour).values(
        cloud_registry_id=bindparam("which"), hour=bindparam("hour"), cloud_project_id=bindparam("project"),
        region="LOCAL", plan=bindparam("plan"), price=bindparam("price"), currency="EUR",
        measured_at=bindparam("measured"), logical_bytes=bindparam("bytes"), unique_bytes=bindparam("bytes"),
        trash_bytes=0, **{name: place for place, name in enumerate(TRAFFIC)},
    )
)  # fmt: skip


async def add(
    api: Api, which: str, hour: int, size: int | None, plan: str = SMALL, price: str = "0.02"
) -> None:
    await api.orders.platform.write(
        ADD, which=which, hour=hour, project=api.owner.project, plan=plan, price=price, bytes=size,
        measured=None if size is None else hour + HOUR,
    )  # fmt: skip


async def asked(api: Api, path: str) -> Any:
    answer = await api.owner.call("GET", path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_usage_is_shown_and_exported_with_its_gaps(api: Api) -> None:
    made = await api.ready()
    here, now = f"/containerRegistry/{made['id']}", hour_of(api.orders.platform.now())
    for number, size in enumerate([100, None, 300]):
        await add(api, made["id"], now - (3 - number) * HOUR, size)

    shown = await asked(api, f"{here}/usage")
    last = await asked(api, f"{here}/usage?from=2026-01-31&to=2026-02-01T00:00:00%2B01:00")
    lines = await api.owner.call("GET", f"{here}/usage/export?format=jsonl")
    sheet = await api.owner.call("GET", f"{here}/usage/export?format=csv")
    rows = list(csv.DictReader(io.StringIO(sheet.text)))

    assert [one["uniqueBytes"] for one in shown["hours"]] == [100, None, 300]
    assert [one["measuredAt"] is None for one in shown["hours"]] == [False, True, False]
    assert shown["hours"][0]["bytesOut"] == TRAFFIC.index("bytes_out")
    assert (last["hours"], last["to"]) == ([], "2026-01-31T23:00:00.000000Z")
    assert [json.loads(line) for line in lines.text.splitlines()] == shown["hours"]
    assert [row["uniqueBytes"] for row in rows] == ["100", "", "300"]
    assert "attachment" in sheet.headers["content-disposition"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("from=2026-02-01&to=2026-01-01", "from"),
        ("from=2020-01-01", "from"),
        ("since=2026-01-01", "since"),
    ],
)
async def test_a_query_that_breaks_a_rule_is_refused_by_its_field(api: Api, query: str, field: str) -> None:
    made = await api.ready()

    refused = await api.owner.call("GET", f"/containerRegistry/{made['id']}/usage?{query}")

    assert refused.status_code == 400
    assert refused.json()["class"].startswith("Client::BadRequest")
    assert refused.json()["message"].startswith(field)


async def test_limits_tell_use_and_the_time_until_they_are_reached(api: Api) -> None:
    made = await api.ready()
    here, now = f"/containerRegistry/{made['id']}", hour_of(api.orders.platform.now())
    unknown = await asked(api, f"{here}/limits")
    for day in range(5):
        await add(api, made["id"], now - (5 - day) * DAY, (60 + 10 * day) * GIB)
    found = await registries.find(api.orders.platform, made["id"])
    assert found is not None
    await api.orders.store(found, 100 * GIB)

    storage, trash, parallel, ordered = await asked(api, f"{here}/limits")
    forecast = await asked(api, f"{here}/forecast")

    assert (unknown[0]["trend"], unknown[0]["fullAt"], unknown[0]["used"]) == ("not enough data", None, 0)
    assert (storage["used"], storage["granted"], storage["percent"]) == (100 * GIB, 200 * GIB, 50.0)
    assert (storage["trend"], storage["daysToFull"]) == ("grows", 10)
    assert (trash["name"], trash["used"], trash["trend"]) == ("trash", 0, "no limit")
    assert (parallel["granted"], parallel["unit"]) == (15, "requests")
    assert (ordered["per"], ordered["granted"]) == ("account", api.orders.desk.most)
    assert ordered["used"] == await registries.count(api.orders.platform, api.owner.project) >= 1
    assert (forecast["bytesPerDay"], forecast["daysKnown"]) == (10 * GIB, 5)
    assert (forecast["recommendedPlan"], forecast["recommendedPlanID"]) == ("MEDIUM", MEDIUM)
    assert forecast["priceDifferenceHour"] == "0.03"


async def test_a_bill_is_exact_and_says_what_the_month_will_cost(api: Api) -> None:
    made = await api.ready("team")
    now = api.orders.platform.now()
    month = Month.of(now)
    # In the month before: hours at prices that floats cannot hold.
    before = Month.of(month.since - 1)
    for number in range(20):
        await add(api, made["id"], before.since + number * HOUR, 1, price="0.1")
    for number in range(20, 23):
        await add(api, made["id"], before.since + number * HOUR, None, plan=LARGE, price="0.2655")
    text = (await asked(api, "/bill"))["from"]
    year, number = int(text[:4]), int(text[5:7])
    last = f"{year - (number == 1)}-{(number - 2) % 12 + 1:02}"

    bill = await asked(api, f"/bill?month={last}")
    preview = await asked(api, "/bill")
    sheet = await api.owner.call("GET", f"/bill/export?month={last}")

    assert [(one["hours"], one["priceHour"], one["price"], one["planName"]) for one in bill["lines"]] == [
        (20, "0.1", "2.0", "SMALL"),
        (3, "0.2655", "0.7965", "LARGE"),
    ]
    assert bill["totals"] == bill["expected"] == [{"currency": "EUR", "exact": "2.7965", "price": "2.80"}]
    assert (bill["preview"], preview["preview"], preview["lines"]) == (False, True, [])
    left = (month.until - hour_of(now)) // HOUR
    expected = Decimal(preview["expected"][0]["exact"])
    # An hour may have passed since.
    assert expected in {Decimal("0.02") * left, Decimal("0.02") * (left - 1)}
    assert [row["price"] for row in csv.DictReader(io.StringIO(sheet.text))] == ["2.0", "0.7965"]
    assert (await api.owner.call("GET", "/bill?month=2026-13")).status_code == 400


async def test_the_inventory_is_one_call_and_one_file(api: Api) -> None:
    made = [await api.ready(name, plan) for name, plan in (("one", SMALL), ("two", MEDIUM))]
    other = await api.customer(Role.OWNER)

    items = await asked(api, "/inventory")
    file = await api.owner.call("GET", "/inventory/export")
    sheet = await api.owner.call("GET", "/inventory/export?format=csv")
    others = (await other.call("GET", "/inventory")).json()

    assert [(one["name"], one["planName"], one["imageStorage"], one["trashDays"]) for one in items] == [
        ("one", "SMALL", 200 * GIB, 7),
        ("two", "MEDIUM", 600 * GIB, 14),
    ]
    assert [one["url"] for one in items] == [one["url"] for one in made]
    assert file.json() == items
    assert [row["id"] for row in csv.DictReader(io.StringIO(sheet.text))] == [one["id"] for one in made]
    assert others == []
