"""Metering: each hour that has ended is written down once, for every registry that had a plan in it.

The hour's plan is the dearest of those that the registry had in it, so an hour has one price however often the plan
was changed. Bytes are measured soon after the hour's end; of hours that nobody measured they stay unknown, and the rest
is filled in. Traffic is taken over from the cell as it comes, late counts too.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, tuple_, update

from moorage.cloud import spans
from moorage.cloud.catalogue import Catalogue
from moorage.cloud.errors import PlanUnknown, RegionUnknown
from moorage.cloud.spans import Span
from moorage.db import Database, Reader, Statement, Tx, Vanished, insert, one_of
from moorage.db.cell import TRAFFIC, traffic
from moorage.db.platform import cloud_registry, usage_hour, usage_sweep
from moorage.db.tables import project, registry
from moorage.registry.traffic import HOUR, is_kept

BATCH: Final = 200
HOURS_AT_ONCE: Final = 48
"""So many hours are filled in before others have their turn."""
STEP: Final = 500
CELL_KEEPS: Final = 72 * HOUR
"""How long the cell keeps what the platform has taken over: longer than a process may be late with a count."""

_STORED = Statement(
    select(
        registry.c.used,
        registry.c.trash,
        registry.c.limit_bytes,
        select(func.coalesce(func.sum(project.c.used), 0)).scalar_subquery().label("logical"),
    )
)
_USED = Statement(select(registry.c.used, registry.c.limit_bytes, registry.c.trash))
_SWEPT = Statement(select(usage_sweep.c.hour).order_by(usage_sweep.c.hour.desc()).limit(1))
_SWEEP = Statement(
    insert(usage_sweep)
    .values(hour=bindparam("hour"), at=bindparam("at"))
    .on_conflict_do_nothing(index_elements=[usage_sweep.c.hour])
)
_COLUMNS = (
    "cloud_registry_id", "hour", "cloud_project_id", "region", "plan", "price", "currency", "measured_at",
    "logical_bytes", "unique_bytes", "trash_bytes",
)  # fmt: skip
_PUT = Statement(
    insert(usage_hour)
    .values({name: bindparam(name) for name in _COLUMNS})
    .on_conflict_do_nothing(index_elements=[usage_hour.c.cloud_registry_id, usage_hour.c.hour])
)
_key = (traffic.c.hour, traffic.c.entry_uuid)
_DUE = Statement(
    select(traffic).where(
        tuple_(*_key).in_(
            select(*_key)
            .where(traffic.c.writes != traffic.c.rolled, traffic.c.hour <= bindparam("until"))
            .distinct()
            .order_by(*_key)
            .limit(STEP)
        )
    )
)
_CALLED = Statement(
    select(cloud_registry.c.id, cloud_registry.c.entry_uuid).where(
        one_of(cloud_registry.c.entry_uuid, "entries")
    )
)
_ROLL = Statement(
    update(usage_hour)
    .where(usage_hour.c.cloud_registry_id == bindparam("which"), usage_hour.c.hour == bindparam("at"))
    .values({name: bindparam(f"n_{name}") for name in TRAFFIC})
)
_ROLLED = Statement(
    update(traffic)
    .where(
        traffic.c.hour == bindparam("at"),
        traffic.c.entry_uuid == bindparam("entry"),
        traffic.c.source == bindparam("by"),
    )
    .values(rolled=bindparam("seen"))
)
_OF_ENTRY = Statement(select(traffic).where(traffic.c.entry_uuid == bindparam("entry")))
_COUNT_OF_ENTRY = Statement(
    select(func.count().label("n")).select_from(traffic).where(traffic.c.entry_uuid == bindparam("entry"))
)
_FORGET_ENTRY = Statement(delete(traffic).where(traffic.c.entry_uuid == bindparam("entry")))
_of_hour = (usage_hour.c.cloud_registry_id, usage_hour.c.hour)
_DROP_OLD = Statement(
    delete(usage_hour).where(
        tuple_(*_of_hour).in_(
            select(*_of_hour).where(usage_hour.c.hour < bindparam("before")).order_by(usage_hour.c.hour).limit(STEP)
        )
    )
)  # fmt: skip
_DROP_SWEPT = Statement(delete(usage_sweep).where(usage_sweep.c.hour < bindparam("before")))
_source = (*_key, traffic.c.source)
_DROP_ROLLED = Statement(
    delete(traffic).where(
        tuple_(*_source).in_(
            select(*_source)
            .where(traffic.c.hour < bindparam("before"), traffic.c.writes == traffic.c.rolled)
            .order_by(*_source)
            .limit(STEP)
        )
    )
)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a registry holds: each digest once (*unique*), and once for each project that has it (*logical*)."""

    unique: int
    trash: int
    limit: int
    logical: int


async def stored(db: Reader) -> Stored:
    """Tell what a registry's rows say it holds; raise Vanished where it was destroyed."""
    row = await db.one(_STORED)
    if row is None:
        raise Vanished("a registry that was destroyed holds nothing")
    return Stored(*row)


async def used(db: Reader) -> Any:
    """Tell how many bytes count against a registry's storage (``used``), its limit (``limit_bytes``), and its ``trash``."""
    return await db.one(_USED)


async def unmeasured(_: str) -> Stored | None:
    """Measure nothing: there is nothing any more."""
    return None


async def remains(cell: Reader, entry_uuid: str) -> list[str]:
    """Name what the cell still has of what a registry was asked."""
    if not await is_kept(cell):
        return []
    n = (await cell.one(_COUNT_OF_ENTRY, entry=entry_uuid)).n
    return [f"{n} rows of traffic"] if n else []


