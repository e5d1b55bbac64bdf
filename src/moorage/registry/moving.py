"""Moving a repository to another name, or to another project, with all that hangs on it.

Everything in a repository names its number, which stays: manifests, tags and their history, trash, links, uploads under way,
pull counts. What counts by project is moved from the one's sums to the other's, each digest once a project, by few
statements however large the repository is. Labels of the project that it leaves stay behind; those of which the other
project has one of the same name are that one's from now on.
"""

from typing import Any

from sqlalchemy import bindparam, case, delete, exists, func, literal_column, select, update

from moorage.db import Statement, Tx, insert
from moorage.db.tables import (
    BIG,
    blob,
    label,
    manifest,
    manifest_label,
    old_repository_name,
    project_blob,
    repository,
    repository_blob,
    tag,
)
from moorage.identity import old_names
from moorage.oci.names import RepositoryName
from moorage.registry import immutability, renaming, repositories
from moorage.registry.errors import NameTaken, TagImmutable
from moorage.registry.projects import Project
from moorage.registry.quotas import Account
from moorage.registry.repositories import Repository

_link, _m, _moved = repository_blob.c, manifest.c, old_repository_name.c
_here, _there = project_blob.alias("here"), project_blob.alias("there")
_SOURCE, _TARGET = bindparam("source", type_=BIG), bindparam("target", type_=BIG)
_OURS = select(_link.blob_id).where(_link.repository_id == bindparam("repository"))
_IS_LIVE = (_link.refs > 0) | (_link.held == 1)

_TAGS = Statement(
    select(tag.c.name).where(tag.c.repository_id == bindparam("repository"), tag.c.end_at.is_(None))
)
_MOVE = Statement(
    update(repository)
    .where(repository.c.id == bindparam("repository"))
    .values(project_id=bindparam("target"), name=bindparam("name"), updated_at=bindparam("at"))
)
_FORGET_NAME = Statement(
    delete(old_repository_name).where(
        _moved.project_id == bindparam("project"), _moved.name == bindparam("name")
    )
)
_KEEP_NAME = Statement(
    insert(old_repository_name).values(
        project_id=bindparam("project"),
        name=bindparam("name"),
        repository_id=bindparam("repository"),
        end_at=bindparam("at"),
    )
)


def _sum(size: Any, *when: Any) -> Any:
    """Sum sizes up where all of the conditions hold."""
    condition = when[0]
    for one in when[1:]:
        condition &= one
    return func.coalesce(func.sum(case((condition, size), else_=0)), 0)


# What is used or trash only because this repository has it, and what the other project has not had so until now.
_BLOB_SUMS = Statement(
    select(
        _sum(blob.c.size, _IS_LIVE, _here.c.live_links == 1).label("leaves_used"),
        _sum(blob.c.size, _IS_LIVE, _here.c.live_links == 1, _here.c.links > 1).label("becomes_trash"),
        _sum(blob.c.size, _here.c.live_links == 0, _here.c.links == 1).label("leaves_trash"),
        _sum(blob.c.size, _IS_LIVE, func.coalesce(_there.c.live_links, 0) == 0).label("comes_used"),
        _sum(blob.c.size, _IS_LIVE, _there.c.live_links == 0).label("was_trash"),
        _sum(blob.c.size, ~_IS_LIVE, _there.c.links.is_(None)).label("comes_trash"),
    )
    .select_from(
        repository_blob.join(blob, blob.c.id == _link.blob_id)
        .join(_here, (_here.c.blob_id == _link.blob_id) & (_here.c.project_id == _SOURCE))
        .outerjoin(_there, (_there.c.blob_id == _link.blob_id) & (_there.c.project_id == _TARGET))
    )
    .where(_link.repository_id == bindparam("repository"))
)
_BODY_SUMS = Statement(
    select(
        _sum(_m.size, _m.deleted_at.is_(None)).label("used"),
        _sum(_m.size, _m.deleted_at.is_not(None)).label("trash"),
    ).where(_m.repository_id == bindparam("repository"))
)


def _one(condition: Any) -> Any:
    return case((condition, 1), else_=0)


def _live_link(blob_id: Any) -> Any:
    """Say (1 or 0) whether the repository's link to a blob is live.

    Asked for as a value, not whether there is one: PostgreSQL would rather read all that the project has at once.
    """
    return (
        select(_one(_IS_LIVE))
        .where(_link.repository_id == bindparam("repository"), _link.blob_id == blob_id)
        .scalar_subquery()
    )


def _had(column: Any, project_id: Any) -> Any:
    """Give how often a project had a blob before."""
    found = select(column).where(project_blob.c.blob_id == blob.c.id, project_blob.c.project_id == project_id)
    return func.coalesce(found.scalar_subquery(), 0)


