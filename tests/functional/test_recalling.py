"""Pulls that come again are answered from memory, and only while the answer is right."""

from __future__ import annotations

import ipaddress
import itertools

import httpx
import pytest
from sqlalchemy import literal, select, update

from moorage.api.forwarded import Proxies
from moorage.api.http.at_once import Whole
from moorage.api.http.recalling import LARGEST, MOST, MOST_BYTES, Asked, Piece, Recollection
from moorage.db import Statement, insert
from moorage.db.cell import address_rules, entry
from moorage.db.sqlite import SqliteDatabase
from moorage.oci.names import RepositoryName, Tag
from moorage.registry import manifests
from moorage.registry.events import SYSTEM, Seen
from moorage.registry.slots import Granted
from tests.functional.quick_world import PATH, client, database, serving, statements
from tests.worlds import World

__all__ = ["client"]

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)

_LIMITED = Statement(update(entry).values(parallel=15))
_RESTRICT = Statement(
    insert(address_rules).from_select(
        ["entry_id", "registry", "management", "at"],
        select(entry.c.id, literal("192.0.2.0/24 127.0.0.2/32"), literal(""), literal(1)),
    )
)
APP = RepositoryName.parse("library/app")


async def warm(client: httpx.AsyncClient, **headers: str) -> None:
    """Ask until the answer is given from memory."""
    for _ in range(4):
        assert (await client.get(PATH, headers=headers)).status_code == 200


async def seen(world: World) -> dict[Seen, int]:
    registry = await world.registry()
    return {what: row.more for what, row in registry.gathered._fresh.items() if what.kind == "manifest.pull"}


async def test_a_tag_that_another_process_deletes_is_missed_by_the_next_pull(
    world: World, client: httpx.AsyncClient
) -> None:
    await warm(client)
    mine = await database(world)
    other = await SqliteDatabase.open(mine.path, mine.registry_id)

    await other.change(lambda tx: manifests.untag(tx, APP, Tag("v1"), SYSTEM))

    assert (await client.get(PATH)).status_code == 404
    await other.close()


