"""`make bench`: run everything side by side and print ratios to the faster distribution, CPU included.

    make bench                      five rounds of everything, some twenty minutes
    make bench ARGS=--quick         two short rounds, a few minutes
    make bench ARGS="--only push"   only the series whose names hold a word

Ratios and CPU are to be trusted; rates depend on the machine and on what else it does.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import client, series, servers
from bench.client import MIB
from bench.series import Figure, Series
from bench.servers import Server

MANIFESTS, TAGS, REPOSITORIES = 100_000, 300_000, 1_000
# A token names so many repositories, from which tags are drawn.
DRAWN = 20


@dataclass(frozen=True, slots=True)
class Run:
    """How long and what to measure, and where."""

    folder: Path
    rounds: int
    seconds: int
    only: str
    quick: bool

    def wants(self, name: str) -> bool:
        """Say whether a series is to be measured."""
        return self.only in name


def main() -> None:
    given = argparse.ArgumentParser(prog="bench", description=__doc__.partition("\n")[0] if __doc__ else "")
    given.add_argument("--quick", action="store_true", help="two short rounds")
    given.add_argument("--only", default="", metavar="WORD", help="only series whose names hold this")
    given.add_argument("--folder", type=Path, default=None, help="where to put data: 8 GiB, on a disk")
    asked = given.parse_args()
    # Ended from outside, it takes its servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="moorage-bench-", dir=asked.folder) as folder:
        run = Run(Path(folder), 2 if asked.quick else 5, 3 if asked.quick else 8, asked.only, asked.quick)
        limits()
        side_by_side(run)
        grown(run)
        at_rest(run)


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


def grown(run: Run) -> None:
    """Compare a registry with itself, small and grown."""
    names = ("grown", "manifest GET by random tags, grown registry", "page of tags", "page of referrers")
    if not any(run.only in name for name in names):
        return
    little, much = (run.folder / name for name in ("little", "much"))
    with _seeded(little, "small", 10) as small, _seeded(much, "grown", REPOSITORIES) as large:
        asked: tuple[tuple[str, Callable[[Server], str]], ...] = (
            ("manifest GET by random tags, grown registry", lambda server: _random(run, server)),
            ("page of tags, the first", lambda _: "/v2/bench/first/tags/list?n=100"),
            ("page of tags, the last", lambda _: "/v2/bench/first/tags/list?n=100&last=tag-9"),
            ("page of referrers", lambda server: f"/v2/bench/first/referrers/{_subject(server)}?n=100"),
        )
        for name, make in asked:
            if not run.wants(name):
                continue
            figures: dict[str, Figure] = {}
            for _ in range(run.rounds):
                for server in (small, large):
                    path = make(server)
                    one = series.any_manifest(path, run.seconds) if path.endswith(".lua") else series.pages(
                        name, path, run.seconds
                    )  # fmt: skip
                    for key, figure in series.measure(one, [server], 1).items():
                        whole = figures.setdefault(key, Figure())
                        whole.rates += figure.rates
                        whole.costs += figure.costs
            report(Series(name, "requests", lambda _: (0, 0)), figures)


@contextlib.contextmanager
def _seeded(folder: Path, name: str, repositories: int) -> Iterator[Server]:
    servers.moorage(folder).stop()
    began = time.perf_counter()
    share = repositories / REPOSITORIES
    command = [sys.executable, "-m", "bench.seed", str(folder / "data"), str(repositories)]
    subprocess.run([*command, str(int(MANIFESTS * share)), str(int(TAGS * share))], check=True)
    print(f"{name}: {repositories} repositories seeded in {time.perf_counter() - began:.0f} s")
    server = servers.moorage(folder, f"moorage, {name}")
    with servers.running(server):
        client.sign_in(
            server, "bench/first", *(f"bench/app-{n}" for n in range(1, min(repositories, DRAWN + 1)))
        )
        yield server


def _subject(server: Server) -> str:
    _, headers, _ = client.ask(server, "HEAD", "/v2/bench/first/manifests/subject")
    return headers["docker-content-digest"]


def _random(run: Run, server: Server) -> str:
    script = run.folder / f"{server.port}.lua"
    paths = (
        run.folder / ("much" if "grown" in server.name else "little") / "data" / "seeded.txt"
    ).read_text()
    drawn = {f"bench/app-{number}" for number in range(1, DRAWN + 1)}
    listed = [path for path in paths.split() if path.partition(":")[0] in drawn]
    script.write_text(
        "local paths = {"
        + ",".join('"/v2/' + path.replace(":", "/manifests/") + '"' for path in listed)
        + "}\n"
        "request = function() return wrk.format('GET', paths[math.random(#paths)]) end\n"
    )
    return str(script)


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


def report(one: Series, figures: dict[str, Figure]) -> None:
    """Print a series: each server's figures and their ratio to the fastest distribution's, else to the first's."""
    print(f"{one.name}, per {one.unit.removesuffix('s')}")
    yardsticks = [figure for name, figure in figures.items() if name.startswith(servers.DISTRIBUTED)]
    first = max(yardsticks, key=lambda figure: figure.rate, default=next(iter(figures.values())))
    for name, figure in figures.items():
        micro = one.unit != "GiB"
        rate = f"{figure.rate:,.0f}/s" if micro else f"{figure.rate:.2f} GiB/s"
        cost = f"{figure.cost * 1e6:,.0f} us" if micro else f"{figure.cost:.2f} s"
        ratios = f"{figure.rate / first.rate:.2f} x the rate, {figure.cost / first.cost:.2f} x the CPU"
        print(f"  {name:<24} {rate:>14}  CPU {cost:>10}   {ratios}")
    print(flush=True)


if __name__ == "__main__":
    main()
