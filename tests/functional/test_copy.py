"""A copy of a running registry starts elsewhere, and is whole."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from moorage.cloud import provisioning
from moorage.db import Statement
from moorage.db.sqlite import SqliteDatabase
from moorage.db.tables import metadata
from moorage.identity.passwords import Passwords
from moorage.oci import names
from moorage.oci.digests import Digest
from moorage.oci.manifests import parse
from moorage.oci.names import RepositoryName
from moorage.registry import copying, manifests
from moorage.registry.copying import CopyDamaged
from moorage.registry.events import SYSTEM
from moorage.registry.uploads import Uploads
from moorage.storage import BlobStore, Key, open_store
from moorage.storage.memory import BytesSource

NAME = RepositoryName.parse("library/app")
LAYER = b"a layer of some bytes" * 1000
DAY = 86_400_000_000


async def _registry(path: Path) -> SqliteDatabase:
    db = await SqliteDatabase.open(path, 1, create=True)
    await provisioning.ensure_content(db, Passwords(), provisioning.PLANS["LOCAL"], creates_projects=True)
    return db


async def _push(db: SqliteDatabase, store: BlobStore) -> Digest:
    uploads = Uploads(db, store, DAY, 1 << 40)
    begun = await uploads.begin(NAME, "user:1")
    layer = Digest.of(LAYER)
    await uploads.finish(await uploads.append(begun, BytesSource(LAYER)), layer, SYSTEM)
    await uploads.begin(NAME, "user:1")
    config = f'{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{layer}","size":{len(LAYER)}}}'
    body = f'{{"schemaVersion":2,"config":{config},"layers":[]}}'.encode()
    read = parse(body, "application/vnd.oci.image.manifest.v1+json")
    digest = Digest.of(body)
    await db.change(lambda tx: manifests.push(tx, NAME, digest, read, body, [names.tag("v1")], SYSTEM))
    return digest


async def test_a_copy_has_every_row_and_every_byte(tmp_path: Path):
    source = await _registry(tmp_path / "source.sqlite")
    store = open_store((tmp_path / "bytes").as_uri()).under("here")
    digest = await _push(source, store)
    target = await SqliteDatabase.open(tmp_path / "target.sqlite", 1, create=True)
    other = open_store((tmp_path / "others").as_uri()).under("here")

    await copying.rows(source, target)
    blobs, total = await copying.content(target, store, other)

    assert (blobs, total) == (1, len(LAYER))
    assert (await manifests.get(target, NAME, names.tag("v1"))).digest == digest
    for table in metadata.sorted_tables:
        count = Statement(select(func.count().label("n")).select_from(table))
        there, copied = await source.one(count), await target.one(count)
        assert there is not None
        assert copied is not None
        assert copied.n == (0 if table.name in copying.LEFT_BEHIND else there.n), table.name
    for db in (source, target):
        await db.close()


async def test_a_cut_copy_goes_on_where_it_was(tmp_path: Path):
    source = await _registry(tmp_path / "source.sqlite")
    store = open_store("memory:").under("here")
    await _push(source, store)
    other = open_store("memory:").under("here")

    await copying.content(source, store, other)
    again = await copying.content(source, store, other)

    assert again == (1, len(LAYER))
    await source.close()


async def test_damaged_bytes_do_not_become_a_copy(tmp_path: Path):
    source = await _registry(tmp_path / "source.sqlite")
    root = tmp_path / "bytes"
    store = open_store(root.as_uri()).under("here")
    await _push(source, store)
    damaged = max(root.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    damaged.chmod(0o600)
    damaged.write_bytes(b"x" * len(LAYER))
    other = open_store("memory:").under("here")

    with pytest.raises(CopyDamaged):
        await copying.content(source, store, other)

    assert await other.size(Key(damaged.name)) is None
    await source.close()
