"""Transfers that hardly move, watched so that they hold nobody up."""

import asyncio
from collections.abc import Callable

from moorage.registry.slots import Slot

Pace = Callable[[], tuple[int, bool]]
WINDOW = 5.0


class Watch:
    """Gives a request's slot back once a window passes in which the other end was too slow."""

    def __init__(self, slot: Slot, pace: Pace, slowest: int) -> None:
        """Watch from now on; *slowest* is bytes a second."""
        self._slot = slot
        self._pace = pace
        self._least = int(slowest * WINDOW)
        self._moved = pace()[0]
        self._timer = asyncio.get_running_loop().call_later(WINDOW, self._look)

    def stop(self) -> None:
        """Watch no longer."""
        self._timer.cancel()

    def _look(self) -> None:
        moved, waiting = self._pace()
        if waiting and moved - self._moved < self._least:
            self._slot.give_back()
            return
        self._moved = moved
        self._timer = asyncio.get_running_loop().call_later(WINDOW, self._look)
