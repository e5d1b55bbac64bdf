"""The trash: what was deleted, kept for a window, and brought back whole.

Content is not moved: a stamp on its rows says that it lies here, and all that one deletion took carries the same.
"""

from collections.abc import Sequence

from sqlalchemy import bindparam, exists, select, update

from moorage.db import Reader, Statement, Tx, insert, one_of
from moorage.db.tables import manifest, manifest_child, tag
from moorage.oci.digests import Digest
from moorage.oci.errors import ManifestUnknown
from moorage.oci.names import RepositoryName
from moorage.registry import holding, links, repositories
from moorage.registry.events import Origin, record
from moorage.registry.quotas import Account, Place
from moorage.registry.repositories import Repository

_m = manifest.c
_row = manifest.alias("row")
_parent = manifest.alias("parent")

_SHOWN = Statement(select(_m.id, _m.digest, _m.size, _m.deleted_at).where(one_of(_m.id, "manifests")))
_TRASH = Statement(
    update(manifest)
    .where(_m.id == bindparam("manifest"))
    .values(deleted_at=bindparam("at"), loose_since=None)
)
_REVIVE = Statement(
    update(manifest)
    .where(_m.id == bindparam("manifest"))
    .values(deleted_at=None, loose_since=None, pushed_at=bindparam("at"))
)
_END_TAGS = Statement(
    update(tag)
    .where(tag.c.manifest_id == bindparam("manifest"), tag.c.end_at.is_(None))
    .values(end_at=bindparam("at"))
)
# Manifests that refer to these and that nothing else holds: a signature goes with what it signs.
_REFERRERS = Statement(
    select(_row.c.id)
    .select_from(
        manifest.join(_row, (_row.c.repository_id == _m.repository_id) & (_row.c.subject == _m.digest))
    )
    .where(
        _m.id == bindparam("manifest"),
        _row.c.deleted_at.is_(None),
        ~exists().where(tag.c.manifest_id == _row.c.id, tag.c.end_at.is_(None)),
        ~exists().where(
            manifest_child.c.repository_id == _row.c.repository_id,
            manifest_child.c.child == _row.c.digest,
            _parent.c.id == manifest_child.c.parent_id,
            _parent.c.deleted_at.is_(None),
        ),
    )
)
_TRASHED_CHILDREN = Statement(
    select(_row.c.id)
    .select_from(
        manifest_child.join(
            _row,
            (_row.c.repository_id == manifest_child.c.repository_id)
            & (_row.c.digest == manifest_child.c.child),
        )
    )
    .where(one_of(manifest_child.c.parent_id, "manifests"), _row.c.deleted_at.is_not(None))
)
_IS_LOOSE = Statement(
    select(_m.id).where(_m.id == bindparam("manifest"), _m.loose_since <= bindparam("before"))
)
_LISTED = Statement(
    select(_m.id, _m.digest, _m.media_type, _m.size, _m.deleted_at)
    .where(_m.repository_id == bindparam("repository"), _m.deleted_at.is_not(None))
    .order_by(_m.deleted_at.desc(), _m.id.desc())
    .limit(bindparam("most"))
)
_FIND = Statement(
    select(_m.id, _m.deleted_at).where(
        _m.repository_id == bindparam("repository"),
        _m.digest == bindparam("digest"),
        _m.deleted_at.is_not(None),
    )
)
_TOGETHER = Statement(
    select(_m.id).where(_m.repository_id == bindparam("repository"), _m.deleted_at == bindparam("stamp"))
)
_other = tag.alias("other")
_TAGS_OF_THEN = Statement(
    select(tag.c.name, tag.c.manifest_id, _m.digest)
    .select_from(tag.join(manifest, _m.id == tag.c.manifest_id))
    .where(
        tag.c.repository_id == bindparam("repository"),
        tag.c.end_at == bindparam("stamp"),
        _m.deleted_at.is_(None),
        ~exists().where(
            _other.c.repository_id == tag.c.repository_id,
            _other.c.name == tag.c.name,
            _other.c.end_at.is_(None),
        ),
    )
)
_ADD_TAG = Statement(
    insert(tag).values(
        repository_id=bindparam("repository"),
        name=bindparam("name"),
        manifest_id=bindparam("manifest"),
        start_at=bindparam("at"),
    )
)


