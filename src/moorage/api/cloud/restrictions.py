"""Calls about from where a registry may be used: its clients' part and its management, each by a list of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from moorage.api.cloud import models, times
from moorage.api.cloud.asks import Ask
from moorage.api.cloud.models import IPRestrictionsUpdate
from moorage.api.cloud.registries import registry_id
from moorage.api.cloud.routes import Route
from moorage.cloud import restrictions
from moorage.cloud.desk import Desk
from moorage.cloud.restrictions import Restriction, Wanted
from moorage.registry.address_rules import Part

_PATH: Final = "/cloud/project/{serviceName}/containerRegistry/{registryID}/ipRestrictions"


@dataclass(frozen=True, slots=True)
class Restrictions:
    """Calls about one of the lists."""

    desk: Desk
    part: Part

    def routes(self) -> list[Route]:
        """List the calls."""
        path, action = f"{_PATH}/{self.part}", f"containerRegistry/ipRestrictions/{self.part}/"
        gives = list[models.IPRestrictions]
        return [
            Route("GET", path, f"{action}get", self.get, f"List from where the {self.part} may be used", gives=gives),
            Route("PUT", path, f"{action}edit", self.replace, f"Say from where the {self.part} may be used",
                  list[IPRestrictionsUpdate], gives),
        ]  # fmt: skip

    async def get(self, ask: Ask) -> list[models.IPRestrictions]:
        """List the blocks; none let everybody in."""
        found = await restrictions.listed(self.desk.platform, ask.cloud_project, registry_id(ask), self.part)
        return [_shown(one) for one in found]

    async def replace(self, ask: Ask) -> list[models.IPRestrictions]:
        """Put a list in the place of the one that is there."""
        given = ask.read(list[IPRestrictionsUpdate])
        wanted = [Wanted(one.ip_block, one.description or "") for one in given]
        made = await self.desk.restrict(ask.cloud_project, registry_id(ask), self.part, wanted, ask.origin)
        return [_shown(one) for one in made]


def _shown(found: Restriction) -> models.IPRestrictions:
    return models.IPRestrictions(
        created_at=times.written(found.created_at),
        description=found.description,
        ip_block=found.block,
        updated_at=times.written(found.updated_at),
    )
