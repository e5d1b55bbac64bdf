"""Renaming projects, moving repositories, and the old names that both keep: ours, since Harbor has none of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from moorage.api.harbor import answers as write
from moorage.api.harbor import finding
from moorage.api.harbor.asks import project_unknown
from moorage.api.harbor.operations import PREFIX
from moorage.api.harbor.problems import BadRequest, Precondition
from moorage.api.harbor.projects import check_creator
from moorage.api.harbor.repositories import name_of, preconditions
from moorage.oci.errors import NameInvalid
from moorage.oci.names import RepositoryName
from moorage.registry import moving, projects, renaming
from moorage.registry.errors import NameTaken, QuotaExceeded
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx
    from moorage.registry.projects import Project


class NewName(msgspec.Struct):
    """What a project is to be called."""

    name: str


class NewPlace(msgspec.Struct):
    """Where a repository is to be: in which project (its own, if none is named), under which name without the project's."""

    name: str = ""
    project: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """Answers for names that change."""

    def answers(self) -> Answers:
        """Say who answers each."""
        return {
            "renameProject": self.rename,
            "moveRepository": self.move,
            "listOldNames": self.list,
            "freeOldName": self.free,
        }

    async def rename(self, ask: Ask) -> Answer:
        """Give a project another name, if the caller may make one of that name."""
        given = ask.read(NewName)
        await check_creator(ask)

        async def work(tx: Tx) -> None:
            found = await _still(tx, ask.project)
            await renaming.rename(tx, found, given.name)
            if given.name != found.name:
                await record(
                    tx, "project.rename", ask.origin, project=given.name, target=given.name, before=found.name,
                    after=given.name,
                )  # fmt: skip

        try:
            await ask.db.change(work)
        except NameTaken as problem:
            raise await finding.project_taken(ask, given.name, problem) from problem
        return write.done(("location", f"{PREFIX}/projects/{given.name}"))

    async def move(self, ask: Ask) -> Answer:
        """Give a repository another name, or put it into another project in which the caller may push."""
        given = ask.read(NewPlace)
        source = name_of(ask)
        # It may be pulled where it comes to: nobody who may only delete it gets at what is in it.
        if not await ask.may_in(source, "repository", "pull"):
            raise ask.refusal("repository:pull where the repository is")
        if not given.name and not given.project:
            raise BadRequest("say where the repository is to be: name, project, or both")
        rest = given.name or source.within_project
        target = await _target(ask, given.project, rest)

        async def work(tx: Tx) -> RepositoryName:
            to = await _still(tx, target)
            before, after = source.text, (await moving.move(tx, source, to, rest)).name
            if after != source:
                for project, name in {source.project: before, after.project: after.text}.items():
                    await record(
                        tx, "repository.move", ask.origin, project=project, target=name, before=before,
                        after=after.text,
                    )  # fmt: skip
            return after

        try:
            with preconditions():
                after = await ask.db.change(work)
        except NameTaken as problem:
            raise await finding.repository_taken(ask, f"{target.name}/{rest}", problem) from problem
        except QuotaExceeded as problem:
            ask.registry.refusals.note(target.name, problem)
            raise Precondition(str(problem)) from problem
        path = quote(quote(after.within_project, safe=""), safe="")
        return write.done(("location", f"{PREFIX}/projects/{after.project}/repositories/{path}"))

    async def list(self, ask: Ask) -> Answer:
        """Give a page of the old names that are kept for a project, or in it for repositories.

        Where a repository is now is not told to those who may not see it there.
        """
        found, total = await renaming.kept(ask.db, ask.project.id, ask.page.asked)
        shown = []
        for one in found:
            told = one.kind == "project" or await ask.may_in(
                RepositoryName.parse(one.current), "repository", "list"
            )
            current = one.current if told else ""
            shown.append(asdict(one) | {"current": current, "until": write.moment(one.until)})
        return write.listed(ask, shown, total)

    async def free(self, ask: Ask) -> Answer:
        """Let others have an old name."""
        name = ask.params["old_name"]

        async def work(tx: Tx) -> None:
            found = await _still(tx, ask.project)
            await renaming.free(tx, found, name)
            await record(tx, "project.free-name", ask.origin, project=found.name, target=name)

        await ask.db.change(work)
        return write.done()


async def _target(ask: Ask, name: str, rest: str) -> Project:
    """Find the project that a repository is to come to; who may not push there is not told whether it is there."""
    found = await finding.project(ask, name) if name else ask.project
    if not (ask.caller.admin or (found is not None and await _may_push(ask, found, rest))):
        raise ask.refusal("repository:push where the repository is to be")
    if found is None:
        raise project_unknown(name[:255])
    return found


async def _may_push(ask: Ask, home: Project, rest: str) -> bool:
    if await ask.may(home.name, "repository", "push"):
        return True
    try:
        return await ask.may_in(RepositoryName.parse(f"{home.name}/{rest}"), "repository", "push")
    except NameInvalid:
        return False


async def _still(tx: Tx, found: Project) -> Project:
    """Find a project again in the turn that changes it, whatever it is called by now."""
    again = await projects.numbered(tx, found.id)
    if again is None:
        raise project_unknown(found.name)
    return again
