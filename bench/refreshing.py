"""Read a cell's directory again and again, as each of its processes does: `python -m bench.refreshing DATA [URL]`."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from moorage.parts import Place, opened
from moorage.registry.directory import Directory

TIMES = 50


async def _main(data: Path, url: str) -> None:
    key = (data / "master.key").read_text() if (data / "master.key").exists() else ""
    async with opened(Place(data, url, (data / "blobs").as_uri(), key), platform=False) as parts:
        first, again = Directory(parts.cell, 1), Directory(parts.cell, 1)
        await again.refresh()
        await asyncio.sleep(1)
        for what, whole in (("a first time", True), ("again, unchanged", False)):
            before = time.process_time()
            for _ in range(TIMES):
                await (Directory(parts.cell, 1).refresh() if whole else again.look())
            used = (time.process_time() - before) / TIMES
            print(f"  directory read {what}: {used * 1000:.3f} CPU ms of the reader")
        await first.refresh()
        print(f"  directory: {len(first.all()):,} entries")


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
