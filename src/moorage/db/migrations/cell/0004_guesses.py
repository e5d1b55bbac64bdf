"""A table for wrong passwords, which all processes count together. The release before has none: each of its processes counts."""

from moorage.db.migrations.freeze import run_frozen

revision = "0004"
down_revision = "0003"
PHASE = "pre"


def upgrade() -> None:
    """Make it."""
    run_frozen(__file__)
