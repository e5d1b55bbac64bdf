"""A world behind the real protocol, where what need wait for nothing is answered at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from moorage.api.forwarded import Proxies
from moorage.api.front import front, nothing_here
from moorage.api.http.limits import Limits
from moorage.api.http.server import Server
from moorage.api.plane import Plane
from moorage.cloud import provisioning
from moorage.db.sqlite import SqliteDatabase
from moorage.oci.digests import Digest
from tests.worlds import ADMIN, PASSWORD, World

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ZONE = "quick.test"
PATH = "/v2/library/app/manifests/v1"


@contextlib.asynccontextmanager
async def serving(world: World, proxies: Proxies | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the world on a port of its own, and give a client of its first registry."""
    app = front(Plane(nothing_here, world.plane.find, world.plane.known), proxies or Proxies(()))
    server = Server(app, limits=Limits(), grace=1)
    task = asyncio.create_task(server.serve([socket.create_server(("127.0.0.1", 0))]))
    await server.up.wait()
    port = server.servers[0].sockets[0].getsockname()[1]
    # By a name of its own: in a cell that tests share, `localhost` means whichever registry came first.
    named = await provisioning.place(
        world.parts.cell, world.entry.name, provisioning.PLANS["LOCAL"], first_port=port, zone=ZONE
    )
    host = provisioning.host_name(named, ZONE)
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"host": host}, timeout=60
    ) as made:
        world.plane.directory.main_port = port
        await world.plane.directory.refresh()
        # Nobody reads it again here as a house does; on a busy machine it would be too old to answer by at once.
        frozen = world.plane.directory.clock()
        world.plane.directory.clock = lambda: frozen
        yield made
    server.stop()
    await task


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the world through the real protocol, with one image in it; the client's token may pull and push."""
    async with serving(world) as made:
        await sign_in(made, ADMIN)
        layer = b"layer"
        pushed = await made.post(f"/v2/library/app/blobs/uploads/?digest={Digest.of(layer)}", content=layer)
        assert pushed.status_code == 201, pushed.text
        described = {"mediaType": "a/b", "digest": str(Digest.of(layer)), "size": len(layer)}
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": [described]}
        put = await made.put(PATH, json=document, headers={"content-type": MANIFEST})
        assert put.status_code == 201, put.text
        yield made


async def sign_in(client: httpx.AsyncClient, name: str) -> None:
    scope = "/service/token?service=harbor-registry&scope=repository:library/app:pull,push"
    client.headers.pop("authorization", None)
    given = (await client.get(scope, auth=(name, PASSWORD))).json()["token"]
    client.headers["authorization"] = f"Bearer {given}"


@contextlib.contextmanager
def statements(connection: sqlite3.Connection) -> Iterator[list[tuple[str, int]]]:
    """Gather what a connection is asked, and in which thread.

    What a trigger does is told as the very statement that it belongs to, once more.
    """
    seen: list[tuple[str, int]] = []
    last = ""

    def ask(sql: str) -> None:
        nonlocal last
        verb = sql.split(maxsplit=1)[0].upper()
        if sql != last or verb not in {"INSERT", "UPDATE", "DELETE"}:
            seen.append((verb, threading.get_ident()))
        last = sql

    connection.set_trace_callback(ask)
    yield seen
    connection.set_trace_callback(None)


async def database(world: World) -> SqliteDatabase:
    found = (await world.registry()).db
    assert isinstance(found, SqliteDatabase)
    return found
