"""Sizes at and past the borders of 31 and 32 bits, and far beyond, on both engines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import bindparam, select, update

from moorage.db import Statement
from moorage.db import tables as t
from moorage.oci.digests import Digest
from tests.conformance.site import Site, descriptor, digest_of
from tests.worlds import World

SIZES = [(1 << 31) - 1, 1 << 31, (1 << 31) + 1, 1 << 32, 1 << 40, 10 * (1 << 40) + 1]
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
ON_DISK = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)
GROW = Statement(update(t.blob).where(t.blob.c.digest == bindparam("digest")).values(size=bindparam("size")))
KEY = Statement(select(t.blob.c.key).where(t.blob.c.digest == bindparam("digest")))


@pytest.mark.parametrize("world", ["sqlite-posix", "postgres-s3"], indirect=True)
@pytest.mark.parametrize("size", SIZES)
async def test_a_manifest_may_tell_of_any_size(world: World, size: int):
    site = Site(world.client)
    foreign = {**descriptor(FOREIGN, b"elsewhere"), "size": size, "urls": ["https://example.com/layer"]}
    child = {**descriptor("application/vnd.oci.image.manifest.v1+json", b"absent"), "size": size}

    image = await site.push_image("v1", layers=[foreign, foreign])
    index = await site.push_index((str(child["digest"]), size), reference="all")

    assert (await site.get(f"manifests/{image}")).json()["layers"][1]["size"] == size
    assert (await site.get(f"manifests/{index}")).json()["manifests"][0]["size"] == size


async def _grown(world: World, tmp_path: Path, size: int) -> tuple[Site, str]:
    """Push a blob and have it grown to a *size*, with a hole for most of it, in row and file."""
    site, digest = Site(world.client), digest_of(b"begins")
    await site.push_blob(b"begins")
    registry = await world.registry()
    raw = Digest.parse(digest).raw
    key = (await registry.db.one(KEY, digest=raw)).key
    (path,) = (tmp_path / "blobs").rglob(key)
    path.chmod(0o600)
    os.truncate(path, size - 4)
    with path.open("ab") as file:
        file.write(b"ends")
    await registry.db.write(GROW, digest=raw, size=size)
    return site, f"blobs/{digest}"


@ON_DISK
@pytest.mark.parametrize("size", SIZES[:4])
async def test_the_last_bytes_of_a_large_blob_are_what_a_range_gives(world: World, tmp_path: Path, size: int):
    site, blob = await _grown(world, tmp_path, size)

    head = await site.ask("HEAD", blob)
    last = await site.get(blob, headers={"range": f"bytes={size - 4}-"})
    suffix = await site.get(blob, headers={"range": "bytes=-2"})
    beyond = await site.get(blob, headers={"range": f"bytes={size}-"})

    assert int(head.headers["content-length"]) == size
    assert (last.status_code, last.content) == (206, b"ends")
    assert last.headers["content-range"] == f"bytes {size - 4}-{size - 1}/{size}"
    assert (suffix.status_code, suffix.content) == (206, b"ds")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
