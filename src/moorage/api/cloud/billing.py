"""Calls about what a cloud project has, and what that costs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

from moorage.api.cloud import files, times
from moorage.api.cloud import usage_models as models
from moorage.api.cloud.asks import Ask
from moorage.api.cloud.bodies import invalid
from moorage.api.cloud.routes import Route
from moorage.api.dialects import Answer
from moorage.cloud import billing, registries
from moorage.cloud.billing import Line, Month
from moorage.cloud.catalogue import Catalogue, Plan
from moorage.cloud.desk import Desk
from moorage.cloud.errors import PlanUnknown, RegionUnknown
from moorage.cloud.reconciling import Certificate
from moorage.cloud.registries import Registry

_PROJECT: Final = "/cloud/project/{serviceName}"
_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")
_MONTHS: Final[dict[str, object]] = {
    "name": "month",
    "in": "query",
    "required": False,
    "description": "The month (UTC), such as 2026-01; the running one without it.",
    "schema": {"type": "string", "pattern": _MONTH.pattern},
}
_FORMAT: Final[dict[str, object]] = {
    "name": "format",
    "in": "query",
    "required": False,
    "description": "What the file is.",
    "schema": {"type": "string", "enum": [files.JSON, files.CSV]},
}
_LINES: Final = (
    "registryID", "registryName", "region", "planID", "planName", "from", "to", "hours", "priceHour", "price", "currency",
)  # fmt: skip
_ITEMS: Final = (
    "id", "name", "status", "region", "regionType", "planID", "planName", "version", "url", "iamEnabled", "createdAt",
    "deliveredAt", "updatedAt", "size", "imageStorage", "parallelRequest", "trashDays", "vulnerability",
    "certificateSha256", "certificateNotAfter",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Billing:
    """Calls about bills and the inventory."""

    desk: Desk

    def routes(self) -> list[Route]:
        """List the calls."""
        return [
            Route("GET", f"{_PROJECT}/bill", "usage/bill/get", self.bill,
                  "Draw up a month's bill; a preview while it goes on", gives=models.Bill, added=True, headers=(_MONTHS,)),
            Route("GET", f"{_PROJECT}/bill/export", "usage/bill/get", self.export, "Give the bill's lines as CSV",
                  gives=list[models.BillLine], added=True, headers=(_MONTHS,)),
            Route("GET", f"{_PROJECT}/inventory", "inventory/get", self.inventory,
                  "List all that the cloud project has", gives=list[models.InventoryItem], added=True, of_each=True),
            Route("GET", f"{_PROJECT}/inventory/export", "inventory/get", self.inventory_file,
                  "Give the same as a file, JSON or CSV", gives=list[models.InventoryItem], added=True, of_each=True,
                  headers=(_FORMAT,)),
        ]  # fmt: skip

    async def bill(self, ask: Ask) -> models.Bill:
        """Draw up a bill."""
        made, now = await self._bill(ask), self.desk.platform.now()
        return models.Bill(
            project_id=ask.cloud_project,
            since=times.written(made.month.since),
            until=times.written(made.month.until),
            metered_until=times.written(made.metered_until),
            preview=made.metered_until < made.month.until and now < made.month.until,
            lines=self._lines(made.lines),
            totals=_totals(made.totals),
            expected=_totals(made.expected),
        )

    async def export(self, ask: Ask) -> Answer:
        """Give a bill's lines as a file."""
        lines = self._lines((await self._bill(ask)).lines)
        return files.table(
            files.CSV, f"bill-{ask.cloud_project}", _LINES, [msgspec.to_builtins(one) for one in lines]
        )

    async def inventory(self, ask: Ask) -> list[models.InventoryItem]:
        """List what there is."""
        files.query(ask)
        return await self._items(ask)

    async def inventory_file(self, ask: Ask) -> Answer:
        """Give what there is as a file."""
        kind = files.choice(files.query(ask, "format"), "format", files.JSON, files.CSV)
        rows: list[dict[str, Any]] = [msgspec.to_builtins(one) for one in await self._items(ask)]
        if kind == files.CSV:
            for row in rows:
                shown = row["certificate"] or {}
                row["certificateSha256"], row["certificateNotAfter"] = (
                    shown.get("sha256"),
                    shown.get("notAfter"),
                )
        return files.table(kind, f"inventory-{ask.cloud_project}", _ITEMS, rows)

    async def _bill(self, ask: Ask) -> billing.Bill:
        text, now = files.query(ask, "month").get("month"), self.desk.platform.now()
        found = None if text is None else _MONTH.fullmatch(text)
        if text is not None and found is None:
            raise invalid("month", "must be a month such as 2026-01")
        month = Month.of(now) if found is None else Month.called(int(found[1]), int(found[2]))
        return await billing.bill(self.desk.platform, self.desk.catalogue, ask.cloud_project, month, now)

    def _lines(self, lines: list[Line]) -> list[models.BillLine]:
        names = {plan.id: plan.name for plan in self.desk.catalogue.plans}
        return [
            models.BillLine(
                registry_id=one.registry, registry_name=one.name, region=one.region, plan_id=one.plan,
                plan_name=names.get(one.plan), since=times.written(one.since), until=times.written(one.until),
                hours=one.hours, price_hour=_written(one.hour_price), price=_written(one.price), currency=one.currency,
            )
            for one in lines
        ]  # fmt: skip

    async def _items(self, ask: Ask) -> list[models.InventoryItem]:
        desk = self.desk
        shown = desk.site.certificate()
        return [
            _item(one, desk.catalogue, shown)
            for one in await registries.listed(desk.platform, ask.cloud_project)
            if ask.allowed.sees(one.id)
        ]


def _item(found: Registry, catalogue: Catalogue, shown: Certificate | None) -> models.InventoryItem:
    plan, kind = _known(found, catalogue)
    return models.InventoryItem(
        id=found.id, name=found.name, status=found.status, region=found.region, region_type=kind, plan_id=found.plan,
        plan_name=plan.name if plan else None, version=found.version, url=found.url, iam_enabled=bool(found.iam_enabled),
        created_at=times.written(found.created_at), delivered_at=times.written_or_none(found.delivered_at),
        updated_at=times.written(found.updated_at), size=found.size,
        image_storage=plan.grants.limit_bytes if plan else None, parallel_request=plan.grants.parallel if plan else None,
        trash_days=plan.grants.trash_days if plan else None, vulnerability=plan.vulnerability if plan else None,
        certificate=None if shown is None else models.Certificate(
            subject=shown.subject, issuer=shown.issuer, serial=shown.serial, sha256=shown.sha256,
            not_before=times.written(shown.not_before), not_after=times.written(shown.not_after),
        ),
    )  # fmt: skip


def _known(found: Registry, catalogue: Catalogue) -> tuple[Plan | None, str | None]:
    """Give a registry's plan and its region's type, each None if the catalogue has it no more."""
    try:
        plan = catalogue.plan(found.plan)
    except PlanUnknown:
        plan = None
    try:
        return plan, catalogue.region(found.region).type
    except RegionUnknown:
        return plan, None


def _totals(sums: dict[str, Decimal]) -> list[models.Total]:
    return [
        models.Total(currency=currency, exact=str(price), price=str(billing.rounded(price)))
        for currency, price in sorted(sums.items())
    ]


def _written(price: Decimal | None) -> str | None:
    return None if price is None else str(price)
