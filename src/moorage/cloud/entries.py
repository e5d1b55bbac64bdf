"""What a grant opens: a robot of the registry, which dies with the grant; and what was done with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, bindparam, or_, select

from moorage.cloud import grants, provisioning, registries
from moorage.cloud.errors import NotReady
from moorage.cloud.events import Origin
from moorage.cloud.grants import ALL, BY_ITSELF, Grant, GrantRefused
from moorage.cloud.operators import Operator
from moorage.cloud.reconciling import Site
from moorage.cloud.registries import Registry
from moorage.db import Database, Statement, Tx, Vanished, insert
from moorage.db.platform import ledger_counted
from moorage.db.tables import event
from moorage.errors import Problem
from moorage.identity import robots
from moorage.identity.accounts import GRANT_PREFIX, ROBOT_PREFIX
from moorage.identity.accounts import Grant as Given
from moorage.identity.callers import Caller
from moorage.identity.robots import NewRobot
from moorage.identity.roles import Permission
from moorage.registry import events as record

LOG = logging.getLogger(__name__)

USED: Final = "grant.used"
MOST: Final = 1000
LATE: Final = 60_000_000
"""Microseconds in which whatever a registry's record tells of has come there."""
_SERVING: Final = frozenset({registries.READY, registries.SCALING_UP})

_USES = Statement(
    select(event)
    .where(
        event.c.actor == bindparam("actor"),
        # So much is sought in the index; what of it was seen before is passed over.
        event.c.at >= bindparam("at"),
        or_(event.c.at > bindparam("at"), and_(event.c.at == bindparam("at"), event.c.id > bindparam("id"))),
    )
    .order_by(event.c.at, event.c.id)
    .limit(MOST)
)
_ONCE = Statement(
    insert(ledger_counted)
    .values(about=bindparam("about"), what=USED, upto=bindparam("at"))
    .on_conflict_do_nothing(index_elements=[ledger_counted.c.about, ledger_counted.c.what])
)
_SINCE = Statement(
    select(ledger_counted.c.upto).where(
        ledger_counted.c.about == bindparam("about"), ledger_counted.c.what == USED
    )
)
_upto = insert(ledger_counted).values(about=bindparam("about"), what=USED, upto=bindparam("at"))
_UPTO = Statement(
    _upto.on_conflict_do_update(
        index_elements=[ledger_counted.c.about, ledger_counted.c.what], set_={"upto": _upto.excluded.upto}
    )
)


