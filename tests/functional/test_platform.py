"""The platform's database: its own, made when it is asked for, and nothing that a pull needs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from moorage import parts
from moorage.db import Statement, migrate
from moorage.db.platform import account
from tests.servers.house import SECONDS, environment, moorage
from tests.servers.ports import reserved
from tests.servers.postgres import PostgresServer
from tests.servers.processes import descriptors_of
from tests.worlds import MASTER_KEY

ACCOUNTS = Statement(select(account.c.id))


@pytest.fixture(params=["sqlite", "postgres", "postgres beside"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> parts.Place:
    """Give a place without tables: in files, in one database, or with the platform in another."""
    made = parts.Place(tmp_path, "", (tmp_path / "blobs").as_uri(), MASTER_KEY)
    if request.param == "sqlite":
        return made
    server: PostgresServer = request.getfixturevalue("postgres_server")
    beside = server.database() if request.param == "postgres beside" else ""
    return parts.Place(tmp_path, server.database(), made.store_url, MASTER_KEY, platform_url=beside)


async def test_the_platforms_rows_are_made_with_the_cells(place: parts.Place):
    async with parts.opened(place, create=True) as made:
        assert await made.platform.all(ACCOUNTS) == []


async def test_migrating_makes_them_too(place: parts.Place):
    parts.upgrade(place, contract=False)

    async with parts.opened(place) as made:
        assert await made.platform.all(ACCOUNTS) == []


async def test_who_opens_a_cell_without_the_platform_has_none_of_it(place: parts.Place):
    async with parts.opened(place, create=True, platform=False) as made:
        with pytest.raises(RuntimeError, match="without the platform's database"):
            _ = made.platform
    assert not place.platform_file.exists()


async def test_a_cell_of_the_release_before_gets_the_platforms_rows_from_who_needs_them(
    postgres_server: PostgresServer, tmp_path: Path
):
    url = postgres_server.database()
    migrate.upgrade_postgres(url, migrate.of_a_cell())
    place = parts.Place(tmp_path, url, (tmp_path / "blobs").as_uri(), MASTER_KEY)

    async with parts.opened(place) as made:
        assert await made.platform.all(ACCOUNTS) == []


def test_pulls_never_open_the_platforms_database(tmp_path: Path):
    """A registry plane starts, and is ready, where nobody answers at the platform's address; the console does not."""
    assert moorage("prepare", data=tmp_path).returncode == 0
    away = {"PLATFORM_URL": "postgresql://nobody@127.0.0.1:1/none"}
    with reserved() as (port,):
        given = environment(tmp_path, **{**away, "REGISTRY_PORT": str(port)})
        with subprocess.Popen([sys.executable, "-m", "moorage", "serve", "registry"], env=given) as plane:
            try:
                status = asked_until_answered(f"http://localhost:{port}/readyz")
                opened = descriptors_of(plane.pid)
            finally:
                plane.terminate()
    console = moorage("serve", "console", data=tmp_path, **away)

    assert status == 200
    assert (tmp_path / parts.CELL_FILE) in opened
    assert not [path for path in opened if path.name.startswith(parts.PLATFORM_FILE)]
    assert console.returncode == 1


def asked_until_answered(url: str) -> int:
    """Give the status of the first answer: a process that starts refuses connections."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            return httpx.get(url).status_code
        except httpx.TransportError:
            assert time.monotonic() < end
            time.sleep(0.05)
