"""What the release before has made is upgraded under clients: nothing acknowledged is lost, and all goes on."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import psycopg

from moorage.db import migrate
from moorage.supervisor import HOPELESS
from tests.servers.house import House, house, moorage
from tests.servers.ports import reserved
from tests.servers.postgres import PostgresServer
from tests.servers.seaweedfs import SeaweedFS
from tests.upgrade.seed import DOMAIN, FIRST, Home, Pusher, Seed, seeded
from tests.worlds import MASTER_KEY, PASSWORD

BEFORE, NOW = "0001", migrate.REGISTRY.revisions[-1]
CLIENTS = 4
SECONDS = 120.0


def test_no_released_revision_was_changed(previous: Path) -> None:
    released = {
        path.relative_to(previous): path.read_text()
        for path in (previous / "moorage/db/migrations").glob("*/0*.sql")
    }

    here = Path(migrate.__file__).parents[2]
    assert released
    assert {path: (here / path).read_text() for path in released} == released


@asynccontextmanager
async def pushing(*homes: Home) -> AsyncIterator[list[Pusher]]:
    """Let clients push and pull until the block ends."""
    ended = asyncio.Event()
    pushers = [Pusher(number, list(homes)) for number in range(CLIENTS)]
    async with asyncio.TaskGroup() as group:
        for pusher in pushers:
            group.create_task(pusher.run(ended))
        try:
            yield pushers
        finally:
            ended.set()


async def more_turns(pushers: list[Pusher], count: int = 3) -> None:
    """Wait until each client has pushed and pulled so many times more."""
    wanted = [pusher.turns + count for pusher in pushers]
    async with asyncio.timeout(SECONDS):
        while any(pusher.turns < turns for pusher, turns in zip(pushers, wanted, strict=True)):
            await asyncio.sleep(0.02)


async def everything_stands(seed: Seed, pushers: list[Pusher], home: House) -> None:
    async with seed.homes[FIRST].at(home).client() as client:
        for pusher in pushers:
            await pusher.kept.check(client)
    await seed.reap(home)


async def checked(data: Path, **given: str) -> None:
    """Look at every row and byte while the house runs."""
    found = await asyncio.to_thread(moorage, "fsck", "--digests", data=data, **given)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.count(" 0 findings") == 2, found.stdout


def versions(data: Path) -> set[str]:
    """Give the revisions of the registries' files."""
    found = set()
    for path in (data / "registries").glob("*.sqlite"):
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        found |= {row[0] for row in connection.execute("SELECT version_num FROM schema_registry")}
        connection.close()
    return found


async def test_a_data_folder_is_upgraded_by_a_restart_under_clients(previous: Path, tmp_path: Path) -> None:
    with ExitStack() as houses:
        # Nobody else gets it while the old house is gone and the new one is not there yet.
        (port,) = houses.enter_context(reserved())
        given = {"PASSWORD": PASSWORD, "DOMAIN": DOMAIN, "REGISTRY_PORT": str(port)}
        old = houses.enter_context(house(tmp_path, source=str(previous), **given))
        seed = seeded(old, tmp_path, str(previous), **given)
        await seed.sow()
        async with pushing(seed.homes[FIRST]) as pushers:
            await more_turns(pushers)
            before = versions(tmp_path)
            assert await asyncio.to_thread(old.stop) == 0
            new = houses.enter_context(house(tmp_path, **given))
            await more_turns(pushers)
        await everything_stands(seed, pushers, new)
        await checked(tmp_path, **given)

    assert before == {BEFORE}
    assert versions(tmp_path) == {NOW}
    assert all(pusher.cut for pusher in pushers)
    assert not any(pusher.away for pusher in pushers)
    refuses_a_folder(previous, tmp_path, **given)
    assert versions(tmp_path) == {NOW}


async def test_a_cell_is_upgraded_while_old_and_new_serve_it_side_by_side(
    previous: Path, tmp_path: Path, postgres_server: PostgresServer, seaweedfs: SeaweedFS
) -> None:
    url = postgres_server.database()
    given = {
        "PASSWORD": PASSWORD, "DOMAIN": DOMAIN, "DATABASE_URL": url, "MASTER_KEY": MASTER_KEY,
        "STORE_URL": seaweedfs.url(f"upgrade-{secrets.token_hex(4)}"),
    }  # fmt: skip
    with ExitStack() as houses:
        old = houses.enter_context(house(tmp_path / "old", source=str(previous), WORKER_NAME="old", **given))
        seed = seeded(old, tmp_path / "old", str(previous), **given)
        await seed.sow()
        new = houses.enter_context(house(tmp_path / "new", WORKER_NAME="new", **given))
        home = seed.homes[FIRST]
        async with pushing(home, home.at(new)) as pushers:
            await more_turns(pushers)
            # Whoever could enter before can enter here before the schema has come so far.
            await seed.enter(new)
            before = version(url)
            migrated = await asyncio.to_thread(moorage, "migrate", data=tmp_path / "new", **given)
            await more_turns(pushers)
            cut = [pusher.cut for pusher in pushers]
            assert await asyncio.to_thread(old.stop) == 0
            await more_turns(pushers)
            contracted = await asyncio.to_thread(
                moorage, "migrate", "--contract", data=tmp_path / "new", **given
            )
            await more_turns(pushers)
        await everything_stands(seed, pushers, new)
        await checked(tmp_path / "new", **given)

        for made in (migrated, contracted):
            assert (made.returncode, made.stderr) == (0, "")
        assert (before, version(url)) == (BEFORE, NOW)
        # Nobody but who was at the old house met anything, and that only when it went.
        assert cut == [0] * CLIENTS
        assert not any(pusher.away for pusher in pushers)
        for command in ("up", "migrate"):
            refused = moorage(command, data=tmp_path / "old", source=str(previous), **given)
            assert refused.returncode == HOPELESS
            assert f"schema has version {NOW}" in refused.stderr
            assert "start the release that wrote it" in refused.stderr


def version(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT version_num FROM schema_registry").fetchone()
        assert row
        return str(row[0])


def refuses_a_folder(previous: Path, data: Path, **given: str) -> None:
    """See that the old release does not start on files that the new one has written, and says why."""
    refused = moorage("up", data=data, source=str(previous), **given)
    assert refused.returncode != 0
    assert f"the cell schema has version {migrate.CELL.revisions[-1]}" in refused.stderr
    assert "start the release that wrote it" in refused.stderr
