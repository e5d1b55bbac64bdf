"""Pulls of manifests that need wait for nothing, answered in place.

What it takes is known from an earlier request: that this Authorization may pull from this repository, which holds
until an access row changes or the token ends. The manifest itself is read anew each time.
"""

from dataclasses import dataclass, field

from starlette.types import Scope

from moorage.api.distribution import paths, pulls
from moorage.api.distribution.asks import Ask
from moorage.api.distribution.paths import Place
from moorage.api.http.at_once import Whole, drive
from moorage.errors import Problem
from moorage.identity.access import NOBODY, Identified
from moorage.registry.opened import Registry

MOST = 10_000
FOREVER = 1 << 62
PULLS = ("GET", "HEAD")


async def _nothing() -> dict[str, object]:
    return {"type": "http.request", "body": b"", "more_body": False}


@dataclass(slots=True)
class AtOnce:
    """The pull rights that one registry found out, as of one state of its access rows."""

    registry: Registry
    _version: int | None = None
    _known: dict[tuple[bytes | None, str], Identified] = field(default_factory=dict)

    def allow(self, who: Identified, authorization: bytes | None, place: Place) -> None:
        """Remember that *who* may pull from a repository; to be told right after access was asked, with no pause."""
        version = self.registry.access.version
        if who is NOBODY:
            who = Identified(who.caller, version=version, until=FOREVER)
        if place.name is None or not who.until or who.version != version or not self.registry.db.inline:
            return
        if version != self._version:
            self._known.clear()
            self._version = version
        elif len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[authorization, place.name.text] = who

    def answer(self, scope: Scope) -> Whole | None:
        """Answer a pull of a manifest, or give None where anything but the manifest has to be found out."""
        registry = self.registry
        path: str = scope["path"]
        if scope["method"] not in PULLS or "/manifests/" not in path:
            return None
        if not registry.db.inline or registry.slots.most:
            return None
        try:
            place = paths.read(path)
            if place is None or place.name is None or place.kind != "manifests":
                return None
            headers = dict(scope["headers"])
            who = self._known.get((headers.get(b"authorization"), place.name.text))
            if who is None or registry.db.access_version() != self._version or registry.db.now() >= who.until:
                return None
            whole = Whole()
            drive(pulls.pull_manifest(Ask(registry, place, who, headers, scope, _nothing, whole.send)))
        except Problem:
            # It is told in the usual way, which finds it out again.
            return None
        return whole
