"""Signing in where the disk is full: pulls go on, so whoever pulls must be let in."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from moorage.errors import StorageFull
from moorage.identity import users
from tests.functional.identity_world import PASSWORD, Clock, SqlitePlace, World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await (await World.begin(SqlitePlace(tmp_path / "registry.db"), Clock())).people()
    yield made
    await made.close()


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_what_cannot_be_written_is_told_as_a_full_disk(world: World) -> None:
    with full_disk(), pytest.raises(StorageFull, match="no room") as refused:
        await world.add_user("late", "$argon2id$nobody")

    assert refused.value.status == 507
    await world.add_user("late", "$argon2id$nobody")


async def test_a_client_that_asks_for_a_refresh_token_signs_in_without(world: World) -> None:
    await world.ask(user="guest")

    with full_disk():
        answer = await world.ask(user="guest", offline_token="true")

    assert answer.status_code == 200
    assert "refresh_token" not in answer.json()
    assert "refresh_token" in (await world.ask(user="guest", offline_token="true")).json()


async def test_a_refresh_token_is_good_though_its_use_cannot_be_noted(world: World) -> None:
    kept = (await world.ask(user="guest", offline_token="true")).json()["refresh_token"]
    world.clock.go_on(7200)

    with full_disk():
        answer = await world.post(grant_type="refresh_token", refresh_token=kept)

    assert answer.status_code == 200


async def test_a_password_is_good_though_it_cannot_be_hashed_anew(world: World) -> None:
    await world.ask(user="guest")
    weak = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    await world.change(lambda tx: users.set_password(tx, world.numbers["guest"], weak))

    with full_disk():
        assert (await world.ask(user="guest")).status_code == 200
