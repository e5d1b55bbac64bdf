"""An HTTP server on given sockets, that ends when it is told to and then waits for its requests."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp
from typing_extensions import override

from moorage.api.http import internals
from moorage.api.http.buffers import Buffers
from moorage.api.http.limits import Limits
from moorage.api.http.recalling import Recollection

# How long cancelled requests may take to let go of what they hold.
CUTTING = 3.0
_BACKLOG = 2048


class Server(uvicorn.Server):
    """A uvicorn server with our protocol, which leaves signals alone and sees its requests out."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        grace: float,
        tls: ssl.SSLContext | None = None,
        pool: Executor | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol(limits, pool),
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=int(limits.idle_seconds),
                ssl_context_factory=None if tls is None else lambda *_: tls,
            )
        )
        self.grace = grace
        self.up = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin to end: no new connections, and the grace for requests under way; twice: now."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._stopping.set()

    async def take(self, listening: socket.socket) -> None:
        """Accept connections on one more socket."""

        def made() -> asyncio.Protocol:
            make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
            return make(
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )

        loop = asyncio.get_running_loop()
        taken = await loop.create_server(made, sock=listening, ssl=self.config.ssl, backlog=_BACKLOG)
        self.servers.append(taken)

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process: it may have several servers, and a clean exit status."""
        yield

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and let who waits for it know."""
        await super().startup(sockets)
        await self.on_tick(0)
        self.up.set()

    @override
    async def main_loop(self) -> None:
        """Keep the date header right until told to stop."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopping.wait()

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new connections, wait for requests under way within the grace, cut the rest."""
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._wait(self.grace, forced=lambda: self.force_exit)
        for task in list(self.server_state.tasks):
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await self._wait(CUTTING, forced=lambda: False)

    async def _wait(self, seconds: float, *, forced: Callable[[], bool]) -> None:
        """Wait until every request is answered and every connection closed."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        state = self.server_state
        # uvicorn's sets tell nobody when they change.
        while (state.tasks or state.connections) and not forced() and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def protocol(limits: Limits, pool: Executor | None = None) -> Any:
    """Give what makes connections: ours, or uvicorn's where ours would not fit it."""
    if not internals.fit():
        return "httptools"
    from moorage.api.http.protocol import Protocol  # noqa: PLC0415  # fails where it does not fit

    buffers = Buffers(limits.piece_bytes, limits.pieces)
    return partial(Protocol, limits=limits, buffers=buffers, recollection=Recollection(), pool=pool)


async def serve(
    app: ASGIApp,
    sockets: Sequence[socket.socket],
    *,
    grace: float,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    pool: Executor | None = None,
    stop: asyncio.Event | None = None,
    on_ready: Callable[[], object] | None = None,
) -> None:
    """Answer on *sockets*, which are listening, until *stop* is set or SIGTERM or SIGINT comes.

    Returns when every request under way was answered or, after *grace* seconds, cut.
    """
    server = Server(app, limits=limits or Limits(), grace=grace, tls=tls, pool=pool)
    async with _watching(server, stop):
        serving = asyncio.create_task(server.serve(list(sockets)))
        ready = asyncio.create_task(server.up.wait())
        await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
        if server.up.is_set() and on_ready is not None:
            on_ready()
        ready.cancel()
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.stop()
            await serving
            raise


def run(main: Any) -> Any:
    """Run a process's *main* on the loop that this server is made for."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@contextlib.asynccontextmanager
async def _watching(server: Server, stop: asyncio.Event | None) -> AsyncIterator[None]:
    """Tell the server to stop when it is time."""
    loop = asyncio.get_running_loop()
    numbers: tuple[signal.Signals, ...] = ()
    if stop is None and threading.current_thread() is threading.main_thread():
        numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, server.stop)
    watch = asyncio.create_task(_stop_on(server, stop)) if stop is not None else None
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
        if watch is not None:
            watch.cancel()


async def _stop_on(server: Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.stop()
