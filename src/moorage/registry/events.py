"""What happened: written in the turn that makes it happen, or gathered in memory where there is no such turn.

A change writes its event into the outbox, in its own transaction: the one is there if and only if the other is. The
relay moves it to the record. Pulls and denials change nothing and come in floods: they are gathered in memory and
written to the record each second, alike ones of a minute in one row with a count. A crash may lose one second of them.
"""

import asyncio
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, delete, select

from moorage.db import Database, Statement, Tx, Vanished, insert
from moorage.db.tables import event, outbox
from moorage.errors import Unavailable
from moorage.identity.accounts import GRANT_PREFIX, ROBOT_PREFIX
from moorage.identity.outsiders import Found

TOGETHER = 60_000_000
"""Microseconds in which what is alike is counted in one row."""
MOST = 5_000
"""How many rows may be gathered at once: a flood of unlike ones is counted in one row past that."""
STEP = 500


@dataclass(frozen=True, slots=True)
class Origin:
    """Who makes a change, through which request."""

    actor: str = "system"
    party: str = "provider"
    request_id: str = ""
    address: str = ""
    agent: str = ""


SYSTEM = Origin()
BY_GRANT: Final = f"{ROBOT_PREFIX}{GRANT_PREFIX}"
"""How the actor is called who enters by a grant of the provider's."""

_ADD = Statement(
    insert(outbox).values(
        uuid=bindparam("uuid"), at=bindparam("at"), kind=bindparam("kind"), body=bindparam("body")
    )
)
_rows = insert(event).values(
    uuid=bindparam("uuid"),
    kind=bindparam("kind"),
    at=bindparam("at"),
    actor=bindparam("actor"),
    party=bindparam("party"),
    outcome=bindparam("outcome"),
    rule=bindparam("rule"),
    request_id=bindparam("request_id"),
    address=bindparam("address"),
    agent=bindparam("agent"),
    project=bindparam("project"),
    target=bindparam("target"),
    body=bindparam("body"),
    count=bindparam("count"),
)
_KEEP = Statement(_rows.on_conflict_do_nothing(index_elements=[event.c.uuid]))
_changes: dict[str, Any] = {"count": event.c.count + _rows.excluded.count, "body": _rows.excluded.body}
_COUNT = Statement(_rows.on_conflict_do_update(index_elements=[event.c.uuid], set_=_changes))
_DROP_OLD = Statement(
    delete(event).where(
        event.c.id.in_(
            select(event.c.id)
            .where(event.c.at < bindparam("before"))
            .order_by(event.c.at, event.c.id)
            .limit(bindparam("most"))
        )
    )
)


_OLD = Statement(select(event.c.id).where(event.c.at < bindparam("before")).limit(1))


async def record(tx: Tx, kind: str, origin: Origin, /, **body: object) -> None:
    """Write an event beside the change that it tells of."""
    whole = {**asdict(origin), **body}
    await tx.mark()
    await tx.run(
        _ADD, uuid=str(uuid.uuid4()), at=tx.at, kind=kind, body=json.dumps(whole, separators=(",", ":"))
    )


async def outsider(tx: Tx, found: Found, address: str, new: bool) -> None:  # noqa: FBT001 - as who calls it has it
    """Tell of an account that somebody else vouches for: that it was made, or made an administrator or none any more."""
    origin = Origin(found.name, "customer", address=address)
    about = {"user": found.id, "target": found.name, "name": found.name}
    if new:
        await record(tx, "user.create", origin, **about)
    if found.admin != found.was_admin:
        change = {"before": {"admin": found.was_admin}, "after": {"admin": found.admin}}
        await record(tx, "user.admin", origin, **about, **change)


async def keep(tx: Tx, rows: Iterable[Mapping[str, object]]) -> None:
    """Put changes' events into the record, each once however often it is put there."""
    await tx.many(_KEEP, [*rows])


async def drop_old(db: Database, before: int) -> int:
    """Drop the oldest events of the record from before a moment, a batch of them; give how many."""
    if await db.one(_OLD, before=before) is None:
        return 0
    return await db.write(_DROP_OLD, before=before, most=STEP)


class Seen(NamedTuple):
    """What makes two pulls, or two denials, alike."""

    kind: str
    rule: str
    actor: str
    address: str
    agent: bytes
    project: str
    target: str
    asked: str


@dataclass(slots=True)
class _Row:
    """A row of the record that is still counted in; *more* is what is not written yet."""

    uuid: str
    at: int
    request_id: str
    more: int = 0


@dataclass(slots=True)
class Gathered:
    """The pulls and denials of one registry that this process has not written down yet."""

    db: Database
    _open: dict[Seen, _Row] = field(default_factory=dict)
    _fresh: dict[Seen, _Row] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._fresh)

    def note(self, seen: Seen, request_id: str) -> None:
        """Note one: on the hot path, so this is two look-ups and a sum."""
        row = self._fresh.get(seen)
        if row is None:
            row = self._begin(seen, request_id)
        row.more += 1

    def _begin(self, seen: Seen, request_id: str) -> _Row:
        now = self.db.now()
        if len(self._fresh) >= MOST:
            seen, request_id = Seen(seen.kind, seen.rule, "", "", b"", "", "", "many others"), ""
        row = self._fresh.get(seen) or self._open.get(seen)
        if row is None or row.at + TOGETHER < now:
            row = _Row(str(uuid.uuid4()), now, request_id)
        self._fresh[seen] = row
        return row

    async def flush(self) -> int:
        """Write down what was gathered; give how many rows that touched. Raises Unavailable, and keeps them then."""
        if not self._fresh:
            return 0
        taken, self._fresh = self._fresh, {}
        counts = [(seen, row, row.more) for seen, row in taken.items()]
        now = self.db.now()
        rows = [_as_row(seen, row, now) for seen, row, _ in counts]
        for row in taken.values():
            row.more = 0
        try:
            await self.db.record(lambda tx: tx.many(_COUNT, rows))
        except Vanished:
            return 0
        except (Unavailable, asyncio.CancelledError):
            for seen, row, more in counts:
                self._fresh.setdefault(seen, row).more += more
            raise
        before = now - TOGETHER
        self._open = {seen: row for seen, row in (self._open | taken).items() if row.at >= before}
        return len(rows)


def _as_row(seen: Seen, row: _Row, now: int) -> dict[str, object]:
    # Written each second, so this is when the last one was, near enough.
    body = {"asked": seen.asked, "last_at": now}
    return {
        "uuid": row.uuid,
        "kind": seen.kind,
        "at": row.at,
        "actor": seen.actor,
        "party": "provider" if seen.actor.startswith(BY_GRANT) else "customer",
        "outcome": "denied" if seen.rule else "success",
        "rule": seen.rule,
        "request_id": row.request_id,
        "address": seen.address,
        "agent": seen.agent[:256].decode("latin-1").replace("\0", ""),
        "project": seen.project,
        "target": seen.target,
        "body": json.dumps(body, separators=(",", ":")),
        "count": row.more,
    }
