"""A real Redis for the tests: Debian's, on a socket in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

START_SECONDS = 30


@dataclass(slots=True)
class RedisServer:
    """A server that can be killed and started again; what it knew is lost then."""

    program: str
    folder: Path
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Give the address that ``MOORAGE_REDIS_URL`` takes."""
        return f"unix://{self.folder}/socket"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {"port": "0", "unixsocket": f"{self.folder}/socket", "save": "", "appendonly": "no"}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [self.program, *words], cwd=self.folder, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        said = ""
        while "ready to accept connections" not in said.lower():
            line = self.process.stdout.readline()
            if not line:
                pytest.fail(f"redis-server did not start:\n{said}")
            said += line

    def kill(self) -> None:
        """End it without a word."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(START_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Run a server for the whole session, for those who do not kill it."""
    with running_redis() as server:
        yield server


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Run a server until the block ends."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("Debian's package redis-server is missing: .ci/run installs it")
    folder = Path(tempfile.mkdtemp(prefix="moorage-redis-"))
    server = RedisServer(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)
