"""What is told of a project's quota: that it is nearly used up, and that it kept something out.

A level is told in the turn that reaches it, and a refusal by whoever refused, a second later: the turn that was refused
left nothing behind. Each is told once in an hour, however many pushes reach it.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, select

from moorage.db import Database, Statement, Tx
from moorage.db.tables import event, outbox
from moorage.registry.errors import QuotaExceeded
from moorage.registry.events import SYSTEM, record

WARNING: Final = "quota.warning"
EXCEEDED: Final = "quota.exceeded"
AGAIN: Final = 3_600_000_000
"""Microseconds after which the same may be told again."""
MOST: Final = 1000
"""Projects whose refusals wait to be told of at once."""

_RECORDED = Statement(
    select(event.c.id)
    .where(
        event.c.kind == bindparam("kind"),
        event.c.project == bindparam("project"),
        event.c.target == bindparam("target"),
        event.c.at > bindparam("since"),
    )
    .limit(1)
)
# What was told a moment ago waits here for the relay. There is little else in it.
_WAITING = Statement(select(outbox.c.id, outbox.c.body).where(outbox.c.kind == bindparam("kind")).limit(MOST))


async def warn(tx: Tx, project: str, level: int, used: int, limit: int) -> None:
    """Tell that a project's quota is used to *level* percent."""
    await _tell(tx, WARNING, project, f"{project}: {level} %", level=level, used=used, limit=limit)


@dataclass(slots=True)
class Refusals:
    """What quotas kept out of one registry's projects, that this process has not told of."""

    _waiting: dict[str, QuotaExceeded] = field(default_factory=dict)
    _told: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def note(self, project: str, problem: QuotaExceeded) -> None:
        """Note that something did not fit. A project that was told of lately costs one look-up each second."""
        if len(self._waiting) < MOST:
            self._waiting.setdefault(project, problem)

    async def flush(self, db: Database) -> None:
        """Tell of what was noted."""
        if not self._waiting:
            return
        now = db.now()
        self._told = {project: at for project, at in self._told.items() if now - at < AGAIN}
        due = {name: problem for name, problem in self._waiting.items() if name not in self._told}
        if due:
            await db.change(lambda tx: _refused(tx, due))
        self._told |= dict.fromkeys(due, now)
        self._waiting.clear()


async def _refused(tx: Tx, due: dict[str, QuotaExceeded]) -> None:
    for project, problem in due.items():
        facts = {name: problem.detail.get(name) for name in ("limit", "used", "requested")}
        await _tell(tx, EXCEEDED, project, project, bound=problem.detail.get("rule"), **facts)


async def _tell(tx: Tx, kind: str, project: str, target: str, **facts: Any) -> None:
    since = tx.at - AGAIN
    if await tx.one(_RECORDED, kind=kind, project=project, target=target, since=since) is not None:
        return
    if target in {json.loads(row.body).get("target") for row in await tx.all(_WAITING, kind=kind)}:
        return
    await record(tx, kind, SYSTEM, project=project, target=target, **facts)
