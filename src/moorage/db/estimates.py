"""What SQLite's planner is told of a registry's tables: the same in every file, however many rows there are.

Every index of a registry begins with ``registry_id``, which a file holds one value of. Without figures SQLite believes
that any first column narrows a search to ten rows, and so prefers an index that leads to all of them to the row's own
number. Gathered figures (ANALYZE) would say otherwise, and something else in each file. These are written once; they
say that a registry is large, and that of an index's further columns each narrows the search alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

ROWS = 1_000_000
FEW = 10
"""How many rows are alike in all columns of an index that is not unique."""
_FIRST = "registry_id"
_WRITTEN = "SELECT tbl, idx, stat FROM sqlite_stat1"
_TOLD = "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'"


def are_told(connection: sqlite3.Connection) -> bool:
    """Say whether a file has figures."""
    return bool(connection.execute(_TOLD).fetchone()[0])


def tell(connection: sqlite3.Connection) -> None:
    """Write the figures of every index that there is, in a transaction of their own, unless they stand there."""
    wanted = list(_figures(connection))
    if are_told(connection) and set(connection.execute(_WRITTEN)) == set(wanted):
        return
    connection.execute("BEGIN IMMEDIATE")
    # This makes the table of figures and gathers none, for it is asked about the schema's own table.
    connection.execute("ANALYZE sqlite_schema")
    connection.execute("DELETE FROM sqlite_stat1")
    connection.executemany("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)", wanted)
    connection.execute("COMMIT")


def _figures(connection: sqlite3.Connection) -> Iterator[tuple[str, str | None, str]]:
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    for (table,) in connection.execute(tables).fetchall():
        indexes = connection.execute(
            'SELECT name, "unique", origin FROM pragma_index_list(?)', (table,)
        ).fetchall()
        if not indexes:
            yield table, None, str(ROWS)
        found: dict[str, tuple[tuple[str, ...], list[int]]] = {}
        alike: dict[tuple[str, ...], int] = {}
        for name, unique, origin in indexes:
            info = connection.execute("SELECT name FROM pragma_index_info(?)", (name,))
            columns = [column for (column,) in info]
            if columns[0] == _FIRST:
                further = tuple(columns[1:])
                steps = _steps(further, unique=bool(unique))
                # The key of a table that is kept in its key goes by the table's name.
                found[table if origin == "pk" else name] = further, steps
                # That no two rows are alike in a unique index says nothing of another with its columns.
                for end in range(len(further) + (not unique)):
                    alike[further[:end]] = min(steps[end], alike.get(further[:end], ROWS))
        for name, (further, steps) in found.items():
            yield table, name, _figure(further, steps, alike)


def _steps(further: tuple[str, ...], *, unique: bool) -> list[int]:
    """Say how many rows are alike in no column, in an index's first, its first two, and so on: each narrows it alike."""
    least = 1 if unique or further[-1:] == ("id",) else FEW
    steps = [number / max(len(further), 1) for number in range(len(further) + 1)]
    return [round(ROWS ** (1 - step) * least**step) for step in steps]


def _figure(further: tuple[str, ...], steps: list[int], alike: dict[tuple[str, ...], int]) -> str:
    """Say how many rows an index has, and how many are alike in its first columns: as many as in any index with these.

    Else an index that ends in an order would be passed over for a shorter one, and the rows be sorted.
    """
    if not further:
        return "1 1"
    rows = ROWS
    told = [rows := min(rows, step, alike.get(further[:end], step)) for end, step in enumerate(steps)]
    return " ".join(str(one) for one in (ROWS, *told))
