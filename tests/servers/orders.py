"""Registries ordered in a house that runs, as `moorage registry create` orders them, without a process for each."""

from __future__ import annotations

import asyncio
from pathlib import Path

from moorage import ordering, running, settings, starting
from moorage.addresses import Addresses


def ordered(data: Path, *names: str, plan: str = "LOCAL") -> list[tuple[str, str]]:
    """Order registries in the house of the *data* folder; give each one's host name and its administrator's password."""
    set_ = settings.read(settings.beside(running.settings_of(data), {"MOORAGE_DATA": str(data)}))

    async def work() -> list[tuple[str, str]]:
        async with starting.opened(set_, platform=True) as parts:
            made = [await ordering.create_registry(set_, parts, name, plan, None) for name in names]
        addresses = Addresses(set_.listening)
        return [(addresses.of(one.entry).rpartition(":")[0], one.password or "") for one in made]

    return asyncio.run(work())
