"""A registry whose people sign in by an OpenID provider on this machine, and browsers before both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from moorage import parts
from moorage.api.harbor.operations import PREFIX
from tests.functional.session_world import Forms
from tests.servers.lying_issuer import CLIENT, SECRET, LyingIssuer, lying_issuer
from tests.worlds import MASTER_KEY, World, opened

ENGINES = ("sqlite", "postgres")


@asynccontextmanager
async def house(request: pytest.FixtureRequest, engine: str) -> AsyncIterator[World]:
    """Open a cell that may call this machine."""
    data = request.getfixturevalue("tmp_path")
    url = request.getfixturevalue("postgres_url") if engine == "postgres" else ""
    place = parts.Place(
        data=data, database_url=url, store_url=(data / "blobs").as_uri(), master_key=MASTER_KEY
    )
    async with opened(place, CALL_NETWORKS="127.0.0.0/8,::1/128") as made:
        yield made


@dataclass
class Staffed:
    """A registry, and an issuer that may lie, by which its people sign in."""

    world: World
    issuer: LyingIssuer
    browsers: list[httpx.AsyncClient] = field(default_factory=list)

    @property
    def admin(self) -> httpx.AsyncClient:
        """Give the client of the administrator, who has a password."""
        return self.world.client

    async def settle(self, **changed: object) -> None:
        """Say what the provider is, and that people sign in by it."""
        given = {
            "auth_mode": "oidc_auth", "oidc_name": "Staff", "oidc_endpoint": self.issuer.issuer, "oidc_client_id": CLIENT,
            "oidc_client_secret": SECRET, "oidc_scope": "openid,profile", "oidc_groups_claim": "groups",
            "oidc_user_claim": "preferred_username", "oidc_auto_onboard": True,
        }  # fmt: skip
        answer = await self.admin.put(f"{PREFIX}/configurations", json=given | changed)
        assert answer.status_code == 200, answer.text

    async def browser(self) -> httpx.AsyncClient:
        """Open a browser that nobody has used."""
        self.browsers.append(await self.world.as_(None))
        return self.browsers[-1]

    async def goes(self, browser: httpx.AsyncClient, following: str = "") -> str:
        """Ask to be signed in, and give where the browser is led."""
        self.issuer.now = (await self.world.registry()).db.now() // 1_000_000
        query = {"redirect_url": following} if following else {}
        led = await browser.get("/c/oidc/login", params=query)
        assert led.status_code == 302, led.text
        where: str = led.headers["location"]
        assert where.startswith(self.issuer.issuer)
        return where

    async def arrives(
        self, browser: httpx.AsyncClient, subject: str = "ada", **claims: Any
    ) -> httpx.Response:
        """Sign in at the issuer, which says so much of who it is, and bring its answer back."""
        self.issuer.userinfo = {"sub": subject}
        self.issuer.claims = {
            "preferred_username": subject,
            "email": f"{subject}@example.com",
            "groups": [],
        } | claims
        return await browser.get(self.issuer.sign_in(await self.goes(browser), subject))

    async def signed_in(self, subject: str = "ada", **claims: Any) -> httpx.AsyncClient:
        """Give a browser in which somebody has signed in."""
        browser = await self.browser()
        entered = await self.arrives(browser, subject, **claims)
        assert (entered.status_code, entered.headers.get("location")) == (302, "/c/oidc/welcome"), (
            entered.text
        )
        return browser


def base(client: httpx.AsyncClient) -> str:
    """Give the address that a client asks: each registry of a cell has a port of its own."""
    return str(client.base_url).rstrip("/")


async def current(client: httpx.AsyncClient) -> dict[str, Any]:
    """Give who has signed in; nothing for nobody."""
    answer = await client.get(f"{PREFIX}/users/current")
    told: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
    return told


async def send(browser: httpx.AsyncClient, answer: httpx.Response, **typed: str) -> httpx.Response:
    """Fill in the form of a page, and send it."""
    assert answer.status_code == 200, answer.text
    form = Forms(answer.text).forms[0]
    path = urlsplit(answer.text.partition('action="')[2].partition('"')[0]).path
    return await browser.post(path, data=form | typed)


@pytest.fixture(params=ENGINES)
async def staffed(request: pytest.FixtureRequest) -> AsyncIterator[Staffed]:
    """Open a registry on each engine, with an issuer that may lie."""
    async with house(request, request.param) as world:
        with lying_issuer() as issuer:
            made = Staffed(world, issuer)
            await made.settle()
            yield made
