"""Groups of users: made and renamed by administrators, looked for by whoever makes them members of a project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from moorage.api.harbor import answers
from moorage.api.harbor.bodies import Whole
from moorage.api.harbor.ldap import group_of
from moorage.api.harbor.problems import BadRequest
from moorage.db.pages import Asked, Condition, How
from moorage.identity import groups
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx
    from moorage.identity.groups import Group


class NewGroup(msgspec.Struct):
    """A group to be made, or named by any of what tells it from others."""

    id: Whole | None = None
    group_name: str | None = None
    group_type: int | None = None
    ldap_group_dn: str | None = None


@dataclass(frozen=True, slots=True)
class Groups:
    """Answers what is asked about groups."""

    def answers(self) -> Answers:
        """Say who answers each operation."""
        return {
            "listUserGroups": self.list,
            "createUserGroup": self.create,
            "searchUserGroups": self.search,
            "getUserGroup": self.get,
            "updateUserGroup": self.update,
            "deleteUserGroup": self.delete,
        }

    async def list(self, ask: Ask) -> Answer:
        """Give a page of the groups."""
        conditions = []
        if name := ask.text("group_name"):
            conditions.append(Condition("group_name", How.FUZZY, (name,)))
        if dn := ask.text("ldap_group_dn"):
            conditions.append(Condition("ldap_group_dn", How.EXACT, (groups.dn(dn),)))
        asked = Asked(ask.page.asked.number, ask.page.asked.size, tuple(conditions))
        rows, total = await groups.LISTED.listed(ask.db, asked)
        return answers.listed(ask, [_shown(groups.group(row)) for row in rows], total)

    async def search(self, ask: Ask) -> Answer:
        """Give a page of the groups whose names have something in them."""
        name = ask.text("groupname")
        if not name:
            raise BadRequest("need to provide groupname to search user group")
        asked = Asked(
            ask.page.asked.number, ask.page.asked.size, (Condition("group_name", How.FUZZY, (name,)),)
        )
        rows, total = await groups.LISTED.listed(ask.db, asked)
        found = [groups.group(row) for row in rows]
        shown = [{"id": one.id, "group_name": one.name, "group_type": one.type} for one in found]
        return answers.listed(ask, shown, total)

    async def create(self, ask: Ask) -> Answer:
        """Make a group of a source that is asked when people sign in."""
        given = ask.read(NewGroup)
        source = groups.SOURCES.get(given.group_type or 0, groups.LOCAL)
        if source == groups.LOCAL:
            raise BadRequest(f"group_type is 1 (LDAP), 2 (HTTP) or 3 (OIDC), not {given.group_type}")
        name, external = given.group_name or "", ""
        if source == groups.LDAP:
            found = await group_of(ask.access.ldap, given.ldap_group_dn or "")
            name, external = name or found.name, found.dn

        async def work(tx: Tx) -> int:
            number = await groups.add(tx, name, source, external)
            await record(tx, "user-group.create", ask.origin, target=name, group=number, source=source)
            return number

        return answers.created(ask, await ask.db.change(work))

    async def get(self, ask: Ask) -> Answer:
        """Give a group."""
        return answers.given(_shown(await groups.get(ask.db, _number(ask))))

    async def update(self, ask: Ask) -> Answer:
        """Give a group another name."""
        number, name = _number(ask), ask.read(NewGroup).group_name or ""

        async def work(tx: Tx) -> None:
            before = await groups.rename(tx, number, name)
            told = {"before": {"name": before.name}, "after": {"name": name}}
            await record(tx, "user-group.update", ask.origin, target=name, group=number, **told)

        await ask.db.change(work)
        return answers.done()

    async def delete(self, ask: Ask) -> Answer:
        """Delete a group, which ceases to be a member of any project."""
        number = _number(ask)

        async def work(tx: Tx) -> None:
            before = await groups.remove(tx, number)
            await record(tx, "user-group.delete", ask.origin, target=before.name, group=number)

        await ask.db.change(work)
        return answers.done()


def _number(ask: Ask) -> int:
    number = ask.number("group_id")
    if number <= 0:
        raise BadRequest("the group id should be provided")
    return number


def _shown(group: Group) -> dict[str, object]:
    dn = group.external if group.source == groups.LDAP else ""
    return {"id": group.id, "group_name": group.name, "group_type": group.type, "ldap_group_dn": dn}
