"""Plans' storage and projects' quotas: a push past them is refused and says why; pulls and deletes go on."""

from __future__ import annotations

import asyncio
import json
import secrets

import httpx
import pytest
from sqlalchemy import bindparam, select, update

from moorage.db import Statement, Tx
from moorage.db.tables import project, registry
from moorage.oci.digests import Digest
from moorage.registry import projects, recount
from tests.worlds import World

EVERY = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-s3"], indirect=True)
WHERE = pytest.mark.parametrize("where", ["registry", "project"])
MANIFEST = "application/vnd.oci.image.manifest.v1+json"

_LIMIT = Statement(update(registry).values(limit_bytes=bindparam("bytes")))
_USED = Statement(select(registry.c.used))
_PROJECT_USED = Statement(select(project.c.used).where(project.c.name == bindparam("name")))


async def limit(world: World, where: str, size: int) -> None:
    """Let the registry, or its project ``library``, store no more than *size*."""
    db = (await world.registry()).db
    if where == "registry":
        await db.write(_LIMIT, bytes=size)
        return

    async def work(tx: Tx) -> None:
        found = await projects.find(tx, "library")
        assert found is not None
        await projects.set_limit(tx, found, size)

    await db.change(work)


async def used(world: World, name: str | None = None) -> int:
    db = (await world.registry()).db
    row = await (db.one(_USED) if name is None else db.one(_PROJECT_USED, name=name))
    assert row is not None
    return int(row.used)


async def is_counted_right(world: World) -> bool:
    return not await recount.recount((await world.registry()).db)


async def push_blob(world: World, data: bytes, repository: str = "library/a") -> httpx.Response:
    path = f"/v2/{repository}/blobs/uploads/?digest={Digest.of(data)}"
    return await world.client.post(path, content=data, headers={"content-type": "application/octet-stream"})


async def push_manifest(world: World, tag: str, *layers: bytes) -> httpx.Response:
    """Push a manifest that names blobs of ``library/a``."""
    described = [
        {"mediaType": "application/octet-stream", "digest": str(Digest.of(one)), "size": len(one)}
        for one in layers
    ]
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
    path = f"/v2/library/a/manifests/{tag}"
    return await world.client.put(path, content=json.dumps(body), headers={"content-type": MANIFEST})


def assert_refused(answer: httpx.Response, where: str, size: int) -> None:
    """See that a refusal tells rule, value and remedy."""
    assert answer.status_code == 403, answer.text
    error = answer.json()["errors"][0]
    assert error["code"] == "DENIED"
    assert {"registry": "this registry's plan", "project": "project library"}[where] in error["message"]
    assert f"limit of {size} bytes" in error["message"]
    assert "delete what is no longer needed" in error["message"]


@EVERY
@WHERE
async def test_a_blob_that_cannot_fit_is_refused_by_its_announced_length(world: World, where: str):
    await limit(world, where, 100)

    answer = await push_blob(world, bytes(101))

    assert_refused(answer, where, 100)
    assert await used(world) == 0
    assert (await push_blob(world, bytes(100))).status_code == 201
    assert await is_counted_right(world)


@EVERY
@WHERE
async def test_a_blob_is_refused_when_it_is_finished_if_it_no_longer_fits(world: World, where: str):
    data = bytes(100)
    begun = await world.client.post("/v2/library/a/blobs/uploads/")
    assert (await world.client.patch(begun.headers["location"], content=data)).status_code == 202
    await limit(world, where, 99)

    answer = await world.client.put(begun.headers["location"], params={"digest": str(Digest.of(data))})

    assert_refused(answer, where, 99)
    assert await used(world) == 0
    assert await is_counted_right(world)


@EVERY
@WHERE
async def test_a_manifest_that_does_not_fit_is_refused(world: World, where: str):
    assert (await push_blob(world, b"{}")).status_code == 201
    await limit(world, where, 10)

    answer = await push_manifest(world, "late", b"{}")

    assert_refused(answer, where, 10)
    assert (await world.client.get("/v2/library/a/manifests/late")).status_code == 404
    assert await is_counted_right(world)


@EVERY
@WHERE
async def test_at_twice_the_limit_pulls_and_deletes_go_on(world: World, where: str):
    config, layer = b"{}", secrets.token_bytes(1000)
    assert (await push_blob(world, config)).status_code == 201
    assert (await push_blob(world, layer)).status_code == 201
    pushed = await push_manifest(world, "kept", config, layer)
    assert pushed.status_code == 201
    size = await used(world) // 2
    await limit(world, where, size)

    refused = await push_blob(world, b"one more")
    pulled = await world.client.get(f"/v2/library/a/blobs/{Digest.of(layer)}", follow_redirects=True)
    manifest = await world.client.get("/v2/library/a/manifests/kept")
    again = await push_manifest(world, "kept", config, layer)
    deleted = await world.client.delete(f"/v2/library/a/manifests/{pushed.headers['docker-content-digest']}")

    assert_refused(refused, where, size)
    assert pulled.content == layer
    assert manifest.status_code == 200
    assert again.status_code == 201
    assert deleted.status_code == 202
    assert await is_counted_right(world)


@EVERY
@WHERE
async def test_uploads_at_once_do_not_race_past_the_limit(world: World, where: str):
    blobs = [secrets.token_bytes(1000) for _ in range(32)]
    await limit(world, where, 10_500)
    # Signing in with a password, many at once, has a limit of its own.
    await world.client.get("/v2/")

    answers = await asyncio.gather(*(push_blob(world, one) for one in blobs))

    came = sum(answer.status_code == 201 for answer in answers)
    assert 1 <= came <= 10
    assert {answer.status_code for answer in answers} == {201, 403}
    assert await used(world) == came * 1000
    assert await is_counted_right(world)


@EVERY
async def test_uploads_in_chunks_do_not_race_past_the_limit(world: World):
    blobs = [secrets.token_bytes(1000) for _ in range(32)]
    await limit(world, "registry", 10_500)
    await world.client.get("/v2/")

    async def push(data: bytes) -> int:
        begun = await world.client.post("/v2/library/a/blobs/uploads/")
        sent = await world.client.patch(begun.headers["location"], content=data)
        if sent.status_code != 202:
            return sent.status_code
        at = sent.headers["location"]
        return (await world.client.put(at, params={"digest": str(Digest.of(data))})).status_code

    answers = await asyncio.gather(*(push(one) for one in blobs))

    assert set(answers) <= {201, 403}
    assert await used(world) == answers.count(201) * 1000 <= 10_500
    assert await is_counted_right(world)


@EVERY
async def test_a_mounted_blob_counts_once_a_project_and_once_a_registry(world: World):
    data = secrets.token_bytes(1000)
    await world.add_project("second")
    assert (await push_blob(world, data)).status_code == 201

    for target in ("library/b", "second/a", "second/b"):
        query = {"mount": str(Digest.of(data)), "from": "library/a"}
        mounted = await world.client.post(f"/v2/{target}/blobs/uploads/", params=query)
        assert mounted.status_code == 201

    assert [await used(world), await used(world, "library"), await used(world, "second")] == [1000] * 3
    assert await is_counted_right(world)
