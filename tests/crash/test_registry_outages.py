"""Outages: a full disk, a store or a database that is away; clear answers, nothing half made, recovery without help."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from moorage import parts
from moorage.registry.recount import recount
from tests.conformance.site import Site, digest_of
from tests.servers.house import House, house
from tests.servers.postgres import PostgresServer
from tests.servers.processes import standing_still
from tests.servers.seaweedfs import SeaweedFS, running_seaweedfs
from tests.worlds import ADMIN, MASTER_KEY, PASSWORD, opened

SECONDS = 30.0
MIB = 1 << 20


@pytest.fixture
def own_store() -> Iterator[SeaweedFS]:
    """Run a store that may be stopped."""
    with running_seaweedfs() as server:
        yield server


def _limit(up: House, size: int) -> None:
    """Let no file of the registry's processes grow past *size*, as on a disk that is full."""
    for process in up.children("serve registry"):
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def test_a_full_disk_is_told_and_nothing_is_half_made_and_all_goes_on_with_room(tmp_path: Path):
    with house(tmp_path, PASSWORD=PASSWORD) as up:
        async with httpx.AsyncClient(base_url=up.registry, auth=(ADMIN, PASSWORD), timeout=SECONDS) as client:
            site = Site(client)
            digest = await site.push_image("v1", b"before")
            layer = os.urandom(3 * MIB)

            _limit(up, 2 * MIB)
            location = await site.begin()
            bytes_full = await site.append(location, layer)
            _limit(up, 4096)
            rows_full = [await client.post("/v2/library/app/blobs/uploads/") for _ in range(3)]
            meanwhile = await site.get("manifests/v1")
            layer_meanwhile = await site.get(f"blobs/{digest_of(b'before')}")
            _limit(up, resource.RLIM_INFINITY)
            resumed = int((await client.get(location)).headers["range"].rpartition("-")[2]) + 1
            went_on = await site.append(location, layer[resumed:], resumed)
            finished = await site.finish(location, digest_of(layer))
            after = await site.push_image("v2", b"after")

            assert (bytes_full.status_code, "disk is full" in bytes_full.text) == (507, True)
            told = {(answer.status_code, "disk is full" in answer.text) for answer in rows_full}
            assert told == {(507, True)}
            assert all(int(answer.headers["retry-after"]) > 0 for answer in rows_full)
            assert (meanwhile.status_code, meanwhile.headers["docker-content-digest"]) == (200, digest)
            assert layer_meanwhile.content == b"before"
            assert (went_on.status_code, finished.status_code) == (202, 201)
            assert (await site.get(f"blobs/{digest_of(layer)}")).content == layer
            assert (await site.get("manifests/v2")).headers["docker-content-digest"] == after
        up.stop()
    async with opened(parts.Place(tmp_path, "", (tmp_path / "blobs").as_uri(), "")) as world:
        first = next(entry for entry in world.plane.directory.all() if entry.name == "first")
        assert await recount((await world.registry(first)).db) == []


async def test_a_database_that_is_killed_is_told_of_and_found_again(
    tmp_path: Path, own_postgres: PostgresServer
):
    place = parts.Place(tmp_path, own_postgres.cell(), (tmp_path / "blobs").as_uri(), MASTER_KEY)
    async with opened(place) as world:
        site, codes = Site(world.client), list[int]()
        digest = await site.push_image("v1")
        ended = asyncio.Event()

        async def traffic() -> None:
            while not ended.is_set():
                codes.append((await site.get("manifests/v1")).status_code)
                codes.append((await world.client.post("/v2/library/app/blobs/uploads/")).status_code)
                await asyncio.sleep(0)

        running = [asyncio.create_task(traffic()) for _ in range(4)]
        own_postgres.kill()
        away = await site.get("manifests/v1")
        pushed = await world.client.post("/v2/library/app/blobs/uploads/")
        await asyncio.to_thread(own_postgres.start)
        back = await _until(site, 200)
        ended.set()
        await asyncio.gather(*running)

        assert (away.status_code, pushed.status_code) == (503, 503)
        assert int(away.headers["retry-after"]) > 0
        assert back.headers["docker-content-digest"] == digest
        assert set(codes) <= {200, 202, 503}
        await site.push_image("v2", b"after")
        assert await recount((await world.registry()).db) == []


async def test_a_store_that_stands_still_is_unavailable_and_never_a_404(tmp_path: Path, own_store: SeaweedFS):
    place = parts.Place(tmp_path, "", own_store.url("outage"), MASTER_KEY)
    async with opened(place) as world:
        site = Site(world.client)
        await site.push_image("v1")
        location = await site.begin()
        with standing_still(own_store.process.pid):
            pulled, promised, listed, pushed = await asyncio.gather(
                site.get(f"blobs/{digest_of(b'layer')}"),
                site.ask("HEAD", f"blobs/{digest_of(b'layer')}"),
                site.get("manifests/v1"),
                site.finish(location, digest_of(b"new"), b"new"),
            )

        assert (pulled.status_code, pushed.status_code) == (503, 503)
        assert int(pulled.headers["retry-after"]) > 0
        assert (promised.status_code, listed.status_code) == (200, 200)
        assert (await site.get(f"blobs/{digest_of(b'layer')}")).content == b"layer"
        await site.push_blob(b"new")


async def test_bytes_that_cannot_be_reached_are_unavailable_and_never_a_404(tmp_path: Path):
    place = parts.Place(tmp_path, "", (tmp_path / "blobs").as_uri(), MASTER_KEY)
    async with opened(place) as world:
        site = Site(world.client)
        await site.push_image("v1")
        (tmp_path / "blobs").rename(tmp_path / "unmounted")

        away = await site.get(f"blobs/{digest_of(b'layer')}")
        (tmp_path / "unmounted").rename(tmp_path / "blobs")

        assert away.status_code == 503
        assert (await site.get(f"blobs/{digest_of(b'layer')}")).content == b"layer"


async def test_pulls_go_on_while_the_directory_of_the_cell_is_away(tmp_path: Path):
    place = parts.Place(tmp_path, "", (tmp_path / "blobs").as_uri(), MASTER_KEY)
    async with opened(place) as world:
        site = Site(world.client)
        await site.push_image("v1")
        (tmp_path / "cell.sqlite").rename(tmp_path / "gone.sqlite")
        await world.parts.cell.close()
        world.plane.directory.clock = lambda: time.monotonic() + 3600

        assert (await site.get("manifests/v1")).status_code == 200
        assert (await site.get(f"blobs/{digest_of(b'layer')}")).content == b"layer"


async def _until(site: Site, status: int) -> httpx.Response:
    """Ask until it is answered so; no event tells of it."""
    async with asyncio.timeout(SECONDS):
        while (answer := await site.get("manifests/v1")).status_code != status:
            await asyncio.sleep(0.05)
    return answer
