"""How much each registry is asked, and how much it takes and gives: counted in memory, and written down in batches.

A process writes all that it has counted in an hour, in a row of its own for each registry. Writing it again changes
nothing, so nothing is counted twice whatever became of the answer to a first try; and what cannot be written waits.
A process that is killed takes what it counted since it last wrote with it.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import bindparam

from moorage.db import Broken, Database, Failed, Reader, Statement, insert, schema
from moorage.db.cell import TRAFFIC, traffic
from moorage.errors import Unavailable

LOG = logging.getLogger(__name__)

HOUR: Final = 3_600_000_000
"""An hour in microseconds."""
KEPT_FROM: Final = "0002"
HOURS: Final = 24
"""Of so many hours counts wait for a database that is away."""

Counts = tuple[int, ...]

_put = insert(traffic).values(
    hour=bindparam("hour"),
    entry_uuid=bindparam("entry"),
    source=bindparam("source"),
    writes=1,
    **{name: bindparam(name) for name in TRAFFIC},
)
_PUT = Statement(
    _put.on_conflict_do_update(
        index_elements=[traffic.c.hour, traffic.c.entry_uuid, traffic.c.source],
        set_={"writes": traffic.c.writes + 1, **{name: _put.excluded[name] for name in TRAFFIC}},
    )
)


@dataclass(slots=True)
class Traffic:
    """What one process counted of one registry in the hour that runs. Whoever answers a request adds to it."""

    manifest_pulls: int = 0
    blob_pulls: int = 0
    pushes: int = 0
    others: int = 0
    refusals: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    @property
    def counts(self) -> Counts:
        """Give all of it, in the table's order."""
        return tuple(getattr(self, name) for name in TRAFFIC)

    def take(self) -> Counts:
        """Give all of it, and begin again."""
        taken = self.counts
        for name in TRAFFIC:
            setattr(self, name, 0)
        return taken


async def is_kept(cell: Reader) -> bool:
    """Say whether a cell's schema has a place for what is counted: one of the release before has none."""
    return await schema.has(cell, KEPT_FROM)


@dataclass(slots=True)
class Meter:
    """What one process counts of every registry that it serves."""

    cell: Database
    source: str = field(default_factory=lambda: uuid.uuid4().hex)
    _hour: int = 0
    _running: dict[str, Traffic] = field(default_factory=dict)
    _written: dict[str, Counts] = field(default_factory=dict)
    _waiting: dict[tuple[int, str], Counts] = field(default_factory=dict)
    # Whether the cell's schema has a place for it: once it has, it never again has none.
    _is_kept: bool = False

    def of(self, entry_uuid: str) -> Traffic:
        """Give where a registry is counted, the same however often it is opened."""
        found = self._running.get(entry_uuid)
        if found is None:
            found = self._running[entry_uuid] = Traffic()
        return found

    async def tend(self, interval: float) -> None:
        """Write down what was counted, at this interval. Until cancelled."""
        while True:
            await asyncio.sleep(interval)
            await self.write_down()

    async def write_down(self) -> None:
        """Write down what was counted; what cannot be written waits."""
        try:
            await self.flush()
        except Unavailable as problem:
            LOG.warning("counts of traffic wait to be written: %s", problem)
        except (Broken, Failed):
            # A fault of ours, and no reason to stop answering pulls.
            LOG.exception("counts of traffic could not be written")

    async def flush(self) -> int:
        """Write down what has changed, in one change; give how many rows that were. Raises Unavailable, and keeps it then."""
        self._gather()
        self._is_kept = self._is_kept or await is_kept(self.cell)
        if not self._waiting or not self._is_kept:
            return 0
        given = dict(self._waiting)
        rows = [
            {"hour": hour, "entry": entry, "source": self.source, **dict(zip(TRAFFIC, counts, strict=True))}
            for (hour, entry), counts in given.items()
        ]
        await self.cell.record(lambda tx: tx.many(_PUT, rows))
        for (hour, entry), counts in given.items():
            del self._waiting[hour, entry]
            if hour == self._hour:
                self._written[entry] = counts
        return len(rows)

    def _gather(self) -> None:
        now = self.cell.now()
        hour = now - now % HOUR
        if not self._hour:
            self._hour = hour
        if hour > self._hour:
            for entry, running in self._running.items():
                self._wait(entry, running.take())
            self._hour = hour
            self._written.clear()
            self._forget(hour - HOURS * HOUR)
            return
        for entry, running in self._running.items():
            self._wait(entry, running.counts)

    def _wait(self, entry: str, counts: Counts) -> None:
        if any(counts) and counts != self._written.get(entry):
            self._waiting[self._hour, entry] = counts

    def _forget(self, before: int) -> None:
        """Let go of what has waited too long: memory is bounded, whatever the database does."""
        old = [key for key in self._waiting if key[0] < before]
        for key in old:
            del self._waiting[key]
        if old:
            LOG.error(
                "counts of traffic are lost: they could not be written for a day", extra={"rows": len(old)}
            )
