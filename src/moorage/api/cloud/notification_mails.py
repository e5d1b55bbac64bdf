"""Calls about notifications by mail: whether the member who asks is sent them, and in which language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from moorage import texts
from moorage.api.cloud.asks import Ask
from moorage.api.cloud.bodies import invalid
from moorage.api.cloud.models import Given, Model
from moorage.api.cloud.routes import Route
from moorage.cloud import notification_mails
from moorage.cloud.subscriptions import Subscription
from moorage.db import Database

_MINE: Final = "/cloud/project/{serviceName}/notification/mail"


class NotificationMail(Model):
    """Whether, and how, the member who asks is told notifications by mail."""

    enabled: bool
    language: Annotated[str | None, Meta(description="The language that the member has chosen.")]


class NotificationMailUpdate(Given):
    """Whether to be told by mail; without a language it is the provider's."""

    enabled: bool
    language: str | None = None


@dataclass(frozen=True, slots=True)
class NotificationMails:
    """Calls about notifications by mail, each about the member who asks."""

    db: Database

    def routes(self) -> list[Route]:
        """List the calls."""
        action = "containerRegistry/notification/mail/"
        return [
            Route("GET", _MINE, f"{action}get", self.get, "Show whether notifications are mailed to oneself",
                  gives=NotificationMail, added=True),
            Route("PUT", _MINE, f"{action}edit", self.put, "Have notifications mailed to oneself, or not",
                  NotificationMailUpdate, NotificationMail, added=True),
        ]  # fmt: skip

    async def get(self, ask: Ask) -> NotificationMail:
        """Show it."""
        return _shown(await notification_mails.get(self.db, ask.cloud_project, ask.caller.login_id or ""))

    async def put(self, ask: Ask) -> NotificationMail:
        """Change it."""
        wanted = ask.read(NotificationMailUpdate)
        if wanted.language is not None and wanted.language not in texts.languages():
            raise invalid("language", f"must be one of {', '.join(texts.languages())}")
        return _shown(
            await self.db.change(
                lambda tx: notification_mails.change(
                    tx,
                    ask.allowed.cloud_project,
                    ask.caller.login_id or "",
                    wanted=wanted.enabled,
                    language=wanted.language or "",
                    origin=ask.origin,
                )
            )
        )


def _shown(found: Subscription) -> NotificationMail:
    return NotificationMail(enabled=bool(found.wanted), language=found.language or None)
