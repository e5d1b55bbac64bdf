"""Names that projects and repositories had."""

revision = "0008"
down_revision = "0007"
PHASE = "pre"


def upgrade() -> None:
    """Change nothing yet."""
