"""Projects: namespaces of repositories, with members, a quota and policies.

One that is made for an upload is *begun*: it is no project yet for anybody who asks, and goes if nothing comes of it.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, exists, select, update

from moorage.db import Reader, Statement, Tx, insert
from moorage.db.tables import project, registry, repository
from moorage.errors import Problem
from moorage.identity import old_names
from moorage.oci import names
from moorage.registry.errors import NameTaken


class StillHolds(Problem):
    """Something stands in the project, which it is not deleted with."""

    code, status, summary = "PRECONDITION", 412, "the project is not empty"


LIVE = "live"
BEGUN = "begun"


@dataclass(frozen=True, slots=True)
class Project:
    """A project; ``limit_bytes`` is -1 for no limit."""

    id: int
    name: str
    public: bool
    limit_bytes: int
    used: int
    trash: int


_SHOWN = (
    project.c.id,
    project.c.name,
    project.c.public,
    project.c.limit_bytes,
    project.c.used,
    project.c.trash,
)
_FIND = Statement(
    select(*_SHOWN, project.c.state).where(
        project.c.name == bindparam("name"), project.c.deleted_at.is_(None)
    )
)
_NUMBERED = Statement(
    select(*_SHOWN, project.c.state).where(
        project.c.id == bindparam("number"), project.c.deleted_at.is_(None)
    )
)
_ALL = Statement(
    select(*_SHOWN).where(project.c.deleted_at.is_(None), project.c.state == LIVE).order_by(project.c.name)
)
_ADD = Statement(
    insert(project)
    .values(
        name=bindparam("name"),
        public=bindparam("public"),
        limit_bytes=bindparam("limit_bytes"),
        owner_id=bindparam("owner"),
        state=bindparam("state"),
        created_at=bindparam("at"),
    )
    .returning(project.c.id)
)
_MAKE_OF_BEGUN = Statement(
    update(project)
    .where(project.c.id == bindparam("project"))
    .values(
        public=bindparam("is_public"), limit_bytes=bindparam("bytes"), owner_id=bindparam("owner"), state=LIVE
    )
)
_SHOW = Statement(update(project).where(project.c.id == bindparam("project")).values(state=LIVE))
_FORGET = Statement(
    delete(project).where(
        project.c.id == bindparam("project"),
        project.c.state == BEGUN,
        ~exists().where(repository.c.project_id == project.c.id),
    )
)
_SET_PUBLIC = Statement(
    update(project)
    .where(project.c.id == bindparam("project"))
    .values(public=bindparam("is_public"), updated_at=bindparam("at"))
)
_SET_LIMIT = Statement(
    update(project)
    .where(project.c.id == bindparam("project"))
    .values(limit_bytes=bindparam("bytes"), updated_at=bindparam("at"))
)
_TOUCH = Statement(
    update(project).where(project.c.id == bindparam("project")).values(updated_at=bindparam("at"))
)
_HOLDS = Statement(
    select(repository.c.state)
    .where(repository.c.project_id == bindparam("project"), repository.c.deleted_at.is_(None))
    .order_by(repository.c.state.desc())
    .limit(1)
)
_DELETE = Statement(
    update(project).where(project.c.id == bindparam("project")).values(deleted_at=bindparam("at"))
)
_CREATES = Statement(select(registry.c.creates_projects))


async def find(reader: Reader, name: str) -> Project | None:
    """Find a live project by its name."""
    row = await reader.one(_FIND, name=name)
    return None if row is None or row.state != LIVE else _project(row)


async def numbered(reader: Reader, number: int) -> Project | None:
    """Find a live project by its number."""
    row = await reader.one(_NUMBERED, number=number)
    return None if row is None or row.state != LIVE else _project(row)


async def standing(tx: Tx, name: str) -> tuple[int, str] | None:
    """Find a project, even one that is only begun: its number and its state."""
    row = await tx.one(_FIND, name=name)
    return None if row is None else (row.id, row.state)


async def all_of(reader: Reader) -> list[Project]:
    """List the live projects by name."""
    return [_project(row) for row in await reader.all(_ALL)]


async def create(
    tx: Tx, name: str, *, public: bool = False, limit_bytes: int = -1, owner: int | None = None
) -> Project:
    """Make a project, or raise NameInvalid or NameTaken."""
    names.project(name)
    row = await tx.one(_FIND, name=name)
    # A name that another project had is taken as well, and told in the same words.
    if row.state != BEGUN if row is not None else await old_names.project_of(tx, name) is not None:
        message = f"there is a project {name} already"
        raise NameTaken(message, name=name)
    if row is None:
        row = await tx.one(
            _ADD, name=name, public=int(public), limit_bytes=limit_bytes, owner=owner, state=LIVE, at=tx.at
        )
    else:
        await tx.run(_MAKE_OF_BEGUN, project=row.id, is_public=int(public), bytes=limit_bytes, owner=owner)
    await tx.touch_access()
    return Project(row.id, name, public, limit_bytes, 0, 0)


async def begin(tx: Tx, name: str) -> int:
    """Begin a project for an upload, where there is none of this name; give its number. Raises NameInvalid."""
    names.project(name)
    made = await tx.one(_ADD, name=name, public=0, limit_bytes=-1, owner=None, state=BEGUN, at=tx.at)
    await tx.touch_access()
    number: int = made.id
    return number


async def show(tx: Tx, number: int) -> None:
    """Make a project that was begun one like others: something came of it."""
    await tx.run(_SHOW, project=number)
    await tx.touch_access()


async def forget_begun(tx: Tx, number: int) -> None:
    """Forget a project that was begun, if nothing stands in it any more."""
    if await tx.run(_FORGET, project=number):
        await tx.touch_access()


async def set_public(tx: Tx, found: Project, *, public: bool) -> None:
    """Let anyone pull from a project, or only its members."""
    await tx.run(_SET_PUBLIC, project=found.id, is_public=int(public), at=tx.at)
    await tx.touch_access()


async def set_limit(tx: Tx, found: Project, limit_bytes: int) -> None:
    """Limit what a project may store, in bytes; -1 for no limit. What is stored already stays."""
    await tx.run(_SET_LIMIT, project=found.id, bytes=limit_bytes, at=tx.at)


async def touch(tx: Tx, number: int) -> None:
    """Note that something about a project has changed."""
    await tx.run(_TOUCH, project=number, at=tx.at)


async def holds(reader: Reader, number: int) -> str:
    """Say what keeps a project from being deleted; nothing if nothing does."""
    row = await reader.one(_HOLDS, project=number)
    if row is None:
        return ""
    if row.state == LIVE:
        return "the project contains repositories, can not be deleted"
    return "an upload into the project is on its way, can not be deleted"


async def remove(tx: Tx, found: Project) -> None:
    """Put a project in the trash, or raise StillHolds; its name is free for another."""
    if reason := await holds(tx, found.id):
        raise StillHolds(reason, project=found.name)
    await tx.run(_DELETE, project=found.id, at=tx.at)
    await tx.touch_access()


async def created_by_push(reader: Reader) -> bool:
    """Say whether an administrator's push makes the project it names."""
    row = await reader.one(_CREATES)
    return bool(row.creates_projects)


def _project(row: Any) -> Project:
    return Project(row.id, row.name, bool(row.public), row.limit_bytes, row.used, row.trash)
