"""What speed rests on, counted and not timed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from moorage.api.forwarded import Proxies
from moorage.api.front import front, nothing_here
from moorage.api.http.limits import Limits
from moorage.api.http.server import Server
from moorage.api.plane import Plane
from moorage.db import Tx
from moorage.db.sqlite import SqliteDatabase
from moorage.identity import members, users
from moorage.identity.roles import Role
from moorage.oci.digests import Digest
from moorage.oci.names import LIBRARY
from moorage.registry import projects
from tests.worlds import ADMIN, PASSWORD, World

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PATH = "/v2/library/app/manifests/v1"

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the world through the real protocol, with one image in it; the client's token may pull and push."""
    app = front(Plane(nothing_here, world.plane.find, world.plane.known), Proxies(()))
    server = Server(app, limits=Limits(), grace=1)
    serving = asyncio.create_task(server.serve([socket.create_server(("127.0.0.1", 0))]))
    await server.up.wait()
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"host": "localhost"}) as made:
        world.plane.directory.main_port = port
        await world.plane.directory.refresh()
        await _sign_in(made, ADMIN)
        layer = b"layer"
        pushed = await made.post(f"/v2/library/app/blobs/uploads/?digest={Digest.of(layer)}", content=layer)
        assert pushed.status_code == 201, pushed.text
        described = {"mediaType": "a/b", "digest": str(Digest.of(layer)), "size": len(layer)}
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": [described]}
        put = await made.put(PATH, json=document, headers={"content-type": MANIFEST})
        assert put.status_code == 201, put.text
        yield made
    server.stop()
    await serving


async def _sign_in(client: httpx.AsyncClient, name: str) -> None:
    scope = "/service/token?service=harbor-registry&scope=repository:library/app:pull,push"
    client.headers.pop("authorization", None)
    given = (await client.get(scope, auth=(name, PASSWORD))).json()["token"]
    client.headers["authorization"] = f"Bearer {given}"


@contextlib.contextmanager
def statements(connection: sqlite3.Connection) -> Iterator[list[tuple[str, int]]]:
    """Gather what a connection is asked, and in which thread."""
    seen: list[tuple[str, int]] = []
    connection.set_trace_callback(lambda sql: seen.append((sql.split()[0].upper(), threading.get_ident())))
    yield seen
    connection.set_trace_callback(None)


async def database(world: World) -> SqliteDatabase:
    found = (await world.registry()).db
    assert isinstance(found, SqliteDatabase)
    return found


async def test_a_manifest_is_pulled_by_one_statement_and_no_thread(world: World, client: httpx.AsyncClient):
    db = await database(world)
    await client.get(PATH)

    with statements(db._reader) as seen:
        answer = await client.get(PATH)

    assert answer.status_code == 200
    assert [kind for kind, _ in seen] == ["PRAGMA", "SELECT"]
    assert {thread for _, thread in seen} == {threading.get_ident()}


async def test_a_pull_that_is_answered_at_once_says_what_any_other_does(client: httpx.AsyncClient):
    first = await client.get(PATH)

    second, third = await client.get(PATH), await client.get(PATH, headers={"connection": "close"})

    ids = {answer.headers.pop("x-request-id") for answer in (first, second, third)}
    del third.headers["connection"]
    assert len(ids) == 3
    assert dict(first.headers) == dict(second.headers) == dict(third.headers)
    assert first.content == second.content == third.content


async def test_a_head_that_is_answered_at_once_has_the_length_and_no_body(client: httpx.AsyncClient):
    whole = await client.get(PATH)

    answers = [await client.head(PATH), await client.get(PATH)]

    assert answers[0].headers["content-length"] == str(len(whole.content))
    assert answers[1].content == whole.content


async def test_every_pull_counts_however_it_was_answered(world: World, client: httpx.AsyncClient):
    registry = await world.registry()
    await registry.pulls.flush()

    for _ in range(5):
        await client.get(PATH)

    assert [count for count, _ in registry.pulls._seen.values()] == [5]


async def test_a_tag_that_moved_is_seen_by_the_next_pull(client: httpx.AsyncClient):
    old = await client.get(PATH)
    document = {**old.json(), "annotations": {"new": "yes"}}

    await client.put(PATH, json=document, headers={"content-type": MANIFEST})

    assert (await client.get(PATH)).json() == document


async def test_a_right_that_was_taken_is_missed_by_the_next_pull(world: World, client: httpx.AsyncClient):
    registry = await world.registry()
    hashed = await world.passwords.hash(PASSWORD)

    async def come(tx: Tx) -> tuple[int, int]:
        home = await projects.find(tx, LIBRARY)
        assert home is not None
        user = await users.create(tx, name="mallory", password=hashed)
        await members.set_user(tx, home.id, user, Role.GUEST)
        return home.id, user

    home, user = await registry.db.change(come)
    await _sign_in(client, "mallory")
    before = [(await client.get(PATH)).status_code for _ in range(3)]

    await registry.db.change(lambda tx: members.remove_user(tx, home, user))

    assert before == [200] * 3
    assert (await client.get(PATH)).status_code == 403


async def test_requests_that_wait_on_a_connection_are_answered_in_their_order(client: httpx.AsyncClient):
    await client.get(PATH)
    port = client.base_url.port
    one = f"GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: {client.headers['authorization']}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    writer.write((one % PATH + one % "/v2/library/app/manifests/none" + one % PATH).encode())

    statuses = []
    for _ in range(3):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
        await reader.readexactly(length)
        statuses.append(head.split()[1])
    writer.close()
    await writer.wait_closed()
    assert statuses == [b"200", b"404", b"200"]


async def test_a_push_takes_no_more_statements_than_it_has_steps(world: World, client: httpx.AsyncClient):
    db = await database(world)
    body = (await client.get(PATH)).json()
    writer = await db._writer.change(_connection, stamped=False)

    with statements(writer) as seen:
        pushed = await client.put(
            "/v2/library/app/manifests/v2",
            json={**body, "annotations": {"n": "2"}},
            headers={"content-type": MANIFEST},
        )

    assert pushed.status_code == 201
    assert len(seen) <= 25


async def _connection(tx: Any) -> Any:
    return tx._connection
