"""What a worker does about usage, put together: hours are written down, and old ones dropped."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from moorage.cloud import catalogue, metering
from moorage.cloud.metering import Metering, Stored
from moorage.db import Database, Vanished
from moorage.errors import NewerSchema, Unavailable

if TYPE_CHECKING:
    from moorage.parts import Parts
    from moorage.registry.directory import Directory, Entry
    from moorage.settings import Settings

LOG = logging.getLogger(__name__)

SECOND: Final = 1_000_000
CHECK: Final = 20.0

Opens = Callable[["Entry"], Awaitable[Database]]
Round = tuple[float, Callable[[], Awaitable[None]]]


@dataclass(frozen=True, slots=True)
class Accounting:
    """A worker's part in usage; *kept* is how long hours are, in microseconds."""

    platform: Database
    metering: Metering
    kept: int

    @classmethod
    def of(cls, set_: Settings, parts: Parts, directory: Directory, opens: Opens) -> Accounting:
        """Build it out of its parts; raise CatalogueInvalid."""

        async def measure(entry_uuid: str) -> Stored | None:
            entry = next((one for one in directory.all() if one.uuid == entry_uuid), None)
            if entry is None:
                return None
            try:
                return await metering.stored(await opens(entry))
            except (Unavailable, NewerSchema, Vanished) as problem:
                LOG.warning("nobody knows what is stored: %s", problem, extra={"registry": entry.name})
                return None

        known = catalogue.read(set_.ordering.catalogue)
        return cls(
            parts.platform,
            Metering(parts.platform, parts.cell, known, measure),
            int(set_.ordering.usage_kept * SECOND),
        )

    def rounds(self) -> list[Round]:
        """List what is done again and again, and after how many seconds."""
        return [(CHECK, self.meter)]

    async def meter(self) -> None:
        """Write down the hours that ended."""
        await self.metering.sweep(self.platform.now())

    async def tidy(self) -> None:
        """Drop what is older than it is kept."""
        await self.metering.prune(self.platform.now() - self.kept)
