"""Repositories and the projects they stand in: found by name, made by the first push."""

from dataclasses import dataclass

from sqlalchemy import bindparam, select

from moorage.db import Reader, Statement, Tx, insert
from moorage.db.tables import project, repository
from moorage.oci.errors import NameUnknown
from moorage.oci.names import RepositoryName
from moorage.registry import projects
from moorage.registry.errors import ProjectUnknown

LIVE = "live"


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
_ADD = Statement(
    insert(repository)
    .values(project_id=bindparam("project"), name=bindparam("name"), state=LIVE, created_at=bindparam("at"))
    .returning(repository.c.id)
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
        message = f"repository {name} is not known to this registry"
        raise NameUnknown(message, name=name.text)
    return found


async def ensure(tx: Tx, name: RepositoryName, *, creates_project: bool = False) -> Repository:
    """Find a repository or make it; its project too, where that is allowed. Raises ProjectUnknown."""
    found = await find(tx, name)
    if found is not None:
        return found
    home = await projects.find(tx, name.project)
    if home is None and creates_project and await projects.created_by_push(tx):
        home = await projects.create(tx, name.project)
    if home is None:
        message = f"project {name.project} does not exist: create it first, or push into one that does"
        raise ProjectUnknown(message, project=name.project)
    made = await tx.one(_ADD, project=home.id, name=name.text, at=tx.at)
    return Repository(made.id, home.id, name)


async def page(reader: Reader, after: str, most: int) -> list[str]:
    """Give up to *most* names of live repositories that come after *after*, in ASCII order."""
    return [row.name for row in await reader.all(_PAGE, after=after, most=most)]
