"""Processes that stand still."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
