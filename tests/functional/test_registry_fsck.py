"""The check of a live registry: what it finds, what it mends, and what it leaves alone."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, delete, update

from moorage.db import Statement
from moorage.db.tables import manifest, project, project_blob, registry, repository_blob
from moorage.oci.digests import Digest
from moorage.registry import collection, fsck, manifests
from moorage.registry.events import SYSTEM
from moorage.registry.fsck import Report
from moorage.storage import Key, new_key
from moorage.storage.memory import BytesSource
from tests.functional.registry_world import APP, DAY, Held, held

__all__ = ["held"]

BREAK_REFS = Statement(update(repository_blob).values(refs=7, held=0, review_at=None))
BREAK_LINKS = Statement(delete(project_blob))
BREAK_PROJECT = Statement(update(project).values(used=1, trash=2))
BREAK_REGISTRY = Statement(update(registry).values(used=5))
BREAK_LOOSE = Statement(update(manifest).values(loose_since=3))
BREAK_TRASH = Statement(update(manifest).where(manifest.c.digest == bindparam("which")).values(deleted_at=5))


def kinds(report: Report) -> set[str]:
    return {one.kind for one in report.findings}


async def test_a_registry_at_work_is_clean(held: Held) -> None:
    await held.push(APP, b"one", b"two", tag="latest")
    gone = await held.push(APP, b"two", b"three", tag="old")
    await held.change(lambda tx: manifests.delete(tx, APP, gone, SYSTEM))

    report = await fsck.check(held.db, held.store, digests=True)

    assert report.findings == ()
    # The fourth key is the second upload of the same bytes, which is doomed.
    assert (report.blobs, report.keys) == (3, 4)


async def test_counts_that_are_wrong_are_found_and_mended(held: Held) -> None:
    await held.push(APP, b"one", b"two", tag="latest")
    for statement in (BREAK_REFS, BREAK_LINKS, BREAK_PROJECT, BREAK_REGISTRY, BREAK_LOOSE):
        await held.db.write(statement)

    report = await fsck.check(held.db, held.store, repair=True)
    again = await fsck.check(held.db, held.store)

    assert kinds(report) == {"refs", "project_blob", "project", "registry", "loose"}
    assert report.left == ()
    assert again.findings == ()


async def test_a_tagged_manifest_in_the_trash_is_taken_out_of_it(held: Held) -> None:
    pushed = await held.push(APP, b"one", tag="latest")
    await held.db.write(BREAK_TRASH, which=pushed.raw)

    report = await fsck.check(held.db, held.store, repair=True)

    assert "tag" in kinds(report)
    assert (await manifests.get(held.db, APP, pushed)).digest == pushed
    assert (await fsck.check(held.db, held.store)).findings == ()


async def test_a_blob_without_its_bytes_is_reported_with_the_manifests_it_hurts(held: Held) -> None:
    pushed = await held.push(APP, b"one", tag="latest")
    (stored,) = [one async for one in held.store.list()]
    await held.store.delete(stored.key)

    report = await fsck.check(held.db, held.store, repair=True)

    (found,) = report.left
    assert (found.kind, found.found) == ("bytes", "nothing")
    assert f"{APP}@{pushed}" in found.what


async def test_changed_bytes_are_found_only_where_digests_are_read_again(held: Held) -> None:
    await held.push(APP, b"one", tag="latest")
    (stored,) = [one async for one in held.store.list()]
    await held.store.delete(stored.key)
    await held.store.write(stored.key, 0, BytesSource(b"oNe"), None, limit=3)

    quick = await fsck.check(held.db, held.store)
    slow = await fsck.check(held.db, held.store, digests=True)

    assert quick.findings == ()
    assert [one.found for one in slow.findings] == [f"bytes of {Digest.of(b'oNe')}"]


async def test_a_key_that_no_row_knows_is_doomed_when_it_is_older_than_a_day(held: Held) -> None:
    key = new_key()
    await held.store.write(key, 0, BytesSource(b"lost"), None, limit=4)
    young = await fsck.check(held.db, held.store, repair=True)
    held.clock.at += 2 * DAY

    old = await fsck.check(held.db, held.store, repair=True)
    again = await fsck.check(held.db, held.store)

    assert young.findings == ()
    assert kinds(old) == {"unknown"}
    assert old.left == ()
    assert again.findings == ()


async def test_bytes_that_the_check_doomed_are_destroyed_after_their_window(held: Held) -> None:
    key = Key(new_key())
    await held.store.write(key, 0, BytesSource(b"lost"), None, limit=4)
    held.clock.at += 2 * DAY
    await fsck.check(held.db, held.store, repair=True)

    await collection.collect(held.db, held.store, longest_request=0, margin=0)
    before = await held.store.size(key)
    held.clock.at += 40 * DAY
    await collection.collect(held.db, held.store, longest_request=0, margin=0)

    assert before == 4
    assert await held.store.size(key) is None


@pytest.mark.parametrize("kind", ["blobs", "keys"])
async def test_it_tells_how_far_it_is(held: Held, kind: str) -> None:
    await held.push(APP, b"one", tag="latest")
    told: dict[str, int] = {}

    await fsck.check(held.db, held.store, told=lambda what, count: told.update({what: count}))

    assert told[kind] == 1