_COUNT_PROJECTS = Statement(
    update(blob)
    .where(blob.c.id.in_(_OURS))
    .values(
        projects=blob.c.projects
        + _one(_had(project_blob.c.links, _TARGET) == 0)
        - _one(_had(project_blob.c.links, _SOURCE) == 1),
        live_projects=blob.c.live_projects
        + _live_link(blob.c.id)
        * (
            _one(_had(project_blob.c.live_links, _TARGET) == 0)
            - _one(_had(project_blob.c.live_links, _SOURCE) == 1)
        ),
    )
)
_COUNT_THERE = Statement(
    update(project_blob)
    .where(project_blob.c.project_id == _TARGET, project_blob.c.blob_id.in_(_OURS))
    .values(
        links=project_blob.c.links + 1,
        live_links=project_blob.c.live_links + _live_link(project_blob.c.blob_id),
    )
)
_BEGIN_THERE = Statement(
    insert(project_blob).from_select(
        ["blob_id", "project_id", "links", "live_links"],
        select(
            _link.blob_id,
            _TARGET.label("project_id"),
            literal_column("1").label("links"),
            _one(_IS_LIVE).label("live_links"),
        ).where(
            _link.repository_id == bindparam("repository"),
            ~exists().where(_there.c.blob_id == _link.blob_id, _there.c.project_id == _TARGET),
        ),
    )
)
_END_HERE = Statement(
    delete(project_blob).where(
        project_blob.c.project_id == _SOURCE, project_blob.c.links == 1, project_blob.c.blob_id.in_(_OURS)
    )
)
_COUNT_HERE = Statement(
    update(project_blob)
    .where(project_blob.c.project_id == _SOURCE, project_blob.c.blob_id.in_(_OURS))
    .values(
        links=project_blob.c.links - 1,
        live_links=project_blob.c.live_links - _live_link(project_blob.c.blob_id),
    )
)

_taken, _met = label.alias("taken"), label.alias("met")
_RELABEL = Statement(
    insert(manifest_label).from_select(
        ["manifest_id", "label_id", "at"],
        select(manifest_label.c.manifest_id, _met.c.id, manifest_label.c.at)
        .select_from(
            manifest.join(manifest_label, manifest_label.c.manifest_id == _m.id)
            .join(_taken, _taken.c.id == manifest_label.c.label_id)
            .join(_met, _met.c.name == _taken.c.name)
        )
        .where(
            _m.repository_id == bindparam("repository"),
            _taken.c.project_id == _SOURCE,
            _taken.c.deleted_at.is_(None),
            _met.c.project_id == _TARGET,
            _met.c.deleted_at.is_(None),
        ),
    )
)
_UNLABEL = Statement(
    delete(manifest_label).where(
        manifest_label.c.manifest_id.in_(select(_m.id).where(_m.repository_id == bindparam("repository"))),
        manifest_label.c.label_id.in_(
            select(label.c.id).where(label.c.project_id == _SOURCE, label.c.deleted_at.is_(None))
        ),
    )
)


async def move(tx: Tx, source: RepositoryName, target: Project, rest: str) -> Repository:
    """Give a repository another name in a project, and keep the old one for it; give it as it stands then.

    Raises NameUnknown, NameInvalid, NameTaken, TagImmutable if that would take a tag from under its rule, or QuotaExceeded.
    """
    home = await repositories.get(tx, source)
    name = RepositoryName.parse(f"{target.name}/{rest}")
    moved = Repository(home.id, target.id, name)
    if name == home.name:
        return home
    await renaming.require_place(tx)
    await _check_free(tx, home, name)
    await _check_rules(tx, home, moved)
    await tx.run(_FORGET_NAME, project=target.id, name=rest)
    old = home.name.text.partition("/")[2]
    await tx.run(_FORGET_NAME, project=home.project_id, name=old)
    await tx.run(_KEEP_NAME, project=home.project_id, name=old, repository=home.id, at=tx.at)
    if target.id != home.project_id:
        await _count(tx, home, target)
        await tx.run(_RELABEL, repository=home.id, source=home.project_id, target=target.id)
        await tx.run(_UNLABEL, repository=home.id, source=home.project_id)
    await tx.run(_MOVE, repository=home.id, target=target.id, name=name.text, at=tx.at)
    await tx.touch_access()
    return moved


async def _check_free(tx: Tx, home: Repository, name: RepositoryName) -> None:
    taken = await repositories.stands(tx, name)
    if taken or await old_names.repository_of(tx, name) not in {None, home.name}:
        raise NameTaken(f"there is a repository {name} already", name=name.text)


async def _check_rules(tx: Tx, home: Repository, moved: Repository) -> None:
    """Raise TagImmutable if a tag is kept as it is by a rule where the repository is, and by none where it comes to."""
    tags = [row.name for row in await tx.all(_TAGS, repository=home.id)]
    kept = await immutability.kept(tx, home.project_id, home.name, tags)
    still = await immutability.kept(tx, moved.project_id, moved.name, list(kept))
    for one in sorted(kept.keys() - still.keys()):
        rule = kept[one]
        message = (
            f"tag {one} of {home.name} is configured as immutable (rule {rule.id}: tags {rule.tags!r}), and no rule "
            f"would keep it at {moved.name}: make one there, or change this one"
        )
        raise TagImmutable(message, tag=one, rule=rule.id)


async def _count(tx: Tx, home: Repository, target: Project) -> None:
    """Count all that the repository has in the other project; the registry has as much as before."""
    of = {"repository": home.id, "source": home.project_id, "target": target.id}
    blobs = await tx.one(_BLOB_SUMS, **of)
    bodies = await tx.one(_BODY_SUMS, repository=home.id)
    await tx.run(_COUNT_PROJECTS, **of)
    for statement in (_COUNT_THERE, _BEGIN_THERE):
        await tx.run(statement, repository=home.id, target=target.id)
    for statement in (_END_HERE, _COUNT_HERE):
        await tx.run(statement, repository=home.id, source=home.project_id)
    left, met = Account(tx, home.project_id), Account(tx, target.id)
    left.moved(-blobs.leaves_used - bodies.used, blobs.becomes_trash - blobs.leaves_trash - bodies.trash)
    met.moved(blobs.comes_used + bodies.used, blobs.comes_trash - blobs.was_trash + bodies.trash)
    await left.settle()
    await met.settle()
