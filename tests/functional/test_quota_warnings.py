"""A push that nearly fills a limit is told so in a Warning header; one that passes it is refused."""

import json

from moorage.db import Tx
from moorage.oci.digests import Digest
from moorage.registry import projects
from tests.worlds import World

TYPE = "application/vnd.oci.image.manifest.v1+json"


async def _push(world: World, content: bytes, tag: str) -> str:
    digest = Digest.of(content)
    answer = await world.client.post(f"/v2/library/app/blobs/uploads/?digest={digest}", content=content)
    if answer.status_code != 201:
        return str(answer.json()["errors"][0]["message"])
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(digest), "size": len(content)}
    body = json.dumps({"schemaVersion": 2, "mediaType": TYPE, "config": config, "layers": []}).encode()
    pushed = await world.client.put(
        f"/v2/library/app/manifests/{tag}", content=body, headers={"content-type": TYPE}
    )
    assert pushed.status_code == 201
    return str(pushed.headers.get("warning", ""))


async def _limit(world: World, size: int) -> None:
    registry = await world.plane.registries.get(world.entry)

    async def work(tx: Tx) -> None:
        found = await projects.find(tx, "library")
        assert found is not None
        await projects.set_limit(tx, found, size)

    await registry.db.change(work)


async def test_a_push_is_told_how_full_its_project_is(world: World):
    await _limit(world, 10_000)

    easy = await _push(world, b"a" * 1000, "a")
    nearly = await _push(world, b"b" * 7000, "b")
    refused = await _push(world, b"c" * 7000, "c")

    assert easy == ""
    assert "the quota of project library is 80 % used" in nearly
    assert "will exceed the configured upper limit of 10000 bytes" in refused
