"""The registry that the spec was written after, as Debian has it: to compare answers with."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.servers.ports import reserved

SECONDS = 30
CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@contextmanager
def running_distribution() -> Iterator[str]:
    """Run it in a folder of its own until the block ends, and give its address."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("Debian's package docker-registry is missing: .ci/run installs it")
    folder = Path(tempfile.mkdtemp(prefix="moorage-distribution-"))
    with reserved() as (port,):
        config = folder / "config.yml"
        config.write_text(CONFIG.format(folder=folder, port=port))
        process = subprocess.Popen([program, "serve", str(config)], stderr=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(process, address)
            yield address
        finally:
            process.terminate()
            process.wait(SECONDS)
            shutil.rmtree(folder)


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    transport = httpx.HTTPTransport(retries=10)
    with httpx.Client(transport=transport, timeout=SECONDS) as client:
        while process.poll() is None:
            try:
                client.get(f"{address}/v2/")
            except httpx.ConnectError:
                continue
            return
    pytest.fail("docker-registry did not start")
