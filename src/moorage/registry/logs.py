"""The record as Harbor's audit log shows it: who did what to which resource, the latest first.

A kind of event that Harbor has a name for stands in KINDS; others are in the record alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, bindparam, exists, func, or_, select

from moorage.db import Reader, Statement, one_of
from moorage.db import pages as db_pages
from moorage.db.pages import Asked, Condition, How, Listing, QueryInvalid
from moorage.db.tables import event, old_project_name, project
from moorage.identity import old_names

_old = old_project_name.c


@dataclass(frozen=True, slots=True)
class Named:
    """What Harbor calls an event: an operation on a type of resource."""

    operation: str
    resource_type: str


KINDS: Final[Mapping[str, Named]] = {
    "manifest.push": Named("create", "artifact"),
    "manifest.pull": Named("pull", "artifact"),
    "manifest.delete": Named("delete", "artifact"),
    "tag.create": Named("create", "tag"),
    "tag.delete": Named("delete", "tag"),
    "repository.update": Named("update", "repository"),
    "repository.move": Named("update", "repository"),
    "repository.delete": Named("delete", "repository"),
    "project.create": Named("create", "project"),
    "project.update": Named("update", "project"),
    "project.rename": Named("update", "project"),
    "project.free-name": Named("update", "project"),
    "project.delete": Named("delete", "project"),
    "member.create": Named("create", "member"),
    "member.update": Named("update", "member"),
    "member.delete": Named("delete", "member"),
    "role.create": Named("create", "role"),
    "role.update": Named("update", "role"),
    "role.delete": Named("delete", "role"),
    "repository-grant.create": Named("create", "repository-grant"),
    "repository-grant.update": Named("update", "repository-grant"),
    "repository-grant.delete": Named("delete", "repository-grant"),
    "robot.create": Named("create", "robot"),
    "robot.update": Named("update", "robot"),
    "robot.secret": Named("update", "robot"),
    "robot.delete": Named("delete", "robot"),
    "robot.sign-in": Named("login", "robot"),
    "trust.create": Named("update", "robot"),
    "trust.update": Named("update", "robot"),
    "trust.delete": Named("update", "robot"),
    "user.create": Named("create", "user"),
    "user.update": Named("update", "user"),
    "user.password": Named("update", "user"),
    "user.admin": Named("update", "user"),
    "user.cli-secret": Named("update", "user"),
    "user.delete": Named("delete", "user"),
    "user.login": Named("login", "user"),
    "user.logout": Named("logout", "user"),
    "user-group.create": Named("create", "user-group"),
    "user-group.update": Named("update", "user-group"),
    "user-group.delete": Named("delete", "user-group"),
    "label.create": Named("create", "label"),
    "label.update": Named("update", "label"),
    "label.delete": Named("delete", "label"),
    "quota.update": Named("update", "quota"),
    "configuration.update": Named("update", "configuration"),
}
_ALL: Final = list(KINDS)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the log."""

    id: int
    at: int
    actor: str
    resource: str
    named: Named
    succeeded: bool


def _kinds_by(part: str) -> db_pages.Special:
    """Make what finds the kinds of event whose operation, or type of resource, is asked for."""

    def made(asked: Condition, name: str) -> tuple[Any, object]:
        if asked.how is How.RANGE:
            raise QueryInvalid(f"{part} is no range", value=part)
        fits: Any = (
            (lambda text: asked.values[0] in text) if asked.how is How.FUZZY else asked.values.__contains__
        )
        return one_of(event.c.kind, name), [kind for kind, one in KINDS.items() if fits(getattr(one, part))]

    return made


def _listing(*where: Any) -> Listing:
    return Listing(
        shown=(
            event.c.id,
            event.c.at,
            event.c.actor,
            event.c.target,
            event.c.project,
            event.c.kind,
            event.c.outcome,
        ),
        source=event,
        id=event.c.id,
        where=(one_of(event.c.kind, "kinds"), *where),
        keys={
            "id": db_pages.number(event.c.id),
            "op_time": db_pages.time(event.c.at),
            "username": db_pages.text(event.c.actor),
            "resource": db_pages.text(event.c.target),
            "project": db_pages.text(event.c.project),
        },
        order=(("op_time", True),),
        special={"operation": _kinds_by("operation"), "resource_type": _kinds_by("resource_type")},
    )


