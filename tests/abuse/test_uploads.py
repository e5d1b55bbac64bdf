"""Uploads under attack: hijacked, raced, filled up with, left lying; on each engine with each store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import func, select

from moorage.db import Statement, Tx
from moorage.db.tables import doomed, upload, upload_part
from moorage.identity.roles import Role
from moorage.oci.names import RepositoryName
from moorage.registry import collection, projects
from moorage.registry.recount import recount
from moorage.storage.memory import BytesSource
from tests.conformance.site import Site, digest_of, refused, stream
from tests.worlds import ADMIN, PASSWORD, World

SQLITE = pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
ON_POSIX = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)
ABANDONED = 10_000
AUTHORIZATION = httpx.BasicAuth(ADMIN, PASSWORD)._auth_header


async def test_another_member_of_the_repository_can_neither_see_nor_touch_an_upload(world: World):
    mine = Site(await world.add_user("ann", Role.DEVELOPER))
    theirs = await world.add_user("bob", Role.DEVELOPER)
    location = await mine.begin()
    await mine.append(location, b"ann's")

    for method in ("GET", "PATCH", "PUT", "DELETE"):
        answer = await theirs.request(method, f"{location}?digest={digest_of(b'ann')}", content=b"bob")
        refused(answer, 404, "BLOB_UPLOAD_UNKNOWN")

    assert (await mine.finish(location, digest_of(b"ann's"))).status_code == 201


async def test_an_upload_is_of_one_repository_and_of_no_other(world: World):
    site = Site(world.client)
    await site.at("library/other").begin()
    location = (await site.begin()).replace("library/app", "library/other")

    for method in ("GET", "PATCH", "PUT", "DELETE"):
        answer = await world.client.request(method, f"{location}?digest={digest_of(b'x')}", content=b"x")
        refused(answer, 404, "BLOB_UPLOAD_UNKNOWN")


async def test_nobody_in_particular_begins_or_continues_an_upload_even_where_all_may_pull(world: World):
    await world.add_project("open", public=True)
    nobody, location = await world.as_(None), await Site(world.client, "open/app").begin()

    begun = await nobody.post("/v2/open/app/blobs/uploads/")
    continued = await nobody.patch(location, content=b"x")

    assert (begun.status_code, continued.status_code) == (401, 401)


@pytest.mark.parametrize(
    "id_", ["..", "%2e%2e", "%252e%252e", "%00", "a%00b", "%E2%80%AE", "x" * 5000, "%ff", "'--"]
)
async def test_no_upload_id_is_anything_but_unknown(world: World, id_: str):
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        path = f"/v2/library/app/blobs/uploads/{id_}?digest={digest_of(b'')}"
        answer = await world.client.request(method, path)

        assert answer.status_code in {400, 404}, answer.text


class Held:
    """A body whose first piece has come, and whose rest waits to be let go."""

    def __init__(self) -> None:
        self.began, self.go_on = asyncio.Event(), asyncio.Event()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give the first piece, and the second when told."""
        self.began.set()
        yield b"1" * 100_000
        await self.go_on.wait()
        yield b"2" * 100_000


async def test_an_upload_that_another_request_writes_to_is_not_made_a_blob_with_its_bytes(world: World):
    site = Site(world.client)
    location = await site.begin()
    good = b"good" * 1000
    await site.append(location, good)
    held = Held()
    other = asyncio.create_task(_patch(world, location, held))
    await held.began.wait()

    finished = await site.finish(location, digest_of(good))
    held.go_on.set()
    continued = await other

    # On a folder the writer has the file (or what it wrote is seen, and is not of this digest); on an object store
    # its bytes are an object that nobody counts.
    assert (finished.status_code, continued) in {(416, 202), (400, 404), (201, 404)}
    pulled = await site.get(f"blobs/{digest_of(good)}")
    assert pulled.status_code == 404 or pulled.content == good
    assert pulled.status_code == (200 if finished.status_code == 201 else 404)
    assert await recount((await world.registry()).db) == []


