"""Tags and labels put on artifacts that are there, and taken off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, or_, select

from moorage.db import Statement, insert, pages
from moorage.db.pages import Listing
from moorage.db.tables import label, manifest_label, tag
from moorage.errors import Problem
from moorage.oci.digests import Digest
from moorage.registry import artifact_pages, holding, manifests, repositories
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.db import Tx
    from moorage.oci.names import RepositoryName, Tag
    from moorage.registry.events import Origin

_TAG = Statement(
    select(tag.c.id, tag.c.manifest_id).where(
        tag.c.repository_id == bindparam("repository"),
        tag.c.name == bindparam("name"),
        tag.c.end_at.is_(None),
    )
)
_ADD_TAG = Statement(
    insert(tag)
    .values(
        repository_id=bindparam("repository"),
        name=bindparam("name"),
        manifest_id=bindparam("manifest"),
        start_at=bindparam("at"),
    )
    .returning(tag.c.id)
)
_LABEL = Statement(
    select(label.c.id, label.c.name).where(
        label.c.id == bindparam("label"),
        label.c.deleted_at.is_(None),
        or_(label.c.project_id.is_(None), label.c.project_id == bindparam("project")),
    )
)
_IS_MARKED = Statement(
    select(manifest_label.c.at).where(
        manifest_label.c.manifest_id == bindparam("manifest"), manifest_label.c.label_id == bindparam("label")
    )
)
_MARK = Statement(
    insert(manifest_label).values(
        manifest_id=bindparam("manifest"), label_id=bindparam("label"), at=bindparam("at")
    )
)
_UNMARK = Statement(
    delete(manifest_label).where(
        manifest_label.c.manifest_id == bindparam("manifest"), manifest_label.c.label_id == bindparam("label")
    )
)
LISTED = Listing(
    shown=(tag.c.id, tag.c.name, tag.c.manifest_id, tag.c.repository_id, tag.c.start_at),
    source=tag,
    id=tag.c.id,
    where=(tag.c.manifest_id == bindparam("manifest"), tag.c.end_at.is_(None)),
    keys={
        "id": pages.number(tag.c.id),
        "name": pages.text(tag.c.name),
        "push_time": pages.time(tag.c.start_at),
    },
    order=(("push_time", True),),
)
"""The tags of an artifact."""


class Unknown(Problem):
    """There is no such artifact, tag or label."""

    code, status, summary = "NOT_FOUND", 404, "not found"


class Taken(Problem):
    """It is there already."""

    code, status, summary = "CONFLICT", 409, "it is there already"


async def _artifact(
    tx: Tx, name: RepositoryName, reference: Digest | Tag
) -> tuple[repositories.Repository, int, str]:
    home = await repositories.get(tx, name)
    found = await artifact_pages.find(tx, home.id, reference)
    if found is None:
        raise Unknown(f"artifact {reference} of {name} not found")
    return home, found.id, str(Digest.from_raw(found.digest))


async def create(tx: Tx, name: RepositoryName, reference: Digest | Tag, new: Tag, origin: Origin) -> None:
    """Give an artifact one more tag, or raise Unknown, or Taken if the repository has the tag."""
    home, number, digest = await _artifact(tx, name, reference)
    if await tx.one(_TAG, repository=home.id, name=new) is not None:
        raise Taken(f"tag {new} already exists under {name}", tag=new)
    await tx.one(_ADD_TAG, repository=home.id, name=new, manifest=number, at=tx.at)
    await holding.settle(tx, [number])
    # Told as what was tagged, not as a push: the artifact's digest stands beside the tag.
    await record(
        tx, "tag.create", origin, repository=name.text, tag=new, target=f"{name}:{new}", artifact=digest
    )


async def remove(tx: Tx, name: RepositoryName, reference: Digest | Tag, old: Tag, origin: Origin) -> None:
    """Take a tag off an artifact, or raise Unknown, or TagImmutable."""
    home, number, _ = await _artifact(tx, name, reference)
    row = await tx.one(_TAG, repository=home.id, name=old)
    if row is None or row.manifest_id != number:
        raise Unknown(f"the artifact {reference} of {name} has no tag {old}", tag=old)
    await manifests.untag(tx, name, old, origin)


async def mark(
    tx: Tx, name: RepositoryName, reference: Digest | Tag, project_id: int, number: int, origin: Origin
) -> None:
    """Put a label on an artifact; or raise Unknown (another project's is not there), or Taken."""
    found = await tx.one(_LABEL, label=number, project=project_id)
    if found is None:
        raise Unknown(f"label {number} not found", label=number)
    _, artifact, digest = await _artifact(tx, name, reference)
    if await tx.one(_IS_MARKED, manifest=artifact, label=number) is not None:
        raise Taken(f"label {number} is already added to the artifact {artifact}", label=number)
    await tx.run(_MARK, manifest=artifact, label=number, at=tx.at)
    await record(
        tx, "artifact.label", origin, repository=name.text, digest=digest, label=found.name, after=True
    )


async def unmark(tx: Tx, name: RepositoryName, reference: Digest | Tag, number: int, origin: Origin) -> None:
    """Take a label off an artifact, or raise Unknown."""
    _, artifact, digest = await _artifact(tx, name, reference)
    if not await tx.run(_UNMARK, manifest=artifact, label=number):
        raise Unknown(f"the artifact {artifact} has no label {number}", label=number)
    await record(tx, "artifact.label", origin, repository=name.text, digest=digest, label=number, after=False)
