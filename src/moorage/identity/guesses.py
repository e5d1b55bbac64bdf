"""Wrong passwords, counted by all processes of a house or a fleet together.

A row is named by a hash of what is counted: the lane (an address, or a network) that wrong passwords come from, or the name of the
user that they are for, whether there is one or not. A right password writes nothing, and reads nothing but, at the console,
whether somebody guesses at its user. What is counted here slows, and never refuses a right password: nobody locks anybody out.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import Table, bindparam, case, delete, select, update

from moorage.db import Database, Statement, Tx, insert, schema
from moorage.db.cell import registry_guess
from moorage.errors import Unavailable

LOG = logging.getLogger(__name__)

SECOND: Final = 1_000_000
FORGIVEN_AFTER: Final = 60 * SECOND
"""Microseconds after which a lane's wrong passwords are forgotten."""
CALM_AFTER: Final = 900 * SECOND
"""The same of those for a user."""
GUESSES: Final = 10
"""So many wrong passwords, and those for one user are checked one at a time."""
TURN: Final = SECOND // 2
"""The time from one such check to the next, wherever they are done."""
WAITING: Final = 16
"""So many checks wait for their turn."""
MOST: Final = 10_000
"""How many rows are kept; who guessed longest ago is forgotten first."""
TIDY: Final = 64
KEPT_FROM: Final = "0004"
BATCH: Final = 500


class Statements(NamedTuple):
    """What one of the tables is asked."""

    add: Statement
    find: Statement
    turn: Statement
    drop_old: Statement
    drop_most: Statement


def statements(rows: Table, most: int = MOST) -> Statements:
    """Write what a table is asked, in which *most* rows are kept."""
    put = insert(rows).values(hash=bindparam("which"), count=1, at=bindparam("now"), next_at=0)
    old = select(rows.c.hash).where(rows.c.at < bindparam("before")).order_by(rows.c.at).limit(BATCH)
    over = select(rows.c.hash).order_by(rows.c.at.desc(), rows.c.hash).offset(most).limit(BATCH)
    return Statements(
        add=Statement(
            put.on_conflict_do_update(
                index_elements=[rows.c.hash],
                set_={
                    "count": case((rows.c.at > bindparam("since"), rows.c.count + 1), else_=1),
                    "at": put.excluded.at,
                },
            ).returning(rows.c.count)
        ),
        find=Statement(
            select(rows.c.count).where(rows.c.hash == bindparam("which"), rows.c.at > bindparam("since"))
        ),
        turn=Statement(
            update(rows)
            .where(rows.c.hash == bindparam("which"), rows.c.next_at <= bindparam("latest"))
            .values(
                next_at=case((rows.c.next_at > bindparam("now"), rows.c.next_at), else_=bindparam("now"))
                + TURN
            )
            .returning(rows.c.next_at)
        ),
        drop_old=Statement(delete(rows).where(rows.c.hash.in_(old))),
        drop_most=Statement(delete(rows).where(rows.c.hash.in_(over))),
    )


_ADD, _FIND, _TURN, _DROP_OLD, _DROP_MOST = _OF_REGISTRIES = statements(registry_guess)


@dataclass(slots=True)
class Guesses:
    """Wrong passwords of one *place*, in a database that all its processes share."""

    db: Database
    place: str
    statements: Statements
    kept_from: str = ""
    """The first revision of the cell's schema that has the table: before it each process counts its own."""
    _written: int = 0
    _told: bool = False

    @classmethod
    def of_registries(cls, cell: Database) -> Guesses:
        """Count those of all registries of a cell in its database."""
        return cls(cell, "registries", _OF_REGISTRIES, KEPT_FROM)

    async def failed(self, lane: str) -> int | None:
        """Count a wrong password from a lane, and tell how many came of late; None where that cannot be told now."""
        return await self._count("lane", lane, FORGIVEN_AFTER)

    async def guessed(self, whose: str) -> None:
        """Count a wrong password for a user."""
        await self._count("user", whose, CALM_AFTER)

    async def turn(self, whose: str) -> float | None:
        """Tell how many seconds a check of a user's password has to wait: 0 where nobody guesses, -1 where too many wait.

        None where that cannot be told now.
        """
        which, now = self._hash("user", whose), self.db.now()
        try:
            if not await self._has_table():
                return None
            row = await self.db.one(self.statements.find, which=which, since=now - CALM_AFTER)
            if row is None or row.count < GUESSES:
                return 0.0
            latest = now + (WAITING - 1) * TURN
            given = await self.db.record(
                lambda tx: tx.one(self.statements.turn, which=which, now=now, latest=latest)
            )
        except Unavailable as problem:
            self._lost(problem)
            return None
        return -1.0 if given is None else (given.next_at - now) / SECOND

    async def tidy(self) -> None:
        """Forget who guesses no more, and of too many who did longest ago."""
        while await self.db.write(self.statements.drop_old, before=self.db.now() - CALM_AFTER) >= BATCH:
            pass
        await self.db.write(self.statements.drop_most)

    async def _count(self, kind: str, name: str, window: int) -> int | None:
        which, now = self._hash(kind, name), self.db.now()

        async def work(tx: Tx) -> int:
            row = await tx.one(self.statements.add, which=which, now=now, since=now - window)
            return int(row.count)

        try:
            if not await self._has_table():
                return None
            count = await self.db.record(work)
            self._written += 1
            if self._written % TIDY == 0:
                await self.tidy()
        except Unavailable as problem:
            self._lost(problem)
            return None
        self._told = False
        return count

    async def _has_table(self) -> bool:
        if self.kept_from and await schema.has(self.db, self.kept_from):
            self.kept_from = ""
        return not self.kept_from

    def _lost(self, problem: Unavailable) -> None:
        if not self._told:
            LOG.warning("wrong passwords are counted by each process for now: %s", problem)
        self._told = True

    def _hash(self, kind: str, name: str) -> bytes:
        text = f"{kind}\0{self.place}\0{name}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
