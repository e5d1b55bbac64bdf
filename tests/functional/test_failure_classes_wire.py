"""How other registries failed, tried on this one through its wire; see docs/explanation/failure-classes.md."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from moorage import parts
from moorage.registry.recount import recount
from tests.conformance.site import Site, digest_of
from tests.servers.postgres import PostgresServer
from tests.worlds import MASTER_KEY, World, opened

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PUSHES = 500
APPLICATIONS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)
async def test_class_11_five_hundred_pushes_at_once_to_one_project_all_succeed(world: World) -> None:
    """Every push has its own client, repository and layer, and all of them one project and its count."""

    async def push(number: int) -> set[int]:
        site, layer = Site(world.client, f"library/app-{number}"), b"layer %d" % number
        described = {"mediaType": "a/b", "digest": digest_of(layer), "size": len(layer)}
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": [described]}
        sent = await site.ask("POST", "blobs/uploads/", params={"digest": digest_of(layer)}, content=layer)
        return {sent.status_code, (await site.push(document, "v1")).status_code}

    answers = await asyncio.gather(*(push(number) for number in range(PUSHES)))

    assert set().union(*answers) == {201}
    assert await recount((await world.registry()).db) == []


async def test_class_22_a_cold_start_under_load_takes_no_more_connections_than_are_set(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    url = await asyncio.to_thread(postgres_server.cell)
    place = parts.Place(tmp_path, url, (tmp_path / "blobs").as_uri(), MASTER_KEY, connections=3)
    async with opened(place) as world:
        site = Site(world.client)
        await site.push_image("v1")
        await world.plane.registries.close()
        asked = [asyncio.create_task(site.get("manifests/v1")) for _ in range(300)]
        watching = await asyncpg.connect(url)
        most = 0
        while not all(one.done() for one in asked):
            most = max(most, await watching.fetchval(APPLICATIONS))
        await watching.close()

    assert {one.result().status_code for one in asked} == {200}
    # One more hears of changed rights.
    assert 0 < most <= 3 + 1


async def test_a_blob_that_is_unlinked_is_gone_for_whoever_had_it_warm(world: World) -> None:
    site, digest = Site(world.client), digest_of(b"bytes")
    await site.push_blob(b"bytes")
    for _ in range(4):
        assert (await site.get(f"blobs/{digest}")).content == b"bytes"

    deleted = await site.ask("DELETE", f"blobs/{digest}")

    assert deleted.status_code == 202
    after = [await site.ask(method, f"blobs/{digest}") for method in ("GET", "HEAD")]
    mounted = await world.client.post(f"/v2/library/other/blobs/uploads/?mount={digest}&from=library/app")
    assert [answer.status_code for answer in after] == [404, 404]
    assert mounted.status_code == 202
