"""What is stored, counted exactly: each digest once a project and once a registry, in the turn that changes it."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from sqlalchemy import bindparam, case, delete, func, select, update

from moorage.db import Reader, Statement, Tx, insert
from moorage.db.tables import blob, doomed, project, project_blob, registry, repository, upload
from moorage.registry import quota_events
from moorage.registry.errors import QuotaExceeded

# Percent of a limit at which a push is told.
WARN_AT = (80, 90, 100)


class Place(IntEnum):
    """How some content counts: not at all, as trash, or as used."""

    ABSENT = 0
    TRASH = 1
    USED = 2


def place(links: int, live: int) -> Place:
    """Say how a blob with so many links, so many of them live, counts."""
    return Place.USED if live else Place.TRASH if links else Place.ABSENT


_CHANGE_LINKS = Statement(
    update(project_blob)
    .where(project_blob.c.blob_id == bindparam("blob"), project_blob.c.project_id == bindparam("project"))
    .values(
        links=project_blob.c.links + bindparam("d_links"),
        live_links=project_blob.c.live_links + bindparam("d_live"),
    )
    .returning(project_blob.c.links, project_blob.c.live_links)
)
_ADD_LINKS = Statement(
    insert(project_blob).values(
        blob_id=bindparam("blob"),
        project_id=bindparam("project"),
        links=bindparam("d_links"),
        live_links=bindparam("d_live"),
    )
)
_DROP_LINKS = Statement(
    delete(project_blob).where(
        project_blob.c.blob_id == bindparam("blob"), project_blob.c.project_id == bindparam("project")
    )
)
_CHANGE_BLOB = Statement(
    update(blob)
    .where(blob.c.id == bindparam("blob"))
    .values(
        projects=blob.c.projects + bindparam("d_projects"),
        live_projects=blob.c.live_projects + bindparam("d_live"),
    )
    .returning(blob.c.size, blob.c.key, blob.c.projects, blob.c.live_projects)
)
_DROP_BLOB = Statement(delete(blob).where(blob.c.id == bindparam("blob")))
# The bytes outlive their row by the window that a restore of the database may reach back.
_DOOM = Statement(
    insert(doomed).from_select(
        ["key", "size", "destroy_at", "tries"],
        select(
            bindparam("key", type_=doomed.c.key.type),
            bindparam("size", type_=doomed.c.size.type),
            bindparam("at", type_=doomed.c.destroy_at.type) + registry.c.backup_window,
            bindparam("tries", type_=doomed.c.tries.type),
        ).select_from(registry),
    )
)
_USE_PROJECT = Statement(
    update(project)
    .where(project.c.id == bindparam("project"))
    .values(used=project.c.used + bindparam("d_used"), trash=project.c.trash + bindparam("d_trash"))
    .returning(project.c.name, project.c.used, project.c.limit_bytes)
)
_USE_REGISTRY = Statement(
    update(registry)
    .values(used=registry.c.used + bindparam("d_used"), trash=registry.c.trash + bindparam("d_trash"))
    .returning(registry.c.used, registry.c.limit_bytes)
)
_ROOM = Statement(
    select(
        registry.c.used,
        registry.c.limit_bytes,
        project.c.name,
        project.c.used.label("project_used"),
        project.c.limit_bytes.label("project_limit"),
    ).select_from(registry.join(project, project.c.id == bindparam("project")))
)


_STORED = Statement(select(registry.c.used, registry.c.limit_bytes))
# Those that nobody continues are dropped in time, and few stand at once.
_COMING = Statement(
    select(
        func.coalesce(func.sum(upload.c.received), 0).label("all"),
        func.coalesce(
            func.sum(case((repository.c.project_id == bindparam("project"), upload.c.received), else_=0)), 0
        ).label("here"),
    ).select_from(upload.join(repository, repository.c.id == upload.c.repository_id))
)


@dataclass(slots=True)
class _Delta:
    used: int = 0
    trash: int = 0

    def move(self, size: int, was: Place, now: Place) -> None:
        for where, sign in ((was, -size), (now, size)):
            if where is Place.USED:
                self.used += sign
            elif where is Place.TRASH:
                self.trash += sign


@dataclass(slots=True)
class Account:
    """One turn's changes to what one project and its registry store; ``settle`` it last in the turn."""

    tx: Tx
    project: int
    _project: _Delta = field(default_factory=_Delta)
    _registry: _Delta = field(default_factory=_Delta)

    def body(self, size: int, was: Place, now: Place) -> None:
        """Count a manifest's own bytes, which are stored once for each repository."""
        self._project.move(size, was, now)
        self._registry.move(size, was, now)

    def moved(self, used: int, trash: int) -> None:
        """Count bytes that came from another project, or (less than none) went there: the registry has them all the while."""
        self._project.used += used
        self._project.trash += trash

    async def link(self, blob_id: int, links: int, live: int) -> None:
        """Count links to a blob that came or went, and became live or stopped being so.

        With a blob's last link its row goes, and its bytes are doomed, in the same turn.
        """
        if not links and not live:
            return
        tx = self.tx
        # Updated first and inserted only if new: a check constraint tests the row an upsert proposes, which for a
        # mere change of liveness is impossible.
        changed = await tx.one(_CHANGE_LINKS, blob=blob_id, project=self.project, d_links=links, d_live=live)
        if changed is None:
            await tx.run(_ADD_LINKS, blob=blob_id, project=self.project, d_links=links, d_live=live)
            changed = (links, live)
        now_links, now_live = changed
        was, now = place(now_links - links, now_live - live), place(now_links, now_live)
        if now is Place.ABSENT:
            await tx.run(_DROP_LINKS, blob=blob_id, project=self.project)
        if was is not now:
            await self._project_changed(blob_id, was, now)

    async def _project_changed(self, blob_id: int, was: Place, now: Place) -> None:
        d_projects = (now > Place.ABSENT) - (was > Place.ABSENT)
        d_live = (now is Place.USED) - (was is Place.USED)
        row = await self.tx.one(_CHANGE_BLOB, blob=blob_id, d_projects=d_projects, d_live=d_live)
        self._project.move(row.size, was, now)
        before = place(row.projects - d_projects, row.live_projects - d_live)
        self._registry.move(row.size, before, place(row.projects, row.live_projects))
        if not row.projects:
            await self.tx.run(_DROP_BLOB, blob=blob_id)
            await self.tx.run(_DOOM, key=row.key, size=row.size, at=self.tx.at, tries=0)

    async def settle(self) -> list[str]:
        """Write the sums, or raise QuotaExceeded if what is used grew beyond a limit. Shrinking is never refused.

        Gives a warning for each limit that growing has nearly reached.
        """
        warnings: list[str] = []
        ours, all_ = self._project, self._registry
        if ours.used or ours.trash:
            row = await self.tx.one(_USE_PROJECT, project=self.project, d_used=ours.used, d_trash=ours.trash)
            if ours.used > 0 and row.used > row.limit_bytes >= 0:
                raise _exceeded(f"the quota of project {row.name}", row.used, row.limit_bytes, ours.used)
            warnings += _nearly(f"the quota of project {row.name}", row, ours.used)
            level = _reached(row, ours.used)
            if level:
                await quota_events.warn(self.tx, row.name, level, row.used, row.limit_bytes)
        if all_.used or all_.trash:
            row = await self.tx.one(_USE_REGISTRY, d_used=all_.used, d_trash=all_.trash)
            if all_.used > 0 and row.used > row.limit_bytes >= 0:
                raise _exceeded("the storage of this registry's plan", row.used, row.limit_bytes, all_.used)
            warnings += _nearly("the storage of this registry's plan", row, all_.used)
        return warnings


