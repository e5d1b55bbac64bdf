"""Set a registry's file back to the schema of the release before: the same rows, in the tables that it had then."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sqlite3
from pathlib import Path

from moorage.db import migrate

RELEASED = "0002"
"""The newest revision of a registry's schema that the release before knows."""


def set_back(files: list[Path], folder: Path) -> None:
    """Set *files* back, which nobody has open; *folder* is for what that needs."""
    known = folder / "revisions"
    shutil.copytree(
        migrate.REGISTRY.folder,
        known,
        ignore=lambda _, names: [name for name in names if name[:1].isdigit() and name[:4] > RELEASED],
    )
    family = dataclasses.replace(migrate.REGISTRY, folder=known)
    for file in files:
        made = folder / file.name
        migrate.clone(family, made)
        with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as older:
            _copy(older, file)
        made.replace(file)


def _copy(older: sqlite3.Connection, newer: Path) -> None:
    older.execute("ATTACH ? AS newer", (str(newer),))
    older.execute("BEGIN")
    for table in _names(older, "SELECT name FROM main.sqlite_master WHERE type = 'table'"):
        if table.startswith("sqlite_") or table == migrate.REGISTRY.version_table:
            continue
        asked = "SELECT name FROM pragma_table_info('{0}', '{1}')"
        both = _names(older, asked.format(table, "main")) & _names(older, asked.format(table, "newer"))
        columns = ", ".join(f'"{name}"' for name in sorted(both))
        older.execute(f'INSERT INTO main."{table}" ({columns}) SELECT {columns} FROM newer."{table}"')  # noqa: S608 - names.
    older.execute("COMMIT")
    older.execute("DETACH newer")
    older.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _names(connection: sqlite3.Connection, asked: str) -> set[str]:
    return {row[0] for row in connection.execute(asked)}
