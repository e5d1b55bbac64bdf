"""A whole house is carried from files to PostgreSQL and back, and is the same house there."""

from __future__ import annotations

import json
import operator
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Table, select

from moorage import carrying, ordering, parts, settings
from moorage.carrying import NotEmpty, OrderedMeanwhile, Target
from moorage.cloud import (
    accounts,
    applications,
    credentials,
    exports,
    heads,
    provisioning,
    registries,
    signing,
)
from moorage.cloud.events import SYSTEM
from moorage.cloud.reconciling import Reconcile
from moorage.db import Database, Statement, cell, migrate, platform, tables
from moorage.errors import Unavailable
from moorage.identity.passwords import Passwords
from moorage.parts import Parts, Place
from moorage.registry import copying, fsck
from moorage.registry.copying import CopyDamaged
from tests.conformance.site import Site
from tests.functional import ordering_world
from tests.functional.ordering_world import Orders
from tests.servers.postgres import PostgresServer
from tests.worlds import MASTER_KEY, World, opened, planted


@dataclass(frozen=True)
class Kept:
    """What a house is asked for after it was carried, and has to know."""

    signing: applications.Signing
    password: str
    registry: str
    digest: str


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Orders]:
    """Open a house of files with an order, an image and a signed ledger in it."""
    data = tmp_path / "source"
    data.mkdir()
    async with opened(Place(data, "", (data / "blobs").as_uri(), MASTER_KEY)) as world:
        made = await ordering_world.opened(world)
        yield made
        made.reconciler.passwords.close()


async def filled(orders: Orders) -> Kept:
    """Have something of everything in a house."""
    world, platform_ = orders.world, orders.platform
    made = await ordering.create_registry(world.settings, world.parts, "team", "S", orders.project)
    assert made.password is not None
    await world.plane.directory.refresh()
    site = Site(await world.as_("admin", made.password, entry=made.entry), "library/app")
    digest = await site.push_image("v1", b"layer")
    gone = await orders.made("gone")
    await orders.destroyed(gone)
    last = await orders.made("last")
    await orders.desk.delete(orders.project, last.id, SYSTEM)
    await orders.work()
    signed = await platform_.change(
        lambda tx: applications.create(tx, world.parts.master, name="cli", origin=SYSTEM)
    )
    await orders.work()
    await heads.sign_due(platform_, world.parts.master)
    await orders.work()
    row = next(one for one in await registries.listed(platform_, orders.project) if one.name == "team")
    return Kept(signed, made.password, row.id, digest)


@asynccontextmanager
async def house(place: Place) -> AsyncIterator[tuple[Parts, World]]:
    """Open a house that was carried somewhere, with the same master key."""
    async with parts.opened(place) as there, AsyncExitStack() as closing:
        set_ = settings.read({})
        plane, app = planted(set_, there, closing)
        await plane.directory.refresh()
        yield there, World(set_, there, plane, app, Passwords(), "carried", closing)


async def rows(db: Database, known: Any) -> dict[str, list[Any]]:
    """Read every row of some tables."""
    found = {}
    for table in known:
        columns = [column for column in table.c if column.name != "registry_id"]
        keys = [column for column in table.primary_key if column.name != "registry_id"]
        found[table.name] = [tuple(one) for one in await db.all(Statement(select(*columns).order_by(*keys)))]
    return found


async def everything(house_: Parts) -> dict[str, Any]:
    """Read all that a house's databases hold; a registry's own clock has gone on while it was written."""
    own = [one for one in tables.metadata.sorted_tables if one.name not in copying.LEFT_BEHIND | {"registry"}]
    found: dict[str, Any] = {
        "platform": await rows(house_.platform, migrate.PLATFORM.metadata().sorted_tables),
        "cell": await rows(house_.cell, cell.metadata.sorted_tables),
    }
    for one in await provisioning.every(house_.cell):
        if house_.has_database(one):
            db = await house_.open_database(one, create=False)
            held = await rows(db, own)
            if any(held.values()):
                found[one.uuid] = held
            await db.close()
    return found


async def works(there: Parts, world: World, kept: Kept) -> None:
    """Ask a house for what only the same one knows, and have it go on."""
    known = await credentials.find(there.platform, there.master, kept.signing.key, kept.signing.consumer_key)
    assert known.secret == kept.signing.secret
    row = await registries.find(there.platform, kept.registry)
    assert row is not None
    entry = next(one for one in world.plane.directory.all() if one.uuid == row.entry_uuid)
    client: httpx.AsyncClient = await world.as_("admin", kept.password, entry=entry)
    pulled = await client.get("/v2/library/app/manifests/v1")
    assert (pulled.status_code, pulled.headers["docker-content-digest"]) == (200, kept.digest)
    for chain in (kept.registry, "provider"):
        lines = [json.dumps(line) async for line in exports.lines(there.platform, chain)]
        checked, _ = exports.check(lines, await signing.published(there.platform))
        assert len(lines) > 1
        assert checked.faults == []
    db = await there.open_database(entry)
    assert (await fsck.check(db, there.store.under(entry.prefix), digests=True)).findings == ()
    await db.close()


