"""Calls about webhooks: where a cloud project's notifications are sent."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from moorage.api.cloud import times
from moorage.api.cloud.asks import Ask
from moorage.api.cloud.bodies import invalid
from moorage.api.cloud.models import Given, Model
from moorage.api.cloud.routes import Route
from moorage.cloud import webhooks
from moorage.db import Database
from moorage.identity.keys import MasterKey
from moorage.outbound.http import Caller

_ALL: Final = "/cloud/project/{serviceName}/webhook"
_ONE: Final = _ALL + "/{webhookId}"


class Webhook(Model):
    """An address that notifications are sent to."""

    id: str
    url: str
    created_at: str
    delivered_at: Annotated[str | None, Meta(description="When the last notification arrived.")]
    stopped: Annotated[bool, Meta(description="Whether it failed so long that nothing is sent any more.")]
    tries: Annotated[int, Meta(description="How often the next notification was tried in vain.")]
    error: Annotated[str | None, Meta(description="Why the last try was in vain.")]
    secret: Annotated[str | None, Meta(description="What it is signed with: shown once.")] = None


class WebhookCreation(Given):
    """Where to send notifications."""

    url: str


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Calls about webhooks."""

    db: Database
    master: MasterKey
    caller: Caller

    def routes(self) -> list[Route]:
        """List the calls."""
        return [
            Route("GET", _ALL, "webhook/get", self.list, "List the webhooks", gives=list[Webhook], added=True),
            Route("POST", _ALL, "webhook/create", self.create, "Have notifications sent to an address, signed",
                  WebhookCreation, Webhook, added=True),
            Route("GET", _ONE, "webhook/get", self.get, "Show a webhook", gives=Webhook, added=True),
            Route("DELETE", _ONE, "webhook/delete", self.delete, "Send nothing more there", added=True),
            Route("POST", f"{_ONE}/resume", "webhook/edit", self.resume,
                  "Go on with one that was stopped, from where it was", gives=Webhook, added=True),
        ]  # fmt: skip

    async def list(self, ask: Ask) -> builtins.list[Webhook]:
        """List them."""
        return [_shown(one) for one in await webhooks.listed(self.db, ask.cloud_project)]

    async def create(self, ask: Ask) -> Webhook:
        """Make one, and show its secret, this once."""
        url = ask.read(WebhookCreation).url
        try:
            self.caller.check(url)
        except ValueError as broken:
            raise invalid("url", str(broken)) from None
        made, secret = await self.db.change(
            lambda tx: webhooks.create(tx, self.master, ask.cloud_project, url, ask.origin)
        )
        return _shown(made, secret)

    async def get(self, ask: Ask) -> Webhook:
        """Show one."""
        return _shown(await webhooks.get(self.db, ask.cloud_project, _id(ask)))

    async def delete(self, ask: Ask) -> None:
        """End one."""
        await self.db.change(lambda tx: webhooks.remove(tx, ask.cloud_project, _id(ask), ask.origin))

    async def resume(self, ask: Ask) -> Webhook:
        """Go on with one."""
        return _shown(
            await self.db.change(lambda tx: webhooks.resume(tx, ask.cloud_project, _id(ask), ask.origin))
        )


def _id(ask: Ask) -> str:
    """Give the webhook's id in the path; what cannot be one names no webhook."""
    text = ask.params["webhookId"]
    if not text.isascii() or not text.isprintable():
        raise webhooks.WebhookUnknown
    return text


def _shown(found: webhooks.Webhook, secret: str | None = None) -> Webhook:
    return Webhook(
        id=found.id, url=found.url, created_at=times.written(found.created_at),
        delivered_at=times.written_or_none(found.delivered_at), stopped=bool(found.stopped), tries=found.tries,
        error=found.error or None, secret=secret,
    )  # fmt: skip
