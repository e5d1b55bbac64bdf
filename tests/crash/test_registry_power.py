"""A loss of power: what was answered 201 is there when all that was not synced is forgotten (invariant 2)."""

from __future__ import annotations

from pathlib import Path

from moorage.cloud import provisioning
from moorage.db import files
from moorage.db.sqlite import SqliteDatabase
from moorage.identity.passwords import Passwords
from moorage.oci.digests import Digest
from moorage.oci.names import RepositoryName
from moorage.registry import blobs
from moorage.registry.events import SYSTEM
from moorage.registry.recount import recount
from moorage.registry.uploads import Uploads
from moorage.storage.memory import BytesSource
from moorage.storage.posix import PosixStore
from tests.servers.forgetful_disk import ForgetfulDisk

NAME = RepositoryName.parse("library/app")
DAY = 86_400_000_000


async def test_every_blob_that_was_answered_for_outlives_a_loss_of_power(tmp_path: Path):
    root = tmp_path / "blobs"
    disk = ForgetfulDisk(root)
    store = PosixStore(root, disk=disk).under("here")
    db = await SqliteDatabase.open(tmp_path / "rows.sqlite", 1, create=True)
    await provisioning.ensure_content(db, Passwords(), provisioning.PLANS["LOCAL"], creates_projects=True)
    uploads = Uploads(db, store, DAY, 1 << 40)
    contents = [b"", b"x", *(bytes([n]) * 100_000 for n in range(30))]
    for content in contents:
        begun = await uploads.begin(NAME, "user:1")
        half = await uploads.append(begun, BytesSource(content[: len(content) // 2]))
        whole = await uploads.append(half, BytesSource(content[len(content) // 2 :]))
        await uploads.finish(whole, Digest.of(content), SYSTEM)
    cut = await uploads.append(await uploads.begin(NAME, "user:1"), BytesSource(b"never finished"))

    disk.lose_power()

    for content in contents:
        kept = await blobs.get(db, NAME, Digest.of(content))
        assert b"".join([piece async for piece in store.read(kept.key, 0, kept.size)]) == content
    assert (await uploads.find(NAME, cut.id, "user:1")).received == 0
    assert await recount(db) == []
    await db.close()
    await store.close()


async def test_rows_are_synced_with_every_commit(tmp_path: Path):
    path = tmp_path / "rows.sqlite"
    db = await SqliteDatabase.open(path, 1, create=True)
    connection = files.connect(path, reads=False)

    synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    journal = connection.execute("PRAGMA journal_mode").fetchone()[0]

    assert (synchronous, journal) == (2, "wal")
    files.close(path, connection)
    await db.close()
