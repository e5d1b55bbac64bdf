"""containerd and the docker engine, each in a folder of its own, and not a trace on the machine."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.programs import program

SECONDS = 60.0
# What an engine says where a kernel, or what locks this process in, does not let it work.
_NOT_ALLOWED = re.compile(
    r".*(?:not permitted|permission denied|not mounted|read-only file system).*", re.IGNORECASE
)
# Wherever an engine is told to live, it writes below /run and /etc, and mounts: so it gets ones of its own.
_APART = """
mount -t tmpfs tmpfs /run && mkdir /run/etc /run/work &&
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work /etc && exec "$0" "$@"
"""


@contextlib.contextmanager
def containerd() -> Iterator[str]:
    """Run containerd, and give its address, or skip where that is not allowed."""
    with _folder() as folder:
        (folder / "config.toml").write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{folder}/socket"\n'
        )
        answers = [program("ctr"), "--address", f"{folder}/socket", "version"]
        with _running("containerd", "--config", f"{folder}/config.toml", folder=folder, answers=answers):
            yield f"{folder}/socket"


@contextlib.contextmanager
def docker() -> Iterator[str]:
    """Run the docker engine without a network for containers, and give its address, or skip where that is not allowed."""
    with _folder() as folder:
        address = f"unix://{folder}/socket"
        answers = [program("docker"), "--host", address, "version"]
        arguments = [
            *("--host", address, "--pidfile", f"{folder}/pid"),
            *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--storage-driver", "vfs"),
            *("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"),
        ]
        with _running("dockerd", *arguments, folder=folder, answers=answers):
            yield address


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    # The path of a socket has an end: 107 bytes.
    with tempfile.TemporaryDirectory(prefix="engine-") as short:
        yield Path(short)


@contextlib.contextmanager
def _running(name: str, *arguments: str, folder: Path, answers: list[str]) -> Iterator[None]:
    apart = [program("unshare"), "--mount", "--propagation", "private", "sh", "-c", _APART]
    log = folder / "log"
    with (
        log.open("wb") as said,
        subprocess.Popen(
            [*apart, program(name), *arguments], stdout=said, stderr=subprocess.STDOUT
        ) as engine,
    ):
        try:
            _wait(name, engine, log, answers)
            yield
        finally:
            engine.terminate()


def _wait(name: str, engine: subprocess.Popen[bytes], log: Path, answers: list[str]) -> None:
    late = time.monotonic() + SECONDS
    while subprocess.run(answers, capture_output=True, check=False).returncode:
        if engine.poll() is not None:
            refused = _NOT_ALLOWED.findall(log.read_text())
            if refused:
                pytest.skip(f"CAP_SYS_ADMIN is missing on this machine: {name} may not run: {refused[-1]}")
        assert engine.poll() is None, f"{name} ended: {log.read_text()}"
        assert time.monotonic() < late, f"{name} does not answer: {log.read_text()}"
        time.sleep(0.1)
