"""Clients that go away in the middle of a push: whoever answers lets go of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.functional.http_world import MIB, descriptors
from tests.functional.quick_world import client
from tests.worlds import World

__all__ = ["client"]

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-s3"], indirect=True)

LENGTH = b"Content-Length: %d\r\n" % (3 * MIB)
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture
async def head(world: World, client: httpx.AsyncClient) -> AsyncIterator[bytes]:
    """Give what each request begins with, after the first line."""
    del world
    return b"Host: localhost\r\nAuthorization: %b\r\n" % client.headers["authorization"].encode()


async def until_gone(before: set[str]) -> None:
    async with asyncio.timeout(30):
        while len(descriptors()) > len(before):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("coding", [LENGTH, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("whole", [False, True], ids=["patch", "post"])
async def test_a_client_that_dies_in_an_upload_leaves_no_descriptor(
    client: httpx.AsyncClient, head: bytes, coding: bytes, *, whole: bool
) -> None:
    path = "/v2/library/app/blobs/uploads/"
    method = "POST"
    if whole:
        path += "?digest=sha256:" + "0" * 64
    else:
        begun = await client.post(path)
        method, path = "PATCH", begun.headers["location"]
    await client.get("/v2/")
    before = descriptors()

    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        body = bytes(MIB) if coding == LENGTH else b"%x\r\n" % MIB + bytes(MIB)
        writer.write(f"{method} {path} HTTP/1.1\r\n".encode() + head + coding + b"\r\n" + body)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()

    await until_gone(before)
