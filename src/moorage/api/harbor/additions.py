"""Additions of artifacts, and their icons."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from moorage.api.harbor import answers as write
from moorage.api.harbor.artifacts import artifact
from moorage.api.harbor.problems import BadRequest, NotFound, invalid
from moorage.api.harbor.repositories import here
from moorage.oci.digests import Digest
from moorage.oci.errors import DigestInvalid
from moorage.oci.names import RepositoryName
from moorage.registry import additions, facts

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers

AT_ONCE: Final = 2
LARGEST_ICON: Final = 1 << 20
NAMES: Final = ("build_history", "values.yaml", "readme.md", "dependencies", "sbom", "license", "files")
_PICTURES: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}
"""What icons may be, by how they begin: none that a browser would run."""


@dataclass(frozen=True, slots=True)
class Additions:
    """Answers for what else there is about an artifact."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def answers(self) -> Answers:
        """Say who answers each."""
        return {
            "getAddition": self.get,
            "getVulnerabilitiesAddition": self.vulnerabilities,
            "getIcon": self.icon,
        }

    async def get(self, ask: Ask) -> Answer:
        """Give an addition of an artifact."""
        wanted = ask.params["addition"].lower()
        if wanted not in NAMES:
            raise invalid("path", "addition", f"should be one of {', '.join(NAMES)}")
        home = await here(ask)
        found = await artifact(ask, home)
        reading = additions.Additions(ask.db, ask.registry.store, self.places)
        made = await reading.read(home.name, found, wanted)
        return write.raw(made.body, media=made.media_type)

    async def vulnerabilities(self, ask: Ask) -> Answer:
        """Give the reports of scanners, of which there are none: nothing was ever scanned."""
        await artifact(ask, await here(ask))
        return write.given({})

    async def icon(self, ask: Ask) -> Answer:
        """Give a small picture that belongs to an artifact which the caller may read."""
        text = ask.params["digest"]
        try:
            digest = Digest.parse(text)
        except DigestInvalid as problem:
            raise BadRequest(str(problem)) from problem
        for name in await additions.homes(ask.db, digest):
            home = RepositoryName.parse(name)
            if not await ask.may_in(home, "artifact", "read"):
                continue
            data = await facts.content(ask.db, ask.registry.store, home, digest, LARGEST_ICON) or b""
            for start, kind in _PICTURES.items():
                if data.startswith(start):
                    return write.given({"content-type": kind, "content": base64.b64encode(data).decode()})
        raise NotFound(f"icon {digest} not found")
