"""The platform's rows with accounts, users and applications in them, and clients that sign as the SDKs do."""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from sqlalchemy import bindparam
from starlette.types import ASGIApp

from moorage.cloud import credentials
from moorage.cloud.rules import EVERYTHING, Limits
from moorage.db import Database, Statement, Tx, insert, migrate
from moorage.db.platform import account, login
from moorage.db.postgres import Postgres
from moorage.db.sqlite import SqliteDatabase
from moorage.identity.keys import MasterKey
from tests.functional.identity_world import Clock
from tests.worlds import MASTER_KEY, PASSWORD, HashedOnce

T = TypeVar("T")

BASE = "http://localhost:8080"
ANYTHING = Limits(EVERYTHING)
MASTER = MasterKey.parse(MASTER_KEY)

ACCOUNT = Statement(
    insert(account).values(
        id=bindparam("id"), name=bindparam("name"), currency="EUR", state="ACTIVE", created_at=bindparam("at")
    )
)
LOGIN = Statement(
    insert(login).values(
        id=bindparam("id"), account_id=bindparam("account"), name=bindparam("name"), email=bindparam("email"),
        password=bindparam("password"), disabled=0, admin=1, valid_from=0, created_at=bindparam("at"),
    )
)  # fmt: skip


@dataclass
class Signer(httpx.Auth):
    """Signs a request the way that every SDK documents, and in words of its own."""

    key: str
    secret: str
    consumer: str
    now: Callable[[], int]
    requires_request_body = True
    signed_as: str = ""
    """The URL that the caller typed, when it is not the one on the wire."""
    drop: tuple[str, ...] = ()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        at = str(self.now())
        url = self.signed_as or str(request.url)
        told = f"{self.secret}+{self.consumer}+{request.method}+{url}+{request.content.decode()}+{at}"
        request.headers["X-Ovh-Application"] = self.key
        request.headers["X-Ovh-Consumer"] = self.consumer
        request.headers["X-Ovh-Timestamp"] = at
        request.headers["X-Ovh-Signature"] = (
            "$1$" + hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()
        )
        for name in self.drop:
            del request.headers[name]
        yield request


@dataclass
class Person:
    """A user of an account, with an application."""

    account: str
    account_name: str
    login: str
    name: str
    application: credentials.NewApplication


@dataclass
class Platform:
    """The platform's rows, and who is in them."""

    db: Database
    clock: Clock
    passwords: HashedOnce
    closing: AsyncExitStack
    people: dict[str, Person] = field(default_factory=dict)

    async def change(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        return await self.db.change(work)

    async def person(self, name: str, account_name: str = "") -> Person:
        """Make a user, in an account of their own or in one that there is, with an application; the password is PASSWORD."""
        known = next((one for one in self.people.values() if one.account_name == account_name), None)
        home = known.account if known else str(uuid.uuid4())
        made, named = str(uuid.uuid4()), account_name or f"account-{secrets.token_hex(4)}"
        if known is None:
            await self.db.write(ACCOUNT, id=home, name=named, at=self.db.now())
        await self.db.write(
            LOGIN, id=made, account=home, name=name, email=f"{name}@example.com",
            password=await self.passwords.hash(PASSWORD), at=self.db.now(),
        )  # fmt: skip
        new = await self.change(
            lambda tx: credentials.create_application(tx, MASTER, account=home, login=made, name="tests")
        )
        self.people[name] = Person(home, named, made, name, new)
        return self.people[name]

    async def consumer(
        self, person: Person, limits: Limits = ANYTHING, *, expires_at: int | None = None
    ) -> str:
        """Make a credential that the person has allowed, and give its consumer key."""
        return await self.change(
            lambda tx: credentials.create_validated(
                tx, person.application.id, person.login, limits, expires_at=expires_at
            )
        )

    def signer(self, person: Person, consumer: str, **more: Any) -> Signer:
        """Sign as a person's application."""
        given = {"now": lambda: self.clock.at // 1_000_000} | more
        return Signer(person.application.key, person.application.secret, consumer, **given)

    async def client(self, app: ASGIApp, auth: httpx.Auth | None = None, **more: Any) -> httpx.AsyncClient:
        """Give a client of an application."""
        transport = httpx.ASGITransport(app, **more)
        return await self.closing.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url=BASE, auth=auth)
        )


@pytest.fixture(params=["sqlite", "postgres"])
async def platform(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Platform]:
    """Open the platform's rows on each engine, with a clock that is moved by hand."""
    async with AsyncExitStack() as closing:
        clock = Clock(time.time_ns() // 1000)
        if request.param == "sqlite":
            db: Database = await SqliteDatabase.open(
                tmp_path / "platform.sqlite", None, create=True, family=migrate.PLATFORM, clock=clock
            )
            closing.push_async_callback(db.close)
        else:
            opened = await Postgres.connect(request.getfixturevalue("postgres_url"), clock=clock)
            closing.push_async_callback(opened.close)
            db = opened.unbound()
        passwords = HashedOnce()
        closing.callback(passwords.close)
        yield Platform(db, clock, passwords, closing)
