"""The few things that the POSIX store asks of the system, in one place.

A test's disk that forgets what was not synced stands in for this one (``tests/servers``), since
killing a process cannot show a missing fsync.
"""

import contextlib
import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
WRITE_BACK = 2  # SYNC_FILE_RANGE_WRITE


class Disk:
    """A file system, where what is not synced may be lost with the power."""

    def make_folder(self, folder: Path) -> None:
        """Make *folder* and those above it, where missing."""
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)

    def open(self, path: Path, flags: int) -> int:
        """Open a file, never through a symbolic link."""
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)

    def write(self, descriptor: int, piece: memoryview) -> int:
        """Append what fits and give how many bytes did."""
        return os.write(descriptor, piece)

    def cut(self, descriptor: int, size: int) -> None:
        """Shorten a file."""
        os.ftruncate(descriptor, size)

    def start_write_back(self, descriptor: int, start: int, count: int) -> None:
        """Ask the system to begin writing a range out, so that the sync will be short."""
        if (call := _sync_file_range()) is not None:
            call(descriptor, start, count, WRITE_BACK)

    def seal(self, descriptor: int) -> None:
        """Make a file read-only."""
        os.fchmod(descriptor, 0o440)

    def sync(self, descriptor: int) -> None:
        """Return when the file's bytes and size are on the disk."""
        os.fsync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """Return when the folder's names are on the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Remove a file if it is there."""
        path.unlink(missing_ok=True)

    def remove_folder(self, folder: Path) -> None:
        """Remove an empty folder if it is there."""
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


@cache
def _sync_file_range() -> Any:
    """Find the call, which Linux has and Python does not offer."""
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call
