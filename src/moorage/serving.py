"""An HTTP process: uvicorn on sockets that may come from a supervisor, until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
import uvloop
from starlette.types import ASGIApp

from moorage.supervisor import BACKLOG, Leash

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Site:
    """An application, the name of the listeners it answers on, and how connections are treated."""

    name: str
    app: ASGIApp
    sockets: Sequence[socket.socket]
    protocol: type[asyncio.Protocol] | str = "httptools"
    keep_alive: float = 75.0
    tls_cert: Path | None = None
    tls_key: Path | None = None


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to its process and takes further sockets as it runs."""

    def __init__(self, site: Site, grace: float) -> None:
        config = uvicorn.Config(
            site.app,
            http=site.protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=int(site.keep_alive),
            timeout_graceful_shutdown=max(1, int(grace)),
            ssl_certfile=site.tls_cert,
            ssl_keyfile=site.tls_key,
        )
        super().__init__(config)
        self.site = site
        self.up = asyncio.Event()

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """Leave the signals to the process: it may have several servers."""
        return contextlib.nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and let who waits know."""
        await super().startup(sockets)
        self.up.set()

    async def take(self, listening: socket.socket) -> None:
        """Accept connections on one more socket."""

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )
            return made

        loop = asyncio.get_running_loop()
        self.servers.append(
            await loop.create_server(protocol, sock=listening, ssl=self.config.ssl, backlog=BACKLOG)
        )


async def serve(sites: Sequence[Site], leash: Leash | None, grace: float) -> None:
    """Serve every site until SIGTERM or SIGINT, and let requests under way end within the grace."""
    servers = [_Server(site, grace) for site in sites]

    def stop() -> None:
        for server in servers:
            server.force_exit = server.should_exit
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    async with asyncio.TaskGroup() as running:
        for server in servers:
            running.create_task(server.serve(list(server.site.sockets)))
        for server in servers:
            await server.up.wait()
        if leash is not None:
            leash.watch(_taker(servers, running))
            leash.ready()


def stop_asked() -> asyncio.Event:
    """Give an event that SIGTERM and SIGINT set: the end of a process that serves no HTTP."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    return asked


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a process's *main* on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def _taker(
    servers: Sequence[_Server], running: asyncio.TaskGroup
) -> Callable[[str, socket.socket], None]:
    by_name = {server.site.name: server for server in servers}

    def take(name: str, listening: socket.socket) -> None:
        running.create_task(by_name[name].take(listening))

    return take
