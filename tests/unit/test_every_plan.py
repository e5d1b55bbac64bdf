"""No statement goes through all of a registry's rows to find a few, but of those that say here why they may.

A plan that uses nothing of an index but the registry reads every row of it, however fast it is on a small registry.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sqlite3
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from typing import Any

import psycopg

import moorage
from moorage.db import Statement
from moorage.db.statements import POSTGRES_BOUND, SQLITE_BOUND, Unbindable
from tests.unit.test_query_plans import file, server

__all__ = ["file", "server"]

WHOLE = {
    "db.destroying.*": "it counts a whole registry, and destroys it",
    "registry.recount.*": "it checks a whole registry",
    "registry.mending.*": "it mends a whole registry",
    "registry.counters.*": "it checks a whole registry, and mends it",
    "registry.dooming._ALARM": "it checks all that is doomed, once after a collection",
    "registry.relay._ANY": "an outbox is emptied each second",
    "registry.relay._FIRST": "an outbox is emptied each second",
    "registry.quota_events._WAITING": "an outbox is emptied each second, and this is asked once an hour and project",
    "registry.quotas._COMING": "it adds up the uploads under way",
    "cloud.metering._STORED": "it adds up every project, once an hour",
    "registry.projects._ALL": "it lists every project",
    "registry.robot_warnings._EXPIRING": "it looks at every robot, once in a round of collection",
    "identity.custom_roles._LISTED": "a registry has a hundred such roles at most",
    "identity.custom_roles._HOLDERS": "it is asked when a role is deleted",
    "identity.users._LISTED": "it lists every user, as the provider's API gives them: in one answer",
    "identity.users._OTHER_ADMINS": "it is asked when an administrator ceases to be one",
    "identity.users._BUT_ONE": "it is asked when the way that people sign in changes",
    "identity.users._FROM_OUTSIDE": "it is asked when the way that people sign in changes",
    "identity.users._VOID_OUTSIDE": "it is asked when the way that people sign in changes",
    "identity.users._FORGET_IDENTITIES": "it is asked when the way that people sign in changes",
    "identity.users._ADMINS": "it is asked when the way that people sign in changes",
    "identity.configuration.*": "a registry has few lines of configuration",
    "identity.robots._TAKE_IN_PROJECT": "it is asked when a project is deleted or renamed",
    "identity.robots._RENAME_IN_GRANTS": "it is asked when a project is renamed",
    "identity.oidc_sign_in._TAKE": "PostgreSQL takes any index of a table that has no rows: with rows, the key of one",
    "identity.outsiders._FIND": "PostgreSQL takes any index of a table that has no rows: with rows, the key of one",
    "identity.outsiders._GROUPS": "it finds the groups of one person among those of a source, once a sign-in",
    "identity.groups._OF_SOURCE": "it lists the groups that a registry has named of its directory, once a sign-in by that",
    "identity.groups._CALLED": "it finds one of the groups that a registry has named of its directory",
    "identity.keys._OTHERS": "a registry has few keys",
    "identity.keys._COUNT": "a registry has few keys",
    "identity.tokens._KEYS": "a registry has few keys",
    "identity.tokens._RETIRE": "a registry has few keys",
}
# The rows that a plan may go through: of the registry itself there is one, and the rest are the statement's own.
_NO_TABLE = re.compile(r"^SCAN (?:json_each|CONSTANT|\(?subquery|\d)")
_ONE_ROW = " registry USING "
_ALL = re.compile(r"\(registry_id=\?\)")
_ALL_OF_INDEX = re.compile(r"Index Cond: \((?:\w+\.)?registry_id = \S+\)$")


def test_sqlite_goes_through_nothing(file: sqlite3.Connection) -> None:
    def walks(statement: Statement) -> bool:
        plan = statement.plan(SQLITE_BOUND)
        given = dict.fromkeys(re.findall(r"(?<![:\w]):(\w+)", plan.sql))
        steps = [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {plan.sql}", given)]
        return any(
            (step.startswith("SCAN") and not _NO_TABLE.match(step))
            or (_ALL.search(step) and _ONE_ROW not in step)
            for step in steps
        )

    assert _unexpected(walks) == []


def test_postgresql_goes_through_nothing(server: psycopg.Connection) -> None:
    def walks(statement: Statement) -> bool:
        plan = statement.plan(POSTGRES_BOUND)
        server.execute("DEALLOCATE ALL")
        server.execute(f"PREPARE asked AS {plan.sql}".encode())
        marks = ", ".join("NULL" for _ in set(re.findall(r"\$\d+", plan.sql)))
        asked = f"EXPLAIN (COSTS off) EXECUTE asked{marks and f'({marks})'}"
        lines = [row[0] for row in server.execute(asked.encode()).fetchall()]
        return any(
            "Seq Scan" in line or (_ALL_OF_INDEX.search(line) and "registry_pkey" not in before)
            for before, line in zip(["", *lines], lines, strict=False)
        )

    assert _unexpected(walks) == []


def test_what_may_go_through_everything_is_still_there() -> None:
    names = [name for name, _ in _everything()]

    assert [pattern for pattern in WHOLE if not any(fnmatch(name, pattern) for name in names)] == []


def _unexpected(walks: Callable[[Statement], bool]) -> list[str]:
    return [
        name
        for name, statement in _everything()
        if not any(fnmatch(name, pattern) for pattern in WHOLE) and _is_bound(statement) and walks(statement)
    ]


def _is_bound(statement: Statement) -> bool:
    """Say whether it is a registry's statement, and not the cell's."""
    try:
        statement.plan(SQLITE_BOUND)
    except Unbindable:
        return False
    return True


def _everything() -> Iterator[tuple[str, Statement]]:
    """Name every statement of the product: by its module, its name there, and its place if there are several."""
    for module in pkgutil.walk_packages(moorage.__path__, "moorage."):
        if ".migrations" in module.name or module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            for place, one in enumerate(_several(value)):
                if isinstance(one, Statement) and one.where.startswith(f"{module.name}:"):
                    yield f"{module.name.removeprefix('moorage.')}.{name}{place or ''}", one


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)
