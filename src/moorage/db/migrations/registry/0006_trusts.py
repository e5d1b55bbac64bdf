"""What tokens of others a robot trusts."""

revision = "0006"
down_revision = "0005"
PHASE = "pre"


def upgrade() -> None:
    """Change nothing yet."""
