"""`/livez` and `/readyz`, the same on every port.

Alive means that this process answers. Ready means that what it needs answers too: each part is
asked within a bounded time, and one that does not answer is named.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from moorage.errors import Problem

LOG = logging.getLogger(__name__)
NOT_KEPT = {"Cache-Control": "no-store"}

Check = Callable[[], Awaitable[object]]
"""Asks one part for a sign of life, and raises Problem, OSError or TimeoutError if there is none."""


@dataclass(slots=True)
class Health:
    """Whether a process is alive, and whether the parts that it needs are."""

    checks: Mapping[str, Check]
    seconds: float
    _asking: asyncio.Task[dict[str, str]] | None = field(default=None, init=False)

    def routes(self) -> list[Route]:
        """List both endpoints; anyone may ask, and learns the parts' names only."""
        return [
            Route("/livez", self.livez, methods=["GET", "HEAD"]),
            Route("/readyz", self.readyz, methods=["GET", "HEAD"]),
        ]

    async def livez(self, _: Request) -> Response:
        """Answer."""
        return PlainTextResponse("ok\n", headers=NOT_KEPT)

    async def readyz(self, _: Request) -> Response:
        """Answer 200 if every part is there, and 503 if one is away, and say which."""
        parts = await self.parts()
        ready = all(state == "ok" for state in parts.values())
        content = {"ready": ready, "parts": parts}
        return JSONResponse(content, 200 if ready else 503, headers=NOT_KEPT)

    async def parts(self) -> dict[str, str]:
        """Ask every part at once; whoever comes while they are being asked shares the answer."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all())
        return await asyncio.shield(self._asking)

    async def _ask_all(self) -> dict[str, str]:
        states = await asyncio.gather(*(self._ask(name) for name in self.checks))
        return dict(zip(self.checks, states, strict=True))

    async def _ask(self, name: str) -> str:
        try:
            async with asyncio.timeout(self.seconds):
                await self.checks[name]()
        except (Problem, OSError, TimeoutError) as error:
            LOG.warning("a part is away: %s", error or "no answer in time", extra={"away": name})
            return "away"
        return "ok"
