"""Manifests: pushed in one turn with everything that hangs on them, pulled whole, deleted to the trash."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, select, update

from moorage.db import Reader, Statement, Tx, insert, one_of
from moorage.db.tables import (
    blob,
    manifest,
    manifest_blob,
    manifest_child,
    project,
    repository,
    repository_blob,
    tag,
)
from moorage.oci.digests import Digest
from moorage.oci.errors import ManifestBlobUnknown, ManifestInvalid, ManifestUnknown
from moorage.oci.manifests import Manifest
from moorage.oci.names import RepositoryName, Tag
from moorage.registry import holding, immutability, links, repositories, trash
from moorage.registry.errors import StillReferenced
from moorage.registry.events import Origin, record
from moorage.registry.projects import LIVE
from moorage.registry.quotas import Account, Place
from moorage.registry.repositories import Repository

_m = manifest.c


def _pull() -> Select[Any]:
    return (
        select(_m.id, _m.digest, _m.media_type, _m.subject, _m.body)
        .select_from(
            repository.join(project, project.c.id == repository.c.project_id).join(
                manifest, _m.repository_id == repository.c.id
            )
        )
        .where(
            repository.c.name == bindparam("name"),
            repository.c.deleted_at.is_(None),
            repository.c.state == LIVE,
            project.c.state == LIVE,
            _m.deleted_at.is_(None),
        )
    )


_BY_DIGEST = Statement(_pull().where(_m.digest == bindparam("digest")))
_BY_TAG = Statement(
    select(_m.id, _m.digest, _m.media_type, _m.subject, _m.body)
    .select_from(
        repository.join(project, project.c.id == repository.c.project_id)
        .join(tag, tag.c.repository_id == repository.c.id)
        .join(manifest, _m.id == tag.c.manifest_id)
    )
    .where(
        repository.c.name == bindparam("name"),
        repository.c.deleted_at.is_(None),
        repository.c.state == LIVE,
        project.c.state == LIVE,
        tag.c.name == bindparam("tag"),
        tag.c.end_at.is_(None),
    )
)
_CURRENT_TAGS = Statement(
    select(tag.c.id, tag.c.name, tag.c.manifest_id).where(
        tag.c.repository_id == bindparam("repository"), tag.c.end_at.is_(None), one_of(tag.c.name, "tags")
    )
)
_LINKED = Statement(
    select(blob.c.id, blob.c.digest, blob.c.size, repository_blob.c.refs, repository_blob.c.held)
    .select_from(blob.join(repository_blob, repository_blob.c.blob_id == blob.c.id))
    .where(repository_blob.c.repository_id == bindparam("repository"), one_of(blob.c.digest, "digests"))
)
_KNOWN = Statement(
    select(_m.id, _m.digest, _m.deleted_at).where(
        _m.repository_id == bindparam("repository"), one_of(_m.digest, "digests")
    )
)
_ADD = Statement(
    insert(manifest)
    .values(
        repository_id=bindparam("repository"),
        digest=bindparam("digest"),
        media_type=bindparam("media_type"),
        artifact_type=bindparam("artifact_type"),
        subject=bindparam("subject"),
        annotations=bindparam("annotations"),
        size=bindparam("size"),
        content_size=bindparam("content_size"),
        pushed_at=bindparam("at"),
        body=bindparam("body"),
    )
    .returning(_m.id)
)
_ADD_BLOBS = Statement(
    insert(manifest_blob).values(
        manifest_id=bindparam("manifest"), blob_id=bindparam("blob"), repository_id=bindparam("repository")
    )
)
_ADD_CHILDREN = Statement(
    insert(manifest_child).values(
        parent_id=bindparam("manifest"), child=bindparam("child"), repository_id=bindparam("repository")
    )
)
_END_TAG = Statement(update(tag).where(tag.c.id == bindparam("tag")).values(end_at=bindparam("at")))
_ADD_TAG = Statement(
    insert(tag).values(
        repository_id=bindparam("repository"),
        name=bindparam("name"),
        manifest_id=bindparam("manifest"),
        start_at=bindparam("at"),
    )
)
_IN_INDEX = Statement(
    select(_m.digest)
    .select_from(manifest_child.join(manifest, _m.id == manifest_child.c.parent_id))
    .where(
        manifest_child.c.repository_id == bindparam("repository"),
        manifest_child.c.child == bindparam("digest"),
        _m.deleted_at.is_(None),
    )
    .limit(1)
)
_TAGS_OF = Statement(
    select(tag.c.id, tag.c.name)
    .where(tag.c.manifest_id == bindparam("manifest"), tag.c.end_at.is_(None))
    .order_by(tag.c.name)
)
_TAG = Statement(
    select(tag.c.id, tag.c.manifest_id).where(
        tag.c.repository_id == bindparam("repository"),
        tag.c.name == bindparam("name"),
        tag.c.end_at.is_(None),
    )
)


@dataclass(frozen=True, slots=True)
class Pulled:
    """A manifest as it was pushed, byte for byte."""

    id: int
    digest: Digest
    media_type: str
    body: bytes


async def find(reader: Reader, name: RepositoryName, reference: Digest | Tag) -> Pulled | None:
    """Find a live manifest by digest or tag, in one statement."""
    if isinstance(reference, Digest):
        row = await reader.one(_BY_DIGEST, name=name.text, digest=reference.raw)
    else:
        row = await reader.one(_BY_TAG, name=name.text, tag=reference)
    return None if row is None else Pulled(row.id, Digest.from_raw(row.digest), row.media_type, row.body)


async def get(reader: Reader, name: RepositoryName, reference: Digest | Tag) -> Pulled:
    """Find a live manifest by digest or tag, or raise ManifestUnknown, or NameUnknown for an unknown repository."""
    found = await find(reader, name, reference)
    if found is None:
        await repositories.get(reader, name)
        raise _unknown(name, reference)
    return found


async def push(
    tx: Tx,
    name: RepositoryName,
    digest: Digest,
    read: Manifest,
    body: bytes,
    tags: Sequence[Tag],
    origin: Origin,
    *,
    creates_project: bool = False,
) -> list[str]:
    """Make a manifest and its tags current, all at once, or nothing of it; give warnings for the client.

    Raises ManifestBlobUnknown for a blob that is not in this repository, TagImmutable, or QuotaExceeded. What is in
    the trash comes back; a repeated push changes nothing.
    """
    home = await repositories.ensure(tx, name, creates_project=creates_project)
    account = Account(tx, home.project_id)
    moved = await _moved_tags(tx, home, tags)
    wanted = [digest.raw, *{child.digest.raw for child in read.children}]
    known = {bytes(row.digest): row for row in await tx.all(_KNOWN, repository=home.id, digests=wanted)}
    linked = await _linked(tx, home, read)
    revived = [row.id for row in known.values() if row.deleted_at is not None]
    mine = known.get(digest.raw)
    # A push that is repeated moves no tag, so a rule that keeps tags as they are has nothing against it.
    kept = [row.name for row in moved.values() if mine is None or row.manifest_id != mine.id]
    await immutability.check(tx, home, kept)
    if mine is None:
        manifest_id = await _add(tx, home, account, digest, read, body, linked)
    else:
        manifest_id = mine.id
    if revived:
        await trash.revive(tx, account, home, revived, origin)
    changed = await _tag(tx, home, manifest_id, moved, tags)
    old = {row.manifest_id for row in changed.values() if row is not None}
    if mine is None or mine.deleted_at is not None or changed:
        await holding.settle(tx, [*old, manifest_id, *await holding.below(tx, [manifest_id])])
        await record(
            tx,
            "manifest.push",
            origin,
            repository=name.text,
            digest=str(digest),
            tags=list(changed),
            size=len(body),
        )
    return await account.settle()


async def _moved_tags(tx: Tx, home: Repository, tags: Sequence[Tag]) -> dict[str, Any]:
    if not tags:
        return {}
    return {row.name: row for row in await tx.all(_CURRENT_TAGS, repository=home.id, tags=list(tags))}


async def _linked(tx: Tx, home: Repository, read: Manifest) -> list[Any]:
    """Give the links to the blobs that a manifest names; layers that are not distributed count if they are here."""
    wanted = {one.digest.raw: one for one in (*read.foreign, *read.blobs)}
    if not wanted:
        return []
    rows = await tx.all(_LINKED, repository=home.id, digests=list(wanted))
    here = {bytes(row.digest): row for row in rows}
    if absent := {one.digest.raw for one in read.blobs} - here.keys():
        missing = sorted(str(Digest.from_raw(raw)) for raw in absent)
        message = f"repository {home.name} has no blob {', '.join(missing[:5])}; push or mount it before the manifest"
        raise ManifestBlobUnknown(message, digests=missing[:100])
    for raw, row in here.items():
        # A client that is told another size than it gets refuses the image when it is pulled: better now.
        if wanted[raw].size != row.size:
            digest = wanted[raw].digest
            message = f"the manifest says {wanted[raw].size} bytes of {digest}, which has {row.size}"
            raise ManifestInvalid(message, digest=str(digest), size=row.size)
    return rows


async def _add(
    tx: Tx,
    home: Repository,
    account: Account,
    digest: Digest,
    read: Manifest,
    body: bytes,
    linked: Sequence[Any],
) -> int:
    row = await tx.one(
        _ADD,
        repository=home.id,
        digest=digest.raw,
        media_type=read.media_type,
        artifact_type=read.artifact_type,
        subject=read.subject.raw if read.subject else None,
        annotations=json.dumps(dict(read.annotations)) if read.subject and read.annotations else None,
        size=len(body),
        content_size=read.content_size,
        at=tx.at,
        body=body,
    )
    manifest_id: int = row.id
    if linked:
        await tx.many(
            _ADD_BLOBS, [{"manifest": manifest_id, "blob": one.id, "repository": home.id} for one in linked]
        )
        asleep = [one.id for one in linked if one.refs == 0 and not one.held]
        await links.name(tx, account, home, [one.id for one in linked], asleep)
    if read.children:
        children = {child.digest.raw for child in read.children}
        await tx.many(
            _ADD_CHILDREN,
            [{"manifest": manifest_id, "child": child, "repository": home.id} for child in children],
        )
    account.body(len(body), Place.ABSENT, Place.USED)
    return manifest_id


async def _tag(
    tx: Tx, home: Repository, manifest_id: int, current: dict[str, Any], tags: Sequence[Tag]
) -> dict[str, Any]:
    """Move or make the tags; give those that changed, each with the row it had."""
    changed: dict[str, Any] = {}
    for name in dict.fromkeys(tags):
        row = current.get(name)
        if row is not None and row.manifest_id == manifest_id:
            continue
        if row is not None:
            await tx.run(_END_TAG, tag=row.id, at=tx.at)
        await tx.run(_ADD_TAG, repository=home.id, name=name, manifest=manifest_id, at=tx.at)
        changed[name] = row
    return changed


async def untag(tx: Tx, name: RepositoryName, tag_name: Tag, origin: Origin) -> None:
    """Delete a tag, and only the tag; its manifest stays. Raises ManifestUnknown or TagImmutable."""
    home = await repositories.get(tx, name)
    row = await tx.one(_TAG, repository=home.id, name=tag_name)
    if row is None:
        raise _unknown(name, tag_name)
    await immutability.check(tx, home, [tag_name])
    await tx.run(_END_TAG, tag=row.id, at=tx.at)
    await holding.settle(tx, [row.manifest_id])
    await record(tx, "tag.delete", origin, repository=name.text, tag=tag_name)


async def delete(
    tx: Tx, name: RepositoryName, digest: Digest, origin: Origin, *, loose_before: int | None = None
) -> None:
    """Put a manifest in the trash, with its tags and the untagged manifests that refer to it.

    Raises ManifestUnknown, TagImmutable, or StillReferenced while a live index names it, so that no listed index
    becomes incomplete. With *loose_before*, only if nothing has held it since then (a policy's second look).
    """
    home = await repositories.get(tx, name)
    row = next(iter(await tx.all(_KNOWN, repository=home.id, digests=[digest.raw])), None)
    if row is None or row.deleted_at is not None:
        raise _unknown(name, digest)
    if loose_before is not None and not await trash.is_loose(tx, row.id, loose_before):
        message = f"manifest {digest} of {name} is held again"
        raise StillReferenced(message, digest=str(digest))
    parent = await tx.one(_IN_INDEX, repository=home.id, digest=digest.raw)
    if parent is not None:
        by = Digest.from_raw(parent.digest)
        message = f"manifest {digest} belongs to index {by} of {name}; delete that first"
        raise StillReferenced(message, digest=str(digest), index=str(by))
    await immutability.check(tx, home, [one.name for one in await tx.all(_TAGS_OF, manifest=row.id)])
    account = Account(tx, home.project_id)
    await trash.put(tx, account, home, row.id, origin)
    await account.settle()


def _unknown(name: RepositoryName, reference: Digest | Tag) -> ManifestUnknown:
    message = f"repository {name} has no manifest {reference}"
    return ManifestUnknown(message, name=name.text, reference=str(reference))