def _nearly(rule: str, row: Any, grown: int) -> list[str]:
    if grown <= 0 or row.limit_bytes < 0 or row.used * 100 < row.limit_bytes * WARN_AT[0]:
        return []
    reached = max(step for step in WARN_AT if row.used * 100 >= row.limit_bytes * step)
    return [f"{rule} is {reached} % used: {row.used} of {row.limit_bytes} bytes"]


def _reached(row: Any, grown: int) -> int:
    """Give the highest level that growing has reached just now; 0 for none."""
    if grown <= 0 or row.limit_bytes <= 0:
        return 0
    before = row.used - grown
    return max(
        (step for step in WARN_AT if before * 100 < row.limit_bytes * step <= row.used * 100), default=0
    )


@dataclass(frozen=True, slots=True)
class Room:
    """What the tighter of two limits leaves, counting what is stored and every upload on its way."""

    rule: str
    limit: int
    taken: int

    @property
    def left(self) -> int:
        """Give how many bytes still fit."""
        return max(self.limit - self.taken, 0)

    def exceeded(self, more: int) -> QuotaExceeded:
        """Refuse *more* bytes."""
        return _exceeded(f"{self.rule}, with the uploads on their way,", self.taken + more, self.limit, more)


async def room(reader: Reader, project_id: int) -> Room | None:
    """Give the room for one more chunk in a project; None where nothing limits it."""
    row = await reader.one(_ROOM, project=project_id)
    if row.limit_bytes < 0 and row.project_limit < 0:
        return None
    coming = await reader.one(_COMING, project=project_id)
    rooms = [
        Room("the storage of this registry's plan", row.limit_bytes, row.used + coming.all),
        Room(f"the quota of project {row.name}", row.project_limit, row.project_used + coming.here),
    ]
    return min((one for one in rooms if one.limit >= 0), key=lambda one: one.left)


async def expect_room(tx: Tx, project_id: int, size: int) -> None:
    """Refuse early what cannot fit; a courtesy, since the turn that finishes decides."""
    row = await tx.one(_ROOM, project=project_id)
    if row.limit_bytes >= 0 and row.used + size > row.limit_bytes:
        raise _exceeded("the storage of this registry's plan", row.used + size, row.limit_bytes, size)
    if row.project_limit >= 0 and row.project_used + size > row.project_limit:
        raise _exceeded(f"the quota of project {row.name}", row.project_used + size, row.project_limit, size)


def _exceeded(rule: str, would_use: int, limit: int, more: int) -> QuotaExceeded:
    message = (
        f"adding {more} bytes would make {would_use}: "
        f"{rule} will exceed the configured upper limit of {limit} bytes; "
        "delete what is no longer needed or raise the limit. Pulls and deletes go on"
    )
    return QuotaExceeded(message, rule=rule, limit=limit, used=would_use - more, requested=more)


async def stored(reader: Reader) -> tuple[int, int]:
    """Say how much a registry stores, and how much it may (-1: no limit)."""
    row = await reader.one(_STORED)
    return int(row.used), int(row.limit_bytes)
