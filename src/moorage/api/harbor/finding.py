"""Finding what a request names, by the name that it has or by one that it had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from moorage.api.harbor.problems import Conflict
from moorage.oci.errors import NameInvalid
from moorage.oci.names import RepositoryName
from moorage.registry import projects, repositories

if TYPE_CHECKING:
    from moorage.api.harbor.asks import Ask
    from moorage.registry.errors import NameTaken
    from moorage.registry.projects import Project

_FREE: Final = (
    "the name can be had again once an administrator of its project frees it (DELETE …/old-names/…)"
)


async def project(ask: Ask, name: str) -> Project | None:
    """Find a project by its name, or by one that it had."""
    if "\0" in name:
        return None
    found = await projects.find(ask.db, name)
    if found is not None:
        return found
    current = await ask.access.old_names.project(name)
    return None if current is None else await projects.find(ask.db, current)


async def elsewhere(ask: Ask, name: str, resource: str, action: str) -> RepositoryName | None:
    """Give what the repository is called now whose old name this is, if the caller may do this there."""
    try:
        current = await ask.access.old_names.repository(RepositoryName.parse(name))
    except NameInvalid:
        return None
    allowed = current is not None and await ask.may_in(current, resource, action)
    return current if allowed else None


async def source(ask: Ask, name: RepositoryName) -> RepositoryName:
    """Give the name that something is to be pulled by, which may be an old one."""
    if await repositories.find(ask.db, name) is not None:
        return name
    return await elsewhere(ask, name.text, "repository", "pull") or name


async def project_taken(ask: Ask, name: str, problem: NameTaken) -> Conflict | NameTaken:
    """Say of a project's name that is taken for whom it is kept, to those who may know."""
    current = await ask.access.old_names.project(name)
    if current is None or not await ask.may(current, "project", "read"):
        return problem
    return Conflict(
        f"{name} is an old name of project {current}, and is given to no other: {_FREE}", name=current
    )


async def repository_taken(ask: Ask, name: str, problem: NameTaken) -> Conflict | NameTaken:
    """Say of a repository's name that is taken for whom it is kept, to those who may know."""
    current = await elsewhere(ask, name, "repository", "read")
    if current is None:
        return problem
    told = f"{name} is an old name of repository {current}, and is given to no other: {_FREE}"
    return Conflict(told, name=current.text)
