"""What is set for a project by name, and which vulnerabilities the whole registry lets pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moorage.api.harbor import answers as write
from moorage.api.harbor import seeing
from moorage.api.harbor.problems import BadRequest, Conflict, NotFound
from moorage.api.harbor.projects import NewAllowlist
from moorage.registry import allowlists, metadata, projects
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Reader, Tx


@dataclass(frozen=True, slots=True)
class Metadata:
    """Who answers for what is set by name."""

    def answers(self) -> Answers:
        """Say who answers each."""
        return {
            "listProjectMetadatas": self.list,
            "addProjectMetadatas": self.add,
            "getProjectMetadata": self.get,
            "updateProjectMetadata": self.update,
            "deleteProjectMetadata": self.delete,
            "getSystemCVEAllowlist": self.allowlist,
            "putSystemCVEAllowlist": self.put_allowlist,
        }

    async def list(self, ask: Ask) -> Answer:
        """Give all that is set for a project."""
        return write.given(await _all(ask, ask.db))

    async def get(self, ask: Ask) -> Answer:
        """Give one thing that is set; nothing where it is not, as Harbor does."""
        name = ask.params["meta_name"]
        return write.given({key: one for key, one in (await _all(ask, ask.db)).items() if key == name})

    async def add(self, ask: Ask) -> Answer:
        """Set what is not set yet: one thing at a time."""
        given = ask.read(dict[str, str])
        if len(given) != 1:
            raise BadRequest("only allow one key/value pair")
        ((name, value),) = given.items()
        await self._put(ask, name, value, is_new=True)
        return write.done()

    async def update(self, ask: Ask) -> Answer:
        """Set what is set already anew."""
        name = ask.params["meta_name"]
        value = ask.read(dict[str, str]).get(name)
        if value is None:
            raise BadRequest(f"the body has no value for {name[:64]}")
        await self._put(ask, name, value, is_new=False)
        return write.done()

    async def delete(self, ask: Ask) -> Answer:
        """Set something no more."""
        name, found = ask.params["meta_name"], ask.project
        if name == metadata.PUBLIC:
            raise BadRequest("public is set for every project: set it to false")

        async def work(tx: Tx) -> None:
            if not await metadata.drop(tx, found.id, name):
                raise NotFound(f"metadata {name[:64]} not found", name=name[:64])
            await projects.touch(tx, found.id)
            await record(
                tx, "project.update", ask.origin, project=found.name, target=found.name, dropped=name
            )

        await ask.db.change(work)
        return write.done()

    async def allowlist(self, ask: Ask) -> Answer:
        """Give the vulnerabilities that the whole registry lets pass."""
        found = await allowlists.of(ask.db, [allowlists.SYSTEM])
        return write.given(seeing.allowlist(found[allowlists.SYSTEM]))

    async def put_allowlist(self, ask: Ask) -> Answer:
        """Make that list anew."""
        given = ask.read(NewAllowlist)
        names = given.names()

        async def work(tx: Tx) -> None:
            await allowlists.put(tx, allowlists.SYSTEM, names, given.expires_at)
            after = {"cve_allowlist": names[:100], "expires_at": given.expires_at}
            await record(tx, "configuration.update", ask.origin, target="cve_allowlist", after=after)

        await ask.db.change(work)
        return write.done()

    async def _put(self, ask: Ask, name: str, value: str, *, is_new: bool) -> None:
        kept, found = metadata.checked(name, value), ask.project

        async def work(tx: Tx) -> None:
            before = (await _all(ask, tx)).get(name)
            # Every project is public or not, from its first day.
            if is_new and before is not None and name != metadata.PUBLIC:
                raise Conflict(f"metadata {name} is set already: change it", name=name)
            if not is_new and before is None:
                raise NotFound(f"metadata {name} not found", name=name)
            if name == metadata.PUBLIC:
                await projects.set_public(tx, found, public=kept == "true")
            else:
                await metadata.put(tx, found.id, {name: kept})
                await projects.touch(tx, found.id)
            await record(
                tx,
                "project.update",
                ask.origin,
                project=found.name,
                target=found.name,
                before={name: before},
                after={name: kept},
            )

        await ask.db.change(work)


async def _all(ask: Ask, reader: Reader) -> dict[str, str]:
    found = await projects.numbered(reader, ask.project.id)
    public = "true" if found is not None and found.public else "false"
    return (await metadata.of(reader, [ask.project.id])).get(ask.project.id, {}) | {metadata.PUBLIC: public}
