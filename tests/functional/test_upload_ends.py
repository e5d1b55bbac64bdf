"""Uploads that end without becoming a blob: cancelled, refused, expired; their bytes go, whatever else is going on."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import bindparam, func, select, update

from moorage.db import Statement
from moorage.db.tables import doomed, registry, upload
from moorage.oci.digests import Digest
from moorage.oci.errors import BlobUploadUnknown
from moorage.oci.names import RepositoryName
from moorage.registry import collection, dooming, fsck
from moorage.registry.events import SYSTEM
from moorage.registry.opened import Registry
from moorage.registry.uploads import Upload
from moorage.storage import new_key
from moorage.storage.memory import BytesSource
from moorage.storage.objects import ObjectStore
from moorage.storage.posix import PosixStore
from tests.conformance.site import Site, digest_of, refused, stream
from tests.worlds import ADMIN, PASSWORD, World

AUTHORIZATION = httpx.BasicAuth(ADMIN, PASSWORD)._auth_header
ON_S3 = pytest.mark.parametrize("world", ["sqlite-s3", "postgres-s3"], indirect=True)
BIG = bytes(range(256)) * 8000

_LIMIT = Statement(update(registry).values(limit_bytes=bindparam("bytes")))
_EXPIRE = Statement(update(upload).values(expires_at=1))
_LATE = Statement(update(doomed).values(destroy_at=1))
_BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"
_DOOMED = Statement(select(func.count().label("n")).select_from(doomed))


class Slow:
    """A body that stops in its middle until it is told to go on."""

    def __init__(self) -> None:
        self.stopped, self.goes_on = asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield BIG
        # What was given is taken once the next is asked for.
        self.stopped.set()
        await self.goes_on.wait()
        yield BIG


async def stored(opened: Registry) -> list[int]:
    return sorted([one.size async for one in opened.store.list()])


async def count_doomed(opened: Registry) -> int:
    row = await opened.db.one(_DOOMED)
    assert row is not None
    return int(row.n)


async def find(opened: Registry, site: Site, location: str) -> Upload:
    """Find an upload as a request does that has come just now."""
    admin = await opened.access.identify(AUTHORIZATION)
    return await opened.uploads.find(
        RepositoryName.parse(site.name), location.rpartition("/")[2], admin.caller.subject
    )


async def a_round(opened: Registry) -> None:
    """Do one round of collection, as workers do, with other machines' clocks in doubt."""
    await collection.collect(opened.db, opened.store, longest_request=3_600_000_000, margin=60_000_000)


async def begun(site: Site, *pieces: bytes) -> str:
    location = await site.begin()
    for piece in pieces:
        assert (await site.append(location, piece)).status_code == 202
    return location


async def test_a_cancelled_upload_frees_its_bytes_at_once(world: World):
    opened, site = await world.registry(), Site(world.client)
    location = await begun(site, BIG, b"more")
    assert sum(await stored(opened)) == len(BIG) + 4

    cancelled = await world.client.delete(location)

    assert cancelled.status_code == 204
    assert await stored(opened) == []
    refused(await world.client.get(location), 404, "BLOB_UPLOAD_UNKNOWN")


async def test_a_cancelled_upload_frees_its_place_under_the_plans_limit_at_once(world: World):
    opened, site = await world.registry(), Site(world.client)
    await opened.db.write(_LIMIT, bytes=len(BIG) + 10)
    location = await begun(site, BIG)
    refused(await site.append(await site.begin(), BIG), 403, "DENIED")

    await world.client.delete(location)

    assert (await site.append(await site.begin(), BIG)).status_code == 202


@pytest.mark.parametrize("why", ["digest", "quota"])
async def test_bytes_that_are_refused_at_the_end_are_gone_at_once(world: World, why: str):
    opened, site = await world.registry(), Site(world.client)
    location = await begun(site, BIG, b"more")
    if why == "digest":
        refused(await site.finish(location, digest_of(b"other")), 400, "DIGEST_INVALID")
    else:
        await opened.db.write(_LIMIT, bytes=10)
        refused(await site.finish(location, digest_of(BIG + b"more")), 403, "DENIED")

    assert await stored(opened) == []


