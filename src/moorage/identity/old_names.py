"""Names that projects and repositories had, which go on meaning the same ones.

A project that is renamed keeps its old names, and a repository that is moved those that it had in each project, until they
are freed or the project is gone. Rows name numbers, so that however often something was renamed the way to it is one step.
A name in use always counts first: nobody looks here unless a name was not found, and what was found out here is remembered
until an access row changes, as each change of a name touches those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, case, exists, literal, literal_column, select, union_all

from moorage.db import Statement
from moorage.db.places import Place
from moorage.db.tables import old_project_name, old_repository_name, project, repository
from moorage.identity.tokens import NEVER
from moorage.oci.errors import NameInvalid
from moorage.oci.names import RepositoryName

if TYPE_CHECKING:
    from moorage.db import Database, Reader

MOST: Final = 10_000


# A cell is served before its schema is brought forward: so long nothing has an old name, and nothing gets one.
_PLACE: Final = Place(old_repository_name)
_old, _moved = old_project_name.c, old_repository_name.c
_home = project.alias("home")
_LIVE = (project.c.deleted_at.is_(None), project.c.state == literal_column("'live'"))

_PROJECT = Statement(
    select(project.c.id, project.c.name)
    .select_from(old_project_name.join(project, project.c.id == _old.project_id))
    .where(_old.name == bindparam("name"), _old.freed_at.is_(None), *_LIVE)
    .order_by(_old.end_at.desc())
    .limit(1)
)


def _ways(was: int, source: Any, *where: Any) -> Any:
    """Find the project of a name, and where the repository is that once stood in it under the rest."""
    return (
        select(
            literal(was).label("was"),
            project.c.name.label("project"),
            case((_home.c.deleted_at.is_(None), repository.c.name)).label("moved"),
            exists().where(_moved.project_id == project.c.id).correlate(project).label("has_moved"),
        )
        .select_from(
            source.outerjoin(
                old_repository_name,
                (_moved.project_id == project.c.id) & (_moved.name == bindparam("rest")),
            )
            .outerjoin(repository, repository.c.id == _moved.repository_id)
            .outerjoin(_home, _home.c.id == repository.c.project_id)
        )
        .where(*where, *_LIVE)
    )


_REPOSITORY = Statement(
    union_all(
        _ways(0, project, project.c.name == bindparam("name")),
        _ways(
            1,
            old_project_name.join(project, project.c.id == _old.project_id),
            _old.name == bindparam("name"),
            _old.freed_at.is_(None),
        ),
    )
)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is nobody's old name, as of one state of the access rows."""

    version: int
    projects: set[str] = field(default_factory=set)
    # Projects in which no repository ever had another name.
    plain: set[str] = field(default_factory=set)


class OldNames:
    """The old names of one registry, of which those that are none are remembered."""

    def __init__(self, db: Database) -> None:
        """Look in the rows of *db*."""
        self._db = db
        self._known = _Known(NEVER)

    async def project(self, name: str) -> str | None:
        """Give what the project is called now whose old name this is; to be asked where no project has the name."""
        known = self._current()
        if name in known.projects:
            return None
        found = await project_of(self._db, name)
        if found is None:
            _remember(known.projects, name)
        return found

    async def repository(self, name: RepositoryName) -> RepositoryName | None:
        """Give what the repository is called now whose old name this is; to be asked where none has the name."""
        known = self._current()
        if name.project in known.plain:
            return None
        row = await _way(self._db, name)
        if row is None or not (row.was or row.has_moved):
            _remember(known.plain, name.project)
            return None
        return _current(name, row)

    def _current(self) -> _Known:
        version = self._db.access_version()
        if self._known.version != version:
            self._known = _Known(version)
        return self._known


async def project_of(reader: Reader, name: str) -> str | None:
    """Give what the project is called now whose old name this is."""
    row = await reader.one(_PROJECT, name=name) if await are_kept(reader) else None
    return None if row is None else str(row.name)


async def repository_of(reader: Reader, name: RepositoryName) -> RepositoryName | None:
    """Give what the repository is called now whose old name this is."""
    row = await _way(reader, name)
    return None if row is None else _current(name, row)


async def are_kept(reader: Reader) -> bool:
    """Say whether there can be old names: in a cell whose schema is of the release before there are none."""
    return await _PLACE.is_there(reader)


async def _way(reader: Reader, name: RepositoryName) -> Any | None:
    if not await are_kept(reader):
        return None
    rest = name.text.partition("/")[2]
    rows = await reader.all(_REPOSITORY, name=name.project, rest=rest)
    return min(rows, key=lambda row: row.was, default=None)


def _current(name: RepositoryName, row: Any) -> RepositoryName | None:
    """Read where a way leads; None if it leads nowhere else."""
    text = row.moved or f"{row.project}/{name.text.partition('/')[2]}"
    try:
        return None if text == name.text else RepositoryName.parse(text)
    except NameInvalid:
        # It would be too long for one that can be there.
        return None


def _remember(into: set[str], name: str) -> None:
    if len(into) >= MOST:
        into.clear()
    into.add(name)
