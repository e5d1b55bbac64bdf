"""The recount: every number that the registry keeps, counted anew from the rows that it stands for.

Counts are kept because deletion and quota need them at once; the manifests, and the links that they name, are the
truth. At every moment, the middle of a storm included, the two agree.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import and_, case, exists, func, or_, select

from moorage.db import Database, Reader, Statement
from moorage.db.tables import (
    blob,
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
from moorage.oci.digests import Digest
from moorage.registry import counters
from moorage.registry.findings import Finding
from moorage.registry.holding import HELD
from moorage.registry.projects import LIVE

_link = repository_blob.c
_m = manifest.c


def _sum(column: Any) -> Any:
    return func.coalesce(func.sum(column), 0)


def _when(condition: Any, value: Any) -> Any:
    return case((condition, value), else_=0)


_LIVE_LINK = or_(_link.refs > 0, _link.held == 1)

# --- links ----------------------------------------------------------------------------------------------------

_named = (
    select(manifest_blob.c.repository_id, manifest_blob.c.blob_id, func.count().label("n"))
    .select_from(manifest_blob.join(manifest, _m.id == manifest_blob.c.manifest_id))
    .where(_m.deleted_at.is_(None))
    .group_by(manifest_blob.c.repository_id, manifest_blob.c.blob_id)
    .subquery("named")
)
_REFS = Statement(
    select(_link.repository_id, _link.blob_id, _link.refs, func.coalesce(_named.c.n, 0).label("n"))
    .select_from(
        repository_blob.outerjoin(
            _named, and_(_named.c.repository_id == _link.repository_id, _named.c.blob_id == _link.blob_id)
        )
    )
    .where(_link.refs != func.coalesce(_named.c.n, 0))
)
IS_STUCK = and_(
    _link.refs == 0,
    _link.review_at.is_(None),
    ~exists().where(
        manifest_blob.c.repository_id == _link.repository_id, manifest_blob.c.blob_id == _link.blob_id
    ),
)
_STUCK = Statement(select(_link.repository_id, _link.blob_id).where(IS_STUCK))

# --- how often a project has a blob, and in how many projects a blob is ---------------------------------------

linked = (
    select(
        repository.c.project_id,
        _link.blob_id,
        func.count().label("links"),
        func.sum(_when(_LIVE_LINK, 1)).label("live"),
    )
    .select_from(repository_blob.join(repository, repository.c.id == _link.repository_id))
    .group_by(repository.c.project_id, _link.blob_id)
    .subquery("linked")
)
_BOTH = and_(linked.c.project_id == project_blob.c.project_id, linked.c.blob_id == project_blob.c.blob_id)
_PROJECT_BLOBS = Statement(
    select(
        project_blob.c.project_id,
        project_blob.c.blob_id,
        project_blob.c.links,
        project_blob.c.live_links,
        func.coalesce(linked.c.links, 0).label("n"),
        func.coalesce(linked.c.live, 0).label("live"),
    )
    .select_from(project_blob.outerjoin(linked, _BOTH))
    .where(
        or_(
            project_blob.c.links != func.coalesce(linked.c.links, 0),
            project_blob.c.live_links != func.coalesce(linked.c.live, 0),
            project_blob.c.links == 0,
        )
    )
)
_UNCOUNTED = Statement(
    select(linked.c.project_id, linked.c.blob_id, linked.c.links.label("n"), linked.c.live)
    .select_from(linked.outerjoin(project_blob, _BOTH))
    .where(project_blob.c.blob_id.is_(None))
)
_shared = (
    select(
        linked.c.blob_id,
        func.count().label("projects"),
        func.sum(_when(linked.c.live > 0, 1)).label("live"),
    )
    .group_by(linked.c.blob_id)
    .subquery("shared")
)
_BLOBS = Statement(
    select(
        blob.c.id,
        blob.c.digest,
        blob.c.projects,
        blob.c.live_projects,
        func.coalesce(_shared.c.projects, 0).label("n"),
        func.coalesce(_shared.c.live, 0).label("live"),
    )
    .select_from(blob.outerjoin(_shared, _shared.c.blob_id == blob.c.id))
    .where(
        or_(
            blob.c.projects != func.coalesce(_shared.c.projects, 0),
            blob.c.live_projects != func.coalesce(_shared.c.live, 0),
            blob.c.projects == 0,
        )
    )
)

# --- what is stored -------------------------------------------------------------------------------------------

_blob_bytes = (
    select(
        linked.c.project_id,
        func.sum(_when(linked.c.live > 0, blob.c.size)).label("used"),
        func.sum(_when(linked.c.live == 0, blob.c.size)).label("trash"),
    )
    .select_from(linked.join(blob, blob.c.id == linked.c.blob_id))
    .group_by(linked.c.project_id)
    .subquery("blob_bytes")
)
_bodies = (
    select(
        repository.c.project_id,
        func.sum(_when(_m.deleted_at.is_(None), _m.size)).label("used"),
        func.sum(_when(_m.deleted_at.is_not(None), _m.size)).label("trash"),
    )
    .select_from(manifest.join(repository, repository.c.id == _m.repository_id))
    .group_by(repository.c.project_id)
    .subquery("bodies")
)
_project_used = func.coalesce(_blob_bytes.c.used, 0) + func.coalesce(_bodies.c.used, 0)
_project_trash = func.coalesce(_blob_bytes.c.trash, 0) + func.coalesce(_bodies.c.trash, 0)
_PROJECTS = Statement(
    select(
        project.c.id,
        project.c.name,
        project.c.used,
        project.c.trash,
        _project_used.label("n_used"),
        _project_trash.label("n_trash"),
    )
    .select_from(
        project.outerjoin(_blob_bytes, _blob_bytes.c.project_id == project.c.id).outerjoin(
            _bodies, _bodies.c.project_id == project.c.id
        )
    )
    .where(or_(project.c.used != _project_used, project.c.trash != _project_trash))
)
_BLOB_SUMS = Statement(
    select(
        _sum(_when(_shared.c.live > 0, blob.c.size)).label("used"),
        _sum(_when(func.coalesce(_shared.c.live, 0) == 0, blob.c.size)).label("trash"),
    ).select_from(blob.outerjoin(_shared, _shared.c.blob_id == blob.c.id))
)
_BODY_SUMS = Statement(
    select(
        _sum(_when(_m.deleted_at.is_(None), _m.size)).label("used"),
        _sum(_when(_m.deleted_at.is_not(None), _m.size)).label("trash"),
    ).select_from(manifest)
)
_REGISTRY = Statement(select(registry.c.used, registry.c.trash))

# --- how rows hang together -----------------------------------------------------------------------------------

_IN_PLACE = and_(repository.c.state == LIVE, repository.c.deleted_at.is_(None))
_TAGS_OF_TRASH = Statement(
    select(repository.c.name.label("repository"), tag.c.name, _m.digest)
    .select_from(
        tag.join(manifest, _m.id == tag.c.manifest_id).join(
            repository, repository.c.id == tag.c.repository_id
        )
    )
    .where(tag.c.end_at.is_(None), _m.deleted_at.is_not(None), _IN_PLACE)
)
_before = select(
    tag.c.repository_id,
    tag.c.name,
    tag.c.start_at,
    func.lag(tag.c.id)
    .over(partition_by=[tag.c.repository_id, tag.c.name], order_by=[tag.c.start_at, tag.c.id])
    .label("before"),
    func.lag(tag.c.end_at)
    .over(partition_by=[tag.c.repository_id, tag.c.name], order_by=[tag.c.start_at, tag.c.id])
    .label("ended"),
).subquery("intervals")
_OVERLAPS = Statement(
    select(_before.c.repository_id, _before.c.name, _before.c.start_at, _before.c.ended).where(
        _before.c.before.is_not(None), or_(_before.c.ended.is_(None), _before.c.ended > _before.c.start_at)
    )
)
_parent = manifest.alias("whole")
_CHILDREN_IN_TRASH = Statement(
    select(repository.c.name, _parent.c.digest.label("parent"), _m.digest)
    .select_from(
        manifest_child.join(_parent, _parent.c.id == manifest_child.c.parent_id)
        .join(
            manifest,
            and_(_m.repository_id == manifest_child.c.repository_id, _m.digest == manifest_child.c.child),
        )
        .join(repository, repository.c.id == manifest_child.c.repository_id)
    )
    .where(_parent.c.deleted_at.is_(None), _m.deleted_at.is_not(None), _IN_PLACE)
)
IS_WRONGLY_LOOSE = or_(and_(HELD, _m.loose_since.is_not(None)), and_(~HELD, _m.loose_since.is_(None)))
_LOOSE = Statement(
    select(_m.repository_id, _m.digest, _m.loose_since).where(_m.deleted_at.is_(None), IS_WRONGLY_LOOSE)
)


async def recount(db: Database) -> list[Finding]:
    """Count everything anew, at one moment, and give what differs: nothing, when all is well."""
    async with db.snapshot() as moment:
        return await findings(moment)


async def findings(reader: Reader) -> list[Finding]:
    """Count everything anew with *reader*, which must see one moment, and give what differs."""
    found = [describe(row) for statement, describe in _CHECKS for row in await reader.all(statement)]
    return found + await _of_registry(reader)


async def sums(reader: Reader) -> tuple[int, int]:
    """Count what the registry uses, and what its trash holds, in bytes."""
    blobs, bodies = await reader.one(_BLOB_SUMS), await reader.one(_BODY_SUMS)
    return blobs.used + bodies.used, blobs.trash + bodies.trash


async def projects(reader: Reader) -> Sequence[Any]:
    """Give the projects whose sums are wrong: their ids, and the sums that are right."""
    return await reader.all(_PROJECTS)


async def _of_registry(reader: Reader) -> list[Finding]:
    kept, counted = await reader.one(_REGISTRY), await sums(reader)
    if (kept.used, kept.trash) == counted:
        return []
    return [Finding("registry", "bytes used and in the trash", _pair(*counted), _pair(kept.used, kept.trash))]


def _pair(first: object, second: object) -> str:
    return f"{first} and {second}"


def _digest(raw: bytes) -> str:
    return str(Digest.from_raw(bytes(raw)))


def _link_of(row: Any) -> str:
    return f"blob {row.blob_id} in repository {row.repository_id}"


def _in_project(row: Any) -> str:
    return f"blob {row.blob_id} in project {row.project_id}"


_CHECKS: tuple[tuple[Statement, Callable[[Any], Finding]], ...] = (
    (_REFS, lambda row: Finding("refs", _link_of(row), str(row.n), str(row.refs))),
    (_STUCK, lambda row: Finding("stuck", _link_of(row), "due for review", "in no state")),
    (
        _PROJECT_BLOBS,
        lambda row: Finding(
            "project_blob", _in_project(row), _pair(row.n, row.live), _pair(row.links, row.live_links)
        ),
    ),
    (_UNCOUNTED, lambda row: Finding("project_blob", _in_project(row), _pair(row.n, row.live), "no row")),
    (
        _BLOBS,
        lambda row: Finding(
            "blob",
            f"projects of {_digest(row.digest)}",
            _pair(row.n, row.live),
            _pair(row.projects, row.live_projects),
        ),
    ),
    (
        _PROJECTS,
        lambda row: Finding(
            "project",
            f"bytes used and in the trash of {row.name}",
            _pair(row.n_used, row.n_trash),
            _pair(row.used, row.trash),
        ),
    ),
    (
        _TAGS_OF_TRASH,
        lambda row: Finding(
            "tag",
            f"{row.repository}:{row.name}",
            "of a live manifest",
            f"of {_digest(row.digest)}, in the trash",
        ),
    ),
    (
        _OVERLAPS,
        lambda row: Finding(
            "overlap",
            f"tag {row.name} of repository {row.repository_id}",
            f"an end by {row.start_at}",
            f"an end at {row.ended}",
        ),
    ),
    (
        _CHILDREN_IN_TRASH,
        lambda row: Finding(
            "child",
            f"{_digest(row.digest)} of index {_digest(row.parent)} in {row.name}",
            "live",
            "in the trash",
        ),
    ),
    (
        _LOOSE,
        lambda row: Finding(
            "loose",
            f"{_digest(row.digest)} in repository {row.repository_id}",
            "null" if row.loose_since is not None else "a time",
            "null" if row.loose_since is None else str(row.loose_since),
        ),
    ),
    *counters.CHECKS,
)
