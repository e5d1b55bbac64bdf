"""Projects: made, listed, shown, changed, and put in the trash."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from moorage.api.harbor import answers as write
from moorage.api.harbor import finding, seeing
from moorage.api.harbor.asks import project_unknown
from moorage.api.harbor.bodies import Whole
from moorage.api.harbor.problems import BadRequest, Forbidden, Precondition
from moorage.db.pages import Asked, Condition, How
from moorage.identity import accounts, configurable, members, robots
from moorage.identity.roles import Role
from moorage.registry import allowlists, metadata, project_pages, projects
from moorage.registry.errors import NameTaken
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx
    from moorage.registry.projects import Project

LARGEST_LIMIT: Final = 1 << 50
"""A pebibyte, as in Harbor; -1 is no limit."""


class Vulnerability(msgspec.Struct):
    """One that is let pass."""

    cve_id: str = ""


class NewAllowlist(msgspec.Struct):
    """Vulnerabilities that are let pass from now on."""

    id: int | None = None
    items: list[Vulnerability] | None = None
    expires_at: Whole | None = None
    project_id: int | None = None

    def names(self) -> list[str]:
        """Give the vulnerabilities' names, or raise BadRequest."""
        found = [one.cve_id.strip() for one in self.items or []]
        if len(found) > allowlists.MOST or any(
            not 0 < len(one) <= allowlists.LONGEST or not one.isprintable() for one in found
        ):
            raise BadRequest(
                f"an allowlist has at most {allowlists.MOST} ids of {allowlists.LONGEST} printable characters"
            )
        return found


class ProjectRequest(msgspec.Struct):
    """What a project is to be."""

    project_name: str = ""
    public: bool | None = None
    metadata: dict[str, str | None] | None = None
    cve_allowlist: NewAllowlist | None = None
    storage_limit: int | None = None
    registry_id: int | None = None

    def values(self) -> dict[str, str]:
        """Give what is to be set, checked; what is not known, or is of proxies alone, is left out as Harbor does."""
        given = self.metadata or {}
        known = metadata.FLAGS | {metadata.SEVERITY}
        made = {
            name: metadata.checked(name, value) for name, value in given.items() if value and name in known
        }
        if self.public is not None and not given.get(metadata.PUBLIC):
            made[metadata.PUBLIC] = "true" if self.public else "false"
        return made


