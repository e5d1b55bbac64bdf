"""Operations that are being built: until they are, each is answered that this release does not serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from moorage.api.harbor.problems import NotFound

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers

_NAMES = """
    pingLdap searchLdapUser importLdapUser searchLdapGroup
"""
NOT_YET: Final = frozenset(_NAMES.split())


def answers() -> Answers:
    """Say who answers them."""
    return dict.fromkeys(NOT_YET, not_served)


async def not_served(ask: Ask) -> Answer:
    """Answer that there is no such thing here yet."""
    raise NotFound(f"{ask.operation.id} is not served by this release")
