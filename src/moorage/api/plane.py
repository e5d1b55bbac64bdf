"""The registry plane's port: health first, then the registry that the host name means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from moorage.api.front import Misdirected, refuse
from moorage.api.http.at_once import Again, Quick, Whole
from moorage.errors import Problem

Open = Callable[[str, int], Awaitable[ASGIApp]]
"""Finds the registry that a host (as the client wrote it, in lower case) means on a local port, and
gives what answers for it; raises Misdirected, or Unavailable."""


@dataclass(frozen=True, slots=True)
class Plane:
    """Every registry of this cell, behind one port each or one for all."""

    health: ASGIApp
    open: Open
    known: Callable[[str, int], Quick | None] | None = None
    """What answers at once for a host on a port, if that is known."""

    def at_once(self, scope: Scope) -> Whole | None:
        """Answer what need wait for nothing."""
        if self.known is None:
            return None
        try:
            host, port = _host(scope), scope["server"][1]
        except Misdirected:
            return None
        found = self.known(host, port)
        if found is None:
            return None
        whole = found.at_once(scope)
        if whole is not None and whole.again is not None:
            whole.again = partial(_again, partial(self.known, host, port), found, whole.again)
        return whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to its registry, or refuse it with 421."""
        if scope["path"] in {"/livez", "/readyz"}:
            # Whoever probes names no registry, and often no host.
            await self.health(scope, receive, send)
            return
        try:
            registry = await self.open(_host(scope), scope["server"][1])
        except Problem as problem:
            await refuse(scope, problem)(scope, receive, send)
            return
        await registry(scope, receive, send)


def _again(known: Callable[[], Quick | None], found: Quick, again: Again, request_id: str) -> bool:
    """Say whether the same registry still answers for the host, and says the same."""
    return known() is found and again(request_id)


def _host(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            return bytes(value).decode("latin-1").lower()
    raise Misdirected("the request names no host; say which registry it is for")
