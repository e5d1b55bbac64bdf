"""Collection: what nothing needs any more goes, while pushes and pulls go on.

Each step is a turn of few rows and holds nothing between turns, so any number of workers may run it at once. What
is due stands in columns that the changes themselves write (``expires_at``, ``deleted_at``, ``review_at``,
``destroy_at``), so a crash loses nothing. Rows go first; their bytes follow when no restore can ask for them.
"""

from collections import defaultdict
from dataclasses import astuple, dataclass
from typing import Any, Self

from sqlalchemy import bindparam, delete, select, update

from moorage.db import Database, Statement, Tx, Vanished
from moorage.db.tables import (
    manifest,
    manifest_blob,
    manifest_child,
    manifest_label,
    pull_stat,
    registry,
    repository,
    repository_blob,
    tag,
)
from moorage.oci.digests import Digest
from moorage.registry import dooming, events, links, robot_warnings, sinking, uploads
from moorage.registry.events import SYSTEM, record
from moorage.registry.quotas import Account, Place
from moorage.storage import BlobStore

STEP = 50

_SET_LEASE = Statement(
    update(registry).where(registry.c.lease != bindparam("lease")).values(lease=bindparam("lease"))
)
_WINDOWS = Statement(select(registry.c.clock, registry.c.lease, registry.c.trash_window))
_TRASHED = Statement(
    select(
        manifest.c.id,
        manifest.c.repository_id,
        repository.c.project_id,
        repository.c.name,
        manifest.c.digest,
        manifest.c.size,
    )
    .select_from(manifest.join(repository, repository.c.id == manifest.c.repository_id))
    .where(manifest.c.deleted_at <= bindparam("before"))
    .order_by(manifest.c.deleted_at)
    .limit(bindparam("most"))
)
_BLOBS_OF = Statement(
    select(manifest_blob.c.blob_id).where(manifest_blob.c.manifest_id == bindparam("manifest"))
)
_FORGET = tuple(
    Statement(delete(table).where(column == bindparam("manifest")))
    for table, column in (
        (tag, tag.c.manifest_id),
        (manifest_label, manifest_label.c.manifest_id),
        (manifest_blob, manifest_blob.c.manifest_id),
        (manifest_child, manifest_child.c.parent_id),
        (pull_stat, pull_stat.c.manifest_id),
        (manifest, manifest.c.id),
    )
)
_DUE = Statement(
    select(
        repository_blob.c.repository_id,
        repository_blob.c.blob_id,
        repository_blob.c.held,
        repository.c.project_id,
    )
    .select_from(repository_blob.join(repository, repository.c.id == repository_blob.c.repository_id))
    .where(repository_blob.c.review_at <= bindparam("at"))
    .order_by(repository_blob.c.review_at)
    .limit(bindparam("most"))
)
_OLD_TAGS = Statement(
    delete(tag).where(
        tag.c.id.in_(
            select(tag.c.id)
            .where(tag.c.end_at <= bindparam("before"))
            .order_by(tag.c.end_at)
            .limit(bindparam("most"))
        )
    )
)
_ANY_OLD_TAG = Statement(select(tag.c.id).where(tag.c.end_at <= bindparam("before")).limit(1))


@dataclass(frozen=True, slots=True)
class Collected:
    """What one round of collection did."""

    uploads: int = 0
    manifests: int = 0
    links: int = 0
    tags: int = 0
    destroyed: int = 0
    events: int = 0

    def __bool__(self) -> bool:
        return any(astuple(self))

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things are kept, in microseconds.

    ``lease`` is how long a blob that no manifest names is promised; ``longest_request`` how long after its end an
    upload might still be written to; ``margin`` how far clocks may differ; ``events`` how long the record is kept.
    """

    lease: int
    longest_request: int
    margin: int
    events: int


async def tend(db: Database, store: BlobStore, terms: Terms) -> Collected:
    """Do one round of collection on these terms, and drop what of the record is old. Repeat while it did something.

    Robots that are about to expire are told of by the way.

    Where nothing is due, nothing is written: of many registries most are quiet, and stay as they are.
    """
    if (await _windows(db)).lease != terms.lease:
        await db.write(_SET_LEASE, lease=terms.lease)
    await robot_warnings.warn(db)
    dropped = await events.drop_old(db, db.now() - terms.events)
    done = await collect(db, store, longest_request=terms.longest_request, margin=terms.margin)
    return done + Collected(events=dropped)


async def collect(db: Database, store: BlobStore, *, longest_request: int, margin: int) -> Collected:
    """Do one round: at most a step of each kind. Repeat while it did something.

    *longest_request* is how long after its end an upload might still be written to, *margin* how far clocks may
    differ; both in microseconds.
    """
    await sinking.finish(db)
    windows = await _windows(db)
    # What is due at the next turn's stamp, or later; it is chosen anew inside the turn that decides.
    at = max(db.now(), windows.clock + 1)
    before = at - max(windows.trash_window, windows.lease)
    expired = purged = reviewed = forgotten = 0
    if await uploads.has_expired(db, at):
        expired = await db.change(lambda tx: uploads.expire(tx, STEP, appends=store.appends))
    if await db.all(_TRASHED, before=before, most=1):
        purged = await db.change(purge)
    if await db.all(_DUE, at=at, most=1):
        reviewed = await db.change(review)
    if await db.one(_ANY_OLD_TAG, before=before):
        forgotten = await db.change(forget_history)
    destroyed = await dooming.destroy(db, store, margin=margin, longest_request=longest_request)
    return Collected(expired, purged, reviewed, forgotten, destroyed)


async def _windows(db: Database) -> Any:
    found = await db.one(_WINDOWS)
    if found is None:
        raise Vanished("the registry has no row any more")
    return found


async def purge(tx: Tx) -> int:
    """Take trash older than the window out of the database; links that nothing names get a last lease.

    Trash younger than a lease is never purged: a client may have been promised what it holds.
    """
    windows = await tx.one(_WINDOWS)
    before = tx.at - max(windows.trash_window, windows.lease)
    rows = await tx.all(_TRASHED, before=before, most=STEP)
    for row in rows:
        account = Account(tx, row.project_id)
        blobs = [one.blob_id for one in await tx.all(_BLOBS_OF, manifest=row.id)]
        for statement in _FORGET:
            await tx.run(statement, manifest=row.id)
        await links.grace(tx, row.repository_id, blobs)
        account.body(row.size, Place.TRASH, Place.ABSENT)
        await account.settle()
        digest = str(Digest.from_raw(row.digest))
        await record(tx, "manifest.purge", SYSTEM, repository=row.name, digest=digest)
    return len(rows)


async def review(tx: Tx) -> int:
    """Decide on links whose lease is over; they are chosen inside the turn that decides."""
    rows = await tx.all(_DUE, at=tx.at, most=STEP)
    by_project = defaultdict(list)
    for row in rows:
        by_project[row.project_id].append(row)
    for project_id, due in by_project.items():
        account = Account(tx, project_id)
        for row in due:
            await links.review(tx, account, row.repository_id, row.blob_id, held=bool(row.held))
        await account.settle()
    return len(rows)


async def forget_history(tx: Tx) -> int:
    """Drop ends of tags older than the window that a restore may reach back."""
    windows = await tx.one(_WINDOWS)
    return await tx.run(_OLD_TAGS, before=tx.at - max(windows.trash_window, windows.lease), most=STEP)
