"""Answers for which nothing is waited: made where the request was read, without a task of their own.

An application may have, beside its call, a function ``at_once(scope)`` that gives a `Whole` answer, or None when the
request has to be asked in the usual way. It says nothing else than the call would: it runs the same code, in place.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

from starlette.types import Message, Scope

Header = tuple[bytes, bytes]


class Whole:
    """An answer that is gathered as an application sends it.

    ``own`` are lines of its head that no other answer has. ``again`` is set where the same request may be answered
    so once more: given that request's id it says whether that is still right, and counts it if so. ``anew`` does
    the same for who sends the answer, and gives the lines that it has for itself, or None.
    """

    __slots__ = ("again", "anew", "body", "headers", "own", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: Sequence[Header] = ()
        self.body = b""
        self.own = b""
        self.again: Again | None = None
        self.anew: Anew | None = None

    async def send(self, message: Message) -> None:
        """Take a part of the answer, as ASGI's send does."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = message["headers"]
        else:
            self.body += message["body"]


AtOnce = Callable[[Scope], Whole | None]
Again = Callable[[str], bool]
Anew = Callable[[], bytes | None]


class Quick(Protocol):
    """What can answer some requests at once."""

    def at_once(self, scope: Scope) -> Whole | None:
        """Give an answer, or None."""
        ...


class Minding(Quick, Protocol):
    """Says by which headers it answers at once: it is shown no others."""

    minded: frozenset[bytes]


def lines(headers: Iterable[Header]) -> bytes:
    """Write headers, a line each; raise RuntimeError for one of two lines."""
    each = [b"%b: %b\r\n" % header for header in headers]
    head = b"".join(each)
    if head.count(b"\r") != len(each) or head.count(b"\n") != len(each) or b"\0" in head:
        raise RuntimeError("a header's value holds a line's end")
    return head


def drive(work: Coroutine[Any, Any, None]) -> None:
    """Run *work* to its end; raise RuntimeError if it waits for anything."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("this was to wait for nothing")
