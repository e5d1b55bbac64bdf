"""Tables of roles of a registry's own, and of what is granted for single repositories.

The release before knows none of them. A number of a role that it does not know adds nothing for it, and so do grants: while
its processes run beside this one's, members may less through them, and never more.
"""

from moorage.db.migrations.freeze import run_frozen_briefly

revision = "0007"
down_revision = "0006"
PHASE = "pre"


def upgrade() -> None:
    """Make them."""
    run_frozen_briefly(__file__)
