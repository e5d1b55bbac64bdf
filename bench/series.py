"""What is measured, each on every server in turn: A B A B, so that a noisy minute hits all alike."""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import client
from bench.client import MIB, Content
from bench.servers import Server

GIB = 1 << 30
REPOSITORY = "library/app"
MANIFEST = f"/v2/{REPOSITORY}/manifests/v1"
PADDING = 1300
STALLED_UPLOADS, STALLED_DOWNLOADS = 100, 200


@dataclass(slots=True)
class Figure:
    """One server's rounds of one series: how many units a second, and what CPU each cost."""

    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Give the median rate."""
        return statistics.median(self.rates)

    @property
    def cost(self) -> float:
        """Give the median cost, in seconds of CPU."""
        return statistics.median(self.costs)


@dataclass(frozen=True, slots=True)
class Series:
    """A name, what is counted, and a load that gives seconds and how many units."""

    name: str
    unit: str
    load: Callable[[Server], tuple[float, float]]
    # Nothing can be pushed to a server of files.
    pushes: bool = False


def measure(series: Series, servers: Iterable[Server], rounds: int) -> dict[str, Figure]:
    """Run a series on each server in turn, *rounds* times, and once before that, uncounted, for what is done once."""
    figures: dict[str, Figure] = {}
    taken = [server for server in servers if not (series.pushes and server.name == "nginx")]
    for server in taken:
        series.load(server)
    for _ in range(rounds):
        for server in taken:
            before = server.cpu()
            seconds, units = series.load(server)
            figure = figures.setdefault(server.name, Figure())
            figure.costs.append((server.cpu() - before) / units)
            figure.rates.append(units / seconds)
    return figures


def manifests(seconds: int) -> Series:
    """Pull one manifest by its tag, over 16 connections."""
    return Series(
        "manifest GET by tag, 16 connections",
        "requests",
        lambda server: client.wrk(server, MANIFEST, connections=16, seconds=seconds),
    )


def blob(name: str, content: Content, times: int, streams: int = 1) -> Series:
    """Pull a blob so many times in each of some streams."""
    path = f"/v2/{REPOSITORY}/blobs/{content.digest}"

    def load(server: Server) -> tuple[float, float]:
        took, count = client.at_once(
            streams, lambda _: sum(client.download(server, path) for _ in range(times))
        )
        return took, count / GIB

    return Series(name, "GiB", load)


def push(name: str, content: Content, streams: int) -> Series:
    """Push that much in one PATCH and a PUT, in some streams at once; never the same bytes twice."""

    def load(server: Server) -> tuple[float, float]:
        took, count = client.at_once(streams, lambda _: client.push(server, REPOSITORY, content.other()))
        _forget(server.folder, content.size)
        return took, count / GIB

    return Series(name, "GiB", load, pushes=True)


def _forget(folder: Path, size: int) -> None:
    """Free the disk of what was pushed: the next round pushes something else."""
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_size == size:
                path.unlink()


@dataclass(frozen=True, slots=True)
class Stalled:
    """What stalled transfers cost: the largest process, and how long others waited, in seconds."""

    largest: int
    median: float
    slowest: float
    cpu: float


def stalled(server: Server, content: Content, seconds: float) -> Stalled:
    """Let 100 uploads and 200 downloads stand still, and ask for manifests meanwhile."""
    path = f"/v2/{REPOSITORY}/blobs/{content.digest}"
    with contextlib.ExitStack() as held:
        for _ in range(STALLED_UPLOADS):
            upload = client.begin_upload(server, REPOSITORY)
            connection = held.enter_context(client.stream(server, upload, 256 * MIB))
            _send(connection, os.urandom(MIB) * 3)
        for _ in range(STALLED_DOWNLOADS):
            held.enter_context(client.begin_download(server, path))
        time.sleep(1)
        before, waits = server.cpu(), list(_waits(server, seconds))
        cpu = (server.cpu() - before) / seconds
        return Stalled(max(server.memory()), statistics.median(waits), max(waits), cpu)


def _send(connection: object, piece: bytes) -> None:
    """Send what the server takes at once, and no more."""
    assert hasattr(connection, "sendall")
    sending = threading.Thread(target=connection.sendall, args=(piece,), daemon=True)
    sending.start()
    sending.join(1)


def _waits(server: Server, seconds: float) -> Iterator[float]:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.perf_counter()
        client.ask(server, "GET", MANIFEST)
        yield time.perf_counter() - began
        time.sleep(0.01)


def prepare(server: Server, contents: Iterable[Content]) -> bytes:
    """Push what is pulled later; give the manifest's bytes."""
    client.sign_in(server, REPOSITORY)
    for content in contents:
        client.push(server, REPOSITORY, content)
    return client.push_manifest(server, REPOSITORY, "v1", list(contents)[:2], PADDING)
