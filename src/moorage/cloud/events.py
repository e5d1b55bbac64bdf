"""What happened on the platform: written beside the change, in its own transaction, and moved to the record after.

What is evidence of an activity gets its entry in the ledger in the turn that moves it. A refusal changes nothing: it is
written to the record directly, and is no evidence.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, select

from moorage.cloud import ledger
from moorage.cloud.ledger import Forked
from moorage.db import Database, Statement, Tx, insert, one_of
from moorage.db.platform import cloud_event, cloud_outbox
from moorage.jobs import Awaited, Event
from moorage.registry.events import SYSTEM, Origin
from moorage.registry.relay import Begin

__all__ = ["SYSTEM", "Origin", "deny", "drain", "drop_old", "listed", "record"]

BATCH: Final = 200
STEP: Final = 500
LONGEST: Final = 512

_COLUMNS: Final = (
    "uuid", "kind", "at", "actor", "party", "outcome", "rule", "request_id", "address", "agent", "account_id",
    "cloud_project_id", "target", "body",
)  # fmt: skip
_ADD = Statement(insert(cloud_outbox).values({name: bindparam(name) for name in _COLUMNS}))
_KEEP = Statement(
    insert(cloud_event)
    .values({name: bindparam(name) for name in _COLUMNS})
    .on_conflict_do_nothing(index_elements=[cloud_event.c.uuid])
)
_FIRST = Statement(select(cloud_outbox).order_by(cloud_outbox.c.id).limit(BATCH))
_GONE = Statement(delete(cloud_outbox).where(one_of(cloud_outbox.c.id, "ids")))
_OF_TARGET = Statement(
    select(cloud_event)
    .where(cloud_event.c.target == bindparam("target"), cloud_event.c.id < bindparam("before"))
    .order_by(cloud_event.c.id.desc())
    .limit(bindparam("most"))
)
_DROP_OLD = Statement(
    delete(cloud_event).where(
        cloud_event.c.id.in_(
            select(cloud_event.c.id)
            .where(cloud_event.c.at < bindparam("before"))
            .order_by(cloud_event.c.at, cloud_event.c.id)
            .limit(STEP)
        )
    )
)


async def record(
    tx: Tx,
    kind: str,
    origin: Origin,
    /,
    *,
    target: str,
    account: str = "",
    cloud_project: str = "",
    outcome: str = "success",
    rule: str = "",
    uuid_: str = "",
    **body: object,
) -> str:
    """Write an event beside the change that it tells of, and give its uuid: a new one, or the one that is given."""
    about = {"target": target, "account_id": account, "cloud_project_id": cloud_project}
    row = _row(tx.at, kind, origin, {**about, "outcome": outcome, "rule": rule}, body)
    row["uuid"] = uuid_ or row["uuid"]
    await tx.run(_ADD, **row)
    return str(row["uuid"])


async def deny(
    db: Database, kind: str, origin: Origin, /, *, rule: str, target: str = "", account: str = "",
    cloud_project: str = "", **body: object,
) -> None:  # fmt: skip
    """Write down that something was refused."""
    about = {"target": target, "account_id": account, "cloud_project_id": cloud_project}
    row = _row(db.now(), kind, origin, {**about, "outcome": "denied", "rule": rule}, body)
    await db.write(_KEEP, **row)


async def drain(db: Database, awaited: Awaited, begin: Begin) -> int:
    """Move everything that waits to the record, once the jobs that follow from it are promised; give how many."""
    moved = 0
    while rows := await db.all(_FIRST):
        for row in rows:
            if row.kind in awaited:
                happened = Event(row.target, row.uuid, row.kind, row.at, json.loads(row.body))
                await begin(awaited[row.kind](happened), row.uuid)
        try:
            await db.change(lambda tx, rows=rows: _move(tx, rows))  # type: ignore[misc] # A default is not inferred.
        except Forked:
            # Another relay was faster. What it has moved is not there the next time.
            continue
        moved += len(rows)
    return moved


async def listed(db: Database, target: str, *, before: int = 1 << 62, most: int = 100) -> list[Any]:
    """List what happened to something, the latest first."""
    return await db.all(_OF_TARGET, target=target, before=before, most=min(most, 1000))


async def drop_old(db: Database, before: int) -> int:
    """Drop the oldest events from before a moment, a batch of them; give how many."""
    return await db.write(_DROP_OLD, before=before)


async def _move(tx: Tx, rows: Sequence[Any]) -> None:
    await tx.many(_KEEP, [{name: getattr(row, name) for name in _COLUMNS} for row in rows])
    await ledger.append(tx, rows)
    await tx.run(_GONE, ids=[row.id for row in rows])


def _row(
    at: int, kind: str, origin: Origin, about: Mapping[str, str], body: Mapping[str, object]
) -> dict[str, object]:
    return {
        "uuid": str(uuid.uuid4()),
        "kind": kind,
        "at": at,
        "party": origin.party,
        "body": json.dumps(body, separators=(",", ":")),
        **{name: getattr(origin, name)[:LONGEST] for name in ("actor", "request_id", "address", "agent")},
        **{name: value[:LONGEST] for name, value in about.items()},
    }
