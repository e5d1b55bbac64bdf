"""How much is in each repository and project, counted by the database itself, and the indexes that lists are read from.

A process of the release before knows none of it and writes on: triggers count what it changes, as they count what this
release does (`db.counting`). On PostgreSQL they are there before the rows of old are counted, a few in each turn of their
registry; what has been written meanwhile is in the sums, which a last turn of each registry writes whole. A process that
is killed on the way is followed by one that counts again.
"""

from pathlib import Path
from typing import Any

from alembic import op

from moorage.db.migrations import online
from moorage.db.migrations.freeze import run_frozen

revision = "0009"
down_revision = "0008"
PHASE = "pre"

STEP = 500
# The lock of a registry's turns, as `db.turns` has it.
TURN = 0x4D6F6F72 << 32
SUM = "BIGINT DEFAULT 0 NOT NULL"
COLUMNS = (
    ("manifest", "shown", "SMALLINT"),
    ("manifest", "project_id", "BIGINT"),
    ("repository", "artifacts", SUM),
    ("repository", "pulls", SUM),
    ("project", "repositories", SUM),
    ("project", "artifacts", SUM),
    ("registry", "projects", SUM),
    ("registry", "public_projects", SUM),
    ("registry", "repositories", SUM),
    ("registry", "public_repositories", SUM),
    ("member", "name", 'TEXT COLLATE "C"'),
)
LIVE = "WHERE deleted_at IS NULL"
INDEXES = (
    (
        "manifest_listed",
        "manifest",
        "(registry_id, repository_id, pushed_at, id, kind, shown) WHERE shown = 1",
    ),
    (
        "manifest_of_project",
        "manifest",
        "(registry_id, project_id, pushed_at, id, kind, shown, repository_id) WHERE shown = 1",
    ),
    ("label_global", "label", f"(registry_id, name, id) {LIVE} AND project_id IS NULL"),
    ("label_listed", "label", f"(registry_id, project_id, name, id) {LIVE}"),
    ("member_listed", "member", "(registry_id, project_id, name, id, role)"),
    (
        "repository_created",
        "repository",
        f"(registry_id, project_id, created_at, id) {LIVE} AND state = 'live'",
    ),
    (
        "repository_newest",
        "repository",
        f"(registry_id, created_at, id, project_id) {LIVE} AND state = 'live'",
    ),
    ("robot_of_project", "robot", f"(registry_id, project_id, name, id) {LIVE}"),
    ("robot_of_system", "robot", f"(registry_id, name, id) {LIVE} AND project_id IS NULL"),
    ("user_group_listed", "user_group", f"(registry_id, name, id) {LIVE}"),
    ("user_listed", "user", f"(registry_id, name, id) {LIVE}"),
)


def upgrade() -> None:
    """Make them, and count what there is."""
    if op.get_bind().dialect.name != "postgresql":
        run_frozen(__file__)
        return
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        for table, column, kind in COLUMNS:
            online.briefly(connection, f'ALTER TABLE "{table}" ADD COLUMN IF NOT EXISTS {column} {kind}')
        run_frozen(__file__)
        for statement in _statements("triggers"):
            online.briefly(connection, statement)
        for name, table, rest in INDEXES:
            online.ensure_index(connection, name, table, rest)
        for (number,) in connection.exec_driver_sql("SELECT registry_id FROM registry").fetchall():
            _fill(connection, number)


def _fill(connection: Any, registry: int) -> None:
    """Count one registry: its manifests some at a time, and then all sums at once."""
    rows, *sums = _statements("filling")
    turn = f"SELECT pg_advisory_xact_lock({TURN + registry}); "
    after = 0
    while True:
        asked = (
            f"SELECT max(id) FROM (SELECT id FROM manifest WHERE registry_id = {registry} AND id > {after}"  # noqa: S608 - numbers.
            f" ORDER BY id LIMIT {STEP}) page"
        )
        last = connection.exec_driver_sql(asked).scalar()
        if last is None:
            break
        given = {":registry": registry, ":after": after, ":last": last}
        connection.exec_driver_sql(turn + _given(rows, given))
        after = last
    connection.exec_driver_sql(turn + "; ".join(_given(one, {":registry": registry}) for one in sums))


def _given(statement: str, values: dict[str, int]) -> str:
    """Write the numbers in: a statement that shares its message with others has no parameters."""
    for name, value in values.items():
        statement = statement.replace(name, str(value))
    return statement


def _statements(what: str) -> list[str]:
    text = Path(__file__).with_suffix(f".{what}.sql").read_text()
    return text.strip().removesuffix(";").split(";\n\n")
