"""Answers for which nothing is waited: made where the request was read, without a task of their own.

An application may have, beside its call, a function ``at_once(scope)`` that gives a `Whole` answer, or None when the
request has to be asked in the usual way. It says nothing else than the call would: it runs the same code, in place.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

from starlette.types import Message, Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Header = tuple[bytes, bytes]


class Whole:
    """An answer that is gathered as an application sends it."""

    __slots__ = ("body", "headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: Sequence[Header] = ()
        self.body = b""

    async def send(self, message: Message) -> None:
        """Take a part of the answer, as ASGI's send does."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = message["headers"]
        else:
            self.body += message["body"]


AtOnce = Callable[[Scope], Whole | None]


class Quick(Protocol):
    """What can answer some requests at once."""

    def at_once(self, scope: Scope) -> Whole | None:
        """Give an answer, or None."""
        ...


def rendered(whole: Whole, defaults: Iterable[Header]) -> bytes:
    """Write an answer that has its length among its headers; raise RuntimeError for a header of two lines."""
    lines = [b"%b: %b\r\n" % header for header in (*defaults, *whole.headers)]
    head = b"".join(lines)
    if head.count(b"\r") != len(lines) or head.count(b"\n") != len(lines) or b"\0" in head:
        raise RuntimeError("a header's value holds a line's end")
    return b"%b%b\r\n%b" % (STATUS_LINE[whole.status], head, whole.body)


def drive(work: Coroutine[Any, Any, None]) -> None:
    """Run *work* to its end; raise RuntimeError if it waits for anything."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("this was to wait for nothing")
