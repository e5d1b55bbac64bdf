"""Grants for single repositories, which Harbor lacks: given, listed, changed and ended under their project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from moorage.api.harbor import accesses, answers
from moorage.api.harbor.accesses import Access
from moorage.api.harbor.bodies import Whole
from moorage.api.harbor.groups import NewGroup
from moorage.api.harbor.members import NamedUser, NewMember, entity
from moorage.api.harbor.problems import BadRequest
from moorage.identity import accounts, repository_grants, robot_pages, robots
from moorage.identity.repository_grants import Whose
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx
    from moorage.identity.repository_grants import Kind, RepositoryGrant
    from moorage.identity.roles import Permissions

_TYPES: Final[dict[Kind, str]] = {"user": "u", "group": "g", "robot": "r"}


class NamedRobot(msgspec.Struct):
    """A robot, by number or by name."""

    id: Whole | None = None
    name: str | None = None


class ChangedGrant(msgspec.Struct):
    """What a grant is to be of: a pattern of repositories within the project, and what may be done there."""

    repository: str = ""
    access: list[Access] | None = None


class NewRepositoryGrant(ChangedGrant):
    """A grant to be made for a user, a group or a robot."""

    member_user: NamedUser | None = None
    member_group: NewGroup | None = None
    robot: NamedRobot | None = None


@dataclass(frozen=True, slots=True)
class RepositoryGrants:
    """Answers what is asked about grants."""

    def answers(self) -> Answers:
        """Say who answers each operation."""
        return {
            "listRepositoryGrants": self.list,
            "createRepositoryGrant": self.create,
            "getRepositoryGrant": self.get,
            "updateRepositoryGrant": self.update,
            "deleteRepositoryGrant": self.delete,
        }

    async def list(self, ask: Ask) -> Answer:
        """Give a page of the project's grants."""
        asked, project = ask.page.asked, ask.project.id
        rows = await repository_grants.LISTED.page(ask.db, asked, project=project)
        found = [_shown(repository_grants.shown(row)) for row in rows]
        return answers.listed(
            ask, found, await repository_grants.LISTED.count(ask.db, asked, project=project)
        )

    async def create(self, ask: Ask) -> Answer:
        """Grant something for repositories, and no more than the caller has there."""
        given, project = ask.read(NewRepositoryGrant), ask.project
        wanted = await _wanted(ask, given)

        async def work(tx: Tx) -> int:
            name, whose = await _whose(tx, given, project.id)
            number = await repository_grants.add(tx, project.id, whose, given.repository, wanted)
            await record(
                tx, "repository-grant.create", ask.origin, project=project.name, target=name, grant=number,
                after=_told(given.repository, wanted),
            )  # fmt: skip
            return number

        return answers.created(ask, await ask.db.change(work))

    async def get(self, ask: Ask) -> Answer:
        """Give a grant."""
        found = await repository_grants.get(ask.db, ask.project.id, ask.number("grant_id"))
        return answers.given(_shown(found))

    async def update(self, ask: Ask) -> Answer:
        """Make a grant another, of the same user, group or robot."""
        given, project, number = ask.read(ChangedGrant), ask.project, ask.number("grant_id")
        wanted = await _wanted(ask, given)

        async def work(tx: Tx) -> None:
            before = await repository_grants.change(tx, project.id, number, given.repository, wanted)
            await record(
                tx, "repository-grant.update", ask.origin, project=project.name, target=before.name, grant=number,
                before=_told(before.pattern, before.permissions), after=_told(given.repository, wanted),
            )  # fmt: skip

        await ask.db.change(work)
        return answers.done()

    async def delete(self, ask: Ask) -> Answer:
        """End a grant."""
        project, number = ask.project, ask.number("grant_id")

        async def work(tx: Tx) -> None:
            before = await repository_grants.remove(tx, project.id, number)
            await record(
                tx, "repository-grant.delete", ask.origin, project=project.name, target=before.name, grant=number,
                before=_told(before.pattern, before.permissions),
            )  # fmt: skip

        await ask.db.change(work)
        return answers.done()


async def _wanted(ask: Ask, given: ChangedGrant) -> Permissions:
    """Read what is granted, if there may be such a grant and the caller has as much; or raise the rule that it breaks."""
    wanted = accesses.read(given.access)
    repository_grants.check(given.repository, wanted)
    held = await ask.access.held(ask.caller, ask.project.name)
    accesses.require_to_give(ask, held, wanted, pattern=given.repository)
    return wanted


async def _whose(tx: Tx, given: NewRepositoryGrant, project: int) -> tuple[str, Whose]:
    """Find who is to have a grant, or raise BadRequest."""
    if given.robot is None:
        found = await entity(tx, NewMember(member_user=given.member_user, member_group=given.member_group))
        if found.user is not None:
            return found.name, Whose("user", found.user)
        return found.name, Whose("group", found.group or 0)
    named = given.robot
    number = named.id or await robots.find(tx, accounts.without_prefix(named.name or "")) or 0
    robot = await robot_pages.get(tx, number)
    if robot is None or robot.is_providers or robot.project_id not in (None, project):
        raise BadRequest(f"robot {named.id or named.name} is none of this project's, nor the registry's")
    return robot.full_name, Whose("robot", robot.id)


def _told(pattern: str, permissions: Permissions) -> dict[str, object]:
    return {"repository": pattern, "permissions": [str(one) for one in sorted(permissions)]}


def _shown(grant: RepositoryGrant) -> dict[str, object]:
    return {
        "id": grant.id,
        "project_id": grant.project,
        "repository": grant.pattern,
        "access": accesses.written(grant.permissions),
        "entity_name": grant.name,
        "entity_id": grant.whose.id,
        "entity_type": _TYPES[grant.whose.kind],
        "creation_time": answers.moment(grant.created_at),
        "update_time": answers.moment(grant.updated_at),
    }
