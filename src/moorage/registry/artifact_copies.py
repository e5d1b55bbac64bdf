"""Copies of artifacts within a registry: bytes are linked, not copied, and what hangs on an artifact comes along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select

from moorage.db import Statement
from moorage.db.tables import manifest, manifest_blob, tag
from moorage.errors import Problem
from moorage.oci import manifests as documents
from moorage.oci.digests import Digest
from moorage.oci.errors import ManifestUnknown
from moorage.oci.names import Tag
from moorage.registry import artifact_pages, holding, links, manifests, repositories
from moorage.registry.quotas import Account
from moorage.registry.shown import signature_tag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.db import Tx
    from moorage.oci.names import RepositoryName
    from moorage.registry.events import Origin
    from moorage.registry.repositories import Repository

MOST: Final = 1000
"""How many manifests one copy may be of, since it is one turn."""

_WHOLE = Statement(
    select(manifest.c.id, manifest.c.digest, manifest.c.media_type, manifest.c.body).where(
        manifest.c.id == bindparam("which"), manifest.c.deleted_at.is_(None)
    )
)
_BLOBS = Statement(select(manifest_blob.c.blob_id).where(manifest_blob.c.manifest_id == bindparam("which")))
_TAGS = Statement(
    select(tag.c.name)
    .where(tag.c.manifest_id == bindparam("which"), tag.c.end_at.is_(None))
    .order_by(tag.c.name)
)


class CopyExists(Problem):
    """The artifact is in the repository already."""

    code, status, summary = "CONFLICT", 409, "the artifact is in the repository already"


class TooMany(Problem):
    """The artifact is of more manifests than are copied at once."""

    code, status, summary = "PRECONDITION", 412, "the artifact is too large to be copied at once"


async def copy(
    tx: Tx, source: RepositoryName, reference: Digest | Tag, target: RepositoryName, origin: Origin
) -> Digest:
    """Copy an artifact with its children, its tags and what hangs on them; give its digest.

    Raises NameUnknown or ManifestUnknown, CopyExists, TooMany, TagImmutable, or QuotaExceeded.
    """
    home = await repositories.get(tx, source)
    found = await artifact_pages.find(tx, home.id, reference)
    if found is None:
        message = f"repository {source} has no artifact {reference}"
        raise ManifestUnknown(message, name=source.text, reference=str(reference))
    digest = Digest.from_raw(found.digest)
    there = await repositories.ensure(tx, target)
    if await artifact_pages.find(tx, there.id, digest) is not None:
        raise CopyExists(f"the artifact {target}@{digest} already exists", digest=str(digest))
    for number in await _order(tx, home, found.id):
        await _one(tx, number, there, origin, with_tags=number == found.id)
    return digest


async def _order(tx: Tx, home: Repository, root: int) -> list[int]:
    """List what a copy is of: what others need comes before them."""
    seen: dict[int, None] = {}
    waiting = [(root, False)]
    while waiting:
        one, done = waiting.pop()
        if done:
            seen.setdefault(one, None)
            continue
        if len(waiting) + len(seen) > 2 * MOST:
            raise TooMany(f"the artifact is of more than {MOST} manifests: copy its parts one by one")
        if one in seen:
            continue
        children = [
            child.id for children in (await artifact_pages.children(tx, [one])).values() for child in children
        ]
        hanging = [below for below in await _hanging(tx, home, one) if below not in children]
        waiting += [(below, False) for below in hanging]
        waiting.append((one, True))
        waiting += [(child, False) for child in children]
    return list(seen)


async def _hanging(tx: Tx, home: Repository, number: int) -> Iterable[int]:
    """Give what refers to a manifest, and what cosign has tagged as its signature."""
    row = await tx.one(_WHOLE, which=number)
    below = await holding.below(tx, [number])
    signed = await artifact_pages.find(tx, home.id, Tag(signature_tag(Digest.from_raw(row.digest))))
    return [*below, *([] if signed is None or signed.id == number else [signed.id])]


async def _one(tx: Tx, number: int, there: Repository, origin: Origin, *, with_tags: bool) -> None:
    row = await tx.one(_WHOLE, which=number)
    account = Account(tx, there.project_id)
    for blob in await tx.all(_BLOBS, which=number):
        await links.hold(tx, account, there, blob.blob_id)
    await account.settle()
    names = [one.name for one in await tx.all(_TAGS, which=number)]
    # Of what comes along, only the tags that say whose signature it is.
    tags: Any = names if with_tags else [name for name in names if name.endswith(".sig")]
    read = documents.parse(row.body, row.media_type)
    await manifests.push(tx, there.name, Digest.from_raw(row.digest), read, bytes(row.body), tags, origin)
