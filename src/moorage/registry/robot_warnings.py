"""Warnings that a robot is about to expire: 30, 7 and 1 days ahead, each once, as events.

What was warned of is known by one moment for a whole registry: whatever came due before it was told, or came due before
anybody could be told, as where a robot was made to live shorter than that.
"""

from typing import Any, Final

from sqlalchemy import bindparam, select

from moorage.db import Database, Statement, Tx
from moorage.db.tables import project, robot
from moorage.identity import configuration
from moorage.identity.accounts import GRANT_PREFIX, full_name, robot_prefix
from moorage.registry.events import SYSTEM, record

EXPIRING: Final = "robot.expiring"
AHEAD: Final = (30, 7, 1)
"""Days before a robot expires."""
DAY: Final = 86_400_000_000
TOLD: Final = "robots_warned_at"

_EXPIRING = Statement(
    select(robot.c.id, robot.c.name, robot.c.expires_at, robot.c.created_at, project.c.name.label("project"))
    .select_from(robot.outerjoin(project, project.c.id == robot.c.project_id))
    .where(
        robot.c.deleted_at.is_(None),
        robot.c.disabled == 0,
        robot.c.expires_at > bindparam("now"),
        robot.c.expires_at <= bindparam("latest"),
    )
    .order_by(robot.c.id)
)


async def warn(db: Database) -> int:
    """Warn of the robots that came so near their end since the last warning, and tell how many warnings that was."""
    now = db.now()
    rows = await db.all(_EXPIRING, now=now, latest=now + AHEAD[0] * DAY)
    if not rows or not _due(rows, await _told(db, now), now):
        return 0

    async def work(tx: Tx) -> int:
        # Another worker may have told since.
        due = _due(rows, await _told(tx, now), now)
        prefix = await robot_prefix(tx)
        for row, days in due:
            await record(
                tx, EXPIRING, SYSTEM, target=full_name(row.name, prefix), project=row.project or "",
                robot=row.id, days=days, expires_at=row.expires_at,
            )  # fmt: skip
        if due:
            await configuration.put(tx, {TOLD: str(now)})
        return len(due)

    return await db.change(work)


async def _told(reader: Any, now: int) -> int:
    found = (await configuration.get(reader, TOLD)).get(TOLD)
    return int(found.text) if found is not None else now - DAY


def _due(rows: list[Any], told: int, now: int) -> list[tuple[Any, int]]:
    """Say of which robots to warn, and how many days ahead: of several moments that passed the last one counts."""
    due = []
    for row in rows:
        passed = [days for days in AHEAD if max(told, row.created_at) < row.expires_at - days * DAY <= now]
        # The provider's own are short, and their end is told where they are granted.
        if passed and not row.name.startswith(GRANT_PREFIX):
            due.append((row, min(passed)))
    return due
