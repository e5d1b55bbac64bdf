"""The worlds that the other tests of this folder run in are what they say."""

from __future__ import annotations

from moorage.db.sqlite import SqliteDatabase
from moorage.identity.roles import Role
from moorage.storage.posix import PosixStore
from tests.worlds import World


async def test_a_registry_answers_its_administrator_and_nobody_else(world: World):
    stranger = await world.as_(None)

    answers = [await client.get("/v2/") for client in (world.client, stranger)]

    assert [answer.status_code for answer in answers] == [200, 401]


async def test_a_world_is_on_the_engine_and_the_store_that_its_name_says(world: World, request):
    registry = await world.registry()

    assert isinstance(registry.db, SqliteDatabase) == ("sqlite-" in request.node.name)
    assert isinstance(registry.store, PosixStore) == ("-posix" in request.node.name)


async def test_a_second_registry_of_a_cell_has_a_port_and_people_of_its_own(world: World):
    other = await world.add_registry()
    await world.add_user("alice", Role.DEVELOPER)
    astray = await world.as_("alice", entry=world.entries[1])

    assert (await other.get("/v2/")).status_code == 200
    assert (await astray.get("/v2/")).status_code == 401
