"""A plan's requests at once: who is over them waits its turn briefly, and nobody waits behind one greedy client.

Turns go round the waiting callers, one each, so a client with a hundred requests waiting takes every other turn at
most when there is one other. A transfer that hardly moves gives its slot back and goes on without one.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from moorage.oci.errors import TooManyRequests


@dataclass(slots=True)
class Slot:
    """Leave to be at work; ``give_back`` is for those whose transfer stands still."""

    slots: "Slots"
    anonymous: bool
    held: bool = True

    def give_back(self) -> None:
        """Let another have it; once."""
        if self.held:
            self.held = False
            self.slots.free(anonymous=self.anonymous)


@dataclass(slots=True)
class Slots:
    """*most* slots (0: no limit); a caller waits up to *patience* seconds. Anonymous callers share half of them."""

    most: int
    patience: float
    queue_most: int = 1000
    busy: int = 0
    anonymous: int = 0
    _waiting: OrderedDict[str, deque[tuple[asyncio.Future[None], bool]]] = field(default_factory=OrderedDict)
    _queued: int = 0

    @asynccontextmanager
    async def one(self, caller: str, *, anonymous: bool) -> AsyncIterator[Slot]:
        """Hold a slot while the block runs, or raise TooManyRequests when none came free in time."""
        if self.most:
            await self._take(caller, anonymous=anonymous)
        slot = Slot(self, anonymous, held=bool(self.most))
        try:
            yield slot
        finally:
            slot.give_back()

    async def _take(self, caller: str, *, anonymous: bool) -> None:
        if self._may_start(anonymous=anonymous) and not self._queued:
            self._start(anonymous=anonymous)
            return
        if self._queued >= self.queue_most:
            raise self._refusal()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append((turn, anonymous))
        self._queued += 1
        self._serve()
        try:
            async with asyncio.timeout(self.patience):
                await turn
        except BaseException as ended:
            if not self._forget(caller, turn, anonymous=anonymous):
                # The turn came in the same moment: another has use for it.
                self.free(anonymous=anonymous)
            if isinstance(ended, TimeoutError):
                raise self._refusal() from None
            raise

    def free(self, *, anonymous: bool) -> None:
        """Take a slot back and give it to whoever is next."""
        self.busy -= 1
        self.anonymous -= anonymous
        self._serve()

    def _may_start(self, *, anonymous: bool) -> bool:
        share = max(self.most // 2, 1)
        return self.busy < self.most and not (anonymous and self.anonymous >= share)

    def _start(self, *, anonymous: bool) -> None:
        self.busy += 1
        self.anonymous += anonymous

    def _serve(self) -> None:
        """Start who waits, one request of each caller in turn."""
        for caller in list(self._waiting):
            if self.busy >= self.most:
                return
            waiting = self._waiting[caller]
            turn, anonymous = waiting[0]
            if not self._may_start(anonymous=anonymous):
                continue
            waiting.popleft()
            self._queued -= 1
            if waiting:
                self._waiting.move_to_end(caller)
            else:
                del self._waiting[caller]
            self._start(anonymous=anonymous)
            turn.set_result(None)

    def _forget(self, caller: str, turn: asyncio.Future[None], *, anonymous: bool) -> bool:
        """Take a request out of the queue; False if its turn had come."""
        waiting = self._waiting.get(caller)
        if waiting is None or (turn, anonymous) not in waiting:
            return False
        waiting.remove((turn, anonymous))
        self._queued -= 1
        if not waiting:
            del self._waiting[caller]
        return True

    def _refusal(self) -> TooManyRequests:
        message = (
            f"the registry's plan allows {self.most} requests at once and none came free within {self.patience:g} s; "
            "try again, with fewer at once, or take a larger plan"
        )
        return TooManyRequests(
            message, retry_after=max(1, round(self.patience)), rule="parallel requests", limit=self.most
        )