async def goes_on(there: Parts, world: World, project: str) -> None:
    """Have a house do what it has not done: a number that is given is new, and an order is made."""
    before = {**await there.platform.numbers(), **await there.cell.numbers()}
    await there.platform.number_past({"cloud_outbox": before["cloud_outbox"] + 100, "cloud_event": 1})
    made = await ordering.create_registry(world.settings, there, "after", "S", project)
    after = {**await there.platform.numbers(), **await there.cell.numbers()}
    assert after["entry"] > before["entry"]
    assert after["cloud_outbox"] > before["cloud_outbox"] + 100
    assert after["cloud_event"] >= before["cloud_event"]
    assert made.entry.id == after["entry"]


async def test_a_house_is_carried_to_postgres_and_back_and_is_the_same_there(
    source: Orders, postgres_server: PostgresServer, tmp_path: Path
):
    kept, origin = await filled(source), source.world.parts
    over, back = tmp_path / "over", tmp_path / "back"
    url = postgres_server.database()

    copied = await carrying.carry(origin, Target(over, url))

    was = await everything(origin)
    there_place = Place(over, url, (over / "blobs").as_uri(), MASTER_KEY)
    async with house(there_place) as (there, world):
        assert await everything(there) == was
        assert copied.blobs > 0
        numbers = await there.platform.numbers()
        assert all(numbers[name] >= last for name, last in (await origin.platform.numbers()).items())
        await works(there, world, kept)
        again = await carrying.carry(there, Target(back))
        assert again.blobs == copied.blobs
        is_ = await everything(there)
        async with house(Place(back, "", (back / "blobs").as_uri(), MASTER_KEY)) as (home, beside):
            assert await everything(home) == is_
            await works(home, beside, kept)
            await goes_on(home, beside, source.project)
        await goes_on(there, world, source.project)


async def test_nothing_is_written_where_anything_is(
    source: Orders, postgres_server: PostgresServer, tmp_path: Path
):
    origin = source.world.parts
    url, full, blobs = postgres_server.database(), tmp_path / "full", tmp_path / "bytes"
    await carrying.carry(origin, Target(tmp_path / "first", url))
    full.mkdir()
    (full / "mine").write_text("mine")
    blobs.mkdir()
    await carrying.carry(origin, Target(tmp_path / "second", store_url=blobs.as_uri()))

    for told, target in (
        ("an empty folder", Target(full)),
        ("the database: .* has rows", Target(tmp_path / "third", url)),
        ("the database: .* has rows", Target(tmp_path / "third", postgres_server.database(), url)),
    ):
        with pytest.raises(NotEmpty, match=told):
            await carrying.carry(origin, target)

    assert [path.name for path in full.iterdir()] == ["mine"]


async def test_a_copy_that_was_cut_is_no_house(
    source: Orders, postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    await filled(source)
    origin, url = source.world.parts, postgres_server.database()

    async def damaged(*_: Any) -> tuple[int, int]:
        raise CopyDamaged("the bytes are others")

    monkeypatch.setattr(copying, "content", damaged)
    for target in (Target(tmp_path / "files"), Target(tmp_path / "over", url)):
        with pytest.raises(CopyDamaged):
            await carrying.carry(origin, target)

    assert not (tmp_path / "files" / parts.CELL_FILE).exists()
    monkeypatch.undo()
    with pytest.raises(NotEmpty):
        await carrying.carry(origin, Target(tmp_path / "files"))
    with pytest.raises(NotEmpty):
        await carrying.carry(origin, Target(tmp_path / "third", url))


async def test_a_schema_of_the_release_before_is_told(postgres_server: PostgresServer, tmp_path: Path):
    url, over = postgres_server.cell(), tmp_path / "over"
    async with parts.opened(Place(over, url, (over / "blobs").as_uri(), MASTER_KEY)) as there:
        older = operator.methodcaller("execute", "UPDATE schema_registry SET version_num = '0001'")
        assert there.postgres is not None
        await there.postgres.pool.read(older)
        with pytest.raises(Unavailable, match="moorage migrate"):
            await carrying.carry(there, Target(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


async def test_rows_that_are_not_all_there_are_no_copy(source: Orders, tmp_path: Path):
    origin = source.world.parts
    await carrying.carry(origin, Target(tmp_path / "first"))
    async with house(Place(tmp_path / "first", "", (tmp_path / "first" / "blobs").as_uri(), MASTER_KEY)) as (
        there,
        _,
    ):
        account: list[Table] = [platform.usage_sweep]
        await there.platform.write(Statement(platform.usage_sweep.insert().values(hour=1, at=1)))
        async with origin.platform.snapshot() as moment:
            with pytest.raises(CopyDamaged, match="0 rows of usage_sweep were copied, and 1 are there"):
                await copying.of_moment(moment, there.platform, account)


async def test_an_order_between_the_moments_of_platform_and_cell_is_told(source: Orders, tmp_path: Path):
    """The platform's moment comes first: a registry that only the cell's knows would be given to whoever has the first account."""
    origin = source.world.parts
    async with origin.platform.snapshot() as earlier:
        found = await source.ordered("late")
        await source.reconcile(Reconcile(found.id))
        async with origin.cell.snapshot() as later:
            with pytest.raises(OrderedMeanwhile):
                await carrying.check_moments(origin, earlier, later)
        async with origin.platform.snapshot() as now, origin.cell.snapshot() as later:
            await carrying.check_moments(origin, now, later)
    assert await accounts.held(origin.platform)
