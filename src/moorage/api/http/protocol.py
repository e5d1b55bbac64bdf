"""HTTP/1.1 on one connection: uvicorn's protocol with limits, and two ways past the parser.

    connection ── head ── work ── answered ── idle ── head ── …
                   │        │                    │
          head_seconds   pace_seconds       idle_seconds
          408 or cut     408 or cut         closed

On plaintext connections every request's scope has the ASGI extension ``moorage.sendfile``, and one
with a long body of known length has ``moorage.receive``; `Cycle` says what they do. They are
absent under TLS, and where the body's bytes may already be in the parser.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import httptools
from typing_extensions import override

from moorage.api.http.bodies import RECEIVE
from moorage.api.http.cycle import Cycle
from moorage.api.http.deadline import Deadline, Phase
from moorage.api.http.heads import TOO_LONG, Fault, refusal
from moorage.api.http.problems import RequestMalformed, RequestTimeout
from moorage.api.http.quick import END_OF_HEAD, QuickHeads
from moorage.api.http.receiving import Receiving
from moorage.api.http.receiving_chunks import ReceivingChunks
from moorage.api.http.responses import PACE, SENDFILE, TALLY
from moorage.api.http.unsent import unsent
from moorage.storage.store import Disconnected

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from uvicorn import Config
    from uvicorn.server import ServerState

    from moorage.api.http.bodies import Consume
    from moorage.api.http.buffers import Buffers
    from moorage.api.http.limits import Limits
    from moorage.api.http.recalling import Recollection

# What of a body waits in memory for an application that is slow to ask.
HIGH_WATER = 64 * 1024
_LAST_CHUNK = b"0\r\n\r\n"


class Protocol(QuickHeads):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
        buffers: Buffers,
        recollection: Recollection,
        pool: Executor | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop, limits=limits, recollection=recollection)
        self.buffers = buffers
        self.pool = pool
        # The request that is being answered; the one being read is uvicorn's `cycle`.
        self.running: Cycle | None = None
        self.deadline = Deadline(self.loop, self._expired)
        self.waiting = False
        self.moved = 0
        self.marked = 0
        # Nothing more is parsed: what still comes is dropped.
        self.deaf = False
        self.refusal: bytes | None = None
        self.refused: Fault | None = None
        self.silent = 0
        # A body in chunks that came with its head, before the parser has seen any of it.
        self.raw: bytes | None = None
        # What is left of the body being read; None when it does not say.
        self.body_left: int | None = 0

    # The connection's life

    @override
    # Over TCP it is never less than a Transport, whatever asyncio's base class says; uvicorn has it so, too.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin: the first head must come soon."""
        super().connection_made(transport)
        self.deadline.set(Phase.HEAD, self.limits.head_seconds)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """End: whoever waits for this connection is told."""
        super().connection_lost(exc)
        self.deadline.stop()
        self.deaf = True
        self.pipeline.clear()
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True
            self.running.fail(Disconnected())

    @override
    def shutdown(self) -> None:
        """Close as soon as every request that came was answered."""
        if self.busy():
            self.cycle.keep_alive = False
        elif self.deadline.phase is not Phase.PARTING:
            self._part(linger=False)

    # Deadlines

    def waits(self) -> None:
        """Note that the request under way waits for the other end, which must move."""
        self.waiting = True
        if self.deadline.phase is not Phase.MOVING:
            self.marked = self.taken()
            self.deadline.set(Phase.MOVING, self.limits.pace_seconds)

    def taken(self) -> int:
        """Count the bytes of bodies that came, or reached the other end's machine."""
        return self.moved - unsent(self.transport)

    def pace(self) -> tuple[int, bool]:
        """Extension ``moorage.pace``: how many bytes the other end sent or took, and whether it is waited for."""
        return self.taken(), self.waiting

    def goes_on(self) -> None:
        """Note that the request under way waits for the other end no longer."""
        self.waiting = False

    def _expired(self) -> None:
        if self.deadline.phase is Phase.HEAD:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "the request's headers took too long")
        elif self.deadline.phase is Phase.IDLE:
            self._part(linger=False)
        elif self.deadline.phase is Phase.PARTING:
            self.transport.abort()
        elif self.deadline.phase is Phase.MOVING:
            taken = self.taken()
            if self.waiting and taken - self.marked < max(1, self.limits.pace_bytes):
                self._stalled(taken - self.marked)
            else:
                self.marked = taken
                self.deadline.set(Phase.MOVING, self.limits.pace_seconds)

    def _stalled(self, moved: int) -> None:
        if self.running is None or self.running.response_started:
            self.transport.abort()
            return
        self.deadline.lift()
        self.running.fail(RequestTimeout.after(moved, self.limits))

    # Reading heads

    @override
    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self.deaf:
            return
        begins = not self.in_head and not self.reads_body()
        if begins and self.recall_piece(data):
            self.deadline.set(Phase.IDLE, self.limits.idle_seconds)
            return
        self.fed = len(data)
        moved = self.moved
        self.piece = data if begins else b""
        self.begun_here = begins
        self._feed(data)
        self.piece = b""
        if self.deaf or self.raw is not None:
            return
        if self.in_head:
            self._head_goes_on()
        elif self.moved != moved:
            self.silent = 0
        elif self.reads_body():
            # Trailers and chunk extensions: bytes that are no body are not kept, but not endless.
            self.silent += self.fed
            if self.silent > self.limits.head_bytes:
                self.refuse(HTTPStatus.BAD_REQUEST, "too much in the body that is none of it")

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            if self.raw is not None:
                self.parser = self._new_parser()
                return
            refused = self.refused or (
                HTTPStatus.BAD_REQUEST,
                "the request is not valid HTTP/1.1",
            )
            self.refuse(*refused)

    def _head_goes_on(self) -> None:
        if self.begun:
            # What of this piece belongs to the head is not known: at most one piece is missed.
            self.begun = False
            if not self.busy():
                self.deadline.set(Phase.HEAD, self.limits.head_seconds)
            return
        self.head_bytes += self.fed
        if self.head_bytes > self.limits.head_bytes:
            self.refuse(*TOO_LONG)

    def _decline(self, rest: bytes) -> None:
        """Read a head again without its offer of another protocol.

        The parser takes what follows such a head for that protocol, so the body would be lost, or
        read as a request of its own.
        """
        head = self.without_offer(self.parser.get_method())
        self.parser = self._new_parser()
        self._feed(head + rest)

    @override
    def on_headers_complete(self) -> None:
        """Check the head, and begin to answer."""
        if self.replaying:
            return
        self.begun = False
        version = self.parser.get_http_version()
        method = self.parser.get_method()
        self.refused = self.fault(version, method)
        if self.refused is not None:
            raise ValueError(self.refused[1])
        if self.parser.should_upgrade():
            return
        self.in_head = False
        self.body_left = None if self.codings else self.length or 0
        asked = self.asked(version, method) if self.body_left == 0 else None
        if asked is not None and self.recall(asked):
            return
        self.describe(version, method)
        if asked is not None and self.answer_at_once(asked):
            return
        cycle, waits = Cycle.of(self, version), self.busy()
        self._allow(cycle, alone=not waits)
        self.cycle = cycle
        if waits:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))
        else:
            self._run(cycle)
        if RECEIVE in cycle.scope.get("extensions", ()) and self.codings:
            # The parser is stopped here, so that none of the body goes through it.
            self.raw = self.piece[self.piece.index(END_OF_HEAD) + len(END_OF_HEAD) :]
            raise ValueError

    def _allow(self, cycle: Cycle, *, alone: bool) -> None:
        """Offer what needs the socket itself."""
        extensions: dict[str, Any] = {PACE: self.pace, TALLY: cycle.tally}
        cycle.scope["extensions"] = extensions
        if self.scheme != "http":
            return
        extensions[SENDFILE] = cycle.send_file
        if alone and self._worth_receiving():
            self.flow.pause_reading()
            extensions[RECEIVE] = cycle.receive_into

    def _worth_receiving(self) -> bool:
        """Tell whether the body is long, or may be: then nothing of it need be parsed."""
        if self.body_left is not None:
            return self.body_left > self.limits.large_body
        # Only where the head is sure to end at the first empty line of the piece at hand.
        return self.piece[:1].isalpha() and not self.piece.endswith(_LAST_CHUNK)

    def replay(self) -> None:
        """Have the parser read a body in chunks after all: it was asked for in the plain way."""
        raw, self.raw = self.raw, None
        if raw is None:
            return
        self.replaying = True
        self.parser.feed_data(b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.replaying = False
        if raw:
            self.data_received(raw)

    def _run(self, cycle: Cycle) -> None:
        self.running = cycle
        self.deadline.lift()
        app = cast("Any", self.app)
        task: asyncio.Task[None] = self.loop.create_task(app(cycle.scope, cycle.receive, cycle.send))
        self.tasks.add(task)
        task.add_done_callback(cycle.ended)

    # Reading bodies

    @override
    def on_body(self, body: bytes) -> None:
        """Keep a part of the body until it is asked for; after the answer, drop it."""
        self.moved += len(body)
        cast("Cycle", self.cycle).came += len(body)
        if self.body_left is not None:
            self.body_left -= len(body)
        if self.cycle.response_complete:
            return
        self.cycle.body += body
        if len(self.cycle.body) > HIGH_WATER:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    @override
    def on_message_complete(self) -> None:
        """Note that the body is whole."""
        if self.parser.should_upgrade():
            return
        if not self.busy() and not self.reads_body():
            # It was answered at once.
            self.deadline.set(Phase.IDLE, self.limits.idle_seconds)
            return
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if self.cycle.response_complete and not self.in_head:
            self.deadline.set(Phase.IDLE, self.limits.idle_seconds)

    async def receive_into(self, cycle: Cycle, consume: Consume) -> int:
        """Read the rest of the body past the parser; see `Cycle.receive_into`."""
        receiving = self._receiving(cycle, consume)
        self.flow.pause_reading()
        if cycle.waiting_for_100_continue:
            cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        whole = False
        try:
            total = await receiving.run()
            whole = True
        except Disconnected:
            cycle.disconnected = True
            raise
        finally:
            if not whole:
                # The parser has lost its place.
                self.deaf = True
                cycle.keep_alive = False
        if cycle.more_body:
            self.parser = self._new_parser()
            self.body_left = 0
            cycle.more_body = False
            cycle.message_event.set()
            if receiving.rest:
                self.data_received(receiving.rest)
        return total

    def _receiving(self, cycle: Cycle, consume: Consume) -> Receiving:
        if self.raw is not None:
            cycle.body, self.raw = bytearray(self.raw), None
            return ReceivingChunks(cycle, consume)
        if self.body_left is None:
            text = "a body was asked for in both ways"
            raise RuntimeError(text)
        return Receiving(cycle, consume)

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
                self.deadline.set(Phase.HEAD, self.limits.head_seconds)
            elif cycle.more_body:
                self.deadline.set(Phase.PARTING, self.limits.linger_seconds)
            else:
                self.deadline.set(Phase.IDLE, self.limits.idle_seconds)
            self.flow.resume_reading()

    def refuse(self, status: HTTPStatus, text: str) -> None:
        """Answer what cannot be read, after those that could, and close the connection."""
        self.deaf = True
        self.refusal = refusal((status, text), self.server_state.default_headers)
        if not self.busy():
            self.transport.write(self.refusal)
            self._part(linger=True)
        elif not self.in_head and self.cycle.more_body:
            self.cycle.keep_alive = False
            cast("Cycle", self.cycle).fail(RequestMalformed(text))
        else:
            self.flow.pause_reading()

    def _part(self, *, linger: bool) -> None:
        """Close; if bytes may still come, not at once: closing on them would destroy the answer."""
        self.deaf = True
        if linger and self.transport.can_write_eof():
            try:
                self.transport.write_eof()
            except OSError:
                # The other end is gone already.
                self.transport.abort()
                return
            self.flow.resume_reading()
            self.deadline.set(Phase.PARTING, self.limits.linger_seconds)
            return
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self.deadline.set(Phase.PARTING, self.limits.pace_seconds)
