"""Passwords: kept as argon2id hashes, and checked without ever holding up the event loop. `imported_passwords` has other schemes.

A check costs 23 ms and 19 MiB on purpose, so checks wait in lanes, one for each address that asks:
a flood fills its own lane and no other. A wrong password's answer is put off, longer each time; a
right one's never is, so nobody can lock somebody else out. What was found about a hash and a
password stays true for ever: it is remembered under a keyed digest, and the password is not.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, ClassVar, Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from moorage.identity import imported_passwords
from moorage.oci.errors import TooManyRequests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from moorage.identity.guesses import Guesses

LONGEST: Final = 1024
"""No password is longer (in bytes); longer ones are wrong without a look."""

OWASP: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
_FACTS = 10_000
_LANES = 10_000
_IN_A_LANE = 16
_IN_ALL = 256
_FREE_FAILURES = 3
_FIRST_DELAY = 0.25
_LONGEST_DELAY = 2.0
_FORGIVEN_AFTER = 60.0
_GUESSES = 10
_CALM_AFTER = 900.0
_TURN = 0.5
"""Seconds: two guesses a second at one user, from however many addresses; the user is told of them long before a million."""


def lane_of(address: str, name: str) -> str:
    """Give the lane of who asks from *address*; an IPv6 client has a whole network of them."""
    return _network(address) or address or name


# Names are not kept here: whoever asks chooses how long they are.
@lru_cache(maxsize=_LANES)
def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


@cache
def _of_nobody(hasher: PasswordHasher) -> str:
    """Hash what nobody knows: checked when there is no such user, so that the answer takes as long."""
    return hasher.hash(os.urandom(16).hex())


class Passwords:
    """Hashes and checks passwords; one for a whole process."""

    hasher: ClassVar[PasswordHasher] = OWASP
    """What hashes where nothing else is named."""

    def __init__(
        self,
        *,
        threads: int = 2,
        hasher: PasswordHasher | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        shared: Guesses | None = None,
    ) -> None:
        """Start no more than *threads* threads, and only when there is something to check.

        Wrong passwords are counted in *shared*, with all other processes; while that cannot be asked, and without it, here.
        """
        self._hasher = hasher or self.hasher
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._secret = os.urandom(32)
        self._facts: OrderedDict[bytes, bool] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[bool]] = {}
        self._made_lanes = partial(Lanes, pause, clock, shared)
        self._lanes = self._made_lanes()
        self._nobody = _of_nobody(self._hasher)
        # "$argon2id$v=19$m=…,t=…,p=…$", and then salt and hash.
        self._made_like = self._nobody.rsplit("$", 2)[0] + "$"

    async def hash(self, password: str) -> str:
        """Hash *password*; the text names the scheme and its parameters."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._hasher.hash, password)

    def lanes(self) -> Lanes:
        """Give lanes of their own to those who ask elsewhere about passwords: what is slow there holds up nobody here."""
        return self._made_lanes()

    def outdated(self, hashed: str) -> bool:
        """Say whether *hashed* was made with other parameters than today's."""
        return not hashed.startswith(self._made_like)

    async def verify(
        self,
        password: str,
        hashed: str | None,
        *,
        address: str,
        name: str = "",
        whose: str = "",
        known: bool = False,
    ) -> bool:
        """Say whether *password* is the one *hashed*; None, for no such user, is as much work.

        Raises TooManyRequests when too many checks from one *address* (or, when that is not
        known, of one *name*), or too many of all, are waiting. Of *whose* password many were wrong lately, wherever they came
        from, is checked one at a time; from a *known* browser of theirs nobody waits for others.
        """
        kept = hashed or self._nobody
        if len(password) > LONGEST:
            password, kept = "", self._nobody
        fact = self._fact(kept, password)
        right = self._facts.get(fact)
        if right is None and (asked := self._asked.get(fact)) is not None:
            # Who asks what is just being found out costs nothing, and takes no place.
            right = await asyncio.shield(asked)
        if right and hashed:
            return True
        lane = f"known {whose}" if known else lane_of(address, name)
        with self._lanes.enter(lane, known=known):
            if right is None:
                async with self._lanes.turn("" if known else whose):
                    right = await self._find_out(fact, kept, password)
            if not right or not hashed:
                await self._lanes.guessed(whose)
                await self._lanes.put_off(lane)
                return False
        return True

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fact(self, hashed: str, password: str) -> bytes:
        text = f"{hashed}\0{password}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, text, "sha256")

    async def _find_out(self, fact: bytes, hashed: str, password: str) -> bool:
        """Check in a thread; whoever asks the same meanwhile waits for the same answer."""
        asked = self._asked.get(fact)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._pool, self._check, hashed, password)
            self._asked[fact] = asked
            asked.add_done_callback(lambda done: self._remember(fact, done))
        return await asyncio.shield(asked)

    def _check(self, hashed: str, password: str) -> bool:
        if imported_passwords.is_imported(hashed):
            return imported_passwords.fits(hashed, password)
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    def _remember(self, fact: bytes, done: asyncio.Future[bool]) -> None:
        del self._asked[fact]
        if done.cancelled() or done.exception():
            return
        self._facts[fact] = done.result()
        if len(self._facts) > _FACTS:
            self._facts.popitem(last=False)


