"""Since when, and until when, a registry has had each plan: what is billed follows from it.

A span begins when the registry is ready with the plan and ends when the next does, or when its deletion is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, or_, select, update

from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform import cloud_registry, plan_span

BEGIN: Final = frozenset(
    {"registry.delivered", "registry.plan-changed", "registry.restored", "registry.taken-in"}
)
END: Final = frozenset({"registry.delete-asked"})

_OPEN = Statement(
    select(plan_span.c.plan).where(
        plan_span.c.cloud_registry_id == bindparam("which"), plan_span.c.until.is_(None)
    )
)
_END = Statement(
    update(plan_span)
    .where(plan_span.c.cloud_registry_id == bindparam("which"), plan_span.c.until.is_(None))
    .values(until=bindparam("at"))
)
_BEGIN = Statement(
    insert(plan_span)
    .values(cloud_registry_id=bindparam("which"), since=bindparam("at"), plan=bindparam("plan"))
    .on_conflict_do_nothing(index_elements=[plan_span.c.cloud_registry_id, plan_span.c.since])
)
_FIRST = Statement(select(plan_span.c.since).order_by(plan_span.c.since).limit(1))
_within = (
    select(
        plan_span.c.cloud_registry_id,
        plan_span.c.since,
        plan_span.c.plan,
        cloud_registry.c.cloud_project_id,
        cloud_registry.c.region,
        cloud_registry.c.entry_uuid,
    )
    .join_from(plan_span, cloud_registry, cloud_registry.c.id == plan_span.c.cloud_registry_id)
    .where(
        plan_span.c.since < bindparam("until"),
        or_(plan_span.c.until.is_(None), plan_span.c.until > bindparam("since")),
    )
    .order_by(plan_span.c.cloud_registry_id, plan_span.c.since)
)
_WITHIN = Statement(_within)
_OF = Statement(_within.where(plan_span.c.cloud_registry_id == bindparam("which")))


@dataclass(frozen=True, slots=True)
class Span:
    """A plan that a registry had for some of a time, and where the registry is."""

    registry: str
    since: int
    plan: str
    cloud_project_id: str
    region: str
    entry_uuid: str | None


async def follow(tx: Tx, kind: str, registry: str, body: Mapping[str, Any]) -> None:
    """Follow what happened to a registry, in the change that it happened in."""
    if kind in END:
        await tx.run(_END, which=registry, at=tx.at)
    elif kind in BEGIN:
        now = await tx.one(_OPEN, which=registry)
        if now is None or now.plan != body["plan"]:
            await tx.run(_END, which=registry, at=tx.at)
            await tx.run(_BEGIN, which=registry, plan=body["plan"], at=tx.at)


async def first(reader: Reader) -> int | None:
    """Give when the first span began, if any did."""
    row = await reader.one(_FIRST)
    return None if row is None else int(row.since)


async def within(reader: Reader, since: int, until: int) -> list[Span]:
    """List the spans of every registry that reach into a time, by registry."""
    return [Span(*row) for row in await reader.all(_WITHIN, since=since, until=until)]


async def of(reader: Reader, registry: str, since: int, until: int) -> list[Span]:
    """List one registry's spans that reach into a time."""
    return [Span(*row) for row in await reader.all(_OF, which=registry, since=since, until=until)]
