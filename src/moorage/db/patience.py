"""How long a change waits for its turn: while the line moves, and not for ever."""

from __future__ import annotations

import time
from dataclasses import dataclass

STILL = 5.0
"""Seconds in a line that stands still, after which a caller is told to come back."""
LONGEST = 30.0
"""Seconds in one that moves."""


@dataclass(slots=True)
class Line:
    """The changes that wait for one registry."""

    moved: float = 0.0

    def move(self) -> None:
        """Note that some had their turn."""
        self.moved = time.monotonic()

    def left(self, begun: float) -> float:
        """Give the seconds that whoever waits since *begun* may wait yet; none when it is time to give up."""
        return min(max(begun, self.moved) + STILL, begun + LONGEST) - time.monotonic()
