"""How other registries failed, tried on this one; docs/explanation/failure-classes.md lists every class with its tests."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence

import pytest
from sqlalchemy import bindparam, select, update

from moorage.db import Statement
from moorage.db.tables import blob
from moorage.oci.digests import Digest
from moorage.oci.errors import BlobUnknown
from moorage.oci.manifests import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest
from moorage.oci.names import RepositoryName, Tag
from moorage.registry import blobs, collection, fsck, listings, manifests, projects, repositories, trash
from moorage.registry.errors import QuotaExceeded
from moorage.registry.events import SYSTEM
from moorage.registry.recount import recount
from moorage.storage.memory import BytesSource
from tests.functional.registry_world import APP, DAY, WEB, Held, held

__all__ = ["held"]

_KEYS = Statement(select(blob.c.key))
_RESIZE = Statement(update(blob).where(blob.c.digest == bindparam("which")).values(size=bindparam("bytes")))


async def push_index(held: Held, tag: str, *children: Digest) -> Digest:
    """Push an index of children whose sizes nobody asks for."""
    body = f"index {tag} of {' '.join(map(str, children))}".encode()
    listed = tuple(Descriptor(OCI_MANIFEST, child, 1) for child in children)
    read = Manifest(OCI_INDEX, "", children=listed)
    await held.change(
        lambda tx: manifests.push(tx, APP, Digest.of(body), read, body, [Tag(tag)] if tag else [], SYSTEM)
    )
    return Digest.of(body)


async def delete(held: Held, name: RepositoryName, digest: Digest) -> None:
    await held.change(lambda tx: manifests.delete(tx, name, digest, SYSTEM))


async def collect(held: Held) -> int:
    """Let every window pass, and collect to the end; give how many rounds that took."""
    rounds = 0
    for _ in range(3):
        held.clock.at += 40 * DAY
        while await collection.collect(held.db, held.store, longest_request=0, margin=0):
            rounds += 1
    return rounds


async def stored(held: Held) -> set[str]:
    return {str(one.key) async for one in held.store.list()}


async def is_clean(held: Held) -> bool:
    return (await fsck.check(held.db, held.store, digests=True)).findings == ()


async def test_class_5_an_index_with_a_thousand_million_ways_through_it_is_deleted_restored_and_collected(
    held: Held,
) -> None:
    """Thirty levels of two indexes, each of which names both of the level below: 60 manifests, and 2^30 ways."""
    levels: list[Sequence[Digest]] = [[await held.push(APP, b"layer")]]
    for depth in range(30):
        levels.append([await push_index(held, f"{depth}-{side}", *levels[-1]) for side in "ab"])
    for digest in itertools.chain.from_iterable(reversed(levels)):
        await delete(held, APP, digest)

    await held.change(lambda tx: trash.restore(tx, APP, levels[-1][0], SYSTEM))

    for digest in itertools.chain(*levels[:-1], levels[-1][:1]):
        assert (await manifests.get(held.db, APP, digest)).digest == digest
    assert await is_clean(held)
    for digest in itertools.chain(levels[-1][:1], *reversed(levels[:-1])):
        await delete(held, APP, digest)
    await collect(held)
    assert await stored(held) == set()


async def test_class_5_a_round_of_collection_holds_the_turn_for_a_few_rows_only(held: Held) -> None:
    """Pushes take their turns between rounds, however much there is to collect."""
    count = collection.STEP * 2 + 1
    for number in range(count):
        await held.upload(APP, b"%d" % number)
    held.clock.at += 2 * DAY

    reviewed = [await held.change(collection.review) for _ in range(4)]

    assert reviewed == [collection.STEP, collection.STEP, 1, 0]


async def test_class_6_collection_ends_and_the_check_reports_though_objects_are_missing(held: Held) -> None:
    chance = random.Random(6)
    for number in range(20):
        pushed = await held.push(APP, b"layer %d" % number, tag=f"v{number}")
        if number % 2:
            await delete(held, APP, pushed)
    lost = chance.sample(sorted(await stored(held)), 10)
    for one in [one async for one in held.store.list()]:
        if str(one.key) in lost:
            await held.store.delete(one.key)

    rounds = await collect(held)

    live = {row.key for row in await held.db.all(_KEYS)}
    report = await fsck.check(held.db, held.store)
    assert rounds < 20
    assert {one.kind for one in report.findings} <= {"bytes"}
    assert len(report.findings) == len(live & set(lost))
    assert await stored(held) == live - set(lost)


async def test_class_7_what_was_collected_takes_no_room_is_gone_and_can_be_pushed_again(held: Held) -> None:
    pushed = await held.push(APP, b"layer", b"config", tag="v1")
    await delete(held, APP, pushed)

    await collect(held)

    assert await stored(held) == {row.key for row in await held.db.all(_KEYS)} == set()
    with pytest.raises(BlobUnknown):
        await blobs.promise(held.db, APP, Digest.of(b"layer"))
    again = await held.push(APP, b"layer", b"config", tag="v1")
    assert again == pushed
    assert await is_clean(held)


async def test_class_8_names_that_begin_alike_are_never_taken_for_one_another(held: Held) -> None:
    names = [RepositoryName.parse(f"team/{name}") for name in ("a", "a/b", "a/bc", "a/b/c", "ab")]
    tags = ["v1", "v1.1", "v10", "v1-a"]
    digests = {}
    for name in names:
        for tag in tags:
            digests[name, tag] = await held.push(name, f"{name}:{tag}".encode(), tag=tag)
    gone = names[1]
    await held.change(lambda tx: manifests.untag(tx, names[0], Tag("v1"), SYSTEM))
    for tag in tags:
        await delete(held, gone, digests[gone, tag])

    await collect(held)

    assert await repositories.page(held.db, "", 100) == sorted(map(str, names))
    assert await repositories.page(held.db, "team/a/b", 2) == ["team/a/b/c", "team/a/bc"]
    listed = {str(name): await listings.tags(held.db, name, "", 100) for name in names}
    whole = sorted(tags)
    assert listed == {
        "team/a": whole[1:],
        "team/a/b": [],
        "team/a/bc": whole,
        "team/a/b/c": whole,
        "team/ab": whole,
    }
    for (name, tag), digest in digests.items():
        if name != gone and (name, tag) != (names[0], "v1"):
            assert (await manifests.get(held.db, name, Tag(tag))).digest == digest
    assert await is_clean(held)


async def test_class_19_a_blob_on_its_way_is_not_there_until_it_is_whole(held: Held) -> None:
    data = bytes(range(256)) * 4096
    seen: set[int | None] = set()
    ended = asyncio.Event()

    async def look() -> None:
        while not ended.is_set():
            found = await blobs.find(held.db, APP, Digest.of(data))
            seen.add(None if found is None else await held.store.size(found.key))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    begun = await held.uploads.begin(APP, "u")
    for start in range(0, len(data), 1 << 18):
        begun = await held.uploads.append(begun, BytesSource(data[start : start + (1 << 18)]))
        await asyncio.sleep(0)
    await held.uploads.finish(begun, Digest.of(data), SYSTEM)
    await asyncio.sleep(0.01)
    ended.set()
    await looking

    assert seen == {None, len(data)}


@pytest.mark.parametrize("size", [(1 << 31) - 1, 1 << 31, (1 << 31) + 1, 1 << 32, 1 << 40])
async def test_class_20_sizes_beyond_32_bits_are_counted_exactly(held: Held, size: int) -> None:
    """Nobody sends so much in a test: the row of a blob is told that it is so large, and the counts are mended."""
    layer = Digest.of(b"large")
    await held.upload(WEB, b"large")
    await held.db.write(_RESIZE, which=layer.raw, bytes=size)
    await fsck.check(held.db, held.store, repair=True)
    await held.change(lambda tx: blobs.mount(tx, APP, layer, sources=[WEB]))
    body = b"an image of a large layer"
    read = Manifest(OCI_MANIFEST, "", blobs=(Descriptor("a/b", layer, size),), content_size=size)

    await held.change(lambda tx: manifests.push(tx, APP, Digest.of(body), read, body, [Tag("v1")], SYSTEM))

    found = await projects.find(held.db, "team")
    assert found is not None
    assert (found.used, (await blobs.get(held.db, APP, layer)).size) == (size + len(body), size)
    await held.change(lambda tx: projects.set_limit(tx, found, found.used + 10))
    with pytest.raises(QuotaExceeded, match=str(found.used + 10)):
        await held.upload(APP, b"eleven more")
    await held.upload(APP, b"ten bytes.")
    assert await recount(held.db) == []
