"""A registry with people, robots and projects in it, and the token service in front."""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import httpx
from sqlalchemy import bindparam

from moorage.api.token import TokenService
from moorage.db import Statement, insert
from moorage.db.postgres import Postgres
from moorage.db.sqlite import SqliteDatabase
from moorage.db.tables import registry
from moorage.identity import members, robots, users
from moorage.identity.access import Access
from moorage.identity.accounts import Grant
from moorage.identity.callers import Caller
from moorage.identity.keys import MasterKey
from moorage.identity.passwords import Passwords
from moorage.identity.roles import Permission, Role
from moorage.registry import projects

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import pytest

    from moorage.db import Database, Tx

REGISTRY = "4e0c61f2-9a53-4f0e-8a43-6f5f9d1f1a01"
OTHER_REGISTRY = "b21d2f5e-1d3b-4bb1-9d54-1a5a6a9d0b02"
PASSWORD = "Correct-horse-9"
OPERATOR = Caller("user", 1, "admin", admin=True)

_NUMBERS = itertools.count(40_000)
_ADD_REGISTRY = Statement(
    insert(registry).values(
        clock=0, limit_bytes=-1, lease=1, trash_window=1, backup_window=bindparam("backup_window")
    )
)


@dataclass
class Clock:
    """A clock that stands still until it is told to go on (microseconds)."""

    at: int = 1_800_000_000_000_000

    def __call__(self) -> int:
        return self.at

    def go_on(self, seconds: float) -> None:
        self.at += int(seconds * 1_000_000)


class Place(Protocol):
    """Where a registry's rows are."""

    async def open(self, clock: Clock) -> Database: ...

    def other(self) -> Place: ...

    async def close(self) -> None: ...


@dataclass
class SqlitePlace:
    """A file."""

    path: Path
    number: int = 1
    opened: list[Database] = field(default_factory=list)

    async def open(self, clock: Clock) -> Database:
        self.opened.append(await SqliteDatabase.open(self.path, self.number, clock=clock, create=True))
        return self.opened[-1]

    def other(self) -> Place:
        return SqlitePlace(self.path.with_name("other.db"), self.number + 1)

    async def close(self) -> None:
        for db in self.opened:
            await db.close()


@dataclass
class PostgresPlace:
    """The rows of one number, in a cell that other tests use as well."""

    url: str
    number: int = field(default_factory=lambda: next(_NUMBERS))
    opened: list[Postgres] = field(default_factory=list)

    async def open(self, clock: Clock) -> Database:
        self.opened.append(await Postgres.connect(self.url, clock=clock))
        return self.opened[-1].bound(self.number)

    def other(self) -> Place:
        return PostgresPlace(self.url)

    async def close(self) -> None:
        for cell in self.opened:
            await cell.close()


ENGINES = ("sqlite", "postgres")


def place_for(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Give the place that a test with the parameter *sqlite* or *postgres* has for its registry."""
    if request.param == "postgres":
        return PostgresPlace(request.getfixturevalue("postgres_url"))
    return SqlitePlace(tmp_path / "registry.db")


@dataclass
class World:
    """One registry, `alice` and others in it, and how to ask it."""

    db: Database
    access: Access
    clock: Clock
    master: MasterKey
    passwords: Passwords
    place: Place
    numbers: dict[str, int] = field(default_factory=dict)
    projects: dict[str, int] = field(default_factory=dict)

    @classmethod
    async def begin(
        cls, place: Place, clock: Clock, *, name: str = REGISTRY, master: MasterKey | None = None
    ) -> World:
        db = await place.open(clock)
        await db.write(_ADD_REGISTRY, backup_window=1)
        passwords = Passwords(pause=at_once)
        master = master or MasterKey.new()
        return cls(db, Access(db, name, master, passwords), clock, master, passwords, place)

    async def elsewhere(self) -> Access:
        """Open the same registry once more, as another process would."""
        return Access(await self.place.open(self.clock), REGISTRY, self.master, self.passwords)

    async def people(self) -> World:
        """Let in an administrator, one user for each role in `team`, and one without any."""
        hashed = await self.passwords.hash(PASSWORD)
        await self.add_project("team")
        await self.add_project("open", public=True)
        await self.add_project("other")
        await self.add_user("admin", hashed, admin=True)
        for role in Role:
            name = role.name.lower()
            await self.add_user(name, hashed)
            await self.join("team", name, role)
        await self.add_user("stranger", hashed)
        return self

    async def add_user(self, name: str, hashed: str, *, admin: bool = False) -> int:
        self.numbers[name] = await self.db.change(
            lambda tx: users.create(tx, name=name, password=hashed, admin=admin)
        )
        return self.numbers[name]

    async def join(self, project: str, user: str, role: Role) -> None:
        await self.change(lambda tx: members.set_user(tx, self.projects[project], self.numbers[user], role))

    async def add_project(self, name: str, *, public: bool = False) -> int:
        made = await self.db.change(lambda tx: projects.create(tx, name, public=public))
        self.projects[name] = made.id
        return made.id

    async def add_robot(
        self, name: str, *permissions: str, project: str | None = "team", **more: Any
    ) -> robots.NewRobot:
        """Make a robot that has *permissions* (``repository:pull``) in its project or, without one, in ``*``."""
        owner = robots.Owner(self.projects[project], project) if project else None
        grants = [grant(one, project or "*") for one in permissions]
        return await self.db.change(
            lambda tx: robots.create(tx, name=name, owner=owner, grants=grants, creator=OPERATOR, **more)
        )

    async def change(self, work: Callable[[Tx], Awaitable[Any]]) -> Any:
        return await self.db.change(work)

    def client(self, base_url: str = "http://registry.test:5000") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(TokenService(self.access))
        return httpx.AsyncClient(transport=transport, base_url=base_url)

    async def ask(
        self, *scopes: str, user: str = "", password: str = PASSWORD, **query: str
    ) -> httpx.Response:
        """GET a token, as *user* or as nobody."""
        params = {"service": "harbor-registry", "scope": list(scopes), **query}
        async with self.client() as client:
            return await client.get("/service/token", params=params, auth=(user, password) if user else None)

    async def post(self, **form: str) -> httpx.Response:
        """POST for a token."""
        async with self.client() as client:
            return await client.post("/service/token", data=form)

    async def token(self, *scopes: str, user: str = "", password: str = PASSWORD) -> str:
        """Get a token's text."""
        answer = await self.ask(*scopes, user=user, password=password)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    async def granted(self, *scopes: str, user: str = "", password: str = PASSWORD) -> dict[str, list[str]]:
        """Get a token, and say what it grants by name."""
        text = await self.token(*scopes, user=user, password=password)
        grants = (await self.access.identify(f"Bearer {text}")).grants
        assert grants is not None
        found = {name: sorted(actions) for name, actions in grants.repositories.items()}
        return found | ({"catalog": ["*"]} if grants.catalog else {})

    async def close(self) -> None:
        self.passwords.close()
        await self.place.close()


def grant(text: str, namespace: str) -> Grant:
    resource, _, action = text.partition(":")
    kind = "system" if namespace == "/" else "project"
    return Grant(kind, namespace, Permission(resource, action))


def basic(name: str, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def at_once(_: float) -> None:
    """Wait for nothing."""
