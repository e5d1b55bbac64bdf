"""What SQLite's planner is told of a registry's tables."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from moorage.db import estimates, migrate
from moorage.db.sqlite import SqliteDatabase

INDEXES = """
SELECT list.name FROM sqlite_schema AS made, pragma_index_list(made.name) AS list
  WHERE made.type = 'table' AND made.name NOT LIKE 'schema_%' AND list.origin <> 'pk'
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "registry.sqlite"
    migrate.clone(migrate.REGISTRY, made)
    return made


def figures(path: Path) -> dict[str, str]:
    with sqlite3.connect(path) as connection:
        return dict(connection.execute("SELECT coalesce(idx, tbl), stat FROM sqlite_stat1"))


def test_every_index_of_a_new_file_has_figures(path: Path):
    with sqlite3.connect(path) as connection:
        indexes = {name for (name,) in connection.execute(INDEXES)}

    assert len(indexes) > 30
    assert indexes <= set(figures(path))


def test_a_first_column_narrows_nothing_and_a_unique_index_leads_to_one_row(path: Path):
    told = figures(path)

    assert told["manifest_digest"] == "1000000 1000000 1000 1"
    assert told["doomed_due"] == "1000000 1000000 10"
    assert told["repository_blob"] == "1000000 1000000 1000 1"
    assert told["registry"] == "1 1"


async def test_a_file_without_figures_is_told_them_when_it_is_opened(path: Path):
    told = figures(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE sqlite_stat1")

    await (await SqliteDatabase.open(path, 1)).close()

    assert figures(path) == told


def test_figures_that_are_there_are_not_written_again(path: Path):
    before = path.read_bytes()
    connection = sqlite3.connect(path, isolation_level=None)

    estimates.tell(connection)

    assert connection.total_changes == 0
    connection.close()
    assert path.read_bytes() == before


def test_figures_that_somebody_gathered_are_put_right_with_the_next_upgrade(path: Path):
    told = figures(path)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO registry (registry_id, clock, limit_bytes, lease, trash_window, backup_window)"
            " VALUES (1, 1, -1, 1, 1, 1)"
        )
        connection.execute("ANALYZE")
    gathered = figures(path)

    migrate.upgrade_file(migrate.REGISTRY, path)

    assert gathered != told
    assert figures(path) == told
