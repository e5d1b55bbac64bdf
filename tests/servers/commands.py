"""Commands of Moorage without a start of Python for each: one process has imported all, and forks who does the next.

What such a command does, writes and ends with is what it is in a process of its own; that it imports what it needs is proven
by those that tests start as a person does (test_running.py, test_up.py).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
_MESSAGE = 1 << 20
_ALONE = threading.Lock()
_line: socket.socket | None = None


def ran(
    arguments: Sequence[str], environment: Mapping[str, str], typed: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; *typed* is its standard input."""
    asked = json.dumps({"arguments": [*arguments], "environment": {**environment}, "folder": str(Path.cwd())})
    ours, theirs = socket.socketpair()
    with (
        ours,
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(typed.encode())
        given.seek(0)
        with theirs:
            socket.send_fds(
                _asked(), [asked.encode()], [theirs.fileno(), given.fileno(), out.fileno(), err.fileno()]
            )
        ours.settimeout(SECONDS)
        try:
            status = int(ours.recv(16))
        except TimeoutError:
            # Whoever runs it ends it when this end is closed.
            raise subprocess.TimeoutExpired([*arguments], SECONDS) from None
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess([*arguments], status, out.read().decode(), err.read().decode())


def _asked() -> socket.socket:
    global _line
    with _ALONE:
        if _line is None:
            _line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            command = [sys.executable, "-m", "tests.servers.commands", str(theirs.fileno())]
            path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
            with theirs:
                process = subprocess.Popen(
                    command, env={**os.environ, "PYTHONPATH": path}, pass_fds=[theirs.fileno()]
                )
            atexit.register(process.wait)
            atexit.register(_line.close)
        return _line


def _serve(line: socket.socket) -> int:
    """Fork for each command who runs it, until the tests are over; return in the process that is the command."""
    from moorage import __main__, app  # noqa: PLC0415 - the tests' own process does without.

    for name in (*app.SHARED, "moorage.rekeying", "moorage.carrying", "alembic.command"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    while True:
        asked, (*descriptors,), _, _ = socket.recv_fds(line, _MESSAGE, 4)
        if not asked:
            return 0
        if os.fork() == 0:
            line.close()
            told, *standard = descriptors
            if (command := os.fork()) == 0:
                os.close(told)
                _become(json.loads(asked), standard)
                return __main__.main()
            _wait(command, socket.socket(fileno=told))
        for one in descriptors:
            os.close(one)
        # Those who waited for the commands before this one.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _become(asked: dict[str, object], standard: Sequence[int]) -> None:
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    environment, arguments = asked["environment"], asked["arguments"]
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(str(asked["folder"]))
    sys.argv = ["moorage", *arguments]


def _wait(command: int, told: socket.socket) -> None:
    """Tell how a command ends; who does not wait for it any more has it killed."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            told.recv(1)
        with contextlib.suppress(ProcessLookupError):
            os.kill(command, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    with contextlib.suppress(OSError):
        told.send(str(status).encode())
    os._exit(0)


if __name__ == "__main__":
    sys.exit(_serve(socket.socket(fileno=int(sys.argv[1]))))
