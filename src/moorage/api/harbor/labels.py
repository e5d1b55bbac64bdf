"""Labels: of the whole registry, or of a project."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from moorage.api.harbor import answers as write
from moorage.api.harbor.bodies import Whole
from moorage.api.harbor.problems import BadRequest
from moorage.db.pages import Condition, How
from moorage.registry import labels, projects
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx
    from moorage.registry.labels import Label
    from moorage.registry.projects import Project

GLOBAL, OF_PROJECT = "g", "p"


class LabelRequest(msgspec.Struct):
    """What a label is to be."""

    name: str = ""
    description: str = ""
    color: str = ""
    scope: str = ""
    project_id: Whole = 0


@dataclass(frozen=True, slots=True)
class Labels:
    """Who answers for labels: who may is asked in the label's project, or in the system."""

    def answers(self) -> Answers:
        """Say who answers each."""
        return {
            "ListLabels": self.list,
            "CreateLabel": self.create,
            "GetLabelByID": self.get,
            "UpdateLabel": self.update,
            "DeleteLabel": self.delete,
        }

    async def list(self, ask: Ask) -> Answer:
        """List the labels of the registry, which anybody may, or of a project."""
        scope, asked = ask.text("scope"), ask.page.asked
        if scope not in {GLOBAL, OF_PROJECT}:
            raise BadRequest(f"invalid scope: {scope[:64]}")
        if name := ask.text("name"):
            asked = replace(asked, conditions=(*asked.conditions, Condition("name", How.FUZZY, (name,))))
        project = None
        if scope == OF_PROJECT:
            project = ask.whole("project_id") or 0
            if not project:
                raise BadRequest("must with project ID when to query project labels")
            await _require(ask, project, "list")
        found, total = await labels.page(ask.db, project, asked)
        return write.listed(ask, map(shown, found), total)

    async def create(self, ask: Ask) -> Answer:
        """Make a label."""
        given = ask.read(LabelRequest)
        if given.scope not in {GLOBAL, OF_PROJECT}:
            raise BadRequest("unsupported label scope: it is g or p")
        number = given.project_id if given.scope == OF_PROJECT else None
        project = await _require(ask, number, "create")

        async def work(tx: Tx) -> int:
            made = await labels.create(tx, number, given.name, given.description, given.color)
            await _tell(tx, ask, "label.create", project, given.name)
            return made

        return write.created(ask, await ask.db.change(work))

    async def get(self, ask: Ask) -> Answer:
        """Show a label."""
        found, _ = await _found(ask, "read")
        return write.given(shown(found))

    async def update(self, ask: Ask) -> Answer:
        """Change a label."""
        found, project = await _found(ask, "update")
        given = ask.read(LabelRequest)

        async def work(tx: Tx) -> None:
            now = await labels.get(tx, found.id)
            await labels.change(tx, now, given.name or now.name, given.description, given.color)
            await _tell(tx, ask, "label.update", project, given.name or now.name)

        await ask.db.change(work)
        return write.done()

    async def delete(self, ask: Ask) -> Answer:
        """Delete a label, and take it off everything."""
        found, project = await _found(ask, "delete")

        async def work(tx: Tx) -> None:
            await labels.remove(tx, (await labels.get(tx, found.id)).id)
            await _tell(tx, ask, "label.delete", project, found.name)

        await ask.db.change(work)
        return write.done()


def shown(one: Label) -> dict[str, Any]:
    """Show a label."""
    return {
        "id": one.id,
        "name": one.name,
        "description": one.description,
        "color": one.colour,
        "scope": GLOBAL if one.project_id is None else OF_PROJECT,
        "project_id": one.project_id or 0,
        "creation_time": write.moment(one.created_at),
        "update_time": write.moment(one.updated_at),
    }


async def _found(ask: Ask, action: str) -> tuple[Label, Project | None]:
    """Find a label and its project. Whoever may not is told so before they are told whether there is one."""
    if ask.caller.is_anonymous and action != "read":
        ask.require_signed_in()
    found = await labels.get(ask.db, ask.number("label_id"))
    return found, await _require(ask, found.project_id, action)


async def _require(ask: Ask, number: int | None, action: str) -> Project | None:
    if number is None:
        await ask.require_in_system("label", action)
        return None
    project = await projects.numbered(ask.db, number)
    await ask.require("" if project is None else project.name, "label", action)
    if project is None:
        raise BadRequest(f"project {number} not found", project=number)
    return project


async def _tell(tx: Tx, ask: Ask, kind: str, project: Project | None, name: str) -> None:
    await record(tx, kind, ask.origin, project="" if project is None else project.name, target=name)
