"""What only an object store can show: redirects, leftovers, being away, slow senders."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest

from moorage.errors import Unavailable
from moorage.storage import BlobStore, Hasher, new_key, open_store
from moorage.storage.intake import PART
from moorage.storage.memory import BytesSource
from moorage.storage.objects import SENDING, ObjectStore
from moorage.storage.opening import StoreAddressInvalid
from tests.servers.processes import standing_still
from tests.servers.seaweedfs import SeaweedFS, running_seaweedfs

PLENTY = 1 << 40


@pytest.fixture
async def store(seaweedfs: SeaweedFS) -> AsyncIterator[BlobStore]:
    opened = open_store(seaweedfs.url("some/where", redirect=True)).under(new_key())
    yield opened
    await opened.close()


def followed(address: str) -> httpx.Response:
    """Go where a client was sent."""
    return httpx.get(address, trust_env=False, timeout=60)


class Stalled(BytesSource):
    """A sender that sends no more after a while, and stays."""

    def __init__(self, size: int) -> None:
        super().__init__(bytes(size), piece=PART)
        self.stalled = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces():
            yield bytes(piece)
        self.stalled.set()
        await asyncio.get_running_loop().create_future()


async def test_a_redirect_gives_the_bytes_as_an_attachment(store: BlobStore) -> None:
    key = new_key()
    await store.write(key, 0, BytesSource(b"<script>"), None, limit=PLENTY)

    address = await store.shortcut(key)
    assert isinstance(address, str)
    answer = await asyncio.to_thread(followed, address)

    assert answer.content == b"<script>"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["content-type"] == "application/octet-stream"


async def test_a_big_object_is_an_attachment_too(store: BlobStore) -> None:
    key = new_key()
    await store.write(key, 0, BytesSource(bytes(PART + 1)), None, limit=PLENTY)

    address = await store.shortcut(key)
    assert isinstance(address, str)
    answer = await asyncio.to_thread(followed, address)

    assert answer.headers["content-disposition"] == "attachment"


async def test_nobody_is_sent_away_unless_the_operator_says_so(seaweedfs: SeaweedFS) -> None:
    store = open_store(seaweedfs.url())

    assert await store.shortcut(new_key()) is None


async def test_slow_senders_hold_up_nobody(store: BlobStore) -> None:
    sources = [Stalled(PART + 5) for _ in range(SENDING + 4)]
    slow = [asyncio.create_task(store.write(new_key(), 0, source, None, limit=PLENTY)) for source in sources]
    await asyncio.gather(*(source.stalled.wait() for source in sources))

    async with asyncio.timeout(20):
        written = await store.write(new_key(), 0, BytesSource(bytes(PART + 1)), Hasher(), limit=PLENTY)

    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert written == PART + 1
    assert await store.abort_leftovers(older_than_seconds=0) == 0


KILLED = """
import asyncio, sys
from moorage.storage import new_key, open_store
from moorage.storage.memory import BytesSource

class Stalled(BytesSource):
    async def __aiter__(self):
        for _ in range(3):
            yield bytes(8 * 1024 * 1024)
        print("stalled", flush=True)
        await asyncio.get_running_loop().create_future()