async def test_a_token_that_ends_is_refused_however_often_it_was_good(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await warm(client)
    db = await database(world)
    clock = db.now

    monkeypatch.setattr(db, "now", lambda: clock() + 3_600_000_000)

    assert (await client.get(PATH)).status_code == 401


async def test_what_is_written_down_of_pulls_makes_no_answer_anew(
    world: World, client: httpx.AsyncClient
) -> None:
    await warm(client)
    registry = await world.registry()
    assert await registry.gathered.flush()
    assert await registry.pulls.flush()
    await client.get(PATH)

    with statements((await database(world))._reader) as asked:
        await client.get(PATH)

    assert [kind for kind, _ in asked] == ["PRAGMA"]


async def test_who_asks_from_elsewhere_is_counted_as_who_they_are(
    world: World, client: httpx.AsyncClient
) -> None:
    await warm(client)
    head = dict(client.headers)
    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")

    async with httpx.AsyncClient(transport=elsewhere, base_url=client.base_url, headers=head) as other:
        await warm(other)

    counted = {what.address: count for what, count in (await seen(world)).items()}
    assert counted == {"127.0.0.1": 4, "127.0.0.2": 4}


async def test_an_address_that_is_no_longer_let_in_is_told_so_and_another_is_answered_from_memory(
    world: World, client: httpx.AsyncClient
) -> None:
    # What the directory said stays fresh for however long this takes.
    world.plane.directory.clock = lambda: 0.0
    await world.plane.directory.refresh()
    await warm(client)
    head = dict(client.headers)
    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx.AsyncClient(transport=elsewhere, base_url=client.base_url, headers=head) as other:
        await warm(other)
        await world.parts.cell.write(_RESTRICT)
        await world.plane.directory.refresh()

        refused = [(await client.get(PATH)).status_code for _ in range(4)]
        await warm(other)
        with statements((await database(world))._reader) as asked:
            await other.get(PATH)

    assert refused == [403] * 4
    assert [kind for kind, _ in asked] == ["PRAGMA"]


async def test_each_user_agent_is_counted_as_what_it_is(world: World, client: httpx.AsyncClient) -> None:
    await warm(client)

    await warm(client, **{"user-agent": "docker"})

    assert {what.agent for what in await seen(world)} == {client.headers["user-agent"].encode(), b"docker"}


async def test_an_id_that_a_client_brings_is_given_to_no_other(client: httpx.AsyncClient) -> None:
    await warm(client, **{"x-request-id": "mine"})

    own = await client.get(PATH, headers={"x-request-id": "mine"})
    others = [await client.get(PATH) for _ in range(4)]

    assert own.headers["x-request-id"] == "mine"
    assert "mine" not in [answer.headers["x-request-id"] for answer in others]
    assert [len(answer.headers.get_list("x-request-id")) for answer in others] == [1] * 4


async def test_a_manifest_that_the_client_has_is_not_sent_again(client: httpx.AsyncClient) -> None:
    tag = (await client.get(PATH)).headers["etag"]

    answers = [await client.get(PATH, headers={"if-none-match": tag}) for _ in range(4)]
    other = await client.get(PATH, headers={"if-none-match": '"sha256:0"'})

    assert [(answer.status_code, answer.content) for answer in answers] == [(304, b"")] * 4
    assert other.status_code == 200


async def test_a_full_plan_is_full_for_what_is_remembered_too(
    world: World, client: httpx.AsyncClient
) -> None:
    await world.parts.cell.write(_LIMITED)
    await world.plane.directory.refresh()
    await warm(client)
    slots = (await world.registry()).slots
    slots.patience = 0.05
    held: list[Granted] = []

    slots.leases.ask(15, [False] * 15, 0.0, held.append)

    assert (await client.get(PATH)).status_code == 429
    for lease in held[0]:
        assert lease is not None
        slots.leases.give_back(lease)
    await warm(client)
    assert (slots.busy, slots.most) == (0, 15)


async def test_behind_a_proxy_the_client_is_who_the_proxy_says(
    world: World, client: httpx.AsyncClient
) -> None:
    token = client.headers["authorization"]
    proxies = Proxies((ipaddress.ip_network("127.0.0.0/8"),))

    async with serving(world, proxies) as behind:
        behind.headers["authorization"] = token
        for name in ("9.9.9.9", "8.8.8.8"):
            await warm(behind, **{"x-forwarded-for": name})
        with statements((await database(world))._reader) as asked:
            await behind.get(PATH, headers={"x-forwarded-for": "9.9.9.9"})

    counted = {what.address: count for what, count in (await seen(world)).items()}
    assert counted == {"9.9.9.9": 5, "8.8.8.8": 4}
    assert [kind for kind, _ in asked] == ["PRAGMA"]


def test_what_is_remembered_is_bounded(world: World) -> None:
    del world
    recollection = Recollection()
    for number in itertools.count():
        whole = Whole()
        whole.status, whole.body = 200, bytes(8 * 1024)
        whole.anew = lambda: b"x-request-id: 1\r\n"
        recollection.first(Asked(b"GET", b"/%d" % number, (), "", 0), whole, [])
        if number > 2 * MOST_BYTES // len(whole.body):
            break

    assert recollection._size <= MOST_BYTES
    assert sum(told.size for told in recollection._told.values()) <= recollection._size
    assert recollection.again(Asked(b"GET", b"/0", (), "", 0), []) is None
    assert recollection.again(Asked(b"GET", b"/%d" % number, (), "", 0), []) is not None


def test_a_client_that_asks_for_much_has_its_headers_remembered_once(world: World) -> None:
    del world
    recollection, token, many = Recollection(), b"t" * 4096, MOST // 2
    headers = [((b"authorization", bytes(bytearray(token))),) for _ in range(many)]
    asked = [Asked(b"GET", b"/%d" % number, each, "", 0) for number, each in enumerate(headers)]
    pieces = [Piece.read(b"GET /%d\r\n%b" % (number, token), "", 0) for number in range(many)]
    for one, piece in zip(asked, pieces, strict=True):
        whole = Whole()
        whole.status, whole.body, whole.anew = 200, bytes(2 * 1024), lambda: b""
        recollection.first(one, whole, [])
        recollection.alias(piece, one)

    everything: list[Asked | Piece] = [*asked, *pieces]
    remembered = [recollection.again(one, []) for one in everything]

    assert None not in remembered
    # An answer is there once, however it is asked for, and so is the token in each of its two forms.
    assert recollection._size <= many * (2 * 1024 + 128) + 3 * len(token)
    for each in everything:
        recollection._forget(each, recollection._told.pop(each))
    assert (recollection._size, len(recollection._shared)) == (0, 0)


def test_what_is_too_long_is_not_remembered(world: World) -> None:
    del world
    recollection, whole, asked = Recollection(), Whole(), Asked(b"GET", b"/", (), "", 0)
    whole.status, whole.body, whole.anew = 200, bytes(LARGEST), lambda: b""

    written = recollection.first(asked, whole, [])
    recollection.alias(Piece(b"GET / ", b"", "", 0), asked)

    assert written.endswith(whole.body)
    assert recollection.again(asked, []) is None
