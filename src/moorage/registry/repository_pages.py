"""Repositories as the management API shows them: a page at a time, with what is counted of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, func, or_, select

from moorage.db import Statement, one_of, pages
from moorage.db.pages import Asked, Condition, How, Listing
from moorage.db.tables import project, repository
from moorage.registry import project_pages

if TYPE_CHECKING:
    from moorage.db import Reader
    from moorage.registry.project_pages import Audience


def _seen(*which: Any) -> Any:
    return repository.c.project_id.in_(select(project.c.id).where(*project_pages.LIVE, *which))


def _listing(*where: Any) -> Listing:
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
            "creation_time": pages.time(repository.c.created_at),
            "update_time": pages.time(repository.c.updated_at),
        },
        order=(("name", False),),
    )


_granted = one_of(repository.c.id, "granted")
_OF_PROJECT = _listing(repository.c.project_id == bindparam("project"))
_SOME_OF_PROJECT = _listing(repository.c.project_id == bindparam("project"), _granted)
_COUNTS = Statement(
    select(repository.c.id, repository.c.artifacts, repository.c.pulls).where(
        one_of(repository.c.id, "repositories")
    )
)
_EVERYWHERE: Final = {
    "all": _listing(_seen()),
    "public": _listing(_seen(project.c.public == 1)),
    "user": _listing(_seen(or_(project.c.public == 1, project_pages.MINE_LISTED))),
    "names": _listing(_seen(or_(project.c.public == 1, one_of(project.c.name, "names")))),
    "user and some": _listing(or_(_seen(or_(project.c.public == 1, project_pages.MINE_LISTED)), _granted)),
    "names and some": _listing(
        or_(_seen(or_(project.c.public == 1, one_of(project.c.name, "names"))), _granted)
    ),
}


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
    if some is not None:
        rows = await _SOME_OF_PROJECT.page(reader, asked, project=project_id, granted=some)
        total = await _SOME_OF_PROJECT.count(reader, asked, project=project_id, granted=some)
        return [Listed(*row) for row in rows], total
    rows = await _OF_PROJECT.page(reader, asked, project=project_id)
    return [Listed(*row) for row in rows], await _OF_PROJECT.count(reader, asked, project=project_id)


async def page(reader: Reader, audience: Audience, asked: Asked) -> tuple[list[Listed], int]:
    """Give a page of the repositories that somebody sees, and how many there are."""
    listing, params = _EVERYWHERE[audience.kind_with_some], audience.params_with_some
    rows = await listing.page(reader, asked, **params)
    return [Listed(*row) for row in rows], await listing.count(reader, asked, **params)


async def of(reader: Reader, project_id: int, number: int) -> Listed | None:
    """Give one repository of a project as lists show it."""
    one = Asked(conditions=(Condition("repository_id", How.EXACT, (str(number),)),))
    rows = await _OF_PROJECT.page(reader, one, project=project_id)
    return Listed(*rows[0]) if rows else None


async def counts(reader: Reader, numbers: list[int]) -> dict[int, tuple[int, int]]:
    """Count the artifacts of each of some repositories, and how often these were pulled."""
    rows = await reader.all(_COUNTS, repositories=numbers)
    return {row.id: (row.artifacts, row.pulls) for row in rows}
