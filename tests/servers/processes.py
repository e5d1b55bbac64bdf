"""Processes from outside: what they have begun, that they have ended, that they stand still."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 60.0


@contextmanager
def standing_still(process: int) -> Iterator[None]:
    """Let no thread of a process that this one has begun run until the block ends."""
    os.kill(process, signal.SIGSTOP)
    try:
        # The signal is taken by one thread, once a core is free for it; the others answer until then.
        os.waitid(os.P_PID, process, os.WSTOPPED)
        assert set(_states(process)) == {"T"}
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def _states(process: int) -> list[str]:
    """Give the state of each thread: T of one that was stopped."""
    stats = [thread.joinpath("stat").read_text() for thread in Path(f"/proc/{process}/task").iterdir()]
    return [stat.rpartition(") ")[2][0] for stat in stats]


def children_of(process: int) -> list[int]:
    """List a process's children, by every thread of it."""
    children = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            # A thread may end while it is looked at.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children += [int(child) for child in (thread / "children").read_text().split()]
    return children


def command_of(process: int) -> str:
    """Give a process's command line, or nothing once it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    return ""


def descriptors_of(process: int) -> list[Path]:
    """List what a process has open."""
    opened = []
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        # One may be closed while it is looked at.
        with contextlib.suppress(FileNotFoundError):
            opened.append(descriptor.readlink())
    return opened


def until_gone(processes: list[int]) -> list[int]:
    """Wait for processes to end, and list those that have not in time."""
    left = []
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(process)
            ended, _, _ = select.select([descriptor], [], [], SECONDS)
            os.close(descriptor)
            left += [] if ended else [process]
    return left
