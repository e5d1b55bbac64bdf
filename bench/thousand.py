"""A cell of many registries: ordered through the provider's API, opened, listed, left alone, brought forward, destroyed.

What is printed is CPU, memory and counts before time: with many registries the question is what grows with their number.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import houses, postgres
from bench.houses import Client, House
from bench.older import RELEASED, set_back
from bench.runs import Run
from bench.servers import Server

NAMES = ("thousand registries on SQLite", "thousand registries on PostgreSQL")
FEW = 20
"""So many registries a quick run makes."""
OPENED = 200
LISTED = 20
QUIET = 0.15
"""A core's part below which a house has done what its start or its orders left to do."""
MILLI = 1000


@dataclass(slots=True)
class Cell:
    """A house, how many registries it is given, and what its rows are in."""

    house: House
    count: int
    idle: float
    quick: bool
    database: Server | None = None
    url: str = ""

    def cpu(self) -> float:
        """Count the seconds of CPU of the house and of its database."""
        return self.house.server.cpu() + (self.database.cpu() if self.database else 0.0)

    def rests(self) -> None:
        """Wait until its house has done what its start or its orders left to do."""
        self.house.rests(QUIET, 1.0 if self.quick else 5.0)

    def transactions(self) -> int:
        """Count what its database was asked so far, 0 where it is files."""
        return postgres.transactions(self.url) if self.url else 0


def thousand(run: Run, count: int) -> None:
    """Measure on each engine, if it is asked for by name: it takes long."""
    count = min(count, FEW) if run.quick else count
    for name in NAMES:
        if run.only and run.wants(name):
            with _made(run, name, count) as cell:
                print(
                    f"{name.removeprefix('thousand registries on ')}, {count:,} registries in one cell",
                    flush=True,
                )
                _measure(cell)
                print(flush=True)


@contextlib.contextmanager
def _made(run: Run, name: str, count: int) -> Iterator[Cell]:
    set_ = {"MOORAGE_DELETION_GRACE": "0s", "MOORAGE_REGISTRIES_MOST": str(count + 10)}
    idle = 5.0 if run.quick else 60.0
    folder = run.folder / name.replace(" ", "-")
    with contextlib.ExitStack() as ending:
        if name.endswith("SQLite"):
            # Without a domain each listens on a port of its own.
            cell = Cell(House(folder, set_), count, idle, run.quick)
        else:
            server, url = ending.enter_context(postgres.running())
            set_ |= {"MOORAGE_DATABASE_URL": url, "MOORAGE_DOMAIN": "bench.example"}
            cell = Cell(House(folder, set_), count, idle, run.quick, server, url)
        cell.house.start()
        ending.callback(lambda: cell.house.stop())  # noqa: PLW0108 - which server it has changes
        yield cell


def _measure(cell: Cell) -> None:
    cell.house.sign_in()
    client = cell.house.client()
    region = client.region()
    _order(cell, client, region)
    cell.rests()
    _order_one(cell, client, region)
    _list(cell, client)
    _idle(cell, "nobody uses any")
    _open(cell, client)
    _idle(cell, "each was asked once")
    # On PostgreSQL a minute goes by until every process that may be somewhere has let go of it.
    if not (cell.quick and cell.url):
        _destroy(cell, client)
    _start_again(cell)
    if not cell.url:
        _bring_forward(cell)


def _order(cell: Cell, client: Client, region: str) -> None:
    """Order all of them, one call after another, and wait until all are there."""
    before, began = cell.cpu(), time.perf_counter()
    for number in range(cell.count):
        client.order(f"bench-{number}", region)
    taken = time.perf_counter() - began
    while any(one["status"] != "READY" for one in client.listed()):
        time.sleep(0.5)
    ready, used = time.perf_counter() - began, cell.cpu() - before
    print(
        f"  ordering: {cell.count / taken:.1f} orders/s taken, {cell.count / ready:.1f}/s delivered,"
        f" {used / cell.count * MILLI:.0f} CPU ms each",
        flush=True,
    )


def _order_one(cell: Cell, client: Client, region: str) -> None:
    """Order one more, several times, until it answers at its address."""
    readies, answers, used = [], [], []
    for number in range(2 if cell.quick else 5):
        before, began = cell.cpu(), time.perf_counter()
        id_ = client.order(f"more-{number}", region)
        made = client.until(f"/containerRegistry/{id_}", lambda _, told: told["status"] == "READY")
        readies.append(time.perf_counter() - began)
        while True:
            with contextlib.suppress(OSError):
                if houses.reached(made["url"], cell.house.server.port)[0] == 401:
                    break
            time.sleep(houses.PAUSE)
        answers.append(time.perf_counter() - began)
        used.append(cell.cpu() - before)
    print(
        f"  one more: READY after {statistics.median(readies):.2f} s, answers after {statistics.median(answers):.2f} s,"
        f" {statistics.median(used) * MILLI:.0f} CPU ms",
        flush=True,
    )


