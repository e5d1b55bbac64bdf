"""Calls about registries: which there may be, ordering one, and what becomes of it."""

from __future__ import annotations

import builtins
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from moorage.api.cloud import models, times
from moorage.api.cloud.asks import Ask, answered
from moorage.api.cloud.models import PlanUpdate, RegistryCreation, RegistryUpdate
from moorage.api.cloud.routes import Route
from moorage.api.dialects import Answer
from moorage.cloud import certificates, idempotency, provisioning, registries
from moorage.cloud.catalogue import Plan
from moorage.cloud.desk import Desk
from moorage.cloud.errors import NotReady, RegistryUnknown
from moorage.cloud.registries import Registry
from moorage.db import Database, Tx
from moorage.registry.directory import Entry

_PROJECT: Final = "/cloud/project/{serviceName}"
_ALL: Final = _PROJECT + "/containerRegistry"
_ONE: Final = _ALL + "/{registryID}"
_SERVING: Final = frozenset({registries.READY, registries.SCALING_UP})
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Names the order: sent again with it within a day, the order is not made again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    **models.ADDED,
}


@dataclass(frozen=True, slots=True)
class Registries:
    """Calls about registries."""

    desk: Desk

    def routes(self) -> list[Route]:
        """List the calls."""
        action, able = "containerRegistry/", "capabilities/containerRegistry"
        return [
            Route("GET", f"{_PROJECT}/{able}", f"{able}/get", self.capabilities,
                  "List the regions, and the plans that each has", gives=list[models.Capability]),
            Route("GET", _ALL, f"{action}get", self.list, "List the cloud project's registries", gives=list[models.Registry],
                  of_each=True),
            Route("POST", _ALL, f"{action}create", self.order, "Order a registry", RegistryCreation, models.Registry,
                  headers=(_KEY,)),
            Route("GET", _ONE, f"{action}get", self.get, "Show a registry", gives=models.Registry),
            Route("PUT", _ONE, f"{action}edit", self.rename, "Rename a registry", RegistryUpdate),
            Route("DELETE", _ONE, f"{action}delete", self.delete, "Delete a registry"),
            Route("POST", f"{_ONE}/undelete", f"{action}undelete", self.undelete,
                  "Take a deletion back, while its grace lasts", gives=models.Registry, added=True),
            Route("GET", f"{_ONE}/certificate", f"{action}certificate/get", self.certificate,
                  "Give the signed certificate of a registry's destruction", gives=dict[str, Any], added=True),
            Route("GET", f"{_ONE}/capabilities/plan", f"{action}capabilities/plan/get", self.reachable,
                  "List the plans that a registry may change to", gives=list[models.Plan]),
            Route("GET", f"{_ONE}/plan", f"{action}plan/get", self.plan, "Show a registry's plan", gives=models.Plan),
            Route("PUT", f"{_ONE}/plan", f"{action}plan/edit", self.change_plan, "Change a registry's plan", PlanUpdate),
        ]  # fmt: skip

    async def capabilities(self, _: Ask) -> builtins.list[models.Capability]:
        """List the regions, and the plans that can be ordered in each."""
        catalogue = self.desk.catalogue
        plans = [_plan(one) for one in catalogue.orderable]
        return [
            models.Capability(region_name=one.name, region_type=one.type, plans=plans)
            for one in catalogue.regions
        ]

    async def list(self, ask: Ask) -> builtins.list[models.Registry]:
        """List the registries in the order they came."""
        found = await registries.listed(self.desk.platform, ask.cloud_project)
        return [_registry(one) for one in found if ask.allowed.sees(one.id)]

    async def order(self, ask: Ask) -> Answer | models.Registry:
        """Take an order; with a key, once."""
        given = ask.read(RegistryCreation)
        asked = {"name": given.name, "region": given.region, "plan": given.plan_id}

        async def written(tx: Tx) -> bytes:
            desk = self.desk
            made = await registries.order(
                tx, desk.catalogue, ask.cloud_project, name=given.name, region=given.region, plan=given.plan_id,
                most=desk.most, origin=ask.origin,
            )  # fmt: skip
            return msgspec.json.encode(_registry(made))

        async def once(tx: Tx) -> bytes:
            request = (ask.cloud_project, json.dumps(asked))
            return await idempotency.once(tx, ask.caller.account_id, key, request, written)

        key = ask.header(b"idempotency-key")
        return answered(await self.desk.platform.change(once if key else written))

    async def get(self, ask: Ask) -> models.Registry:
        """Show a registry."""
        return _registry(await self._get(ask))

    async def rename(self, ask: Ask) -> None:
        """Call it otherwise."""
        await self.desk.rename(ask.cloud_project, registry_id(ask), ask.read(RegistryUpdate).name, ask.origin)

    async def delete(self, ask: Ask) -> None:
        """End it; it can be taken back for a while."""
        await self.desk.delete(ask.cloud_project, registry_id(ask), ask.origin)

    async def undelete(self, ask: Ask) -> models.Registry:
        """Take a deletion back."""
        return _registry(await self.desk.undelete(ask.cloud_project, registry_id(ask), ask.origin))

    async def certificate(self, ask: Ask) -> Answer:
        """Give the certificate as it was signed, for as long as there is one."""
        found = await registries.get_ever(self.desk.platform, ask.cloud_project, registry_id(ask))
        document = await certificates.find(self.desk.platform, found.id)
        if document is None:
            raise NotReady(
                f"the registry is {found.status}: a certificate is signed when its grace is over and nothing of it is left",
                status=found.status,
            )
        return answered(document.encode())

    async def reachable(self, ask: Ask) -> builtins.list[models.Plan]:
        """List the plans that it may change to now."""
        return [_plan(one) for one in await self.desk.reachable_plans(ask.cloud_project, registry_id(ask))]

    async def plan(self, ask: Ask) -> models.Plan:
        """Show its plan."""
        return _plan(self.desk.catalogue.plan((await self._get(ask)).plan))

    async def change_plan(self, ask: Ask) -> None:
        """Ask for another plan."""
        await self.desk.change_plan(
            ask.cloud_project, registry_id(ask), ask.read(PlanUpdate).plan_id, ask.origin
        )

    @asynccontextmanager
    async def rows(self, ask: Ask) -> AsyncIterator[Database]:
        """Open the rows of the registry that a call names; see `opened`."""
        async with self.opened(ask) as (_, db):
            yield db

    @asynccontextmanager
    async def opened(self, ask: Ask) -> AsyncIterator[tuple[Entry, Database]]:
        """Open a registry that a call names; raise RegistryUnknown, or NotReady if it does not serve."""
        found = await self._get(ask)
        site = self.desk.site
        entry = None
        if found.status in _SERVING and found.entry_uuid is not None:
            entry = await provisioning.find(
                site.cell, await provisioning.name_of(site.cell, found.entry_uuid) or ""
            )
        if entry is None:
            raise NotReady(
                f"the registry is {found.status}: who signs in to it can be seen and changed when it is READY",
                status=found.status,
            )
        db = await site.open_database(entry)
        try:
            yield entry, db
        finally:
            await db.close()

    async def _get(self, ask: Ask) -> Registry:
        return await named(self.desk, ask)


