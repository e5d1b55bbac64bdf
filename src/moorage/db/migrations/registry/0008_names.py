"""Names that projects and repositories had.

The release before knows none of them: while its processes are left, it says of an old name that it is unknown, and an
upload by an administrator may make a project of that name there. A name in use always counts before an old one, so
nobody reaches one project by rights in another even then.
"""

from alembic import op

from moorage.db.migrations import online
from moorage.db.migrations.freeze import frozen, run_frozen

revision = "0008"
down_revision = "0007"
PHASE = "pre"


def upgrade() -> None:
    """Make their tables."""
    if op.get_bind().dialect.name != "postgresql":
        run_frozen(__file__)
        return
    # What they refer to is locked for a moment: of a push and this, this gives way.
    with op.get_context().autocommit_block():
        for statement in frozen(__file__, "postgresql"):
            online.briefly(op.get_bind(), statement)
