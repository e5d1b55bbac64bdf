"""Blobs of a repository: found, promised, mounted from another, deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, select

from moorage.db import Database, Reader, Statement, Tx, one_of
from moorage.db.tables import blob, manifest, manifest_blob, project, registry, repository, repository_blob
from moorage.oci.digests import Digest
from moorage.oci.errors import BlobUnknown
from moorage.oci.names import RepositoryName
from moorage.registry import links, repositories
from moorage.registry.errors import StillReferenced
from moorage.registry.events import Origin, record
from moorage.registry.projects import LIVE
from moorage.registry.quotas import Account
from moorage.storage import Key

_link = repository_blob.c


def _readable() -> Select[tuple[int, str, int, int, int, int]]:
    return (
        select(blob.c.id, blob.c.key, blob.c.size, _link.repository_id, _link.refs, _link.review_at)
        .select_from(
            repository.join(project, project.c.id == repository.c.project_id)
            .join(repository_blob, _link.repository_id == repository.c.id)
            .join(blob, blob.c.id == _link.blob_id)
        )
        .where(
            repository.c.deleted_at.is_(None),
            repository.c.state == LIVE,
            project.c.state == LIVE,
            (_link.refs > 0) | (_link.held == 1),
            blob.c.digest == bindparam("digest"),
        )
    )


_FIND = Statement(_readable().where(repository.c.name == bindparam("name")))
_FIND_AMONG = Statement(_readable().where(one_of(repository.c.name, "names")).limit(1))
_FIND_ANYWHERE = Statement(_readable().where(one_of(repository.c.project_id, "projects")).limit(1))
_LEASE = Statement(select(registry.c.lease, registry.c.clock))
_NAMED_BY = Statement(
    select(manifest.c.digest)
    .select_from(manifest_blob.join(manifest, manifest.c.id == manifest_blob.c.manifest_id))
    .where(
        manifest_blob.c.repository_id == bindparam("repository"),
        manifest_blob.c.blob_id == bindparam("blob"),
        manifest.c.deleted_at.is_(None),
    )
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that a repository has: how many, and where the store keeps them."""

    id: int
    key: Key
    size: int


async def find(reader: Reader, name: RepositoryName, digest: Digest) -> Blob | None:
    """Find a blob in this repository; None when it has none, whoever else does."""
    row = await reader.one(_FIND, name=name.text, digest=digest.raw)
    return None if row is None else Blob(row.id, Key(row.key), row.size)


async def get(reader: Reader, name: RepositoryName, digest: Digest) -> Blob:
    """Find a blob in this repository, or raise BlobUnknown."""
    found = await find(reader, name, digest)
    if found is None:
        raise _unknown(name, digest)
    return found


async def promise(db: Database, name: RepositoryName, digest: Digest) -> Blob:
    """Find a blob and promise it for half a lease at least, as an answer to HEAD does; else raise BlobUnknown.

    Only a held link past half its lease is written to: a live one has trash and grace before it.
    """
    row = await db.one(_FIND, name=name.text, digest=digest.raw)
    if row is not None and row.refs == 0:
        kept = await db.one(_LEASE)
        # Leases end by the stamps of turns, which are ahead of a clock that was put back.
        if row.review_at < max(db.now(), kept.clock) + kept.lease // 2:
            row = await db.change(lambda tx: _extended(tx, name, digest))
    if row is None:
        raise _unknown(name, digest)
    return Blob(row.id, Key(row.key), row.size)


async def _extended(tx: Tx, name: RepositoryName, digest: Digest) -> Any:
    """Extend the link, if it is still there, in the turn that says so."""
    row = await tx.one(_FIND, name=name.text, digest=digest.raw)
    if row is not None and row.refs == 0:
        await links.extend(tx, row.repository_id, row.id)
    return row


async def mount(
    tx: Tx,
    target: RepositoryName,
    digest: Digest,
    *,
    sources: Sequence[RepositoryName] | None,
    projects: Sequence[int] = (),
    creates_project: bool = False,
) -> bool:
    """Link a blob into *target* from one of *sources*, or (None) of the projects; False if none has it."""
    if sources is not None:
        row = await tx.one(_FIND_AMONG, names=[source.text for source in sources], digest=digest.raw)
    else:
        row = await tx.one(_FIND_ANYWHERE, projects=list(projects), digest=digest.raw)
    if row is None:
        return False
    home = await repositories.ensure(tx, target, creates_project=creates_project)
    account = Account(tx, home.project_id)
    await links.hold(tx, account, home, row.id)
    await account.settle()
    return True


async def delete(tx: Tx, name: RepositoryName, digest: Digest, origin: Origin) -> None:
    """Take a blob out of a repository, or raise BlobUnknown, or StillReferenced naming a live manifest."""
    row = await tx.one(_FIND, name=name.text, digest=digest.raw)
    if row is None:
        raise _unknown(name, digest)
    if row.refs:
        by = Digest.from_raw((await tx.one(_NAMED_BY, repository=row.repository_id, blob=row.id)).digest)
        message = f"blob {digest} belongs to manifest {by} of {name}; delete that first"
        raise StillReferenced(message, digest=str(digest), manifest=str(by))
    home = await repositories.get(tx, name)
    account = Account(tx, home.project_id)
    await links.release(tx, account, home.id, row.id)
    await account.settle()
    await record(tx, "blob.delete", origin, repository=name.text, digest=str(digest))


def _unknown(name: RepositoryName, digest: Digest) -> BlobUnknown:
    message = f"repository {name} has no blob {digest}"
    return BlobUnknown(message, digest=str(digest))
