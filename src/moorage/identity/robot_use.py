"""When robots were last used: noted in memory, and written down now and then, never on the way of a pull."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, or_, update

from moorage.db import Statement
from moorage.db.tables import robot
from moorage.errors import StorageFull

if TYPE_CHECKING:
    from moorage.db import Database

EVERY: Final = 60_000_000
"""Microseconds: a robot that works all day has its time written once a minute by each process."""
_REMEMBERED: Final = 10_000

_USED = Statement(
    update(robot)
    .where(
        robot.c.id == bindparam("number"),
        or_(robot.c.last_used_at.is_(None), robot.c.last_used_at < bindparam("at")),
    )
    .values(last_used_at=bindparam("at"))
)


@dataclass(slots=True)
class Used:
    """The robots of one registry whose use this process has not written down yet."""

    db: Database
    _seen: dict[int, int] = field(default_factory=dict)
    _written: dict[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._seen)

    def note(self, number: int) -> None:
        """Note that a robot is used."""
        now = self.db.now()
        if self._written.get(number, 0) + EVERY <= now and len(self._seen) < _REMEMBERED:
            self._seen[number] = now

    async def flush(self) -> None:
        """Write down what was noted. Raises Unavailable, and keeps what is left then."""
        while self._seen:
            number, at = next(iter(self._seen.items()))
            # Where there is no room, it is written with the next use.
            with contextlib.suppress(StorageFull):
                await self.db.write(_USED, number=number, at=at)
            self._seen.pop(number, None)
            if len(self._written) >= _REMEMBERED:
                self._written.clear()
            self._written[number] = at
