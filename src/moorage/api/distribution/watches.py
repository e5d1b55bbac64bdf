"""Transfers that hardly move, watched so that they hold nobody up.

At each look a transfer whose other end is waited for falls behind by what the slowest rate would have moved, and what
the other end took meanwhile makes up for it, but is never saved for later. So bursts with pauses between them pass, as
long as no pause is longer than the patience; nobody stands still for longer than that, however fast it went before;
and who is only a little too slow is too far behind in the end as well.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from moorage.registry.slots import Slot

Pace = Callable[[], tuple[int, bool]]
LOOK = 1.0
"""Seconds between two looks."""
PATIENCE = 5
"""How many looks' worth of bytes a transfer may be behind."""


@dataclass(slots=True, eq=False)
class Watch:
    """One transfer: how much its other end had taken at the last look, and by how much it is behind."""

    slot: Slot
    pace: Pace
    taken: int | None = None
    behind: int = 0


@dataclass(slots=True)
class Watches:
    """The transfers of one registry, which give their slots back when they fall too far behind *slowest* bytes a look."""

    slowest: int
    _watched: set[Watch] = field(default_factory=set)
    _timer: asyncio.TimerHandle | None = None

    @contextmanager
    def on(self, slot: Slot, pace: Pace | None) -> Iterator[None]:
        """Watch a transfer while the block runs, if its pace can be told and there is a slowest one."""
        if pace is None or not self.slowest:
            yield
            return
        watch = Watch(slot, pace)
        self._watched.add(watch)
        self._wind()
        try:
            yield
        finally:
            self._watched.discard(watch)

    def look(self) -> None:
        """See how far each has come; the first look at one only takes note."""
        for watch in tuple(self._watched):
            taken, waiting = watch.pace()
            if watch.taken is not None:
                due = self.slowest if waiting else 0
                watch.behind = max(0, watch.behind + due - (taken - watch.taken))
            watch.taken = taken
            if watch.behind >= PATIENCE * self.slowest:
                self._watched.discard(watch)
                watch.slot.give_back()

    def _wind(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.look()
        if self._watched:
            self._wind()
