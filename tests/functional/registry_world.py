"""A registry without its wire: a database of either engine, a store in memory, and a clock that stands still."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from moorage.db import Database, Statement, insert
from moorage.db.postgres import Postgres
from moorage.db.sqlite import SqliteDatabase
from moorage.db.tables import registry
from moorage.oci.digests import Digest
from moorage.oci.manifests import OCI_MANIFEST, Descriptor, Manifest
from moorage.oci.names import RepositoryName, Tag
from moorage.registry import manifests, projects
from moorage.registry.events import SYSTEM
from moorage.registry.uploads import Uploads
from moorage.storage.memory import BytesSource, MemoryStore

T = TypeVar("T")

DAY = 86_400_000_000
APP, WEB = RepositoryName.parse("team/app"), RepositoryName.parse("team/web")

_numbers = itertools.count(90_000)
START = Statement(
    insert(registry).values(
        clock=0, limit_bytes=-1, lease=DAY, trash_window=7 * DAY, backup_window=30 * DAY, creates_projects=0
    )
)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    at: int = field(default_factory=lambda: time.time_ns() // 1000)

    def __call__(self) -> int:
        return self.at


@dataclass
class Held:
    """A registry, and hands to push with."""

    db: Database
    store: MemoryStore
    uploads: Uploads
    clock: Clock

    async def change(self, work: Callable[[Any], Awaitable[T]]) -> T:
        return await self.db.change(work)

    async def upload(self, name: RepositoryName, data: bytes) -> Digest:
        begun = await self.uploads.begin(name, "u")
        sent = await self.uploads.append(begun, BytesSource(data))
        await self.uploads.finish(sent, Digest.of(data), SYSTEM)
        return Digest.of(data)

    async def push(self, name: RepositoryName, *layers: bytes, tag: str | None = None) -> Digest:
        for data in layers:
            await self.upload(name, data)
        return await self.put(name, *layers, tag=tag)

    async def put(
        self, name: RepositoryName, *layers: bytes, tag: str | None = None, subject: Digest | None = None
    ) -> Digest:
        named = tuple(Descriptor("application/octet-stream", Digest.of(data), len(data)) for data in layers)
        body = b"manifest of " + b", ".join(layers) + str(subject or "").encode()
        read = Manifest(OCI_MANIFEST, "", blobs=named, subject=subject)
        tags = [Tag(tag)] if tag else []
        digest = Digest.of(body)
        await self.db.change(lambda tx: manifests.push(tx, name, digest, read, body, tags, SYSTEM))
        return digest


@pytest.fixture(params=["sqlite", "postgres"])
async def held(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Held]:
    """Open a registry with a project ``team`` on each engine."""
    clock, number = Clock(), next(_numbers)
    postgres: Postgres | None = None
    db: Database
    if request.param == "sqlite":
        db = await SqliteDatabase.open(tmp_path / "registry.sqlite", number, create=True, clock=clock)
    else:
        postgres = await Postgres.connect(request.getfixturevalue("postgres_url"), clock=clock)
        db = postgres.bound(number)
    await db.write(START)
    await db.change(lambda tx: projects.create(tx, "team"))
    store = MemoryStore()
    yield Held(db, store, Uploads(db, store, 7 * DAY, 1 << 30), clock)
    await db.close()
    if postgres is not None:
        await postgres.close()
