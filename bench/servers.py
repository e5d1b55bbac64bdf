"""The servers that are measured: each started in a folder of its own, its processes counted together."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PATIENCE = 60.0
# Seconds of CPU in one second.
AT_REST = 0.05
PASSWORD = "Only-for-the-bench-1"  # noqa: S105  # opens a registry that lives as long as the measurement
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TOOLS = ("MOORAGE_TEST_TOOLS", "GOBIN")

DISTRIBUTED = "distribution"
DISTRIBUTION = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}/data}}
  cache: {{blobdescriptor: inmemory}}
http: {{addr: "127.0.0.1:{port}", secret: bench}}
"""
NGINX = """\
daemon off; worker_processes 2; pid {folder}/pid; error_log stderr crit; {user}
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=100;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


@dataclass(slots=True)
class Server:
    """A running server: where it answers, and what its processes cost."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    credentials: tuple[str, str] | None = None
    # Distribution hides OCI manifests from whoever does not ask for them.
    headers: dict[str, str] = field(default_factory=lambda: {"Accept": MANIFEST})

    @property
    def url(self) -> str:
        """Give its address."""
        return f"http://127.0.0.1:{self.port}"

    def pids(self) -> list[int]:
        """List its processes: the one that was started and all that come from it."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (stat := _stat(int(entry.name))):
                parents.setdefault(int(stat[1]), []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def cpu(self) -> float:
        """Count the seconds of CPU that its processes used so far."""
        return sum(int(stat[11]) + int(stat[12]) for pid in self.pids() if (stat := _stat(pid))) / TICKS

    def memory(self) -> list[int]:
        """List the resident bytes of each process."""
        return [int(stat[21]) * PAGE for pid in self.pids() if (stat := _stat(pid))]

    def shared_memory(self) -> int:
        """Count the bytes of all its processes, those that they share once."""
        return sum(_proportional(pid) for pid in self.pids())

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def tool(*names: str) -> str | None:
    """Find a program on the PATH or among the tools of the tests."""
    folders = [os.environ[name] for name in TOOLS if os.environ.get(name)]
    path = os.pathsep.join([*folders, os.environ.get("PATH", ""), "/usr/sbin", str(Path.home() / "go/bin")])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def free_port() -> int:
    """Give a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def start(name: str, command: list[str], folder: Path, port: int, **environment: str) -> Server:
    """Start a server in a folder, where its log is."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=os.environ | environment
        )
    return Server(name, process, port, folder)


def answers(server: Server, path: str, statuses: tuple[int, ...]) -> None:
    """Wait until a server answers *path* with one of *statuses*."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if server.process.poll() is not None:
            break
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
            connection.request("GET", path)
            status = connection.getresponse().status
            connection.close()
            if status in statuses:
                return
        time.sleep(0.01)
    server.stop()
    log = (server.folder / "log").read_text(errors="replace")[-2000:]
    raise SystemExit(f"{server.name} does not answer:\n{log}")


def moorage(folder: Path, name: str = "moorage", **environment: str) -> Server:
    """Start ours by its one command, with everything as it is by default but for the rates of one identity."""
    port = free_port()
    server = start(
        name,
        [sys.executable, "-m", "moorage", "up"],
        folder,
        port,
        MOORAGE_DATA=str(folder / "data"),
        MOORAGE_REGISTRY_PORT=str(port),
        MOORAGE_CONSOLE_PORT=str(free_port()),
        MOORAGE_OPS_PORT=str(free_port()),
        MOORAGE_PASSWORD=PASSWORD,
        # One identity asks here as fast as it can, which is counted as for any other.
        MOORAGE_RATES="manifests=6000000,blobs=6000000,pushes=6000000,lists=6000000",
        **environment,
    )
    server.credentials = ("admin", PASSWORD)
    answers(server, "/v2/", (401,))
    return server


def peers(folder: Path) -> list[Server]:
    """Start every peer at hand: the CNCF's registry in versions 3 and 2.8, and zot.

    Debian's 2.8.2, whose SHA-256 is slow, stands in where none is built with a current Go.
    """
    built = [name for name in ("registry", "registry-2.8.3") if tool(name)] or ["docker-registry"]
    found = [distribution(folder / name, program) for name in built if (program := tool(name))]
    if (program := tool("zot")) is not None:
        found.append(zot(folder / "zot", program))
    if not found:
        raise SystemExit(
            "no peer to compare with: go install github.com/distribution/distribution/v3/cmd/registry@v3.1.1,"
            " or apt install docker-registry"
        )
    return found


def distribution(folder: Path, program: str) -> Server:
    """Start a CNCF registry."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "config.yml"
    config.write_text(DISTRIBUTION.format(folder=folder, port=port))
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split()
    version = shown[-1].partition("+")[0] if shown else ""
    if not version.startswith(("v", "2", "3")):
        version = Path(program).name.removeprefix("registry-")
    server = start(
        f"{DISTRIBUTED} {version}",
        [program, "serve", str(config)],
        folder,
        port,
        OTEL_TRACES_EXPORTER="none",
    )
    answers(server, "/v2/", (200,))
    return server


def zot(folder: Path, program: str) -> Server:
    """Start zot, with nothing of it that a registry need not have."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "config.json"
    set_ = {
        "distSpecVersion": "1.1.1",
        "storage": {"rootDirectory": str(folder / "data"), "dedupe": False, "gc": False, "commit": True},
        "http": {"address": "127.0.0.1", "port": str(port)},
        "log": {"level": "error"},
    }
    config.write_text(json.dumps(set_))
    server = start("zot", [program, "serve", str(config)], folder, port)
    answers(server, "/v2/", (200,))
    return server


def nginx(folder: Path, files: dict[str, Path | bytes]) -> Server | None:
    """Start nginx with files, as a limit of what can be reached; None where it is missing."""
    program = tool("nginx")
    if program is None:
        return None
    for path, content in files.items():
        place = folder / "www" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            place.write_bytes(content)
        else:
            place.symlink_to(content)
    port = free_port()
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(NGINX.format(folder=folder, port=port, user=user))
    server = start("nginx", [program, "-c", str(config), "-p", str(folder)], folder, port)
    answers(server, "/", (200, 403, 404))
    return server


def rests(server: Server) -> None:
    """Wait until a server has nothing left to do of its start: that is no part of what a request costs."""
    ends, before = time.monotonic() + PATIENCE, server.cpu()
    while time.monotonic() < ends:
        time.sleep(1)
        used, before = server.cpu() - before, server.cpu()
        if used <= AT_REST:
            return


@contextlib.contextmanager
def running(*servers: Server | None) -> Iterator[None]:
    """Stop all of them in the end."""
    try:
        yield
    finally:
        for server in servers:
            if server is not None:
                server.stop()
