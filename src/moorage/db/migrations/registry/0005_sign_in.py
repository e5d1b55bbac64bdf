"""How people sign in by an OpenID provider's word: who is at it just now.

The release before knows nothing of it. Until this has run nobody can sign in by a provider; all else goes on.
"""

from moorage.db.migrations.freeze import run_frozen

revision = "0005"
down_revision = "0004"
PHASE = "pre"


def upgrade() -> None:
    """Make the table."""
    run_frozen(__file__)
