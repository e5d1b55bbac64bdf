"""Tags and labels of artifacts: listed, put on, taken off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from moorage.api.harbor import answers as write
from moorage.api.harbor import artifact_shapes as shapes
from moorage.api.harbor.artifacts import artifact, reference_of
from moorage.api.harbor.bodies import Whole
from moorage.api.harbor.problems import BadRequest, NotFound
from moorage.api.harbor.repositories import here, name_of, preconditions
from moorage.oci import names
from moorage.oci.errors import TagInvalid
from moorage.registry import tagging

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers


class NewTag(msgspec.Struct):
    """A tag that is asked for."""

    name: str


class Marked(msgspec.Struct):
    """A label that is put on an artifact: its number is all that counts."""

    id: Whole


@dataclass(frozen=True, slots=True)
class Tags:
    """Answers for tags, and for labels of artifacts."""

    def answers(self) -> Answers:
        """Say who answers each."""
        return {
            "createTag": self.create,
            "listTags": self.list,
            "deleteTag": self.delete,
            "addLabel": self.add_label,
            "removeLabel": self.remove_label,
        }

    async def create(self, ask: Ask) -> Answer:
        """Give an artifact one more tag."""
        given = ask.read(NewTag)
        name, reference = name_of(ask), reference_of(ask)
        try:
            new = names.tag(given.name)
        except TagInvalid as problem:
            raise BadRequest(str(problem)) from problem
        await ask.db.change(lambda tx: tagging.create(tx, name, reference, new, ask.origin))
        return write.created(ask, new)

    async def list(self, ask: Ask) -> Answer:
        """Give a page of an artifact's tags."""
        home = await here(ask)
        found = await artifact(ask, home)
        asked = ask.page.asked
        rows, total = await tagging.LISTED.listed(ask.db, asked, manifest=found.id)
        kept = await shapes.kept_tags(ask, home.name.text, [row.name for row in rows])
        made = [shapes.tag(row, found.pulled_at, immutable=row.name in kept) for row in rows]
        return write.listed(ask, made, total)

    async def delete(self, ask: Ask) -> Answer:
        """Take a tag off an artifact, which stays."""
        name, reference = name_of(ask), reference_of(ask)
        text = ask.params["tag_name"]
        try:
            old = names.tag(text)
        except TagInvalid:
            raise NotFound(f"tag {text[:160]} not found") from None
        with preconditions():
            await ask.db.change(lambda tx: tagging.remove(tx, name, reference, old, ask.origin))
        return write.done()

    async def add_label(self, ask: Ask) -> Answer:
        """Put a label on an artifact."""
        given = ask.read(Marked)
        name, reference, project = name_of(ask), reference_of(ask), ask.project.id
        await ask.db.change(lambda tx: tagging.mark(tx, name, reference, project, given.id, ask.origin))
        return write.done()

    async def remove_label(self, ask: Ask) -> Answer:
        """Take a label off an artifact."""
        name, reference, number = name_of(ask), reference_of(ask), ask.number("label_id")
        await ask.db.change(lambda tx: tagging.unmark(tx, name, reference, number, ask.origin))
        return write.done()
