"""The provider stops a registry's pulls, or its pushes alone, and lets them go on: the row says what, reconciling does it.

Only the provider suspends and resumes. A customer who deletes a suspended registry and takes that back has it suspended still.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, or_, select, update

from moorage.cloud import provisioning, registries
from moorage.cloud.errors import NotReady, RegistryUnknown
from moorage.cloud.events import Origin
from moorage.cloud.registries import (
    ERROR,
    READY,
    RESTORING,
    RESUME_ASKED,
    SUSPEND_ASKED,
    SUSPENDED,
    SUSPENDING,
    Registry,
)
from moorage.db import Database, Reader, Statement, Tx
from moorage.db.platform import cloud_registry
from moorage.errors import Problem
from moorage.registry.directory import Entry, Suspension, What

LONGEST_REASON: Final = 200

_ROW = Statement(
    select(cloud_registry.c.id)
    .where(or_(cloud_registry.c.id == bindparam("named"), cloud_registry.c.entry_uuid == bindparam("entry")))
    .limit(1)
)
_SUSPEND = Statement(
    update(cloud_registry)
    .where(cloud_registry.c.id == bindparam("which"))
    .values(
        wanted=bindparam("wanted"), status=bindparam("status"), suspension=bindparam("what"),
        suspended_for=bindparam("reason"), error="", updated_at=bindparam("at"),
    )
)  # fmt: skip


class ReasonInvalid(Problem):
    """The reason of a suspension is shown to whoever is refused, so it is a short line of text."""

    code, status, summary = "BAD_REQUEST", 400, "a suspension needs a reason, in a short line of text"


def checked(what: What, reason: str) -> Suspension:
    """Give a suspension, or raise ReasonInvalid."""
    line = " ".join(reason.split())
    if not line or len(line) > LONGEST_REASON or not line.isprintable():
        raise ReasonInvalid(
            f"reason: must be a line of 1 to {LONGEST_REASON} characters, not {reason[:80]!r}", field="reason"
        )
    return Suspension(what, line)


async def suspend(tx: Tx, registry: str, suspension: Suspension, origin: Origin) -> Registry:
    """Ask that a registry be suspended so, or otherwise than it is; raise RegistryUnknown or NotReady."""
    found = await _find(tx, registry)
    if (found.wanted, found.suspension, found.suspended_for) == (
        SUSPENDED,
        suspension.what,
        suspension.reason,
    ):
        return found
    ready = found.status in {READY, SUSPENDED} or (found.status == ERROR and found.delivered_at is not None)
    if not ready or found.wanted == registries.DELETED:
        raise registries.not_ready(found, "suspend it", READY, SUSPENDED)
    await _put(tx, found, SUSPENDED, SUSPENDING, suspension)
    await registries.note(
        tx, SUSPEND_ASKED, found, origin, what=str(suspension.what), reason=suspension.reason
    )
    return await _find(tx, registry)


async def resume(tx: Tx, registry: str, origin: Origin) -> Registry:
    """Ask that a registry serve again; raise RegistryUnknown, or NotReady for one that is not suspended."""
    found = await _find(tx, registry)
    if not found.suspension:
        raise NotReady(f"the registry is {found.status}, and not suspended", status=found.status)
    deleted = found.wanted == registries.DELETED
    if not deleted and found.status not in {SUSPENDED, SUSPENDING, ERROR}:
        raise registries.not_ready(found, "resume it", SUSPENDED)
    if deleted:
        # It stays deleted; should that be taken back, it serves.
        await _put(tx, found, found.wanted, found.status, None)
    else:
        await _put(tx, found, READY, RESTORING, None)
    await registries.note(tx, RESUME_ASKED, found, origin)
    return await _find(tx, registry)


async def named(platform: Reader, cell: Database, name: str) -> tuple[str | None, Entry | None]:
    """Find a registry by its id, or by its name or uuid in the directory: its id on the platform and its entry, if any."""
    entries = await provisioning.listed(cell)
    entry = next((one for one in entries if name in {one.name, one.uuid}), None)
    row = await platform.one(_ROW, named=name, entry=None if entry is None else entry.uuid)
    return (None if row is None else str(row.id)), entry


async def _find(tx: Tx, registry: str) -> Registry:
    found = await registries.find(tx, registry)
    if found is None or found.deleted_at is not None:
        raise RegistryUnknown(registry=registry[:80])
    return found


async def _put(tx: Tx, found: Registry, wanted: str, status: str, suspension: Suspension | None) -> None:
    await tx.run(
        _SUSPEND, which=found.id, wanted=wanted, status=status, at=max(tx.at, found.updated_at + 1),
        what="" if suspension is None else str(suspension.what), reason="" if suspension is None else suspension.reason,
    )  # fmt: skip
