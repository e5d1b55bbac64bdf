"""Roles of a registry's own, which Harbor lacks: made, listed, changed, deleted, in its style."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from moorage.api.harbor import accesses, answers
from moorage.api.harbor.accesses import Access
from moorage.api.harbor.asks import project_unknown
from moorage.api.harbor.bodies import Whole
from moorage.api.harbor.problems import Precondition
from moorage.db.pages import How
from moorage.identity import custom_roles
from moorage.registry import projects
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx
    from moorage.identity.custom_roles import CustomRole
    from moorage.identity.roles import Permissions
    from moorage.registry.projects import Project


class NewRole(msgspec.Struct):
    """What a role is to be; of one project, if it is given."""

    name: str = ""
    description: str | None = None
    permissions: list[Access] | None = None
    project_id: Whole | None = None

    def held(self) -> Permissions:
        """Read what its holders may, or raise BadRequest."""
        return accesses.read(self.permissions)


@dataclass(frozen=True, slots=True)
class Roles:
    """Answers what is asked about roles."""

    def answers(self) -> Answers:
        """Say who answers each operation."""
        return {
            "listRoles": self.list,
            "createRole": self.create,
            "getRole": self.get,
            "updateRole": self.update,
            "deleteRole": self.delete,
        }

    async def list(self, ask: Ask) -> Answer:
        """Give a page of the roles: Harbor's five, those of the registry, and those of a project that is asked for."""
        number, asked = ask.whole("project_id"), ask.page.asked
        project = None if number is None else await _project(ask, number, "list")
        found = await custom_roles.listed(ask.db, None if project is None else project.id)
        for one in asked.conditions:
            if one.name == "name":
                found = [role for role in found if _fits(role.name, one.how, one.values)]
        page = found[asked.skip : asked.skip + asked.size]
        return answers.listed(ask, map(_shown, page), len(found))

    async def create(self, ask: Ask) -> Answer:
        """Make a role: of the registry by an administrator, of a project by who may add members and has all of it."""
        given = ask.read(NewRole)
        held = given.held()
        project = None
        if given.project_id is None:
            _require_admin(ask)
        else:
            project = await _project(ask, given.project_id, "create")
            accesses.require_to_give(ask, await ask.access.held(ask.caller, project.name), held)
        home = None if project is None else project.id

        async def work(tx: Tx) -> int:
            number = await custom_roles.create(
                tx, given.name, held, project_id=home, description=given.description or ""
            )
            await record(
                tx, "role.create", ask.origin, target=given.name, project="" if project is None else project.name,
                role=number, after=_told(held),
            )  # fmt: skip
            return number

        return answers.created(ask, await ask.db.change(work))

    async def get(self, ask: Ask) -> Answer:
        """Give a role."""
        return answers.given(_shown((await _role(ask))[0]))

    async def update(self, ask: Ask) -> Answer:
        """Make a role another, for all who hold it."""
        role, home = await _changeable(ask, "update")
        given = ask.read(NewRole)
        held = given.held()
        if given.project_id not in (None, role.project):
            raise Precondition("a role stays of its project, or of the registry: make another")
        if home is not None:
            accesses.require_to_give(ask, await ask.access.held(ask.caller, home.name), held)

        async def work(tx: Tx) -> None:
            before = await custom_roles.change(
                tx, role.number, given.name, held, description=given.description or ""
            )
            await record(
                tx, "role.update", ask.origin, target=given.name, project="" if home is None else home.name,
                role=role.number, before=_told(before.permissions), after=_told(held),
            )  # fmt: skip

        await ask.db.change(work)
        return answers.done()

    async def delete(self, ask: Ask) -> Answer:
        """Delete a role that nobody holds."""
        role, home = await _changeable(ask, "delete")

        async def work(tx: Tx) -> None:
            before = await custom_roles.remove(tx, role.number)
            await record(
                tx, "role.delete", ask.origin, target=before.name, project="" if home is None else home.name,
                role=role.number, before=_told(before.permissions),
            )  # fmt: skip

        await ask.db.change(work)
        return answers.done()


async def _project(ask: Ask, number: int, action: str) -> Project:
    """Give the project of a number, if the caller may do this with its members; or raise Forbidden or NotFound."""
    found = await projects.numbered(ask.db, number)
    await ask.require("" if found is None else found.name, "member", action)
    if found is None:
        raise project_unknown(str(number))
    return found


async def _role(ask: Ask) -> tuple[CustomRole, Project | None]:
    """Give the role in the path, and its project; a project's role is not there for who may not see its members."""
    number = ask.number("role_id")
    found = await custom_roles.get(ask.db, number)
    if found.project is None:
        return found, None
    home = await projects.numbered(ask.db, found.project)
    if home is None or not await ask.may(home.name, "member", "list"):
        raise custom_roles.RoleMissing(f"role {number} not found", role=number)
    return found, home


async def _changeable(ask: Ask, action: str) -> tuple[CustomRole, Project | None]:
    role, home = await _role(ask)
    if home is None:
        _require_admin(ask)
    else:
        await ask.require(home.name, "member", action)
    if role.built_in:
        raise Precondition(f"{role.name} is one of the five roles that every registry has: it stays as it is")
    return role, home


def _require_admin(ask: Ask) -> None:
    if not ask.caller.admin:
        raise ask.refusal("to change roles of the whole registry")


def _fits(name: str, how: How, values: tuple[str, ...]) -> bool:
    return values[0] in name if how is How.FUZZY else name in values


def _told(held: Permissions) -> list[str]:
    return [str(one) for one in sorted(held)]


def _shown(role: CustomRole) -> dict[str, object]:
    made: dict[str, object] = {
        "id": role.number,
        "name": role.name,
        "description": role.description,
        "is_builtin": role.built_in,
        "permissions": accesses.written(role.permissions),
    }
    if role.project is not None:
        made["project_id"] = role.project
    if not role.built_in:
        made |= {
            "creation_time": answers.moment(role.created_at),
            "update_time": answers.moment(role.updated_at),
        }
    return made
