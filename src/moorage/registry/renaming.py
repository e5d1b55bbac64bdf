"""Renaming a project, and the old names that it and its repositories keep.

Repositories' rows hold their whole names, so that what a pull asks for is one look in one index; all of a project's are
written anew in the turn that renames it, by one statement. Nothing else hangs on the names but robots and what they were
given, which are written anew with them.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, bindparam, case, delete, func, literal, select, union_all, update

from moorage.db import Reader, Statement, Tx, insert
from moorage.db import pages as db_pages
from moorage.db.pages import Asked, Listing
from moorage.db.tables import old_project_name, old_repository_name, project, repository
from moorage.errors import Problem, Unavailable
from moorage.identity import old_names, robots
from moorage.oci import names
from moorage.oci.errors import NameInvalid
from moorage.registry import projects
from moorage.registry.errors import NameTaken
from moorage.registry.projects import Project

_old, _moved = old_project_name.c, old_repository_name.c

_SINCE = Statement(select(func.max(_old.end_at).label("at")).where(_old.project_id == bindparam("project")))
_MADE = Statement(select(project.c.created_at).where(project.c.id == bindparam("project")))
_KEEP = Statement(
    insert(old_project_name).values(
        name=bindparam("name"),
        project_id=bindparam("project"),
        start_at=bindparam("since"),
        end_at=bindparam("at"),
    )
)
_RENAME = Statement(
    update(project)
    .where(project.c.id == bindparam("project"))
    .values(name=bindparam("name"), updated_at=bindparam("at"))
)
_LONGEST = Statement(
    select(func.max(func.length(repository.c.name)).label("n")).where(
        repository.c.project_id == bindparam("project")
    )
)
# Those in the trash as well, since what is restored comes back under the project's name of then.
_RENAME_REPOSITORIES = Statement(
    update(repository)
    .where(repository.c.project_id == bindparam("project"))
    .values(
        name=bindparam("before_slash", type_=repository.c.name.type)
        + func.substr(repository.c.name, bindparam("from_slash", type_=Integer()))
    )
)
_FREE = Statement(
    update(old_project_name)
    .where(
        _old.project_id == bindparam("project"), _old.name == bindparam("old_name"), _old.freed_at.is_(None)
    )
    .values(freed_at=bindparam("at"))
)
_FREE_REPOSITORY = Statement(
    delete(old_repository_name).where(
        _moved.project_id == bindparam("project"), _moved.name == bindparam("old_name")
    )
)
_kept = union_all(
    select(
        _old.name.label("name"),
        project.c.name.label("current"),
        project.c.name.label("stands"),
        literal("project").label("kind"),
        func.max(_old.end_at).label("until"),
    )
    .select_from(old_project_name.join(project, project.c.id == _old.project_id))
    .where(_old.project_id == bindparam("project"), _old.freed_at.is_(None), _old.name != project.c.name)
    .group_by(_old.name, project.c.name),
    select(
        (project.c.name + "/" + _moved.name).label("name"),
        # Asked for and sorted by only as far as everybody may know it who sees this project.
        case((repository.c.project_id == project.c.id, repository.c.name), else_="").label("current"),
        repository.c.name.label("stands"),
        literal("repository").label("kind"),
        _moved.end_at.label("until"),
    )
    .select_from(
        old_repository_name.join(project, project.c.id == _moved.project_id).join(
            repository, repository.c.id == _moved.repository_id
        )
    )
    .where(_moved.project_id == bindparam("project")),
).subquery("kept")
KEPT = Listing(
    shown=(_kept.c.name, _kept.c.stands, _kept.c.kind, _kept.c.until),
    source=_kept,
    id=_kept.c.name,
    where=(),
    keys={
        "name": db_pages.text(_kept.c.name),
        "current": db_pages.text(_kept.c.current),
        "kind": db_pages.text(_kept.c.kind),
        "until": db_pages.time(_kept.c.until),
    },
    order=(("name", False),),
)


class OldNameUnknown(Problem):
    """The project has no such old name."""

    code, status, summary = "NOT_FOUND", 404, "the project has no such old name"


@dataclass(frozen=True, slots=True)
class Kept:
    """An old name that is kept, of which kind, what has it is called now, and until when it was in use."""

    name: str
    kind: str
    current: str
    until: int


async def rename(tx: Tx, found: Project, name: str) -> None:
    """Give a project another name, and keep the old one for it. Raises NameInvalid, or NameTaken."""
    names.project(name)
    if name == found.name:
        return
    await require_place(tx)
    await _check_free(tx, found, name)
    await _check_lengths(tx, found, name)
    since = (await tx.one(_SINCE, project=found.id)).at or (await tx.one(_MADE, project=found.id)).created_at
    await tx.run(_KEEP, name=found.name, project=found.id, since=since, at=tx.at)
    await tx.run(_RENAME, project=found.id, name=name, at=tx.at)
    slash = len(found.name) + 1
    await tx.run(_RENAME_REPOSITORIES, project=found.id, before_slash=name, from_slash=slash)
    await robots.rename_project(tx, found.id, found.name, name)
    await tx.touch_access()


async def kept(reader: Reader, project_id: int, asked: Asked) -> tuple[list[Kept], int]:
    """Give a page of the old names that are kept for a project, or in it for repositories, and how many there are."""
    if not await old_names.are_kept(reader):
        return [], 0
    rows = await KEPT.page(reader, asked, project=project_id)
    found = [Kept(row.name, row.kind, row.stands, row.until) for row in rows]
    return found, await KEPT.count(reader, asked, project=project_id)


async def free(tx: Tx, found: Project, name: str) -> None:
    """Let others have an old name: a project's, or ``project/repository`` of this project. Raises OldNameUnknown."""
    home, slash, rest = name.partition("/")
    await require_place(tx)
    if slash:
        there = home == found.name and await tx.run(_FREE_REPOSITORY, project=found.id, old_name=rest)
    else:
        there = name != found.name and await tx.run(_FREE, project=found.id, old_name=name, at=tx.at)
        # What a robot was given by this name in the very moment of the renaming must not reach another project.
        await robots.take_in_project(tx, name)
    if not there:
        raise OldNameUnknown(f"{name[:255]} is no old name of project {found.name}", name=name[:255])
    await tx.touch_access()


async def require_place(tx: Tx) -> None:
    """Raise Unavailable where the schema has no place for old names yet."""
    if not await old_names.are_kept(tx):
        raise Unavailable("names are changed once the database is brought forward: `moorage migrate`")


async def _check_free(tx: Tx, found: Project, name: str) -> None:
    standing = await projects.standing(tx, name)
    if standing is not None or await old_names.project_of(tx, name) not in {None, found.name}:
        raise NameTaken(f"there is a project {name} already", name=name)


async def _check_lengths(tx: Tx, found: Project, name: str) -> None:
    longest: Any = (await tx.one(_LONGEST, project=found.id)).n or 0
    after = longest + len(name) - len(found.name)
    if after > names.NAME_LIMIT:
        message = (
            f"{name} is too long a name for this project: the longest name of its repositories would have {after} "
            f"characters, and {names.NAME_LIMIT} are allowed"
        )
        raise NameInvalid(message, length=after, limit=names.NAME_LIMIT)
