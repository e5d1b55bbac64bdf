"""What each request to a registry counts as, and how much it took and gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from moorage.api.http.responses import TALLY
from moorage.registry.traffic import Traffic

Tally = Callable[[], tuple[int, int, int]]
"""Tells how many bytes of a request's body came, how many of its answer's went, and the answer's status."""

REFUSED: Final = 400
UNCHANGED: Final = 304
_PUSHES: Final = frozenset({"POST", "PATCH", "PUT"})


class Standing:
    """Counts what an application takes and gives, for a server that does not."""

    __slots__ = ("_receive", "_send", "came", "status", "went")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.came = self.went = self.status = 0

    async def receive(self) -> Message:
        """Give the next part of the body."""
        message = await self._receive()
        self.came += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.went += len(message.get("body", b""))
        await self._send(message)

    def tally(self) -> tuple[int, int, int]:
        """Tell what was counted."""
        return self.came, self.went, self.status


def watched(scope: Scope, receive: Receive, send: Send) -> tuple[Tally, Receive, Send]:
    """Give what tells how much a request moves, and what to answer it with."""
    told: Tally | None = (scope.get("extensions") or {}).get(TALLY)
    if told is not None:
        return told, receive, send
    standing = Standing(receive, send)
    return standing.tally, standing.receive, standing.send


class Counted:
    """Counts a request once it has ended, answered or not."""

    __slots__ = ("_scope", "_tally", "_traffic")

    def __init__(self, traffic: Traffic, scope: Scope, tally: Tally) -> None:
        self._traffic = traffic
        self._scope = scope
        self._tally = tally

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Count it."""
        traffic = self._traffic
        came, went, status = self._tally()
        traffic.bytes_in += came
        traffic.bytes_out += went
        kind = _kind(self._scope["method"], self._scope["path"], status)
        setattr(traffic, kind, getattr(traffic, kind) + 1)


def count_at_once(traffic: Traffic, size: int, *, pulled: bool) -> None:
    """Count a request that was answered where it was read: a manifest that was pulled, or a question about one."""
    traffic.bytes_out += size
    if pulled:
        traffic.manifest_pulls += 1
    else:
        traffic.others += 1


def _kind(method: str, path: str, status: int) -> str:
    if status >= REFUSED:
        return "refusals"
    if not path.startswith("/v2/"):
        return "others"
    if method in _PUSHES:
        return "pushes"
    if method == "GET" and status != UNCHANGED:
        # The last but one part says what is asked for: a repository may be called blobs, too.
        kind = path.rsplit("/", 2)[1]
        return {"manifests": "manifest_pulls", "blobs": "blob_pulls"}.get(kind, "others")
    return "others"
