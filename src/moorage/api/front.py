"""What every request passes first, on every port: its id, its real origin, its last resort."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moorage import logs
from moorage.api import dialects
from moorage.api.dialects import Answer
from moorage.api.forwarded import Proxies
from moorage.errors import Problem

# Whoever brings an id of its own may: it is only ever shown and searched for.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_DIALECTS = (
    ("/v2", dialects.oci),
    ("/service/", dialects.oci),
    ("/api/", dialects.harbor),
    ("/1.0/", dialects.cloud),
    ("/v1/", dialects.cloud),
)


class Misdirected(Problem):
    """No registry here has this host name."""

    code, status, summary = "MISDIRECTED", 421, "no registry has this host name here"


class NoSuchPage(Problem):
    """There is nothing at this path."""

    code, status, summary = "NOT_FOUND", 404, "there is nothing at this path"


@dataclass(frozen=True, slots=True)
class Front:
    """Gives each request an id, and answers what nothing behind it caught."""

    app: ASGIApp
    proxies: Proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its id back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = _request_id(scope)
        logs.request_id.set(given.decode())
        self.proxies.apply(scope)
        header = (b"x-request-id", given)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = message.get("headers", ())
                # A refusal has it already: it shows the id in its text as well.
                if not any(name == b"x-request-id" for name, _ in others):
                    message["headers"] = [*others, header]
            await send(message)

        await self.app(scope, receive, answer)


def front(app: ASGIApp, proxies: Proxies) -> ASGIApp:
    """Put the front before *app*."""
    # An answer is an ASGI application, which is all that is asked of a response.
    last_resort = ServerErrorMiddleware(app, handler=_broken)  # type: ignore[arg-type]
    return Front(last_resort, proxies)


def refuse(scope: Scope, problem: Exception) -> Answer:
    """Write *problem* as those who ask at this path read it, with the request's id."""
    write = next((write for start, write in _DIALECTS if scope["path"].startswith(start)), dialects.page)
    return write(problem, logs.request_id.get())


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 404: an application for every path that no other takes."""
    await refuse(scope, NoSuchPage())(scope, receive, send)


async def _broken(request: Request, error: Exception) -> Answer:
    return refuse(request.scope, error)


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(8).encode()
