"""What a worker does about usage, put together: hours are written down, alerts raised, mails and webhooks sent."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from moorage.cloud import catalogue, devices, idempotency, mails, metering
from moorage.cloud.alerts import Alerts
from moorage.cloud.metering import Metering, Stored
from moorage.cloud.notification_mails import Teller
from moorage.cloud.webhooks import Sender
from moorage.db import Database, Vanished
from moorage.db.files import Stamp
from moorage.errors import NewerSchema, Unavailable
from moorage.outbound.http import Caller
from moorage.outbound.mail import MailServer

if TYPE_CHECKING:
    from moorage.parts import Parts
    from moorage.registry.directory import Directory, Entry
    from moorage.settings import Settings

LOG = logging.getLogger(__name__)

SECOND: Final = 1_000_000
CHECK: Final = 20.0
MAILS: Final = 5.0
WEBHOOKS: Final = 2.0

Opens = Callable[["Entry"], Awaitable[Database]]
Round = tuple[float, Callable[[], Awaitable[None]]]


@dataclass(frozen=True, slots=True)
class Accounting:
    """A worker's part in usage; *kept* is how long hours are, and *mails_kept* mails, in microseconds."""

    platform: Database
    metering: Metering
    alerts: Alerts
    server: MailServer | None
    sender: Sender
    kept: int
    mails_kept: int

    @classmethod
    def of(cls, set_: Settings, parts: Parts, directory: Directory, opens: Opens) -> Accounting:
        """Build it out of its parts; raise CatalogueInvalid."""
        alerts = Alerts(parts.platform, set_.telling.language, set_.telling.trash_alert)
        known_by: dict[str, tuple[Stamp, Stored]] = {}

        async def measure(entry_uuid: str) -> Stored | None:
            entry = next((one for one in directory.all() if one.uuid == entry_uuid), None)
            if entry is None:
                known_by.pop(entry_uuid, None)
                return None
            # What nobody wrote to since it was measured is not opened to measure it again.
            stamp = parts.stamp(entry)
            before = known_by.get(entry_uuid)
            if before is not None and before[0] == stamp:
                return before[1]
            try:
                found = await metering.stored(await opens(entry))
                await alerts.look(entry_uuid, found.unique, found.limit, found.trash)
            except (Unavailable, NewerSchema, Vanished) as problem:
                LOG.warning("nobody knows what is stored: %s", problem, extra={"registry": entry.name})
                return None
            if stamp is not None:
                known_by[entry_uuid] = stamp, found
            return found

        known = catalogue.read(set_.ordering.catalogue)
        url, sender = set_.telling.smtp_url, set_.telling.mail_from
        return cls(
            parts.platform,
            Metering(parts.platform, parts.cell, known, measure),
            alerts,
            MailServer.of(url, sender) if url else None,
            Sender(parts.platform, parts.master, Caller(set_.telling.call_networks)),
            kept=int(set_.ordering.usage_kept * SECOND),
            mails_kept=int(set_.upkeep.events_kept * SECOND),
        )

    def rounds(self) -> list[Round]:
        """List what is done again and again, and after how many seconds."""
        return [(CHECK, self.meter), (MAILS, self.send), (WEBHOOKS, self.notify)]

    async def meter(self) -> None:
        """Write down the hours that ended."""
        await self.metering.sweep(self.platform.now())

    async def send(self) -> None:
        """Tell users what concerns their sign-in, and send the mails that are due; without a mail server they wait."""
        await devices.tell(self.platform, self.alerts.language)
        if self.server is not None:
            # Without one nothing would be gained by a mail an hour that waits: what came is told once there is one.
            await Teller(self.platform, self.alerts.language).tell_due()
            await mails.send_due(self.platform, self.server)

    async def notify(self) -> None:
        """Send webhooks what they have not got."""
        await self.sender.send_due()

    async def look(self, entry_uuid: str, db: Database) -> None:
        """Look at a registry in which something has just changed, and tell of it if its storage is nearly used up."""
        found = await metering.used(db)
        await self.alerts.look(entry_uuid, found.used, found.limit_bytes, found.trash)

    async def tidy(self) -> None:
        """Drop what is older than it is kept."""
        now = self.platform.now()
        await self.metering.prune(now - self.kept)
        await idempotency.drop_old(self.platform)
        while await mails.drop_old(self.platform, now - self.mails_kept):
            pass
