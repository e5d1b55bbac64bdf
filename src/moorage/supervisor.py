"""One machine's processes: their listening sockets are owned here, and none outlives this one.

    supervisor ──┬── registry-1   shares the registry plane's sockets with
      owns the   ├── registry-2   each other registry worker
      sockets    ├── console      the console's and the operator's sockets
                 ├── work         none
                 └── stem         what these four are forked from (`stem`)

A socket is listening before any child runs and stays so when a child dies, so connections wait for
the next one instead of being refused. Between a child and the supervisor lies a *leash*, a socket
that keeps messages apart: the child says its number, when it is ready, asks for further ports, and
is handed their sockets. The supervisor's death kills every child (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from moorage.stem import MOST_SOCKETS, CannotFork, Forked, Named, Stem

LOG = logging.getLogger(__name__)

BACKLOG = 2048
FIRST_DELAY, LONGEST_DELAY = 0.1, 30.0
# A child that lived this long started well: its end is news, not one more failed start.
SETTLED = 10.0
# What a child may take beyond the grace, to cut the requests that are left and close its files.
CLOSING = 3.0
# Seconds before a socket is handed over again to a child that has no room for it yet.
AGAIN = 0.05
# sysexits.h EX_CONFIG: a start that cannot succeed by being tried again.
HOPELESS = 78

_PR_SET_PDEATHSIG = 1
_MESSAGE = 256


class CannotListen(Exception):  # it reads as a sentence where it is raised
    """A socket cannot listen: the message is one line that names the variable to change."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A place to listen on, and the variables that an operator sets it with."""

    name: str
    host: str
    port: int
    host_variable: str
    port_variable: str

    def open(self) -> list[socket.socket]:
        """Listen on every address of the host; raise CannotListen."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except socket.gaierror:
            raise CannotListen(f"{self.host_variable}: {self.host} is not a name that can be found") from None
        return [_listen(family, address, self) for family, _, _, _, address in found]

    def refusal(self, error: OSError) -> CannotListen:
        """Say why it cannot listen, and what to change."""
        if error.errno == errno.EADDRINUSE:
            return CannotListen(
                f"{self.port_variable}: port {self.port} on {self.host} is taken by another program;"
                " stop that or set another port"
            )
        if error.errno == errno.EADDRNOTAVAIL:
            return CannotListen(f"{self.host_variable}: this machine has no address {self.host}")
        if error.errno == errno.EACCES:
            return CannotListen(
                f"{self.port_variable}: port {self.port} may be opened by root only; set one over 1023"
            )
        return CannotListen(f"{self.port_variable}: cannot listen: {os.strerror(error.errno or 0)}")


def _listen(family: int, address: tuple[object, ...], listener: Listener) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `::` means every address, whatever the machine's default; `::1` means itself.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise listener.refusal(error) from None
    listening.setblocking(False)  # noqa: FBT003  # takes it by place only
    return listening


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running: its arguments, and the listeners whose sockets it is handed."""

    name: str
    arguments: tuple[str, ...]
    listeners: tuple[str, ...] = ()


@dataclass(eq=False, slots=True)
class _Running:
    child: Child
    process: Forked
    # Sockets that are still to be handed over, in order.
    waiting: deque[Named] = field(default_factory=deque)


