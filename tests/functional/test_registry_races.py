"""Many clients at one tag, one digest, one limit; rules that keep tags; and the trash."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import bindparam, func, select

from moorage.db import Statement, insert
from moorage.db.tables import blob, immutable_rule, tag
from moorage.oci.digests import Digest
from moorage.oci.errors import BlobUnknown, ManifestUnknown
from moorage.oci.names import Tag
from moorage.registry import blobs, collection, fsck, listings, manifests, projects, trash
from moorage.registry.errors import QuotaExceeded, StillReferenced, TagImmutable
from moorage.registry.events import SYSTEM
from moorage.storage.memory import BytesSource
from tests.functional.registry_world import APP, DAY, WEB, Held, held

__all__ = ["held"]

LATEST = Tag("latest")
SECOND = 1_000_000

INTERVALS = Statement(
    select(tag.c.manifest_id, tag.c.start_at, tag.c.end_at)
    .where(tag.c.name == bindparam("name"))
    .order_by(tag.c.start_at)
)
BLOBS = Statement(select(func.count().label("n")).select_from(blob))
ADD_RULE = Statement(
    insert(immutable_rule).values(
        project_id=bindparam("project"), repositories="**", tags=bindparam("tags"), created_at=0
    )
)


async def project(held: Held) -> projects.Project:
    found = await projects.find(held.db, "team")
    assert found is not None
    return found


async def limit(held: Held, count: int) -> None:
    found = await project(held)
    await held.change(lambda tx: projects.set_limit(tx, found, count))


async def keep(held: Held, tags: str) -> None:
    await held.db.write(ADD_RULE, project=(await project(held)).id, tags=tags)


async def is_clean(held: Held) -> bool:
    return (await fsck.check(held.db, held.store, digests=True)).findings == ()


# --- races ----------------------------------------------------------------------------------------------------


async def test_of_many_writers_of_a_tag_one_is_current_and_all_are_in_its_history(held: Held) -> None:
    for number in range(20):
        await held.upload(APP, b"layer %d" % number)

    pushed = await asyncio.gather(*(held.put(APP, b"layer %d" % n, tag="latest") for n in range(20)))

    rows = await held.db.all(INTERVALS, name="latest")
    current = await manifests.get(held.db, APP, LATEST)
    assert len({row.manifest_id for row in rows}) == 20
    assert [row.end_at for row in rows[:-1]] == [row.start_at for row in rows[1:]]
    assert rows[-1].end_at is None
    assert current.digest in pushed
    assert await is_clean(held)


async def test_fifty_clients_who_push_one_digest_leave_one_blob(held: Held) -> None:
    names = [APP, WEB] * 25

    await asyncio.gather(*(held.upload(name, b"the same") for name in names))

    found = [await blobs.get(held.db, name, Digest.of(b"the same")) for name in (APP, WEB)]
    assert (await held.db.one(BLOBS)).n == 1
    assert found[0].key == found[1].key
    assert (await project(held)).used == len(b"the same")
    assert await is_clean(held)


async def test_the_bytes_of_those_who_came_second_are_destroyed(held: Held) -> None:
    await asyncio.gather(*(held.upload(APP, b"the same") for _ in range(10)))
    held.clock.at += SECOND

    while await collection.collect(held.db, held.store, longest_request=0, margin=0):
        pass

    assert len([one async for one in held.store.list()]) == 1


async def test_one_upload_is_finished_once_however_many_ask(held: Held) -> None:
    begun = await held.uploads.begin(APP, "u")
    sent = await held.uploads.append(begun, BytesSource(b"data"))

    ended = await asyncio.gather(
        *(held.uploads.finish(sent, Digest.of(b"data"), SYSTEM) for _ in range(5)), return_exceptions=True
    )

    assert ended.count(None) == 1
    assert await is_clean(held)


# --- quota ----------------------------------------------------------------------------------------------------


async def test_uploads_side_by_side_cannot_pass_a_limit(held: Held) -> None:
    await limit(held, 1000)

    ended = await asyncio.gather(
        *(held.upload(APP, bytes([number]) * 300) for number in range(10)), return_exceptions=True
    )

    refused = [one for one in ended if isinstance(one, QuotaExceeded)]
    assert len(refused) == 7
    assert (await project(held)).used == 900
    assert await is_clean(held)


async def test_what_a_limit_refused_leaves_no_bytes(held: Held) -> None:
    begun = await held.uploads.begin(APP, "u")
    sent = await held.uploads.append(begun, BytesSource(b"eleven bytes"))
    await limit(held, 10)
    with pytest.raises(QuotaExceeded):
        await held.uploads.finish(sent, Digest.of(b"eleven bytes"), SYSTEM)
    held.clock.at += SECOND

    await collection.collect(held.db, held.store, longest_request=0, margin=0)

    assert [one async for one in held.store.list()] == []


async def test_at_twice_the_limit_deletes_work_and_pushes_do_not(held: Held) -> None:
    pushed = await held.push(APP, b"x" * 1000, tag="latest")
    await limit(held, 500)

    with pytest.raises(QuotaExceeded):
        await held.upload(APP, b"more")
    await held.change(lambda tx: manifests.delete(tx, APP, pushed, SYSTEM))

    found = await project(held)
    assert found.used == 0
    assert found.trash > 1000
    assert await held.upload(APP, b"more") == Digest.of(b"more")


async def test_a_restore_that_passes_a_limit_is_refused_whole(held: Held) -> None:
    pushed = await held.push(APP, b"x" * 1000, tag="latest")
    await held.change(lambda tx: manifests.delete(tx, APP, pushed, SYSTEM))
    await limit(held, 500)

    with pytest.raises(QuotaExceeded):
        await held.change(lambda tx: trash.restore(tx, APP, pushed, SYSTEM))

    with pytest.raises(ManifestUnknown):
        await manifests.get(held.db, APP, pushed)
    assert await is_clean(held)


# --- immutable tags -------------------------------------------------------------------------------------------


async def test_a_kept_tag_moves_to_no_other_manifest(held: Held) -> None:
    await keep(held, "v*")
    first = await held.push(APP, b"one", tag="v1")
    await held.upload(APP, b"two")

    with pytest.raises(TagImmutable):
        await held.put(APP, b"two", tag="v1")

    assert (await manifests.get(held.db, APP, Tag("v1"))).digest == first


async def test_a_push_to_a_kept_tag_may_be_repeated(held: Held) -> None:
    await keep(held, "v*")
    first = await held.push(APP, b"one", tag="v1")

    again = await held.put(APP, b"one", tag="v1")

    assert again == first
    assert len(await held.db.all(INTERVALS, name="v1")) == 1


async def test_a_kept_tag_is_deleted_neither_by_name_nor_with_its_manifest(held: Held) -> None:
    await keep(held, "v*")
    pushed = await held.push(APP, b"one", tag="v1")

    with pytest.raises(TagImmutable):
        await held.change(lambda tx: manifests.untag(tx, APP, Tag("v1"), SYSTEM))
    with pytest.raises(TagImmutable):
        await held.change(lambda tx: manifests.delete(tx, APP, pushed, SYSTEM))

    assert await listings.tags(held.db, APP, "", 10) == ["v1"]


async def test_a_tag_that_no_rule_names_moves(held: Held) -> None:
    await keep(held, "v*")
    await held.push(APP, b"one", tag="latest")

    second = await held.push(APP, b"two", tag="latest")

    assert (await manifests.get(held.db, APP, LATEST)).digest == second


# --- trash ----------------------------------------------------------------------------------------------------


async def test_what_was_deleted_comes_back_with_its_tags_and_signature(held: Held) -> None:
    pushed = await held.push(APP, b"one", tag="latest")
    await held.upload(APP, b"signature")
    signed = await held.put(APP, b"signature", subject=pushed)
    await held.change(lambda tx: manifests.delete(tx, APP, pushed, SYSTEM))
    with pytest.raises(BlobUnknown):
        await blobs.get(held.db, APP, Digest.of(b"one"))

    await held.change(lambda tx: trash.restore(tx, APP, pushed, SYSTEM))

    assert (await manifests.get(held.db, APP, LATEST)).digest == pushed
    assert (await manifests.get(held.db, APP, signed)).digest == signed
    assert (await blobs.get(held.db, APP, Digest.of(b"one"))).size == 3
    assert await is_clean(held)


async def test_a_name_that_was_taken_meanwhile_stays_with_its_new_manifest(held: Held) -> None:
    first = await held.push(APP, b"one", tag="latest")
    await held.change(lambda tx: manifests.delete(tx, APP, first, SYSTEM))
    second = await held.push(APP, b"two", tag="latest")

    await held.change(lambda tx: trash.restore(tx, APP, first, SYSTEM))

    assert (await manifests.get(held.db, APP, LATEST)).digest == second
    assert (await manifests.get(held.db, APP, first)).digest == first


async def test_a_push_of_what_is_in_the_trash_brings_it_back(held: Held) -> None:
    pushed = await held.push(APP, b"one", tag="latest")
    await held.change(lambda tx: manifests.delete(tx, APP, pushed, SYSTEM))

    await held.put(APP, b"one", tag="again")

    assert (await manifests.get(held.db, APP, Tag("again"))).digest == pushed
    assert await is_clean(held)


async def test_trash_past_its_window_cannot_be_restored(held: Held) -> None:
    pushed = await held.push(APP, b"one", tag="latest")
    await held.change(lambda tx: manifests.delete(tx, APP, pushed, SYSTEM))
    held.clock.at += 8 * DAY
    await collection.collect(held.db, held.store, longest_request=0, margin=0)

    with pytest.raises(ManifestUnknown):
        await held.change(lambda tx: trash.restore(tx, APP, pushed, SYSTEM))

    assert await is_clean(held)


async def test_a_blob_of_a_live_manifest_is_not_deleted(held: Held) -> None:
    pushed = await held.push(APP, b"one", tag="latest")

    with pytest.raises(StillReferenced, match=str(pushed)):
        await held.change(lambda tx: blobs.delete(tx, APP, Digest.of(b"one"), SYSTEM))