class Lanes:
    """How many checks wait, and how often each lane failed of late."""

    def __init__(
        self, pause: Callable[[float], Awaitable[None]], clock: Callable[[], float], shared: Guesses | None
    ) -> None:
        self._pause = pause
        self._clock = clock
        self._shared = shared
        self._inside: dict[str, int] = {}
        self._all = 0
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._guesses: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._turns: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def turn(self, whose: str) -> AsyncIterator[None]:
        """Wait for a turn at a user who is guessed at, or raise TooManyRequests; at anybody else there is nothing to wait for."""
        wait = await self._shared.turn(whose) if self._shared and whose else None
        if wait is not None:
            if wait < 0:
                raise _too_many()
            if wait:
                await self._pause(wait)
            yield
            return
        count, last = self._guesses.get(whose, (0, 0.0))
        if count < _GUESSES or self._clock() - last > _CALM_AFTER:
            yield
            return
        lock, waiting = self._turns.setdefault(whose, (asyncio.Lock(), []))
        if len(waiting) >= _IN_A_LANE:
            raise _too_many()
        waiting.append(None)
        try:
            async with lock:
                await self._pause(_TURN)
                yield
        finally:
            waiting.pop()
            if not waiting:
                self._turns.pop(whose, None)

    async def guessed(self, whose: str) -> None:
        """Count a wrong password for a user, or for a name that is none."""
        if not whose:
            return
        now = self._clock()
        count, last = self._guesses.pop(whose, (0, now))
        self._guesses[whose] = (1 if now - last > _CALM_AFTER else count + 1), now
        if len(self._guesses) > _LANES:
            self._guesses.popitem(last=False)
        if self._shared is not None:
            await self._shared.guessed(whose)

    @contextmanager
    def enter(self, lane: str, *, known: bool = False) -> Iterator[None]:
        """Take a place in *lane*, or raise TooManyRequests; a *known* browser's place is never taken by strangers."""
        inside = self._inside.get(lane, 0)
        if inside >= _IN_A_LANE or (self._all >= _IN_ALL and not known):
            raise TooManyRequests("too many sign-ins at once; try again in a moment", retry_after=2)
        self._inside[lane] = inside + 1
        self._all += 1
        try:
            yield
        finally:
            self._all -= 1
            self._inside[lane] -= 1
            if not self._inside[lane]:
                del self._inside[lane]

    async def put_off(self, lane: str) -> None:
        """Count a failure, and wait before it is told; the more there were, the longer."""
        now = self._clock()
        count, last = self._failures.pop(lane, (0, now))
        count = 1 if now - last > _FORGIVEN_AFTER else count + 1
        self._failures[lane] = count, now
        if len(self._failures) > _LANES:
            self._failures.popitem(last=False)
        if self._shared is not None:
            count = max(count, await self._shared.failed(lane) or 0)
        if count > _FREE_FAILURES:
            doubled = min(count - _FREE_FAILURES - 1, 8)
            await self._pause(min(_FIRST_DELAY * 2**doubled, _LONGEST_DELAY))


def _too_many() -> TooManyRequests:
    told = "too many wrong passwords came for this user: try again in a moment, or from a browser that you have used"
    return TooManyRequests(told, retry_after=2)
