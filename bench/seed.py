"""Grow a registry in bulk: `python -m bench.seed DATA [REPOSITORIES MANIFESTS TAGS]`, on a prepared data folder.

The first repository, bench/first, gets a tenth of everything, and half of its manifests refer to the one tagged
`subject`. What was written is listed in DATA/seeded.txt as repository:tag. All names are of one length, so that a page
of a large registry holds as many bytes as a small one's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import bindparam, update

from moorage.cloud import provisioning
from moorage.db import Database, Statement, Tx, insert
from moorage.db.tables import blob, manifest, manifest_blob, repository_blob, tag
from moorage.oci.digests import Digest
from moorage.oci.names import RepositoryName
from moorage.parts import Place as Home
from moorage.parts import opened
from moorage.registry import links, repositories
from moorage.registry.quotas import Account, Place
from moorage.storage import BlobStore, new_key
from moorage.storage.hashing import Hasher

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SIGNATURE = "application/vnd.example.signature"
LAYERS = 3
PADDING = 1300

_ADD_BLOB = Statement(
    insert(blob)
    .values(
        digest=bindparam("digest"), size=bindparam("size"), key=bindparam("key"), created_at=bindparam("at")
    )
    .returning(blob.c.id)
)
_ADD_MANIFEST = Statement(
    insert(manifest)
    .values(
        repository_id=bindparam("repository"),
        digest=bindparam("digest"),
        media_type=OCI_MANIFEST,
        artifact_type=bindparam("type"),
        subject=bindparam("subject"),
        size=bindparam("size"),
        content_size=bindparam("content"),
        pushed_at=bindparam("at"),
        body=bindparam("body"),
    )
    .returning(manifest.c.id)
)
_ADD_LINKS = Statement(
    insert(manifest_blob).values(
        manifest_id=bindparam("manifest"), blob_id=bindparam("blob"), repository_id=bindparam("repository")
    )
)
_ADD_TAGS = Statement(
    insert(tag).values(
        repository_id=bindparam("repository"),
        name=bindparam("name"),
        manifest_id=bindparam("manifest"),
        start_at=bindparam("at"),
    )
)
# The links were just promised, so they count as live already.
_NAME = Statement(
    update(repository_blob)
    .where(
        repository_blob.c.repository_id == bindparam("repository"),
        repository_blob.c.blob_id == bindparam("blob"),
    )
    .values(refs=repository_blob.c.refs + bindparam("more"), held=0, review_at=None)
)


class Bytes:
    """Some bytes, as a store takes them."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    async def drain(self, consume: Callable[[memoryview], None]) -> int:
        """Hand them over."""
        consume(memoryview(self.content))
        return len(self.content)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give them."""
        yield self.content


@dataclass(frozen=True, slots=True)
class Layer:
    """A blob that is stored."""

    id: int
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Shape:
    """One repository to be: its name, and how many of what."""

    name: str
    manifests: int
    tags: int
    refer: bool


def shapes(count: int, manifests: int, tags: int) -> Iterator[Shape]:
    """Give the first repository a tenth, and share the rest."""
    first = Shape("bench/first", max(2, manifests // 10), max(3, tags // 10), refer=True)
    yield first
    left_manifests, left_tags = manifests - first.manifests, tags - first.tags
    for number in range(1, count):
        left = count - number
        mine = Shape(f"bench/app-{number:04}", left_manifests // left, left_tags // left, refer=False)
        left_manifests, left_tags = left_manifests - mine.manifests, left_tags - mine.tags
        yield mine


async def seed(data: Path, count: int, manifests: int, tags: int) -> None:
    """Write it all, a repository a turn."""
    home = Home(data, "", (data / "blobs").as_uri(), "")
    async with opened(home) as parts:
        entry = (await provisioning.listed(parts.cell))[0]
        db = await parts.open_database(entry)
        try:
            layers = await layers_of(db, parts.store.under(entry.prefix))
            with (data / "seeded.txt").open("w") as listed:
                for shape in shapes(count, manifests, tags):
                    names = await db.change(partial(repository_of, shape=shape, layers=layers))
                    listed.writelines(f"{shape.name}:{name}\n" for name in names)
        finally:
            await db.close()


async def layers_of(db: Database, store: BlobStore) -> list[Layer]:
    """Store the few blobs that all that is seeded is made of."""
    layers = []
    for _ in range(LAYERS):
        content, key = os.urandom(4096), new_key()
        await store.write(key, 0, Bytes(content), Hasher(), limit=len(content))
        await store.commit([key], key)
        digest = Digest.of(content)

        async def work(tx: Tx, digest: Digest = digest, key: str = key) -> int:
            row = await tx.one(_ADD_BLOB, digest=digest.raw, size=4096, key=key, at=tx.at)
            made: int = row.id
            return made

        layers.append(Layer(await db.change(work), digest, len(content)))
    return layers


async def repository_of(tx: Tx, shape: Shape, layers: list[Layer]) -> list[str]:
    """Make one repository with all it holds, as pushes would have left it; give its tags."""
    home = await repositories.ensure(tx, RepositoryName.parse(shape.name), creates_project=True)
    account = Account(tx, home.project_id)
    for layer in layers:
        await links.hold(tx, account, home, layer.id)
    made: list[int] = []
    subject: Digest | None = None
    for number in range(shape.manifests):
        refers = subject if shape.refer and number % 2 else None
        body = _body(shape.name, number, layers, refers)
        digest = Digest("sha256", hashlib.sha256(body).hexdigest())
        row = await tx.one(
            _ADD_MANIFEST,
            repository=home.id,
            digest=digest.raw,
            type=SIGNATURE if refers else "",
            subject=refers.raw if refers else None,
            size=len(body),
            content=sum(layer.size for layer in layers),
            at=tx.at,
            body=body,
        )
        subject = subject or digest
        made.append(row.id)
        account.body(len(body), Place.ABSENT, Place.USED)
    await tx.many(
        _ADD_LINKS,
        [{"manifest": one, "blob": layer.id, "repository": home.id} for one in made for layer in layers],
    )
    for layer in layers:
        await tx.run(_NAME, repository=home.id, blob=layer.id, more=len(made))
    tags = ["subject", *(f"tag-{number:06}" for number in range(1, shape.tags))]
    await tx.many(
        _ADD_TAGS,
        [
            {"repository": home.id, "name": name, "manifest": made[number % len(made)], "at": tx.at}
            for number, name in enumerate(tags)
        ],
    )
    await account.settle()
    return tags


def _body(name: str, number: int, layers: list[Layer], subject: Digest | None) -> bytes:
    described = [
        {"mediaType": "application/octet-stream", "digest": str(layer.digest), "size": layer.size}
        for layer in layers
    ]
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": described[0],
        "layers": described[1:],
        "annotations": {"org.example.name": f"{name}#{number:06}", "org.example.padding": "x" * PADDING},
    }
    if subject is not None:
        document["artifactType"] = SIGNATURE
        document["subject"] = {"mediaType": OCI_MANIFEST, "digest": str(subject), "size": PADDING}
    return json.dumps(document).encode()


if __name__ == "__main__":
    folder, *counts = sys.argv[1:]
    wanted = [int(count) for count in counts] or [1_000, 100_000, 300_000]
    asyncio.run(seed(Path(folder), *wanted))
