"""Names that projects and repositories had.

The release before knows none of them: while its processes are left, it says of an old name that it is unknown, and an
upload by an administrator may make a project of that name there. A name in use always counts before an old one, so
nobody reaches one project by rights in another even then.
"""

from moorage.db.migrations.freeze import run_frozen_briefly

revision = "0008"
down_revision = "0007"
PHASE = "pre"


def upgrade() -> None:
    """Make their tables."""
    run_frozen_briefly(__file__)
