"""How much is in each repository and project."""

revision = "0009"
down_revision = "0008"
PHASE = "pre"


def upgrade() -> None:
    """Change nothing yet."""
