"""PostgreSQL's keys begin with the registry: a row names rows of its own registry, or nothing.

The release before names no key, so it goes on working before, between and after these steps. On SQLite a file is one
registry, and nothing changes.
"""

from alembic import op

from moorage.db.migrations import online

revision = "0002"
down_revision = "0001"
PHASE = "pre"

KEY = "registry_id, id"
NUMBERED = (
    "blob", "event", "immutable_rule", "label", "manifest", "member", "outbox", "project", "repository", "robot", "tag",
    "user", "user_group",
)  # fmt: skip

# A table, its column, and the table whose row that names.
REFERENCES = (
    ("immutable_rule", "project_id", "project"),
    ("label", "project_id", "project"),
    ("manifest", "repository_id", "repository"),
    ("manifest_blob", "manifest_id", "manifest"),
    ("manifest_child", "parent_id", "manifest"),
    ("manifest_label", "label_id", "label"),
    ("manifest_label", "manifest_id", "manifest"),
    ("member", "group_id", "user_group"),
    ("member", "project_id", "project"),
    ("member", "user_id", "user"),
    ("project_blob", "blob_id", "blob"),
    ("project_blob", "project_id", "project"),
    ("project_metadata", "project_id", "project"),
    ("repository", "project_id", "project"),
    ("repository_blob", "blob_id", "blob"),
    ("repository_blob", "repository_id", "repository"),
    ("robot", "project_id", "project"),
    ("robot_permission", "robot_id", "robot"),
    ("tag", "manifest_id", "manifest"),
    ("upload", "repository_id", "repository"),
    ("user_group_member", "group_id", "user_group"),
    ("user_group_member", "user_id", "user"),
    ("user_identity", "user_id", "user"),
)


def upgrade() -> None:
    """Build the new keys beside the old ones, hold every row to them, and only then drop the old."""
    if op.get_bind().dialect.name != "postgresql":
        return
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        left = [table for table in NUMBERED if not online.has_primary_key(connection, table, KEY)]
        for table in left:
            online.ensure_unique(connection, f"{table}_number", table, KEY)
        for table, column, to in REFERENCES:
            rule = f'(registry_id, {column}) REFERENCES "{to}" ({KEY})'
            online.ensure_foreign_key(connection, table, f"{table}_registry_id_{column}_fkey", rule)
        for table, column, _ in REFERENCES:
            online.ensure_none(connection, table, f"{table}_{column}_fkey")
        for table in left:
            online.become_primary_key(connection, f"{table}_number", table, f"{table}_pkey")
