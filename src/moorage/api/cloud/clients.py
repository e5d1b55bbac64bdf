"""Calls about an account's OAuth2 clients, as the original has them, and the secret that can be renewed, which is ours."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta, field

from moorage.api.cloud import texts, times
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.bodies import invalid
from moorage.api.cloud.models import ADDED, AccessRule, AllowedRoute, Given, Model
from moorage.api.cloud.routes import Route
from moorage.cloud import oauth2
from moorage.cloud.rules import EVERYTHING, Limits
from moorage.db import Database

FLOW: Final = "CLIENT_CREDENTIALS"
LONGEST_NAME: Final = 64
LONGEST_DESCRIPTION: Final = 255

_ALL: Final = "/me/api/oauth2/client"
_ONE: Final = _ALL + "/{clientId}"


class ClientCreation(Given):
    """A client to be made."""

    name: str
    description: str = ""
    flow: str = FLOW
    callback_urls: list[str] = field(default_factory=list)
    access_rules: Annotated[
        list[AccessRule] | None,
        Meta(
            description="The calls that it may make at all; every call, if none is named.",
            extra_json_schema=ADDED,
        ),
    ] = None
    allowed_ips: Annotated[
        list[str] | None,
        Meta(description="The networks that it may ask from; any, without them.", extra_json_schema=ADDED),
    ] = field(name="allowedIPs", default=None)


class ClientUpdate(Given):
    """What a client is called."""

    name: str
    description: str = ""
    callback_urls: list[str] = field(default_factory=list)


class NewClient(Model):
    """A client's id and its secret, which is shown this once."""

    client_id: str
    client_secret: str


class Client(Model):
    """A client."""

    callback_urls: list[str]
    client_id: str
    created_at: str
    description: str
    flow: str
    identity: Annotated[str, Meta(description="What policies know it by.")]
    name: str
    last_use: Annotated[str | None, Meta(extra_json_schema=ADDED)] = None
    access_rules: Annotated[list[AllowedRoute] | None, Meta(extra_json_schema=ADDED)] = None
    allowed_ips: Annotated[list[str] | None, Meta(extra_json_schema=ADDED)] = field(
        name="allowedIPs", default=None
    )


@dataclass(frozen=True, slots=True)
class Clients:
    """Calls about OAuth2 clients."""

    db: Database

    def routes(self) -> list[Route]:
        """List the calls."""
        admin = Needs.ADMINISTRATOR
        return [
            Route("GET", _ALL, "oauth2Client/get", self.list, "List the account's OAuth2 clients", gives=list[str],
                  needs=admin),
            Route("POST", _ALL, "oauth2Client/create", self.create, "Make an OAuth2 client, which may do nothing yet",
                  ClientCreation, NewClient, admin),
            Route("GET", _ONE, "oauth2Client/get", self.get, "Show an OAuth2 client", gives=Client, needs=admin),
            Route("PUT", _ONE, "oauth2Client/edit", self.edit, "Call an OAuth2 client otherwise", ClientUpdate,
                  needs=admin),
            Route("DELETE", _ONE, "oauth2Client/delete", self.delete, "End an OAuth2 client and its tokens", needs=admin),
            Route("POST", f"{_ONE}/secret", "oauth2Client/secret/create", self.renew,
                  "Give an OAuth2 client another secret, and end its tokens", gives=NewClient, needs=admin, added=True),
        ]  # fmt: skip

    async def list(self, ask: Ask) -> builtins.list[str]:
        """List the clients' ids."""
        return [one.id for one in await oauth2.listed(self.db, ask.caller.account_id)]

    async def create(self, ask: Ask) -> NewClient:
        """Make a client and show its secret, this once."""
        given = ask.read(ClientCreation)
        if given.flow != FLOW:
            raise invalid("flow", f"must be {FLOW}: no other flow is served here")
        name, description = _named(given)
        rules = given.access_rules
        calls = [(one.method, one.path) for one in (EVERYTHING if rules is None else rules)]
        limits = Limits.checked(calls, given.allowed_ips)
        made = await self.db.change(
            lambda tx: oauth2.create(
                tx,
                ask.caller.account_id,
                name=name,
                description=description,
                limits=limits,
                origin=ask.origin,
            )
        )
        return NewClient(client_id=made.client.id, client_secret=made.secret)

    async def get(self, ask: Ask) -> Client:
        """Show a client."""
        found = await oauth2.get(self.db, ask.caller.account_id, _id(ask))
        networks = found.limits.networks
        return Client(
            callback_urls=[],
            client_id=found.id,
            created_at=times.written(found.created_at),
            description=found.description,
            flow=FLOW,
            identity=found.identity,
            name=found.name,
            last_use=times.written_or_none(found.last_used_at),
            access_rules=[AllowedRoute(method=one.method, path=one.path) for one in found.limits.rules],
            allowed_ips=None if networks is None else [str(one) for one in networks],
        )

    async def edit(self, ask: Ask) -> None:
        """Call it otherwise."""
        name, description = _named(ask.read(ClientUpdate))
        await self.db.change(
            lambda tx: oauth2.describe(
                tx, ask.caller.account_id, _id(ask), name=name, description=description, origin=ask.origin
            )
        )

    async def delete(self, ask: Ask) -> None:
        """End it."""
        await self.db.change(lambda tx: oauth2.revoke(tx, ask.caller.account_id, _id(ask), ask.origin))

    async def renew(self, ask: Ask) -> NewClient:
        """Give it another secret."""
        made = await self.db.change(lambda tx: oauth2.renew(tx, ask.caller.account_id, _id(ask), ask.origin))
        return NewClient(client_id=made.client.id, client_secret=made.secret)


def _named(given: ClientCreation | ClientUpdate) -> tuple[str, str]:
    if given.callback_urls:
        raise invalid("callbackUrls", f"must be empty: the flow {FLOW} calls nobody back")
    name = texts.checked(given.name, "name", least=1, most=LONGEST_NAME)
    return name, texts.checked(given.description, "description", least=0, most=LONGEST_DESCRIPTION)


def _id(ask: Ask) -> str:
    """Give the client's id in the path; what cannot be one names no client."""
    text = ask.params["clientId"]
    if not text.isascii() or not text.isprintable():
        raise oauth2.ClientUnknown
    return text
