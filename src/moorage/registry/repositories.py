"""Repositories and the projects they stand in: found by name, made by the first push.

An upload needs a repository before anything is pushed. One that is made for it is *begun*: nobody sees it until it holds
something, and it goes with the last of its uploads if it never does.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, exists, or_, select, update

from moorage.db import Reader, Statement, Tx, insert
from moorage.db.tables import project, repository, upload
from moorage.identity import old_names
from moorage.oci.errors import NameUnknown
from moorage.oci.names import RepositoryName
from moorage.registry import projects
from moorage.registry.errors import ProjectUnknown
from moorage.registry.projects import BEGUN, LIVE


@dataclass(frozen=True, slots=True)
class Repository:
    """A named scope for manifests, blobs and tags."""

    id: int
    project_id: int
    name: RepositoryName


_FIND = Statement(
    select(repository.c.id, repository.c.project_id)
    .select_from(repository.join(project, project.c.id == repository.c.project_id))
    .where(
        repository.c.name == bindparam("name"),
        repository.c.deleted_at.is_(None),
        repository.c.state == LIVE,
        project.c.state == LIVE,
    )
)
_STANDING = Statement(
    select(
        repository.c.id, repository.c.project_id, repository.c.state, project.c.state.label("project_state")
    )
    .select_from(repository.join(project, project.c.id == repository.c.project_id))
    .where(
        repository.c.name == bindparam("name"),
        repository.c.deleted_at.is_(None),
        or_(repository.c.state == LIVE, repository.c.state == BEGUN),
        or_(project.c.state == LIVE, project.c.state == BEGUN),
    )
)
_STANDS = Statement(
    select(repository.c.id).where(repository.c.name == bindparam("name"), repository.c.deleted_at.is_(None))
)
_NUMBERED = Statement(
    select(
        repository.c.id,
        repository.c.project_id,
        repository.c.name,
        repository.c.state,
        project.c.state.label("project_state"),
    )
    .select_from(repository.join(project, project.c.id == repository.c.project_id))
    .where(
        repository.c.id == bindparam("repository"),
        repository.c.deleted_at.is_(None),
        or_(repository.c.state == LIVE, repository.c.state == BEGUN),
        or_(project.c.state == LIVE, project.c.state == BEGUN),
    )
)
_ADD = Statement(
    insert(repository)
    .values(
        project_id=bindparam("project"),
        name=bindparam("name"),
        state=bindparam("state"),
        created_at=bindparam("at"),
    )
    .returning(repository.c.id)
)
_SHOW = Statement(update(repository).where(repository.c.id == bindparam("repository")).values(state=LIVE))
_DESCRIBE = Statement(
    update(repository)
    .where(repository.c.id == bindparam("repository"))
    .values(description=bindparam("text"), updated_at=bindparam("at"))
)
_FORGET = Statement(
    delete(repository)
    .where(
        repository.c.id == bindparam("repository"),
        repository.c.state == BEGUN,
        ~exists().where(upload.c.repository_id == repository.c.id),
    )
    .returning(repository.c.project_id)
)
_PAGE = Statement(
    select(repository.c.name)
    .select_from(repository.join(project, project.c.id == repository.c.project_id))
    .where(
        repository.c.deleted_at.is_(None),
        repository.c.state == LIVE,
        project.c.state == LIVE,
        repository.c.name > bindparam("after"),
    )
    .order_by(repository.c.name)
    .limit(bindparam("most"))
)


async def find(reader: Reader, name: RepositoryName) -> Repository | None:
    """Find a live repository; None when there is none."""
    row = await reader.one(_FIND, name=name.text)
    return None if row is None else Repository(row.id, row.project_id, name)


async def get(reader: Reader, name: RepositoryName) -> Repository:
    """Find a live repository, or raise NameUnknown."""
    found = await find(reader, name)
    if found is None:
        raise _unknown(name)
    return found


async def stands(reader: Reader, name: RepositoryName) -> bool:
    """Say whether a repository has this name, even one that is only begun."""
    return await reader.one(_STANDS, name=name.text) is not None


async def ensure(tx: Tx, name: RepositoryName, *, creates_project: bool = False) -> Repository:
    """Find a repository or make it; its project too, where that is allowed.

    Raises ProjectUnknown, or NameUnknown where the name is an old one of another: that is never made anew.
    """
    row = await tx.one(_STANDING, name=name.text)
    if row is None:
        number, state = await _project(tx, name, creates=creates_project)
        if state == BEGUN:
            await projects.show(tx, number)
        return await _add(tx, number, name, LIVE)
    return await _shown(tx, row, name)


async def ensure_of(tx: Tx, began: Repository) -> Repository:
    """Do as `ensure` for a repository that was found before this turn, and has another name since, perhaps."""
    row = await tx.one(_NUMBERED, repository=began.id)
    if row is None:
        return await ensure(tx, began.name)
    return await _shown(tx, row, RepositoryName.parse(row.name))


async def begin(tx: Tx, name: RepositoryName, *, creates_project: bool = False) -> Repository:
    """Find a repository, or begin one (and its project, where that is allowed) for an upload. Raises as `ensure` does."""
    row = await tx.one(_STANDING, name=name.text)
    if row is not None:
        return Repository(row.id, row.project_id, name)
    number, _ = await _project(tx, name, creates=creates_project)
    return await _add(tx, number, name, BEGUN)


async def forget_begun(tx: Tx, repository_id: int) -> None:
    """Forget a repository that was begun, and its project, if nothing came of it and no upload is left."""
    row = await tx.one(_FORGET, repository=repository_id)
    if row is not None:
        await projects.forget_begun(tx, row.project_id)


async def _project(tx: Tx, name: RepositoryName, *, creates: bool) -> tuple[int, str]:
    if await old_names.repository_of(tx, name) is not None:
        raise _unknown(name)
    home = await projects.standing(tx, name.project)
    if home is not None:
        return home
    if not (creates and await projects.created_by_push(tx)):
        message = f"project {name.project} does not exist: create it first, or push into one that does"
        raise ProjectUnknown(message, project=name.project)
    return await projects.begin(tx, name.project), BEGUN


async def _shown(tx: Tx, row: Any, name: RepositoryName) -> Repository:
    if row.state == BEGUN:
        await tx.run(_SHOW, repository=row.id)
    if row.project_state == BEGUN:
        await projects.show(tx, row.project_id)
    return Repository(row.id, row.project_id, name)


def _unknown(name: RepositoryName) -> NameUnknown:
    message = f"repository {name} is not known to this registry"
    return NameUnknown(message, name=name.text)


async def _add(tx: Tx, project_id: int, name: RepositoryName, state: str) -> Repository:
    made = await tx.one(_ADD, project=project_id, name=name.text, state=state, at=tx.at)
    return Repository(made.id, project_id, name)


async def describe(tx: Tx, home: Repository, description: str) -> None:
    """Say what a repository holds, in its owner's words."""
    await tx.run(_DESCRIBE, repository=home.id, text=description, at=tx.at)


async def page(reader: Reader, after: str, most: int) -> list[str]:
    """Give up to *most* names of live repositories that come after *after*, in ASCII order."""
    return [row.name for row in await reader.all(_PAGE, after=after, most=most)]
