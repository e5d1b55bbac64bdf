"""Rates: how many requests of each kind one identity may make in a minute, whoever else asks.

Each identity's requests of a kind are a bucket (the GCRA): a minute's worth may come at once, and what was used comes back
evenly. Buckets are counted where all processes that serve the same see them (``Counts``). A process draws *permits* from there,
more at a time the faster they go, so that most requests are counted by one subtraction: those that it has not used
after a second it gives back with the next draw.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from moorage.oci.errors import TooManyRequests

LOG = logging.getLogger(__name__)

WINDOW: Final = 60.0
"""Seconds that a rate is told for."""
HELD: Final = 1.0
"""Seconds for which a process keeps permits that it has drawn."""
AT_ONCE: Final = 600
"""A process draws this part of a minute's requests at most."""
MOST: Final = 10_000
"""How many identities' permits one process keeps; others are drawn anew."""
TOLD: Final = 60.0
SLACK: Final = 1e-3
"""Of one request: so much may be lost to rounding."""


class RateExceeded(TooManyRequests):
    """An identity makes more requests of a kind than it may."""

    def __init__(self, rate: Rate, wait: float) -> None:
        seconds = max(1, math.ceil(wait))
        message = (
            f"more than {rate.limit} {rate.told} came from you in a minute, which is what one identity may ask for here:"
            f" try again in {seconds} s, and spread them, or share them among several identities,"
            " or ask the provider for a higher rate"
        )
        super().__init__(
            message,
            retry_after=seconds,
            rule="request rate",
            operation=rate.name,
            limit=rate.limit,
            window=int(WINDOW),
        )
        self.rate = rate

    def headers(self) -> list[tuple[str, str]]:
        """Tell the rate as draft-ietf-httpapi-ratelimit-headers has it, too."""
        rate = self.rate
        return [
            *super().headers(),
            ("ratelimit-policy", f'"{rate.name}";q={rate.limit};w={int(WINDOW)}'),
            ("ratelimit", f'"{rate.name}";r=0;t={self.retry_after}'),
        ]


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests of a kind in a minute; 0 is no limit. *told* is what those are called."""

    name: str
    limit: int
    told: str

    @property
    def interval(self) -> float:
        """Give the seconds in which one request comes back."""
        return WINDOW / self.limit

    @property
    def largest_draw(self) -> int:
        """Give the most permits that one process draws."""
        return max(1, self.limit // AT_ONCE)


@dataclass(frozen=True, slots=True)
class Key:
    """Whose bucket: *owner* is the registry, or the provider's API; *who* is nobody in particular where "" stands."""

    owner: str
    rate: str
    who: str

    @property
    def busiest(self) -> Key:
        """Give where the fullest of all identities' buckets is noted."""
        return Key(self.owner, self.rate, "")

    def hashed(self) -> bytes:
        """Give 16 bytes that no other key has."""
        return hashlib.blake2b(f"{self.owner}\0{self.rate}\0{self.who}".encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Drawn:
    """Permits, or none and how long until there is one."""

    count: int
    wait: float = 0.0


class Counts(Protocol):
    """Where buckets are counted. ``tests/contracts/test_rates.py`` holds each to this."""

    def draw(self, key: Key, rate: Rate, wanted: int, back: int) -> Drawn | None:
        """Give *back* what was not used, and take up to *wanted* permits; None: that takes `ask`."""

    async def ask(self, key: Key, rate: Rate, wanted: int, back: int) -> Drawn:
        """Do the same, waiting for whoever counts."""
        ...

    async def used(self, key: Key, rate: Rate) -> int | None:
        """Tell how much of a bucket is used; None where nobody here can tell."""
        ...

    async def close(self) -> None:
        """Let go."""


@dataclass(slots=True, eq=False)
class Bucket:
    """One identity's requests of one kind, as this process counts them."""

    rates: Rates
    key: Key
    rate: Rate
    clock: Callable[[], float]
    permits: int = 0
    until: float = 0.0
    batch: int = 1
    drawing: bool = False
    told_at: float = -TOLD

    def at_once(self) -> bool:
        """Count a request; False where that has to be asked for, or there were too many."""
        if self.permits and self.clock() < self.until:
            self.permits -= 1
            return True
        drawn = self.rates.counts.draw(self.key, self.rate, self._wanted(), self.permits)
        return drawn is not None and self._put(drawn)

    async def take(self) -> None:
        """Count a request, or raise RateExceeded."""
        if self.permits and self.clock() < self.until:
            self.permits -= 1
            return
        wanted, back, self.permits = self._wanted(), self.permits, 0
        counts = self.rates.counts
        drawn = counts.draw(self.key, self.rate, wanted, back)
        if drawn is None:
            # Others that come meanwhile ask for no more than they need themselves.
            first, self.drawing = not self.drawing, True
            try:
                drawn = await counts.ask(self.key, self.rate, wanted, back)
            finally:
                self.drawing = self.drawing and not first
        kept = self.permits
        if drawn.count:
            self._put(drawn)
            self.permits += kept
            return
        if kept:
            # Others have drawn some meanwhile.
            self.permits -= 1
            return
        self._tell()
        raise RateExceeded(self.rate, drawn.wait)

    def give_back(self) -> None:
        """Count one less: the request is counted elsewhere."""
        self.permits += 1

    def _wanted(self) -> int:
        """Want more the sooner the last ones were used up; one that comes now and then takes just what it needs."""
        if self.drawing:
            return 1
        quick = not self.permits and self.clock() < self.until
        self.batch = min(self.batch * 2, self.rate.largest_draw) if quick else 1
        return self.batch

    def _put(self, drawn: Drawn) -> bool:
        self.permits = max(drawn.count - 1, 0)
        self.until = self.clock() + HELD
        return drawn.count > 0

    def _tell(self) -> None:
        now = self.clock()
        if now - self.told_at >= TOLD:
            self.told_at = now
            LOG.info(
                "%s makes more requests than its rate: %s of %s", self.key.who, self.rate.name, self.key.owner
            )


@dataclass(slots=True)
class Rates:
    """The rates that one process holds its callers to, by their names."""

    rates: Mapping[str, Rate]
    counts: Counts
    clock: Callable[[], float] = time.monotonic
    most: int = MOST
    _buckets: OrderedDict[tuple[str, str, str], Bucket] = field(default_factory=OrderedDict)

    def bucket(self, owner: str, rate: str, who: str) -> Bucket | None:
        """Give an identity's bucket, or None where there is no limit."""
        found = self._buckets.get((owner, rate, who))
        if found is not None:
            self._buckets.move_to_end((owner, rate, who))
            return found
        limit = self.rates.get(rate)
        if limit is None or not limit.limit:
            return None
        made = self._buckets[owner, rate, who] = Bucket(self, Key(owner, rate, who), limit, self.clock)
        if len(self._buckets) > self.most:
            self._buckets.popitem(last=False)
        return made

    async def take(self, owner: str, rate: str, who: str) -> None:
        """Count a request, or raise RateExceeded."""
        found = self.bucket(owner, rate, who)
        if found is not None:
            await found.take()

    async def used(self, owner: str, rate: Rate, who: str = "") -> int | None:
        """Tell how many requests an identity, the busiest if none is named, has used of its minute's; None: nobody can."""
        return await self.counts.used(Key(owner, rate.name, who), rate)

    async def close(self) -> None:
        """Let go of where they are counted."""
        await self.counts.close()


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Counts nothing, for who holds nobody to a rate."""

    def draw(self, key: Key, rate: Rate, wanted: int, back: int) -> Drawn | None:
        """Give all that is wanted."""
        del key, rate, back
        return Drawn(wanted)

    async def ask(self, key: Key, rate: Rate, wanted: int, back: int) -> Drawn:
        """Give all that is wanted."""
        del key, rate, back
        return Drawn(wanted)

    async def used(self, key: Key, rate: Rate) -> int | None:
        """Nobody knows."""
        del key, rate
        return None

    async def close(self) -> None:
        """Nothing is open."""


def unlimited() -> Rates:
    """Hold nobody to anything."""
    return Rates({}, Nowhere())


REGISTRY: Final[Mapping[str, str]] = {
    "manifests": "requests for manifests",
    "blobs": "requests for blobs",
    "pushes": "requests that push or delete",
    "lists": "requests for lists",
    "tokens": "requests for tokens",
}
"""The kinds of requests to a registry, and what they are called."""
PROVIDER: Final[Mapping[str, str]] = {
    "reads": "calls that read",
    "changes": "calls that change something",
    "orders": "orders",
    "sign-ins": "sign-ins",
}
"""Those of calls of the provider's API."""
OF_PROVIDER: Final = "provider"
"""Whose rates those are."""
