"""How long a change waits for its turn."""

from __future__ import annotations

import pytest

from moorage.db import patience
from moorage.db.patience import LONGEST, STILL, Line


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hand:
    made = Hand()
    monkeypatch.setattr(patience, "time", made)
    return made


def test_in_a_line_that_stands_still_nobody_waits_long(clock: Hand):
    line, begun = Line(), clock.at

    clock.at += STILL - 1
    assert line.left(begun) == 1
    clock.at += 1
    assert line.left(begun) == 0


def test_while_the_line_moves_a_turn_may_still_come(clock: Hand):
    line, begun = Line(), clock.at
    for _ in range(4):
        clock.at += STILL - 1
        line.move()

        assert line.left(begun) == STILL


def test_nobody_waits_for_ever(clock: Hand):
    line, begun = Line(), clock.at
    while clock.at < begun + LONGEST:
        clock.at += 1
        line.move()

    assert line.left(begun) == 0


def test_what_moved_before_somebody_came_is_no_help(clock: Hand):
    line = Line()
    line.move()
    clock.at += 100

    assert line.left(clock.at) == STILL
