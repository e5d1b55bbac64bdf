"""The first schema: the platform tables, frozen in SQL beside this file."""

from moorage.db.migrations.freeze import run_frozen

revision = "0001"
down_revision = None
PHASE = "pre"


def upgrade() -> None:
    """Make every table."""
    run_frozen(__file__)
