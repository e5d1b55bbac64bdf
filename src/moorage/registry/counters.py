"""What the database counts of repositories, projects and the registry (`db.counting`), counted anew and written anew.

The rule for what lists show is `shown`'s here, and not the one that the database was given: the two must agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, case, func, or_, select, update

from moorage.db import Statement
from moorage.db.tables import manifest, member, project, pull_stat, registry, repository, user, user_group
from moorage.oci.digests import Digest
from moorage.registry.findings import Finding
from moorage.registry.projects import LIVE
from moorage.registry.shown import shown

if TYPE_CHECKING:
    from moorage.db import Tx

_m = manifest.c
_shows: Any = case((and_(*shown()), 1), else_=0)
_home = select(repository.c.project_id).where(repository.c.id == _m.repository_id).scalar_subquery()
_told_wrong = or_(_m.shown.is_distinct_from(_shows), _m.project_id.is_distinct_from(_home))


def _is_live(one: Any) -> Any:
    return and_(one.c.deleted_at.is_(None), one.c.state == LIVE)


def _of(counted: Any, *where: Any) -> Any:
    return select(func.coalesce(counted, 0)).where(*where).scalar_subquery()


_artifacts = _of(func.count(), _m.repository_id == repository.c.id, *shown())
_pulls = (
    select(func.coalesce(func.sum(pull_stat.c.pulls), 0))
    .select_from(manifest.join(pull_stat, pull_stat.c.manifest_id == _m.id))
    .where(_m.repository_id == repository.c.id)
    .correlate(repository)
    .scalar_subquery()
)
_here = and_(repository.c.project_id == project.c.id, _is_live(repository))
_repositories = _of(func.count(repository.c.id), _here)
_all_artifacts = (
    select(func.count())
    .select_from(manifest.join(repository, repository.c.id == _m.repository_id))
    .where(_here, *shown())
    .correlate(project)
    .scalar_subquery()
)
_public = case((project.c.public == 1, 1), else_=0)
_projects = _of(func.count(project.c.id), _is_live(project))
_public_projects = _of(func.sum(_public), _is_live(project))
_within = repository.join(project, project.c.id == repository.c.project_id)
_both = and_(_is_live(project), _is_live(repository))


def _of_registry(counted: Any) -> Any:
    return select(func.coalesce(counted, 0)).select_from(_within).where(_both).scalar_subquery()


_SUMS: Final[dict[Any, dict[Any, Any]]] = {
    repository: {repository.c.artifacts: _artifacts, repository.c.pulls: _pulls},
    project: {project.c.repositories: _repositories, project.c.artifacts: _all_artifacts},
    registry: {
        registry.c.projects: _projects,
        registry.c.public_projects: _public_projects,
        registry.c.repositories: _of_registry(func.count()),
        registry.c.public_repositories: _of_registry(func.sum(_public)),
    },
}
_names: Any = func.coalesce(
    select(user.c.name).where(user.c.id == member.c.user_id).scalar_subquery(),
    select(user_group.c.name).where(user_group.c.id == member.c.group_id).scalar_subquery(),
)
_misnamed = member.c.name.is_distinct_from(_names)


def _wrong(table: Any) -> Any:
    return or_(*(kept != counted for kept, counted in _SUMS[table].items()))


def _compared(table: Any, *named: Any) -> Statement:
    pairs = [
        (kept.label(f"kept_{kept.name}"), counted.label(f"n_{kept.name}"))
        for kept, counted in _SUMS[table].items()
    ]
    shown_ = [one for pair in pairs for one in pair]
    return Statement(select(*named, *shown_).where(_wrong(table)))


def _finding(kind: str, row: Any, what: str) -> Finding:
    told = row._asdict()
    names = [name.removeprefix("kept_") for name in told if name.startswith("kept_")]
    return Finding(
        kind,
        f"{', '.join(names)} of {what}",
        ", ".join(str(told[f"n_{name}"]) for name in names),
        ", ".join(str(told[f"kept_{name}"]) for name in names),
    )


CHECKS: Final[tuple[tuple[Statement, Callable[[Any], Finding]], ...]] = (
    (
        Statement(
            select(
                _m.digest, _m.repository_id, _m.shown, _m.project_id, _shows.label("shows"), _home.label("home")
            ).where(_told_wrong)
        ),
        lambda row: Finding(
            "shown",
            f"{Digest.from_raw(bytes(row.digest))} in repository {row.repository_id}",
            f"{row.shows} in project {row.home}",
            f"{row.shown} in project {row.project_id}",
        ),
    ),
    (_compared(repository, repository.c.name), lambda row: _finding("counted repository", row, row.name)),
    (_compared(project, project.c.name), lambda row: _finding("counted project", row, row.name)),
    (_compared(registry), lambda row: _finding("counted registry", row, "the registry")),
    (
        Statement(select(member.c.id, member.c.name, _names.label("named")).where(_misnamed)),
        lambda row: Finding("member", f"name of member {row.id}", str(row.named), str(row.name)),
    ),
)  # fmt: skip
_MENDS: Final = (
    Statement(update(manifest).where(_told_wrong).values(shown=_shows, project_id=_home)),
    *(
        Statement(update(table).where(_wrong(table)).values({kept.name: counted for kept, counted in sums.items()}))
        for table, sums in _SUMS.items()
    ),
    Statement(update(member).where(_misnamed).values(name=_names)),
)  # fmt: skip


async def mend(tx: Tx) -> None:
    """Write anew what is wrong: what manifests are first, and then what counts them, from the inside out."""
    for statement in _MENDS:
        await tx.run(statement)
