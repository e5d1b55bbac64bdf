"""Rates counted in a table of fixed size: in a file that all processes of one machine share, or in a process's own memory.

    slot    16 bytes   which bucket, hashed
            8 bytes    when it will be empty again, on the machine's monotonic clock

A bucket stands in one of eight slots. Where all eight have another's, it takes that of the one that is emptiest: so however many
identities come, the table is no larger, and what is forgotten is what mattered least. Slots are changed under a lock of the
kernel's on one byte for each eight, which ends with its process.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from moorage.registry.rates import SLACK, WINDOW, Drawn, Key, Rate
from moorage.registry.slots import Peers

if TYPE_CHECKING:
    from pathlib import Path

LOG = logging.getLogger(__name__)

_SLOT: Final = struct.Struct("16sd")
WAYS: Final = 8
SETS: Final = 4096
_SET: Final = WAYS * _SLOT.size
SIZE: Final = SETS * _SET
TRIES: Final = 1000
"""How often a lock is tried that others hold for some microseconds; who stands still in it holds up nobody for longer."""


@dataclass(slots=True)
class Table:
    """The table, and the file that it is in, if it is in one."""

    memory: mmap.mmap
    file: int | None = None
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def open(cls, path: Path | None, clock: Callable[[], float] = time.monotonic) -> Table:
        """Open a file, made when it is not there yet, or one's own memory; raises OSError where there are no files or locks."""
        if path is None:
            return cls(mmap.mmap(-1, SIZE), None, clock)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            there = os.fstat(file)
            if there.st_size < SIZE or there.st_blocks * 512 < SIZE:
                # Memory that a full disk has no room behind ends whoever writes there: here it is only refused.
                os.posix_fallocate(file, 0, SIZE)
            opened = cls(mmap.mmap(file, SIZE), file, clock)
            with opened._locked(0):
                pass
        except OSError:
            os.close(file)
            raise
        return opened

    def draw(self, key: Key, rate: Rate, wanted: int, back: int) -> Drawn:
        """Give back, and take up to as many permits as are wanted."""
        now, interval = self.clock(), rate.interval
        window = interval * rate.limit
        hashed = key.hashed()
        with self._locked(_set_of(hashed)):
            place, empty_at = self._find(hashed, now)
            empty_at = max(empty_at - back * interval, now)
            count = max(0, min(wanted, int((now + window - empty_at) / interval + SLACK)))
            empty_at += count * interval
            _SLOT.pack_into(self.memory, place, hashed, empty_at)
        self._note(key.busiest.hashed(), empty_at, now)
        return Drawn(count, 0.0 if count else empty_at + interval - window - now)

    def used(self, key: Key, rate: Rate) -> int:
        """Tell how much of a bucket is used."""
        now = self.clock()
        hashed = key.hashed()
        with self._locked(_set_of(hashed)):
            _, empty_at = self._find(hashed, now)
        return max(0, int((empty_at - now) / rate.interval + SLACK))

    def close(self) -> None:
        """Let go of the memory, and of the file."""
        self.memory.close()
        if self.file is not None:
            os.close(self.file)

    def _note(self, hashed: bytes, empty_at: float, now: float) -> None:
        with self._locked(_set_of(hashed)):
            place, before = self._find(hashed, now)
            if empty_at > before:
                _SLOT.pack_into(self.memory, place, hashed, empty_at)

    def _find(self, hashed: bytes, now: float) -> tuple[int, float]:
        """Find a bucket's slot, or the one to put it in, and when it is empty again."""
        start = _set_of(hashed) * _SET
        emptiest, least = start, float("inf")
        for place in range(start, start + _SET, _SLOT.size):
            found, empty_at = _SLOT.unpack_from(self.memory, place)
            if empty_at > now + WINDOW * (1 + SLACK):
                # No bucket is as full: it was written before this machine started.
                empty_at = 0.0
            if found == hashed:
                return place, empty_at
            if empty_at < least:
                emptiest, least = place, empty_at
        return emptiest, 0.0

    @contextmanager
    def _locked(self, set_: int) -> Iterator[None]:
        if self.file is None:
            yield
            return
        held = False
        for _ in range(TRIES):
            try:
                fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, set_)
            except (BlockingIOError, PermissionError):
                os.sched_yield()
            else:
                held = True
                break
        try:
            yield
        finally:
            if held:
                fcntl.lockf(self.file, fcntl.LOCK_UN, 1, set_)


def _set_of(hashed: bytes) -> int:
    return int.from_bytes(hashed[:4], "big") % SETS


@dataclass(slots=True)
class OnThisMachine:
    """Rates of all processes of one machine, in the file at *path*; where that cannot be, each has its share of them."""

    path: Path
    processes: int
    clock: Callable[[], float] = time.monotonic
    _opened: Table | Share | None = None

    def draw(self, key: Key, rate: Rate, wanted: int, back: int) -> Drawn | None:
        """Answer now."""
        return self._table().draw(key, rate, wanted, back)

    async def ask(self, key: Key, rate: Rate, wanted: int, back: int) -> Drawn:
        """Answer now."""
        return self._table().draw(key, rate, wanted, back)

    async def used(self, key: Key, rate: Rate) -> int | None:
        """Tell it of all processes of this machine."""
        table = self._table()
        return table.used(key, rate) if isinstance(table, Table) else None

    async def close(self) -> None:
        """Let go of the file."""
        if isinstance(self._opened, Table):
            self._opened.close()
        self._opened = None

    def _table(self) -> Table | Share:
        if self._opened is None:
            try:
                self._opened = Table.open(self.path, self.clock)
            except OSError as error:
                LOG.warning("rates cannot be counted in a file, each process grants its share: %s", error)
                processes = self.processes
                self._opened = Share(lambda: Peers(processes, processes), self.clock)
        return self._opened


@dataclass(slots=True)
class Share:
    """This process's share of each rate, for it cannot see the requests of its *peers*."""

    peers: Callable[[], Peers] = Peers
    clock: Callable[[], float] = time.monotonic
    _own: Table | None = field(default=None)

    def draw(self, key: Key, rate: Rate, wanted: int, back: int) -> Drawn:
        """Answer now."""
        if self._own is None:
            self._own = Table.open(None, self.clock)
        return self._own.draw(key, replace(rate, limit=self.peers().share(rate.limit)), wanted, back)

    async def ask(self, key: Key, rate: Rate, wanted: int, back: int) -> Drawn:
        """Answer now."""
        return self.draw(key, rate, wanted, back)

    async def used(self, key: Key, rate: Rate) -> int | None:
        """Others are not seen from here."""
        del key, rate
        return None

    async def close(self) -> None:
        """Let go of the memory."""
        if self._own is not None:
            self._own.close()
            self._own = None