@dataclass(slots=True)
class Supervisor:
    """Keeps children running until it is told to stop."""

    children: Sequence[Child]
    listeners: dict[str, Listener]
    grace: float
    stem: Stem = field(default_factory=Stem)
    when_ready: Callable[[], None] = lambda: None
    sockets: dict[str, list[socket.socket]] = field(default_factory=dict)
    _running: set[_Running] = field(default_factory=set)
    _ready: set[str] = field(default_factory=set)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _status: int = 0
    _ports: set[int] = field(default_factory=set)

    def listen(self) -> None:
        """Open every listener's sockets; raise CannotListen, and then keep none open."""
        try:
            for name, listener in self.listeners.items():
                self.sockets[name] = listener.open()
                self._ports.update(one.getsockname()[1] for one in self.sockets[name])
        except CannotListen:
            self._close()
            raise

    async def run(self) -> int:
        """Keep the children until SIGTERM, SIGINT or SIGHUP, and give the status to exit with."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop, 0)
        keepers = [loop.create_task(self._keep(child)) for child in self.children]
        await self._stopping.wait()
        # From here on a connection is refused instead of waiting for nobody.
        self._close()
        for running in self._running:
            running.process.send_signal(signal.SIGTERM)
        await self.stem.end()
        await asyncio.wait(keepers, timeout=self.grace + CLOSING)
        for running in self._running:
            LOG.warning("killed, for it did not stop in time", extra={"child": running.child.name})
            running.process.send_signal(signal.SIGKILL)
        await asyncio.gather(*keepers)
        return self._status

    def _stop(self, status: int) -> None:
        if self._stopping.is_set():
            # Asked twice: whoever asks does not want to wait.
            for running in self._running:
                running.process.send_signal(signal.SIGKILL)
        self._status = self._status or status
        self._stopping.set()

    def _close(self) -> None:
        for opened in self.sockets.values():
            for listening in opened:
                listening.close()
        self.sockets.clear()

    async def _keep(self, child: Child) -> None:
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            begun = time.monotonic()
            status = await self._run_once(child)
            if self._stopping.is_set():
                return
            if status == HOPELESS:
                LOG.error("cannot run; stopping everything", extra={"child": child.name})
                self._stop(HOPELESS)
                return
            delay = FIRST_DELAY if time.monotonic() - begun > SETTLED else min(delay * 2, LONGEST_DELAY)
            LOG.warning(
                "ended, and is started again",
                extra={"child": child.name, "status": status, "after_seconds": round(delay, 1)},
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def _run_once(self, child: Child) -> int | str:
        handed = self._sockets_of(child)[:MOST_SOCKETS]
        try:
            process = await self.stem.fork(child.arguments, handed)
        except CannotFork as refused:
            return str(refused)
        running = _Running(child, process)
        self._running.add(running)
        if self._stopping.is_set():
            process.send_signal(signal.SIGTERM)
        # More than there was room for, and those that were opened while the process was being made.
        for name, listening in self._sockets_of(child)[len(handed) :]:
            _hand(running, name, listening)
        loop = asyncio.get_running_loop()
        loop.add_reader(process.leash, self._hear, running)
        try:
            return await process.wait()
        finally:
            self._running.discard(running)

    def _sockets_of(self, child: Child) -> list[Named]:
        opened = self.sockets.items()
        return [(name, one) for name, many in opened if name in child.listeners for one in many]

    def _hear(self, running: _Running) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            match running.process.leash.recv(_MESSAGE).decode().split():
                case ["ready"]:
                    self._note_ready(running.child)
                case ["listen", name, port]:
                    self._add(name, int(port))
                case _:
                    asyncio.get_running_loop().remove_reader(running.process.leash)

    def _note_ready(self, child: Child) -> None:
        first = len(self._ready) < len(self.children)
        self._ready.add(child.name)
        if first and len(self._ready) == len(self.children):
            self.when_ready()

    def _add(self, name: str, port: int) -> None:
        known = self.listeners[name]
        opened = self.sockets.get(name, [])
        if self._stopping.is_set() or port in self._ports:
            return
        try:
            added = Listener(name, known.host, port, known.host_variable, known.port_variable).open()
        except CannotListen as refused:
            LOG.warning("a registry's port cannot be opened: %s", refused, extra={"port": port})
            return
        opened += added
        self._ports.add(port)
        for running in self._running:
            if name in running.child.listeners:
                for listening in added:
                    _hand(running, name, listening)


def _hand(running: _Running, name: str, listening: socket.socket) -> None:
    running.waiting.append((name, listening))
    if len(running.waiting) == 1:
        _hand_over(running)


def _hand_over(running: _Running) -> None:
    """Hand over what waits. A leash holds some hundred messages, so of a thousand sockets most wait for the child to read."""
    try:
        while running.waiting:
            name, listening = running.waiting[0]
            if listening.fileno() >= 0:
                socket.send_fds(running.process.leash, [name.encode()], [listening.fileno()])
            running.waiting.popleft()
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.ETOOMANYREFS}:
            asyncio.get_running_loop().call_later(AGAIN, _hand_over, running)
        else:
            # A child that is ending cannot take it; its successor is started with it.
            running.waiting.clear()


@dataclass(frozen=True, slots=True)
class Leash:
    """The child's end: it dies with its supervisor, says that it is ready, and gets sockets."""

    end: socket.socket

    @classmethod
    def take(cls, descriptor: int) -> Leash:
        """Take the inherited *descriptor*, and let this process be killed with its parent."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        end = socket.socket(fileno=descriptor)
        end.setblocking(False)  # noqa: FBT003  # takes it by place only
        with contextlib.suppress(BlockingIOError):
            if not end.recv(1, socket.MSG_PEEK):
                # The supervisor died before the line above could tie this process to it.
                os._exit(1)
        return cls(end)

    def ready(self) -> None:
        """Tell the supervisor that this process answers."""
        self._say("ready")

    def tell(self, message: str) -> None:
        """Tell whoever has started this process what it was started for."""
        self.end.send(message.encode())

    def ask(self, name: str, port: int) -> bool:
        """Ask for a further *port* of a listener, whose sockets go to every child that has one; or say that there is no room."""
        return self._say(f"listen {name} {port}")

    def watch(self, taken: Callable[[str, socket.socket], None]) -> None:
        """Call *taken* with each further socket that the supervisor hands over."""
        asyncio.get_running_loop().add_reader(self.end, self._receive, taken)

    def _say(self, message: str) -> bool:
        try:
            self.end.send(message.encode())
        except (BlockingIOError, ConnectionError):
            return False
        return True

    def _receive(self, taken: Callable[[str, socket.socket], None]) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            name, descriptors, _, _ = socket.recv_fds(self.end, _MESSAGE, 8)
            if not name:
                asyncio.get_running_loop().remove_reader(self.end)
            for descriptor in descriptors:
                taken(name.decode(), socket.socket(fileno=descriptor))
