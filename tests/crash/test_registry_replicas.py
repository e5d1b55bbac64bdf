"""Two replicas on the same rows and bytes: each request goes to the other one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from moorage import parts
from moorage.api.forwarded import Proxies
from moorage.api.front import front, nothing_here
from moorage.api.plane import Plane
from moorage.planes import RegistryPlane
from moorage.registry.recount import recount
from tests.conformance.site import Site, digest_of
from tests.worlds import ADMIN, World

BOTH = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-s3"], indirect=True)
PIECES = [bytes([n]) * 300_000 for n in range(1, 5)]


@pytest.fixture
async def replicas(world: World) -> AsyncIterator[tuple[Site, Site]]:
    """Open the same cell once more, with connections and caches of its own."""
    async with parts.opened(world.parts.place) as opened:
        plane = RegistryPlane.of(world.settings, opened)
        app = front(Plane(nothing_here, plane.find), Proxies(()))
        yield Site(world.client), Site(await world.as_(ADMIN, app=app))
        await plane.registries.close()


@BOTH
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_an_upload_goes_on_at_the_other_replica_with_each_request(
    world: World, replicas: tuple[Site, Site], algorithm: str
):
    one, two = replicas
    location = await one.begin()
    at = 0
    for turn, piece in enumerate(PIECES):
        site = replicas[(turn + 1) % 2]
        assert (await site.append(location, piece, at)).status_code == 202
        at += len(piece)
        status = await replicas[turn % 2].client.get(location)
        assert status.headers["range"] == f"0-{at - 1}"

    whole = b"".join(PIECES)
    finished = await two.finish(location, digest_of(whole, algorithm))

    assert finished.status_code == 201
    assert (await one.get(f"blobs/{digest_of(whole, algorithm)}")).content == whole


@BOTH
async def test_of_chunks_for_one_place_at_both_replicas_exactly_one_is_taken(
    world: World, replicas: tuple[Site, Site]
):
    for _ in range(5):
        location = await replicas[0].begin()
        await replicas[1].append(location, b"begins ", 0)

        answers = await asyncio.gather(*(replicas[n % 2].append(location, PIECES[n], 7) for n in range(4)))

        taken = [piece for piece, answer in zip(PIECES, answers, strict=True) if answer.status_code == 202]
        assert sorted(answer.status_code for answer in answers) == [202, 416, 416, 416]
        finished = await replicas[1].finish(location, digest_of(b"begins " + taken[0]))
        assert finished.status_code == 201


@BOTH
async def test_what_one_replica_answers_is_at_once_so_at_the_other(world: World, replicas: tuple[Site, Site]):
    one, two = replicas
    for turn in range(10):
        here, there = (one, two) if turn % 2 else (two, one)
        digest = await here.push_image("latest", f"layer {turn}".encode())

        assert (await there.get("manifests/latest")).headers["docker-content-digest"] == digest

    assert (await two.ask("DELETE", "manifests/latest")).status_code == 202
    assert (await one.get("manifests/latest")).status_code == 404
    assert await recount((await world.registry()).db) == []


@BOTH
async def test_one_layer_pushed_everywhere_at_once_is_taken_everywhere_and_kept_once(
    world: World, replicas: tuple[Site, Site]
):
    names = [f"library/app-{n}" for n in range(20)]

    await asyncio.gather(*(replicas[n % 2].at(name).push_image("v1") for n, name in enumerate(names)))

    registry = await world.registry()
    assert await recount(registry.db) == []
    for n, name in enumerate(names):
        assert (await replicas[(n + 1) % 2].at(name).get(f"blobs/{digest_of(b'layer')}")).content == b"layer"
