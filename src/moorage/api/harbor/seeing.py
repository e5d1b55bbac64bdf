"""Which projects somebody sees in lists, and how a project is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from moorage.api.harbor import answers
from moorage.identity import accounts, members
from moorage.identity.robots import EVERY_PROJECT
from moorage.identity.roles import Role
from moorage.registry import allowlists, metadata, project_pages
from moorage.registry.project_pages import ALL, PUBLIC, Audience

if TYPE_CHECKING:
    from moorage.api.harbor.asks import Ask
    from moorage.registry.allowlists import Allowlist
    from moorage.registry.project_pages import Shown

# Of several roles that one is told of, which Harbor takes for the highest.
_HIGHEST = (Role.PROJECT_ADMIN, Role.MAINTAINER, Role.DEVELOPER, Role.GUEST, Role.LIMITED_GUEST)


async def audience(ask: Ask) -> Audience:
    """Say which projects the caller sees in lists."""
    caller = ask.caller
    if caller.is_anonymous:
        return PUBLIC
    if await ask.may_in_system("project", "list"):
        return ALL
    if caller.kind == "user":
        return project_pages.of_user(caller)
    names = await robots_projects(ask)
    return ALL if EVERY_PROJECT in names else project_pages.of_names(names)


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
    counts = await project_pages.repositories_in(ask.db, numbers) if detail else {}
    is_user = detail and ask.caller.kind == "user"
    roles = await members.roles_in(ask.db, ask.caller.id, numbers) if is_user else {}
    made = []
    for one in found:
        item = _plain(one, set_.get(one.id, {}), lists[one.id])
        if detail:
            item["repo_count"] = counts.get(one.id, 0)
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
