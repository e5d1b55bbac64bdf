"""Rates, put together: which there are, and where the processes of this house or fleet count them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.registry.rate_table import OnThisMachine, Share
from moorage.registry.rates import PROVIDER, REGISTRY, Counts, Rate, Rates
from moorage.registry.slots import Peers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from moorage.parts import Parts
    from moorage.settings import Settings


def peers(parts: Parts, called: str) -> Callable[[], Peers | None]:
    """Count the processes of this cell that are *called* so with this one, where its database can tell."""
    if parts.postgres is None:
        return lambda: None
    listener = parts.postgres.listener
    listener.count_as(called)

    def counted() -> Peers | None:
        return None if listener.peers is None else Peers(*listener.peers)

    return counted


def rates(set_: Settings, parts: Parts, known: Callable[[], Peers | None], processes: int) -> Rates:
    """Give what holds callers to their rates; where nobody counts for all, *known* are those that share them.

    They are *processes* where that is not known.
    """
    return Rates(_limits(set_), _counts(set_, parts, known, processes))


def _limits(set_: Settings) -> Mapping[str, Rate]:
    told = {**REGISTRY, **PROVIDER}
    return {name: Rate(name, limit, told[name]) for name, limit in set_.requests.rates}


def _counts(set_: Settings, parts: Parts, known: Callable[[], Peers | None], processes: int) -> Counts:
    alone = Share(lambda: known() or Peers(processes, processes))
    if set_.keeping.redis_url:
        # Imported here, since who has no such server should not pay for its client's memory.
        from moorage.registry.rate_server import InRedis  # noqa: PLC0415

        return InRedis.at(set_.keeping.redis_url, alone)
    if parts.postgres is None:
        # Files mean one machine, and one file its processes.
        return OnThisMachine(parts.place.rates, processes)
    return alone
