"""A plan's requests at once: who is over them waits its turn briefly, and nobody waits behind one greedy client.

Turns go round the waiting callers, one each, so a client with a hundred requests waiting takes every other turn at
most when there is one other. A transfer that hardly moves gives its slot back and goes on without one.

The line of those who wait is this process's own. What is free is counted by *leases*, with every other process that
serves the registry: by the kernel on one machine (``slot_locks``), by Valkey or Redis across replicas (``leases``),
or, where processes have neither in common, as this process's share of the plan (``Share``, below).
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from moorage.oci.errors import TooManyRequests


@dataclass(frozen=True, slots=True)
class Lease:
    """One of the registry's slots, taken by this process."""

    number: int
    anonymous: bool


Granted = Sequence[Lease | None]


class Leases(Protocol):
    """Where the slots of one registry are counted. ``tests/contracts/test_leases.py`` holds each to this.

    ``poll`` is how soon one who waits should ask again, in seconds; 0 if no other process gives slots back.
    ``local`` ones answer before ``ask`` returns.
    """

    poll: float
    local: bool

    def ask(self, most: int, wants: Sequence[bool], waited: float, answer: Callable[[Granted], None]) -> None:
        """Take a slot of *most* for each want (True: anonymous), in order; *answer* is called once, now or later.

        It gets a lease, or None, for each. *waited* is for how many seconds the first has waited: of processes
        with somebody waiting, the one that waited longest has the first turn. No wants: nobody waits here.
        """

    def give_back(self, lease: Lease) -> None:
        """Let anyone have it."""

    def close(self) -> None:
        """Take no more; what is out may still be given back."""


