"""Artifacts as the management API shows them: a page at a time, and what stands beside each in one query a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Text, and_, bindparam, cast, exists, func, literal_column, or_, select

from moorage.db import Statement, one_of, pages
from moorage.db.pages import Condition, How, Key, Listing, QueryInvalid
from moorage.db.tables import (
    label,
    manifest,
    manifest_child,
    manifest_label,
    project,
    pull_stat,
    repository,
    tag,
)
from moorage.oci.digests import Digest
from moorage.oci.errors import DigestInvalid
from moorage.registry.shown import tagged

if TYPE_CHECKING:
    from moorage.db import Reader
    from moorage.oci.names import Tag

_m = manifest.c
_COLUMNS: Final = (
    _m.id, _m.digest, _m.media_type, _m.artifact_type, _m.config_type, _m.kind, _m.facts, _m.subject,
    (_m.size + _m.content_size).label("size"), _m.pushed_at, _m.repository_id, repository.c.project_id,
    repository.c.name, pull_stat.c.last_at.label("pulled_at"),
)  # fmt: skip
_SOURCE = manifest.join(repository, repository.c.id == _m.repository_id).outerjoin(
    pull_stat, pull_stat.c.manifest_id == _m.id
)
_tag_of = (tag.c.manifest_id == _m.id, tag.c.end_at.is_(None))
_label_of = manifest_label.c.manifest_id == _m.id


def _digest(text: str) -> bytes:
    try:
        return Digest.parse(text).raw
    except DigestInvalid:
        raise QueryInvalid(f"{text[:80]} is no digest", value=text[:80]) from None


def _tags(asked: Condition, name: str) -> tuple[Any, object]:
    given: Any = bindparam(name, type_=Text())
    if asked.how is How.EXACT:
        named = exists().where(*_tag_of, tag.c.name == given)
        # One condition for all values, since statements are kept by what is asked: any tag, none, or this one.
        return or_(and_(given == "*", tagged()), and_(given == "nil", ~tagged()), named), asked.values[0]
    if asked.how is How.FUZZY:
        shortened: Any = func.replace(tag.c.name, given, "")
        return exists().where(*_tag_of, shortened != tag.c.name), asked.values[0]
    if asked.how is How.ANY:
        return exists().where(*_tag_of, one_of(tag.c.name, name, Text())), list(asked.values)
    raise QueryInvalid("tags are asked for as tags=*, tags=nil, tags=NAME, tags=~PART or tags={NAME NAME}")


def _labels(asked: Condition, name: str) -> tuple[Any, object]:
    numbers = list(dict.fromkeys(_number(value) for value in asked.values))
    if asked.how is How.ANY:
        return exists().where(_label_of, one_of(manifest_label.c.label_id, name, BigInteger())), numbers
    if asked.how not in {How.EXACT, How.ALL}:
        raise QueryInvalid("labels are asked for as labels=(1 2), of which it has all, or labels={1 2}")
    # As text, |1||2|: whoever has all of them has as many as there are pairs of bars.
    given: Any = bindparam(name, type_=Text())
    barred: Any = literal_column("'|'") + cast(manifest_label.c.label_id, Text) + literal_column("'|'")
    has = (
        select(func.count())
        .select_from(manifest_label)
        .where(_label_of, func.replace(given, barred, "") != given)
        .correlate(manifest)
        .scalar_subquery()
    )
    bars: Any = func.length(given) - func.length(func.replace(given, "|", ""))
    return has * 2 == bars, "".join(f"|{number}|" for number in numbers)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > pages.LARGEST:
        raise QueryInvalid(f"{text[:64]} is no label's number", value=text[:64])
    return int(text)


def _listing(*where: Any, whole: Statement) -> Listing:
    return Listing(
        shown=_COLUMNS,
        source=_SOURCE,
        # Nobody looks at pulls where nothing of them is asked: both engines leave such a join out.
        inner=manifest.outerjoin(pull_stat, pull_stat.c.manifest_id == _m.id),
        id=_m.id,
        where=(*where, _m.shown == 1),
        whole=whole,
        keys={
            "id": pages.number(_m.id),
            "digest": Key(_m.digest, _digest),
            # Said so that SQLite does not go from type to type through the whole index, in which it stands behind the order.
            "type": pages.text(func.coalesce(_m.kind, "")),
            "media_type": pages.text(_m.config_type),
            "manifest_media_type": pages.text(_m.media_type),
            "artifact_type": pages.text(_m.artifact_type),
            "repository_id": pages.number(_m.repository_id),
            "project_id": pages.number(_m.project_id),
            "size": pages.number(_m.size + _m.content_size),
            "push_time": pages.time(_m.pushed_at),
            "creation_time": pages.time(_m.pushed_at),
            "pull_time": pages.time(pull_stat.c.last_at),
        },
        order=(("push_time", True),),
        special={"tags": _tags, "labels": _labels},
    )


_of_project = (
    repository.c.project_id == bindparam("project"),
    repository.c.deleted_at.is_(None),
    repository.c.state == literal_column("'live'"),
)
_later = manifest.alias("later")
_latest = (
    select(_later.c.id)
    .where(_later.c.repository_id == repository.c.id, _later.c.shown == 1)
    .order_by(_later.c.pushed_at.desc(), _later.c.id.desc())
    .limit(1)
    .correlate(repository)
    .scalar_subquery()
)
OF_REPOSITORY = _listing(
    _m.repository_id == bindparam("repository"),
    whole=Statement(
        select(repository.c.artifacts.label("n")).where(repository.c.id == bindparam("repository"))
    ),
)
# What is in a repository that sinks is in its project until it is in the trash, and shown no more.
OF_PROJECT = _listing(
    _m.project_id == bindparam("project"),
    ~exists().where(
        repository.c.id == _m.repository_id,
        or_(repository.c.deleted_at.is_not(None), repository.c.state != literal_column("'live'")),
    ),
    whole=Statement(select(project.c.artifacts.label("n")).where(project.c.id == bindparam("project"))),
)
LATEST_OF_PROJECT = _listing(
    _m.id.in_(select(_latest).where(*_of_project, repository.c.artifacts > 0)),
    whole=Statement(
        select(func.count().label("n"))
        .select_from(repository)
        .where(*_of_project, repository.c.artifacts > 0)
    ),
)
# Of some of a project's repositories, for those who see no others.
_some = (*_of_project, one_of(repository.c.id, "repositories"))
OF_SOME = _listing(
    _m.repository_id.in_(select(repository.c.id).where(*_some)),
    whole=Statement(select(func.coalesce(func.sum(repository.c.artifacts), 0).label("n")).where(*_some)),
)
LATEST_OF_SOME = _listing(
    _m.id.in_(select(_latest).where(*_some, repository.c.artifacts > 0)),
    whole=Statement(
        select(func.count().label("n")).select_from(repository).where(*_some, repository.c.artifacts > 0)
    ),
)

_BY_DIGEST = Statement(
    select(*_COLUMNS)
    .select_from(_SOURCE)
    .where(
        _m.repository_id == bindparam("repository"),
        _m.digest == bindparam("digest"),
        _m.deleted_at.is_(None),
    )
)
_BY_TAG = Statement(
    select(*_COLUMNS)
    .select_from(
        tag.join(manifest, _m.id == tag.c.manifest_id)
        .join(repository, repository.c.id == _m.repository_id)
        .outerjoin(pull_stat, pull_stat.c.manifest_id == _m.id)
    )
    .where(
        tag.c.repository_id == bindparam("repository"),
        tag.c.name == bindparam("tag"),
        tag.c.end_at.is_(None),
        _m.deleted_at.is_(None),
    )
)
_TAGS = Statement(
    select(tag.c.id, tag.c.name, tag.c.manifest_id, tag.c.repository_id, tag.c.start_at)
    .where(one_of(tag.c.manifest_id, "manifests"), tag.c.end_at.is_(None))
    .order_by(tag.c.start_at.desc(), tag.c.id.desc())
)
_LABELS = Statement(
    select(
        manifest_label.c.manifest_id, label.c.id, label.c.project_id, label.c.name, label.c.description,
        label.c.colour, label.c.created_at, label.c.updated_at,
    )
    .select_from(manifest_label.join(label, label.c.id == manifest_label.c.label_id))
    .where(one_of(manifest_label.c.manifest_id, "manifests"), label.c.deleted_at.is_(None))
    .order_by(label.c.name)
)  # fmt: skip
_child = manifest.alias("child_row")
_CHILDREN = Statement(
    select(
        manifest_child.c.parent_id, manifest_child.c.child, _child.c.id,
        (_child.c.size + _child.c.content_size).label("size"),
    )
    .select_from(
        manifest_child.join(
            _child,
            and_(
                _child.c.repository_id == manifest_child.c.repository_id,
                _child.c.digest == manifest_child.c.child,
            ),
        )
    )
    .where(one_of(manifest_child.c.parent_id, "manifests"), _child.c.deleted_at.is_(None))
)  # fmt: skip


async def find(reader: Reader, repository_id: int, reference: Digest | Tag) -> Any | None:
    """Find a live artifact by digest or tag."""
    if isinstance(reference, Digest):
        return await reader.one(_BY_DIGEST, repository=repository_id, digest=reference.raw)
    return await reader.one(_BY_TAG, repository=repository_id, tag=reference)


async def tags(reader: Reader, manifests: list[int]) -> dict[int, list[Any]]:
    """Give the tags of some artifacts, the latest first."""
    return _by(await reader.all(_TAGS, manifests=manifests), "manifest_id")


async def labels(reader: Reader, manifests: list[int]) -> dict[int, list[Any]]:
    """Give the labels of some artifacts, by name."""
    return _by(await reader.all(_LABELS, manifests=manifests), "manifest_id")


async def children(reader: Reader, manifests: list[int]) -> dict[int, list[Any]]:
    """Give the children of some indexes that are there."""
    return _by(await reader.all(_CHILDREN, manifests=manifests), "parent_id")


def _by(rows: list[Any], name: str) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(getattr(row, name), []).append(row)
    return found
