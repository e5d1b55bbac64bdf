"""Clients that go away in the middle of a push: whoever answers lets go of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.functional.http_world import MIB
from tests.functional.quick_world import client

__all__ = ["client"]

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-s3"], indirect=True)

LENGTH = b"Content-Length: %d\r\n" % (3 * MIB)
# States of a socket, as the kernel numbers them.
ESTABLISHED, CLOSE_WAIT, LAST_ACK = "01", "08", "09"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture
def head(client: httpx.AsyncClient) -> bytes:
    """Give what each request begins with, after the first line."""
    return "Host: {host}\r\nAuthorization: {authorization}\r\n".format(**client.headers).encode()


def connections(port: int) -> int:
    """Count the sockets that the server has of its clients, those that its clients have closed included."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(
        line[1].endswith(f":{port:04X}") and line[3] in {ESTABLISHED, CLOSE_WAIT, LAST_ACK} for line in lines
    )


async def until_gone(port: int, before: int) -> None:
    async with asyncio.timeout(60):
        while connections(port) > before:
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
    port = client.base_url.port or 0
    before = connections(port)

    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        body = bytes(MIB) if coding == LENGTH else b"%x\r\n" % MIB + bytes(MIB)
        writer.write(f"{method} {path} HTTP/1.1\r\n".encode() + head + coding + b"\r\n" + body)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()

    await until_gone(port, before)
