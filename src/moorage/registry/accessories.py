"""Accessories: what hangs on an artifact, by naming it as its subject or by the tag that cosign gives signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select, union_all

from moorage.db import Statement, one_of, pages
from moorage.db.pages import Listing
from moorage.db.tables import manifest, tag
from moorage.oci.digests import Digest
from moorage.registry import kinds
from moorage.registry.shown import signature_tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.db import Reader
    from moorage.db.pages import Asked

COSIGN: Final = "signature.cosign"
_m = manifest.c
_COLUMNS: Final = (
    _m.id, _m.digest, _m.subject, _m.artifact_type, (_m.size + _m.content_size).label("size"), _m.pushed_at,
)  # fmt: skip
_SUBJECTS = Statement(
    select(*_COLUMNS)
    .where(
        _m.repository_id == bindparam("repository"), one_of(_m.subject, "subjects"), _m.deleted_at.is_(None)
    )
    .order_by(_m.id)
)
_SIGNED = Statement(
    select(*_COLUMNS, tag.c.name)
    .select_from(tag.join(manifest, _m.id == tag.c.manifest_id))
    .where(
        tag.c.repository_id == bindparam("repository"),
        one_of(tag.c.name, "tags"),
        tag.c.end_at.is_(None),
        _m.subject.is_(None),
    )
    .order_by(_m.id)
)
_which = union_all(
    select(_m.id).where(
        _m.repository_id == bindparam("repository"),
        _m.subject == bindparam("subject"),
        _m.deleted_at.is_(None),
    ),
    select(tag.c.manifest_id).where(
        tag.c.repository_id == bindparam("repository"),
        tag.c.name == bindparam("signature"),
        tag.c.end_at.is_(None),
    ),
)
_LISTED = Listing(
    shown=_COLUMNS,
    source=manifest,
    id=_m.id,
    where=(_m.id.in_(_which), _m.deleted_at.is_(None)),
    keys={
        "id": pages.number(_m.id),
        "artifact_id": pages.number(_m.id),
        "size": pages.number(_m.size + _m.content_size),
        "creation_time": pages.time(_m.pushed_at),
    },
    order=(("id", False),),
)


@dataclass(frozen=True, slots=True)
class Accessory:
    """A manifest that hangs on another."""

    id: int
    digest: str
    type: str
    size: int
    pushed_at: int


async def of(reader: Reader, repository_id: int, subjects: Sequence[Digest]) -> dict[Digest, list[Accessory]]:
    """Give what hangs on each of some artifacts, in two queries."""
    found: dict[Digest, list[Accessory]] = {}
    named = {signature_tag(one): one for one in subjects}
    raw = [one.raw for one in subjects]
    for row in await reader.all(_SUBJECTS, repository=repository_id, subjects=raw):
        found.setdefault(Digest.from_raw(row.subject), []).append(_accessory(row))
    for row in await reader.all(_SIGNED, repository=repository_id, tags=list(named)):
        found.setdefault(named[row.name], []).append(_accessory(row))
    return found


async def page(
    reader: Reader, repository_id: int, subject: Digest, asked: Asked
) -> tuple[list[Accessory], int]:
    """Give a page of what hangs on an artifact, and how much there is."""
    which = {"repository": repository_id, "subject": subject.raw, "signature": signature_tag(subject)}
    rows, total = await _LISTED.listed(reader, asked, **which)
    return [_accessory(row) for row in rows], total


def _accessory(row: Any) -> Accessory:
    type_ = COSIGN if row.subject is None else kinds.accessory(row.artifact_type or "")
    return Accessory(row.id, str(Digest.from_raw(row.digest)), type_, row.size, row.pushed_at)
