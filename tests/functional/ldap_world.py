"""A registry whose people sign in by a real directory, on each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moorage import parts
from moorage.api.harbor.operations import PREFIX
from tests.servers.directory import Directory
from tests.worlds import MASTER_KEY, World, opened

PERSON = "Person-pass-1"


@pytest.fixture(params=["sqlite", "postgres"])
async def ldap_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Open a cell whose operator lets directories of this machine be asked."""
    place = parts.Place(
        data=tmp_path,
        database_url=request.getfixturevalue("postgres_url") if request.param == "postgres" else "",
        store_url=(tmp_path / "blobs").as_uri(),
        master_key=MASTER_KEY,
    )
    async with opened(place, CALL_NETWORKS="127.0.0.0/8") as made:
        yield made


async def put(world: World, **given: object) -> tuple[int, str]:
    """Set some of the configuration, and tell the answer."""
    answer = await world.client.put(f"{PREFIX}/configurations", json=given)
    return answer.status_code, "" if answer.status_code == 200 else answer.json()["errors"][0]["message"]


async def turn_on(world: World, directory: Directory, **more: object) -> None:
    """Let people sign in by a directory."""
    given = {
        "auth_mode": "ldap_auth",
        "ldap_url": directory.tls_url,
        "ldap_ca_certificates": directory.server.certificate,
        "ldap_search_dn": directory.reader,
        "ldap_search_password": directory.password,
        "ldap_base_dn": directory.base,
        "ldap_uid": "uid",
        "ldap_timeout": 30,
    }
    assert await put(world, **{**given, **more}) == (200, "")


async def current(world: World, name: str, password: str = PERSON) -> dict[str, Any]:
    """Ask who somebody is, with Basic."""
    client = await world.as_(name, password)
    answer = await client.get(f"{PREFIX}/users/current")
    return answer.json() if answer.status_code == 200 else {"status": answer.status_code}


async def forget(world: World) -> None:
    """Have no password remembered, as after a while."""
    (await world.registry()).access.ldap.forget()
