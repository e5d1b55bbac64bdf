"""Tables and indexes of the management API: sessions, allowlists of vulnerabilities, and lists that are paged in an index.

The release before knows none of them, and misses none. On PostgreSQL the indexes are built while rows are written.
"""

from alembic import op

from moorage.db.migrations import online
from moorage.db.migrations.freeze import run_frozen

revision = "0004"
down_revision = "0003"
PHASE = "pre"

LIVE = "WHERE deleted_at IS NULL AND state = 'live'"
INDEXES = (
    ("project_listed", "project", f"(registry_id, name, id, public) {LIVE}"),
    ("project_created", "project", f"(registry_id, created_at, id, public) {LIVE}"),
    ("repository_listed", "repository", f"(registry_id, project_id, name, id) {LIVE}"),
    ("repository_all", "repository", f"(registry_id, name, id, project_id) {LIVE}"),
)


def upgrade() -> None:
    """Make them."""
    run_frozen(__file__)
    if op.get_bind().dialect.name != "postgresql":
        return
    with op.get_context().autocommit_block():
        for name, table, rest in INDEXES:
            online.ensure_index(op.get_bind(), name, table, rest)
