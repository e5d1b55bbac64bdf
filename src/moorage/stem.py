"""The stem: a process that has imported what a house's processes need, and forks each of them when the supervisor asks.

    supervisor ──┬── stem         imports once, then waits; one thread, and it has opened nothing
       asks it ↗ ├── registry-1   forked from the stem, and the supervisor's child
                 └── …

Importing is most of what a process's start costs, and what was imported once lies in memory once. A child is forked twice,
so that the one between is gone and the child becomes the supervisor's (PR_SET_CHILD_SUBREAPER): it is waited for there, and
lives on if the stem dies, in whose place the next fork puts another. What runs is the code that the stem was started with,
whatever has been installed since.

A fork copies one thread, and with it locks that others hold: whoever adds to what the stem imports sees to it that importing
begins no thread, opens no connection and draws no random number (`tests/functional/test_stem.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MOST_SOCKETS = 100
"""The kernel lets a message carry 253 descriptors. Whoever has more sockets to hand over does it when the child has begun."""
_MESSAGE = 65_536
_PR_SET_CHILD_SUBREAPER = 36
_ARG_START, _ARG_END = 45, 46
"""Where /proc/self/stat says that a process's arguments lie, counted from its state."""

Named = tuple[str, socket.socket]


class CannotFork(Exception):  # it reads as a sentence where it is raised
    """The stem has died, or the machine has no room for a process more: the next try may succeed."""


@dataclass(eq=False, slots=True)
class Forked:
    """A child of this process, and our end of its leash."""

    pid: int
    leash: socket.socket
    _process: int = field(init=False)

    def __post_init__(self) -> None:
        """Hold on to the process itself: its number could be another's one day."""
        self._process = os.pidfd_open(self.pid)

    async def wait(self) -> int:
        """Wait for its end, and give its status: a signal's is negative."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process)
            loop.remove_reader(self.leash)
            self.leash.close()
        os.close(self._process)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])  # noqa: ASYNC222  # it has ended

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended takes no notice."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, number)


def _held(pid: int, leash: socket.socket) -> Forked:
    try:
        return Forked(pid, leash)
    except OSError:
        # There are no descriptors left: nobody could tell when it ends.
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


@dataclass(slots=True)
class Stem:
    """The supervisor's end: it starts the stem when it needs one, and asks it for children."""

    command: Sequence[str] = (sys.executable, "-m", "moorage", "stem")
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: asyncio.subprocess.Process | None = None
    _line: socket.socket | None = None
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _ended: bool = False

    async def fork(self, arguments: Sequence[str], sockets: Sequence[Named] = ()) -> Forked:
        """Have a child do what *arguments* say, with these *sockets*; raise CannotFork."""
        ours, theirs = _pair()
        try:
            with theirs:
                line = await self._asked()
                asked = json.dumps({"arguments": arguments, "sockets": [name for name, _ in sockets]})
                handed = [theirs.fileno(), *(one.fileno() for _, one in sockets)]
                socket.send_fds(line, [asked.encode()], handed)
            # The child says so itself, so nobody is waited for who never began: all ends but ours are closed then.
            told = await asyncio.get_running_loop().sock_recv(ours, _MESSAGE)
            if not told:
                raise CannotFork("the process that children are forked from has died, or there is no room")
            return _held(int(told), ours)
        except OSError as error:
            ours.close()
            raise CannotFork(str(error)) from None
        except BaseException:
            ours.close()
            raise

    async def _asked(self) -> socket.socket:
        async with self._starting:
            if self._ended:
                raise CannotFork("everything is about to end")
            if self._line is None or self._process is None or self._process.returncode is not None:
                await self._drop()
                self._line, theirs = _pair()
                with theirs:
                    self._process = await asyncio.create_subprocess_exec(
                        *self.command,
                        "--leash",
                        str(theirs.fileno()),
                        stdin=asyncio.subprocess.DEVNULL,
                        pass_fds=[theirs.fileno()],
                        # Ctrl-C is the terminal's signal to its whole group: only the supervisor shall get it.
                        start_new_session=True,
                        # Threads that receive uploads would each grow a heap of their own.
                        env={"MALLOC_ARENA_MAX": "2", **os.environ, **self.environment},
                    )
            return self._line

    async def end(self) -> None:
        """End it for good: it holds nothing, and its children do not need it."""
        self._ended = True
        await self._drop()

    async def _drop(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._line = self._process = None

    @contextlib.asynccontextmanager
    async def adopting(self) -> AsyncIterator[None]:
        """Let what it forks be this process's children; end it with the block."""
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        try:
            yield
        finally:
            await self.end()
            _prctl(_PR_SET_CHILD_SUBREAPER, 0)


def serve(leash: int, main: Callable[[Sequence[str]], int]) -> int:
    """Be the stem: fork whom the supervisor asks for at the other end of *leash*, each to do *main*, until it hangs up.

    This returns in every child as well, when that has come to its end.
    """
    # What was imported stays: who looks through it for garbage would only copy it.
    gc.collect()
    gc.freeze()
    line = socket.socket(fileno=leash)
    while True:
        asked, descriptors, _, _ = socket.recv_fds(line, _MESSAGE, MOST_SOCKETS + 1)
        if not asked:
            return 0
        between = _fork()
        if between == 0:
            line.close()
            return _begin(json.loads(asked), descriptors, main)
        for one in descriptors:
            os.close(one)
        if between is not None:
            os.waitpid(between, 0)


def _begin(
    asked: dict[str, list[str]], descriptors: Sequence[int], main: Callable[[Sequence[str]], int]
) -> int:
    """Go on in the child of the process between, which ends here."""
    between = os.getpid()
    if _fork() != 0:
        os._exit(0)
    # A moment until the process between has ended, which nobody could wait for without being its parent.
    while os.getppid() == between:
        time.sleep(0.0005)
    os.setsid()
    arguments, (leash, *sockets) = asked["arguments"], descriptors
    _call_it([sys.executable, "-m", "moorage", *arguments])
    try:
        os.write(leash, str(os.getpid()).encode())
    except OSError:
        # The supervisor has gone, or waits for it no more.
        os._exit(1)
    named = zip(asked["sockets"], sockets, strict=True)
    given = [f"--fd={name}={descriptor}" for name, descriptor in named]
    return main([*arguments, f"--leash={leash}", *given])


def _fork() -> int | None:
    """Fork, or give None where there is no room for a process more: whoever has asked hears of it by its leash's end."""
    try:
        return os.fork()
    except OSError:
        return None


def _call_it(words: Sequence[str]) -> None:
    """Show *words* where `ps` and an operator look for what a process is, in the place of those that it was started with."""
    stat = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    start, end = int(stat[_ARG_START]), int(stat[_ARG_END])
    shown = b"".join(word.encode() + b"\0" for word in words)[: end - start - 1]
    ctypes.memmove(start, shown.ljust(end - start, b"\0"), end - start)


def _pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)  # noqa: FBT003  # takes it by place only
    return ours, theirs


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
