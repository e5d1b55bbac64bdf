"""Rates counted by Valkey or Redis, for the processes of every replica.

A bucket is one number under a key that ends by itself when the bucket is empty: an identity that asks now and then leaves nothing
there. What processes ask in one moment shares a round trip. When the server is away each process grants its share.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from moorage.registry.rate_table import Share
from moorage.registry.rates import Drawn, Key, Rate

LOG = logging.getLogger(__name__)

ANSWER: Final = 0.5
AGAIN: Final = 1.0
"""Seconds after which a server that was away is asked again."""
_ENDED = (RedisError, OSError, TimeoutError)

# KEYS: the bucket, and the fullest one. ARGV: the interval of a request (us), the limit, how many are wanted, how many are given
# back. Times are microseconds since 2024, so that a double has parts of them. Gives how many, and how long until one (us).
_DRAW = """
local time = redis.call('TIME')
local now = (time[1] - 1704067200) * 1000000 + time[2]
local interval, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local window = interval * limit
local at = tonumber(redis.call('GET', KEYS[1]) or now)
at = math.max(at - tonumber(ARGV[4]) * interval, now)
local count = math.min(tonumber(ARGV[3]), math.max(0, math.floor((now + window - at) / interval + 0.001)))
at = at + count * interval
local last = math.ceil((at - now) / 1000)
if last > 0 then redis.call('SET', KEYS[1], string.format('%.3f', at), 'PX', last) else redis.call('DEL', KEYS[1]) end
if last > 0 and at > tonumber(redis.call('GET', KEYS[2]) or 0) then
  redis.call('SET', KEYS[2], string.format('%.3f', at), 'PX', last)
end
local wait = 0
if count == 0 then wait = math.ceil(at + interval - window - now) end
return {count, wait}
"""

_USED = """
local time = redis.call('TIME')
local now = (time[1] - 1704067200) * 1000000 + time[2]
local at = tonumber(redis.call('GET', KEYS[1]) or now)
return math.max(0, math.floor((at - now) / tonumber(ARGV[1]) + 0.001))
"""


@dataclass(slots=True)
class _Ask:
    key: Key
    rate: Rate
    wanted: int
    back: int
    answer: asyncio.Future[Drawn]


@dataclass(slots=True)
class InRedis:
    """Rates of all replicas; *alone* is what this process grants while the server is away."""

    client: redis.asyncio.Redis
    alone: Share
    clock: Callable[[], float] = time.monotonic
    _asked: list[_Ask] = field(default_factory=list)
    _working: asyncio.Task[None] | None = None
    _away_until: float = 0.0
    _away: bool = False

    @classmethod
    def at(cls, url: str, alone: Share) -> InRedis:
        """Count at the server that *url* names; nothing is asked of it yet."""
        client = redis.asyncio.Redis.from_url(
            url, socket_timeout=ANSWER, socket_connect_timeout=ANSWER, retry=Retry(NoBackoff(), 0)
        )
        return cls(client, alone)

    def draw(self, key: Key, rate: Rate, wanted: int, back: int) -> Drawn | None:
        """Answer now only when the server is away."""
        if self._away and self.clock() < self._away_until:
            return self.alone.draw(key, rate, wanted, back)
        return None

    async def ask(self, key: Key, rate: Rate, wanted: int, back: int) -> Drawn:
        """Ask the server, with all others that ask now."""
        asked = _Ask(key, rate, wanted, back, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await asked.answer

    async def used(self, key: Key, rate: Rate) -> int | None:
        """Tell it of all replicas."""
        try:
            return int(await self.client.eval(_USED, 1, _name(key), rate.interval * 1e6))
        except _ENDED:
            return None

    async def close(self) -> None:
        """Let go of the connection, once all who ask have their answers."""
        if self._working is not None:
            await self._working
        await self.client.aclose()

    async def _work(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, []
            batch = self.client.pipeline(transaction=False)
            for one in asked:
                numbers = (one.rate.interval * 1e6, one.rate.limit, one.wanted, one.back)
                _ = batch.eval(_DRAW, 2, _name(one.key), _name(one.key.busiest), *numbers)
            try:
                answers = await batch.execute()
            except _ENDED as error:
                self._lose(error)
                answers = []
            else:
                self._find()
            for place, one in enumerate(asked):
                if not one.answer.done():
                    one.answer.set_result(
                        Drawn(answers[place][0], answers[place][1] / 1e6)
                        if answers
                        else self.alone.draw(one.key, one.rate, one.wanted, one.back)
                    )

    def _lose(self, error: Exception) -> None:
        if not self._away:
            LOG.warning(
                "the server of MOORAGE_REDIS_URL is away, each process grants its share of rates: %s", error
            )
        self._away, self._away_until = True, self.clock() + AGAIN

    def _find(self) -> None:
        if self._away:
            LOG.info("the server of MOORAGE_REDIS_URL counts rates again")
        self._away = False


def _name(key: Key) -> str:
    # What is in braces is hashed alone: a cluster keeps both keys of a draw together.
    return f"moorage:{{{key.owner}}}:rate:{key.rate}:{key.who}"