async def put(tx: Tx, account: Account, home: Repository, manifest_id: int, origin: Origin) -> None:
    """Put a manifest in the trash, and with it the manifests that refer to it and that nothing else holds."""
    waiting, seen = [manifest_id], dict[int, None]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen[one] = None
        waiting += [row.id for row in await tx.all(_REFERRERS, manifest=one)]
        await tx.run(_TRASH, manifest=one, at=tx.at)
        await tx.run(_END_TAGS, manifest=one, at=tx.at)
        await links.unname(tx, account, home, one)
    for row in await tx.all(_SHOWN, manifests=list(seen)):
        account.body(row.size, Place.USED, Place.TRASH)
        digest = str(Digest.from_raw(row.digest))
        await record(tx, "manifest.delete", origin, repository=home.name.text, digest=digest)
    await holding.settle(tx, await holding.below(tx, list(seen)))


async def revive(
    tx: Tx, account: Account, home: Repository, manifests: Sequence[int], origin: Origin
) -> None:
    """Bring manifests out of the trash, each whole: an index with its children, however deep."""
    waiting, seen = list(manifests), dict[int, None]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen[one] = None
        row = (await tx.all(_SHOWN, manifests=[one]))[0]
        if row.deleted_at is not None:
            await tx.run(_REVIVE, manifest=one, at=tx.at)
            await links.name_again(tx, account, home, one)
            account.body(row.size, Place.TRASH, Place.USED)
            digest = str(Digest.from_raw(row.digest))
            await record(tx, "manifest.revive", origin, repository=home.name.text, digest=digest)
        waiting += [child.id for child in await tx.all(_TRASHED_CHILDREN, manifests=[one])]
    # Referrers too: a signature pushed while its subject lay here is held again.
    await holding.settle(tx, [*seen, *await holding.below(tx, list(seen))])


async def restore(tx: Tx, name: RepositoryName, digest: Digest, origin: Origin) -> None:
    """Undo a deletion: the manifest, what went with it, and their tags where the names are free; or ManifestUnknown."""
    home = await repositories.get(tx, name)
    found = await tx.one(_FIND, repository=home.id, digest=digest.raw)
    if found is None:
        message = f"the trash of {name} has no manifest {digest}"
        raise ManifestUnknown(message, reference=str(digest))
    account = Account(tx, home.project_id)
    together = [row.id for row in await tx.all(_TOGETHER, repository=home.id, stamp=found.deleted_at)]
    await revive(tx, account, home, [found.id, *together], origin)
    for row in await tx.all(_TAGS_OF_THEN, repository=home.id, stamp=found.deleted_at):
        await tx.run(_ADD_TAG, repository=home.id, name=row.name, manifest=row.manifest_id, at=tx.at)
        await holding.settle(tx, [row.manifest_id])
        restored = str(Digest.from_raw(row.digest))
        await record(tx, "tag.restore", origin, repository=name.text, tag=row.name, digest=restored)
    await account.settle()


async def is_loose(tx: Tx, manifest_id: int, before: int) -> bool:
    """Say whether nothing has held a manifest since *before*."""
    return await tx.one(_IS_LOOSE, manifest=manifest_id, before=before) is not None


async def listed(reader: Reader, home: Repository, most: int) -> list[tuple[Digest, str, int, int]]:
    """List a repository's trash, the latest first: digest, media type, size, and when it was deleted."""
    rows = await reader.all(_LISTED, repository=home.id, most=most)
    return [(Digest.from_raw(row.digest), row.media_type, row.size, row.deleted_at) for row in rows]
