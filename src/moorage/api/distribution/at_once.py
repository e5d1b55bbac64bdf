"""Pulls of manifests that need wait for nothing, answered in place.

What it takes is known from an earlier request: that this Authorization may pull from this repository, which holds
until an access row changes or the token ends. The manifest itself is read anew, unless the same request comes again
to the letter and no row at all has changed meanwhile.
"""

from dataclasses import dataclass, field

from starlette.types import Scope

from moorage.api import tallies
from moorage.api.distribution import paths, pulls
from moorage.api.distribution.asks import Ask, Pull, identity
from moorage.api.distribution.paths import Place
from moorage.api.http.at_once import Whole, drive
from moorage.errors import Problem
from moorage.identity.access import NOBODY, Identified
from moorage.registry.opened import Registry
from moorage.registry.rates import Bucket

MOST = 10_000
FOREVER = 1 << 62
PULLS = ("GET", "HEAD")
MANIFESTS = "manifests"
"""What such a pull counts as."""


async def _nothing() -> dict[str, object]:
    return {"type": "http.request", "body": b"", "more_body": False}


@dataclass(slots=True)
class AtOnce:
    """The pull rights that one registry found out, as of one state of its access rows."""

    registry: Registry
    _version: int | None = None
    # The version of all rows that the access rows were last asked at.
    _checked: int | None = None
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
            self._version, self._checked = version, None
        elif len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[authorization, place.name.text] = who

    def answer(self, scope: Scope) -> Whole | None:
        """Answer a pull of a manifest, or give None where anything but the manifest has to be found out."""
        registry = self.registry
        path: str = scope["path"]
        if scope["method"] not in PULLS or "/manifests/" not in path or not registry.db.inline:
            return None
        try:
            place = paths.read(path)
            if place is None or place.name is None or place.kind != "manifests":
                return None
            # As of before anything is read: what changes from here on is seen as a change.
            version = registry.db.version()
            headers = dict(scope["headers"])
            who = self._who(headers.get(b"authorization"), place.name.text, version)
            if who is None:
                return None
            bucket = registry.rates.bucket(registry.entry.uuid, MANIFESTS, identity(who.caller, scope))
            if bucket is not None and not bucket.at_once():
                return None
            whole = Whole()
            ask = Ask(registry, place, who, headers, scope, _nothing, whole.send)
            try:
                drive(pulls.pull_manifest(ask))
            except Problem:
                if bucket is not None:
                    bucket.give_back()
                raise
        except Problem:
            # It is told in the usual way, which finds it out again.
            return None
        size = len(whole.body)
        tallies.count_at_once(registry.traffic, size, pulled=ask.pulled is not None)
        whole.again = Again(registry, who, version, ask.pulled, size, bucket).holds
        return whole

    def _who(self, authorization: bytes | None, name: str, version: int) -> Identified | None:
        """Give who may pull from *name* for sure and at once."""
        db = self.registry.db
        if version != self._checked:
            if db.access_version() != self._version:
                return None
            self._checked = version
        who = self._known.get((authorization, name))
        if who is None or db.now() >= who.until:
            return None
        return who if self.registry.slots.spare(anonymous=who.caller.is_anonymous) else None


@dataclass(frozen=True, slots=True)
class Again:
    """What an answer to a pull of a manifest hangs on: rights and content alike are rows, and none has changed."""

    registry: Registry
    who: Identified
    version: int
    pull: Pull | None
    size: int
    bucket: Bucket | None

    def holds(self, request_id: str) -> bool:
        """Say whether it is right for the same request again, and count the pull if so."""
        registry = self.registry
        if registry.db.version() != self.version or registry.db.now() >= self.who.until:
            return False
        if not registry.slots.spare(anonymous=self.who.caller.is_anonymous):
            return False
        if self.bucket is not None and not self.bucket.at_once():
            return False
        tallies.count_at_once(registry.traffic, self.size, pulled=self.pull is not None)
        if self.pull is not None:
            self.pull.count(request_id)
        return True
