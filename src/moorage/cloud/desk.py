"""The desk where orders are taken: the platform's rows, and what an answer about a registry needs of its cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from moorage.cloud import events, provisioning, reconciling, registries, restrictions
from moorage.cloud.catalogue import Catalogue, Plan
from moorage.cloud.errors import DowngradeRefused, NotReady
from moorage.cloud.events import Origin
from moorage.cloud.reconciling import Site
from moorage.cloud.registries import Registry, Use
from moorage.cloud.restrictions import Restriction, Wanted
from moorage.db import Database
from moorage.outbound.http import Caller
from moorage.registry import address_rules
from moorage.registry.address_rules import Part


@dataclass(frozen=True, slots=True)
class Desk:
    """Where calls about registries come; *grace* is in microseconds."""

    platform: Database
    catalogue: Catalogue
    site: Site
    grace: int
    most: int
    """How many registries one account may have."""
    caller: Caller = field(default_factory=Caller)
    """What calls addresses that customers name."""

    async def order(
        self, cloud_project: str, *, name: str, region: str, plan: str | None, origin: Origin
    ) -> Registry:
        """Take an order; see `registries.order`."""
        return await self.platform.change(
            lambda tx: registries.order(
                tx,
                self.catalogue,
                cloud_project,
                name=name,
                region=region,
                plan=plan,
                most=self.most,
                origin=origin,
            )
        )

    async def order_called(self, cloud_project: str, *, name: str, grants: str, origin: Origin) -> Registry:
        """Take the order of whoever runs the house; see `registries.order_called`."""
        if await provisioning.find(self.site.cell, name) is not None:
            raise registries.name_taken(name)
        return await self.platform.change(
            lambda tx: registries.order_called(
                tx, self.catalogue, cloud_project, name=name, grants=grants, most=self.most, origin=origin
            )
        )

    async def rename(self, cloud_project: str, registry: str, name: str, origin: Origin) -> Registry:
        """Call a registry otherwise; see `registries.rename`."""
        return await self.platform.change(
            lambda tx: registries.rename(tx, cloud_project, registry, name, origin)
        )

    async def use(self, found: Registry) -> Use:
        """Tell what a registry stores now; nothing before it is made or once it has left its cell."""
        entry = None
        if found.entry_uuid is not None:
            name = await provisioning.name_of(self.site.cell, found.entry_uuid)
            entry = await provisioning.find(self.site.cell, name or "")
        if entry is None or found.status == registries.INSTALLING:
            return Use(0)
        db = await self.site.open_database(entry)
        try:
            stored = await reconciling.stored(db)
        finally:
            await db.close()
        return replace(stored, parallel=self.site.parallel(entry))

    async def reachable_plans(self, cloud_project: str, registry: str) -> list[Plan]:
        """List the plans that a registry may change to now, or raise RegistryUnknown."""
        found = await registries.get(self.platform, cloud_project, registry)
        return registries.reachable_plans(self.catalogue, found, await self.use(found))

    async def change_plan(self, cloud_project: str, registry: str, plan: str, origin: Origin) -> Registry:
        """Ask for another plan; see `registries.change_plan`. A refused downgrade is noted in the record."""
        found = await registries.get(self.platform, cloud_project, registry)
        use = await self.use(found)
        try:
            return await self.platform.change(
                lambda tx: registries.change_plan(
                    tx, self.catalogue, cloud_project, registry, plan, use=use, origin=origin
                )
            )
        except DowngradeRefused as refused:
            await events.deny(
                self.platform, "registry.plan-change-asked", origin, rule="what is held does not fit into the plan",
                target=found.id, account=found.account_id, cloud_project=found.cloud_project_id, plan=plan[:80],
                left=refused.detail["details"],
            )  # fmt: skip
            raise

    async def delete(self, cloud_project: str, registry: str, origin: Origin) -> Registry:
        """Ask for a registry's end; see `registries.delete`."""
        return await self.platform.change(
            lambda tx: registries.delete(tx, cloud_project, registry, grace=self.grace, origin=origin)
        )

    async def undelete(self, cloud_project: str, registry: str, origin: Origin) -> Registry:
        """Take a deletion back; see `registries.undelete`."""
        return await self.platform.change(
            lambda tx: registries.undelete(tx, cloud_project, registry, origin=origin)
        )

    async def restrict(
        self, cloud_project: str, registry: str, part: Part, wanted: Sequence[Wanted], origin: Origin
    ) -> list[Restriction]:
        """Say from where a part of a registry may be used; see `restrictions.replace`.

        It is in force when this returns, but for the half of a second in which the registry plane believes its directory.
        Should the cell be away the change is promised, and the caller told to ask again.
        """
        if not await address_rules.are_kept(self.site.cell):
            raise NotReady(
                "the cell has no place for IP restrictions yet: its operator has to run `moorage migrate`"
            )
        made = await self.platform.change(
            lambda tx: restrictions.replace(tx, cloud_project, registry, part, wanted, origin)
        )
        found = await registries.get(self.platform, cloud_project, registry)
        if found.entry_uuid is not None:
            await restrictions.carry_out(self.platform, self.site.cell, found.id, found.entry_uuid)
        return made
