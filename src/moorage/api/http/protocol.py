"""HTTP/1.1 on one connection: uvicorn's protocol with limits, and two ways past the parser.

    connection ── head ── work ── answered ── idle ── head ── …
                   │        │                    │
          head_seconds   pace_seconds       idle_seconds
          408 or cut     408 or cut         closed

On plaintext connections every request's scope has the ASGI extension ``moorage.sendfile``, and one
with a long body of known length has ``moorage.receive``; `Cycle` says what they do. They are
absent under TLS, and where the body's bytes may already be in the parser.

What a proxy in front might read otherwise than we do is refused, so that no request can be hidden
in another: two lengths, a length and a transfer coding, codings other than chunked, no Host or two.
"""

from __future__ import annotations

import asyncio
import math
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from moorage.api.http.bodies import RECEIVE
from moorage.api.http.cycle import Cycle
from moorage.api.http.problems import RequestMalformed, RequestTimeout
from moorage.api.http.receiving import Buffers, Receiving
from moorage.api.http.responses import SENDFILE
from moorage.storage.store import Disconnected

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from uvicorn import Config
    from uvicorn.server import ServerState

    from moorage.api.http.bodies import Consume
    from moorage.api.http.limits import Limits

# What of a body waits in memory for an application that is slow to ask.
HIGH_WATER = 64 * 1024


class Phase(Enum):
    """What a connection waits for."""

    IDLE = auto()
    HEAD = auto()
    WORK = auto()
    MOVING = auto()
    PARTING = auto()


