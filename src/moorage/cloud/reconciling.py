"""Reconciling: whatever a registry's row says should be, is made so, again and again until the row says nothing new.

A round reads the row, ensures all that it says in the cell and in the registry's own rows, and then moves the row on, if it
still is as it was read: else what was ensured may be old, and another round follows. So rounds may be cut anywhere, be
repeated, and run beside each other: the last one to end has ensured the newest row.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, or_, select, update

from moorage.cloud import provisioning, registries, restrictions
from moorage.cloud.catalogue import Catalogue, Plan
from moorage.cloud.destroying import Destroyer, NotYet, StillThere, to_look_at
from moorage.cloud.events import SYSTEM
from moorage.cloud.provisioning import NoPortFree
from moorage.cloud.registries import (
    DELETED,
    DELETING,
    ERROR,
    INSTALLING,
    ON_THE_WAY,
    READY,
    RESTORING,
    SCALING_UP,
    SUSPENDED,
    SUSPENDING,
    Registry,
    Use,
)
from moorage.db import Broken, Database, Failed, Statement, Tx, Vanished, one_of
from moorage.db.platform import cloud_registry
from moorage.errors import Problem, StorageFull, Unavailable
from moorage.identity.keys import MasterKeyWrong
from moorage.identity.passwords import Passwords
from moorage.jobs import Event, Job
from moorage.registry import directory
from moorage.registry.directory import Entry, Suspension, What

LOG = logging.getLogger(__name__)

_FAILURES: Final = (Problem, Broken, Failed, Vanished, StillThere, MasterKeyWrong, OSError)

LATE: Final = 300_000_000
"""Microseconds after which a registry that is still on its way is looked after again, whoever was at it."""
DUE_AT_ONCE: Final = 200
PATIENCE: Final = 120_000_000
"""Microseconds for which what is away may come back before a registry's status says ERROR."""
AGAIN: Final = 60_000_000
"""Microseconds after which a registry in ERROR is tried again."""
LONGEST_ERROR: Final = 500

_as_read = (
    cloud_registry.c.id == bindparam("which"),
    cloud_registry.c.updated_at == bindparam("read_at"),
    cloud_registry.c.status == bindparam("was"),
)
_SETTLE = Statement(
    update(cloud_registry)
    .where(*_as_read)
    .values(
        status=bindparam("status"),
        plan=bindparam("plan"),
        delivered_at=bindparam("delivered_at"),
        deleted_at=bindparam("deleted_at"),
        closed_at=bindparam("closed_at"),
        error=bindparam("error"),
        updated_at=bindparam("at"),
    )
)
_FAILED = Statement(
    update(cloud_registry)
    .where(*_as_read)
    .values(status=ERROR, error=bindparam("error"), updated_at=bindparam("at"))
)
_PLACED = Statement(
    update(cloud_registry)
    .where(cloud_registry.c.id == bindparam("which"))
    .values(entry_uuid=bindparam("entry"), url=bindparam("url"))
)
_SIZED = Statement(
    update(cloud_registry)
    .where(cloud_registry.c.entry_uuid == bindparam("entry"))
    .values(size=bindparam("size"))
)
_DUE = Statement(
    select(cloud_registry.c.id)
    .where(
        cloud_registry.c.destroyed_at.is_(None),
        or_(
            (cloud_registry.c.delete_after <= bindparam("now")) & (cloud_registry.c.status != ERROR),
            one_of(cloud_registry.c.status, "on_the_way")
            & (cloud_registry.c.updated_at <= bindparam("before")),
            (cloud_registry.c.status == ERROR) & (cloud_registry.c.updated_at <= bindparam("failed_before")),
        ),
    )
    .order_by(cloud_registry.c.updated_at)
    .limit(DUE_AT_ONCE)
)
_BOUND = Statement(select(cloud_registry.c.size).where(cloud_registry.c.entry_uuid == bindparam("entry")))


