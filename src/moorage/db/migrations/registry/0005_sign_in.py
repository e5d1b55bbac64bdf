"""How people sign in: with LDAP's or an OIDC provider's word."""

revision = "0005"
down_revision = "0004"
PHASE = "pre"


def upgrade() -> None:
    """Change nothing yet."""