class Protocol(HttpToolsProtocol):
    """One connection. `factory` gives what uvicorn makes them with."""

    def __init__(  # noqa: PLR0913  # uvicorn gives the first four
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
        buffers: Buffers,
        pool: Executor | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limits = limits
        self.buffers = buffers
        self.pool = pool
        # The request that is being answered; the one being read is uvicorn's `cycle`.
        self.running: Cycle | None = None
        # One timer a connection, which looks at `expires` when it fires: most deadlines pass
        # unneeded, and moving one then costs an assignment.
        self.phase = Phase.HEAD
        self.expires = math.inf
        self.timer: asyncio.TimerHandle | None = None
        self.waiting = False
        self.moved = 0
        # Nothing more is parsed: what still comes is dropped.
        self.deaf = False
        self.refusal: bytes | None = None
        self.fault: tuple[HTTPStatus, str] | None = None
        self.in_head = False
        self.begun = False
        self.fed = 0
        self.head_bytes = 0
        self.silent = 0
        self.hosts = 0
        self.length: int | None = None
        self.codings: list[bytes] = []
        # What is left of the body being read; None when it does not say.
        self.body_left: int | None = 0

    # The connection's life

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin: the first head must come soon."""
        super().connection_made(transport)
        self._watch(Phase.HEAD, self.limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: whoever waits for this connection is told."""
        super().connection_lost(exc)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.expires = math.inf
        self.deaf = True
        self.pipeline.clear()
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True
            self.running.fail(Disconnected())

    def shutdown(self) -> None:
        """Close as soon as every request that came was answered."""
        if self._busy():
            self.cycle.keep_alive = False
        elif self.phase is not Phase.PARTING:
            self._part(linger=False)

    def cut(self) -> None:
        """End the connection now, whatever is under way."""
        self.transport.abort()

    # Deadlines

    def awaits(self, waiting: bool) -> None:  # noqa: FBT001  # called for each piece
        """Note that the request under way waits for the other end, or does no longer."""
        self.waiting = waiting
        if waiting and self.phase is not Phase.MOVING:
            self.moved = 0
            self._watch(Phase.MOVING, self.limits.pace_seconds)

    def _watch(self, phase: Phase, seconds: float) -> None:
        self.phase = phase
        self.expires = self.loop.time() + seconds
        if self.timer is not None and self.timer.when() > self.expires:
            self.timer.cancel()
            self.timer = None
        if self.timer is None:
            self.timer = self.loop.call_at(self.expires, self._look)

    def _look(self) -> None:
        self.timer = None
        if self.expires == math.inf:
            return
        # Timers have the loop's precision, a millisecond.
        if self.loop.time() < self.expires - 0.001:
            self.timer = self.loop.call_at(self.expires, self._look)
        else:
            self.expires = math.inf
            self._expired()

    def _expired(self) -> None:
        if self.phase is Phase.HEAD:
            self.refuse(
                HTTPStatus.REQUEST_TIMEOUT, "the request's headers took too long"
            )
        elif self.phase is Phase.IDLE:
            self._part(linger=False)
        elif self.phase is Phase.PARTING:
            self.transport.abort()
        elif self.phase is Phase.MOVING:
            if self.waiting and self.moved < max(1, self.limits.pace_bytes):
                self._stalled()
            else:
                self.moved = 0
                self._watch(Phase.MOVING, self.limits.pace_seconds)

    def _stalled(self) -> None:
        if self.running is None or self.running.response_started:
            self.transport.abort()
            return
        limits = self.limits
        text = (
            f"{self.moved} bytes of the request's body came in {limits.pace_seconds:g} seconds: "
            f"at least {max(1, limits.pace_bytes)} must"
        )
        self.running.fail(RequestTimeout(text))

    # Reading heads

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self.deaf:
            return
        self.fed = len(data)
        moved = self.moved
        self._feed(data)
        if self.deaf:
            return
        if self.in_head:
            self._head_goes_on()
        elif self.moved != moved:
            self.silent = 0
        elif self.cycle is not None and self.cycle.more_body:
            # Trailers and chunk extensions: bytes that are no body are not kept, but not endless.
            self.silent += self.fed
            if self.silent > self.limits.head_bytes:
                self.refuse(
                    HTTPStatus.BAD_REQUEST, "too much in the body that is none of it"
                )

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            refused = self.fault or (
                HTTPStatus.BAD_REQUEST,
                "the request is not valid HTTP/1.1",
            )
            self.refuse(*refused)

    def _head_goes_on(self) -> None:
        if self.begun:
            # What of this piece belongs to the head is not known: at most one piece is missed.
            self.begun = False
            if not self._busy():
                self._watch(Phase.HEAD, self.limits.head_seconds)
            return
        self.head_bytes += self.fed
        if self.head_bytes > self.limits.head_bytes:
            self.refuse(*_TOO_LONG)

    def _decline(self, rest: bytes) -> None:
        """Read a head again without its offer of another protocol.

        The parser takes what follows such a head for that protocol, so the body would be lost, or
        read as a request of its own.
        """
        lines = [b"%b %b HTTP/1.1" % (self.parser.get_method(), self.url)]
        for name, value in self.headers:
            if name != b"connection":
                if name != b"upgrade":
                    lines.append(b"%b: %b" % (name, value))
            elif b"close" in value.lower():
                lines.append(b"connection: close")
        self.parser = self._new_parser()
        self._feed(
            b"\r\n".join([*lines, b"", rest])
            if rest
            else b"\r\n".join([*lines, b"", b""])
        )

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        super().on_message_begin()
        self.in_head = self.begun = True
        self.head_bytes = self.hosts = self.silent = 0
        self.length = None
        self.codings = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers, which come after the head, are dropped."""
        if not self.in_head:
            return
        name = name.lower()
        self.headers.append((name, value))
        if name == b"host":
            self.hosts += 1
        elif name == b"content-length":
            self.length = int(value)
        elif name == b"transfer-encoding":
            self.codings.append(value.strip(b" \t").lower())
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        """Check the head, and begin to answer."""
        self.begun = False
        version = self.parser.get_http_version()
        method = self.parser.get_method()
        self.fault = self._fault(version, method)
        if self.fault is not None:
            raise ValueError(self.fault[1])
        if self.parser.should_upgrade():
            return
        self.in_head = False
        self._describe(version, method)
        self.body_left = None if self.codings else self.length or 0
        cycle, waits = self._cycle(version), self._busy()
        self._allow(cycle, alone=not waits)
        self.cycle = cycle
        if waits:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))
        else:
            self._run(cycle)

    def _fault(self, version: str, method: bytes) -> tuple[HTTPStatus, str] | None:
        limits = self.limits
        if len(self.headers) > limits.head_fields:
            return _TOO_LONG[0], f"more than {limits.head_fields} headers"
        if (
            self.head_bytes + self.fed > limits.head_bytes
            and self._head_size() > limits.head_bytes
        ):
            return _TOO_LONG
        if version not in {"1.1", "1.0"}:
            return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here"
        if self.hosts != 1 and (self.hosts or version == "1.1"):
            return HTTPStatus.BAD_REQUEST, "a request names one Host"
        if self.codings and (self.length is not None or version == "1.0"):
            return HTTPStatus.BAD_REQUEST, "the body's length is given in two ways"
        if self.codings not in ([], [b"chunked"]):
            return (
                HTTPStatus.NOT_IMPLEMENTED,
                "chunked is the only transfer coding known",
            )
        if len(self.pipeline) >= limits.pipelined:
            return (
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many requests wait on this connection",
            )
        return self._target_fault(method)

    def _target_fault(self, method: bytes) -> tuple[HTTPStatus, str] | None:
        if method == b"CONNECT":
            return HTTPStatus.BAD_REQUEST, "this is no proxy"
        if self.url.startswith((b"/", b"*")):
            return None
        # The absolute form: it wins over Host in a proxy, and loses here, so they must agree.
        authority = self.url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
        hosts = [value for name, value in self.headers if name == b"host"]
        if [authority.lower()] != [host.lower() for host in hosts]:
            return HTTPStatus.BAD_REQUEST, "the request's target and its Host differ"
        return None

    def _head_size(self) -> int:
        return len(self.url) + sum(
            len(name) + len(value) + 4 for name, value in self.headers
        )

    def _describe(self, version: str, method: bytes) -> None:
        url = httptools.parse_url(self.url)
        raw_path = url.path
        path = raw_path.decode("ascii")
        scope = cast("dict[str, Any]", self.scope)
        scope["method"] = method.decode("ascii")
        scope["http_version"] = version
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = url.query or b""

    def _cycle(self, version: str) -> Cycle:
        cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and version == "1.1",
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            on_response=_nothing,
        )
        cycle.proto = self
        return cycle

    def _allow(self, cycle: Cycle, *, alone: bool) -> None:
        """Offer what needs the socket itself."""
        if self.scheme != "http":
            return
        extensions: dict[str, Any] = {SENDFILE: cycle.send_file}
        if (
            alone
            and self.body_left is not None
            and self.body_left > self.limits.large_body
        ):
            self.flow.pause_reading()
            extensions[RECEIVE] = cycle.receive_into
        cycle.scope["extensions"] = extensions

    def _run(self, cycle: Cycle) -> None:
        self.running = cycle
        self.phase = Phase.WORK
        self.expires = math.inf
        self._start_asgi_task(cycle, self.app)

    # Reading bodies

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body until it is asked for; after the answer, drop it."""
        self.moved += len(body)
        if self.body_left is not None:
            self.body_left -= len(body)
        if self.cycle.response_complete:
            return
        self.cycle.body += body
        if len(self.cycle.body) > HIGH_WATER:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Note that the body is whole."""
        if self.parser.should_upgrade():
            return
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if self.cycle.response_complete and not self.in_head:
            self._watch(Phase.IDLE, self.limits.idle_seconds)

    async def receive_into(self, cycle: Cycle, consume: Consume) -> int:
        """Read the rest of the body past the parser; see `Cycle.receive_into`."""
        self.flow.pause_reading()
        if cycle.waiting_for_100_continue:
            cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not cycle.more_body:
            return await Receiving(cycle, consume).run()
        whole = False
        try:
            total = await Receiving(cycle, consume).run()
            whole = True
        except Disconnected:
            cycle.disconnected = True
            raise
        finally:
            if not whole:
                # The parser has lost its place.
                self.deaf = True
                cycle.keep_alive = False
        self.parser = self._new_parser()
        self.body_left = 0
        cycle.more_body = False
        cycle.message_event.set()
        return total

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # As uvicorn has it: what follows a last request is not looked at, so it is no error.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    # Answers and ends

    def will_read_rest(self, cycle: Cycle) -> bool:
        """Tell whether the connection can go on after an answer that leaves a body unread."""
        left = self.body_left
        return (
            cycle is self.cycle
            and not self.deaf
            and not cycle.waiting_for_100_continue
            and left is not None
            and left <= self.limits.dropped_bytes
        )

    def answered(self, cycle: Cycle) -> None:
        """Go on after an answer: with the next request, or by closing."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if not cycle.keep_alive:
            self._part(linger=cycle.more_body)
        elif self.pipeline:
            following, _ = self.pipeline.pop()
            self._run(cast("Cycle", following))
        elif self.refusal is not None:
            self.transport.write(self.refusal)
            self._part(linger=True)
        else:
            if self.in_head:
                self._watch(Phase.HEAD, self.limits.head_seconds)
            elif cycle.more_body:
                self._watch(Phase.PARTING, self.limits.linger_seconds)
            else:
                self._watch(Phase.IDLE, self.limits.idle_seconds)
            self.flow.resume_reading()

    def refuse(self, status: HTTPStatus, text: str) -> None:
        """Answer what cannot be read, after those that could, and close the connection."""
        self.deaf = True
        content = f"{text}\n".encode()
        self.refusal = b"".join(
            [
                b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()),
                *[
                    b"%b: %b\r\n" % header
                    for header in self.server_state.default_headers
                ],
                b"content-type: text/plain; charset=utf-8\r\n",
                b"content-length: %d\r\nconnection: close\r\n\r\n" % len(content),
                content,
            ]
        )
        if not self._busy():
            self.transport.write(self.refusal)
            self._part(linger=True)
        elif not self.in_head and self.cycle.more_body:
            self.cycle.keep_alive = False
            cast("Cycle", self.cycle).fail(RequestMalformed(text))
        else:
            self.flow.pause_reading()

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _part(self, *, linger: bool) -> None:
        """Close; if bytes may still come, not at once: closing on them would destroy the answer."""
        self.deaf = True
        if linger and self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
            self._watch(Phase.PARTING, self.limits.linger_seconds)
            return
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._watch(Phase.PARTING, self.limits.pace_seconds)


def factory(limits: Limits, pool: Executor | None = None) -> Callable[..., Protocol]:
    """Make what uvicorn's ``http`` setting takes: connections that share their buffers."""
    buffers = Buffers(limits.piece_bytes, limits.pieces)
    return partial(Protocol, limits=limits, buffers=buffers, pool=pool)


def _nothing() -> None:
    """Stand in for uvicorn's own way of going on, which `answered` replaces."""


_TOO_LONG = (
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "the request's headers are too long",
)
