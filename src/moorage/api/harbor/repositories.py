"""Repositories: listed, described, deleted."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from moorage.api.harbor import answers as write
from moorage.api.harbor import seeing
from moorage.api.harbor.problems import NotFound, Precondition, invalid
from moorage.oci.errors import NameInvalid
from moorage.oci.names import RepositoryName
from moorage.registry import repositories, repository_pages, sinking
from moorage.registry.errors import StillReferenced, TagImmutable
from moorage.registry.events import record
from moorage.registry.repository_pages import Listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx

LONGEST_DESCRIPTION = 4096


class Shown(msgspec.Struct):
    """A repository as Harbor shows it."""

    id: int
    project_id: int
    name: str
    description: str
    artifact_count: int
    pull_count: int
    creation_time: str
    update_time: str


class Described(msgspec.Struct):
    """What may be changed of a repository."""

    description: str = ""


@dataclass(frozen=True, slots=True)
class Repositories:
    """Answers for repositories."""

    def answers(self) -> Answers:
        """Say who answers each."""
        return {
            "listAllRepositories": self.list_all,
            "listRepositories": self.list,
            "getRepository": self.get,
            "updateRepository": self.update,
            "deleteRepository": self.delete,
        }

    async def list_all(self, ask: Ask) -> Answer:
        """Give a page of all repositories that the caller sees."""
        found, total = await repository_pages.page(
            ask.db, await seeing.audience_of_repositories(ask), ask.page.asked
        )
        return write.listed(ask, map(_shown, found), total)

    async def list(self, ask: Ask) -> Answer:
        """Give a page of a project's repositories."""
        some = await seeing.repositories(ask, "repository", "list")
        found, total = await repository_pages.page_of(ask.db, ask.project.id, ask.page.asked, some)
        return write.listed(ask, map(_shown, found), total)

    async def get(self, ask: Ask) -> Answer:
        """Give one repository."""
        home = await here(ask)
        found = await repository_pages.of(ask.db, ask.project.id, home.id)
        if found is None:
            raise unknown(home.name.text)
        return write.given(_shown(found))

    async def update(self, ask: Ask) -> Answer:
        """Describe a repository."""
        given = ask.read(Described)
        if len(given.description) > LONGEST_DESCRIPTION or "\0" in given.description:
            raise invalid("body", "description", f"must have at most {LONGEST_DESCRIPTION} characters")
        name = name_of(ask)

        async def work(tx: Tx) -> None:
            home = await repositories.get(tx, name)
            await repositories.describe(tx, home, given.description)
            await record(tx, "repository.update", ask.origin, repository=name.text, project=name.project)

        await ask.db.change(work)
        return write.done()

    async def delete(self, ask: Ask) -> Answer:
        """Put a repository in the trash."""
        name = name_of(ask)
        with preconditions():
            number = await ask.db.change(lambda tx: sinking.begin(tx, name, ask.origin))
        await sinking.sink(ask.db, number, ask.origin)
        return write.done()


def name_of(ask: Ask) -> RepositoryName:
    """Read the repository's whole name in the path, or raise NotFound: what can have no name is not there."""
    text = f"{ask.project.name}/{ask.params['repository_name']}"
    try:
        return RepositoryName.parse(text)
    except NameInvalid:
        raise unknown(text) from None


async def here(ask: Ask) -> repositories.Repository:
    """Find the repository in the path, or raise NotFound."""
    name = name_of(ask)
    found = await repositories.find(ask.db, name)
    if found is None or found.project_id != ask.project.id:
        raise unknown(name.text)
    return found


def unknown(name: str) -> NotFound:
    """Make the refusal of a repository that is not there."""
    return NotFound(f"repository {name[:255]} not found", repository=name[:255])


@contextmanager
def preconditions() -> Iterator[None]:
    """Refuse what a rule keeps, or something live needs, as Harbor does: with 412."""
    try:
        yield
    except (TagImmutable, StillReferenced) as problem:
        raise Precondition(str(problem)) from problem


def _shown(one: Listed) -> Shown:
    return Shown(
        one.id,
        one.project_id,
        one.name,
        one.description,
        one.artifacts,
        one.pulls,
        write.moment(one.created_at),
        write.moment(one.updated_at),
    )
