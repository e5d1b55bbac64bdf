"""What speed rests on, counted and not timed."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from moorage.db import Tx
from moorage.identity import members, users
from moorage.identity.roles import Role
from moorage.oci.names import LIBRARY
from moorage.registry import projects
from tests.functional.quick_world import MANIFEST, PATH, client, database, sign_in, statements
from tests.worlds import PASSWORD, World

__all__ = ["client"]

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)


async def test_a_manifest_is_pulled_by_one_statement_and_no_thread(
    world: World, client: httpx.AsyncClient
) -> None:
    db = await database(world)
    await client.get(PATH)
    await client.get(PATH)

    with statements(db._reader) as seen:
        answer = await client.get(PATH, headers={"user-agent": "another"})

    assert answer.status_code == 200
    assert [kind for kind, _ in seen] == ["PRAGMA", "SELECT"]
    assert {thread for _, thread in seen} == {threading.get_ident()}


async def test_a_pull_that_comes_again_asks_only_whether_anything_changed(
    world: World, client: httpx.AsyncClient
) -> None:
    db = await database(world)
    await client.get(PATH)
    first = await client.get(PATH)

    with statements(db._reader) as seen:
        again = [await client.get(PATH), await client.get(PATH, headers={"x-of-no-weight": "1"})]

    assert [answer.content for answer in again] == [first.content] * 2
    assert [kind for kind, _ in seen] == ["PRAGMA"] * 2


async def test_a_pull_that_is_answered_at_once_says_what_any_other_does(client: httpx.AsyncClient) -> None:
    first = await client.get(PATH)

    others = [await client.get(PATH) for _ in range(4)]
    last = await client.get(PATH, headers={"connection": "close"})

    answers = [first, *others, last]
    ids = {answer.headers.pop("x-request-id") for answer in answers}
    del last.headers["connection"]
    for answer in answers:
        # They may come in two seconds.
        assert answer.headers.pop("date")
    assert len(ids) == len(answers)
    assert [dict(answer.headers) for answer in answers] == [dict(first.headers)] * len(answers)
    assert [answer.content for answer in answers] == [first.content] * len(answers)


async def test_a_head_that_is_answered_at_once_has_the_length_and_no_body(client: httpx.AsyncClient) -> None:
    whole = await client.get(PATH)

    answers = [await client.head(PATH), await client.get(PATH)]

    assert answers[0].headers["content-length"] == str(len(whole.content))
    assert answers[1].content == whole.content


async def test_every_pull_counts_however_it_was_answered(world: World, client: httpx.AsyncClient) -> None:
    registry = await world.registry()
    await registry.pulls.flush()

    for _ in range(5):
        await client.get(PATH)

    assert [count for count, _ in registry.pulls._seen.values()] == [5]


async def test_a_tag_that_moved_is_seen_by_the_next_pull(client: httpx.AsyncClient) -> None:
    old = [await client.get(PATH) for _ in range(4)][-1]
    document = {**old.json(), "annotations": {"new": "yes"}}

    await client.put(PATH, json=document, headers={"content-type": MANIFEST})

    assert (await client.get(PATH)).json() == document


async def test_a_right_that_was_taken_is_missed_by_the_next_pull(
    world: World, client: httpx.AsyncClient
) -> None:
    registry = await world.registry()
    hashed = await world.passwords.hash(PASSWORD)

    async def come(tx: Tx) -> tuple[int, int]:
        home = await projects.find(tx, LIBRARY)
        assert home is not None
        user = await users.create(tx, name="mallory", password=hashed)
        await members.set_user(tx, home.id, user, Role.GUEST)
        return home.id, user

    home, user = await registry.db.change(come)
    await sign_in(client, "mallory")
    before = [(await client.get(PATH)).status_code for _ in range(5)]

    await registry.db.change(lambda tx: members.remove_user(tx, home, user))

    assert before == [200] * 5
    assert (await client.get(PATH)).status_code == 403


async def test_requests_that_wait_on_a_connection_are_answered_in_their_order(
    client: httpx.AsyncClient,
) -> None:
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


async def test_a_push_takes_no_more_statements_than_it_has_steps(
    world: World, client: httpx.AsyncClient
) -> None:
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
    assert len(seen) <= 18


async def _connection(tx: Any) -> Any:
    return tx._connection
