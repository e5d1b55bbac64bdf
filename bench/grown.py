"""A registry against itself, small and grown: the same requests, for as many things, of as many bytes.

What differs is only what lies around them: both are asked for the same number of tags in the same number of
repositories, drawn from all over each, and for whole pages of names of one length.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import client, series, servers
from bench.runs import Run, report
from bench.series import Series
from bench.servers import Server

MANIFESTS, TAGS, REPOSITORIES = 100_000, 300_000, 1_000
SMALL = 30
# A token names so many repositories, and of each so many tags are drawn.
DRAWN, TAGS_OF_EACH = 20, 50
# Each process of a server gives its first answers before anything is measured: so many requests for each thing asked.
FIRST_ASKED = 12
PAGE = 100
FIRST = "bench/first"

NAMES = (
    "manifest GET by random tags, that come again, grown registry",
    "manifest GET by random tags, each read anew, grown registry",
    "page of tags, the first",
    "page of tags, any",
    "page of referrers, the first",
    "page of referrers, any",
)


def grown(run: Run) -> None:
    """Compare a registry with itself, small and grown."""
    wanted = [name for name in NAMES if run.wants(name)]
    if not wanted:
        return
    asked = dict(
        zip(NAMES, (_tags, _tags, _first_tags, _any_tags, _first_referrers, _any_referrers), strict=True)
    )
    with (
        _seeded(run.folder / "little", "small", SMALL) as small,
        _seeded(run.folder / "much", "grown", REPOSITORIES) as large,
    ):
        for name in wanted:
            _compare(
                run, name, {server.name: asked[name](server) for server in (small, large)}, (small, large)
            )


def _compare(run: Run, name: str, paths: dict[str, list[str]], both: tuple[Server, ...]) -> None:
    connections, unit = (16, "requests") if name.startswith("manifest") else (4, "pages")
    scripts = {server.name: _script(server, paths[server.name], anew="anew" in name) for server in both}

    def load(server: Server) -> tuple[float, float]:
        return client.wrk(
            server, "/", connections=connections, seconds=run.seconds, script=scripts[server.name]
        )

    for server in both:
        asked = 0.0
        while asked < FIRST_ASKED * len(paths[server.name]):
            asked += load(server)[1]
    one = Series(name, unit, load)
    report(one, series.measure(one, both, run.rounds))


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
        client.sign_in(server, FIRST, *_drawn(_listed(server)))
        servers.rests(server)
        yield server


def _listed(server: Server) -> dict[str, list[str]]:
    """Give the tags of each repository but the first."""
    pairs = (line.partition(":") for line in (server.folder / "data" / "seeded.txt").read_text().split())
    return {
        name: [tag for _, _, tag in each]
        for name, each in itertools.groupby(pairs, lambda pair: pair[0])
        if name != FIRST
    }


def _drawn(listed: dict[str, list[str]]) -> list[str]:
    """Take repositories from all over the registry."""
    return list(listed)[:: len(listed) // DRAWN][:DRAWN]


def _tags(server: Server) -> list[str]:
    listed = _listed(server)
    return [f"/v2/{name}/manifests/{tag}" for name in _drawn(listed) for tag in listed[name][:TAGS_OF_EACH]]


def _first_tags(_: Server) -> list[str]:
    return [f"/v2/{FIRST}/tags/list?n={PAGE}"]


def _any_tags(server: Server) -> list[str]:
    count = int(TAGS * (REPOSITORIES if "grown" in server.name else SMALL) / REPOSITORIES / 10)
    starts = range(1, count - PAGE - 1, (count - PAGE - 1) // PAGE)
    return [f"/v2/{FIRST}/tags/list?n={PAGE}&last=tag-{start:06}" for start in starts]


def _first_referrers(server: Server) -> list[str]:
    return [_referrers(server, PAGE)]


def _any_referrers(server: Server) -> list[str]:
    """List whole pages that begin anywhere, by a walk through the list, which alone tells where that can be."""
    paths, path = [], _referrers(server, PAGE // 2)
    while path:
        paths.append(path)
        _, headers, _ = client.ask(server, "GET", path)
        found = re.match("<(.+)>", headers.get("link", ""))
        path = found[1] if found else ""
    return [one.replace(f"n={PAGE // 2}", f"n={PAGE}") for one in paths[:-1]]


def _referrers(server: Server, most: int) -> str:
    _, headers, _ = client.ask(server, "HEAD", f"/v2/{FIRST}/manifests/subject")
    return f"/v2/{FIRST}/referrers/{headers['docker-content-digest']}?n={most}"


def _script(server: Server, paths: list[str], *, anew: bool) -> str:
    """Write what wrk runs: a path drawn from *paths* for each request, *anew* with headers that no other had."""
    script = server.folder / "drawn.lua"
    listed = ",".join(f'"{path}"' for path in paths)
    other = "n = n + 1; wrk.headers['If-None-Match'] = '\"' .. n .. '\"';" if anew else ""
    script.write_text(
        f"local paths, n = {{{listed}}}, os.time() * 1000000\n"
        f"request = function() {other} return wrk.format('GET', paths[math.random(#paths)]) end\n"
    )
    return str(script)
