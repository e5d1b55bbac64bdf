"""Members of a project: users and groups, each in one role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from moorage.api.harbor import accesses, answers
from moorage.api.harbor.bodies import Whole
from moorage.api.harbor.groups import NewGroup
from moorage.api.harbor.ldap import group_of
from moorage.api.harbor.problems import BadRequest
from moorage.db.pages import Asked, Condition, How
from moorage.identity import custom_roles, groups, members, profiles, users
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx
    from moorage.identity.ldap import Group as InDirectory
    from moorage.identity.members import Member


class NamedUser(msgspec.Struct):
    """A user, by number or by name."""

    user_id: Whole | None = None
    username: str | None = None


class NewMember(msgspec.Struct):
    """A member to be: a user or a group, in a role."""

    role_id: Whole | None = None
    member_user: NamedUser | None = None
    member_group: NewGroup | None = None


class NewRole(msgspec.Struct):
    """Another role."""

    role_id: Whole | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """Who is to be a member: a user or a group, the other is None."""

    name: str
    user: int | None = None
    group: int | None = None


@dataclass(frozen=True, slots=True)
class Members:
    """Answers what is asked about a project's members."""

    def answers(self) -> Answers:
        """Say who answers each operation."""
        return {
            "listProjectMembers": self.list,
            "createProjectMember": self.create,
            "getProjectMember": self.get,
            "updateProjectMember": self.update,
            "deleteProjectMember": self.delete,
        }

    async def list(self, ask: Ask) -> Answer:
        """Give a page of the members, by name."""
        name, page = ask.text("entityname"), ask.page.asked
        conditions = (Condition("entity_name", How.EXACT, (name,)),) if name else ()
        asked = Asked(page.number, page.size, conditions)
        rows, total = await members.LISTED.listed(ask.db, asked, project=ask.project.id)
        return answers.listed(ask, [_shown(members.member_of(row)) for row in rows], total)

    async def create(self, ask: Ask) -> Answer:
        """Make a user or a group a member."""
        given, project = ask.read(NewMember), ask.project
        held = await ask.access.held(ask.caller, project.name)
        new = await _in_directory(ask, given)

        async def work(tx: Tx) -> int:
            found = await (entity(tx, given) if new is None else _known(tx, ask, given, new))
            role = await custom_roles.to_give(tx, given.role_id or 0, project.id)
            accesses.require_to_give(ask, held, role.permissions)
            number = await members.add(tx, project.id, role.number, user=found.user, group=found.group)
            await record(
                tx, "member.create", ask.origin, project=project.name, target=found.name, member=number,
                role=role.name,
            )  # fmt: skip
            return number

        return answers.created(ask, await ask.db.change(work))

    async def get(self, ask: Ask) -> Answer:
        """Give a member."""
        return answers.given(_shown(await members.get(ask.db, ask.project.id, _number(ask))))

    async def update(self, ask: Ask) -> Answer:
        """Give a member another role."""
        number, project = _number(ask), ask.project
        wanted = ask.read(NewRole).role_id or 0
        held = await ask.access.held(ask.caller, project.name)

        async def work(tx: Tx) -> None:
            role = await custom_roles.to_give(tx, wanted, project.id)
            accesses.require_to_give(ask, held, role.permissions)
            before = await members.change_role(tx, project.id, number, role.number)
            told = {"before": {"role": before.role_name}, "after": {"role": role.name}}
            await record(
                tx,
                "member.update",
                ask.origin,
                project=project.name,
                target=before.name,
                member=number,
                **told,
            )

        await ask.db.change(work)
        return answers.done()

    async def delete(self, ask: Ask) -> Answer:
        """End a membership; where there is none all is as it should be, as it is for Harbor."""
        number, project = _number(ask), ask.project

        async def work(tx: Tx) -> None:
            before = await members.remove(tx, project.id, number)
            if before is not None:
                await record(
                    tx, "member.delete", ask.origin, project=project.name, target=before.name, member=number,
                    role=before.role_name,
                )  # fmt: skip

        await ask.db.change(work)
        return answers.done()


async def _in_directory(ask: Ask, given: NewMember) -> InDirectory | None:
    """Find a group that is to be a member in the directory, where the registry does not know it; or raise BadRequest."""
    user, group = given.member_user or NamedUser(), given.member_group or NewGroup()
    named = (user.user_id or 0) > 0 or (group.id or 0) > 0 or user.username
    if named or not group.ldap_group_dn:
        return None
    if await groups.called(ask.db, groups.LDAP, groups.dn(group.ldap_group_dn)) is not None:
        return None
    return await group_of(ask.access.ldap, group.ldap_group_dn)


async def _known(tx: Tx, ask: Ask, given: NewMember, new: InDirectory) -> Entity:
    """Give a group of the directory, made here unless somebody was quicker."""
    found = await groups.called(tx, groups.LDAP, new.dn)
    if found is not None:
        return Entity(found.name, group=found.id)
    assert given.member_group is not None
    name = given.member_group.group_name or new.name
    if await groups.find(tx, groups.LDAP, name) is not None:
        # Two groups of one name, in two places of the directory.
        name = new.dn[: groups.LONGEST]
    number = await groups.add(tx, name, groups.LDAP, new.dn)
    await record(tx, "user-group.create", ask.origin, target=name, group=number, source=groups.LDAP)
    return Entity(name, group=number)


async def entity(tx: Tx, given: NewMember) -> Entity:
    """Find who is to be a member, in the order that Harbor looks: by number first; or raise BadRequest."""
    user, group = given.member_user or NamedUser(), given.member_group or NewGroup()
    try:
        if (user.user_id or 0) > 0:
            found = await profiles.get(tx, user.user_id or 0)
            return Entity(found.name, user=found.id)
        if (group.id or 0) > 0:
            known = await groups.get(tx, group.id or 0)
            return Entity(known.name, group=known.id)
        if user.username:
            return Entity(user.username, user=await users.find(tx, user.username))
    except users.UserUnknown:
        named = user.user_id if (user.user_id or 0) > 0 else user.username
        raise BadRequest(f"User {named} not found: make the user first, or have them sign in once") from None
    except groups.GroupUnknown:
        raise BadRequest(f"Group {group.id} not found") from None
    return await _group(tx, group)


async def _group(tx: Tx, given: NewGroup) -> Entity:
    source = groups.SOURCES.get(given.group_type or 0, groups.LOCAL)
    if given.ldap_group_dn:
        known = await groups.called(tx, groups.LDAP, groups.dn(given.ldap_group_dn))
        if known is None:
            raise BadRequest(f"LDAP group {given.ldap_group_dn} not found: make it at /usergroups first")
        return Entity(known.name, group=known.id)
    if not given.group_name:
        raise BadRequest("at least one of member_user or member_group must be provided")
    found = await groups.find(tx, source, given.group_name)
    if found is None:
        raise BadRequest(
            f"group {given.group_name} of type {groups.TYPES[source]} not found: make it at /usergroups first"
        )
    return Entity(found.name, group=found.id)


def _number(ask: Ask) -> int:
    number = ask.number("mid")
    if number == 0:
        raise BadRequest("the project member id is required.")
    return number


def _shown(member: Member) -> dict[str, object]:
    return {
        "id": member.id,
        "project_id": member.project,
        "entity_name": member.name,
        "entity_id": member.user if member.user is not None else member.group,
        "entity_type": "u" if member.user is not None else "g",
        "role_id": member.role,
        "role_name": member.role_name,
    }
