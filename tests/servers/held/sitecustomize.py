"""Runs where a house's processes are forked from, before the product does, and holds each where files in ``held`` say.

The file ``idle`` lets the house's worker take no job; a file of a registry's name (at the console: of its id) holds for good
whoever comes by the place that is written in it. What happened so is told by a file beside it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

HELD = Path(os.environ.get("MOORAGE_DATA", "."), "held")


def is_(role: str) -> bool:
    """Tell what this process was forked to be."""
    return role in Path("/proc/self/cmdline").read_text().split("\0")


async def come_by(name: str, place: str) -> None:
    """Stay for good, if this is the place."""
    wanted = HELD / name
    if wanted.exists() and wanted.read_text() == place:
        Path(f"{wanted}.reached").touch()
        await asyncio.Event().wait()


def at_steps(original: Any) -> Any:
    """Have each step of reconciling come by before and after."""

    async def run(self: Any, step: Callable[[Any], Awaitable[bool]], found: Any) -> bool:
        if not is_("work"):
            return bool(await original(self, step, found))
        await come_by(found.name, f"before {step.__name__}")
        done: bool = await original(self, step, found)
        await come_by(found.name, f"after {step.__name__}")
        return done

    return run


def unless_idle(original: Any) -> Any:
    """Have the queue look empty to a worker that is to be idle: it begins each look with this question."""

    def partitions(self: Any, queue: str) -> list[str]:
        if not is_("work") or not (HELD / "idle").exists():
            found: list[str] = original(self, queue)
            return found
        (HELD / "idle.reached").touch()
        return []

    return partitions


def before_the_cell(original: Any) -> Any:
    """Have a console come by between a change of address rules and its way into the cell."""

    async def carry_out(platform: Any, cell: Any, registry: str, entry: str) -> None:
        if is_("console"):
            await come_by(registry, "before carry_out")
        await original(platform, cell, registry, entry)

    return carry_out


if "stem" in sys.orig_argv:
    from dbos._sys_db import SystemDatabase

    from moorage.cloud import restrictions
    from moorage.cloud.reconciling import Reconciler

    Reconciler.run = at_steps(Reconciler.run)  # type: ignore[method-assign]
    SystemDatabase.get_queue_partitions = unless_idle(SystemDatabase.get_queue_partitions)  # type: ignore[method-assign]
    restrictions.carry_out = before_the_cell(restrictions.carry_out)
