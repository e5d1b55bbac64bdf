r"""Regular expressions that others write: read here, and tried in time that grows with the text alone.

What Harbor's users write in their filters, of Go's syntax: letters, ``.``, classes, ``\d \w \s``, groups, ``|``, ``* + ?``,
``{2,5}``, ``^ $``, and ``(?i)`` in front. Every way through the expression is walked at once (Thompson's), so none makes it slow,
and each step is remembered. As in Go, it is enough that a part of the text fits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MOST_STATES: Final = 300
MOST_REPEATS: Final = 200
_MOST_KNOWN: Final = 500
_DEEPEST: Final = 30
_LAST: Final = 0x10FFFF

Ranges = tuple[tuple[int, int], ...]
_DIGITS: Final[Ranges] = ((48, 57),)
_WORDS: Final[Ranges] = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACES: Final[Ranges] = ((9, 10), (12, 13), (32, 32))
_CLASSES: Final = {"d": _DIGITS, "w": _WORDS, "s": _SPACES}
_SIGNS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_QUANTIFIERS: Final = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class PatternInvalid(ValueError):
    """The expression cannot be read: the message says where."""


@dataclass(slots=True)
class _State:
    """A place in the expression: what letter leads on from it, or what it is as good as."""

    ranges: Ranges = ()
    to: int = -1
    also: list[int] = field(default_factory=list)
    at_start: bool = False
    at_end: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an expression: where one comes in, and where one goes out."""

    start: int
    end: int


Build = Callable[["_Program"], _Part]


class _Program:
    """States, as parts of an expression are put together."""

    def __init__(self) -> None:
        self.states: list[_State] = []

    def add(self, **given: object) -> int:
        if len(self.states) >= MOST_STATES:
            raise PatternInvalid(f"it comes to more than {MOST_STATES} steps")
        self.states.append(_State(**given))  # type: ignore[arg-type]
        return len(self.states) - 1

    def link(self, one: int, other: int) -> None:
        self.states[one].also.append(other)


class Pattern:
    """An expression that was read."""

    def __init__(self, states: list[_State], start: int, end: int) -> None:
        """Keep what `compiled` has put together."""
        self._states, self._start, self._end = states, start, end
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def finds(self, text: str) -> bool:
        """Say whether some part of the text fits."""
        at = self._closed({self._start}, first=True, last=not text)
        for place, letter in enumerate(text):
            if self._end in at:
                return True
            last = place == len(text) - 1
            step = (at, letter) if not last else None
            found = self._steps.get(step) if step else None
            if found is None:
                code = ord(letter)
                met = {one for one in at if any(a <= code <= b for a, b in self._states[one].ranges)}
                # It may begin at every letter.
                went = {self._states[one].to for one in met} | {self._start}
                found = self._closed(went, first=False, last=last)
                if step is not None and len(self._steps) < _MOST_KNOWN:
                    self._steps[step] = found
            at = found
        return self._end in at

    def _closed(self, states: set[int], *, first: bool, last: bool) -> frozenset[int]:
        """Add what is as good as these."""
        found, waiting = set(states), list(states)
        while waiting:
            state = self._states[waiting.pop()]
            if (state.at_start and not first) or (state.at_end and not last):
                continue
            for one in state.also:
                if one not in found:
                    found.add(one)
                    waiting.append(one)
        return frozenset(found)


def compiled(text: str) -> Pattern:
    """Read an expression, or raise PatternInvalid."""
    reader = _Reader(text)
    build = reader.alternatives(0)
    if reader.place < len(reader.text):
        raise PatternInvalid(f"nothing opens the ) at {reader.place + 1}")
    program = _Program()
    part = build(program)
    return Pattern(program.states, part.start, part.end)


