"""What robots are given in single repositories, when they are made or changed: ours, beside what Harbor gives them in projects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moorage.api.harbor import accesses, finding
from moorage.api.harbor.problems import BadRequest
from moorage.identity import repository_grants
from moorage.identity.repository_grants import Whose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.robot_models import NewRobot
    from moorage.db import Tx
    from moorage.identity.roles import Permissions


@dataclass(frozen=True, slots=True)
class Wanted:
    """Permissions in the repositories of a project that match a pattern."""

    project: int
    pattern: str
    permissions: Permissions


async def read(ask: Ask, given: NewRobot, owner: str | None) -> list[Wanted] | None:
    """Read what a robot (of the project *owner*, or of the registry) is to have, which the caller has; None: it is not said.

    Raises BadRequest, GrantInvalid or Forbidden.
    """
    if given.repositories is None:
        return None
    found = []
    for one in given.repositories:
        name = one.namespace or owner or ""
        project = await finding.project(ask, name)
        if project is None or owner not in (None, project.name):
            raise BadRequest(f"there is no project {name[:255]!r} to give this robot something in")
        pattern, wanted = one.repository or "", accesses.read(one.access)
        repository_grants.check(pattern, wanted)
        accesses.require_to_give(
            ask, await ask.access.held(ask.caller, project.name), wanted, pattern=pattern
        )
        found.append(Wanted(project.id, pattern, wanted))
    return found


async def give(tx: Tx, robot: int, wanted: Iterable[Wanted] | None) -> None:
    """Give a robot this in single repositories and nothing else there; None leaves it what it has."""
    if wanted is None:
        return
    whose = Whose("robot", robot)
    await repository_grants.remove_of(tx, whose)
    for one in wanted:
        await repository_grants.add(tx, one.project, whose, one.pattern, one.permissions)
