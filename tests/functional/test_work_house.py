"""Background work in a running house: what is seen of it from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.house import House, house
from tests.servers.processes import children_of
from tests.worlds import PASSWORD

SECONDS = 60.0
ADMIN = ("admin", PASSWORD)
MEMORY = 350
"""What all processes may hold together when they idle, in MiB."""


async def record(data: Path, count: int) -> list[Any]:
    """Give the record of the only registry, once it has so many events."""
    file = next((data / "registries").glob("*.sqlite"))
    async with asyncio.timeout(SECONDS):
        while True:
            rows = ask(file, "SELECT kind, actor, outcome, count FROM event ORDER BY id")
            if len(rows) >= count:
                return rows
            await asyncio.sleep(0.05)


def ask(file: Path, question: str) -> list[Any]:
    """Ask a database of the house, as SQLite's own client would."""
    connection = sqlite3.connect(file, timeout=SECONDS)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    try:
        return connection.execute(question).fetchall()
    finally:
        connection.close()


async def push(home: House) -> httpx.Response:
    """Push an empty blob, and one whole index to pull."""
    kind = "application/vnd.oci.image.index.v1+json"
    body = '{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % kind  # noqa: UP031 - braces are JSON's here.
    async with httpx.AsyncClient(auth=ADMIN, base_url=home.registry, timeout=SECONDS) as client:
        return await client.put("/v2/library/app/manifests/one", content=body, headers={"content-type": kind})


async def test_a_push_a_pull_and_a_denial_are_in_the_record_soon(tmp_path: Path):
    with house(tmp_path / "data", PASSWORD=PASSWORD) as home:
        pushed = await push(home)
        async with httpx.AsyncClient(base_url=home.registry, timeout=SECONDS) as client:
            pulled = await client.get("/v2/library/app/manifests/one", auth=ADMIN)
            denied = await client.get("/v2/library/app/manifests/one", auth=("admin", "wrong"))
        rows = await record(tmp_path / "data", 3)

    assert [answer.status_code for answer in (pushed, pulled, denied)] == [201, 200, 401]
    assert sorted(rows) == [
        ("manifest.pull", "admin", "success", 1),
        ("manifest.push", "admin", "success", 1),
        ("request.denied", "anonymous", "denied", 1),
    ]


async def test_what_was_gathered_is_written_when_the_house_is_told_to_stop(tmp_path: Path):
    with house(tmp_path / "data", PASSWORD=PASSWORD, PULLS_INTERVAL="1h") as home:
        await push(home)
        async with httpx.AsyncClient(base_url=home.registry, auth=ADMIN, timeout=SECONDS) as client:
            await client.get("/v2/library/app/manifests/one")
        status = home.stop()

    file = next((tmp_path / "data" / "registries").glob("*.sqlite"))
    assert status == 0
    assert ask(file, "SELECT pulls FROM pull_stat") == [(1,)]
    assert ask(file, "SELECT count FROM event WHERE kind = 'manifest.pull'") == [(1,)]


async def test_a_killed_worker_is_started_again_and_works(tmp_path: Path):
    with house(tmp_path / "data", PASSWORD=PASSWORD) as home:
        await push(home)
        await record(tmp_path / "data", 1)
        (worker,) = home.children("moorage work")
        os.kill(worker, signal.SIGKILL)
        async with httpx.AsyncClient(base_url=home.registry, auth=ADMIN, timeout=SECONDS) as client:
            await client.delete("/v2/library/app/manifests/one")

        rows = await record(tmp_path / "data", 2)

        assert [kind for kind, *_ in rows] == ["manifest.push", "tag.delete"]
        assert home.children("moorage work") != [worker]


async def test_all_processes_together_idle_in_little_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with house(tmp_path / "data", PASSWORD=PASSWORD) as home:
        await push(home)
        await record(tmp_path / "data", 1)
        await wait_for_a_collection(tmp_path / "data")
        held = {pid: resident(pid) for pid in (home.process.pid, *children_of(home.process.pid))}
        with capsys.disabled():
            print(f" [resident: {sorted(held.values())} MiB]", end="")  # noqa: T201 - the figure is wanted

    assert sum(held.values()) < MEMORY


async def wait_for_a_collection(data: Path) -> None:
    """Wait until the worker has done its first one."""
    asked = "SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS' AND workflow_uuid LIKE 'collect:%'"
    async with asyncio.timeout(SECONDS):
        while not (is_made(data) and ask(data / "jobs.sqlite", asked)[0][0]):
            await asyncio.sleep(0.1)


def is_made(data: Path) -> bool:
    """Tell whether the worker has made its tables."""
    file = data / "jobs.sqlite"
    return file.exists() and bool(ask(file, "SELECT 1 FROM sqlite_master WHERE name = 'workflow_status'"))


def resident(process: int) -> int:
    """Give what a process holds in memory, in MiB; of what it shares with others, its share."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("Pss:"))
