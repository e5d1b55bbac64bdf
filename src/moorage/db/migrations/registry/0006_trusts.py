"""What tokens of others a robot trusts.

The release before knows nothing of them and signs robots in by their secrets alone. What a trust has signed in is held to the
robot's own state, which it does know: whom a trust lets in no more, it lets in no more.
"""

from moorage.db.migrations.freeze import run_frozen_briefly

revision = "0006"
down_revision = "0005"
PHASE = "pre"


def upgrade() -> None:
    """Make their table."""
    run_frozen_briefly(__file__)
