"""`moorage up` in a folder of its own, on free ports, as a person would run it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.servers import commands
from tests.servers.processes import children_of, command_of, until_gone

SOURCE = Path(__file__).parents[2] / "src"
SECONDS = 60.0
_ADDRESS = re.compile(r"^  (Registry|Console|Operator)\s+https?://\S+:(\d+)$", re.MULTILINE)


def environment(data: Path, *, source: str = str(SOURCE), **settings: str) -> dict[str, str]:
    """Give a process's environment: this one's, without its settings, and with these. *source* is the code it runs."""
    # Compiling every module at every start is nobody's real start.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MOORAGE_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    ports = dict.fromkeys(("REGISTRY_PORT", "CONSOLE_PORT", "OPS_PORT"), "0")
    given = {"DATA": str(data), **ports, **settings}
    return {**kept, "PYTHONPATH": source, **{f"MOORAGE_{name}": value for name, value in given.items()}}


def moorage(
    *arguments: str, data: Path, source: str = str(SOURCE), typed: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; *typed* is its standard input."""
    if source == str(SOURCE):
        return commands.ran(arguments, environment(data, **settings), typed)
    return subprocess.run(
        [sys.executable, "-m", "moorage", *arguments],
        env=environment(data, source=source, **settings),
        capture_output=True,
        text=True,
        input=typed,
        timeout=SECONDS,
        check=False,
    )


@dataclass(slots=True)
class House:
    """A running `moorage up`."""

    process: subprocess.Popen[str]
    greeting: str
    seconds: float
    ports: dict[str, int]

    @property
    def registry(self) -> str:
        """Give the registry plane's address."""
        return f"http://localhost:{self.ports['Registry']}"

    @property
    def console(self) -> str:
        """Give the console's address."""
        return f"http://localhost:{self.ports['Console']}"

    @property
    def ops(self) -> str:
        """Give the operator's address."""
        return f"http://localhost:{self.ports['Operator']}"

    def children(self, command: str = "") -> list[int]:
        """List the processes whose command line holds *command*."""
        return [child for child in children_of(self.process.pid) if command in command_of(child)]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop, and give the status it ends with."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@contextlib.contextmanager
def house(data: Path, *, source: str = str(SOURCE), **settings: str) -> Iterator[House]:
    """Run `moorage up` until the block ends."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "moorage", "up"]
    given = environment(data, source=source, **settings)
    with subprocess.Popen(command, env=given, stdout=subprocess.PIPE, text=True) as process:
        try:
            greeting = _greeting(process)
            ports = {name: int(port) for name, port in _ADDRESS.findall(greeting)}
            yield House(process, greeting, time.monotonic() - begun, ports)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Have it end, and all that it has begun; what does not end when it is asked to is a fault."""
    process.terminate()
    try:
        process.wait(SECONDS)
    finally:
        children = children_of(process.pid)
        process.kill()
        assert until_gone(children) == []


def _greeting(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    late = threading.Timer(SECONDS, process.kill)
    late.start()
    try:
        text = ""
        while "docker push" not in text:
            line = process.stdout.readline()
            assert line, f"it ended before it ran, having said: {text!r}"
            text += line
    finally:
        late.cancel()
    return text
