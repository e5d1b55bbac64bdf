"""Calls about a user's own applications, and about the credentials that they have let applications have."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import field

from moorage.api.cloud import files, times
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.models import AllowedRoute, CurrentCredential, Given, Model
from moorage.api.cloud.routes import Route
from moorage.cloud import own_credentials, sessions
from moorage.cloud.own_credentials import Application, Credential
from moorage.db import Database, Tx

_APPLICATIONS: Final = "/me/api/application"
_APPLICATION: Final = _APPLICATIONS + "/{applicationId}"
_CREDENTIALS: Final = "/me/api/credential"
_CREDENTIAL: Final = _CREDENTIALS + "/{credentialId}"
_FILTERS: Final[tuple[Mapping[str, object], ...]] = (
    {
        "name": "status",
        "in": "query",
        "required": False,
        "description": "Only credentials of this status.",
        "schema": {"type": "string", "enum": ["expired", "pendingValidation", "refused", "validated"]},
    },
    {
        "name": "applicationId",
        "in": "query",
        "required": False,
        "description": "Only credentials of this application.",
        "schema": {"type": "string"},
    },
)


class CredentialUpdate(Given):
    """What a credential is kept to. All else of it is taken as it was shown, and changes nothing."""

    allowed_ips: list[str] | None = field(name="allowedIPs", default=None)
    application_id: Any = None
    creation: Any = None
    credential_id: Any = None
    expiration: Any = None
    last_use: Any = None
    ovh_support: Any = None
    rules: Any = None
    status: Any = None


class ApplicationShown(Model):
    """An application."""

    application_id: str
    application_key: str
    description: str
    name: str
    status: str


@dataclass(frozen=True, slots=True)
class OwnCredentials:
    """Calls about one's own applications and credentials."""

    db: Database

    def routes(self) -> list[Route]:
        """List the calls."""
        user, app, key = Needs.USER, "me/api/application/", "me/api/credential/"
        return [
            Route("GET", _APPLICATIONS, f"{app}get", self.applications, "List one's applications", gives=list[str], needs=user),
            Route("GET", _APPLICATION, f"{app}get", self.application, "Show an application", gives=ApplicationShown, needs=user),
            Route("DELETE", _APPLICATION, f"{app}delete", self.end_application,
                  "End an application, and every credential that it has", needs=user),
            Route("GET", _CREDENTIALS, f"{key}get", self.list, "List the credentials that one has decided about",
                  gives=list[str], needs=user, headers=_FILTERS),
            Route("GET", _CREDENTIAL, f"{key}get", self.get, "Show a credential", gives=CurrentCredential, needs=user),
            Route("PUT", _CREDENTIAL, f"{key}edit", self.edit, "Keep a credential to networks", CredentialUpdate, needs=user),
            Route("DELETE", _CREDENTIAL, f"{key}delete", self.end, "End a credential", needs=user),
            Route("GET", f"{_CREDENTIAL}/application", f"{key}application/get", self.behind,
                  "Show the application that has a credential", gives=ApplicationShown, needs=user),
        ]  # fmt: skip

    async def applications(self, ask: Ask) -> builtins.list[str]:
        """List one's applications."""
        found = await own_credentials.applications(self.db, ask.caller.account_id, _user(ask))
        return [one.id for one in found]

    async def application(self, ask: Ask) -> ApplicationShown:
        """Show an application."""
        found = await own_credentials.application_of(self.db, _user(ask), ask.params["applicationId"])
        return _application(found)

    async def end_application(self, ask: Ask) -> None:
        """End an application."""
        id_ = ask.params["applicationId"]

        async def work(tx: Tx) -> None:
            await own_credentials.revoke_application(tx, _user(ask), id_, ask.origin)

        await self.db.change(work)

    async def list(self, ask: Ask) -> builtins.list[str]:
        """List credentials."""
        asked = files.query(ask, "status", "applicationId")
        found = await own_credentials.credentials(self.db, _user(ask), self.db.now())
        return [
            one.id
            for one in found
            if asked.get("status", one.status) == one.status
            and asked.get("applicationId", one.application_id) == one.application_id
        ]

    async def get(self, ask: Ask) -> CurrentCredential:
        """Show a credential."""
        return _credential(await self._found(ask))

    async def edit(self, ask: Ask) -> None:
        """Keep a credential to networks."""
        given, who = ask.read(CredentialUpdate), ask.caller
        # It can be let come from anywhere by this, too.
        sessions.check_proof(who, self.db.now())
        id_ = ask.params["credentialId"]

        async def work(tx: Tx) -> None:
            await own_credentials.keep_to(tx, who.account_id, _user(ask), id_, given.allowed_ips, ask.origin)

        await self.db.change(work)

    async def end(self, ask: Ask) -> None:
        """End a credential."""
        id_, account = ask.params["credentialId"], ask.caller.account_id
        await self.db.change(lambda tx: own_credentials.revoke(tx, account, _user(ask), id_, ask.origin))

    async def behind(self, ask: Ask) -> ApplicationShown:
        """Show the application that has a credential."""
        return _application(await own_credentials.behind(self.db, await self._found(ask)))

    async def _found(self, ask: Ask) -> Credential:
        return await own_credentials.get(self.db, _user(ask), ask.params["credentialId"], self.db.now())


def _user(ask: Ask) -> str:
    """Give the user who calls: the table asks for one."""
    assert ask.caller.login_id is not None
    return ask.caller.login_id


def _application(found: Application) -> ApplicationShown:
    return ApplicationShown(
        application_id=found.id,
        application_key=found.key,
        description=found.description,
        name=found.name,
        status=found.status,
    )


def _credential(found: Credential) -> CurrentCredential:
    networks = found.limits.networks
    return CurrentCredential(
        allowed_ips=None if networks is None else [str(one) for one in networks],
        application_id=found.application_id,
        creation=times.written(found.created_at),
        credential_id=found.id,
        expiration=times.written_or_none(found.expires_at),
        last_use=times.written_or_none(found.last_used_at),
        ovh_support=False,
        rules=[AllowedRoute(method=one.method, path=one.path) for one in found.limits.rules],
        status=found.status,
    )