async def test_an_expired_upload_frees_its_bytes_with_the_next_round_of_collection(world: World):
    opened, site = await world.registry(), Site(world.client)
    await begun(site, BIG, b"more")
    await opened.db.write(_EXPIRE)
    kept = await site.push_blob(b"a blob that stays")

    await a_round(opened)

    assert await stored(opened) == [len(b"a blob that stays")]
    assert (await site.get(f"blobs/{kept}")).status_code == 200


async def test_what_could_not_be_destroyed_at_once_goes_with_the_next_round(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    opened, site = await world.registry(), Site(world.client)
    location = await begun(site, BIG)
    with monkeypatch.context() as killed:
        # As if the process ended between the turn and the bytes.
        killed.setattr(dooming, "STEP", 0)
        assert (await world.client.delete(location)).status_code == 204
    assert await stored(opened) == [len(BIG)]

    await a_round(opened)

    assert await stored(opened) == []


async def test_a_request_that_still_sends_when_its_upload_is_cancelled_is_told_so_and_leaves_nothing(
    world: World,
):
    opened, site = await world.registry(), Site(world.client)
    location, body = await site.begin(), Slow()
    sending = asyncio.create_task(world.client.patch(location, content=aiter(body)))
    await body.stopped.wait()

    assert (await world.client.delete(location)).status_code == 204
    body.goes_on.set()

    refused(await sending, 404, "BLOB_UPLOAD_UNKNOWN")
    assert await stored(opened) == []


async def test_who_found_an_upload_before_it_was_cancelled_can_neither_write_nor_finish_it(world: World):
    opened, site = await world.registry(), Site(world.client)
    location = await begun(site, b"first ", b"second")
    found = await find(opened, site, location)
    await world.client.delete(location)

    for attempt in (
        opened.uploads.append(found, BytesSource(b"more")),
        opened.uploads.finish(found, Digest.of(b"first second"), SYSTEM),
    ):
        with pytest.raises(BlobUploadUnknown, match="cancelled by another request"):
            await attempt

    assert await stored(opened) == []
    assert (await fsck.check(opened.db, opened.store)).findings == ()


async def test_two_that_finish_one_upload_make_one_blob_and_the_other_is_told_so(world: World):
    opened, site = await world.registry(), Site(world.client)
    location = await begun(site, b"first ", b"second")

    answers = await asyncio.gather(*(site.finish(location, digest_of(b"first second")) for _ in range(2)))

    assert min(answer.status_code for answer in answers) == 201
    assert all(answer.status_code in {201, 404, 416} for answer in answers)
    await a_round(opened)
    assert await stored(opened) == [len(b"first second")]
    assert (await site.get(f"blobs/{digest_of(b'first second')}")).content == b"first second"


async def test_what_a_killed_request_wrote_after_the_end_of_its_upload_is_destroyed_later(world: World):
    opened, site = await world.registry(), Site(world.client)
    location = await site.begin()
    found = await find(opened, site, location)
    part = found.parts[-1] if opened.store.appends else await opened.uploads._new_part(found)
    await world.client.delete(location)
    # It had found the upload, and is killed before it could look again.
    await opened.store.write(part.key, 0, BytesSource(BIG), None, limit=1 << 30)

    await a_round(opened)
    at_first = await stored(opened)
    await opened.store.write(part.key, 0, BytesSource(BIG), None, limit=1 << 30)
    await a_round(opened)
    between = await count_doomed(opened), await stored(opened)
    await opened.db.write(_LATE)
    await a_round(opened)

    assert (at_first, between) == ([], (1, [len(BIG)]))
    assert (await count_doomed(opened), await stored(opened)) == (0, [])


@pytest.mark.parametrize("world", ["postgres-s3"], indirect=True)
@pytest.mark.parametrize("ends", ["cancelled", "finished"])
async def test_a_part_that_another_replica_is_just_adding_is_destroyed_with_its_upload(
    world: World, ends: str
):
    opened, site, added = await world.registry(), Site(world.client), new_key()
    location = await begun(site, b"bytes")
    await opened.store.write(added, 0, BytesSource(BIG), None, limit=1 << 30)
    assert world.parts.postgres is not None
    async with world.parts.postgres.pool.connection() as replica, replica.transaction():
        await replica.execute(
            "INSERT INTO upload_part (registry_id, upload_id, n, key) VALUES ($1, $2, 7, $3)",
            world.entry.id,
            location.rpartition("/")[2],
            added,
        )
        if ends == "cancelled":
            ending = asyncio.create_task(world.client.delete(location))
        else:
            ending = asyncio.create_task(site.finish(location, digest_of(b"bytes")))
        # Its own sight of who waits would be that of the transaction's first look.
        asked = operator.methodcaller("fetchval", _BLOCKED, replica.get_server_pid())
        async with asyncio.timeout(20):
            while not await world.parts.postgres.pool.read(asked):
                await asyncio.sleep(0.02)

    assert (await ending).status_code in {201, 204}
    await a_round(opened)
    assert await stored(opened) == ([len(b"bytes")] if ends == "finished" else [])


async def test_the_parts_of_a_joined_blob_go_with_the_next_round(world: World):
    opened, site = await world.registry(), Site(world.client)
    location = await begun(site, b"one ", b"two ", b"three")
    finished = await site.finish(location, digest_of(b"one two three"))

    await a_round(opened)

    assert finished.status_code == 201
    assert await stored(opened) == [len(b"one two three")]


@ON_S3
async def test_parts_that_a_killed_process_left_half_sent_go_with_their_upload(world: World):
    opened, site = await world.registry(), Site(world.client)
    store = opened.store
    assert isinstance(store, ObjectStore)
    leftovers = store.bucket.leftovers
    assert leftovers is not None
    location = await site.begin()
    part = await opened.uploads._new_part(await find(opened, site, location))
    other = new_key()
    for key in (part.key, other):
        path = f"/{leftovers.bucket}/{store._path(key)}"
        await asyncio.to_thread(leftovers._ask, "POST", path, {"uploads": ""})

    await world.client.delete(location)

    assert await store.abort_leftovers(older_than_seconds=0, key=part.key) == 0
    assert await store.abort_leftovers(older_than_seconds=0, key=other) == 1


@pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)
async def test_a_disk_that_cannot_destroy_holds_up_no_cancelling(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    opened, site = await world.registry(), Site(world.client)
    assert isinstance(opened.store, PosixStore)
    location = await begun(site, b"bytes")

    def broken(path: object) -> None:
        raise OSError(5, "the disk is broken")

    with monkeypatch.context() as failing:
        failing.setattr(opened.store._disk, "remove", broken)
        cancelled = await world.client.delete(location)
    kept = await stored(opened)
    await a_round(opened)

    assert cancelled.status_code == 204
    assert (kept, await stored(opened)) == ([len(b"bytes")], [])


async def test_an_upload_that_streams_while_another_is_cancelled_is_untouched(world: World):
    opened, site = await world.registry(), Site(world.client)
    gone, location, body = await begun(site, b"gone"), await site.begin(), Slow()
    sending = asyncio.create_task(world.client.patch(location, content=aiter(body)))
    await body.stopped.wait()

    await world.client.delete(gone)
    await a_round(opened)
    body.goes_on.set()
    assert (await sending).status_code == 202

    assert (await site.finish(location, digest_of(BIG + BIG))).status_code == 201
    assert (await site.get(f"blobs/{digest_of(BIG + BIG)}")).content == BIG + BIG


async def test_a_single_post_that_is_refused_leaves_nothing(world: World):
    opened, site = await world.registry(), Site(world.client)

    answer = await site.ask(
        "POST", "blobs/uploads/", params={"digest": digest_of(b"x")}, content=stream(BIG, b"y")
    )

    refused(answer, 400, "DIGEST_INVALID")
    assert await stored(opened) == []
