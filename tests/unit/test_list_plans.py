"""A page of a list is read from an index that ends in the list's order, and no total sorts anything, on both engines."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import moorage
from moorage.db import Statement
from moorage.db.pages import Asked, Condition, How, Listing
from moorage.db.statements import POSTGRES_BOUND, SQLITE_BOUND
from tests.unit.test_query_plans import file, server

__all__ = ["file", "server"]

SORTED = {
    "registry.accessories._LISTED": "few things hang on one artifact",
    "registry.artifact_pages.LATEST_OF_SOME": "as above, of repositories that were granted",
    "registry.artifact_pages.OF_SOME": "it is of repositories that were granted one by one",
    "registry.repository_pages._SOME_OF_PROJECT": "as above",
    "registry.renaming.KEPT": "a project and what stands in it had few other names",
    "registry.tagging.LISTED": "an artifact has few tags",
    "registry.artifact_pages.LATEST_OF_PROJECT": "it is the latest of each repository, of which there is one",
}
# Of rows that are in the order of their names already, PostgreSQL sorts those of one name by their number: that is one.
_SORTED = re.compile(r"Limit\n\s+->  Sort")
# What is asked of these is counted in the rows: there are few, or (a log) they are asked for by time.
NOT_ALONE = ("registry.logs.", "identity.repository_grants.")
ASKED = {
    "as it comes": Asked(),
    "deep": Asked(1000, 100),
    "last first": Asked(sort=(("name", True),)),
}


def _listings() -> Iterator[tuple[str, Listing]]:
    for module in pkgutil.walk_packages(moorage.__path__, "moorage."):
        if ".migrations" in module.name or module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            several = value if isinstance(value, dict) else {"": value}
            for part, one in several.items():
                if isinstance(one, Listing):
                    yield f"{module.name.removeprefix('moorage.')}.{name}{part and '.'}{part}", one


LISTINGS = dict(_listings())
NAMES = sorted(LISTINGS)


@pytest.mark.parametrize("name", NAMES)
def test_sqlite_reads_a_page_in_order_from_an_index(file: sqlite3.Connection, name: str) -> None:
    plans = {
        asked: _sqlite(file, LISTINGS[name].statements(given)[0])
        for asked, given in ASKED.items()
        if not given.sort or "name" in LISTINGS[name].keys
    }

    sorts = {asked for asked, plan in plans.items() if "TEMP B-TREE FOR" in plan.splitlines()[-1]}
    assert name in SORTED or not sorts, plans


@pytest.mark.parametrize("name", NAMES)
def test_postgresql_reads_a_page_in_order_from_an_index(server: psycopg.Connection, name: str) -> None:
    plans = {
        asked: _postgresql(server, LISTINGS[name].statements(given)[0])
        for asked, given in ASKED.items()
        if not given.sort or "name" in LISTINGS[name].keys
    }

    sorts = {asked for asked, plan in plans.items() if _SORTED.match(plan) or "Seq Scan" in plan}
    assert name in SORTED or not sorts, "\n".join(plans.values())


@pytest.fixture(scope="module")
def vacuumed(server: psycopg.Connection) -> psycopg.Connection:
    """Give the server as it is soon after rows were written: it knows which pages need no look."""
    server.execute("VACUUM ANALYZE")
    return server


KEYS = ("name", "username", "group_name", "entity_name", "type")


@pytest.mark.parametrize("name", NAMES)
def test_a_total_is_kept_or_counted_without_a_look_at_the_rows(
    file: sqlite3.Connection, vacuumed: psycopg.Connection, name: str
) -> None:
    listing = LISTINGS[name]
    whole = listing.statements(Asked())[1]
    key = next((one for one in KEYS if one in listing.keys), "")
    searched = listing.statements(Asked(conditions=(Condition(key, How.FUZZY, ("a",)),)))[1]

    assert "Seq Scan" not in _postgresql(vacuumed, whole)
    if name not in SORTED and key and not name.startswith(NOT_ALONE):
        assert "Index Only Scan" in _postgresql(vacuumed, searched), _postgresql(vacuumed, searched)
    if "artifact_pages.OF" in name:
        # Of a table whose rows hold whole manifests SQLite, too, looks at none.
        assert "USING COVERING INDEX manifest_" in _sqlite(file, searched), _sqlite(file, searched)


def _sqlite(file: sqlite3.Connection, statement: Statement) -> str:
    plan = statement.plan(SQLITE_BOUND)
    given = dict.fromkeys(re.findall(r"(?<![:\w]):(\w+)", plan.sql))
    return "\n".join(row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {plan.sql}", given))


def _postgresql(server: psycopg.Connection, statement: Statement) -> str:
    plan: Any = statement.plan(POSTGRES_BOUND)
    server.execute("DEALLOCATE ALL")
    server.execute(f"PREPARE asked AS {plan.sql}".encode())
    marks = ", ".join("NULL" for _ in set(re.findall(r"\$\d+", plan.sql)))
    asked = f"EXPLAIN (COSTS off) EXECUTE asked{marks and f'({marks})'}"
    return "\n".join(row[0] for row in server.execute(asked.encode()).fetchall())
