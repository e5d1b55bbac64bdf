"""Mending: counts are written anew from the rows that they stand for, and what is listed is made whole."""

from sqlalchemy import and_, bindparam, case, delete, exists, func, or_, select, update

from moorage.db import Database, Statement, Tx, insert
from moorage.db.tables import (
    blob,
    doomed,
    manifest,
    manifest_blob,
    manifest_child,
    project,
    project_blob,
    registry,
    repository,
    repository_blob,
    tag,
)
from moorage.oci.names import RepositoryName
from moorage.registry import counters, recount, trash
from moorage.registry.errors import QuotaExceeded
from moorage.registry.events import SYSTEM
from moorage.registry.projects import LIVE
from moorage.registry.quotas import Account
from moorage.registry.repositories import Repository

_link = repository_blob.c
_m = manifest.c
_LEASE = select(registry.c.lease).scalar_subquery()

_named = (
    select(func.count())
    .select_from(manifest_blob.join(manifest, _m.id == manifest_blob.c.manifest_id))
    .where(
        manifest_blob.c.repository_id == _link.repository_id,
        manifest_blob.c.blob_id == _link.blob_id,
        _m.deleted_at.is_(None),
    )
    .scalar_subquery()
)
_NAMED = Statement(
    update(repository_blob)
    .where(_link.refs != _named, _named > 0)
    .values(refs=_named, held=0, review_at=None)
)
_UNNAMED = Statement(update(repository_blob).where(_link.refs != 0, _named == 0).values(refs=0))
_UNSTICK = Statement(
    update(repository_blob)
    .where(recount.IS_STUCK)
    .values(review_at=bindparam("at", type_=_link.review_at.type) + _LEASE)
)

_of_project = repository_blob.join(repository, repository.c.id == _link.repository_id)
_here = and_(repository.c.project_id == project_blob.c.project_id, _link.blob_id == project_blob.c.blob_id)
_links = select(func.count()).select_from(_of_project).where(_here).scalar_subquery()
_live = (
    select(func.count())
    .select_from(_of_project)
    .where(_here, or_(_link.refs > 0, _link.held == 1))
    .scalar_subquery()
)
_UNLINKED = Statement(delete(project_blob).where(_links == 0))
_RELINK = Statement(
    update(project_blob)
    .where(or_(project_blob.c.links != _links, project_blob.c.live_links != _live))
    .values(links=_links, live_links=_live)
)
_linked = recount.linked
_COUNT = Statement(
    insert(project_blob).from_select(
        ["project_id", "blob_id", "links", "live_links"],
        select(_linked.c.project_id, _linked.c.blob_id, _linked.c.links, _linked.c.live)
        .select_from(
            _linked.outerjoin(
                project_blob,
                and_(
                    _linked.c.project_id == project_blob.c.project_id,
                    _linked.c.blob_id == project_blob.c.blob_id,
                ),
            )
        )
        .where(project_blob.c.blob_id.is_(None)),
    )
)

_sharing = select(func.count()).where(project_blob.c.blob_id == blob.c.id).scalar_subquery()
_living = (
    select(func.count())
    .where(project_blob.c.blob_id == blob.c.id, project_blob.c.live_links > 0)
    .scalar_subquery()
)
_RESHARE = Statement(
    update(blob)
    .where(or_(blob.c.projects != _sharing, blob.c.live_projects != _living))
    .values(projects=_sharing, live_projects=_living)
)
_ORPHANS = Statement(select(blob.c.key, blob.c.size).where(blob.c.projects == 0))
_DOOM = Statement(
    insert(doomed).values(key=bindparam("key"), size=bindparam("size"), destroy_at=bindparam("at"), tries=0)
)
_DROP_ORPHANS = Statement(delete(blob).where(blob.c.projects == 0))
_WINDOW = Statement(select(registry.c.backup_window))

_SET_PROJECT = Statement(
    update(project)
    .where(project.c.id == bindparam("project"))
    .values(used=bindparam("bytes_used"), trash=bindparam("bytes_trash"))
)
_SET_REGISTRY = Statement(
    update(registry).values(used=bindparam("bytes_used"), trash=bindparam("bytes_trash"))
)
_SETTLE = Statement(
    update(manifest)
    .where(_m.deleted_at.is_(None), recount.IS_WRONGLY_LOOSE)
    .values(
        loose_since=case((_m.loose_since.is_(None), bindparam("at", type_=_m.loose_since.type)), else_=None)
    )
)

_parent = manifest.alias("whole")
_TAGGED = exists().where(tag.c.manifest_id == _m.id, tag.c.end_at.is_(None))
_IN_INDEX = exists().where(
    manifest_child.c.repository_id == _m.repository_id,
    manifest_child.c.child == _m.digest,
    _parent.c.id == manifest_child.c.parent_id,
    _parent.c.deleted_at.is_(None),
)
_LISTED_TRASH = Statement(
    select(_m.id, _m.repository_id, repository.c.project_id, repository.c.name)
    .select_from(manifest.join(repository, repository.c.id == _m.repository_id))
    .where(
        _m.deleted_at.is_not(None),
        repository.c.state == LIVE,
        repository.c.deleted_at.is_(None),
        or_(_TAGGED, _IN_INDEX),
    )
    .order_by(_m.repository_id, _m.id)
)


async def mend(db: Database) -> None:
    """Write every count anew in one turn; then take out of the trash what a tag or a live index still lists.

    That is not done where a quota has no room for it.
    """
    await db.change(_recounted)
    for row in await db.all(_LISTED_TRASH):
        home = Repository(row.repository_id, row.project_id, RepositoryName.parse(row.name))
        await _rescue(db, home, row.id)


async def _recounted(tx: Tx) -> None:
    for statement in (_NAMED, _UNNAMED):
        await tx.run(statement)
    await tx.run(_UNSTICK, at=tx.at)
    for statement in (_UNLINKED, _RELINK, _COUNT, _RESHARE):
        await tx.run(statement)
    window = (await tx.one(_WINDOW)).backup_window
    orphans = await tx.all(_ORPHANS)
    if orphans:
        await tx.many(_DOOM, [{"key": one.key, "size": one.size, "at": tx.at + window} for one in orphans])
        await tx.run(_DROP_ORPHANS)
    for row in await recount.projects(tx):
        await tx.run(_SET_PROJECT, project=row.id, bytes_used=row.n_used, bytes_trash=row.n_trash)
    used, in_trash = await recount.sums(tx)
    await tx.run(_SET_REGISTRY, bytes_used=used, bytes_trash=in_trash)
    await tx.run(_SETTLE, at=tx.at)
    await counters.mend(tx)


async def _rescue(db: Database, home: Repository, manifest_id: int) -> None:
    async def work(tx: Tx) -> None:
        account = Account(tx, home.project_id)
        await trash.revive(tx, account, home, [manifest_id], SYSTEM)
        await account.settle()

    try:
        await db.change(work)
    except QuotaExceeded:
        return
