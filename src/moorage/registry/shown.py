"""Which manifests lists of artifacts show: live ones, but neither what hangs on another one nor an index's untagged children.

An accessory hangs on another: it names a subject, or is what cosign tags ``sha256-….sig``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, exists, func, or_

from moorage.db.tables import manifest, manifest_child, tag

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from moorage.oci.digests import Digest

SIGNATURE_TAG_LENGTH: Final = 75
"""``sha256-``, 64 digits and ``.sig``."""

_parent = manifest.alias("parent")
_SIGNATURE_TAG: Final = and_(
    tag.c.name >= "sha256-",
    tag.c.name < "sha256.",
    func.length(tag.c.name) == SIGNATURE_TAG_LENGTH,
    func.substr(tag.c.name, SIGNATURE_TAG_LENGTH - 3) == ".sig",
)


def signature_tag(digest: Digest) -> str:
    """Give what cosign tags the signature of a manifest with."""
    return f"{digest.algorithm}-{digest.hex}.sig"


def tagged(one: Any = manifest) -> ColumnElement[bool]:
    """Say that a manifest has a tag."""
    return exists().where(tag.c.manifest_id == one.c.id, tag.c.end_at.is_(None))


def shown(one: Any = manifest) -> tuple[ColumnElement[bool], ...]:
    """Say what holds of a manifest that lists show."""
    signs = exists().where(tag.c.manifest_id == one.c.id, tag.c.end_at.is_(None), _SIGNATURE_TAG)
    in_index = exists().where(
        manifest_child.c.repository_id == one.c.repository_id,
        manifest_child.c.child == one.c.digest,
        _parent.c.id == manifest_child.c.parent_id,
        _parent.c.deleted_at.is_(None),
    )
    return one.c.deleted_at.is_(None), one.c.subject.is_(None), ~signs, or_(tagged(one), ~in_index)
