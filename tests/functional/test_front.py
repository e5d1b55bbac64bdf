"""What every request passes first."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from moorage import logs
from moorage.api.forwarded import Proxies
from moorage.api.front import front, nothing_here
from moorage.api.plane import Plane
from moorage.errors import Unavailable


async def breaks(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Break as only a bug can."""
    raise RuntimeError("the password is hunter2")


async def away(host: str, port: int) -> None:
    """Find no registry, because the directory is away."""
    raise Unavailable(f"no directory to look {host}:{port} up in", retry_after=7)


def client(app: object) -> httpx.AsyncClient:
    """Give a client of an application behind the front."""
    transport = httpx.ASGITransport(front(app, Proxies(())), raise_app_exceptions=False)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://house")


@pytest.mark.parametrize("path", ["/v2/", "/api/v2.0/projects", "/page"])
async def test_what_breaks_is_a_500_that_shows_an_id_and_nothing_else(path: str):
    async with client(breaks) as asking:
        answer = await asking.get(path)

    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.text
    assert "hunter2" not in answer.text


async def test_each_request_has_an_id_of_its_own_while_others_run():
    seen: dict[str, str] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        before = logs.request_id.get()
        await asyncio.sleep(0.01)
        seen[before] = logs.request_id.get()
        await nothing_here(scope, receive, send)

    async with client(app) as asking:
        await asyncio.gather(*(asking.get("/") for _ in range(20)))

    assert len(seen) == 20
    assert all(before == after for before, after in seen.items())


async def test_a_directory_that_is_away_is_no_unknown_registry():
    async with client(Plane(nothing_here, away)) as asking:  # type: ignore[arg-type]
        answer = await asking.get("/v2/")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
