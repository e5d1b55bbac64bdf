"""What each process counts of each registry's requests has a table. The release before has none, and misses none."""

from moorage.db.migrations import freeze

revision = "0002"
down_revision = "0001"
PHASE = "pre"


def upgrade() -> None:
    """Make it."""
    freeze.run_frozen(__file__)
