"""Slots counted by the kernel: locks on the bytes of one small file, for all processes of one machine.

    bytes      who locks one                           locked while
    0 …        a request                               it holds a slot
    4096 …     an anonymous request, besides           it holds a slot
    8192 …     a process                               it has the file open: its *seat*

The locks belong to the open file, so they end with its process, however that ends. In the file itself each seat has
one number: since when somebody has waited there, on the machine's monotonic clock, or 0. Of two processes in which
somebody waits, the one that waited longer takes the next slot. That is a courtesy; the limit itself is in the locks.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from moorage.registry.slots import Granted, Lease, Leases, Peers, Share, half

LOG = logging.getLogger(__name__)

LARGEST = 4096
SLOTS, ANONYMOUS, SEATS = 0, LARGEST, 2 * LARGEST
SEAT_COUNT = 256
POLL = 0.01

_FLOCK = struct.Struct("hhqqi4x")
_MARK = struct.Struct("d")
_NOBODY = bytes(SEAT_COUNT * _MARK.size)


@dataclass(slots=True)
class SlotFile:
    """One registry's file, open in one process."""

    file: int
    marks: mmap.mmap
    poll: float = POLL
    local: bool = True
    _seat: int | None = None
    # The byte of each slot that is out, and of its anonymous place if it has one.
    _held: dict[int, int | None] = field(default_factory=dict)
    _places: set[int] = field(default_factory=set)
    _noted: bool = False
    _closed: bool = False

    @classmethod
    def open(cls, path: Path) -> SlotFile:
        """Open it, made when it is not there yet; raises OSError where there are no files or no locks."""
        path.parent.mkdir(mode=0o700, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            there = os.fstat(file)
            if there.st_size < SEAT_COUNT * _MARK.size or not there.st_blocks:
                # Memory that a full disk has no room behind ends whoever writes there: here it is only refused.
                os.posix_fallocate(file, 0, SEAT_COUNT * _MARK.size)
            opened = cls(file, mmap.mmap(file, SEAT_COUNT * _MARK.size))
            opened.sit()
        except OSError:
            os.close(file)
            raise
        return opened

    def sit(self) -> None:
        """Take a seat: a place to note that somebody waits here."""
        self._seat = next((seat for seat in range(SEAT_COUNT) if self._lock(SEATS + seat)), None)
        self._note(0.0)

    def ask(self, most: int, wants: Sequence[bool], waited: float, answer: Callable[[Granted], None]) -> None:
        """Answer now."""
        mark = time.monotonic() - waited
        before = self._before(mark) if wants else 0
        granted: list[Lease | None] = []
        full = anonymous_full = False
        for anonymous in wants:
            lease = None
            if not full and not (anonymous and anonymous_full):
                lease = self._take(most, before, anonymous=anonymous)
                full = full or (lease is None and not anonymous)
                anonymous_full = anonymous_full or (lease is None and anonymous)
            granted.append(lease)
        # Who waits for an anonymous place only holds up nobody else.
        self._note(mark if full else 0.0)
        answer(granted)

    def give_back(self, lease: Lease) -> None:
        """Unlock its bytes."""
        place = self._held.pop(lease.number)
        self._unlock(SLOTS + lease.number)
        if place is not None:
            self._places.discard(place)
            self._unlock(ANONYMOUS + place)
        if self._closed and not self._held:
            self._end()

    def close(self) -> None:
        """Close the file as soon as every slot is back."""
        self._closed = True
        if not self._held:
            self._end()

    def _end(self) -> None:
        self._note(0.0)
        self.marks.close()
        os.close(self.file)

    def _take(self, most: int, before: int, *, anonymous: bool) -> Lease | None:
        if before and most - self._count() <= before:
            return None
        place: int | None = None
        if anonymous:
            place = self._first(ANONYMOUS, half(most), self._places)
            if place is None:
                return None
        number = self._first(SLOTS, most, self._held)
        if number is not None and not self._fits(most):
            self._unlock(SLOTS + number)
            number = None
        if number is None:
            if place is not None:
                self._unlock(ANONYMOUS + place)
            return None
        self._held[number] = place
        if place is not None:
            self._places.add(place)
        return Lease(number, anonymous)

    def _fits(self, most: int) -> bool:
        """See whether a plan that became smaller has room again: slots above it may be out still."""
        if self._conflict(SLOTS + most, SLOTS + LARGEST) is None and max(self._held, default=0) < most:
            return True
        return self._count() < most

    def _count(self) -> int:
        """Count the slots that are out, in any process."""
        free = sum(end - start for start, end in self._gaps(SLOTS, SLOTS + LARGEST))
        return LARGEST - free + len(self._held)

    def _first(self, base: int, count: int, mine: dict[int, int | None] | set[int]) -> int | None:
        """Lock the first free byte of *count* from *base* on."""
        # What this process holds is no conflict to the kernel, so it is left out here.
        likely = len(mine)
        if likely < count and likely not in mine and self._lock(base + likely):
            return likely
        for start, end in self._gaps(base, base + count):
            for byte in range(start, end):
                if byte - base not in mine and self._lock(byte):
                    return byte - base
        return None

    def _gaps(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Give the stretches that no other process has locked."""
        unseen = [(start, end)]
        while unseen:
            first, last = unseen.pop()
            if first >= last:
                continue
            found = self._conflict(first, last)
            if found is None:
                yield first, last
            else:
                unseen += [(found[1], last), (first, found[0])]

    def _before(self, mark: float) -> int:
        """Count the other processes in which somebody waited longer."""
        noted = self.marks[:]
        if noted == _NOBODY:
            return 0
        count = 0
        for seat, (since,) in enumerate(_MARK.iter_unpack(noted)):
            if (
                0.0 < since < mark
                and seat != self._seat
                and self._conflict(SEATS + seat, SEATS + seat + 1) is not None
            ):
                count += 1
        return count

    def _note(self, since: float) -> None:
        if self._seat is not None and (since or self._noted):
            _MARK.pack_into(self.marks, self._seat * _MARK.size, since)
            self._noted = bool(since)

    def _lock(self, byte: int) -> bool:
        try:
            fcntl.fcntl(self.file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(self, byte: int) -> None:
        fcntl.fcntl(self.file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, byte, 1, 0))

    def _conflict(self, start: int, end: int) -> tuple[int, int] | None:
        """Give a stretch that another process has locked, if there is one."""
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, end - start, 0)
        kind, _, first, length, _ = _FLOCK.unpack(fcntl.fcntl(self.file, fcntl.F_OFD_GETLK, asked))
        return None if kind == fcntl.F_UNLCK else (first, first + length)


def in_use(path: Path) -> int:
    """Count the slots of a registry's file that are out now, in any process; raises OSError where they cannot be seen."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Nobody has asked for one yet.
        return 0
    try:
        with mmap.mmap(-1, mmap.PAGESIZE) as nobody:
            return SlotFile(file, nobody)._count()  # noqa: SLF001 - the same module.
    finally:
        os.close(file)


@dataclass(slots=True)
class OnThisMachine:
    """Leases that open their file when somebody asks: a registry without a limit has none."""

    path: Path
    processes: int
    poll: float = POLL
    local: bool = True
    _opened: Leases | None = None

    def ask(self, most: int, wants: Sequence[bool], waited: float, answer: Callable[[Granted], None]) -> None:
        """Answer now; where files cannot be locked, as this process's share."""
        if self._opened is None:
            try:
                self._opened = SlotFile.open(self.path)
            except OSError as error:
                LOG.warning("slots cannot be locked, each process grants its share: %s", error)
                self._opened = Share(partial(Peers, self.processes, self.processes))
        self._opened.ask(most, wants, waited, answer)

    def give_back(self, lease: Lease) -> None:
        """Let anyone have it."""
        assert self._opened is not None
        self._opened.give_back(lease)

    def close(self) -> None:
        """Close the file as soon as every slot is back."""
        if self._opened is not None:
            self._opened.close()
