"""Lists of the wire: a repository's tags, and what refers to a manifest, a page at a time at constant cost."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, case, select

from moorage.db import Reader, Statement
from moorage.db.tables import manifest, project, repository, tag
from moorage.oci.digests import Digest
from moorage.oci.names import RepositoryName
from moorage.registry import repositories
from moorage.registry.projects import LIVE

_m = manifest.c

_TAGS = Statement(
    select(tag.c.name)
    .where(
        tag.c.repository_id == bindparam("repository"),
        tag.c.end_at.is_(None),
        tag.c.name > bindparam("after"),
    )
    .order_by(tag.c.name)
    .limit(bindparam("most"))
)


# The repository comes from a query of its own, not a join, whose order PostgreSQL would not know: no page is sorted.
_HOME = (
    select(repository.c.id)
    .select_from(repository.join(project, project.c.id == repository.c.project_id))
    .where(
        repository.c.name == bindparam("name"),
        repository.c.deleted_at.is_(None),
        repository.c.state == LIVE,
        project.c.state == LIVE,
    )
    .scalar_subquery()
)
LARGEST_PAGE = 4 << 20
"""Bytes after which a page of referrers ends: clients read no larger index."""
_AT_ONCE = 128
_SMALL = 16 << 10
# A manifest's annotations may be all of it. Those of large ones are read one by one, so that no page is held that is
# larger than may be shown.
_OF_SUBJECT = select(
    _m.id,
    _m.digest,
    _m.media_type,
    _m.artifact_type,
    _m.size,
    case((_m.size <= _SMALL, _m.annotations)).label("annotations"),
).where(_m.repository_id == _HOME, _m.subject == bindparam("subject"), _m.deleted_at.is_(None))
_ANNOTATIONS = Statement(select(_m.annotations).where(_m.id == bindparam("which")))
_REFERRERS = Statement(_OF_SUBJECT.order_by(_m.artifact_type, _m.id).limit(bindparam("most")))
# A cursor stands within a type: what is left of it, and every later type, are two searches. Of one comparison of both
# columns SQLite would seek the first alone, and so read all that earlier pages held.
_REFERRERS_OF_TYPE = Statement(
    _OF_SUBJECT.where(_m.artifact_type == bindparam("artifact_type"), _m.id > bindparam("after_id"))
    .order_by(_m.id)
    .limit(bindparam("most"))
)
_REFERRERS_OF_LATER_TYPES = Statement(
    _OF_SUBJECT.where(_m.artifact_type > bindparam("after_type"))
    .order_by(_m.artifact_type, _m.id)
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that names another as its subject, as the referrers list shows it (spec.md#listing-referrers)."""

    id: int
    digest: Digest
    media_type: str
    artifact_type: str
    size: int
    annotations: Mapping[str, str]


async def tags(reader: Reader, name: RepositoryName, after: str, most: int) -> list[str]:
    """Give up to *most* tags that come after *after*, in ASCII order, or raise NameUnknown."""
    home = await repositories.get(reader, name)
    return [row.name for row in await reader.all(_TAGS, repository=home.id, after=after, most=most)]


@dataclass(frozen=True, slots=True)
class Page:
    """Some referrers, and whether more come after them."""

    found: list[Referrer]
    more: bool


async def referrers(
    reader: Reader,
    name: RepositoryName,
    subject: Digest,
    *,
    artifact_type: str | None,
    after: tuple[str, int] | None = None,
    most: int,
) -> Page:
    """Give up to *most* live manifests that refer to *subject*, which need not exist, after a cursor.

    A page ends before it grows over LARGEST_PAGE bytes of annotations, but has one manifest at least if there is one.
    """
    of: dict[str, Any] = {"name": name.text, "subject": subject.raw}
    found: list[Referrer] = []
    left, wanted = LARGEST_PAGE, _AT_ONCE
    while True:
        wanted = min(wanted, most + 1 - len(found))
        rows = await _after(reader, of, artifact_type, after, wanted)
        for row in rows:
            annotations = row.annotations if row.size <= _SMALL else await _large(reader, row.id)
            left -= len(annotations or "")
            if len(found) == most or (found and left < 0):
                return Page(found, more=True)
            found.append(_referrer(row, annotations))
        if len(rows) < wanted:
            return Page(found, more=False)
        after = (rows[-1].artifact_type, rows[-1].id)
        wanted *= 2


async def _after(
    reader: Reader, of: dict[str, Any], artifact_type: str | None, after: tuple[str, int] | None, most: int
) -> list[Any]:
    if artifact_type is None and after is None:
        return await reader.all(_REFERRERS, **of, most=most)
    type_, id_ = after or ("", 0)
    one = type_ if artifact_type is None else artifact_type
    rows = await reader.all(_REFERRERS_OF_TYPE, **of, artifact_type=one, after_id=id_, most=most)
    if artifact_type is None and len(rows) < most:
        rows += await reader.all(_REFERRERS_OF_LATER_TYPES, **of, after_type=type_, most=most - len(rows))
    return rows


async def _large(reader: Reader, which: int) -> str | None:
    row = await reader.one(_ANNOTATIONS, which=which)
    # It may be gone since its row was listed.
    return None if row is None else row.annotations


def _referrer(row: Any, annotations: str | None) -> Referrer:
    return Referrer(
        row.id,
        Digest.from_raw(row.digest),
        row.media_type,
        row.artifact_type,
        row.size,
        json.loads(annotations) if annotations else {},
    )
