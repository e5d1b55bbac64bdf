"""`moorage up` in a folder of its own, on free ports, as a person would run it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
START_SECONDS = 30.0
_ADDRESS = re.compile(r"^  (Registry|Console|Operator)\s+https?://\S+:(\d+)$", re.MULTILINE)


def environment(data: Path, **settings: str) -> dict[str, str]:
    """Give a process's environment: this one's, without its settings, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MOORAGE_")}
    ports = dict.fromkeys(("REGISTRY_PORT", "CONSOLE_PORT", "OPS_PORT"), "0")
    given = {"DATA": str(data), **ports, **settings}
    return {**kept, "PYTHONPATH": str(SOURCE), **{f"MOORAGE_{name}": value for name, value in given.items()}}


async def moorage(
    *arguments: str, data: Path, **settings: str
) -> tuple[int, str, str]:
    """Run one command to its end, and give its status and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "moorage", *arguments,
        env=environment(data, **settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), START_SECONDS)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@dataclass(slots=True)
class House:
    """A running `moorage up`."""

    process: asyncio.subprocess.Process
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

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop, and give the status it ends with."""
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), START_SECONDS)


@contextlib.asynccontextmanager
async def house(data: Path, **settings: str) -> AsyncIterator[House]:
    """Run `moorage up` until the block ends."""
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "moorage", "up",
        env=environment(data, **settings),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        greeting = await asyncio.wait_for(_greeting(process), START_SECONDS)
        ports = {name: int(port) for name, port in _ADDRESS.findall(greeting)}
        yield House(process, greeting, time.monotonic() - begun, ports)
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.communicate(), START_SECONDS)


async def _greeting(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    text = ""
    while "docker push" not in text:
        line = await process.stdout.readline()
        assert line, f"it ended before it ran, having said: {text!r}"
        text += line.decode()
    return text


def children_of(process: int) -> list[int]:
    """List a process's children, by every thread of it."""
    with contextlib.suppress(FileNotFoundError):
        threads = Path(f"/proc/{process}/task").iterdir()
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    return []


def command_of(process: int) -> str:
    """Give a process's command line, or nothing once it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    return ""


async def until_gone(processes: list[int], seconds: float = 10.0) -> list[int]:
    """Wait for processes to end, and list those that have not."""
    opened = list(_descriptors(processes))
    loop = asyncio.get_running_loop()
    for _, descriptor, ended in opened:
        loop.add_reader(descriptor, ended.set)
    waits = [asyncio.create_task(ended.wait()) for _, _, ended in opened]
    if waits:
        await asyncio.wait(waits, timeout=seconds)
    for wait in waits:
        wait.cancel()
    for _, descriptor, _ in opened:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return [process for process, _, ended in opened if not ended.is_set()]


def _descriptors(processes: list[int]) -> Iterator[tuple[int, int, asyncio.Event]]:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            yield process, os.pidfd_open(process), asyncio.Event()
