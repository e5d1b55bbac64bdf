"""Changing a PostgreSQL that is being used: each step waits for nobody's turn longer than a moment.

A revision that locks tables is made of such steps, inside Alembic's ``autocommit_block``. Each is a transaction of its
own and is left out where it is done already, so a process killed between two is followed by one that goes on there.

A lock is waited for shorter than PostgreSQL waits before it looks for a deadlock (a second), so that the one who gives
way is the migration, never a push.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy.exc import OperationalError

from moorage.errors import Unavailable

LOCK = "200ms"
PAUSE = 0.2
PATIENCE = 600.0
"""Seconds after which a step gives up: some transaction has held its table for as long."""
_NOT_AVAILABLE = "55P03"


def briefly(connection: Any, sql: str) -> None:
    """Run *sql* once its locks can be had in a moment, trying again for a while, or raise Unavailable."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK}'; {sql}")
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", "") != _NOT_AVAILABLE:
                raise
            if time.monotonic() > until:
                raise Unavailable(
                    f"a table could not be locked for {PATIENCE:.0f} s: end the transaction that holds it "
                    f"(pg_stat_activity shows it), and migrate again; it goes on at: {sql}"
                ) from error
            time.sleep(PAUSE)
        else:
            return


def has_primary_key(connection: Any, table: str, columns: str) -> bool:
    """Tell whether a table's primary key is on these columns."""
    asked = f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '\"{table}\"'::regclass AND contype = 'p'"  # noqa: S608 - a revision's own names.
    return bool(_one(connection, asked) == f"PRIMARY KEY ({columns})")


def ensure_unique(connection: Any, name: str, table: str, columns: str) -> None:
    """Make a unique index while the table is written to; one that was left half made is made anew."""
    valid = _one(connection, f"SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{name}')")  # noqa: S608 - as above.
    if valid is False:
        connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {name}")
    if not valid:
        connection.exec_driver_sql(f'CREATE UNIQUE INDEX CONCURRENTLY {name} ON "{table}" ({columns})')


def ensure_index(connection: Any, name: str, table: str, rest: str) -> None:
    """Make an index while the table is written to; *rest* is its columns, and its condition if it has one."""
    valid = _one(connection, f"SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{name}')")  # noqa: S608 - as above.
    if valid is False:
        connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {name}")
    if not valid:
        connection.exec_driver_sql(f'CREATE INDEX CONCURRENTLY {name} ON "{table}" {rest}')


def ensure_foreign_key(connection: Any, table: str, name: str, rule: str) -> None:
    """Hold new rows to *rule* at once, then look whether the old ones keep it, while all go on."""
    valid = _one(connection, _constraint("convalidated", table, name))
    if valid is None:
        briefly(connection, f'ALTER TABLE "{table}" ADD CONSTRAINT {name} FOREIGN KEY {rule} NOT VALID')
    if not valid:
        briefly(connection, f'ALTER TABLE "{table}" VALIDATE CONSTRAINT {name}')


def ensure_none(connection: Any, table: str, name: str) -> None:
    """Drop a constraint that may be gone."""
    if _one(connection, _constraint("true", table, name)):
        briefly(connection, f'ALTER TABLE "{table}" DROP CONSTRAINT {name}')


def become_primary_key(connection: Any, index: str, table: str, name: str) -> None:
    """Let a unique index take the primary key's place and name; the old one goes."""
    briefly(
        connection,
        f'ALTER TABLE "{table}" DROP CONSTRAINT {name}, ADD CONSTRAINT {name} PRIMARY KEY USING INDEX {index}',
    )


def _constraint(wanted: str, table: str, name: str) -> str:
    return (
        f"SELECT {wanted} FROM pg_constraint "  # noqa: S608 - as above.
        f"WHERE conrelid = '\"{table}\"'::regclass AND conname = '{name}'"
    )


def _one(connection: Any, sql: str) -> Any:
    return connection.exec_driver_sql(sql).scalar()