def _since_made(name: Any) -> Any:
    """Leave out what a project of the same name did that was deleted: it is none of this one's business."""
    made = select(project.c.created_at).where(project.c.name == name, project.c.deleted_at.is_(None))
    return event.c.at >= made.correlate(event).scalar_subquery()


def _since_so_called() -> Any:
    """Leave out what others did under the name before, of a project that has had another itself."""
    renamed = (
        select(func.max(_old.end_at))
        .where(_old.project_id == project.c.id)
        .correlate(project)
        .scalar_subquery()
    )
    since = select(func.coalesce(renamed, project.c.created_at)).where(
        project.c.name == event.c.project, project.c.deleted_at.is_(None)
    )
    return event.c.at >= since.correlate(event).scalar_subquery()


def _while_so_called() -> Any:
    """Take in what one of the projects did under a name that it had then."""
    return (
        exists()
        .select_from(old_project_name.join(project, project.c.id == _old.project_id))
        .where(
            _old.name == event.c.project,
            _old.start_at <= event.c.at,
            _old.end_at > event.c.at,
            one_of(project.c.name, "named"),
            project.c.deleted_at.is_(None),
        )
        .correlate(event)
    )


_EVERYWHERE = _listing()
_OF_PROJECT = _listing(event.c.project == bindparam("project"), _since_made(bindparam("project")))
_OF_PROJECTS = _listing(one_of(event.c.project, "projects"), _since_made(event.c.project))
# Asked only where one of the projects has been renamed: "projects" are all the names, "named" those of today.
_OF_RENAMED = _listing(
    one_of(event.c.project, "projects"),
    or_(
        and_(one_of(event.c.project, "named"), _since_so_called()),
        _while_so_called(),
    ),
)
_CALLED_BEFORE = Statement(
    select(_old.name)
    .select_from(old_project_name.join(project, project.c.id == _old.project_id))
    .where(one_of(project.c.name, "named"), project.c.deleted_at.is_(None))
)


async def page(reader: Reader, asked: Asked) -> tuple[list[Entry], int]:
    """Give a page of the whole log, and how long it is."""
    return await _page(_EVERYWHERE, reader, asked, {})


async def page_of(reader: Reader, project: str, asked: Asked) -> tuple[list[Entry], int]:
    """Give a page of a project's log, and how long it is."""
    if before := await _called_before(reader, [project]):
        return await _page_of_renamed(reader, [project], before, asked)
    return await _page(_OF_PROJECT, reader, asked, {"project": project})


async def page_of_all(reader: Reader, projects: list[str], asked: Asked) -> tuple[list[Entry], int]:
    """Give a page of the log of some projects together, and how long it is."""
    if before := await _called_before(reader, projects):
        return await _page_of_renamed(reader, projects, before, asked)
    return await _page(_OF_PROJECTS, reader, asked, {"projects": projects})


async def _called_before(reader: Reader, projects: list[str]) -> list[Any]:
    return await reader.all(_CALLED_BEFORE, named=projects) if await old_names.are_kept(reader) else []


async def _page_of_renamed(
    reader: Reader, projects: list[str], before: list[Any], asked: Asked
) -> tuple[list[Entry], int]:
    names = sorted({*projects, *(row.name for row in before)})
    return await _page(_OF_RENAMED, reader, asked, {"projects": names, "named": projects})


async def _page(
    listing: Listing, reader: Reader, asked: Asked, of: dict[str, object]
) -> tuple[list[Entry], int]:
    rows, total = await listing.listed(reader, asked, kinds=_ALL, **of)
    return [_entry(row) for row in rows], total


def _entry(row: Any) -> Entry:
    return Entry(
        row.id,
        row.at,
        row.actor or "anonymous",
        row.target or row.project,
        KINDS[row.kind],
        row.outcome == "success",
    )
