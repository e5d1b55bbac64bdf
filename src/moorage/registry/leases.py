"""Slots counted by Valkey or Redis, for the processes of every replica.

Each slot that is out is a member of a sorted set, scored with the time when it expires. Each process says once a
second, in one batch, that its own last; so those of a process that died are free within three seconds. Requests of
one moment share a round trip.

When the server is away each process grants its share of the plan (``slots.Peers``). When it is back it may have
forgotten everything: until every process has told it again what is out, shares go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from moorage.registry.slots import Granted, Lease, Peers, half

LOG = logging.getLogger(__name__)

LASTS = 3.0
RENEWED = 1.0
SETTLED = 1.5
POLL = 0.025
ANSWER = 0.5
_PROCESSES = "moorage:processes"
_ENDED = (RedisError, OSError, TimeoutError)


# KEYS: out, anonymous, line, asked. ARGV: the plan's slots, those for anonymous, how long a lease lasts (ms), the
# process, how long its first has waited (ms), how many leases it gives back, those, and those it asks for.
# In "line" each process with somebody waiting is scored by since when; "asked" forgets those that ask no more.
_TRADE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most, half, lasts = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local process, since, back = ARGV[4], now - tonumber(ARGV[5]), tonumber(ARGV[6])
for i = 7, 6 + back do
  redis.call('ZREM', KEYS[1], ARGV[i])
  redis.call('ZREM', KEYS[2], ARGV[i])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local free = most - redis.call('ZCARD', KEYS[1])
local nameless = half - redis.call('ZCARD', KEYS[2])
for _, other in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. since)) do
  if other ~= process then
    local fresh = redis.call('ZSCORE', KEYS[4], other)
    if fresh and tonumber(fresh) > now then
      free = free - 1
    else
      redis.call('ZREM', KEYS[3], other)
      redis.call('ZREM', KEYS[4], other)
    end
  end
end
local granted, waits = {}, false
for i = 7 + back, #ARGV do
  local anonymous, member = string.sub(ARGV[i], 1, 1) == 'a', string.sub(ARGV[i], 2)
  if anonymous and nameless < 1 then
    granted[#granted + 1] = 0
  elseif free < 1 then
    granted[#granted + 1] = 0
    waits = true
  else
    free = free - 1
    redis.call('ZADD', KEYS[1], now + lasts, member)
    if anonymous then
      nameless = nameless - 1
      redis.call('ZADD', KEYS[2], now + lasts, member)
    end
    granted[#granted + 1] = 1
  end
end
if waits then
  redis.call('ZADD', KEYS[3], since, process)
  redis.call('ZADD', KEYS[4], now + 1000, process)
else
  redis.call('ZREM', KEYS[3], process)
  redis.call('ZREM', KEYS[4], process)
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 10000) end
return granted
"""

# KEYS: a set of what lasts, and one for the anonymous of it. ARGV: how long (ms), and what. Gives how much lasts.
_RENEW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #ARGV do
  local member = string.sub(ARGV[i], 2)
  redis.call('ZADD', KEYS[1], now + ARGV[1], member)
  if KEYS[2] and string.sub(ARGV[i], 1, 1) == 'a' then redis.call('ZADD', KEYS[2], now + ARGV[1], member) end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 10000) end
return redis.call('ZCARD', KEYS[1])
"""


@dataclass(slots=True)
class _Ask:
    most: int
    wants: Sequence[bool]
    waited: float
    answer: Callable[[Granted], None]
    leases: list[Lease] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class RedisLeases:
    """One registry's slots, as one process takes them."""

    counter: Counter
    keys: tuple[str, ...]
    poll: float = POLL
    local: bool = False
    held: set[Lease] = field(default_factory=set)
    given_back: list[Lease] = field(default_factory=list)
    asked: _Ask | None = None

    def ask(self, most: int, wants: Sequence[bool], waited: float, answer: Callable[[Granted], None]) -> None:
        """Answer when the server has; now, if it is away."""
        self.asked = _Ask(most, wants, waited, answer)
        if self.counter.is_exact():
            self.counter.wake(self)
        else:
            self.answer_by_share()

    def give_back(self, lease: Lease) -> None:
        """Tell the server, soon."""
        self.held.discard(lease)
        self.given_back.append(lease)
        self.counter.wake(self)

    def close(self) -> None:
        """Nothing is open but the process's connection."""

    def answer_by_share(self) -> None:
        """Grant what this process may on its own, counting all that it has out."""
        asked, self.asked = self.asked, None
        if asked is None:
            return
        share = self.counter.share(asked.most)
        granted: list[Lease | None] = []
        for anonymous in asked.wants:
            nameless = sum(lease.anonymous for lease in self.held)
            if len(self.held) < share and not (anonymous and nameless >= half(share)):
                lease = Lease(self.counter.number(), anonymous)
                self.held.add(lease)
                granted.append(lease)
            else:
                granted.append(None)
        asked.answer(granted)

    def answered(self, asked: _Ask | None, granted: Sequence[int]) -> None:
        """Pass on what the server granted."""
        if asked is None:
            return
        self.asked = None
        leases = [lease if one else None for lease, one in zip(asked.leases, granted, strict=True)]
        self.held.update(lease for lease in leases if lease is not None)
        asked.answer(leases)

    def trade(self) -> list[str | int]:
        """Write what is given back and asked for as the script's arguments."""
        asked = self.asked or _Ask(0, (), 0.0, lambda _: None)
        asked.leases = [Lease(self.counter.number(), anonymous) for anonymous in asked.wants]
        back = [self.counter.name(lease) for lease in self.given_back]
        return [
            asked.most,
            half(asked.most),
            int(LASTS * 1000),
            self.counter.process,
            int(asked.waited * 1000),
            len(back),
            *back,
            *(f"{'a' if lease.anonymous else 'n'}{self.counter.name(lease)}" for lease in asked.leases),
        ]


