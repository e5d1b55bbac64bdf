"""Patterns of names and tags: ``**`` is anything, ``*`` and ``?`` stop at a slash, ``{a,b}`` is either.

People write them, and they are matched inside turns. So all ways through a pattern are followed at once, a letter of the
text at a time: the work is the pattern's length times the text's at most, whatever the pattern. A regular expression
that goes back would take minutes for six stars.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache

_PIECE = re.compile(r"\*\*+|.", re.DOTALL)
# Braces in braces, and braces that do not close, are letters like others.
_BALANCED = re.compile(r"[^{}]*(?:\{[^{}]*\}[^{}]*)*+")


class _Kind(Enum):
    LETTER = auto()
    """Takes one letter, a certain one."""
    ONE = auto()
    """Takes one letter, but no slash."""
    SOME = auto()
    """Takes letters, but no slash, or none."""
    ALL = auto()
    """Takes letters, or none."""
    GO = auto()
    """Takes nothing, and goes on elsewhere."""


_WILD = {"?": _Kind.ONE, "*": _Kind.SOME, "**": _Kind.ALL}


@dataclass(slots=True)
class _Step:
    kind: _Kind
    letter: str = ""
    to: tuple[int, ...] = ()


def matches(pattern: str, text: str) -> bool:
    """Say whether a pattern matches the whole text."""
    steps = _steps(pattern)
    at = _reached(steps, (0,))
    for letter in text:
        at = _after(pattern, at, letter)
    return len(steps) in at


@lru_cache(maxsize=8192)
def _after(pattern: str, at: frozenset[int], letter: str) -> frozenset[int]:
    """Give where a letter leads from these places; names begin alike, so it is mostly known."""
    steps = _steps(pattern)
    return _reached(
        steps, (to for place in at if place < len(steps) for to in _taken(steps[place], place, letter))
    )


def _taken(step: _Step, place: int, letter: str) -> Iterator[int]:
    """Give where a step leads when it takes a letter, if it takes it."""
    if step.kind is _Kind.ALL or (step.kind is _Kind.SOME and letter != "/"):
        yield place
    if (step.kind is _Kind.LETTER and letter == step.letter) or (step.kind is _Kind.ONE and letter != "/"):
        yield place + 1


def _reached(steps: tuple[_Step, ...], places: Iterable[int]) -> frozenset[int]:
    """Give these places and all that are reached from them by taking nothing."""
    reached: set[int] = set()
    waiting = list(places)
    while waiting:
        place = waiting.pop()
        if place in reached:
            continue
        reached.add(place)
        if place < len(steps):
            step = steps[place]
            if step.kind is _Kind.GO:
                waiting += step.to
            elif step.kind in {_Kind.SOME, _Kind.ALL}:
                waiting.append(place + 1)
    return frozenset(reached)


@lru_cache(maxsize=512)
def _steps(pattern: str) -> tuple[_Step, ...]:
    either = _BALANCED.fullmatch(pattern) is not None
    steps: list[_Step] = []
    # Of the braces that are open: the step that leads to each side, and those that lead on behind the sides.
    fork: _Step | None = None
    ends: list[_Step] = []
    for found in _PIECE.finditer(pattern):
        piece = found[0][:2]
        if either and piece == "{":
            fork = _Step(_Kind.GO, to=(len(steps) + 1,))
            steps.append(fork)
        elif fork and piece in {",", "}"}:
            ends.append(_Step(_Kind.GO))
            steps.append(ends[-1])
            if piece == ",":
                fork.to += (len(steps),)
            else:
                for end in ends:
                    end.to = (len(steps),)
                fork, ends = None, []
        else:
            steps.append(_Step(_WILD.get(piece, _Kind.LETTER), letter=piece))
    return tuple(steps)
