"""The life of a link: "this repository has this blob".

    live    refs > 0                     readable, used      a live manifest names it
    held    held = 1, review_at set      readable, used      promised to a client: upload, mount, HEAD
    trash   all null                     not readable        only trashed manifests name it
    grace   review_at set                not readable        no manifest names it, and soon it goes

A push revives a link in any state, so nothing can come between "HEAD said 200" and "PUT manifest".
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import bindparam, delete, exists, select, update

from moorage.db import Statement, Tx, insert, one_of
from moorage.db.tables import manifest_blob, registry, repository_blob
from moorage.registry.quotas import Account
from moorage.registry.repositories import Repository

_link = repository_blob.c
_LEASE = select(registry.c.lease).scalar_subquery()
_THIS = (_link.repository_id == bindparam("repository"), _link.blob_id == bindparam("blob"))

_STATE = Statement(select(_link.refs, _link.held).where(*_THIS))
_ADD_HELD = Statement(
    insert(repository_blob).values(
        repository_id=bindparam("repository"),
        blob_id=bindparam("blob"),
        refs=0,
        held=1,
        review_at=bindparam("at") + _LEASE,
    )
)
_HOLD = Statement(update(repository_blob).where(*_THIS).values(held=1, review_at=bindparam("at") + _LEASE))
_EXTEND = Statement(
    update(repository_blob).where(*_THIS, _link.held == 1).values(review_at=bindparam("at") + _LEASE)
)
_RAISE = Statement(
    update(repository_blob)
    .where(_link.repository_id == bindparam("repository"), one_of(_link.blob_id, "blobs"))
    .values(refs=_link.refs + 1, held=0, review_at=None)
)
_LOWER = Statement(
    update(repository_blob)
    .where(
        _link.repository_id == bindparam("repository"),
        _link.blob_id.in_(
            select(manifest_blob.c.blob_id).where(manifest_blob.c.manifest_id == bindparam("manifest"))
        ),
    )
    .values(refs=_link.refs - 1)
    .returning(_link.blob_id, _link.refs)
)
_OF_MANIFEST = Statement(
    select(_link.blob_id, _link.refs, _link.held)
    .select_from(
        manifest_blob.join(
            repository_blob,
            (_link.repository_id == manifest_blob.c.repository_id)
            & (_link.blob_id == manifest_blob.c.blob_id),
        )
    )
    .where(manifest_blob.c.manifest_id == bindparam("manifest"))
)
_NAMED = exists().where(
    manifest_blob.c.repository_id == _link.repository_id, manifest_blob.c.blob_id == _link.blob_id
)
_RELEASE = Statement(update(repository_blob).where(*_THIS).values(held=0, review_at=bindparam("review")))
_IS_NAMED = Statement(
    select(manifest_blob.c.manifest_id)
    .where(
        manifest_blob.c.repository_id == bindparam("repository"), manifest_blob.c.blob_id == bindparam("blob")
    )
    .limit(1)
)
_GRACE = Statement(
    update(repository_blob)
    .where(
        _link.repository_id == bindparam("repository"),
        one_of(_link.blob_id, "blobs"),
        _link.refs == 0,
        _link.held == 0,
        ~_NAMED,
    )
    .values(review_at=bindparam("at") + _LEASE)
)
_DROP = Statement(delete(repository_blob).where(*_THIS))
_WINDOW = Statement(select(registry.c.lease))


async def hold(tx: Tx, account: Account, repository: Repository, blob_id: int) -> None:
    """Promise a blob to the repository for a lease: it is readable, counts as used, and waits for its manifest."""
    link = {"repository": repository.id, "blob": blob_id}
    state = await tx.one(_STATE, **link)
    if state is None:
        await tx.run(_ADD_HELD, **link, at=tx.at)
        await account.link(blob_id, 1, 1)
    elif state.refs == 0:
        await tx.run(_HOLD, **link, at=tx.at)
        await account.link(blob_id, 0, 0 if state.held else 1)


async def extend(tx: Tx, repository_id: int, blob_id: int) -> None:
    """Hold a held link for another whole lease."""
    await tx.run(_EXTEND, repository=repository_id, blob=blob_id, at=tx.at)


async def name(
    tx: Tx, account: Account, repository: Repository, blobs: Sequence[int], asleep: Iterable[int]
) -> None:
    """Count one more live manifest on each link; those *asleep* (in trash or grace) become live."""
    if blobs:
        await tx.run(_RAISE, repository=repository.id, blobs=list(blobs))
    for blob_id in asleep:
        await account.link(blob_id, 0, 1)


async def name_again(tx: Tx, account: Account, repository: Repository, manifest_id: int) -> None:
    """Count a manifest that comes back from the trash on the links it has had all the while."""
    rows = await tx.all(_OF_MANIFEST, manifest=manifest_id)
    asleep = [row.blob_id for row in rows if row.refs == 0 and not row.held]
    await name(tx, account, repository, [row.blob_id for row in rows], asleep)


async def unname(tx: Tx, account: Account, repository: Repository, manifest_id: int) -> None:
    """Take a manifest that goes to the trash off its links; a link that no live one names goes with it."""
    for row in await tx.all(_LOWER, repository=repository.id, manifest=manifest_id):
        if row.refs == 0:
            await account.link(row.blob_id, 0, -1)


async def release(tx: Tx, account: Account, repository_id: int, blob_id: int) -> None:
    """End a promise early: to the trash if a trashed manifest names the blob, else to its last lease."""
    link = {"repository": repository_id, "blob": blob_id}
    named = await tx.one(_IS_NAMED, **link)
    lease = 0 if named else (await tx.one(_WINDOW)).lease
    await tx.run(_RELEASE, **link, review=None if named else tx.at + lease)
    await account.link(blob_id, 0, -1)


async def grace(tx: Tx, repository_id: int, blobs: Sequence[int]) -> None:
    """Give a last lease to those of the links that no manifest, live or trashed, names any more."""
    if blobs:
        await tx.run(_GRACE, repository=repository_id, blobs=list(blobs), at=tx.at)


async def review(tx: Tx, account: Account, repository_id: int, blob_id: int, *, held: bool) -> None:
    """Decide on a link whose lease is over: back to the trash if a trashed manifest names it, else it goes."""
    link = {"repository": repository_id, "blob": blob_id}
    if await tx.one(_IS_NAMED, **link):
        await tx.run(_RELEASE, **link, review=None)
        await account.link(blob_id, 0, -int(held))
    else:
        await tx.run(_DROP, **link)
        await account.link(blob_id, -1, -int(held))
