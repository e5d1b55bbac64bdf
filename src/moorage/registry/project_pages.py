"""Projects as lists show them: who may see which, a page at a time, with what stands beside each in a few queries a page."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, func, literal_column, or_, select, union_all

from moorage.db import Reader, Statement, one_of
from moorage.db import pages as db_pages
from moorage.db.pages import Asked, Condition, Listing
from moorage.db.tables import member, project, registry, repository, user, user_group, user_group_member
from moorage.identity import custom_roles
from moorage.identity.callers import Caller
from moorage.identity.roles import SEE_PROJECT, Permission

# Written as constants, since an index that holds live rows alone is used only by who is seen to ask for these.
LIVE: Final = (project.c.deleted_at.is_(None), project.c.state == literal_column("'live'"))
LIVE_REPOSITORIES: Final = (
    repository.c.deleted_at.is_(None),
    repository.c.state == literal_column("'live'"),
)

_public = project.c.public == 1
# Said so that no index is chosen by it: what is seen is filtered on the way through all in their order, and not sorted.
_is_public = project.c.public + 0 == 1


def member_of(permission: Permission) -> Any:
    """Make the condition that a user is a member of a project, by themselves or through a group, in a role that may this.

    It is one that Harbor's five roles all have, so that only roles of the registry's own are looked at.
    """
    sees = custom_roles.sees(member.c.role, permission)
    own = select(member.c.project_id).where(member.c.user_id == bindparam("user"), sees)
    groups = (
        select(member.c.project_id)
        .join_from(user_group_member, member, member.c.group_id == user_group_member.c.group_id)
        .join(user_group, user_group.c.id == user_group_member.c.group_id)
        .where(user_group_member.c.user_id == bindparam("user"), user_group.c.deleted_at.is_(None), sees)
    )
    return project.c.id.in_(union_all(own, groups))


_mine = member_of(SEE_PROJECT)
MINE_LISTED: Final = member_of(Permission("repository", "list"))
_named = one_of(project.c.name, "names")
_granted = one_of(project.c.id, "granted")
_granted_alone = one_of(repository.c.id, "granted")


@dataclass(frozen=True, slots=True)
class Shown:
    """A project as lists show it."""

    id: int
    name: str
    public: bool
    limit_bytes: int
    used: int
    owner_id: int | None
    owner: str | None
    created_at: int
    updated_at: int
    repositories: int


def _owner(asked: Condition, name: str) -> tuple[Any, object]:
    chosen = select(user.c.id).where(user.c.name == bindparam(name), user.c.deleted_at.is_(None))
    return project.c.owner_id.in_(chosen), asked.values[0]


def _kept(n: Any) -> Statement:
    """Give what the registry keeps a count of."""
    return Statement(select(n.label("n")).select_from(registry))


def _with_private(seen: Any) -> Statement:
    """Give how many projects are public, with those that are not and are seen all the same: they are counted."""
    private = select(func.count(project.c.id)).where(*LIVE, project.c.public == 0, seen)
    return _kept(registry.c.public_projects + private.scalar_subquery())


def _listing(*seen: Any, whole: Statement | None = None) -> Listing:
    return Listing(
        shown=(
            project.c.id, project.c.name, project.c.public, project.c.limit_bytes, project.c.used, project.c.owner_id,
            user.c.name.label("owner"), project.c.created_at,
            func.coalesce(project.c.updated_at, project.c.created_at).label("updated_at"), project.c.repositories,
        ),
        source=project.outerjoin(user, user.c.id == project.c.owner_id),
        inner=project,
        id=project.c.id,
        where=(*LIVE, *seen),
        keys={
            "name": db_pages.text(project.c.name),
            "project_id": db_pages.number(project.c.id),
            "public": db_pages.flag(project.c.public),
            "owner_id": db_pages.number(project.c.owner_id),
            "creation_time": db_pages.time(project.c.created_at),
            "update_time": db_pages.time(project.c.updated_at),
            "used.storage": db_pages.number(project.c.used),
            "hard.storage": db_pages.number(project.c.limit_bytes),
        },
        order=(("name", False),),
        special={"owner": _owner},
        whole=whole,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Audience:
    """Which projects somebody sees in lists, and what that asks for."""

    kind: str
    params: dict[str, object]
    some: tuple[int, ...] = ()
    """Beside these: some projects that were granted for, or some repositories, where these are listed."""

    @property
    def kind_with_some(self) -> str:
        """Name the list that shows what was granted, too."""
        return f"{self.kind} and some" if self.some else self.kind

    @property
    def params_with_some(self) -> dict[str, object]:
        """Give what that list asks for."""
        return {**self.params, "granted": list(self.some)} if self.some else self.params


ALL: Final = Audience("all", {})
PUBLIC: Final = Audience("public", {})
_LISTS: Final = {
    "all": _listing(whole=_kept(registry.c.projects)),
    "public": _listing(_is_public, whole=_kept(registry.c.public_projects)),
    "user": _listing(or_(_is_public, _mine), whole=_with_private(_mine)),
    "names": _listing(or_(_is_public, _named), whole=_with_private(_named)),
    "user and some": _listing(or_(_is_public, _mine, _granted), whole=_with_private(or_(_mine, _granted))),
    "names and some": _listing(or_(_is_public, _named, _granted), whole=_with_private(or_(_named, _granted))),
}
_COUNTS: Final = {
    kind: Statement(
        select(project.c.public, func.count().label("n")).where(*LIVE, seen).group_by(project.c.public)
    )
    for kind, seen in {"mine": _mine, "names": _named}.items()
}
_REPOSITORY_COUNTS: Final = {
    kind: Statement(
        select(project.c.public, func.sum(project.c.repositories).label("n"))
        .where(*LIVE, seen)
        .group_by(project.c.public)
    )
    for kind, seen in {"mine": MINE_LISTED, "names": _named}.items()
}
_ALL_COUNTS = Statement(
    select(
        registry.c.projects, registry.c.public_projects, registry.c.repositories, registry.c.public_repositories
    )
)  # fmt: skip
_REPOSITORIES = Statement(
    select(project.c.id, project.c.repositories).where(one_of(project.c.id, "projects"))
)
_FOUND: Final = {
    kind: Statement(
        select(
            repository.c.id, repository.c.name, project.c.id.label("project_id"),
            project.c.name.label("project"), project.c.public,
        )
        .select_from(repository.join(project, project.c.id == repository.c.project_id))
        .where(
            *LIVE_REPOSITORIES, *LIVE, *seen,
            func.replace(repository.c.name, bindparam("part"), "") != repository.c.name,
        )
        .order_by(repository.c.name)
        .limit(bindparam("most"))
    )
    for kind, seen in {
        "all": (), "public": (_public,), "user": (or_(_public, MINE_LISTED),), "names": (or_(_public, _named),),
        "user and some": (or_(_public, MINE_LISTED, _granted_alone),),
        "names and some": (or_(_public, _named, _granted_alone),),
    }.items()
}  # fmt: skip


def of_user(caller: Caller) -> Audience:
    """Give what a user sees: public projects, and those that they are a member of."""
    return Audience("user", {"user": caller.id})


def of_names(names: list[str]) -> Audience:
    """Give what a robot of these projects sees: public projects, and these."""
    return Audience("names", {"names": names})


async def page(reader: Reader, audience: Audience, asked: Asked) -> list[Shown]:
    """Give a page of the projects that somebody sees."""
    rows = await _LISTS[audience.kind_with_some].page(reader, asked, **audience.params_with_some)
    return [_shown(row) for row in rows]


async def listed(reader: Reader, audience: Audience, asked: Asked) -> tuple[list[Shown], int]:
    """Give a page of the projects that somebody sees, and how many of them a query finds."""
    listing, params = _LISTS[audience.kind_with_some], audience.params_with_some
    rows, total = await listing.listed(reader, asked, **params)
    return [_shown(row) for row in rows], total


async def of(reader: Reader, number: int) -> Shown | None:
    """Give one project as lists show it."""
    one = Asked(conditions=(Condition("project_id", db_pages.How.EXACT, (str(number),)),))
    rows = await _LISTS["all"].page(reader, one)
    return _shown(rows[0]) if rows else None


async def repositories_in(reader: Reader, projects: list[int]) -> dict[int, int]:
    """Say how many repositories each of some projects has."""
    return {row.id: row.repositories for row in await reader.all(_REPOSITORIES, projects=projects)}


async def all_counts(reader: Reader) -> tuple[dict[bool, int], dict[bool, int]]:
    """Say how many projects and repositories there are, the public ones apart."""
    row = await reader.one(_ALL_COUNTS)
    return _apart(row.projects, row.public_projects), _apart(row.repositories, row.public_repositories)


def _apart(every: int, public: int) -> dict[bool, int]:
    return {True: public, False: every - public}


async def own_counts(reader: Reader, audience: Audience) -> tuple[dict[bool, int], dict[bool, int]]:
    """Count somebody's own projects (mine, names) and their repositories, the public ones apart."""
    found = await reader.all(_COUNTS[audience.kind], **audience.params)
    within = await reader.all(_REPOSITORY_COUNTS[audience.kind], **audience.params)
    return {bool(row.public): row.n for row in found}, {bool(row.public): row.n for row in within}


async def search_repositories(reader: Reader, audience: Audience, part: str, most: int) -> list[Any]:
    """Give repositories that somebody sees, whose names have a part in them."""
    found = _FOUND[audience.kind_with_some]
    return await reader.all(found, part=part, most=most, **audience.params_with_some)


def _shown(row: Any) -> Shown:
    return Shown(
        row.id, row.name, bool(row.public), row.limit_bytes, row.used, row.owner_id, row.owner, row.created_at,
        row.updated_at, row.repositories,
    )  # fmt: skip
