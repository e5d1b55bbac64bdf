"""Each table says what it is to a restore, and whose rows it holds."""

from __future__ import annotations

import pytest
from sqlalchemy import Table

from moorage.db import cell, tables

KINDS = {"content", "access", "record"}
REGISTRY = [pytest.param(table, id=table.name) for table in tables.metadata.sorted_tables]
CELL = [pytest.param(table, id=table.name) for table in cell.metadata.sorted_tables]


@pytest.mark.parametrize("table", REGISTRY + CELL)
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


@pytest.mark.parametrize("table", CELL)
def test_a_cells_table_belongs_to_no_registry(table: Table):
    """The directory is above registries: a registry bound to it could read another's entry."""
    assert "registry_id" not in table.columns