@dataclass(frozen=True, slots=True)
class Reconcile(Job):
    """Bring one registry to what its row says it should be."""

    registry: str

    @classmethod
    def of(cls, event: Event) -> Reconcile:
        """Promise it for the registry that an event is about."""
        return cls(event.registry)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A TLS certificate that registries are reached with; times are microseconds."""

    subject: str
    issuer: str
    serial: str
    sha256: str
    not_before: int
    not_after: int


def _no_certificate() -> Certificate | None:
    return None


@dataclass(frozen=True, slots=True)
class Site:
    """Where registries are made: a cell, what opens a registry's rows there, and what its address is."""

    cell: Database
    open_database: Callable[[Entry], Awaitable[Database]]
    address: Callable[[Entry], str]
    first_port: int
    zone: str
    is_free: Callable[[int], bool] = lambda _: True
    """Whether a registry could listen on a port of this machine."""
    parallel: Callable[[Entry], int | None] = lambda _: None
    """How many requests are under way at a registry now; None where that cannot be told."""
    certificate: Callable[[], Certificate | None] = _no_certificate
    """The certificate of this process as it is now; None where it does not speak TLS itself."""


@dataclass(slots=True)
class Reconciler:
    """Does it."""

    platform: Database
    catalogue: Catalogue
    site: Site
    passwords: Passwords
    destroyer: Destroyer

    async def reconcile(self, job: Reconcile) -> bool:
        """Do one round for a registry; say whether there is another.

        What fails is raised, for the job to try again, until it is time to say in the row that it does.
        """
        found = await registries.find(self.platform, job.registry)
        if found is None:
            return False
        try:
            for step in self.steps(found):
                if not await self.run(step, found):
                    return True
        except NotYet as waits:
            LOG.debug("a registry's end waits: %s", waits, extra={"registry": found.id})
            # The sweep comes again.
            return False
        except _FAILURES as failure:
            if await self.gives_up(found, failure):
                return False
            raise
        return not await self.is_settled(found)

    async def gives_up(self, found: Registry, failure: Exception) -> bool:
        """Have the row say ERROR, and why, unless it may still come right by itself; it is tried again later all the same."""
        at_once = not isinstance(failure, Unavailable) or isinstance(failure, StorageFull | NoPortFree)
        waited = self.platform.now() - found.updated_at
        under_way = found.status in {*ON_THE_WAY, ERROR} or found.deleted_at is not None
        if not under_way or (found.status != ERROR and not at_once and waited < PATIENCE):
            return False
        LOG.error(
            "a registry waits for somebody: %s", failure, extra={"registry": found.id, "status": found.status}
        )
        # What keeps rows and bytes away is the operator's to read, in the log, where a customer sees the row.
        hidden = isinstance(failure, Unavailable) and found.deleted_at is None
        told = (failure.summary if isinstance(failure, Unavailable) and hidden else str(failure))[
            :LONGEST_ERROR
        ]

        async def work(tx: Tx) -> None:
            at = max(tx.at, found.updated_at + 1)
            changed = await tx.run(
                _FAILED, which=found.id, read_at=found.updated_at, was=found.status, error=told, at=at
            )
            if changed and found.status != ERROR:
                await registries.note(tx, "registry.failed", found, SYSTEM, plan=found.plan, was=found.status)

        await self.platform.change(work)
        return True

    def steps(self, found: Registry) -> list[Callable[[Registry], Awaitable[bool]]]:
        """List what is ensured for a row, in order. A step that says no has changed the row: the rest is for another round."""
        if found.deleted_at is not None:
            return self.destroyer.steps(found)
        if found.wanted == DELETED:
            return [self.close, self.settle_closed]
        if found.wanted == SUSPENDED:
            return [self.restrict, self.suspend, self.settle_suspended]
        return [self.place, self.fill, self.limit, self.restrict, self.open, self.settle_open]

    async def run(self, step: Callable[[Registry], Awaitable[bool]], found: Registry) -> bool:
        """Do one step."""
        return await step(found)

    async def place(self, found: Registry) -> bool:
        """Ensure its place in the cell's directory, where it serves nobody yet."""
        if found.entry_uuid is not None:
            return True
        site, plan = self.site, self.catalogue.plan(found.plan)
        made = await provisioning.place(
            site.cell,
            found.place_name,
            plan.grants,
            first_port=site.first_port,
            zone=site.zone,
            state=provisioning.INSTALLING,
            is_free=site.is_free,
        )
        await self.platform.write(_PLACED, which=found.id, entry=made.uuid, url=site.address(made))
        return True

    async def fill(self, found: Registry) -> bool:
        """Ensure its first rows. Nobody is told its administrator's password: customers make users through the API."""
        if found.delivered_at is None:
            entry = await self.entry(found)
            db = await self.site.open_database(entry)
            try:
                plan = self.catalogue.plan(found.plan)
                await provisioning.ensure_content(db, self.passwords, plan.grants, creates_projects=False)
            finally:
                await db.close()
        return True

    async def limit(self, found: Registry) -> bool:
        """Ensure the plan's limits, first in the registry's rows and then in the directory.

        Whether the content still fits is asked in the same change that sets the limit, so no push comes between. If it does
        not, the row goes back to the plan that is in force.
        """
        plan = self.catalogue.plan(found.plan)
        entry = await self.entry(found)
        db = await self.site.open_database(entry)
        try:
            fits = await provisioning.limit_content(db, plan.grants)
            if not fits:
                await self.keep_plan(found, entry, await stored(db), plan)
                return False
        finally:
            await db.close()
        await provisioning.limit(self.site.cell, entry.id, plan.grants)
        return True

    async def restrict(self, found: Registry) -> bool:
        """Ensure that it may be used from where its owner says, and from nowhere else."""
        await restrictions.carry_out(self.platform, self.site.cell, found.id, (await self.entry(found)).uuid)
        return True

    async def open(self, found: Registry) -> bool:
        """Ensure that it serves."""
        await provisioning.set_state(self.site.cell, (await self.entry(found)).id, directory.READY)
        return True

    async def suspend(self, found: Registry) -> bool:
        """Ensure that what the provider has suspended is refused, and why; the registry plane follows within a second."""
        state = str(Suspension(What(found.suspension), found.suspended_for))
        await provisioning.set_state(self.site.cell, (await self.entry(found)).id, state)
        return True

    async def settle_suspended(self, found: Registry) -> bool:
        """Move the row on to SUSPENDED."""
        if found.status not in {SUSPENDING, RESTORING, ERROR}:
            return True
        return await self.platform.change(
            lambda tx: self._settle(
                tx, found, "registry.suspended", SUSPENDED, delivered_at=found.delivered_at
            )
        )

    async def settle_open(self, found: Registry) -> bool:
        """Move the row on to READY."""
        kinds = {
            INSTALLING: "registry.delivered",
            SCALING_UP: "registry.plan-changed",
            RESTORING: "registry.restored",
            ERROR: "registry.recovered" if found.delivered_at is not None else "registry.delivered",
        }
        if found.status not in kinds:
            return True

        async def work(tx: Tx) -> bool:
            delivered = found.delivered_at or tx.at
            return await self._settle(tx, found, kinds[found.status], READY, delivered_at=delivered)

        return await self.platform.change(work)

    async def close(self, found: Registry) -> bool:
        """Ensure that it serves nobody; after its grace it leaves the directory, and its port is never another's."""
        # It may never have been placed, or be placed only now by a round that began before the deletion.
        entry = await provisioning.find(self.site.cell, await self._called(found))
        if entry is not None:
            if found.entry_uuid is None:
                await self.platform.write(
                    _PLACED, which=found.id, entry=entry.uuid, url=self.site.address(entry)
                )
            await provisioning.set_state(self.site.cell, entry.id, provisioning.CLOSED)
            if self._is_over(found):
                await provisioning.leave(self.site.cell, entry.id)
        return True

    async def settle_closed(self, found: Registry) -> bool:
        """Move the row on to DELETED, and past its grace out of the customer's sight."""
        if found.status in {DELETING, ERROR}:
            return await self.platform.change(
                lambda tx: self._settle(
                    tx, found, "registry.deleted", DELETED, delivered_at=found.delivered_at, closed_at=tx.at
                )
            )
        if self._is_over(found):

            async def work(tx: Tx) -> bool:
                return await self._settle(
                    tx,
                    found,
                    "registry.grace-over",
                    DELETED,
                    delivered_at=found.delivered_at,
                    deleted_at=tx.at,
                    closed_at=found.closed_at,
                )

            return await self.platform.change(work)
        return True

    async def keep_plan(self, found: Registry, entry: Entry, use: Use, wanted: Plan) -> None:
        """Go back to the plan that is in force, and say why: the content outgrew the wanted one meanwhile."""
        kept = self.catalogue.granting(entry.plan)
        left = registries.misfits(use, wanted)

        async def work(tx: Tx) -> None:
            row = {
                "which": found.id,
                "read_at": found.updated_at,
                "was": found.status,
                "at": found.updated_at + 1,
            }
            changed = await tx.run(
                _SETTLE, **row, status=READY, plan=kept.id, delivered_at=found.delivered_at, deleted_at=None, closed_at=None,
                error=f"the plan stays {kept.name}: what the registry holds does not fit into {wanted.name}",
            )  # fmt: skip
            if changed:
                await registries.note(tx, "registry.plan-refused", found, SYSTEM, plan=wanted.id, left=left)

        await self.platform.change(work)

    async def is_settled(self, found: Registry) -> bool:
        """Tell whether the row still is what was ensured just now."""
        now = await registries.find(self.platform, found.id)
        if now is None or now.status in ON_THE_WAY:
            return False
        moved = (now.wanted, now.plan) != (found.wanted, found.plan) or now.updated_at != found.updated_at
        return not moved

    async def entry(self, found: Registry) -> Entry:
        """Give its place in the directory."""
        entry = await provisioning.find(self.site.cell, await self._called(found))
        if entry is None:
            raise Vanished(f"registry {found.id} has no place in its cell's directory")
        return entry

    async def _called(self, found: Registry) -> str:
        """Give its name in the directory: its id, or the name that whoever runs the house gave it there."""
        if found.entry_uuid is None:
            return found.place_name
        return await provisioning.name_of(self.site.cell, found.entry_uuid) or found.id

    def _is_over(self, found: Registry) -> bool:
        return found.delete_after is not None and found.delete_after <= self.platform.now()

    async def _settle(
        self, tx: Tx, found: Registry, kind: str, status: str, *,
        delivered_at: int | None, deleted_at: int | None = None, closed_at: int | None = None,
    ) -> bool:  # fmt: skip
        changed = await tx.run(
            _SETTLE, which=found.id, read_at=found.updated_at, was=found.status, status=status, plan=found.plan,
            delivered_at=delivered_at, deleted_at=deleted_at, closed_at=closed_at, error="", at=max(tx.at, found.updated_at + 1),
        )  # fmt: skip
        if changed:
            await registries.note(tx, kind, found, SYSTEM, plan=found.plan)
        return bool(changed)


async def stored(db: Database) -> Use:
    """Tell what a registry's rows say is stored, and what is in its trash."""
    held, trash = await provisioning.held(db)
    return Use(held, trash=trash)


async def due(platform: Database) -> list[Reconcile]:
    """List what is to be looked after though no event says so: graces that ended, what is late, what failed, what was destroyed."""
    now = platform.now()
    rows = await platform.all(
        _DUE, now=now, before=now - LATE, failed_before=now - AGAIN, on_the_way=ON_THE_WAY
    )
    return [Reconcile(id_) for id_ in [row.id for row in rows] + await to_look_at(platform, DUE_AT_ONCE)]


async def note_size(platform: Database, entry_uuid: str, size: int) -> None:
    """Keep what a registry stores beside its row, for lists of many."""
    found = await platform.one(_BOUND, entry=entry_uuid)
    if found is not None and found.size != size:
        await platform.write(_SIZED, entry=entry_uuid, size=size)