def _unknown() -> Peers | None:
    return None


@dataclass(slots=True, eq=False)
class Counter:
    """One process's connection to the server that counts, for all its registries.

    Without it a plan is shared by its *peers*, or if they are not known by as many ``processes`` as were seen last.
    """

    client: redis.asyncio.Redis
    processes: int
    at_least: int
    peers: Callable[[], Peers | None]
    process: str = field(default_factory=lambda: secrets.token_hex(8))
    _all: dict[str, RedisLeases] = field(default_factory=dict)
    _dirty: dict[RedisLeases, None] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=count)
    _awake: asyncio.Event = field(default_factory=asyncio.Event)
    _working: asyncio.Task[None] | None = None
    _away: bool = False
    _closing: bool = False
    _exact_from: float = 0.0

    @classmethod
    def at(cls, url: str, processes: int, peers: Callable[[], Peers | None] = _unknown) -> Counter:
        """Count at the server that *url* names; nothing is asked of it yet."""
        client = redis.asyncio.Redis.from_url(
            url, socket_timeout=ANSWER, socket_connect_timeout=ANSWER, retry=Retry(NoBackoff(), 0)
        )
        return cls(client, processes, processes, peers)

    def of(self, registry: str) -> RedisLeases:
        """Give the leases of a registry, by its UUID."""
        if registry not in self._all:
            # What is in braces is hashed alone: a cluster keeps the keys of one registry together.
            keys = tuple(f"moorage:{{{registry}}}:{name}" for name in ("out", "anonymous", "line", "asked"))
            self._all[registry] = RedisLeases(self, keys)
        return self._all[registry]

    def share(self, most: int) -> int:
        """Give what of a plan this process may grant on its own."""
        return (self.peers() or Peers(self.processes, self.processes)).share(most)

    def is_exact(self) -> bool:
        """Say whether the server answers and knows what is out."""
        return not self._away and asyncio.get_running_loop().time() >= self._exact_from

    def number(self) -> int:
        """Give a number that no lease of this process has had."""
        return next(self._numbers)

    def name(self, lease: Lease) -> str:
        """Name a lease among those of all processes."""
        return f"{self.process}:{lease.number}"

    def wake(self, leases: RedisLeases) -> None:
        """Note that there is something to tell or to ask, soon."""
        self._dirty[leases] = None
        self._awake.set()
        if self._working is None:
            self._working = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Give everything back and leave."""
        if self._working is not None:
            # Not cancelled: a round trip that is cut leaves in doubt what was granted.
            self._closing = True
            self._awake.set()
            await self._working
        if not self._away:
            for leases in self._all.values():
                leases.given_back += leases.held
                leases.held.clear()
                self._dirty[leases] = None
            await self._attempt(self._trade)
        await self.client.aclose()

    async def _work(self) -> None:
        """Trade as soon as there is something to, and renew each second; when the server is away, try each second."""
        loop = asyncio.get_running_loop()
        renewal = loop.time()
        while not self._closing:
            if loop.time() >= renewal:
                renewal = loop.time() + RENEWED
                await self._attempt(self._renew)
            if self._dirty and not self._away:
                await self._attempt(self._trade)
                continue
            self._awake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(renewal):
                    await self._awake.wait()

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except _ENDED as error:
            if not self._away:
                LOG.warning(
                    "the server of MOORAGE_REDIS_URL is away, each process grants its share: %s", error
                )
            self._away = True
            for leases in self._all.values():
                # What is not renewed expires there by itself.
                leases.given_back.clear()
                leases.answer_by_share()
        else:
            if self._away:
                LOG.info("the server of MOORAGE_REDIS_URL is back")
                self._exact_from = asyncio.get_running_loop().time() + SETTLED
            self._away = False

    async def _trade(self) -> None:
        """Give back and ask for what there is, of every registry in one round trip."""
        trading, self._dirty = list(self._dirty), {}
        batch = self.client.pipeline(transaction=False)
        told = [(leases, leases.asked, len(leases.given_back)) for leases in trading]
        for leases in trading:
            _ = batch.eval(_TRADE, len(leases.keys), *leases.keys, *leases.trade())
        answers = await batch.execute()
        for (leases, asked, back), answer in zip(told, answers, strict=True):
            del leases.given_back[:back]
            leases.answered(asked, answer)

    async def _renew(self) -> None:
        """Say that this process lives, and that what it has out lasts."""
        batch = self.client.pipeline(transaction=False)
        _ = batch.eval(_RENEW, 1, _PROCESSES, int(LASTS * 1000), f"n{self.process}")
        for leases in self._all.values():
            if leases.held:
                marked = [f"{'a' if one.anonymous else 'n'}{self.name(one)}" for one in leases.held]
                _ = batch.eval(_RENEW, 2, *leases.keys[:2], int(LASTS * 1000), *marked)
        self.processes = max(self.at_least, (await batch.execute())[0])