@dataclass(frozen=True, slots=True)
class Projects:
    """Who answers for projects."""

    def answers(self) -> Answers:
        """Say who answers each."""
        return {
            "listProjects": self.list,
            "headProject": self.head,
            "createProject": self.create,
            "getProject": self.get,
            "updateProject": self.update,
            "deleteProject": self.delete,
            "getProjectDeletable": self.deletable,
            "getProjectSummary": self.summary,
        }

    async def list(self, ask: Ask) -> Answer:
        """List the projects that the caller sees."""
        asked = _asked(ask)
        seen = await seeing.audience(ask)
        found, total = await project_pages.listed(ask.db, seen, asked)
        return write.listed(
            ask, await seeing.shown(ask, found, detail=ask.flag("with_detail", default=True)), total
        )

    async def head(self, ask: Ask) -> Answer:
        """Say whether there is a project of a name."""
        name = ask.text("project_name")
        if await finding.project(ask, name) is None:
            raise project_unknown(name[:255])
        return write.done()

    async def create(self, ask: Ask) -> Answer:
        """Make a project, of which its maker is an administrator."""
        given = ask.read(ProjectRequest)
        unlimited = await check_creator(ask)
        values = given.values()
        if (given.metadata or {}).get(metadata.RETENTION):
            raise BadRequest("retention_id is not given when a project is made")
        if given.registry_id is not None:
            raise Precondition("proxy cache is off in this release: make a project without registry_id")
        limit = await _limit(ask, given.storage_limit if unlimited else None)
        listed = given.cve_allowlist.names() if given.cve_allowlist else []
        caller = ask.caller
        public = values.pop(metadata.PUBLIC, "false") == "true"

        async def work(tx: Tx) -> Project:
            owner = caller.id if caller.kind == "user" else None
            made = await projects.create(
                tx, given.project_name, public=public, limit_bytes=limit, owner=owner
            )
            await metadata.put(tx, made.id, values)
            if given.cve_allowlist and listed:
                await allowlists.put(tx, made.id, listed, given.cve_allowlist.expires_at)
            if owner is not None:
                await members.set_user(tx, made.id, owner, Role.PROJECT_ADMIN)
            await record(
                tx,
                "project.create",
                ask.origin,
                project=made.name,
                target=made.name,
                public=public,
                limit=limit,
            )
            return made

        try:
            made = await ask.db.change(work)
        except NameTaken as problem:
            raise await finding.project_taken(ask, given.project_name, problem) from problem
        return write.created(ask, made.name if ask.names_location() else made.id)

    async def get(self, ask: Ask) -> Answer:
        """Show a project."""
        found = await project_pages.of(ask.db, ask.project.id)
        if found is None:
            raise project_unknown(ask.project.name)
        return write.given((await seeing.shown(ask, [found]))[0])

    async def update(self, ask: Ask) -> Answer:
        """Change what is set for a project, and which vulnerabilities it lets pass."""
        given, found = ask.read(ProjectRequest), ask.project
        values = given.values()
        listed = given.cve_allowlist
        if listed is not None and listed.project_id not in (None, 0, found.id):
            raise BadRequest(f"project_id in cve_allowlist must be {found.id} but it's {listed.project_id}")
        names = listed.names() if listed else []
        if (given.metadata or {}).get(metadata.RETENTION):
            raise BadRequest("retention_id is none of this project's: leave it out")

        async def work(tx: Tx) -> None:
            after = dict(values)
            if public := values.get(metadata.PUBLIC):
                await projects.set_public(tx, found, public=public == "true")
            await metadata.put(
                tx, found.id, {name: one for name, one in values.items() if name != metadata.PUBLIC}
            )
            if listed is not None:
                await allowlists.put(tx, found.id, names, listed.expires_at)
                after["cve_allowlist"] = ",".join(names)
            await projects.touch(tx, found.id)
            await record(tx, "project.update", ask.origin, project=found.name, target=found.name, after=after)

        await ask.db.change(work)
        return write.done()

    async def delete(self, ask: Ask) -> Answer:
        """Put a project in the trash, if nothing stands in it; its robots end."""

        async def work(tx: Tx) -> None:
            if await projects.numbered(tx, ask.project.id) is None:
                # Its name may be another's by now.
                raise project_unknown(ask.project.name)
            await projects.remove(tx, ask.project)
            await robots.remove_of_project(tx, ask.project.id, ask.project.name)
            await record(tx, "project.delete", ask.origin, project=ask.project.name, target=ask.project.name)

        await ask.db.change(work)
        return write.done()

    async def deletable(self, ask: Ask) -> Answer:
        """Say whether a project can be deleted, and if not, why."""
        reason = await projects.holds(ask.db, ask.project.id)
        return write.given({"deletable": False, "message": reason} if reason else {"deletable": True})

    async def summary(self, ask: Ask) -> Answer:
        """Sum a project up: what is told of its quota and its members is so to whoever may see those."""
        found = ask.project
        counts = await project_pages.repositories_in(ask.db, [found.id])
        seen = await seeing.seen_of(ask, found.id, found.name, counts.get(found.id, 0))
        made: dict[str, object] = {"repo_count": seen}
        quotas = await configurable.values(ask.db, configurable.QUOTAS)
        if quotas[configurable.QUOTAS] and await ask.may(found.name, "quota", "read"):
            made["quota"] = {"hard": {"storage": found.limit_bytes}, "used": {"storage": found.used}}
        if await ask.may(found.name, "member", "list"):
            roles = await members.count_roles(ask.db, found.id)
            made |= {f"{role.name.lower()}_count": roles.get(role, 0) for role in Role}
        return write.given(made)


async def check_creator(ask: Ask) -> bool:
    """Refuse who may make no project; say whether they may set its limit."""
    if await ask.may_in_system("project", "create"):
        return True
    if ask.caller.kind == "robot":
        found = await accounts.by_subject(ask.db, "robot", ask.caller.id)
        level = (
            ""
            if found is None or found.project_id is None
            else "Only system level robot can create project: "
        )
        raise Forbidden(f"{level}this takes the permission project:create in the system")
    restricted = await configurable.values(ask.db, configurable.PROJECT_CREATION)
    if restricted[configurable.PROJECT_CREATION] != configurable.EVERYONE:
        raise Forbidden("Only system admin can create project")
    return False


def check_limit(limit: int) -> int:
    """Give a limit in bytes back, or raise BadRequest."""
    if limit != -1 and not 0 < limit <= LARGEST_LIMIT:
        raise BadRequest(f"a limit is -1 for none, or 1 to {LARGEST_LIMIT} bytes, not {limit}", limit=limit)
    return limit


async def _limit(ask: Ask, given: int | None) -> int:
    found = await configurable.values(ask.db, configurable.QUOTAS, configurable.STORAGE)
    if not found[configurable.QUOTAS]:
        return -1
    return check_limit(given) if given else int(found[configurable.STORAGE])


def _asked(ask: Ask) -> Asked:
    """Give the page that is asked for, with what Harbor's own parameters look for added to its query."""
    asked = ask.page.asked
    more = []
    if name := ask.text("name"):
        more.append(Condition("name", How.FUZZY, (name,)))
    if owner := ask.text("owner"):
        more.append(Condition("owner", How.EXACT, (owner,)))
    if "public" in ask.query:
        more.append(Condition("public", How.EXACT, (str(ask.flag("public")),)))
    return replace(asked, conditions=(*asked.conditions, *more))
