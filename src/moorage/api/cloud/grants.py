"""Calls about the provider's people's entry into a registry: which was asked for, and whether it may be, or goes on."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Final

from moorage.api.cloud import models, times
from moorage.api.cloud.asks import Ask
from moorage.api.cloud.registries import registry_id
from moorage.api.cloud.routes import Route
from moorage.cloud import grants
from moorage.cloud.desk import Desk
from moorage.cloud.entries import Entries
from moorage.cloud.grants import APPROVED, REFUSED, Grant, GrantUnknown

_PATH: Final = "/cloud/project/{serviceName}/containerRegistry/{registryID}/grant"
_ONE: Final = _PATH + "/{grantId}"


@dataclass(frozen=True, slots=True)
class Grants:
    """Calls about grants."""

    desk: Desk

    def routes(self) -> list[Route]:
        """List the calls."""
        action, gives = "containerRegistry/grant/", models.Grant
        return [
            Route("GET", _PATH, f"{action}get", self.list, "List the provider's people's entries into the registry",
                  gives=list[models.Grant], added=True),
            Route("GET", _ONE, f"{action}get", self.get, "Show a grant", gives=gives, added=True),
            Route("POST", f"{_ONE}/approve", f"{action}approve", self.approve, "Let an operator of the provider's in",
                  gives=gives, added=True),
            Route("POST", f"{_ONE}/refuse", f"{action}refuse", self.refuse, "Refuse a grant that was asked for", gives=gives,
                  added=True),
            Route("POST", f"{_ONE}/end", f"{action}end", self.end, "End a grant now", gives=gives, added=True),
        ]  # fmt: skip

    async def list(self, ask: Ask) -> builtins.list[models.Grant]:
        """List the grants, the latest first."""
        found = await grants.of_registry(self.desk.platform, ask.cloud_project, registry_id(ask))
        return [_shown(one) for one in found]

    async def get(self, ask: Ask) -> models.Grant:
        """Show a grant."""
        return _shown(
            await grants.of_customer(self.desk.platform, ask.cloud_project, registry_id(ask), _id(ask))
        )

    async def approve(self, ask: Ask) -> models.Grant:
        """Approve a grant, where the registry's plan leaves it to the customer."""
        return await self._decide(ask, APPROVED)

    async def refuse(self, ask: Ask) -> models.Grant:
        """Refuse a grant."""
        return await self._decide(ask, REFUSED)

    async def end(self, ask: Ask) -> models.Grant:
        """End a grant: whoever has entered by it is out within a second."""
        desk, registry = self.desk, registry_id(ask)
        found = await grants.of_customer(desk.platform, ask.cloud_project, registry, _id(ask))
        return _shown(await Entries(desk.platform, desk.site).close(found, ask.origin))

    async def _decide(self, ask: Ask, decided: str) -> models.Grant:
        made = await self.desk.platform.change(
            lambda tx: grants.decide_as_customer(
                tx, ask.cloud_project, registry_id(ask), _id(ask), decided, ask.origin
            )
        )
        return _shown(made)


def _id(ask: Ask) -> str:
    """Give the grant's id in the path; what cannot be one names no grant."""
    text = ask.params["grantId"]
    if not text.isascii() or not text.isprintable():
        raise GrantUnknown
    return text


def _shown(found: Grant) -> models.Grant:
    return models.Grant(
        id=found.id,
        operator=found.operator,
        reason=found.reason,
        scope=found.scope,
        approver=found.approver,
        state=found.state,
        asked_at=times.written(found.asked_at),
        until=times.written(found.until),
        decided_at=times.written_or_none(found.decided_at),
        decided_by=found.decided_by or None,
        ended_at=times.written_or_none(found.ended_at),
        ended_by=found.ended_by or None,
        opened=found.robot is not None,
    )
