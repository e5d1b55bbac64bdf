"""The relay: from the outbox to the record, in order, each event once.

Its turn reads the rows that it moves, so it waits for whoever is about to commit one: a mark that is taken away too
early loses nothing. Where a job begins with an event, the job is promised first, under the event's own uuid, and the
row goes after: a crash between the two only promises it once more, which is no more than once.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sqlalchemy import bindparam, delete, select

from moorage.db import Database, Statement, Tx, one_of
from moorage.db.tables import outbox
from moorage.jobs import Awaited, Event, Job
from moorage.registry import events

BATCH = 200

Begin = Callable[[Job, str], Awaitable[None]]
"""Promise a job under an id: once, however often it is asked."""

_ANY = Statement(select(outbox.c.id).limit(1))
_FIRST = Statement(
    select(outbox.c.id, outbox.c.uuid, outbox.c.at, outbox.c.kind, outbox.c.body)
    .order_by(outbox.c.id)
    .limit(bindparam("most"))
)
_GONE = Statement(delete(outbox).where(one_of(outbox.c.id, "ids")))


async def has_waiting(db: Database) -> bool:
    """Tell whether any committed event waits for the relay."""
    return await db.one(_ANY) is not None


async def drain(db: Database, registry: str, awaited: Awaited, begin: Begin) -> int:
    """Move everything that waits; give how many events. *registry* is its lasting name."""
    begun: set[str] = set()
    moved = 0
    while True:
        rows, kept = await db.change(lambda tx: _move(tx, awaited, frozenset(begun)))
        moved += kept
        for row in rows[kept:]:
            if row.kind in awaited and row.uuid not in begun:
                happened = Event(registry, row.uuid, row.kind, row.at, json.loads(row.body))
                await begin(awaited[row.kind](happened), row.uuid)
                begun.add(row.uuid)
        if kept == len(rows) < BATCH:
            return moved


async def _move(tx: Tx, awaited: Awaited, begun: frozenset[str]) -> tuple[list[Any], int]:
    """Move rows up to the first whose job is not promised yet; give those that were looked at, and how many moved."""
    rows = await tx.all(_FIRST, most=BATCH)
    kept = 0
    while kept < len(rows) and (rows[kept].kind not in awaited or rows[kept].uuid in begun):
        kept += 1
    if kept:
        await events.keep(tx, (_as_row(row) for row in rows[:kept]))
        await tx.run(_GONE, ids=[row.id for row in rows[:kept]])
    return rows, kept


def _as_row(row: Any) -> dict[str, object]:
    body: dict[str, Any] = json.loads(row.body)
    repository = str(body.get("repository", ""))
    return {
        "uuid": row.uuid,
        "kind": row.kind,
        "at": row.at,
        **{name: str(body.pop(name, "")) for name in ("actor", "party", "request_id", "address", "agent")},
        "outcome": "success",
        "rule": "",
        "project": str(body.get("project", "") or repository.partition("/")[0]),
        "target": _target(repository, body),
        "body": json.dumps(body, separators=(",", ":")),
        "count": 1,
    }


def _target(repository: str, body: Mapping[str, Any]) -> str:
    if "target" in body:
        return str(body["target"])
    if "digest" in body:
        return f"{repository}@{body['digest']}"
    return f"{repository}:{body['tag']}" if "tag" in body else repository
