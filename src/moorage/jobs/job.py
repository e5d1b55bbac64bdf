"""What is to be done, and for which events: values that outlive the process that made them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any


class CannotWork(Exception):
    """The jobs' database cannot be relied on any more: the process must end, and be started again."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is promised: a frozen dataclass of plain values, kept as JSON under its class's name."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a registry (its uuid), as it stands in the outbox."""

    registry: str
    uuid: str
    kind: str
    at: int
    body: Mapping[str, Any]


Rounds = Callable[[Any], Awaitable[bool]]
"""Do one round of a job, and say whether there is another. Each round ensures: it may be done twice."""

Handlers = Mapping[type[Job], Rounds]
"""How each kind of job is done."""

Awaited = Mapping[str, Callable[[Event], Job]]
"""The kinds of event that somebody waits for, and the job that each begins, under the event's own uuid."""