def half(most: int) -> int:
    """Say how many of the slots anonymous callers share."""
    return max(most // 2, 1)


@dataclass(frozen=True, slots=True)
class Peers:
    """The processes that serve a registry: how many they are, and which of them, from 0, is this one."""

    count: int = 1
    rank: int = 0

    def share(self, most: int) -> int:
        """Give this one's part of *most*: at least one, and else no more than *most* with all others' parts."""
        return max(1, most // self.count + (self.rank < most % self.count))


@dataclass(slots=True)
class Share:
    """This process's share of the plan, for it cannot see the requests of its *peers*."""

    peers: Callable[[], Peers] = Peers
    poll: float = 0.0
    local: bool = True
    busy: int = 0
    anonymous: int = 0

    def ask(self, most: int, wants: Sequence[bool], waited: float, answer: Callable[[Granted], None]) -> None:
        """Answer now."""
        del waited
        share = self.peers().share(most)
        granted: list[Lease | None] = []
        for anonymous in wants:
            if self.busy < share and not (anonymous and self.anonymous >= half(share)):
                self.busy += 1
                self.anonymous += anonymous
                granted.append(Lease(0, anonymous))
            else:
                granted.append(None)
        answer(granted)

    def give_back(self, lease: Lease) -> None:
        """Count it no longer."""
        self.busy -= 1
        self.anonymous -= lease.anonymous

    def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class Slot:
    """Leave to be at work; ``give_back`` is for those whose transfer stands still."""

    slots: "Slots"
    lease: Lease | None

    def give_back(self) -> None:
        """Let another have it; once."""
        lease, self.lease = self.lease, None
        if lease is not None:
            self.slots.free(lease)


Turn = asyncio.Future[Lease | None]

LATEST = 1.0
"""How long, past a caller's patience, an answer of who counts the slots may take to come, in seconds."""


@dataclass(slots=True)
class _Line:
    """A caller's requests that wait, and since when: it arrived, or was served, then."""

    since: float
    turns: deque[tuple[Turn, bool]] = field(default_factory=deque)


@dataclass(slots=True)
class Slots:
    """*most* slots (0: no limit); a caller waits up to *patience* seconds. Anonymous callers share half of them."""

    most: int
    patience: float
    leases: Leases = field(default_factory=Share)
    queue_most: int = 1000
    busy: int = 0
    queued: int = 0
    _waiting: OrderedDict[str, _Line] = field(default_factory=OrderedDict)
    _asking: bool = False
    _asked: int = 0
    _answered: int = 0
    _again: bool = False
    _known_to_wait: bool = False
    _poll: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def one(self, caller: str, *, anonymous: bool) -> AsyncIterator[Slot]:
        """Hold a slot while the block runs, or raise TooManyRequests when none came free in time."""
        slot = Slot(self, await self._take(caller, anonymous=anonymous) if self.most else None)
        try:
            yield slot
        finally:
            slot.give_back()

    def spare(self, *, anonymous: bool) -> bool:
        """Say whether a slot is free for what is done before anything else happens here, and so holds none.

        Where that cannot be told at once, or somebody waits, it is not.
        """
        if not self.most:
            return True
        if self.queued or not self.leases.local:
            return False
        granted: list[Lease | None] = []
        self.leases.ask(self.most, [anonymous], 0.0, granted.extend)
        lease = granted[0]
        if lease is not None:
            self.leases.give_back(lease)
        return lease is not None

    def resize(self, most: int) -> None:
        """Follow a change of plan; who is at work stays so, and who waits may profit at once."""
        if most == self.most:
            return
        self.most = most
        if most:
            self._serve()
            return
        for caller in list(self._waiting):
            for turn, _ in list(self._waiting[caller].turns):
                self._forget(caller, turn)
                turn.set_result(None)

    def free(self, lease: Lease) -> None:
        """Take a slot back and give it to whoever is next."""
        self.busy -= 1
        self.leases.give_back(lease)
        if self.queued:
            self._serve()

    def close(self) -> None:
        """Ask for no more; slots that are out are still given back."""
        self.leases.close()

    async def _take(self, caller: str, *, anonymous: bool) -> Lease | None:
        if self.queued >= self.queue_most:
            raise self._refusal()
        loop = asyncio.get_running_loop()
        turn: Turn = loop.create_future()
        line = self._waiting.get(caller)
        if line is None:
            line = self._waiting[caller] = _Line(loop.time())
        line.turns.append((turn, anonymous))
        self.queued += 1
        first = self._asked + 1
        self._serve()
        try:
            await self._wait(turn, first)
        except BaseException:
            if not self._forget(caller, turn):
                # The turn came in the same moment: another has use for it.
                Slot(self, turn.result()).give_back()
            raise
        if not turn.done():
            self._forget(caller, turn)
            raise self._refusal()
        return turn.result()

    async def _wait(self, turn: Turn, first: int) -> None:
        """Wait until it is this one's turn, or patience ends, but for the answer to the *first* ask at least."""
        if turn.done():
            return
        await asyncio.wait([turn], timeout=max(self.patience, 4 * self.leases.poll))
        # That nothing is free is not said before whoever counts has said so, however little patience is set.
        end = turn.get_loop().time() + LATEST
        while not turn.done() and self._answered < first and turn.get_loop().time() < end:
            await asyncio.wait([turn], timeout=self.leases.poll)

    def _serve(self) -> None:
        """Ask for a slot for each who waits, one request of each caller in turn."""
        if self._asking:
            self._again = True
            return
        self._asking, self._again = True, False
        self._asked += 1
        asked = self._asked
        chosen = list(islice(self._in_turn(), self.most))
        waited = 0.0
        if chosen:
            waited = asyncio.get_running_loop().time() - self._waiting[chosen[0][0]].since
        wants = [anonymous for _, _, anonymous in chosen]

        def answer(granted: Granted) -> None:
            for (caller, turn, _), lease in zip(chosen, granted, strict=True):
                if lease is not None:
                    self._start(caller, turn, lease)
            self._asking, self._answered = False, asked
            self._look_again()

        self.leases.ask(self.most, wants, waited, answer)

    def _in_turn(self) -> Iterator[tuple[str, Turn, bool]]:
        lines = list(self._waiting.items())
        depth = 0
        while lines:
            for caller, line in lines:
                turn, anonymous = line.turns[depth]
                yield caller, turn, anonymous
            depth += 1
            lines = [(caller, line) for caller, line in lines if len(line.turns) > depth]

    def _start(self, caller: str, turn: Turn, lease: Lease) -> None:
        self.busy += 1
        if not self._forget(caller, turn):
            # It left while it was asked for.
            self.free(lease)
            return
        line = self._waiting.get(caller)
        if line is not None:
            line.since = turn.get_loop().time()
            self._waiting.move_to_end(caller)
        turn.set_result(lease)

    def _look_again(self) -> None:
        """See to those who still wait: now if something changed meanwhile, else when others may have given back."""
        loop = asyncio.get_running_loop()
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        if self._again or (self._known_to_wait and not self.queued):
            loop.call_soon(self._serve)
        elif self.queued and self.leases.poll:
            self._poll = loop.call_later(self.leases.poll, self._serve)
        self._known_to_wait = self.queued > 0

    def _forget(self, caller: str, turn: Turn) -> bool:
        """Take a request out of the line; False if it is not there."""
        line = self._waiting.get(caller)
        found = None if line is None else next((one for one in line.turns if one[0] is turn), None)
        if line is None or found is None:
            return False
        line.turns.remove(found)
        self.queued -= 1
        if not line.turns:
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
