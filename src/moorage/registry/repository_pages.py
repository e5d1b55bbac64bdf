"""Repositories as the management API shows them: a page at a time, with what is counted of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, func, or_, select

from moorage.db import Statement, one_of, pages
from moorage.db.pages import Asked, Condition, How, Listing
from moorage.db.tables import project, registry, repository
from moorage.registry import project_pages

if TYPE_CHECKING:
    from moorage.db import Reader
    from moorage.registry.project_pages import Audience


def _seen(*which: Any) -> Any:
    """Say that a repository is in a public project, or in one of these.

    Its project is looked up for each repository, in the repositories' order: chosen by projects they would be sorted.
    """
    home = select(project.c.public).where(project.c.id == repository.c.project_id).scalar_subquery()
    others = [
        (repository.c.project_id + 0).in_(select(project.c.id).where(*project_pages.LIVE, one))
        for one in which
    ]
    return or_(home > 0, *others)


def _listing(*where: Any, whole: Statement | None = None) -> Listing:
    return Listing(
        shown=(
            repository.c.id,
            repository.c.project_id,
            repository.c.name,
            repository.c.description,
            repository.c.created_at,
            func.coalesce(repository.c.updated_at, repository.c.created_at).label("updated_at"),
            repository.c.artifacts,
            repository.c.pulls,
        ),
        source=repository,
        id=repository.c.id,
        where=(*project_pages.LIVE_REPOSITORIES, *where),
        keys={
            "name": pages.text(repository.c.name),
            "repository_id": pages.number(repository.c.id),
            "project_id": pages.number(repository.c.project_id),
            "description": pages.text(repository.c.description),
            "pull_count": pages.number(repository.c.pulls),
            "artifact_count": pages.number(repository.c.artifacts),
            "creation_time": pages.time(repository.c.created_at),
            "update_time": pages.time(repository.c.updated_at),
        },
        order=(("creation_time", True),),
        whole=whole,
    )


_granted = one_of(repository.c.id, "granted")


def _kept(n: Any) -> Statement:
    return Statement(select(n.label("n")).select_from(registry))


def _within(*where: Any) -> Any:
    """Add up what private projects have."""
    summed = select(func.coalesce(func.sum(project.c.repositories), 0))
    return summed.where(*project_pages.LIVE, project.c.public == 0, *where).scalar_subquery()


_named = one_of(project.c.name, "names")
_OF_PROJECT = _listing(
    repository.c.project_id == bindparam("project"),
    whole=Statement(select(project.c.repositories.label("n")).where(project.c.id == bindparam("project"))),
)
_SOME_OF_PROJECT = _listing(repository.c.project_id == bindparam("project"), _granted)
_COUNTS = Statement(
    select(repository.c.id, repository.c.artifacts, repository.c.pulls).where(
        one_of(repository.c.id, "repositories")
    )
)
_EVERYWHERE: Final = {
    "all": _listing(whole=_kept(registry.c.repositories)),
    "public": _listing(_seen(), whole=_kept(registry.c.public_repositories)),
    "user": _listing(
        _seen(project_pages.MINE_LISTED),
        whole=_kept(registry.c.public_repositories + _within(project_pages.MINE_LISTED)),
    ),
    "names": _listing(_seen(_named), whole=_kept(registry.c.public_repositories + _within(_named))),
    "user and some": _listing(or_(_seen(project_pages.MINE_LISTED), _granted)),
    "names and some": _listing(or_(_seen(_named), _granted)),
}
"""A live repository is in a live project, so who sees all is asked no project."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A repository as lists show it."""

    id: int
    project_id: int
    name: str
    description: str
    created_at: int
    updated_at: int
    artifacts: int
    pulls: int


async def page_of(
    reader: Reader, project_id: int, asked: Asked, some: list[int] | None = None
) -> tuple[list[Listed], int]:
    """Give a page of a project's repositories, or of *some* of them, and how many there are."""
    listing = _OF_PROJECT if some is None else _SOME_OF_PROJECT
    params = {"project": project_id} if some is None else {"project": project_id, "granted": some}
    rows, total = await listing.listed(reader, asked, **params)
    return [Listed(*row) for row in rows], total


async def page(reader: Reader, audience: Audience, asked: Asked) -> tuple[list[Listed], int]:
    """Give a page of the repositories that somebody sees, and how many there are."""
    listing, params = _EVERYWHERE[audience.kind_with_some], audience.params_with_some
    rows, total = await listing.listed(reader, asked, **params)
    return [Listed(*row) for row in rows], total


async def of(reader: Reader, project_id: int, number: int) -> Listed | None:
    """Give one repository of a project as lists show it."""
    one = Asked(conditions=(Condition("repository_id", How.EXACT, (str(number),)),))
    rows = await _OF_PROJECT.page(reader, one, project=project_id)
    return Listed(*rows[0]) if rows else None


async def counts(reader: Reader, numbers: list[int]) -> dict[int, tuple[int, int]]:
    """Say how many artifacts each of some repositories has, and how often these were pulled."""
    rows = await reader.all(_COUNTS, repositories=numbers)
    return {row.id: (row.artifacts, row.pulls) for row in rows}
