"""Clients behind nginx and HAProxy, set up as docs/how-to/tls-and-proxies.md shows: none chooses who it is taken for."""

from __future__ import annotations

import ipaddress

import httpx
import pytest

from moorage.api.forwarded import Proxies
from moorage.oci.digests import Digest
from tests.functional.quick_world import serving
from tests.servers.proxies import PROXIES, proxy
from tests.worlds import ADMIN, PASSWORD, World

pytestmark = [
    pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True),
    pytest.mark.parametrize("name", PROXIES),
]

TRUSTED = Proxies((ipaddress.ip_network("127.0.0.1/32"),))
CLIENT = "127.0.0.2"
SPOOFED = {
    "Forwarded": "for=6.6.6.6;proto=https;host=evil.example",
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
}


def client_of(address: str) -> httpx.AsyncClient:
    """Give a client with an address of its own, which no operator trusts."""
    return httpx.AsyncClient(
        base_url=address,
        headers={"Host": "localhost"},
        timeout=60,
        transport=httpx.AsyncHTTPTransport(local_address=CLIENT),
    )


@pytest.mark.parametrize("blanking", [True, False])
async def test_what_a_client_says_of_itself_changes_nothing(
    world: World, name: str, *, blanking: bool
) -> None:
    async with serving(world, TRUSTED) as direct:
        with proxy(name, direct.base_url.port or 0, blanking=blanking) as address:
            async with client_of(address) as client:
                asked = await client.get("/v2/", headers=SPOOFED)
                refused = await client.get("/v2/", headers=SPOOFED, auth=(ADMIN, "wrong"))

    assert (asked.status_code, refused.status_code) == (401, 401)
    assert asked.headers["www-authenticate"].startswith('Bearer realm="http://localhost/service/token"')
    assert {seen.address for seen in (await world.registry()).gathered._fresh} == {CLIENT}


async def test_a_blob_passes_both_ways(world: World, name: str) -> None:
    blob = bytes(3_000_000)
    async with serving(world, TRUSTED) as direct:
        with proxy(name, direct.base_url.port or 0) as address:
            async with client_of(address) as client:
                client.auth = httpx.BasicAuth(ADMIN, PASSWORD)
                begun = await client.post("/v2/library/app/blobs/uploads/")
                put = await client.put(
                    begun.headers["location"], params={"digest": str(Digest.of(blob))}, content=blob
                )
                pulled = await client.get(put.headers["location"])

    assert (put.status_code, pulled.content == blob) == (201, True)
