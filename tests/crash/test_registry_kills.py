"""Registry workers killed with SIGKILL under clients that push, pull and delete (invariants 1, 2, 4 and 8)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from moorage import parts
from moorage.registry import collection
from tests.conformance.site import Site, digest_of
from tests.crash.cells import is_clean, is_pulled
from tests.servers.house import House, house
from tests.servers.processes import until_gone
from tests.worlds import ADMIN, PASSWORD, opened

KILLS = 8
CLIENTS = 4
SECONDS = 60.0
HOUR = 3_600_000_000


@dataclass(slots=True)
class Place:
    """A running house, and where it keeps what it has."""

    up: House
    place: parts.Place


@pytest.fixture(params=["sqlite-posix", "postgres-s3"])
def killable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Run `moorage up` for one test."""
    given = {}
    if request.param == "postgres-s3":
        given["DATABASE_URL"] = request.getfixturevalue("postgres_server").cell()
        given["STORE_URL"] = request.getfixturevalue("seaweedfs").url(f"kills-{os.getpid()}")
    where = parts.Place(
        tmp_path, given.get("DATABASE_URL", ""), given.get("STORE_URL", (tmp_path / "blobs").as_uri()), ""
    )
    with house(tmp_path, PASSWORD=PASSWORD, WORKERS="2", **given) as up:
        yield Place(up, where)


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one layer, and the tag that it was pushed under."""

    tag: str
    layer: bytes


@dataclass(slots=True)
class Pusher:
    """One client, which begins anew when a request of it fails, and counts how often that was."""

    number: int
    base: str
    # Images that were answered for, by digest: there with their tag, there without it, deleted; and those whose deletion
    # was begun and not answered, which may be there or not, but not half.
    pushed: dict[str, Image] = field(default_factory=dict)
    untagged: dict[str, Image] = field(default_factory=dict)
    deleted: dict[str, Image] = field(default_factory=dict)
    unsure: dict[str, Image] = field(default_factory=dict)
    answered: int = 0
    failed: int = 0

    async def run(self, ended: asyncio.Event) -> None:
        """Push, pull and delete until told to stop."""
        async with httpx.AsyncClient(base_url=self.base, auth=(ADMIN, PASSWORD), timeout=SECONDS) as client:
            site, turn = Site(client, f"library/app-{self.number}"), 0
            while not ended.is_set():
                turn += 1
                try:
                    await self._push(site, Image(f"v{turn}", f"{self.number} {turn} ".encode() * 20_000))
                    if turn % 2:
                        await self._delete(site, "tag" if turn % 4 == 1 else "manifest")
                    await self._push_and_delete_blob(site, b"%d loose %d" % (self.number, turn))
                except httpx.TransportError:
                    self.failed += 1

    async def _push(self, site: Site, image: Image) -> None:
        digest = await site.push_image(image.tag, image.layer)
        self.pushed[digest] = image
        self.answered += 1
        assert (await site.get(f"manifests/{image.tag}")).status_code == 200

    async def _delete(self, site: Site, what: str) -> None:
        digest, image = next(iter(self.pushed.items()))
        self.unsure[digest] = self.pushed.pop(digest)
        reference = image.tag if what == "tag" else digest
        assert (await site.ask("DELETE", f"manifests/{reference}")).status_code == 202
        (self.untagged if what == "tag" else self.deleted)[digest] = self.unsure.pop(digest)
        self.answered += 1

    async def _push_and_delete_blob(self, site: Site, content: bytes) -> None:
        digest = await site.push_blob(content)
        assert (await site.ask("DELETE", f"blobs/{digest}")).status_code == 202
        assert (await site.get(f"blobs/{digest}")).status_code == 404
        self.answered += 1

    async def is_all_there(self, site: Site) -> None:
        """Pull what was pushed, byte for byte, and nothing of what was deleted."""
        for digest, image in (self.pushed | self.untagged).items():
            await is_pulled(site, digest, image.layer)
        for image in self.pushed.values():
            await is_pulled(site, image.tag, image.layer)
        for image in self.untagged.values():
            assert (await site.get(f"manifests/{image.tag}")).status_code == 404
        for digest, image in self.unsure.items():
            if (await site.get(f"manifests/{digest}")).status_code == 200:
                await is_pulled(site, digest, image.layer)
            else:
                self.deleted[digest] = image
        for digest, image in self.deleted.items():
            for gone in (f"manifests/{digest}", f"manifests/{image.tag}", f"blobs/{digest_of(image.layer)}"):
                assert (await site.get(gone)).status_code == 404


async def _kill_one(up: House, turn: int) -> None:
    """Kill a worker of the registry plane, and wait until another takes its place."""
    async with asyncio.timeout(SECONDS):
        while len(workers := sorted(up.children("serve registry"))) < 2:
            await asyncio.sleep(0.02)
        os.kill(workers[turn % 2], signal.SIGKILL)
        await asyncio.to_thread(until_gone, [workers[turn % 2]])
        while len(up.children("serve registry")) < 2:
            await asyncio.sleep(0.02)


async def test_workers_killed_under_load_lose_nothing_and_fail_one_request_of_a_client_each(killable: Place):
    ended = asyncio.Event()
    pushers = [Pusher(number, killable.up.registry) for number in range(CLIENTS)]
    running = [asyncio.create_task(pusher.run(ended)) for pusher in pushers]
    for turn in range(KILLS):
        before = sum(pusher.answered for pusher in pushers)
        async with asyncio.timeout(SECONDS):
            while sum(pusher.answered for pusher in pushers) < before + 2 * CLIENTS:
                # One that ended did so by an answer it should not have had: say which.
                for task in running:
                    if task.done():
                        await task
                await asyncio.sleep(0.02)
        await _kill_one(killable.up, turn)
    ended.set()
    await asyncio.gather(*running)

    assert all(pusher.failed <= KILLS for pusher in pushers)
    async with httpx.AsyncClient(
        base_url=killable.up.registry, auth=(ADMIN, PASSWORD), timeout=SECONDS
    ) as client:
        for pusher in pushers:
            await pusher.is_all_there(Site(client, f"library/app-{pusher.number}"))
    assert all(pusher.pushed or pusher.untagged for pusher in pushers)
    assert any(pusher.deleted for pusher in pushers)
    killable.up.stop()
    await _is_clean(killable)


async def test_an_upload_goes_on_after_a_kill_between_and_within_its_chunks(killable: Place):
    up, chunk = killable.up, b"0123456789" * 100_000
    async with httpx.AsyncClient(base_url=up.registry, auth=(ADMIN, PASSWORD), timeout=SECONDS) as client:
        site = Site(client)
        location = await site.begin()
        await site.append(location, chunk, 0)
        await _kill_both(up)
        with closing(await _half_sent(up, location, chunk)):
            await _kill_both(up)
        whole = chunk * 3
        at = await _gone_on(client, site, location, whole)
        finished = await site.finish(location, digest_of(whole))

        assert len(chunk) <= at <= len(chunk) * 2
        assert finished.status_code == 201
        assert (await site.get(f"blobs/{digest_of(whole)}")).content == whole
    up.stop()
    await _is_clean(killable)


async def test_uploads_cancelled_while_workers_are_killed_leave_nothing(killable: Place):
    up, piece = killable.up, b"0123456789" * 10_000
    async with httpx.AsyncClient(base_url=up.registry, auth=(ADMIN, PASSWORD), timeout=SECONDS) as client:
        site = Site(client)
        locations = [await site.begin() for _ in range(40)]
        await asyncio.gather(*(site.append(location, piece) for location in locations))
        for turn in range(2):
            half = locations[turn::2]
            cancelling = [asyncio.create_task(client.delete(location)) for location in half]
            await asyncio.wait(cancelling, return_when=asyncio.FIRST_COMPLETED)
            await _kill_one(up, turn)
            await asyncio.wait(cancelling)
            for location in half:
                assert (await client.delete(location)).status_code in {204, 404}
    up.stop()

    await _is_clean(killable)
    async with opened(killable.place) as world:
        registry = await world.registry(
            next(entry for entry in world.plane.directory.all() if entry.name == "first")
        )
        await collection.collect(registry.db, registry.store, longest_request=HOUR, margin=HOUR)
        assert [stored.size async for stored in registry.store.list()] == []


async def _half_sent(up: House, location: str, chunk: bytes) -> asyncio.StreamWriter:
    """Send half of a chunk, and no more."""
    _, writer = await asyncio.open_connection("127.0.0.1", up.ports["Registry"])
    authorization = httpx.BasicAuth(ADMIN, PASSWORD)._auth_header
    head = (
        f"PATCH {location} HTTP/1.1\r\nHost: localhost:{up.ports['Registry']}\r\n"
        f"Authorization: {authorization}\r\nContent-Length: {len(chunk)}\r\n\r\n"
    )
    writer.write(head.encode() + chunk[: len(chunk) // 2])
    await writer.drain()
    return writer


async def _kill_both(up: House) -> None:
    for turn in range(2):
        await _kill_one(up, turn)


async def _answered(client: httpx.AsyncClient, location: str) -> httpx.Response:
    """Ask, once more where the connection was to a worker that is gone."""
    try:
        return await client.get(location)
    except httpx.TransportError:
        return await client.get(location)


async def _gone_on(client: httpx.AsyncClient, site: Site, location: str, whole: bytes) -> int:
    """Send what is missing, as clients do: who is told 416 asks again how far the upload is. Give how far it was first.

    The half that was cut may still lie in the kernel, be taken by a worker that has just begun, and end while ours is
    written: then ours is refused, and its bytes are there all the same, as the next status says.
    """
    there: list[int] = []
    async with asyncio.timeout(SECONDS):
        while True:
            status = await _answered(client, location)
            there.append(int(status.headers["range"].rpartition("-")[2]) + 1)
            if there[-1] == len(whole):
                return there[0]
            answer = await site.append(location, whole[there[-1] :], there[-1])
            if answer.status_code == 202:
                return there[0]
            assert answer.status_code == 416


async def _is_clean(killable: Place) -> None:
    """Count everything anew and read every byte again, without the house."""
    async with opened(killable.place) as world:
        first = next(entry for entry in world.plane.directory.all() if entry.name == "first")
        await is_clean(await world.registry(first))
