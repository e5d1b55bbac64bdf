"""Until when a connection may go on as it does."""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Phase(Enum):
    """What a connection waits for."""

    IDLE = auto()
    HEAD = auto()
    WORK = auto()
    MOVING = auto()
    PARTING = auto()


class Deadline:
    """One connection's deadline, and one timer, which looks at it when it fires.

    Most deadlines pass unneeded; so moving one to a later time costs an assignment.
    """

    __slots__ = ("_expired", "_loop", "_timer", "at", "phase")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None
        self.phase = Phase.HEAD
        self.at = math.inf

    def set(self, phase: Phase, seconds: float) -> None:
        """Enter a phase that must end in time."""
        self.phase = phase
        self.at = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > self.at:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(self.at, self._look)

    def lift(self) -> None:
        """Enter the phase of work, which is ours and may take its time."""
        self.phase = Phase.WORK
        self.at = math.inf

    def stop(self) -> None:
        """Be done with the timer."""
        self.lift()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self.at == math.inf:
            return
        # Timers have the loop's precision, a millisecond.
        if self._loop.time() < self.at - 0.001:
            self._timer = self._loop.call_at(self.at, self._look)
        else:
            self.at = math.inf
            self._expired()
