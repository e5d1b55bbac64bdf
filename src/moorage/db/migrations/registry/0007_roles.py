"""Roles of a registry's own, and grants for single repositories."""

revision = "0007"
down_revision = "0006"
PHASE = "pre"


def upgrade() -> None:
    """Change nothing yet."""
