"""Artifacts: listed, shown, deleted, copied; and what hangs on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from moorage.api.harbor import answers as write
from moorage.api.harbor import artifact_shapes as shapes
from moorage.api.harbor import finding, seeing
from moorage.api.harbor.problems import BadRequest, NotFound, Precondition
from moorage.api.harbor.repositories import here, name_of, preconditions
from moorage.db import pages
from moorage.oci import names
from moorage.oci.digests import Digest
from moorage.oci.errors import DigestInvalid, NameInvalid, TagInvalid
from moorage.oci.names import RepositoryName, Tag
from moorage.registry import accessories, artifact_copies, artifact_pages, facts, manifests, repositories

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx
    from moorage.db.pages import Listing

_BY_KIND: Final = frozenset({"type", "media_type"})


@dataclass(frozen=True, slots=True)
class Artifacts:
    """Answers for artifacts."""

    def answers(self) -> Answers:
        """Say who answers each."""
        return {
            "listArtifacts": self.list,
            "listArtifactsOfProject": self.list_of_project,
            "getArtifact": self.get,
            "deleteArtifact": self.delete,
            "CopyArtifact": self.copy,
            "listAccessories": self.accessories,
        }

    async def list(self, ask: Ask) -> Answer:
        """Give a page of a repository's artifacts."""
        home = await here(ask)
        if _asks_for_kinds(ask):
            await facts.name_kinds(ask.db, repository=home.id)
        return await _page(ask, artifact_pages.OF_REPOSITORY, repository=home.id)

    async def list_of_project(self, ask: Ask) -> Answer:
        """Give a page of a project's artifacts, or of the latest of each of its repositories."""
        latest = ask.flag("latest_in_repository")
        if _asks_for_kinds(ask):
            await facts.name_kinds(ask.db, project=ask.project.id)
        seen = await seeing.repositories(ask, "artifact", "list")
        if seen is not None:
            cut = artifact_pages.LATEST_OF_SOME if latest else artifact_pages.OF_SOME
            return await _page(ask, cut, project=ask.project.id, repositories=seen)
        listing = artifact_pages.LATEST_OF_PROJECT if latest else artifact_pages.OF_PROJECT
        return await _page(ask, listing, project=ask.project.id)

    async def get(self, ask: Ask) -> Answer:
        """Give one artifact."""
        found = await artifact(ask, await here(ask))
        return write.given((await shapes.shown(ask, [found]))[0])

    async def delete(self, ask: Ask) -> Answer:
        """Put an artifact in the trash, with its tags and what hangs on it."""
        name, reference = name_of(ask), reference_of(ask)

        async def work(tx: Tx) -> None:
            home = await repositories.get(tx, name)
            found = await artifact_pages.find(tx, home.id, reference)
            if found is None:
                raise unknown(name, reference)
            await manifests.delete(tx, name, Digest.from_raw(found.digest), ask.origin)

        with preconditions():
            await ask.db.change(work)
        return write.done()

    async def copy(self, ask: Ask) -> Answer:
        """Copy an artifact from a repository that the caller may pull from."""
        name, reference = _source(ask.text("from"))
        name = await finding.source(ask, name)
        if not await ask.may_in(name, "repository", "pull"):
            raise ask.refusal("repository:pull where the artifact is")
        target = name_of(ask)
        try:
            digest = await ask.db.change(
                lambda tx: artifact_copies.copy(tx, name, reference, target, ask.origin)
            )
        except artifact_copies.TooMany as problem:
            raise Precondition(str(problem)) from problem
        return write.created(ask, digest)

    async def accessories(self, ask: Ask) -> Answer:
        """Give a page of what hangs on an artifact."""
        home = await here(ask)
        found = await artifact(ask, home)
        subject = Digest.from_raw(found.digest)
        page, total = await accessories.page(ask.db, home.id, subject, ask.page.asked)
        made = [shapes.accessory(one, found.id, str(subject), home.name.text) for one in page]
        return write.listed(ask, made, total)


async def artifact(ask: Ask, home: repositories.Repository) -> Any:
    """Find the artifact in the path, or raise NotFound."""
    reference = reference_of(ask)
    found = await artifact_pages.find(ask.db, home.id, reference)
    if found is None:
        raise unknown(home.name, reference)
    return found


def reference_of(ask: Ask) -> Digest | Tag:
    """Read the digest or tag in the path, or raise NotFound: what can be neither is not there."""
    text = ask.params["reference"]
    try:
        return names.reference(text)
    except (DigestInvalid, TagInvalid):
        raise NotFound(f"artifact {text[:160]} not found") from None


def unknown(name: RepositoryName, reference: Digest | Tag) -> NotFound:
    """Make the refusal of an artifact that is not there."""
    between = "@" if isinstance(reference, Digest) else ":"
    return NotFound(f"artifact {name}{between}{reference} not found")


def _asks_for_kinds(ask: Ask) -> bool:
    """Say whether a page is chosen, or sorted, by what nobody may have looked at yet."""
    asked = ask.page.asked
    names = {one.name for one in asked.conditions} | {name for name, _ in asked.sort}
    return not _BY_KIND.isdisjoint(pages.snake(name) for name in names)


async def _page(ask: Ask, listing: Listing, **of: object) -> Answer:
    asked = ask.page.asked
    rows, total = await listing.listed(ask.db, asked, **of)
    return write.listed(ask, await shapes.shown(ask, rows), total)


def _source(text: str) -> tuple[RepositoryName, Digest | Tag]:
    """Read ``project/repository:tag`` or ``project/repository@digest``, or raise BadRequest."""
    name, at, reference = text.partition("@")
    if not at:
        name, _, reference = text.rpartition(":")
    try:
        if "/" in name and reference:
            return RepositoryName.parse(name), names.reference(reference)
    except (NameInvalid, DigestInvalid, TagInvalid) as problem:
        raise BadRequest(str(problem)) from problem
    raise BadRequest(f"from is project/repository:tag or project/repository@digest, not {text[:255]!r}")
