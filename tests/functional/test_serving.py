"""What becomes of requests under way when their process is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

from starlette.types import Receive, Scope, Send

from moorage.api.http.limits import Limits
from moorage.serving import Site, serve


async def echo(_: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body, once it is whole."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


class Serving:
    """Two sites of one process, inside the test."""

    def __init__(self, grace: float) -> None:
        """Listen on two free ports."""
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.ports: list[int] = [one.getsockname()[1] for one in self.sockets]
        names = zip(("one", "two"), self.sockets, strict=True)
        sites = [Site(name, echo, [listening], Limits()) for name, listening in names]
        self.done = asyncio.create_task(serve(sites, None, grace))

    async def ask(self, site: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a request whose body ends later."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[site])
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
        # The server asks for the body when the application does, so the request is under way.
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"first")
        await writer.drain()
        return reader, writer


async def test_a_request_under_way_is_answered_after_the_signal_on_every_site():
    serving = Serving(grace=20)
    asked = [await serving.ask(site) for site in (0, 1)]
    os.kill(os.getpid(), signal.SIGTERM)
    for _, writer in asked:
        writer.write(b" last")

    answers = [await reader.read() for reader, _ in asked]

    assert all(answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"first last") for answer in answers)
    await asyncio.wait_for(serving.done, 20)
    for _, writer in asked:
        writer.close()


async def test_a_request_that_never_ends_is_cut_after_the_grace():
    serving = Serving(grace=0.2)
    _, writer = await serving.ask(0)
    os.kill(os.getpid(), signal.SIGTERM)

    await asyncio.wait_for(serving.done, 20)

    writer.close()
