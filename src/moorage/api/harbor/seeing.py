"""Which projects somebody sees in lists, and how a project is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from moorage.api.harbor import answers
from moorage.identity import accounts, members
from moorage.identity.robots import EVERY_PROJECT
from moorage.identity.roles import Permission, Role
from moorage.registry import allowlists, granted, metadata, project_pages
from moorage.registry.project_pages import ALL, PUBLIC, Audience

if TYPE_CHECKING:
    from moorage.api.harbor.asks import Ask
    from moorage.registry.allowlists import Allowlist
    from moorage.registry.project_pages import Shown

LIST: Final = Permission("repository", "list")
# Of several roles that one is told of, which Harbor takes for the highest.
_HIGHEST = (Role.PROJECT_ADMIN, Role.MAINTAINER, Role.DEVELOPER, Role.GUEST, Role.LIMITED_GUEST)


async def audience(ask: Ask) -> Audience:
    """Say which projects the caller sees in lists."""
    caller = ask.caller
    if caller.is_anonymous:
        return PUBLIC
    if await ask.may_in_system("project", "list"):
        return ALL
    some = tuple(sorted({one.project for one in await ask.access.places(caller)}))
    if caller.kind == "user":
        return replace(project_pages.of_user(caller), some=some)
    names = await robots_projects(ask)
    return ALL if EVERY_PROJECT in names else replace(project_pages.of_names(names), some=some)


async def audience_of_repositories(ask: Ask) -> Audience:
    """Say of which projects the caller sees the repositories in lists, and which they see of others."""
    caller = ask.caller
    if caller.admin:
        return ALL
    some = tuple(await _granted(ask))
    if caller.kind == "user":
        return replace(project_pages.of_user(caller), some=some)
    robot = await accounts.by_subject(ask.db, "robot", caller.id) if caller.kind == "robot" else None
    if robot is None:
        return PUBLIC
    named = sorted({
        grant.namespace for grant in robot.grants if grant.kind == "project" and grant.permission == LIST
    })  # fmt: skip
    if EVERY_PROJECT in named and robot.project_id is None:
        return ALL
    names = [one for one in named if await ask.may(one, *LIST)]
    return replace(project_pages.of_names(names), some=some)


async def repositories(ask: Ask, resource: str, action: str) -> list[int] | None:
    """Give the repositories of the path's project that the caller may do this in; None: it is all of them."""
    held = await ask.access.held(ask.caller, ask.project.name)
    patterns = held.patterns(Permission(resource, action))
    if patterns is None:
        return None
    return await granted.matching(ask.db, ask.project.id, ask.project.name, patterns)


async def _granted(ask: Ask) -> list[int]:
    """Give the repositories that the caller sees by what was granted for them, wherever they are."""
    patterns: dict[tuple[int, str], list[str]] = {}
    for one in await ask.access.places(ask.caller):
        if LIST in one.permissions:
            patterns.setdefault((one.project, one.project_name), []).append(one.pattern)
    found: list[int] = []
    for (project, name), many in patterns.items():
        found += await granted.matching(ask.db, project, name, many)
    return found


async def _counts(ask: Ask, found: Sequence[Shown]) -> dict[int, int]:
    """Say how many repositories projects have, as far as the caller sees them."""
    counts = {one.id: one.repositories for one in found}
    some = {one.project for one in await ask.access.places(ask.caller)}
    for one in found:
        if one.id in some:
            counts[one.id] = await seen_of(ask, one.id, one.name, one.repositories)
    return counts


async def seen_of(ask: Ask, project: int, name: str, every: int) -> int:
    """Count how many of a project's repositories (*every* of them) the caller sees who was granted something for some."""
    held = await ask.access.held(ask.caller, name)
    patterns = held.patterns(LIST) if held.granted else None
    return every if patterns is None else len(await granted.matching(ask.db, project, name, patterns))


async def robots_projects(ask: Ask) -> list[str]:
    """Give the names of the projects that a robot was given something in."""
    found = await accounts.by_subject(ask.db, "robot", ask.caller.id)
    return [] if found is None else sorted({one.namespace for one in found.grants if one.kind == "project"})


async def shown(ask: Ask, found: Sequence[Shown], *, detail: bool = True) -> list[dict[str, Any]]:
    """Show a page of projects, each with what stands beside it: so many queries however many they are."""
    numbers = [one.id for one in found]
    if not numbers:
        return []
    set_ = await metadata.of(ask.db, numbers)
    lists = await allowlists.of(ask.db, numbers)
    counts = await _counts(ask, found) if detail else {}
    is_user = detail and ask.caller.kind == "user"
    roles = await members.roles_in(ask.db, ask.caller.id, numbers) if is_user else {}
    made = []
    for one in found:
        item = _plain(one, set_.get(one.id, {}), lists[one.id])
        if detail:
            item["repo_count"] = counts[one.id]
            held = roles.get(one.id, [])
            highest = [int(role) for role in _HIGHEST if role in held]
            item["current_user_role_id"] = (highest or held or [0])[0]
            item["current_user_role_ids"] = held
        made.append(item)
    return made


def allowlist(one: Allowlist) -> dict[str, Any]:
    """Show a list of vulnerabilities that are let pass."""
    item: dict[str, Any] = {
        "id": one.project,
        "project_id": one.project,
        "items": [{"cve_id": name} for name in one.items],
        "creation_time": answers.moment(one.created_at),
        "update_time": answers.moment(one.updated_at),
    }
    return item if one.expires_at is None else item | {"expires_at": one.expires_at}


def _plain(one: Shown, set_: dict[str, str], list_: Allowlist) -> dict[str, Any]:
    item: dict[str, Any] = {
        "project_id": one.id,
        "name": one.name,
        "creation_time": answers.moment(one.created_at),
        "update_time": answers.moment(one.updated_at),
        "metadata": {**set_, metadata.PUBLIC: "true" if one.public else "false"},
        "cve_allowlist": allowlist(list_),
    }
    if one.owner_id is not None:
        item |= {"owner_id": one.owner_id, "owner_name": one.owner or ""}
    return item
