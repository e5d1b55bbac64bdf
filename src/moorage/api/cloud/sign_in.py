"""Calls about how people sign in to a registry: by an OIDC provider's word, or by the provider's own (IAM)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any, Final

from moorage.api.cloud import models, times
from moorage.api.cloud.asks import Ask
from moorage.api.cloud.bodies import invalid
from moorage.api.cloud.models import DeleteUsers, OIDCPost, OIDCPut, OIDCPutEither
from moorage.api.cloud.registries import Registries, registry_id
from moorage.api.cloud.routes import Route
from moorage.cloud import registries as ordered
from moorage.cloud import registry_sign_in
from moorage.cloud.errors import NotReady
from moorage.cloud.registry_sign_in import Place
from moorage.identity import configuration
from moorage.identity.keys import MasterKey
from moorage.identity.oidc_settings import Provider

_ONE: Final = "/cloud/project/{serviceName}/containerRegistry/{registryID}"
# What Harbor's API alone sets of a provider is none of these.
_FIELDS: Final = tuple(
    one.name for one in fields(Provider) if one.name not in {"extra_redirect_parms", "logout"}
)


@dataclass(frozen=True, slots=True)
class SignIn:
    """Calls about how people sign in to a registry."""

    registries: Registries
    master: MasterKey

    def routes(self) -> list[Route]:
        """List the calls."""
        action, path = "containerRegistry/openIdConnect/", f"{_ONE}/openIdConnect"
        iam = "containerRegistry/iam/"
        return [
            Route("GET", path, f"{action}get", self.get, "Show the OIDC provider", gives=models.OIDCConfiguration),
            Route("POST", path, f"{action}upsert", self.put, "Let people sign in by an OIDC provider's word", OIDCPost),
            Route("PUT", path, f"{action}edit", self.edit, "Change some of the OIDC provider", OIDCPut),
            Route("DELETE", path, f"{action}delete", self.delete, "End sign-in by OIDC"),
            Route("POST", f"{_ONE}/iam", f"{iam}enable", self.enable, "Let members of the cloud project sign in",
                  DeleteUsers),
            Route("DELETE", f"{_ONE}/iam", f"{iam}disable", self.disable, "End sign-in by IAM"),
        ]  # fmt: skip

    async def get(self, ask: Ask) -> models.OIDCConfiguration:
        """Show the OIDC provider, without its secret."""
        async with self._place(ask) as place:
            found = await registry_sign_in.oidc(place.db)
        kept = found.provider
        return models.OIDCConfiguration(
            admin_group=kept.admin_group,
            auto_onboard=kept.auto_onboard,
            client_id=kept.client_id,
            created_at=times.written(found.created_at),
            endpoint=kept.endpoint,
            group_filter=kept.group_filter,
            groups_claim=kept.groups_claim,
            id=found.id,
            name=kept.name,
            scope=kept.scope,
            status=ordered.READY,
            updated_at=times.written(found.updated_at),
            user_claim=kept.user_claim,
            verify_cert=kept.verify_cert,
        )

    async def put(self, ask: Ask) -> None:
        """Add or replace it."""
        given = ask.read(OIDCPost)
        provider = Provider(**_said({name: getattr(given.provider, name) for name in _FIELDS}))
        async with self._place(ask) as place:
            await registry_sign_in.put_oidc(place, provider, delete_users=bool(given.delete_users))

    async def edit(self, ask: Ask) -> None:
        """Change some of it: flat, or below ``provider``, as guides have it."""
        given = ask.read(OIDCPutEither)
        flat = {name: getattr(given, name) for name in _FIELDS}
        if given.provider is not None:
            if any(value is not None for value in flat.values()):
                raise invalid("provider", "must stand alone: say the fields below it, or without it")
            flat = {name: getattr(given.provider, name) for name in _FIELDS}
        async with self._place(ask) as place:
            await registry_sign_in.edit_oidc(place, _said(flat))

    async def delete(self, ask: Ask) -> None:
        """End it."""
        async with self._place(ask) as place:
            await registry_sign_in.drop_oidc(place)

    async def enable(self, ask: Ask) -> None:
        """Turn IAM on."""
        given = ask.read(DeleteUsers)
        async with self._place(ask) as place:
            await registry_sign_in.enable_iam(place, delete_users=bool(given.delete_users))
        await self._note_iam(ask, enabled=True)

    async def disable(self, ask: Ask) -> None:
        """Turn IAM off."""
        async with self._place(ask) as place:
            await registry_sign_in.disable_iam(place)
        await self._note_iam(ask, enabled=False)

    async def _note_iam(self, ask: Ask, *, enabled: bool) -> None:
        """Show it in lists, too: what is in force stands in the registry's own rows."""
        await self.registries.desk.platform.change(
            lambda tx: ordered.note_iam(tx, ask.cloud_project, registry_id(ask), ask.origin, enabled=enabled)
        )

    @asynccontextmanager
    async def _place(self, ask: Ask) -> AsyncIterator[Place]:
        """Open what a call is about; raise NotReady where the schema of the release before has no place for it."""
        async with self.registries.opened(ask) as (entry, db):
            if not await configuration.is_kept(self.registries.desk.site.cell):
                raise NotReady(
                    "the registry has no place for this yet: its operator has to run `moorage migrate`"
                )
            yield Place(db, entry.uuid, self.master, ask.origin)


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give what was said: null says nothing."""
    return {name: value for name, value in given.items() if value is not None}
