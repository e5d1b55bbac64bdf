"""What every request passes first, on every port: its id, its real origin, its last resort."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moorage import logs
from moorage.api import dialects
from moorage.api.dialects import Answer
from moorage.api.forwarded import HEADERS as FORWARDED
from moorage.api.forwarded import Proxies
from moorage.api.http.at_once import Again, AtOnce, Whole
from moorage.errors import Problem
from moorage.storage import Disconnected

# Whoever brings an id of its own may: it is only ever shown and searched for.
_ID = b"x-request-id"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_DIALECTS = (
    ("/v2", dialects.oci),
    ("/service/", dialects.oci),
    ("/api/", dialects.harbor),
    ("/c/", dialects.harbor),
    ("/swagger.json", dialects.harbor),
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
    quick: AtOnce | None = None
    # What an answer made at once may hang on; a pull notes the user agent.
    minded: ClassVar[frozenset[bytes]] = frozenset(
        {b"host", b"authorization", b"if-none-match", b"user-agent", _ID, *FORWARDED}
    )

    def at_once(self, scope: Scope) -> Whole | None:
        """Answer what need wait for nothing, as the call would."""
        if self.quick is None:
            return None
        given = _given_id(scope)
        shown = given or _new_id()
        # Should the call come after this, it does the same again.
        self.proxies.apply(scope)
        before = logs.request_id.set(shown.decode())
        try:
            whole = self.quick(scope)
        finally:
            logs.request_id.reset(before)
        if whole is not None:
            whole.own = _id_line(shown)
            if given is None and whole.again is not None:
                whole.anew = partial(_anew, whole.again)
        return whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its id back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = _given_id(scope) or _new_id()
        logs.request_id.set(given.decode())
        self.proxies.apply(scope)
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                others = message.get("headers", ())
                # A refusal has it already: it shows the id in its text as well.
                if not any(name == _ID for name, _ in others):
                    message["headers"] = [*others, (_ID, given)]
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except Disconnected:
            raise
        except Exception as error:
            # Whatever it is, the caller gets an answer; the server, which logs it, gets the error.
            if not begun:
                await refuse(scope, error)(scope, receive, answer)
            raise


def front(app: ASGIApp, proxies: Proxies) -> ASGIApp:
    """Put the front before *app*."""
    return Front(app, proxies, getattr(app, "at_once", None))


def refuse(scope: Scope, problem: Exception) -> Answer:
    """Write *problem* as those who ask at this path read it, with the request's id."""
    write = next((write for start, write in _DIALECTS if scope["path"].startswith(start)), dialects.page)
    return write(problem, logs.request_id.get())


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 404: an application for every path that no other takes."""
    await refuse(scope, NoSuchPage())(scope, receive, send)


def _given_id(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == _ID and _REQUEST_ID.fullmatch(value):
            return bytes(value)
    return None


def _new_id() -> bytes:
    # Not a secret: it is only ever shown and searched for.
    return b"%016x" % random.getrandbits(64)


def _id_line(given: bytes) -> bytes:
    return b"x-request-id: %b\r\n" % given


def _anew(again: Again) -> bytes | None:
    given = _new_id()
    return _id_line(given) if again(given.decode()) else None
