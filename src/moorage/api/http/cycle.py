"""One request and its answer, on one connection."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from moorage.api.http.problems import RequestMalformed, RequestTimeout
from moorage.api.http.sending import Sending
from moorage.storage.store import Disconnected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.api.http.bodies import Consume
    from moorage.api.http.protocol import Protocol


_ENDLESS = 1 << 62
_TEXT = b"text/plain; charset=utf-8"
# A longer body is not copied to be sent with its head.
_JOINED = 64 * 1024


class Cycle(RequestResponseCycle):
    """uvicorn's cycle, with time limits, a checked head, and transfers past the parser.

    `send` raises Disconnected once nobody is there, so an application stops working for nobody.
    """

    proto: Protocol
    # What a transfer is waiting on, and what will be raised to whoever waits next.
    waiting_for: asyncio.Future[None] | None = None
    failure: Exception | None = None
    # The answer's head, until it is sent together with the first of its body: two packets for a
    # short answer would cost both ends twice.
    head: bytes = b""
    # What came of the body, what went of the answer's, and the answer's status once it is begun.
    came = 0
    went = 0
    status = 0

    @classmethod
    def of(cls, proto: Protocol, version: str) -> Self:
        """Begin a request whose head was just read."""
        cycle = cls(
            scope=proto.scope,
            transport=proto.transport,
            flow=proto.flow,
            logger=proto.logger,
            access_logger=proto.access_logger,
            access_log=False,
            default_headers=proto.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=proto.expect_100_continue and version == "1.1",
            keep_alive=version == "1.1" and proto.parser.should_keep_alive(),
            on_response=_nothing,
        )
        cycle.proto = proto
        return cycle

    def fail(self, failure: Exception) -> None:
        """End what the application is waiting for with *failure*."""
        if self.waiting_for is not None and not self.waiting_for.done():
            self.waiting_for.set_exception(failure)
            return
        self.failure = failure
        self.message_event.set()

    def tally(self) -> tuple[int, int, int]:
        """Extension ``moorage.tally``: how many bytes came, how many went, and the status."""
        return self.came, self.went, self.status

    # Reading

    @override
    async def receive(self) -> Any:
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
        self.proto.replay()
        self.flow.resume_reading()

    async def receive_into(self, consume: Consume) -> int:
        """Extension ``moorage.receive``: hand the body's bytes to *consume* and count them.

        *consume* is called in a worker thread with a piece that is valid during its call only.
        Raises what it raises, Disconnected, or RequestTimeout; all that came was consumed then.
        """
        return await self.proto.receive_into(self, consume)

    # Writing

    @override
    async def send(self, message: Any) -> None:
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
        self._write(b"")
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

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if self.more_body and not self.proto.will_read_rest(self):
            self.keep_alive = False
        lines, length, chunked = self._lines(status, headers)
        # An answer without a length to HTTP/1.0 ends where the connection does.
        endless = length is None and not chunked and self.scope["http_version"] == "1.0"
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
        self.status = status
        self.waiting_for_100_continue = False
        self.chunked_encoding = chunked
        self.expected_content_length = _ENDLESS if endless else length or 0
        self.head = head + b"\r\n"

    def _lines(
        self, status: int, headers: Iterable[tuple[bytes, bytes]]
    ) -> tuple[list[bytes], int | None, bool]:
        """Write the lines of a head, and tell the length they give and whether they say chunked."""
        lines = [STATUS_LINE[status]]
        length: int | None = None
        chunked = False
        for name, value in (*self.default_headers, *headers):
            lowered = name.lower()
            if lowered == b"content-length":
                length = int(value)
            elif lowered == b"transfer-encoding":
                chunked = True
            elif lowered == b"connection" and b"close" in value.lower():
                self.keep_alive = False
                continue
            lines.append(lowered + b": " + value + b"\r\n")
        return lines, length, chunked

    def _has_body(self, status: int) -> bool:
        return self.scope["method"] != "HEAD" and status not in {204, 304}

    def _body(self, body: bytes, *, more: bool) -> None:
        self.proto.moved += len(body)
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            self.went += len(body)
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        else:
            self.went += len(body)
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                text = "the body is longer than its content-length"
                raise RuntimeError(text)
            if 0 < self.expected_content_length < _ENDLESS // 2 and not more:
                text = "the body is shorter than its content-length"
                raise RuntimeError(text)
        self._write(body)
        if not more:
            self._complete()

    def _write(self, body: bytes) -> None:
        head, self.head = self.head, b""
        if not head or len(body) > _JOINED:
            if head:
                self.transport.write(head)
            if body:
                self.transport.write(body)
        else:
            self.transport.write(head + body)

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        self.proto.answered(self)

    # The end

    def ended(self, task: asyncio.Task[None]) -> None:
        """See how the application ended: unless it answered, that is done for it."""
        self.proto.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None and self.response_complete:
            return
        gone = isinstance(error, Disconnected) or (error is None and self.disconnected)
        if task.cancelled() or gone:
            # Nobody else would: reading is paused where a body was read past the parser.
            self.disconnected = True
            self.transport.abort()
        elif isinstance(error, RequestTimeout | RequestMalformed):
            self._answer_instead(error.status, str(error))
        elif error is not None:
            self.logger.error("an application failed", exc_info=error)
            self._answer_instead(500, "something broke on our side")
        else:
            self.logger.error("an application ended without a whole answer")
            self._answer_instead(500, "something broke on our side")

    def _answer_instead(self, status: int, text: str) -> None:
        if self.response_complete or self.disconnected:
            return
        if self.response_started and not self.head:
            # What was sent cannot be taken back: a cut tells the client that it is not whole.
            self.disconnected = True
            self.transport.abort()
            return
        body = f"{text}\n".encode()
        self.keep_alive = False
        self._start(status, [(b"content-type", _TEXT), (b"content-length", b"%d" % len(body))])
        self._body(body, more=False)


def _nothing() -> None:
    """Stand in for uvicorn's own way of going on, which `Protocol.answered` replaces."""