async def _patch(world: World, location: str, held: Held) -> int:
    """Send a chunk piece by piece, through the application itself: the client would gather it first."""
    pieces = held.pieces()
    status = 0

    async def receive() -> dict[str, object]:
        piece = await anext(pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(message) -> None:
        nonlocal status
        status = message.get("status", status)

    request = world.client.build_request("PATCH", location)
    port = request.url.port or 80
    await world.app(
        {
            "type": "http",
            "method": "PATCH",
            "path": location,
            "raw_path": location.encode(),
            "query_string": b"",
            "scheme": "http",
            "http_version": "1.1",
            "headers": [
                (b"host", b"localhost"),
                (b"transfer-encoding", b"chunked"),
                (b"authorization", AUTHORIZATION.encode()),
            ],
            "server": ("localhost", port),
            "client": ("127.0.0.1", 1),
        },
        receive,
        send,
    )
    return status


async def test_of_two_chunks_for_the_same_place_exactly_one_is_taken(world: World):
    site = Site(world.client)
    location = await site.begin()
    chunks = [bytes([n]) * 50_000 for n in range(6)]

    answers = await asyncio.gather(*(site.append(location, chunk, 0) for chunk in chunks))

    taken = [chunk for chunk, answer in zip(chunks, answers, strict=True) if answer.status_code == 202]
    assert sorted(answer.status_code for answer in answers) == [202, 416, 416, 416, 416, 416]
    assert (await site.finish(location, digest_of(taken[0]))).status_code == 201


async def test_two_who_finish_one_upload_leave_one_whole_blob(world: World):
    site = Site(world.client)
    for content in (b"", b"some bytes"):
        location = await site.begin()
        if content:
            await site.append(location, content)

        answers = await asyncio.gather(*(site.finish(location, digest_of(content)) for _ in range(4)))

        codes = sorted(answer.status_code for answer in answers)
        assert codes[0] == 201
        assert set(codes[1:]) <= {201, 404, 416}
        assert (await site.get(f"blobs/{digest_of(content)}")).content == content


@pytest.mark.parametrize(
    "said",
    [
        "9223372036854775808-9223372036854775809",
        "0-18446744073709551616",
        "-1-5",
        "5-1",
        "0-",
        "abc",
        "0" * 500 + "-1",
    ],
)
async def test_a_content_range_beyond_all_numbers_is_refused(world: World, said: str):
    location = await Site(world.client).begin()

    answer = await world.client.patch(location, content=b"x", headers={"content-range": said})

    refused(answer, 416, "RANGE_INVALID")


async def test_a_chunk_that_is_longer_than_it_says_is_refused(world: World):
    location = await Site(world.client).begin()

    answer = await world.client.patch(
        location, content=stream(b"12345", b"67890"), headers={"content-range": "0-4"}
    )

    refused(answer, 400, "SIZE_INVALID")


async def test_uploads_on_their_way_fill_no_more_than_the_limit_leaves(world: World):
    registry = await world.registry()
    home = await projects.find(registry.db, "library")
    assert home is not None
    await registry.db.change(lambda tx: projects.set_limit(tx, home, 100_000))
    site = Site(world.client)
    first, second, third = [await site.begin() for _ in range(3)]
    await site.append(first, b"1" * 60_000)

    told = await site.append(second, b"2" * 60_000)
    streamed = await world.client.patch(third, content=stream(b"3" * 30_000, b"3" * 30_000))
    fits = await site.append(second, b"2" * 10_000)

    refused(told, 403, "DENIED")
    refused(streamed, 403, "DENIED")
    assert "quota of project library" in told.text
    assert fits.status_code == 202
    assert (await site.finish(first, digest_of(b"1" * 60_000))).status_code == 201


@SQLITE
async def test_ten_thousand_abandoned_uploads_leave_no_row_and_no_byte(world: World):
    registry, site = await world.registry(), Site(world.client)
    await site.push_blob(b"a blob that stays")

    # Behind HTTP, which each of them would cost more than all the rest.
    admin = await registry.access.identify(AUTHORIZATION)
    name, uploads = RepositoryName.parse(site.name), registry.uploads

    async def begin(count: int) -> None:
        for _ in range(count):
            begun = await uploads.begin(name, admin.caller.subject)
            await uploads.append(begun, BytesSource(b"x"))

    await asyncio.gather(*(begin(ABANDONED // 100) for _ in range(100)))
    before = (await registry.db.one(Statement(select(func.count().label("n")).select_from(upload)))).n

    await _expire(world)

    assert before == ABANDONED
    for table in (upload, upload_part, doomed):
        assert (await registry.db.one(Statement(select(func.count().label("n")).select_from(table)))).n == 0
    assert [stored.size async for stored in registry.store.list()] == [len(b"a blob that stays")]
    assert (await site.get(f"blobs/{digest_of(b'a blob that stays')}")).status_code == 200


async def test_cancelled_cut_and_joined_uploads_leave_only_the_blob(world: World):
    registry, site = await world.registry(), Site(world.client)
    cancelled, cut, joined = [await site.begin() for _ in range(3)]
    for location in (cancelled, cut, joined):
        await site.append(location, b"part one ")
        await site.append(location, b"part two")
    await world.client.delete(cancelled)
    assert (await site.finish(joined, digest_of(b"part one part two"))).status_code == 201
    refused(await site.finish(cut, digest_of(b"something else")), 400, "DIGEST_INVALID")

    await _expire(world)

    assert [stored.size async for stored in registry.store.list()] == [len(b"part one part two")]
    assert await recount(registry.db) == []


async def _expire(world: World) -> None:
    """Collect as if every upload's time had long passed."""
    registry = await world.registry()
    expired = Statement(upload.update().values(expires_at=1))
    late = Statement(doomed.update().values(destroy_at=1))

    async def work(tx: Tx) -> None:
        await tx.run(expired)

    await registry.db.change(work)
    while await collection.collect(registry.db, registry.store, longest_request=0, margin=0):
        await registry.db.write(late)
    await registry.db.write(late)
    while await collection.collect(registry.db, registry.store, longest_request=0, margin=0):
        pass


@ON_POSIX
async def test_an_empty_blob_is_finished_again_after_a_crash_behind_its_commit(world: World):
    registry, site = await world.registry(), Site(world.client)
    location = await site.begin()
    admin = await registry.access.identify(AUTHORIZATION)
    name, id_ = RepositoryName.parse(site.name), location.rpartition("/")[2]
    key = (await registry.uploads.find(name, id_, admin.caller.subject)).parts[0].key
    await registry.store.write(key, 0, BytesSource(b""), None, limit=0)
    await registry.store.commit([key], key)

    assert (await site.finish(location, digest_of(b""))).status_code == 201
