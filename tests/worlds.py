"""A registry behind its whole application, in this process, on each engine with each store.

    async def test_it_answers(world: World):           # four times: see WORLDS
        answer = await world.client.get("/v2/")        # the administrator, with Basic

        assert answer.status_code == 200

``@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)`` asks for one of them only.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from argon2 import PasswordHasher
from starlette.types import ASGIApp

from moorage import parts, settings
from moorage.api.forwarded import Proxies
from moorage.api.front import front, nothing_here
from moorage.api.plane import Plane
from moorage.cloud import provisioning
from moorage.db import Tx
from moorage.identity import members, users
from moorage.identity.passwords import Passwords
from moorage.identity.roles import Role
from moorage.oci.names import LIBRARY
from moorage.parts import Parts
from moorage.planes import RegistryPlane
from moorage.registry import projects
from moorage.registry.directory import Entry
from moorage.registry.opened import Registry
from moorage.settings import Settings
from tests.servers.house import House, house

WORLDS = ("sqlite-posix", "sqlite-s3", "postgres-posix", "postgres-s3")
ADMIN = "admin"
PASSWORD = "Moorage-pass-1"
MASTER_KEY = bytes(range(32)).hex()


class HashedOnce(Passwords):
    """Passwords whose hashes are worked out once a session: they are the same in every world."""

    _hashes: ClassVar[dict[tuple[PasswordHasher, str], str]] = {}

    async def hash(self, password: str) -> str:
        """Hash *password*, or give the hash it has at this price: of another one it would be hashed anew at a sign-in."""
        key = self._hasher, password
        if key not in self._hashes:
            self._hashes[key] = await super().hash(password)
        return self._hashes[key]


@dataclass(slots=True)
class World:
    """A cell with one registry or more in it, and clients of them."""

    settings: Settings
    parts: Parts
    plane: RegistryPlane
    app: ASGIApp
    passwords: Passwords
    name: str
    closing: AsyncExitStack
    entries: list[Entry] = field(default_factory=list)
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    @property
    def entry(self) -> Entry:
        """Give the first registry's place in the directory."""
        return self.entries[0]

    @property
    def client(self) -> httpx.AsyncClient:
        """Give the client of the first registry's administrator."""
        return self.clients[0]

    async def registry(self, entry: Entry | None = None) -> Registry:
        """Give a registry as the application has it open."""
        return await self.plane.registries.get(entry or self.entry)

    async def add_registry(self, plan: str = "LOCAL") -> httpx.AsyncClient:
        """Make one more registry in the cell, and give its administrator's client."""
        name = f"{self.name}-{len(self.entries)}"
        chosen = provisioning.PLANS[plan]
        port = self.settings.listening.registry_port
        entry = await provisioning.place(self.parts.cell, name, chosen, first_port=port)
        db = await self.parts.open_database(entry)
        await provisioning.ensure_content(
            db, self.passwords, chosen, creates_projects=True, password=PASSWORD
        )
        await db.close()
        self.entries.append(entry)
        await self.plane.directory.refresh()
        self.clients.append(await self.as_(ADMIN, entry=entry))
        return self.clients[-1]

    async def as_(
        self,
        name: str | None,
        password: str = PASSWORD,
        *,
        entry: Entry | None = None,
        app: ASGIApp | None = None,
    ) -> httpx.AsyncClient:
        """Give a client that signs in with Basic, or (None) not at all, to a registry through its address."""
        home = entry or self.entry
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app or self.app),
            base_url=f"http://localhost:{home.port or self.settings.listening.registry_port}",
            auth=None if name is None else (name, password),
        )
        return await self.closing.enter_async_context(client)

    async def add_user(self, name: str, role: Role, project: str = LIBRARY) -> httpx.AsyncClient:
        """Make a user of the first registry with a role in a project, and the project too; give the user's client."""
        hashed = await self.passwords.hash(PASSWORD)
        registry = await self.registry()

        async def work(tx: Tx) -> None:
            home = await projects.find(tx, project) or await projects.create(tx, project)
            await members.set_user(tx, home.id, await users.create(tx, name=name, password=hashed), role)

        await registry.db.change(work)
        return await self.as_(name)

    async def add_project(self, name: str, *, public: bool = False, limit_bytes: int = -1) -> None:
        """Make a project in the first registry."""
        registry = await self.registry()
        await registry.db.change(lambda tx: projects.create(tx, name, public=public, limit_bytes=limit_bytes))


@pytest.fixture(params=WORLDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Open a cell with one registry in it, on one engine with one store."""
    engine, store = request.param.split("-")
    place = parts.Place(
        data=tmp_path,
        database_url=request.getfixturevalue("postgres_url") if engine == "postgres" else "",
        store_url=request.getfixturevalue("seaweedfs").url()
        if store == "s3"
        else (tmp_path / "blobs").as_uri(),
        master_key=MASTER_KEY,
    )
    async with opened(place) as made:
        yield made


def planted(set_: Settings, everything: Parts, closing: AsyncExitStack) -> tuple[RegistryPlane, ASGIApp]:
    """Put the application before its parts, as each process does."""
    plane = RegistryPlane.of(set_, everything)
    closing.push_async_callback(plane.rates.close)
    closing.push_async_callback(plane.registries.close)
    return plane, front(Plane(nothing_here, plane.find, plane.known), Proxies(()))


@asynccontextmanager
async def opened(place: parts.Place, **given: str) -> AsyncIterator[World]:
    """Open a cell at *place* with one registry in it; *given* are settings."""
    async with AsyncExitStack() as closing:
        set_ = settings.read({f"MOORAGE_{name}": value for name, value in given.items()})
        everything = await closing.enter_async_context(parts.opened(place, create=True))
        plane, app = planted(set_, everything, closing)
        passwords = HashedOnce()
        closing.callback(passwords.close)
        made = World(set_, everything, plane, app, passwords, f"world-{secrets.token_hex(6)}", closing)
        await made.add_registry()
        yield made


@pytest.fixture(scope="session", params=["sqlite-posix", "postgres-s3"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Run one `moorage up` on each engine for the whole session; the administrator's password is PASSWORD."""
    given = {}
    if request.param == "postgres-s3":
        given["DATABASE_URL"] = request.getfixturevalue("postgres_server").cell()
        given["STORE_URL"] = request.getfixturevalue("seaweedfs").url("running")
    with house(tmp_path_factory.mktemp("running"), PASSWORD=PASSWORD, **given) as up:
        yield up
