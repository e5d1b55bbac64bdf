"""`make bench`: run everything side by side and print ratios to the faster distribution, CPU included.

    make bench                      five rounds of everything, some twenty minutes
    make bench ARGS=--quick         two short rounds, a few minutes
    make bench ARGS="--only push"   only the series whose names hold a word
    make bench ARGS="--only thousand --registries 1000"      a cell of many registries, half an hour

Ratios and CPU are to be trusted; rates depend on the machine and on what else it does.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import client, series, servers
from bench.client import MIB
from bench.grown import grown
from bench.lists import lists
from bench.runs import Run, report
from bench.servers import Server
from bench.thousand import thousand


def main() -> None:
    given = argparse.ArgumentParser(prog="bench", description=__doc__.partition("\n")[0] if __doc__ else "")
    given.add_argument("--quick", action="store_true", help="two short rounds")
    given.add_argument("--only", default="", metavar="WORD", help="only series whose names hold this")
    given.add_argument("--folder", type=Path, default=None, help="where to put data: 8 GiB, on a disk")
    given.add_argument(
        "--registries",
        type=int,
        default=1000,
        metavar="N",
        help="how many a cell of many has; 20 at most when quick",
    )
    asked = given.parse_args()
    # Ended from outside, it takes its servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="moorage-bench-", dir=asked.folder) as folder:
        run = Run(Path(folder), 2 if asked.quick else 5, 3 if asked.quick else 8, asked.only, asked.quick)
        limits()
        side_by_side(run)
        grown(run)
        lists(run)
        at_rest(run)
        thousand(run, asked.registries)


def limits() -> None:
    """Print what one core can hash: no push is faster than that."""
    program = servers.tool("openssl")
    if program is None:
        return
    done = subprocess.run(
        [program, "speed", "-seconds", "1", "-bytes", "1048576", "-evp", "sha256"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.findall(r"([\d.]+)k\s*$", done.stdout, re.MULTILINE)
    if found:
        rate = float(found[-1]) * 1000 / series.GIB
        print(f"openssl speed sha256: {rate:.2f} GiB/s, {1 / rate:.2f} CPU s/GiB\n")


def side_by_side(run: Run) -> None:
    """Compare with the peers, on a small registry."""
    names = ("manifest GET by tag", "blob GET 64 MiB", "blob GET 1 GiB", "push one", "push eight", "stalled")
    if not any(run.only in name for name in names):
        return
    small, middle, large, pushed = (
        client.content(run.folder / f"content-{size}", size)
        for size in (64 * 1024, 64 * MIB, series.GIB, 256 * MIB)
    )
    ours, peers = servers.moorage(run.folder / "moorage"), servers.peers(run.folder / "peers")
    with servers.running(ours, *peers):
        contents = [small, small.other(), middle, large]
        body = [series.prepare(server, contents) for server in (ours, *peers)][-1]
        files = {one.digest: run.folder / f"whole-{number}" for number, one in enumerate(contents)}
        for one in (middle, large):
            with files[one.digest].open("wb") as whole:
                whole.write(one.path.read_bytes() + one.tail)
        base = f"v2/{series.REPOSITORY}"
        limit = servers.nginx(
            run.folder / "nginx",
            {f"{base}/manifests/v1": body}
            | {f"{base}/blobs/{one.digest}": files[one.digest] for one in (middle, large)},
        )
        with servers.running(limit):
            for server in (ours, *peers):
                servers.rests(server)
            everyone = [one for one in (*peers, ours, limit) if one is not None]
            for each in (
                series.manifests(run.seconds),
                series.blob("blob GET 64 MiB", middle, 8 if run.quick else 24),
                series.blob("blob GET 1 GiB", large, 1 if run.quick else 2),
                series.push("push one stream of 256 MiB", pushed, 1),
                series.push("push eight streams of 256 MiB", pushed, 8),
            ):
                if run.wants(each.name):
                    report(each, series.measure(each, everyone, run.rounds))
            if run.wants("stalled"):
                for server in (*peers, ours):
                    _report_stalled(server, series.stalled(server, large, 5))


def _report_stalled(server: Server, found: series.Stalled) -> None:
    print(
        f"100 uploads and 200 downloads stalled, {server.name}: largest process {found.largest / MIB:.0f} MiB,"
        f" others wait {found.median * 1000:.1f} ms (at most {found.slowest * 1000:.1f}),"
        f" CPU {found.cpu * 100:.0f} % of a core\n"
    )


def at_rest(run: Run) -> None:
    """Measure a second start, and what it costs to do nothing."""
    if not run.wants("idle"):
        return
    folder = run.folder / "rest"
    servers.moorage(folder).stop()
    starts = []
    for _ in range(run.rounds):
        began = time.perf_counter()
        servers.moorage(folder).stop()
        starts.append(time.perf_counter() - began)
    began = time.perf_counter()
    server = servers.moorage(folder)
    took = time.perf_counter() - began
    with servers.running(server):
        time.sleep(3)
        before = server.cpu()
        time.sleep(10)
        cpu = (server.cpu() - before) / 10
        print(
            f"second start answers in {took:.2f} s; idle: {len(server.pids())} processes,"
            f" {sum(server.memory()) / MIB:.0f} MiB resident ({server.shared_memory() / MIB:.0f} MiB with"
            f" shared pages counted once), {cpu * 100:.1f} % of a core"
        )


if __name__ == "__main__":
    main()
