"""The cases once more over sockets: what is in front of the application may not change what it says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from moorage import parts
from moorage.api.http.limits import Limits
from moorage.api.http.server import Server
from tests.conformance import test_endpoints
from tests.conformance.site import CASES, Case, Site, digest_of
from tests.worlds import ADMIN, MASTER_KEY, PASSWORD, opened


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a registry on a socket, and give a client that keeps one connection."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    place = parts.Place(tmp_path, "", (tmp_path / "blobs").as_uri(), MASTER_KEY)
    async with opened(place, REGISTRY_PORT=str(port)) as world:
        server = Server(world.app, limits=Limits(), grace=0)
        serving = asyncio.create_task(server.serve([listening]))
        await server.up.wait()
        one = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(
            base_url=f"http://localhost:{port}", auth=(ADMIN, PASSWORD), limits=one, timeout=60
        ) as talking:
            yield talking
        server.stop()
        await serving


@pytest.mark.parametrize("case", [pytest.param(one, id=f"{id_}-{one.__name__}") for id_, one in CASES])
async def test_the_registry_answers_over_a_socket_as_the_spec_says(client: httpx.AsyncClient, case: Case):
    assert test_endpoints.ALL

    await case(Site(client))


@pytest.mark.parametrize("reference", ["v1", "digest"])
async def test_a_path_that_was_just_pulled_is_deleted_and_pushed_all_the_same(
    client: httpx.AsyncClient, reference: str
):
    scope = "repository:library/app:pull,push,delete"
    given = await client.get("/service/token", params={"service": "harbor-registry", "scope": scope})
    client.auth = httpx.Auth()
    client.headers["authorization"] = f"Bearer {given.json()['token']}"
    site = Site(client)
    digest = await site.push_image("v1")
    named = digest if reference == "digest" else reference
    for _ in range(3):
        await site.get(f"manifests/{named}")

    refused = await site.ask("PUT", f"manifests/{named}")
    deleted = await site.ask("DELETE", f"manifests/{named}")

    assert (refused.status_code, deleted.status_code) == (400, 202)
    assert (await site.get(f"manifests/{named}")).status_code == 404
    assert digest != digest_of(b"")
