"""Registries find their place in the directory: a port each, or a host name each."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from moorage.cloud import provisioning
from moorage.db import Statement
from moorage.db.sqlite import SqliteDatabase
from moorage.oci.errors import Denied, NameInvalid
from moorage.registry.directory import DELETED, READY, Directory, RegistryUnknown

LOCAL = provisioning.PLANS["LOCAL"]


async def _cell(tmp_path: Path) -> SqliteDatabase:
    return await SqliteDatabase.open(tmp_path / "cell.sqlite", None, create=True)


async def test_without_a_domain_each_registry_has_a_port(tmp_path: Path):
    cell = await _cell(tmp_path)
    first = await provisioning.place(cell, "first", LOCAL, first_port=5000)
    second = await provisioning.place(cell, "second", LOCAL, first_port=5000)
    third = await provisioning.place(cell, "third", LOCAL, first_port=5000)
    directory = Directory(cell, 5000)

    assert (first.port, second.port, third.port) == (None, 5001, 5002)
    assert (await directory.find("localhost:5000", 5000)).uuid == first.uuid
    assert (await directory.find("[::1]:5001", 5001)).uuid == second.uuid
    with pytest.raises(RegistryUnknown):
        await directory.find("registry.example:5000", 5000)
    await cell.close()


async def test_what_another_process_made_or_took_back_is_served_from_that_moment_on(tmp_path: Path):
    cell = await _cell(tmp_path)
    await provisioning.place(cell, "first", LOCAL, first_port=5000)
    directory = Directory(cell, 5000)
    with pytest.raises(RegistryUnknown):
        await directory.find("localhost", 5001)

    second = await provisioning.place(cell, "second", LOCAL, first_port=5000)
    assert (await directory.find("localhost", 5001)).uuid == second.uuid
    await provisioning.set_state(cell, second.id, DELETED)
    await directory.refresh()
    with pytest.raises(Denied):
        await directory.find("localhost", 5001)
    await provisioning.set_state(cell, second.id, READY)
    assert (await directory.find("localhost", 5001)).uuid == second.uuid
    await cell.close()


async def test_however_many_ask_for_what_is_not_there_the_directory_is_read_once_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cell = await _cell(tmp_path)
    await provisioning.place(cell, "first", LOCAL, first_port=5000)
    directory = Directory(cell, 5000)
    await directory.refresh()
    asked: list[Statement] = []
    read = SqliteDatabase.all

    async def noted(self: SqliteDatabase, statement: Statement, **given: Any) -> Any:
        asked.append(statement)
        return await read(self, statement, **given)

    monkeypatch.setattr(SqliteDatabase, "all", noted)

    wanted = [directory.find("localhost", 5001) for _ in range(100)]
    answers = await asyncio.gather(*wanted, return_exceptions=True)

    assert [type(one) for one in answers] == [RegistryUnknown] * 100
    assert asked
    assert len({id(one) for one in asked}) == len(asked)
    await cell.close()


async def test_with_a_domain_each_registry_has_a_host_name(tmp_path: Path):
    cell = await _cell(tmp_path)
    first = await provisioning.place(cell, "first", LOCAL, first_port=5000, zone="local.moorage.test")
    second = await provisioning.place(cell, "second", LOCAL, first_port=5000, zone="local.moorage.test")
    directory = Directory(cell, 5000)

    for one in (first, second):
        host = provisioning.host_name(one, "local.moorage.test")
        assert (await directory.find(f"{host}:5000", 5000)).uuid == one.uuid
    assert second.port is None
    assert (await directory.find("127.0.0.1:5000", 5000)).uuid == first.uuid
    await cell.close()


async def test_a_domain_that_is_set_later_names_every_registry(tmp_path: Path):
    cell = await _cell(tmp_path)
    placed = [await provisioning.place(cell, name, LOCAL, first_port=5000) for name in ("first", "second")]

    await provisioning.reach_all(cell, first_port=5000, zone="local.moorage.test")

    directory = Directory(cell, 5000)
    for one in placed:
        host = provisioning.host_name(one, "local.moorage.test")
        assert (await directory.find(host, 5000)).uuid == one.uuid
    await cell.close()


async def test_a_domain_that_is_given_up_leaves_every_registry_a_port(tmp_path: Path):
    cell = await _cell(tmp_path)
    for name in ("first", "second", "third"):
        await provisioning.place(cell, name, LOCAL, first_port=5000, zone="local.moorage.test")

    await provisioning.reach_all(cell, first_port=5000, zone="")
    await provisioning.reach_all(cell, first_port=5000, zone="")

    assert [one.port for one in await provisioning.listed(cell)] == [None, 5001, 5002]
    await cell.close()


async def test_no_two_registries_have_one_host_name(tmp_path: Path):
    cell = await _cell(tmp_path)
    ids = iter([UUID(int=1 << 100), UUID(int=(1 << 100) + 1), UUID(int=1 << 101)])
    names = [
        provisioning.host_name(
            await provisioning.place(
                cell, name, LOCAL, first_port=5000, zone="a.test", new_id=lambda: next(ids)
            ),
            "a.test",
        )
        for name in ("first", "second")
    ]

    assert len(set(names)) == 2
    await cell.close()


async def test_a_machine_s_other_names_mean_what_its_port_means(tmp_path: Path):
    cell = await _cell(tmp_path)
    first = await provisioning.place(cell, "first", LOCAL, first_port=5000)
    second = await provisioning.place(cell, "second", LOCAL, first_port=5000)
    directory = Directory(cell, 5000, frozenset({"registry.example"}))

    assert (await directory.find("registry.example", 5000)).uuid == first.uuid
    assert (await directory.find("registry.example.:443", 5000)).uuid == first.uuid
    assert (await directory.find("registry.example:5001", 5001)).uuid == second.uuid
    with pytest.raises(RegistryUnknown, match="MOORAGE_NAMES"):
        await directory.find("evil.example", 5000)
    await cell.close()


async def test_placing_a_name_again_changes_nothing(tmp_path: Path):
    cell = await _cell(tmp_path)
    once = await provisioning.place(cell, "first", LOCAL, first_port=5000)

    again = await provisioning.place(cell, "first", LOCAL, first_port=5000)

    assert again == once
    assert len(await provisioning.listed(cell)) == 1
    await cell.close()


@pytest.mark.parametrize("name", ["a", "Team 7", "équipe.x-1_b", "a" * 64])
def test_a_registry_s_name_is_what_people_call_it(name: str):
    provisioning.check_name(name)


@pytest.mark.parametrize(
    "name", ["", " ", "a ", "-a", "a/../b", "two\nlines", "a\tb", "a\x1b[31m", "a" * 65, "..", "a\u202eb"]
)
def test_a_name_that_would_break_a_list_is_refused_with_the_rule(name: str):
    with pytest.raises(NameInvalid, match="1 to 64 letters") as refused:
        provisioning.check_name(name)

    assert str(refused.value).isprintable()


async def test_the_last_answer_is_kept_while_the_cell_is_away(tmp_path: Path):
    cell = await _cell(tmp_path)
    first = await provisioning.place(cell, "first", LOCAL, first_port=5000)
    times = iter(range(0, 100, 10))
    directory = Directory(cell, 5000, clock=lambda: float(next(times)))
    await directory.find("localhost", 5000)

    for path in tmp_path.glob("cell.sqlite*"):
        path.rename(path.with_name(f"away-{path.name}"))
    (tmp_path / "cell.sqlite").write_bytes(b"this is no database at all" * 100)
    found = await directory.find("localhost", 5000)

    assert found.uuid == first.uuid
