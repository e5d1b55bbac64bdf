"""A fleet: processes that serve the registries of one cell, each on a port of its own, as behind a balancer."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.servers.house import environment
from tests.servers.ports import reserved

SECONDS = 90.0


@dataclass(frozen=True)
class Replica:
    """A running `moorage serve registry`."""

    process: subprocess.Popen[bytes]
    port: int

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait(SECONDS)


@contextmanager
def replica(data: Path, **settings: str) -> Iterator[Replica]:
    """Run `moorage serve registry` until the block ends; give it once it answers."""
    command = [sys.executable, "-m", "moorage", "serve", "registry"]
    with reserved() as (port,):
        given = environment(data, **{**settings, "REGISTRY_PORT": str(port)})
        with subprocess.Popen(command, env=given) as process:
            try:
                _wait(process, port)
                yield Replica(process, port)
            finally:
                process.send_signal(signal.SIGTERM)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until it is ready: it says so to nobody who has no leash on it."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    pytest.fail(f"`moorage serve registry` is not ready: {process.poll()}")
