"""A cell that processes of its own are let loose on, and what must hold of it whenever one of them has died."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select, update

from moorage import parts
from moorage.db import Statement
from moorage.db import tables as t
from moorage.registry import collection, dooming, fsck
from moorage.registry.collection import Terms
from moorage.registry.opened import Registry
from tests.conformance.site import Site, digest_of
from tests.crash import stages
from tests.crash.stages import Stage
from tests.servers.house import environment
from tests.worlds import ADMIN, MASTER_KEY, PASSWORD, World, opened

DAY = 86_400_000_000
BLOBS = Statement(select(t.blob.c.key))
DOOMED = Statement(select(t.doomed.c.key))
UPLOADS = Statement(select(t.upload.c.id))
PARTS = Statement(select(t.upload_part.c.key))
# All that a registry waits for, made due.
DUE = (
    Statement(update(t.registry).values(lease=0, trash_window=0, backup_window=0)),
    Statement(update(t.upload).values(expires_at=1)),
    Statement(update(t.manifest).where(t.manifest.c.deleted_at.is_not(None)).values(deleted_at=1)),
    Statement(update(t.repository_blob).where(t.repository_blob.c.review_at.is_not(None)).values(review_at=1)),
    Statement(update(t.doomed).where(t.doomed.c.destroy_at > 0).values(destroy_at=1)),
)  # fmt: skip
AT_ONCE = Terms(lease=0, longest_request=0, margin=0, events=365 * DAY)


@dataclass(slots=True)
class Cell:
    """A cell with one registry, another replica of it in this process, and what dies beside that."""

    world: World
    registry: Registry
    site: Site
    settings: dict[str, str]

    async def ask_one_that_dies(self, stage: Stage, ask: Callable[[Site], Awaitable[httpx.Response]]) -> None:
        """Ask something of a worker that ends itself at a stage, which nobody is answered by."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            address = f"http://localhost:{listening.getsockname()[1]}"
            process = stages.serving(stage, self.settings, listening)
        async with httpx.AsyncClient(
            base_url=address, auth=(ADMIN, PASSWORD), timeout=stages.SECONDS
        ) as client:
            with pytest.raises(httpx.TransportError):
                await ask(Site(client, self.site.name))
        await stages.ended(process)

    async def is_clean(self) -> None:
        """Check every invariant of the registry."""
        await is_clean(self.registry)

    async def collect(self) -> None:
        """Collect all that nothing holds, as if every window were over: nothing but what is live is left."""
        db, store = self.registry.db, self.registry.store
        await self.make_due()
        while await collection.tend(db, store, AT_ONCE):
            await self.make_due()
        kept = {row.key for row in await db.all(BLOBS)}
        assert {one.key async for one in store.list()} == kept
        assert not any([await db.all(left) for left in (DOOMED, UPLOADS, PARTS)])

    async def make_due(self) -> None:
        """Have all that waits wait no longer."""
        for statement in DUE:
            await self.registry.db.write(statement)


@pytest.fixture(params=["sqlite-posix", "postgres-s3"])
async def cell(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cell]:
    """Make a cell on one engine with one store."""
    if request.param == "sqlite-posix":
        place = parts.Place(tmp_path, "", (tmp_path / "blobs").as_uri(), MASTER_KEY)
    else:
        rows = request.getfixturevalue("postgres_server").cell()
        bytes_ = request.getfixturevalue("seaweedfs").url(f"stages-{os.getpid()}")
        place = parts.Place(tmp_path, rows, bytes_, MASTER_KEY)
    async with opened(place) as world:
        given = environment(
            tmp_path, DATABASE_URL=place.database_url, STORE_URL=place.store_url, MASTER_KEY=MASTER_KEY
        )
        yield Cell(world, await world.registry(), Site(world.client), given)


async def is_pulled(site: Site, reference: str, layer: bytes) -> None:
    """Pull an image, byte for byte."""
    manifest = await site.get(f"manifests/{reference}")
    assert manifest.status_code == 200
    assert digest_of(manifest.content) == manifest.headers["docker-content-digest"]
    for one in (b"{}", layer):
        pulled = await site.get(f"blobs/{digest_of(one)}")
        assert (pulled.status_code, pulled.content) == (200, one)


async def is_clean(registry: Registry) -> None:
    """Check every invariant, digests too; a key that no row knows is a fault however young it is."""
    with pytest.MonkeyPatch.context() as clock:
        clock.setattr(registry.db, "now", lambda: time.time_ns() // 1000 + 2 * DAY)
        report = await fsck.check(registry.db, registry.store, digests=True)
    assert report.findings == ()
    assert await dooming.contradiction(registry.db) is None
