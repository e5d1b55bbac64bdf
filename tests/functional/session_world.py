"""The console's pages and the calls of a user's own, before a person at a browser."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from html.parser import HTMLParser
from ipaddress import ip_network

import httpx
import pytest
from starlette.routing import Router
from starlette.types import ASGIApp
from typing_extensions import override

from moorage.api.cloud.account_users import AccountUsers
from moorage.api.cloud.auth import Auth
from moorage.api.cloud.browser_sessions import BrowserSessions
from moorage.api.cloud.clients import Clients
from moorage.api.cloud.endpoints import CloudApi
from moorage.api.cloud.oidc import AccountOidc
from moorage.api.cloud.routes import Table
from moorage.api.forwarded import Proxies
from moorage.api.front import front
from moorage.cloud.oidc_sign_in import SignIns
from moorage.db import Database
from moorage.identity.passwords import Passwords
from moorage.outbound.http import Caller
from moorage.outbound.oidc import Issuers
from moorage.web import validation
from moorage.web.oidc import Oidc
from moorage.web.sign_in import SignIn
from moorage.web.validation import Validation
from tests.functional.cloud_world import MASTER, Person, Platform
from tests.worlds import PASSWORD

SECOND = 1_000_000
NAMES = {"moorage", "__Host-moorage"}


class Forms(HTMLParser):
    """Every form of a page, as a browser would send it by each of its buttons."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []
        self.buttons: list[dict[str, str]] = []
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append({})
        elif tag == "input" and "name" in given:
            self.forms[-1][given["name"]] = given.get("value", "")
        elif tag == "button" and "name" in given:
            self.buttons.append({**self.forms[-1], given["name"]: given.get("value", "")})


@dataclass
class Browser:
    """A browser, which keeps what it is given and sends it to every port of the host."""

    client: httpx.AsyncClient
    user: str

    async def sign_in(self, password: str = PASSWORD, code: str = "", **changed: str) -> httpx.Response:
        """Fill in the form and send it."""
        form = Forms((await self.client.get("/auth/login")).text).forms[0]
        given = form | {"user": self.user, "password": password, "code": code} | changed
        return await self.client.post("/auth/login", data=given)

    @property
    def cookie(self) -> str:
        """Give what the session's cookie holds."""
        return next((one.value or "" for one in self.client.cookies.jar if one.name in NAMES), "")

    async def guard(self) -> dict[str, str]:
        """Give the header that the session's pages send with a change."""
        told = await self.client.get("/1.0/me/session/current")
        assert told.status_code == 200, told.text
        return {"x-moorage-guard": told.json()["guard"]}

    async def change(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Make a call that changes something, as a page of the session does."""
        return await self.client.request(method, f"/1.0{path}", json=body, headers=await self.guard())

    async def asks(self) -> int:
        """Say what the session is answered now."""
        return (await self.client.get("/1.0/auth/details")).status_code


@dataclass
class Console:
    """The console, and alice, who administers her account."""

    platform: Platform
    app: ASGIApp
    alice: Person
    browsers: list[Browser] = field(default_factory=list)

    @property
    def user(self) -> str:
        """Give the name that alice signs in with."""
        return f"{self.alice.account_name}/alice"

    async def browser(
        self, base_url: str = "http://localhost:8080", address: str = "127.0.0.1", **headers: str
    ) -> Browser:
        """Open a browser at an address."""
        client = await self.platform.client(self.app, client=(address, 1))
        client.base_url = httpx.URL(base_url)
        client.headers.update(headers)
        self.browsers.append(Browser(client, self.user))
        return self.browsers[-1]

    async def signed_in(self, base_url: str = "http://localhost:8080") -> Browser:
        """Open a browser and sign in."""
        made = await self.browser(base_url)
        assert (await made.sign_in()).status_code == 303
        return made

    def go_on(self, seconds: int) -> None:
        """Let time pass."""
        self.platform.clock.go_on(seconds)

    @property
    def now(self) -> int:
        """Give the time in seconds."""
        return self.platform.db.now() // SECOND

    def use(self, passwords: Passwords) -> None:
        """Check passwords otherwise from now on."""
        self.app = opened(self.platform.db, passwords)


def totp(key: str, now: int) -> str:
    """Compute a code as RFC 6238 has it, in words of our own."""
    digest = hmac.digest(base64.b32decode(key), struct.pack(">Q", now // 30), hashlib.sha1)
    place = digest[-1] & 0xF
    number: int = struct.unpack(">I", digest[place : place + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def opened(db: Database, passwords: Passwords) -> ASGIApp:
    """Put the console together; it may call this machine."""
    issuers = Issuers(Caller((ip_network("127.0.0.0/8"), ip_network("::1/128")), seconds=60), db.now)
    table = Table(
        [
            *Auth(db, validation.PATH).routes(),
            *AccountUsers(db, passwords).routes(),
            *Clients(db).routes(),
            *BrowserSessions(db, MASTER, passwords).routes(),
            *AccountOidc(db, MASTER, issuers).routes(),
        ]
    )
    pages = [
        *Validation(db, MASTER, passwords).routes(),
        *SignIn(db, MASTER, passwords).routes(),
        *Oidc(SignIns(db, MASTER, issuers)).routes(),
    ]
    return front(Router(pages, default=CloudApi(db, MASTER, table)), Proxies(()))


@pytest.fixture
async def console(platform: Platform) -> Console:
    """Open the console on each engine."""
    alice = await platform.person("alice")
    return Console(platform, opened(platform.db, platform.passwords), alice)