@dataclass(frozen=True, slots=True)
class Metering:
    """Writes hours down. *measure* tells what the registry of an entry holds now, or None where that cannot be told."""

    platform: Database
    cell: Database
    catalogue: Catalogue
    measure: Callable[[str], Awaitable[Stored | None]]

    async def sweep(self, now: int) -> int:
        """Write the hours that ended by *now*, the oldest first, and take traffic over; give how many hours."""
        last = now - now % HOUR - HOUR
        swept = await self.platform.one(_SWEPT)
        begun = await spans.first(self.platform) if swept is None else swept.hour + HOUR
        if begun is None:
            return 0
        hours = range(begun - begun % HOUR, last + 1, HOUR)[:HOURS_AT_ONCE]
        for hour in hours:
            await self._write_hour(hour, measured=hour == last)
        until = hours[-1] if hours else last
        while await is_kept(self.cell) and await self._roll(until):
            pass
        return len(hours)

    async def prune(self, before: int) -> None:
        """Drop the hours from before a moment, and what the cell need not keep any more, in batches."""
        while await self.platform.write(_DROP_OLD, before=before):
            pass
        await self.platform.write(_DROP_SWEPT, before=before)
        while await is_kept(self.cell) and await self.cell.write(
            _DROP_ROLLED, before=self.cell.now() - CELL_KEEPS
        ):
            pass

    async def _write_hour(self, hour: int, *, measured: bool) -> None:
        found = await spans.within(self.platform, hour, hour + HOUR)
        billed = [
            self._dearest(list(each)) for _, each in itertools.groupby(found, key=lambda one: one.registry)
        ]
        for batch in _batches(billed):
            rows = [await self._row(one, hour, measured=measured) for one in batch]
            await self.platform.change(lambda tx, rows=rows: tx.many(_PUT, rows))  # type: ignore[misc] # A default is not inferred.
        await self.platform.write(_SWEEP, hour=hour, at=self.platform.now())

    def _dearest(self, had: list[Span]) -> Span:
        """Choose the span that an hour is billed by: the dearest plan's, the last of several."""
        return max(had, key=lambda one: (self._price(one)[0] or Decimal(0), one.since))

    def _price(self, span: Span) -> tuple[Decimal | None, str | None]:
        """Give an hour's price; None where the catalogue has no such plan or region any more."""
        try:
            plan, region = self.catalogue.plan(span.plan), self.catalogue.region(span.region)
        except (PlanUnknown, RegionUnknown):
            return None, None
        return plan.price_hour[region.type], plan.currency

    async def _row(self, span: Span, hour: int, *, measured: bool) -> dict[str, object]:
        price, currency = self._price(span)
        held = await self.measure(span.entry_uuid) if measured and span.entry_uuid else None
        return {
            "cloud_registry_id": span.registry,
            "hour": hour,
            "cloud_project_id": span.cloud_project_id,
            "region": span.region,
            "plan": span.plan,
            "price": None if price is None else str(price),
            "currency": currency,
            "measured_at": None if held is None else self.platform.now(),
            "logical_bytes": None if held is None else held.logical,
            "unique_bytes": None if held is None else held.unique,
            "trash_bytes": None if held is None else held.trash,
        }

    async def _roll(self, until: int) -> int:
        """Take over traffic of hours that are written; what is written of an hour is all of it, so again is no more."""
        rows = await self.cell.all(_DUE, until=until)
        if rows:
            await self._take_over(rows)
        return len(rows)

    async def end(self, registry: str, entry_uuid: str) -> None:
        """Take over what a registry that is destroyed was asked, in the hour that runs too, and leave none of it in the cell.

        Its hours stay, for the invoice; done again it changes nothing.
        """
        if not await is_kept(self.cell):
            return
        rows = await self.cell.all(_OF_ENTRY, entry=entry_uuid)
        due = sorted({row.hour for row in rows if row.writes != row.rolled})
        for hour in due:
            had = await spans.of(self.platform, registry, hour, hour + HOUR)
            if had:
                await self.platform.write(_PUT, **await self._row(self._dearest(had), hour, measured=False))
        if due:
            await self._take_over([row for row in rows if row.hour in due])
        await self.cell.write(_FORGET_ENTRY, entry=entry_uuid)

    async def _take_over(self, rows: Sequence[Any]) -> None:
        known = await self.platform.all(_CALLED, entries=sorted({row.entry_uuid for row in rows}))
        called = {row.entry_uuid: row.id for row in known}
        sums: dict[tuple[int, str], list[int]] = {}
        for row in rows:
            if row.entry_uuid in called:
                whole = sums.setdefault((row.hour, called[row.entry_uuid]), [0] * len(TRAFFIC))
                for place, name in enumerate(TRAFFIC):
                    whole[place] += getattr(row, name)
        given = [
            {"which": which, "at": hour, **{f"n_{name}": count for name, count in zip(TRAFFIC, whole, strict=True)}}
            for (hour, which), whole in sums.items()
        ]  # fmt: skip

        async def take(tx: Tx) -> None:
            if given:
                await tx.many(_ROLL, given)

        await self.platform.change(take)
        seen = [
            {"at": row.hour, "entry": row.entry_uuid, "by": row.source, "seen": row.writes} for row in rows
        ]
        await self.cell.change(lambda tx: tx.many(_ROLLED, seen))


def _batches(items: list[Span]) -> Iterable[list[Span]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