async def named(desk: Desk, ask: Ask) -> Registry:
    """Find the registry that a call names, or raise RegistryUnknown."""
    return await registries.get(desk.platform, ask.cloud_project, registry_id(ask))


def registry_id(ask: Ask) -> str:
    """Give the registry's id in the path; what cannot be one names no registry."""
    text = ask.params["registryID"]
    if not text.isascii() or not text.isprintable():
        raise RegistryUnknown
    return text


def _registry(found: Registry) -> models.Registry:
    ending = found.wanted == registries.DELETED
    return models.Registry(
        created_at=times.written(found.created_at),
        delivered_at=times.written_or_none(found.delivered_at),
        iam_enabled=bool(found.iam_enabled),
        id=found.id,
        name=found.name,
        project_id=found.cloud_project_id,
        region=found.region,
        size=found.size,
        status=found.status,
        updated_at=times.written(found.updated_at),
        url=found.url,
        version=found.version,
        delete_after=times.written_or_none(found.delete_after) if ending else None,
        error=found.error or None,
        suspension=found.suspension or None,
        suspended_for=found.suspended_for or None,
    )


def _plan(found: Plan) -> models.Plan:
    return models.Plan(
        code=found.code,
        created_at=found.created_at,
        features=models.PlanFeatures(vulnerability=found.vulnerability),
        id=found.id,
        name=found.name,
        registry_limits=models.RegistryLimits(
            image_storage=found.grants.limit_bytes, parallel_request=found.grants.parallel
        ),
        updated_at=found.updated_at,
    )
