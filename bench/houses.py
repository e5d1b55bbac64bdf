"""A house with many registries: started, ordered from through the provider's API, and looked at process by process."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from bench import servers
from bench.servers import PAGE, PASSWORD, TICKS, Server

PATIENCE = 1800.0
PAUSE = 0.02
SELDOM = 0.5
ROLES = {
    ("up",): "supervisor", ("serve", "registry"): "registry", ("serve", "console"): "console", ("work",): "worker",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """What a process has used so far, and what it holds now."""

    cpu: float
    resident: int
    own: int
    """Resident bytes that it shares with no other process."""
    descriptors: int
    threads: int
    reads: int
    """Reading system calls: SQLite makes one for each page that it has not got."""


@dataclass(slots=True)
class House:
    """A house by its one command, and a client of its API that may do everything."""

    folder: Path
    environment: dict[str, str]
    server: Server = field(init=False)
    console: int = 0
    project: str = ""
    token: str = ""

    def start(self) -> None:
        """Start it, and wait until it answers."""
        port, self.console = servers.free_port(), servers.free_port()
        set_ = {
            "MOORAGE_DATA": str(self.folder / "data"),
            "MOORAGE_REGISTRY_PORT": self.environment.get("MOORAGE_REGISTRY_PORT", str(port)),
            "MOORAGE_CONSOLE_PORT": str(self.console),
            "MOORAGE_OPS_PORT": str(servers.free_port()),
            "MOORAGE_PASSWORD": PASSWORD,
        }
        # Started again it answers where it did.
        self.environment = set_ | self.environment | {"MOORAGE_CONSOLE_PORT": str(self.console)}
        port = int(self.environment["MOORAGE_REGISTRY_PORT"])
        self.server = servers.start(
            "moorage", [sys.executable, "-m", "moorage", "up"], self.folder, port, **self.environment
        )
        servers.answers(self.server, "/v2/", (401,))

    def stop(self) -> None:
        """End it."""
        self.server.stop()

    def run(self, *command: str) -> tuple[str, float]:
        """Run a command of its own; give what it wrote, and its seconds of CPU."""
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-m", "moorage", *command],
            env=os.environ | self.environment, stdout=subprocess.PIPE, check=True, text=True,
        )  # fmt: skip
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        return done.stdout, used

    def sign_in(self) -> None:
        """Make a client of the API, and get the token that it calls with."""
        told, _ = self.run("application", "create", "bench", "--oauth2")
        made = dict(re.findall(r"^(\S.*?)  +(\S+)$", told, re.MULTILINE))
        self.project = made["Cloud project"]
        form = {
            "grant_type": "client_credentials", "scope": "all",
            "client_id": made["Client id"], "client_secret": made["Client secret"],
        }  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self.console, timeout=60)
        connection.request(
            "POST", urlsplit(made["Token URL"]).path, urlencode(form),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )  # fmt: skip
        self.token = json.loads(connection.getresponse().read())["access_token"]

    def client(self) -> Client:
        """Open a connection to the API."""
        connection = http.client.HTTPConnection("127.0.0.1", self.console, timeout=120)
        return Client(connection, {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
                      f"/1.0/cloud/project/{self.project}")  # fmt: skip

    def looks(self) -> dict[str, Look]:
        """Look at each process, under what it is."""
        found: dict[str, Look] = {}
        for pid in sorted(self.server.pids()):
            name = _role(pid)
            if name:
                found[f"{name} {sum(one.startswith(name) for one in found) + 1}"] = _look(pid)
        return found

    def rests(self, at_most: float, seconds: float = 5.0) -> None:
        """Wait until it uses less than so much of a core: what it does at a start or after orders is over then."""
        ends, before = time.monotonic() + PATIENCE, self.server.cpu()
        while time.monotonic() < ends:
            time.sleep(seconds)
            used, before = self.server.cpu() - before, self.server.cpu()
            if used / seconds <= at_most:
                return


@dataclass(frozen=True, slots=True)
class Client:
    """A connection to the API of a cloud project."""

    connection: http.client.HTTPConnection
    headers: dict[str, str]
    base: str

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any, int]:
        """Make a call; give status, answer and how many bytes that was."""
        sent = None if body is None else json.dumps(body)
        try:
            self.connection.request(method, f"{self.base}{path}", sent, self.headers)
            answer = self.connection.getresponse()
        except ConnectionError:
            # It was idle for longer than the server waits.
            self.connection.close()
            self.connection.request(method, f"{self.base}{path}", sent, self.headers)
            answer = self.connection.getresponse()
        read = answer.read()
        return answer.status, json.loads(read) if read else None, len(read)

    def region(self) -> str:
        """Give the region that the catalogue names first."""
        return str(self.call("GET", "/capabilities/containerRegistry")[1][0]["regionName"])

    def order(self, name: str, region: str) -> str:
        """Order a registry of the smallest plan, and give its id."""
        status, told, _ = self.call("POST", "/containerRegistry", {"name": name, "region": region})
        if status != http.HTTPStatus.OK:
            raise SystemExit(f"an order was answered {status}: {told}")
        return str(told["id"])

    def listed(self) -> list[dict[str, Any]]:
        """List the registries."""
        found: list[dict[str, Any]] = self.call("GET", "/containerRegistry")[1]
        return found

    def until(self, path: str, holds: Callable[[int, Any], bool], pause: float = PAUSE) -> Any:
        """Ask again and again until an answer is right."""
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            status, told, _ = self.call("GET", path)
            if holds(status, told):
                return told
            time.sleep(pause)
        raise SystemExit(f"{path} did not come right: {told}")


def reached(url: str, port: int) -> tuple[int, float]:
    """Ask a registry for /v2/ at its address, as its host name would lead there; give status and seconds."""
    where = urlsplit(url)
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", where.port or port, timeout=60)
    connection.request("GET", "/v2/", headers={"Host": where.netloc})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, time.perf_counter() - began


def _role(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return ""
    said = words[words.index("moorage") + 1 :] if "moorage" in words else []
    return next((role for start, role in ROLES.items() if tuple(said[: len(start)]) == start), "")


def _look(pid: int) -> Look:
    folder = Path(f"/proc/{pid}")
    stat = (folder / "stat").read_text().rpartition(")")[2].split()
    io = dict(line.split(": ") for line in (folder / "io").read_text().splitlines())
    own = sum(
        int(line.split()[1]) * 1024
        for line in (folder / "smaps_rollup").read_text().splitlines()
        if line.startswith(("Private_Clean:", "Private_Dirty:"))
    )
    return Look(
        (int(stat[11]) + int(stat[12])) / TICKS, int(stat[21]) * PAGE, own,
        len(list((folder / "fd").iterdir())), int(stat[17]), int(io["syscr"]),
    )  # fmt: skip


def each(looks: dict[str, Look]) -> Iterator[str]:
    """Write what each process holds."""
    for name, one in looks.items():
        mib = f"{one.resident >> 20} MiB resident, {one.own >> 20} MiB its own"
        yield f"  {name:<13} {mib}, {one.descriptors} descriptors, {one.threads} threads"