class _Reader:
    """Reads an expression from the left to the right; each part is built when it is known how often it stands there."""

    def __init__(self, text: str) -> None:
        self.fold = text.startswith("(?i)")
        self.text = text.removeprefix("(?i)")
        self.place = 0

    def alternatives(self, depth: int) -> Build:
        if depth > _DEEPEST:
            raise PatternInvalid(f"groups lie in one another more than {_DEEPEST} deep")
        ways = [self._sequence(depth)]
        while self._take("|"):
            ways.append(self._sequence(depth))
        return ways[0] if len(ways) == 1 else functools.partial(_either, ways)

    def _sequence(self, depth: int) -> Build:
        parts: list[Build] = []
        while self.place < len(self.text) and self.text[self.place] not in "|)":
            parts.append(self._repeated(self._one(depth)))
        return functools.partial(_after, parts)

    def _one(self, depth: int) -> Build:
        letter = self._next()
        if letter == "(":
            if self._take("?") and not self._take(":"):
                raise PatternInvalid(
                    "of groups that begin with (? only (?: is read, and (?i) in front of all"
                )
            inner = self.alternatives(depth + 1)
            if not self._take(")"):
                raise PatternInvalid("a ( is not closed")
            return inner
        if letter in "*+?{":
            raise PatternInvalid(f"nothing stands before the {letter} at {self.place}")
        if letter in "^$":
            return functools.partial(_anchor, start=letter == "^")
        if letter == ".":
            return functools.partial(_letter, ((0, 9), (11, _LAST)))
        if letter == "[":
            return functools.partial(_letter, self._class())
        ranges = self._escaped() if letter == "\\" else ((ord(letter), ord(letter)),)
        return functools.partial(_letter, self._folded(ranges))

    def _repeated(self, one: Build) -> Build:
        while self.place < len(self.text) and self.text[self.place] in "*+?{":
            sign = self._next()
            least, most = self._bounds() if sign == "{" else _QUANTIFIERS[sign]
            # Whether it takes much or little makes no difference to whether it fits.
            self._take("?")
            one = functools.partial(_repeat, one, least, most)
        return one

    def _bounds(self) -> tuple[int, int | None]:
        end = self.text.find("}", self.place)
        least, comma, most = self.text[self.place : max(end, self.place)].partition(",")
        self.place = end + 1
        if end < 0 or not _is_count(least) or (most and not _is_count(most)):
            raise PatternInvalid(f"a {{ is followed by one or two counts of at most {MOST_REPEATS}, and }}")
        low = int(least)
        high = (int(most) if most else None) if comma else low
        if high is not None and high < low:
            raise PatternInvalid(f"{high} is less than {low}")
        return low, high

    def _class(self) -> Ranges:
        denied = self._take("^")
        found: list[tuple[int, int]] = []
        while not self._take("]") or not found:
            if found or self.text[self.place - 1 : self.place] != "]":
                found += self._of_class()
            else:
                found.append((93, 93))
        ranges = self._folded(tuple(found))
        return _all_but(ranges) if denied else ranges

    def _of_class(self) -> Ranges:
        """Read a letter, a range of them, or all of a kind, within a class."""
        first = self._escape_or_letter()
        if len(first) > 1 or first[0][0] != first[0][1] or self.text[self.place : self.place + 1] != "-":
            return first
        if self.text[self.place + 1 : self.place + 2] in {"]", ""}:
            return first
        self.place += 1
        last = self._escape_or_letter()
        if len(last) > 1 or last[0][0] != last[0][1] or last[0][0] < first[0][0]:
            raise PatternInvalid(f"the range that ends at {self.place} has no order")
        return ((first[0][0], last[0][0]),)

    def _escape_or_letter(self) -> Ranges:
        letter = self._next()
        return self._escaped() if letter == "\\" else ((ord(letter), ord(letter)),)

    def _escaped(self) -> Ranges:
        letter = self._next()
        if letter.lower() in _CLASSES:
            ranges = _CLASSES[letter.lower()]
            return _all_but(ranges) if letter.isupper() else ranges
        if letter.isalnum() and letter not in _SIGNS:
            raise PatternInvalid(f"\\{letter} is not read")
        code = ord(_SIGNS.get(letter, letter))
        return ((code, code),)

    def _folded(self, ranges: Ranges) -> Ranges:
        if not self.fold:
            return ranges
        more = [(a + move, b + move) for low, high, move in ((65, 90, 32), (97, 122, -32))
                for a, b in ((max(one, low), min(other, high)) for one, other in ranges) if a <= b]  # fmt: skip
        return (*ranges, *more)

    def _next(self) -> str:
        if self.place >= len(self.text):
            raise PatternInvalid("it ends too early")
        self.place += 1
        return self.text[self.place - 1]

    def _take(self, sign: str) -> bool:
        if not self.text.startswith(sign, self.place):
            return False
        self.place += 1
        return True


def _letter(ranges: Ranges, program: _Program) -> _Part:
    end = program.add()
    return _Part(program.add(ranges=ranges, to=end), end)


def _anchor(program: _Program, *, start: bool) -> _Part:
    end = program.add()
    return _Part(program.add(at_start=start, at_end=not start, also=[end]), end)


def _after(parts: list[Build], program: _Program) -> _Part:
    start = end = program.add()
    for build in parts:
        part = build(program)
        program.link(end, part.start)
        end = part.end
    return _Part(start, end)


def _either(ways: list[Build], program: _Program) -> _Part:
    start, end = program.add(), program.add()
    for build in ways:
        part = build(program)
        program.link(start, part.start)
        program.link(part.end, end)
    return _Part(start, end)


def _repeat(build: Build, least: int, most: int | None, program: _Program) -> _Part:
    start = end = program.add()
    for place in range(max(least, 1) if most is None else most):
        part = build(program)
        program.link(end, part.start)
        if place >= least:
            program.link(end, part.end)
        end = part.end
        if most is None and place == max(least, 1) - 1:
            program.link(part.end, part.start)
    return _Part(start, end)


def _all_but(ranges: Ranges) -> Ranges:
    found, place = [], 0
    for low, high in sorted(ranges):
        if low > place:
            found.append((place, low - 1))
        place = max(place, high + 1)
    return (*found, (place, _LAST)) if place <= _LAST else tuple(found)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= MOST_REPEATS
