"""A blob is there when it is whole, and gone when it is deleted: nobody is given half of it, and no warmth remembers it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from moorage import parts
from moorage.api.forwarded import Proxies
from moorage.api.front import front, nothing_here
from moorage.api.plane import Plane
from moorage.planes import RegistryPlane
from tests.conformance.site import OCTETS, Site, digest_of
from tests.worlds import ADMIN, World

LAYER = b"one that is on its way " * 40_000
AT = f"blobs/{digest_of(LAYER)}"
BOTH = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-s3"], indirect=True)


@BOTH
async def test_a_blob_whose_first_write_is_in_flight_is_not_there_for_anybody(world: World):
    site, half_sent, may_go_on = Site(world.client), asyncio.Event(), asyncio.Event()
    location = await site.begin()

    async def halting() -> AsyncIterator[bytes]:
        yield LAYER[:300_000]
        half_sent.set()
        await may_go_on.wait()
        yield LAYER[300_000:]

    sending = asyncio.create_task(
        world.client.patch(location, content=halting(), headers={"content-type": OCTETS})
    )
    await half_sent.wait()
    meanwhile = [(await site.ask(method, AT)).status_code for method in ("GET", "HEAD")]
    mounted = await site.at("library/other").ask(
        "POST", "blobs/uploads/", params={"mount": digest_of(LAYER), "from": site.name}
    )
    # Another brings the same bytes, and is answered for them while the first is still at it.
    await site.push_blob(LAYER)
    whole = (await site.get(AT)).content
    may_go_on.set()
    sent = await sending
    finished = await site.finish(location, digest_of(LAYER))

    assert (meanwhile, mounted.status_code) == ([404, 404], 202)
    assert whole == LAYER
    assert (sent.status_code, finished.status_code) == (202, 201)
    assert (await site.get(AT)).content == LAYER


@BOTH
async def test_a_blob_that_was_deleted_is_gone_at_every_warm_replica(world: World):
    site = Site(world.client)
    async with parts.opened(world.parts.place) as everything:
        plane = RegistryPlane.of(world.settings, everything)
        app = front(Plane(nothing_here, plane.find, plane.known), Proxies(()))
        there = Site(await world.as_(ADMIN, app=app))
        await site.push_blob(LAYER)
        for one in (site, there, site, there):
            assert (await one.get(AT)).content == LAYER
            assert (await one.ask("HEAD", AT)).status_code == 200

        deleted = await site.ask("DELETE", AT)

        assert deleted.status_code == 202
        for one in (site, there):
            for method, more in (("GET", {}), ("HEAD", {}), ("GET", {"headers": {"range": "bytes=0-9"}})):
                assert (await one.ask(method, AT, **more)).status_code == 404
            mounted = await one.at("library/other").ask(
                "POST", "blobs/uploads/", params={"mount": digest_of(LAYER), "from": site.name}
            )
            assert mounted.status_code == 202
        # The bytes are still kept; they are nobody's until somebody brings them again.
        await there.push_blob(LAYER)
        assert (await site.get(AT)).content == LAYER
        await plane.registries.close()
