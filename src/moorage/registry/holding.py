"""What holds a manifest: a tag, a live index that names it, or the live subject it refers to.

``loose_since`` says since when nothing does; retention of untagged manifests goes by it.
"""

from collections.abc import Sequence

from sqlalchemy import and_, bindparam, case, exists, or_, select, update

from moorage.db import Statement, Tx, one_of
from moorage.db.tables import BIG, manifest, manifest_child, tag

_parent = manifest.alias("parent")
_subject = manifest.alias("subject_row")

_TAGGED = exists().where(tag.c.manifest_id == manifest.c.id, tag.c.end_at.is_(None))
_IN_INDEX = exists().where(
    manifest_child.c.repository_id == manifest.c.repository_id,
    manifest_child.c.child == manifest.c.digest,
    _parent.c.id == manifest_child.c.parent_id,
    _parent.c.deleted_at.is_(None),
)
_REFERS = exists().where(
    _subject.c.repository_id == manifest.c.repository_id,
    _subject.c.digest == manifest.c.subject,
    _subject.c.deleted_at.is_(None),
)
HELD = or_(_TAGGED, _IN_INDEX, _REFERS)

_SETTLE = Statement(
    update(manifest)
    .where(
        one_of(manifest.c.id, "manifests"),
        manifest.c.deleted_at.is_(None),
        or_(and_(HELD, manifest.c.loose_since.is_not(None)), and_(~HELD, manifest.c.loose_since.is_(None))),
    )
    .values(loose_since=case((manifest.c.loose_since.is_(None), bindparam("at", type_=BIG)), else_=None))
)
_child = manifest.alias("child_row")
_CHILDREN = Statement(
    select(_child.c.id)
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
)
_REFERRERS = Statement(
    select(_child.c.id)
    .select_from(
        manifest.join(
            _child,
            and_(_child.c.repository_id == manifest.c.repository_id, _child.c.subject == manifest.c.digest),
        )
    )
    .where(one_of(manifest.c.id, "manifests"), _child.c.deleted_at.is_(None))
)


async def settle(tx: Tx, manifests: Sequence[int]) -> None:
    """Note, for each of these live manifests, whether something holds it now."""
    if manifests:
        await tx.run(_SETTLE, manifests=list(manifests), at=tx.at)


async def below(tx: Tx, manifests: Sequence[int]) -> list[int]:
    """List the live manifests that these hold: their children, and those that refer to them."""
    if not manifests:
        return []
    rows = await tx.all(_CHILDREN, manifests=list(manifests)) + await tx.all(
        _REFERRERS, manifests=list(manifests)
    )
    return [row.id for row in rows]
