"""Tables and indexes of the management API, and what manifests are: sessions, allowlists, lists that are paged in an index.

The release before knows none of them, and misses none. On PostgreSQL the indexes are built while rows are written.
"""

from alembic import op

from moorage.db.migrations import online
from moorage.db.migrations.freeze import run_frozen

revision = "0004"
down_revision = "0003"
PHASE = "pre"

COLUMNS = ("kind", "config_type", "facts")
LIVE = "WHERE deleted_at IS NULL AND state = 'live'"
INDEXES = (
    ("project_listed", "project", f"(registry_id, name, id, public) {LIVE}"),
    ("project_created", "project", f"(registry_id, created_at, id, public) {LIVE}"),
    ("repository_listed", "repository", f"(registry_id, project_id, name, id) {LIVE}"),
    ("repository_all", "repository", f"(registry_id, name, id, project_id) {LIVE}"),
    (
        "manifest_kindless",
        "manifest",
        "(registry_id, repository_id, id) WHERE kind IS NULL AND deleted_at IS NULL",
    ),
)


def upgrade() -> None:
    """Make them."""
    run_frozen(__file__)
    if op.get_bind().dialect.name != "postgresql":
        return
    with op.get_context().autocommit_block():
        for column in COLUMNS:
            online.briefly(
                op.get_bind(), f'ALTER TABLE manifest ADD COLUMN IF NOT EXISTS {column} TEXT COLLATE "C"'
            )
        for name, table, rest in INDEXES:
            online.ensure_index(op.get_bind(), name, table, rest)