@dataclass(frozen=True, slots=True)
class Entries:
    """Where grants open registries."""

    platform: Database
    site: Site

    async def open(self, who: Operator, id_: str) -> NewRobot:
        """Give the operator of a grant in force what they sign in to the registry with; raise GrantRefused or NotReady.

        What was given before for the same grant is void then.
        """
        found = await grants.get(self.platform, id_)
        if found.operator_id != who.id:
            raise GrantRefused("this grant is another operator's")
        found.check_in_force(self.platform.now())
        about = await registries.find(self.platform, found.registry)
        if about is None:
            raise NotReady("the registry is gone")
        db = await self._rows(about)
        try:
            made = await db.change(lambda tx: _robot(tx, found, who.origin))
        finally:
            await db.close()
        try:
            await self.platform.change(lambda tx: grants.note_robot(tx, found, made.id, who.origin))
        except GrantRefused:
            # It was ended meanwhile, by somebody who has found no robot yet.
            await self._remove(found)
            raise
        return made

    async def close(self, found: Grant, origin: Origin) -> Grant:
        """End a grant, and take its robot away: what it has opened is refused within a second."""
        ended = await self.platform.change(lambda tx: grants.end(tx, found, origin))
        gone = await self._remove(ended)
        if ended.robot is None:
            return ended
        await self.note_uses(ended)
        # The registry's own record is written a little after what it tells of; so it is looked into once more.
        over = ended.ended_at is None or self.platform.now() - ended.ended_at > LATE
        if gone and over:
            await grants.note_closed(self.platform, ended)
        return ended

    async def tend(self) -> int:
        """End the grants whose time is over, and tell of what was done with those in force; give how many were ended."""
        left = await grants.left(self.platform, self.platform.now())
        for one in [*await grants.opened(self.platform), *left]:
            try:
                await (self.close(one, BY_ITSELF) if one in left else self.note_uses(one))
            except (Problem, Vanished) as problem:
                # One registry's trouble shall not hold up the others'; its robot expires whoever runs.
                LOG.warning("a grant is looked after later: %s", problem, extra={"grant": one.id})
        return len([one for one in left if one.state != grants.ENDED])

    async def note_uses(self, found: Grant) -> None:
        """Tell of each use of a grant, once: what the registry's own record has of its robot."""
        about = await registries.find(self.platform, found.registry)
        if about is None or not _serves(about):
            return
        db = await self._rows(about)
        try:
            noted = await self.platform.one(_SINCE, about=found.id)
            at, id_ = (found.asked_at if noted is None else noted.upto - LATE), 0
            while rows := await db.all(_USES, at=at, id=id_, actor=robot_name(found)):
                await self.platform.change(lambda tx, rows=rows: _note_uses(tx, found, about, rows))  # type: ignore[misc] # A default is not inferred.
                at, id_ = rows[-1].at, rows[-1].id
        finally:
            await db.close()

    async def _remove(self, found: Grant) -> bool:
        """Take a grant's robot away, whether or not anybody noted it; say whether it is gone for good."""
        about = await registries.find(self.platform, found.registry)
        if about is None or about.deleted_at is not None:
            return True
        if not _serves(about):
            # It opens nothing now; and it is looked for again until it is gone.
            return False
        db = await self._rows(about)
        try:
            await db.change(lambda tx: _gone(tx, found))
        finally:
            await db.close()
        return True

    async def _rows(self, about: Registry) -> Database:
        name = None
        if about.entry_uuid is not None and _serves(about):
            name = await provisioning.name_of(self.site.cell, about.entry_uuid)
        entry = await provisioning.find(self.site.cell, name or "")
        if entry is None:
            raise NotReady(
                f"the registry is {about.status}: it is entered when it is READY", status=about.status
            )
        return await self.site.open_database(entry)


def _serves(about: Registry) -> bool:
    return about.status in _SERVING and about.entry_uuid is not None


async def _note_uses(tx: Tx, found: Grant, about: Registry, rows: Sequence[Any]) -> None:
    for row in rows:
        if await tx.run(_ONCE, about=row.uuid, at=row.at):
            who = Origin(f"operator/{found.operator}", "provider", row.request_id, row.address, row.agent)
            await grants.note(
                tx, USED, found, about, who, did=row.kind, what=row.target, result=row.outcome, denied_by=row.rule,
                used_at=row.at, event=row.uuid,
            )  # fmt: skip
    await tx.run(_UPTO, about=found.id, at=rows[-1].at)


def robot_name(found: Grant) -> str:
    """Name a grant's robot as the registry knows it."""
    return f"{ROBOT_PREFIX}{GRANT_PREFIX}{found.id}"


async def _robot(tx: Tx, found: Grant, origin: Origin) -> NewRobot:
    """Make the robot of a grant, in the place of one that is there."""
    await _gone(tx, found)
    pull = Given(
        "project",
        found.scope if found.scope != ALL else robots.EVERY_PROJECT,
        Permission("repository", "pull"),
    )
    made = await robots.create(
        tx, name=f"{GRANT_PREFIX}{found.id}", owner=None, grants=[pull], creator=Caller("anonymous", 0, origin.actor),
        until=found.until, description=f"a grant of the provider's: {found.reason}"[:255],
    )  # fmt: skip
    await record.record(tx, "grant.open", origin, robot=made.name, reason=found.reason)
    return made


async def _gone(tx: Tx, found: Grant) -> None:
    number = await robots.find(tx, f"{GRANT_PREFIX}{found.id}")
    if number is not None:
        await robots.remove(tx, number)
