"""Each table says what it is to a restore, and whose rows it holds."""

from __future__ import annotations

import pytest
from sqlalchemy import Table

from moorage import rekeying
from moorage.db import cell, migrate, tables

KINDS = {"content", "access", "record"}
REGISTRY = [pytest.param(table, id=table.name) for table in tables.metadata.sorted_tables]
CELL = [pytest.param(table, id=table.name) for table in cell.metadata.sorted_tables]
PLATFORM = [pytest.param(table, id=table.name) for table in migrate.PLATFORM.metadata().sorted_tables]


@pytest.mark.parametrize("table", REGISTRY + CELL + PLATFORM)
def test_a_table_says_its_kind(table: Table):
    """Content goes back to a moment; access and record never do: a restore must know which it has before it."""
    assert table.info.get("kind") in KINDS


@pytest.mark.parametrize("table", REGISTRY)
def test_a_registrys_table_has_the_registry_first(table: Table):
    """On PostgreSQL every index begins with it, and no row is without it."""
    first = table.columns[0]

    assert first.name == "registry_id"
    assert not first.nullable


@pytest.mark.parametrize("table", REGISTRY)
def test_a_registrys_keys_have_the_registry_first(table: Table):
    """The second wall beside the binder: a row cannot even be made to name another registry's."""
    keys = [key.columns for key in (table.primary_key, *table.foreign_key_constraints)]

    assert {columns.keys()[0] for columns in (*keys, *(index.columns for index in table.indexes))} == {
        "registry_id"
    }
    assert all(key.elements[0].column.name == "registry_id" for key in table.foreign_key_constraints)


@pytest.mark.parametrize("table", CELL + PLATFORM)
def test_a_table_above_registries_belongs_to_none(table: Table):
    """Directory and platform are above registries: one that were bound to them could read another's rows."""
    assert "registry_id" not in table.columns


def test_whatever_the_master_key_wraps_is_wrapped_anew_when_it_is_rotated():
    """A secret that a rotation misses cannot be opened once the old key is forgotten."""
    everything = (*rekeying.OF_A_REGISTRY, *rekeying.OF_THE_PLATFORM)
    moved = {statement.replace.clause.table.name for statement in everything}  # type: ignore[attr-defined]

    named = {
        table.name
        for whole in (tables.metadata, cell.metadata, migrate.PLATFORM.metadata())
        for table in whole.sorted_tables
        if "master" in table.columns
    }
    assert named == moved


def test_no_two_families_have_a_table_or_an_index_of_one_name():
    """On PostgreSQL they stand beside each other in one schema."""
    names = [
        name
        for whole in (tables.metadata, cell.metadata, migrate.PLATFORM.metadata())
        for table in whole.sorted_tables
        for name in (table.name, *(str(index.name) for index in table.indexes))
    ]

    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("table", PLATFORM)
def test_the_platforms_keys_are_found_by_an_index(table: Table):
    """Who is asked for by an owner is not searched for through every other owner's rows."""
    first = {next(iter(index.columns)).name for index in table.indexes} | {table.primary_key.columns[0].name}
    named = {column.name for key in table.foreign_key_constraints for column in key.columns}

    assert named - first <= {"login_id"}
