"""One request and its answer, on one connection."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from moorage.api.http.problems import RequestTimeout
from moorage.api.http.sending import Sending
from moorage.storage.store import Disconnected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from moorage.api.http.bodies import Consume
    from moorage.api.http.protocol import Protocol


_ENDLESS = 1 << 62


class Cycle(RequestResponseCycle):
    """uvicorn's cycle, with time limits, a checked head, and transfers past the parser.

    `send` raises Disconnected once nobody is there, so an application stops working for nobody.
    """

    proto: Protocol
    # What a transfer is waiting on, and what will be raised to whoever waits next.
    waiting_for: asyncio.Future[None] | None = None
    failure: Exception | None = None

    async def run_asgi(self, app: Any) -> None:  # noqa: ANN401  # uvicorn's type is its own
        """Run the application; one that ends because its caller is gone has done nothing wrong."""
        await super().run_asgi(cast("Any", _Quiet(app, self)))

    def fail(self, failure: Exception) -> None:
        """End what the application is waiting for with *failure*."""
        if self.waiting_for is not None and not self.waiting_for.done():
            self.waiting_for.set_exception(failure)
            return
        self.failure = failure
        self.message_event.set()

    # Reading

    async def receive(self) -> Any:  # noqa: ANN401  # as above
        """Give the next part of the body; raise RequestTimeout or RequestMalformed."""
        if self.more_body and not (self.body or self.disconnected or self.response_complete):
            await self._body_or_failure()
        return await super().receive()

    async def _body_or_failure(self) -> None:
        if self.failure is None:
            self._go_on()
            self.proto.waits()
            try:
                await self.message_event.wait()
            finally:
                self.proto.goes_on()
        if self.failure is not None and not (self.body or self.disconnected):
            self.keep_alive = False
            raise self.failure

    def _go_on(self) -> None:
        """Let the client send, and tell it so if it asked."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.waiting_for_100_continue = False
        self.flow.resume_reading()

    async def receive_into(self, consume: Consume) -> int:
        """Extension ``moorage.receive``: hand the body's bytes to *consume* and count them.

        *consume* is called in a worker thread with a piece that is valid during its call only.
        Raises what it raises, Disconnected, or RequestTimeout; all that came was consumed then.
        """
        return await self.proto.receive_into(self, consume)

    # Writing

    async def send(self, message: Any) -> None:  # noqa: ANN401  # as above
        """Write a part of the answer; raise Disconnected if nobody is there."""
        if self.flow.write_paused and not self.disconnected:
            await self._drained()
        if self.disconnected:
            raise Disconnected
        kind = message["type"]
        if not self.response_started and kind == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
        elif self.response_started and kind == "http.response.body" and not self.response_complete:
            self._body(message.get("body", b""), more=message.get("more_body", False))
        else:
            text = f"an application sent {kind} out of turn"
            raise RuntimeError(text)

    async def send_file(self, file: int | str | os.PathLike[str], start: int, end: int) -> None:
        """Extension ``moorage.sendfile``: the whole body is a file from *start* to before *end*.

        It comes after the answer's start and ends the answer. A descriptor stays the caller's.
        Raises Disconnected, also for a caller that reads too slowly to keep its place.
        """
        if self.disconnected:
            raise Disconnected
        if not self.response_started or end - start != self.expected_content_length:
            text = "a file must be the whole body of an answer that was begun with its length"
            raise RuntimeError(text)
        opened = file if isinstance(file, int) else os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            await Sending(self, opened, start, end).run()
        finally:
            if opened is not file:
                os.close(opened)
        self.expected_content_length = 0
        self._complete()

    async def _drained(self) -> None:
        self.proto.waits()
        try:
            await self.flow.drain()
        finally:
            self.proto.goes_on()

    def _start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        if self.more_body and not self.proto.will_read_rest(self):
            self.keep_alive = False
        lines = [STATUS_LINE[status]]
        length: int | None = None
        chunked = False
        # An answer without a length to HTTP/1.0 ends where the connection does.
        endless = self.scope["http_version"] == "1.0"
        for name, value in (*self.default_headers, *headers):
            lowered = name.lower()
            if lowered == b"content-length":
                length = int(value)
            elif lowered == b"transfer-encoding":
                chunked = True
            elif lowered == b"connection" and b"close" in value.lower():
                self.keep_alive = False
                continue
            lines.append(b"%b: %b\r\n" % (lowered, value))
        if length is None and not chunked and not endless and self._has_body(status):
            chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        # One look at the whole instead of a regular expression for each header.
        if head.count(b"\r") != len(lines) or head.count(b"\n") != len(lines) or b"\0" in head:
            text = "a header's value holds a line's end"
            raise RuntimeError(text)
        self.response_started = True
        self.waiting_for_100_continue = False
        self.chunked_encoding = chunked
        self.expected_content_length = _ENDLESS if endless and length is None else length or 0
        self.transport.write(head + b"\r\n")

    def _has_body(self, status: int) -> bool:
        return self.scope["method"] != "HEAD" and status not in {204, 304}

    def _body(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
        elif self.chunked_encoding:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            self.transport.write(chunk if more else chunk + b"0\r\n\r\n")
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                text = "the body is longer than its content-length"
                raise RuntimeError(text)
            if body:
                self.transport.write(body)
        self.proto.moved += len(body)
        if not more:
            if 0 < self.expected_content_length < _ENDLESS // 2:
                text = "the body is shorter than its content-length"
                raise RuntimeError(text)
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        self.proto.answered(self)


class _Quiet:
    """An application whose callers may go away."""

    __slots__ = ("app", "cycle")

    def __init__(self, app: ASGIApp, cycle: Cycle) -> None:
        self.app = app
        self.cycle = cycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except (Disconnected, asyncio.CancelledError):
            self.cycle.disconnected = True
            self.cycle.transport.abort()
        except RequestTimeout:
            if self.cycle.response_started:
                raise
            await send(_TIMED_OUT)
            await send({"type": "http.response.body", "body": b""})


_TIMED_OUT = cast(
    "Message",
    {
        "type": "http.response.start",
        "status": 408,
        "headers": [(b"content-length", b"0")],
    },
)