def _list(cell: Cell, client: Client) -> None:
    """List them through the API and by the command, and read the directory."""
    before, began = cell.cpu(), time.perf_counter()
    for _ in range(LISTED):
        _, told, size = client.call("GET", "/containerRegistry")
    took, used = (time.perf_counter() - began) / LISTED, (cell.cpu() - before) / LISTED
    print(
        f"  list of {len(told):,} through the API: {size >> 10} KiB, {took * MILLI:.0f} ms, {used * MILLI:.0f} CPU ms"
    )
    told, used = cell.house.run("registry", "list")
    print(
        f"  `moorage registry list`: {len(told.splitlines()):,} lines, {used:.2f} CPU s with the start of its process"
    )
    asked = [sys.executable, "-m", "bench.refreshing", str(cell.house.folder / "data"), cell.url]
    print(subprocess.run(asked, check=True, capture_output=True, text=True).stdout, end="", flush=True)


def _idle(cell: Cell, what: str) -> None:
    """Leave them alone for a while."""
    cell.rests()
    before, asked, cpu = cell.house.looks(), cell.transactions(), cell.cpu()
    time.sleep(cell.idle)
    after, minute = cell.house.looks(), 60 / cell.idle
    print(f"  idle, {what}: {(cell.cpu() - cpu) * minute:.2f} CPU s a minute in all", end="")
    if cell.url:
        print(f", {(cell.transactions() - asked) / cell.idle:.1f} transactions/s", end="")
    print()
    for name, one in after.items():
        reads = (one.reads - before[name].reads) / cell.idle
        print(
            f"    {name:<13} {(one.cpu - before[name].cpu) * minute:.2f} CPU s a minute, {reads:.0f} reads/s,"
            f" {one.resident >> 20} MiB resident ({one.own >> 20} MiB its own), {one.descriptors} descriptors,"
            f" {one.threads} threads",
            flush=True,
        )


def _open(cell: Cell, client: Client) -> None:
    """Ask registries that no process has open, and again."""
    urls = [one["url"] for one in client.listed() if one["status"] == "READY"]
    random.Random(1).shuffle(urls)
    some = urls[:OPENED]
    for what, asked in (("cold", some), ("warm", some[-20:] * 10)):
        before, took = cell.cpu(), [houses.reached(url, cell.house.server.port) for url in asked]
        used = (cell.cpu() - before) / len(asked)
        times = sorted(seconds for _, seconds in took)
        assert {status for status, _ in took} == {401}
        print(
            f"  first /v2/, {what}: {statistics.median(times) * MILLI:.1f} ms, slowest {times[-1] * MILLI:.0f} ms,"
            f" {used * MILLI:.1f} CPU ms each"
        )
    before = cell.cpu()
    for url in urls * 2:
        houses.reached(url, cell.house.server.port)
    print(
        f"  each asked twice: {(cell.cpu() - before) / len(urls) / 2 * MILLI:.1f} CPU ms a request",
        flush=True,
    )


def _destroy(cell: Cell, client: Client) -> None:
    """Delete one with no grace, and wait for its certificate."""
    one = next(one for one in client.listed() if one["status"] == "READY" and one["name"].startswith("bench"))
    before, began = cell.cpu(), time.perf_counter()
    client.call("DELETE", f"/containerRegistry/{one['id']}")
    client.until(
        f"/containerRegistry/{one['id']}/certificate", lambda status, _: status == 200, houses.SELDOM
    )
    print(
        f"  destroying one: its certificate after {time.perf_counter() - began:.1f} s,"
        f" {cell.cpu() - before:.2f} CPU s of the whole cell meanwhile",
        flush=True,
    )


def _start_again(cell: Cell) -> None:
    """Start on what is there."""
    cell.house.stop()
    database = cell.database.cpu() if cell.database else 0.0
    began = time.perf_counter()
    cell.house.start()
    took, first = time.perf_counter() - began, cell.house.server.cpu()
    cell.rests()
    used = cell.cpu() - database
    print(
        f"  second start: answers after {took:.1f} s and {first:.1f} CPU s;"
        f" {used:.1f} CPU s until all that follows a start is done",
        flush=True,
    )


def _bring_forward(cell: Cell) -> None:
    """Start on the files of the release before. A database has its revisions run once, however many registries are in it."""
    cell.house.stop()
    set_back(_files(cell), cell.house.folder / "data")
    began = time.perf_counter()
    cell.house.start()
    took = time.perf_counter() - began
    cell.rests()
    used, whole = cell.cpu(), time.perf_counter() - began
    newer = sum(_version(file) > RELEASED for file in _files(cell))
    print(
        f"  start of a newer release: answers after {took:.1f} s; {used:.1f} CPU s and {whole:.0f} s until {newer:,} of"
        f" {len(_files(cell)):,} files are brought forward and the house rests",
        flush=True,
    )


def _files(cell: Cell) -> list[Path]:
    return sorted((cell.house.folder / "data" / "registries").glob("*.sqlite"))


def _version(file: Path) -> str:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as one:
        return str(one.execute("SELECT version_num FROM schema_registry").fetchone()[0])
