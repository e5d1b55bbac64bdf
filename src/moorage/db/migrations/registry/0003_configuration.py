"""A table for what is set for a whole registry. The release before has none, and misses none."""

from moorage.db.migrations.freeze import run_frozen

revision = "0003"
down_revision = "0002"
PHASE = "pre"


def upgrade() -> None:
    """Make it."""
    run_frozen(__file__)