store = open_store(sys.argv[1]).under(sys.argv[2])
asyncio.run(store.write(new_key(), 0, Stalled(b""), None, limit=1 << 40))
"""


async def test_what_a_killed_process_left_is_swept(seaweedfs: SeaweedFS) -> None:
    prefix = new_key()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        KILLED,
        seaweedfs.url(),
        prefix,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert process.stdout is not None
    await process.stdout.readline()
    process.kill()
    await process.communicate()
    store = open_store(seaweedfs.url()).under(prefix)

    kept = await store.abort_leftovers(older_than_seconds=3600)
    elsewhere = await store.under("other").abort_leftovers(older_than_seconds=0)
    swept = await store.abort_leftovers(older_than_seconds=0)
    again = await store.abort_leftovers(older_than_seconds=0)

    assert (kept, elsewhere, swept, again) == (0, 0, 1, 0)
    await store.close()


async def test_uploads_in_parts_are_seen_and_destroyed_with_their_prefix(seaweedfs: SeaweedFS) -> None:
    prefix = new_key()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, seaweedfs.url(), prefix,
        stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert process.stdout is not None
    await process.stdout.readline()
    process.kill()
    await process.communicate()
    store = open_store(seaweedfs.url()).under(prefix)
    # The key was claimed by an empty object, and that is not all.
    for found in [stored async for stored in store.list()]:
        await store.delete(found.key)

    seen = await store.remains()
    while await store.destroy(10):
        pass

    assert len(seen) == 1
    assert await store.remains() == []
    assert await store.abort_leftovers(older_than_seconds=-86_400) == 0
    await store.close()


async def test_versions_that_a_bucket_keeps_are_seen_and_destroyed_with_their_prefix(
    seaweedfs: SeaweedFS,
) -> None:
    address = seaweedfs.url().replace(seaweedfs.bucket, f"versions-{new_key()}", 1)
    opened = open_store(address)
    assert isinstance(opened, ObjectStore)
    leftovers = opened.bucket.leftovers
    assert leftovers is not None
    leftovers._ask("PUT", f"/{leftovers.bucket}", {})
    signed = leftovers._sign(
        "PUT", urlsplit(leftovers.endpoint).netloc, f"/{leftovers.bucket}", "versioning="
    )
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    asked = f"{leftovers.endpoint}/{leftovers.bucket}?versioning="
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.put(asked, headers=signed, content=enabled)).status_code == 200
    store, beside = opened.under("one"), opened.under("two")
    for one in (store, beside):
        key = new_key()
        await one.write(key, 0, BytesSource(b"bytes"), None, limit=PLENTY)
        await one.delete(key)

    seen = await store.remains()
    while await store.destroy(10):
        pass

    assert len(seen) >= 1
    assert await store.remains() == []
    assert len(await beside.remains()) >= 1
    await opened.close()


async def test_a_store_that_is_away_is_unavailable_within_seconds_and_never_missing() -> None:
    with running_seaweedfs() as server:
        store = open_store(server.url())
        key = new_key()
        await store.write(key, 0, BytesSource(b"bytes"), None, limit=PLENTY)
        with standing_still(server.process.pid):
            # Half of the time that the client below would wait for one answer.
            async with asyncio.timeout(30):
                with pytest.raises(Unavailable) as hung:
                    await store.size(key)
        came_back = await store.size(key)

        server.process.kill()
        server.process.wait()

        for ask in (
            store.size(key),
            store.commit([key], key),
            store.write(new_key(), 0, BytesSource(b"bytes"), None, limit=PLENTY),
            store.write(new_key(), 0, BytesSource(bytes(PART + 1)), None, limit=PLENTY),
            store.delete(key),
            anext(aiter(store.read(key, 0, 5))),
            anext(aiter(store.list())),
            store.abort_leftovers(older_than_seconds=0),
            store.under("any").destroy(1),
            store.under("any").remains(),
        ):
            async with asyncio.timeout(30):
                with pytest.raises(Unavailable):
                    await ask
        await store.close()
    assert hung.value.retry_after
    assert came_back == 5


@pytest.mark.parametrize(
    "url", ["", "s3:bucket", "ftp://host/path", "file:relative", "file://host/path", "/path"]
)
def test_an_address_of_no_store_is_refused(url: str) -> None:
    with pytest.raises(StoreAddressInvalid):
        open_store(url)


def test_a_refusal_does_not_show_the_secret() -> None:
    with pytest.raises(StoreAddressInvalid) as refused:
        open_store("s4://bucket?secret_access_key=hidden")

    assert "hidden" not in str(refused.value)
