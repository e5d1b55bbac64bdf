"""Calls about what a registry used, and how it grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from moorage.api.cloud import files, times
from moorage.api.cloud import usage_models as models
from moorage.api.cloud.asks import Ask
from moorage.api.cloud.bodies import invalid
from moorage.api.cloud.registries import named
from moorage.api.cloud.routes import Route
from moorage.api.dialects import Answer
from moorage.cloud import forecasting, usage
from moorage.cloud.desk import Desk
from moorage.cloud.registries import Registry
from moorage.cloud.usage import DAY, Hour
from moorage.registry.traffic import HOUR

_ONE: Final = "/cloud/project/{serviceName}/containerRegistry/{registryID}"
MOST_SHOWN: Final = 1000
MOST_EXPORTED: Final = 20_000
_COLUMNS: Final = (
    "hour", "planID", "logicalBytes", "uniqueBytes", "trashBytes", "bytesIn", "bytesOut", "manifestPulls", "blobPulls",
    "pushes", "others", "refusals", "measuredAt",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls about what registries use."""

    desk: Desk

    def routes(self) -> list[Route]:
        """List the calls."""
        action = "containerRegistry/"
        return [
            Route("GET", f"{_ONE}/usage", f"{action}usage/get", self.usage,
                  "Show what a registry used, by hour, in the time from..to", gives=models.Usage, added=True,
                  headers=(_FROM, _TO)),
            Route("GET", f"{_ONE}/usage/export", f"{action}usage/get", self.export,
                  "Give the same as a file, CSV or a line of JSON for each hour", gives=list[models.UsageHour], added=True,
                  headers=(_FROM, _TO, _FORMAT)),
            Route("GET", f"{_ONE}/forecast", f"{action}forecast/get", self.forecast,
                  "Tell how a registry grows, and which plan would suit it", gives=models.Forecast, added=True),
        ]  # fmt: skip

    async def usage(self, ask: Ask) -> models.Usage:
        """Show hours, of the last week unless the query says else."""
        since, until = self._time(ask, files.query(ask, "from", "to"), MOST_SHOWN)
        found = await named(self.desk, ask)
        hours = await usage.hours(self.desk.platform, found.id, since, until, MOST_SHOWN)
        return models.Usage(
            registry_id=found.id, since=times.written(since), until=times.written(until), hours=list(map(_hour, hours))
        )  # fmt: skip

    async def export(self, ask: Ask) -> Answer:
        """Give hours as a file."""
        given = files.query(ask, "from", "to", "format")
        kind = files.choice(given, "format", files.CSV, files.LINES)
        since, until = self._time(ask, given, MOST_EXPORTED)
        found = await named(self.desk, ask)
        hours = await usage.hours(self.desk.platform, found.id, since, until, MOST_EXPORTED)
        rows: list[dict[str, Any]] = [msgspec.to_builtins(_hour(one)) for one in hours]
        return files.table(kind, f"usage-{found.id}", _COLUMNS, rows)

    async def forecast(self, ask: Ask) -> models.Forecast:
        """Tell how it grows, and advise a plan."""
        files.query(ask)
        found = await named(self.desk, ask)
        catalogue, now = self.desk.catalogue, self.desk.platform.now()
        plan = catalogue.plan(found.plan)
        use, grows = await self.desk.use(found), await growth(self.desk, found, now)
        advised = forecasting.advice(catalogue, plan, catalogue.region(found.region), use.stored, grows)
        return models.Forecast(
            registry_id=found.id, used_bytes=use.stored, bytes_per_day=grows.per_day, days_known=grows.days,
            full_at=times.written_or_none(grows.full_at(use.stored, plan.grants.limit_bytes, now)), plan_id=plan.id,
            recommended_plan_id=advised.plan.id, recommended_plan=advised.plan.name, reason=advised.reason,
            price_difference_hour=str(advised.dearer), currency=advised.plan.currency,
        )  # fmt: skip

    def _time(self, _: Ask, given: dict[str, str], most: int) -> tuple[int, int]:
        until = files.moment(given, "to", self.desk.platform.now())
        since = files.moment(given, "from", until - 7 * DAY)
        if since > until:
            raise invalid("from", "must not be after to")
        if until - since > most * HOUR:
            raise invalid("from", f"must be at most {most} hours before to")
        return since, until


async def growth(desk: Desk, found: Registry, now: int) -> forecasting.Growth:
    """Tell how a registry has grown of late."""
    return forecasting.growth(await usage.days(desk.platform, found.id, now - forecasting.LOOKS_BACK))


def _hour(one: Hour) -> models.UsageHour:
    return models.UsageHour(
        hour=times.written(one.hour), plan_id=one.plan, logical_bytes=one.logical_bytes, unique_bytes=one.unique_bytes,
        trash_bytes=one.trash_bytes, bytes_in=one.bytes_in, bytes_out=one.bytes_out, manifest_pulls=one.manifest_pulls,
        blob_pulls=one.blob_pulls, pushes=one.pushes, others=one.others, refusals=one.refusals,
        measured_at=times.written_or_none(one.measured_at),
    )  # fmt: skip


def _query(name: str, told: str, **schema: object) -> dict[str, object]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": told,
        "schema": {"type": "string", **schema},
    }


_FROM: Final = _query(
    "from", "The first moment, such as 2026-01-31T00:00:00Z; a week before `to` without it."
)
_TO: Final = _query("to", "The moment before which hours begin; now without it.")
_FORMAT: Final = _query("format", "What the file is.", enum=[files.CSV, files.LINES])
