"""Stock a registry for its lists: `python -m bench.stocked DATA URL PROJECTS REPOSITORIES ARTIFACTS TAGS`.

DATA is a prepared data folder, URL the database's address or an empty word. Each project gets so many repositories, each of
these so many artifacts, and each of these so many tags: rows as pushes would have left them, a project in a turn.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path

from bench import seed
from moorage.cloud import provisioning
from moorage.db import Tx
from moorage.parts import Place, opened

STEP = 10
"""Repositories that are made in one turn."""


async def stock(data: Path, url: str, projects: int, repositories: int, artifacts: int, tags: int) -> None:
    """Write it all."""
    async with opened(Place(data, url, (data / "blobs").as_uri(), "")) as parts:
        entry = (await provisioning.listed(parts.cell))[0]
        db = await parts.open_database(entry)
        layers = await seed.layers_of(db, parts.store.under(entry.prefix))

        async def some(tx: Tx, project: int, first: int) -> None:
            for number in range(first, min(first + STEP, repositories)):
                name = f"stock-{project:03}/app-{number:03}"
                await seed.repository_of(
                    tx, seed.Shape(name, artifacts, artifacts * tags, refer=False), layers
                )

        try:
            for project in range(projects):
                for first in range(0, repositories, STEP):
                    await db.change(partial(some, project=project, first=first))
        finally:
            await db.close()


if __name__ == "__main__":
    _data, _url, *_sizes = sys.argv[1:]
    asyncio.run(stock(Path(_data), _url, *map(int, _sizes)))
