"""What `/readyz` says of the parts behind it."""

from __future__ import annotations

import asyncio

import httpx
from starlette.routing import Router

from moorage.api.health import Check, Health
from moorage.errors import Unavailable


async def there() -> None:
    """Answer."""


async def away() -> None:
    """Be away."""
    raise Unavailable("connection refused to a host that clients need not know")


async def never() -> None:
    """Neither answer nor fail."""
    await asyncio.Event().wait()


async def ask(path: str, **checks: Check) -> httpx.Response:
    """Ask a health endpoint."""
    transport = httpx.ASGITransport(Router(Health(checks, 0.05).routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://house") as client:
        return await client.get(path)


async def test_ready_means_that_every_part_answers():
    answer = await ask("/readyz", database=there, store=there)

    assert (answer.status_code, answer.json()) == (
        200,
        {"ready": True, "parts": {"database": "ok", "store": "ok"}},
    )


async def test_the_part_that_is_away_is_named_and_no_more_is_said():
    answer = await ask("/readyz", database=there, store=away)

    assert (answer.status_code, answer.json()) == (
        503,
        {"ready": False, "parts": {"database": "ok", "store": "away"}},
    )


async def test_a_part_that_never_answers_is_away_in_time():
    answer = await asyncio.wait_for(ask("/readyz", database=never), 5)

    assert answer.json()["parts"] == {"database": "away"}


async def test_a_process_lives_whatever_is_away():
    answer = await ask("/livez", database=away)

    assert answer.status_code == 200


async def test_a_flood_of_probes_asks_once():
    asked = 0

    async def counting() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)

    health = Health({"database": counting}, 1.0)

    await asyncio.gather(*(health.parts() for _ in range(100)))

    assert asked == 1
