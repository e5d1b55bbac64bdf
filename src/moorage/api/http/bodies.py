"""A request's body: bytes on their way in, given once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

from starlette.types import Receive, Scope

from moorage.api.http.waiting import settled
from moorage.errors import Problem
from moorage.oci.errors import ManifestTooLarge
from moorage.storage.store import Disconnected

Consume = Callable[[memoryview], None]
Drain = Callable[[Consume], Awaitable[int]]

RECEIVE = "moorage.receive"
"""The ASGI extension that reads a long body past the parser; see ``protocol.py``."""

# A hop to a thread costs as much as hashing 64 KiB: less than that is not worth one.
WORTH_A_THREAD = 64 * 1024


class Body:
    """The bytes of one request, read once: by `drain`, by iterating, or by `read`.

    Whichever way, Disconnected is raised when the caller goes away before the end, and
    RequestTimeout when the caller stays but sends nothing; after all that came was handed on.
    """

    __slots__ = ("_extensions", "_pool", "_receive", "count", "length")

    def __init__(self, scope: Scope, receive: Receive, pool: Executor | None = None) -> None:
        self._extensions: Mapping[str, Any] = scope.get("extensions") or {}
        self._receive = receive
        self._pool = pool
        self.length = _length(scope["headers"])
        self.count = 0

    async def drain(self, consume: Consume) -> int:
        """Hand every piece to *consume*, one at a time, and give their count.

        What is worth it is consumed in a worker thread, while the next piece is received.
        """
        drain: Drain | None = self._extensions.get(RECEIVE)
        if drain is not None:
            self.count += await drain(consume)
            return self.count
        job: asyncio.Future[None] | None = None
        try:
            async for piece in self:
                if job is not None:
                    await settled(job)
                job = self._consumed(consume, piece)
        finally:
            if job is not None:
                await settled(job)
        return self.count

    def _consumed(self, consume: Consume, piece: bytes) -> asyncio.Future[None] | None:
        if len(piece) < WORTH_A_THREAD:
            consume(memoryview(piece))
            return None
        return asyncio.get_running_loop().run_in_executor(self._pool, consume, memoryview(piece))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the bytes in pieces of 64 KiB or more, but for the last."""
        gathered: list[bytes] = []
        size = 0
        ended: Problem | Disconnected | None = None
        try:
            async for piece in self._pieces():
                gathered.append(piece)
                size += len(piece)
                if size >= WORTH_A_THREAD:
                    yield b"".join(gathered)
                    gathered, size = [], 0
        except (Problem, Disconnected) as error:
            ended = error
        if gathered:
            yield b"".join(gathered)
        if ended is not None:
            raise ended

    async def read(self, limit: int, *, refusal: type[Problem] = ManifestTooLarge) -> bytes:
        """Give the whole body, or raise *refusal* as soon as it is known to exceed *limit*."""
        if self.length is not None and self.length > limit:
            message = f"{self.length} bytes are more than the {limit} that are accepted here"
            raise refusal(message, size=self.length, limit=limit)
        gathered = []
        async for piece in self._pieces():
            if self.count > limit:
                message = f"more than the {limit} bytes that are accepted here"
                raise refusal(message, limit=limit)
            gathered.append(piece)
        return gathered[0] if len(gathered) == 1 else b"".join(gathered)

    async def _pieces(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            piece = message.get("body", b"")
            more = message.get("more_body", False)
            self.count += len(piece)
            if piece:
                yield piece


def _length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None
