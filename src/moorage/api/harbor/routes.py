"""How a request finds its operation, and who answers it.

A path is split as it was sent, and each part decoded by itself: what stands for a slash within a part is none between parts.
Names of repositories are decoded once more, since Harbor's clients encode them twice for the proxies on their way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from moorage.api.harbor.operations import PREFIX, Operation
from moorage.api.harbor.problems import MethodNotAllowed, NotFound, invalid

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask

Answers = Mapping[str, Callable[["Ask"], Awaitable["Answer"]]]
"""Who answers, by an operation's id."""

LONGEST_PATH: Final = 4096
_TWICE: Final = frozenset({"repository_name", "preheat_policy_name", "old_name"})


@dataclass(frozen=True, slots=True)
class Found:
    """An operation, who answers it, and the values in its path."""

    operation: Operation
    answer: Callable[[Ask], Awaitable[Answer]]
    params: dict[str, str]


@dataclass(slots=True)
class _Step:
    """What may follow a part of a path: known words, or any value; and what is asked right here."""

    words: dict[str, _Step] = field(default_factory=dict)
    value: _Step | None = None
    here: dict[str, Operation] = field(default_factory=dict)


class Table:
    """Every operation, with who answers it: each is answered by exactly one."""

    def __init__(self, operations: Iterable[Operation], *answers: Answers) -> None:
        """Put operations and those who answer together; one without the other, or twice, is a mistake."""
        self.operations = tuple(operations)
        self._start = _Step()
        self._answers: dict[str, Callable[[Ask], Awaitable[Answer]]] = {}
        for many in answers:
            for name, answer in many.items():
                if name in self._answers:
                    raise ValueError(f"{name} is answered twice")
                self._answers[name] = answer
        for one in self.operations:
            self._add(one)
        if strange := self._answers.keys() ^ {one.id for one in self.operations}:
            raise ValueError(
                f"answered and no operation, or the other way round: {', '.join(sorted(strange))}"
            )

    def find(self, method: str, path: str) -> Found:
        """Find the operation for a path as it was sent, or raise NotFound or MethodNotAllowed."""
        if not path.startswith(f"{PREFIX}/") or len(path) > LONGEST_PATH:
            raise NotFound("the API has no such path")
        parts = [unquote(part) for part in path.removeprefix(PREFIX).strip("/").split("/")]
        allowed: set[str] = set()
        for step, values in _ends(self._start, parts):
            operation = step.here.get(method)
            if operation is not None:
                return Found(operation, self._answers[operation.id], _named(operation, values))
            allowed |= step.here.keys()
        if not allowed:
            raise NotFound(f"the API has no path {path[:255]}")
        told = ", ".join(sorted(allowed))
        raise MethodNotAllowed(f"this path is asked with {told}, not {method[:20]}", allow=told)

    def _add(self, operation: Operation) -> None:
        step = self._start
        for part in operation.path.strip("/").split("/"):
            if part.startswith("{"):
                step.value = step.value or _Step()
                step = step.value
            else:
                step = step.words.setdefault(part, _Step())
        if operation.method in step.here:
            raise ValueError(f"{operation.method} {operation.path} stands twice in the table")
        step.here[operation.method] = operation


def _ends(
    step: _Step, parts: list[str], values: tuple[str, ...] = ()
) -> Iterable[tuple[_Step, tuple[str, ...]]]:
    """Give where a path may end, known words first."""
    if not parts:
        if step.here:
            yield step, values
        return
    if (word := step.words.get(parts[0])) is not None:
        yield from _ends(word, parts[1:], values)
    if step.value is not None and parts[0]:
        yield from _ends(step.value, parts[1:], (*values, parts[0]))


def _named(operation: Operation, values: tuple[str, ...]) -> dict[str, str]:
    named = dict(zip(operation.parameters, values, strict=True))
    for name in _TWICE & named.keys():
        named[name] = unquote(named[name])
    for name, value in named.items():
        if "\0" in value or not value.isprintable():
            raise invalid("path", name, "must be printable text")
    return named
