"""Permissions as Harbor writes them, and the rule that nobody gives another what they do not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from moorage.api.harbor.problems import BadRequest, Forbidden
from moorage.identity.roles import OF_ROLE, Permission, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.api.harbor.asks import Ask
    from moorage.identity.accounts import Grant
    from moorage.identity.held import Held
    from moorage.identity.roles import Permissions

_ALLOW = ("", "allow")


class Access(msgspec.Struct):
    """Leave to do one thing."""

    resource: str | None = None
    action: str | None = None
    effect: str | None = None

    def permission(self) -> Permission:
        """Read it, or raise BadRequest."""
        if (self.effect or "") not in _ALLOW:
            raise BadRequest(
                f"effect is allow, not {(self.effect or '')[:64]}: what is not given is not allowed"
            )
        return Permission(self.resource or "", self.action or "")


def read(given: list[Access] | None) -> Permissions:
    """Read permissions, or raise BadRequest."""
    return frozenset(one.permission() for one in given or [])


def written(permissions: Iterable[Permission]) -> list[dict[str, str]]:
    """Write permissions, in a lasting order."""
    return [{"resource": one.resource, "action": one.action} for one in sorted(permissions)]


def require_to_give(ask: Ask, held: Held, wanted: Permissions, *, pattern: str = "") -> None:
    """Raise Forbidden unless the caller, who holds this in the project, has all of what they give in it."""
    lacking = held.lacks(wanted, pattern=pattern, by_robot=ask.caller.kind == "robot")
    if lacking:
        raise Forbidden(
            f"{ask.caller.name} has no {lacking[0]} here, and nobody gives what they do not have",
            permission=str(lacking[0]),
        )


async def require_to_give_robot(ask: Ask, grants: Iterable[Grant]) -> None:
    """Raise Forbidden unless a user has all of what they give a robot in projects; who administrates one gives any of it."""
    places: dict[str, set[Permission]] = {}
    for one in grants:
        if one.kind == "project":
            places.setdefault(one.namespace, set()).add(one.permission)
    for project, wanted in places.items():
        held = await ask.access.held(ask.caller, project)
        if not held.everywhere >= OF_ROLE[Role.PROJECT_ADMIN]:
            require_to_give(ask, held, frozenset(wanted))
