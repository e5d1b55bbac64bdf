"""Alerts: whoever runs a registry is told once when its storage is used to 80, 90 and 100 %, and when its trash is large.

A level that was told is told again only after use has fallen well below it: a registry that hovers about a level tells
nobody each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from sqlalchemy import bindparam, select, update

from moorage.cloud import events, letters, mails, registries
from moorage.cloud.events import SYSTEM
from moorage.cloud.letters import Letter, StorageAlert
from moorage.cloud.members import Role
from moorage.db import Database, Reader, Statement, Tx, insert, one_of
from moorage.db.platform import cloud_member, cloud_registry, login, storage_alert
from moorage.outbound.mail import is_address
from moorage.registry.quotas import WARN_AT

KIND: Final = "registry.storage-alert"
TRASH: Final = "registry.trash-alert"
CALM: Final = 5
"""Percent that use must fall below a level before it is told again."""

_BOUND = Statement(select(cloud_registry.c.id).where(cloud_registry.c.entry_uuid == bindparam("entry")))
_LEVEL = Statement(
    select(storage_alert.c.level, storage_alert.c.trash).where(
        storage_alert.c.cloud_registry_id == bindparam("which")
    )
)
_BEGIN = Statement(
    insert(storage_alert)
    .values(cloud_registry_id=bindparam("which"), level=0, at=bindparam("at"))
    .on_conflict_do_nothing(index_elements=[storage_alert.c.cloud_registry_id])
)
_MOVE = Statement(
    update(storage_alert)
    .where(storage_alert.c.cloud_registry_id == bindparam("which"), storage_alert.c.level == bindparam("was"))
    .values(level=bindparam("level"), at=bindparam("at"))
)
_MOVE_TRASH = Statement(
    update(storage_alert)
    .where(storage_alert.c.cloud_registry_id == bindparam("which"), storage_alert.c.trash == bindparam("was"))
    .values(trash=bindparam("level"), at=bindparam("at"))
)
_TOLD = Statement(
    select(login.c.email)
    .join_from(cloud_member, login, login.c.id == cloud_member.c.login_id)
    .where(
        cloud_member.c.cloud_project_id == bindparam("cloud_project"),
        one_of(cloud_member.c.role, "roles"),
        login.c.disabled == 0,
    )
)


def level(used: int, limit: int, before: int, steps: Sequence[int] = WARN_AT) -> int:
    """Give the level that use has reached, of some *steps*, or has not yet fallen below far enough."""
    if limit <= 0:
        return 0
    reached = max((step for step in steps if used * 100 >= limit * step), default=0)
    held = max((step for step in steps if step <= before and used * 100 >= limit * (step - CALM)), default=0)
    return max(reached, held)


@dataclass(frozen=True, slots=True)
class _Alert:
    """What is told, how it is noted, and how it is written."""

    move: Statement
    kind: str
    letter: Callable[[StorageAlert, str], Letter]
    used: int
    limit: int


@dataclass(slots=True)
class Alerts:
    """Who looks: *language* is what mails are written in, *trash_at* the percent of its storage at which trash is told of."""

    platform: Database
    language: str
    trash_at: int = 0
    _known: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def look(self, entry_uuid: str, used: int, limit: int, trash: int = 0) -> bool:
        """See what a registry stores now; say whether anybody is told. Mostly it asks nothing."""
        known = self._known.get(entry_uuid)
        if known is not None and self._levels(used, limit, trash, known) == known:
            return False
        found = await self.platform.one(_BOUND, entry=entry_uuid)
        if found is None:
            return False
        row = await self.platform.one(_LEVEL, which=found.id)
        before = (0, 0) if row is None else (row.level, row.trash)
        now = self._known[entry_uuid] = self._levels(used, limit, trash, before)
        if now == before:
            return False
        seen = ((_MOVE, KIND, letters.storage_alert, used), (_MOVE_TRASH, TRASH, letters.trash_alert, trash))
        told = False
        for was, level_, (move, kind, letter, bytes_) in zip(before, now, seen, strict=True):
            if was != level_:
                alert = _Alert(move, kind, letter, bytes_, limit)
                told |= await self.platform.change(
                    partial(self._move, which=found.id, was=was, now=level_, alert=alert)
                )
        return told

    def _levels(self, used: int, limit: int, trash: int, before: tuple[int, int]) -> tuple[int, int]:
        steps = (self.trash_at,) if self.trash_at else ()
        return level(used, limit, before[0]), level(trash, limit, before[1], steps)

    async def _move(self, tx: Tx, *, which: str, was: int, now: int, alert: _Alert) -> bool:
        await tx.run(_BEGIN, which=which, at=tx.at)
        # Of several workers that see it, one changes the row.
        if not await tx.run(alert.move, which=which, was=was, level=now, at=tx.at) or now < was:
            return False
        found = await registries.find(tx, which)
        if found is None:
            return False
        event = await events.record(
            tx, alert.kind, SYSTEM, target=found.id, account=found.account_id, cloud_project=found.cloud_project_id,
            name=found.name, level=now, used=alert.used, limit=alert.limit,
        )  # fmt: skip
        letter = alert.letter(
            StorageAlert(found.name, found.url, now, alert.used, alert.limit), self.language
        )
        for address in await told(tx, found.cloud_project_id):
            await mails.enqueue(tx, event, address, self.language, letter)
        return True


async def told(reader: Reader, cloud_project: str) -> list[str]:
    """List the addresses of those who own or administer a cloud project."""
    rows = await reader.all(
        _TOLD, cloud_project=cloud_project, roles=[Role.OWNER.value, Role.ADMINISTRATOR.value]
    )
    return sorted({row.email for row in rows if is_address(row.email)})
