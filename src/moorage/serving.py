"""A process of sites: each answers on sockets that may come from a supervisor, until a signal."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from moorage.api.http.limits import Limits
from moorage.api.http.server import Server
from moorage.supervisor import Leash


@dataclass(frozen=True, slots=True)
class Site:
    """An application, the listener that it answers on, and what its connections may ask."""

    name: str
    app: ASGIApp
    sockets: Sequence[socket.socket]
    limits: Limits
    tls: ssl.SSLContext | None = None


def tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """Make what answers TLS connections; raises ssl.SSLError and OSError for files that are none."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    return context


async def serve(
    sites: Sequence[Site], leash: Leash | None, grace: float, beside: Sequence[Coroutine[Any, Any, None]] = ()
) -> None:
    """Serve every site until SIGTERM or SIGINT, and let requests under way end within the grace.

    What goes on *beside* has no end of its own and is ended with the last site.
    """
    servers = {site.name: Server(site.app, limits=site.limits, grace=grace, tls=site.tls) for site in sites}

    def stop() -> None:
        for server in servers.values():
            server.stop()

    on_signal(stop)
    async with asyncio.TaskGroup() as running:

        def take(name: str, listening: socket.socket) -> None:
            running.create_task(servers[name].take(listening))

        serving = [running.create_task(servers[site.name].serve(list(site.sockets))) for site in sites]
        companions = [running.create_task(one) for one in beside]
        for server in servers.values():
            await server.up.wait()
        if leash is not None:
            leash.watch(take)
            leash.ready()
        await asyncio.wait(serving)
        for one in companions:
            one.cancel()


def on_signal(stop: Callable[[], None]) -> None:
    """Call *stop* at each SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
