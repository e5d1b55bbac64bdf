"""Uploads that do not go straight: resumed elsewhere, expired, somebody else's, two at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from sqlalchemy import update

from moorage.db import Statement
from moorage.db.tables import upload
from moorage.identity.roles import Role
from moorage.parts import opened
from tests.conformance.site import Site, digest_of, refused
from tests.worlds import ADMIN, World, planted

BLOB = bytes(range(256)) * 1000
_EXPIRE = Statement(update(upload).values(expires_at=1))


async def test_an_upload_goes_on_in_another_process(world: World):
    site = Site(world.client)
    location = await site.begin()
    await site.append(location, BLOB[:100_000], 0)
    async with AsyncExitStack() as closing:
        parts = await closing.enter_async_context(opened(world.parts.place))
        _, app = planted(world.settings, parts, closing)
        there = Site(await world.as_(ADMIN, app=app))

        status = await there.client.get(location)
        await there.append(location, BLOB[100_000:], 100_000)

    answer = await site.finish(location, digest_of(BLOB))
    assert status.headers["range"] == "0-99999"
    assert answer.status_code == 201
    assert (await site.get(f"blobs/{digest_of(BLOB)}")).content == BLOB


async def test_an_upload_that_nobody_went_on_with_is_over(world: World):
    site = Site(world.client)
    location = await site.begin()
    await site.append(location, BLOB)

    await (await world.registry()).db.write(_EXPIRE)

    refused(await site.client.get(location), 404, "BLOB_UPLOAD_UNKNOWN")
    refused(await site.append(location, b"more"), 404, "BLOB_UPLOAD_UNKNOWN")
    refused(await site.finish(location, digest_of(BLOB)), 404, "BLOB_UPLOAD_UNKNOWN")


async def test_an_upload_is_its_beginner_s_and_its_repository_s(world: World):
    mine = Site(world.client)
    location = await mine.begin()
    alice = Site(await world.add_user("alice", Role.MAINTAINER))
    await mine.at("library/other").push_blob(b"some")

    refused(await alice.client.get(location), 404, "BLOB_UPLOAD_UNKNOWN")
    refused(await alice.finish(location, digest_of(BLOB), BLOB), 404, "BLOB_UPLOAD_UNKNOWN")
    refused(await mine.client.get(location.replace("/app/", "/other/")), 404, "BLOB_UPLOAD_UNKNOWN")
    assert (await mine.finish(location, digest_of(BLOB), BLOB)).status_code == 201


async def test_of_two_chunks_at_once_one_is_taken(world: World):
    site = Site(world.client)
    location = await site.begin()

    for start in (0, 1000, 2000):
        chunk = BLOB[start : start + 1000]
        answers = await asyncio.gather(*(site.append(location, chunk, start) for _ in range(3)))

        assert sorted(answer.status_code for answer in answers) == [202, 416, 416]

    assert (await site.finish(location, digest_of(BLOB[:3000]))).status_code == 201
    assert (await site.get(f"blobs/{digest_of(BLOB[:3000])}")).content == BLOB[:3000]


async def test_of_two_who_finish_at_once_neither_breaks_the_blob(world: World):
    site = Site(world.client)
    location = await site.begin()
    for start in (0, 1000):
        await site.append(location, BLOB[start : start + 1000], start)

    answers = await asyncio.gather(*(site.finish(location, digest_of(BLOB[:2000])) for _ in range(3)))

    assert 201 in {answer.status_code for answer in answers}
    assert {answer.status_code for answer in answers} <= {201, 404, 416}
    assert (await site.get(f"blobs/{digest_of(BLOB[:2000])}")).content == BLOB[:2000]


async def test_the_same_blob_may_be_pushed_many_times_at_once(world: World):
    site = Site(world.client)

    digests = await asyncio.gather(*(site.push_blob(BLOB) for _ in range(4)))

    assert set(digests) == {digest_of(BLOB)}
    assert (await site.get(f"blobs/{digest_of(BLOB)}")).content == BLOB
