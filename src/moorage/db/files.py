"""SQLite files that several processes share: how they are opened, locked, closed and deleted.

The interpreter's SQLite may be one that can lose pages when a commit resets the write-ahead log
while another connection checkpoints (fixed in 3.51.3). So each write transaction, each checkpoint
and each close, which may checkpoint, holds an exclusive ``flock`` on ``<file>.lock``.

A live file is never opened but through SQLite: closing any other descriptor of it would drop the
process's locks on it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import sys
import tempfile
from collections import deque
from typing import TYPE_CHECKING

from moorage.db.errors import Broken, Failed, Vanished
from moorage.errors import StorageFull, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Stamp = tuple[int, int, int, int]

VERSION = sqlite3.sqlite_version
"""The interpreter's SQLite, for the log at start and for support."""

DELETED = 0x4D4F4F52
"""``user_version`` of a file whose registry is deleted: nothing is written to it any more."""

BUSY_MS = 5_000
MARKS = "dirty"
"""The folder, beside the files, of the marks that wake the relay."""
_unclosed: deque[tuple[Path, sqlite3.Connection]] = deque()
_OTHERS = ("apsw", "pysqlite3", "sqlcipher3")
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TRIED = 64 * 1024
_AWAY = ("SQLITE_BUSY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_NOMEM")


def connect(path: Path, *, reads: bool) -> sqlite3.Connection:
    """Open an existing file, or raise Unavailable.

    A reading connection never checkpoints; it is opened in one thread and used in another.
    """
    others = [name for name in _OTHERS if name in sys.modules]
    if others:
        raise RuntimeError(
            f"two SQLite libraries in one process drop each other's locks: {others[0]} is loaded"
        )
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=BUSY_MS / 1000,
            check_same_thread=False,
            cached_statements=512,
        )
    except sqlite3.Error as error:
        raise translated(error) from error
    connection.execute("PRAGMA cache_size = -512")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.create_function("from_hex", 1, bytes.fromhex, deterministic=True)
    if reads:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA query_only = ON")
    else:
        connection.execute("PRAGMA synchronous = FULL")
        # What is deleted shall not stay readable in free pages.
        connection.execute("PRAGMA secure_delete = ON")
    return connection


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's lock: one writer among all threads of all processes. Raises Vanished."""
    try:
        # A descriptor of its own each time, so that two threads of one process exclude each other too.
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise Vanished(f"{path} is gone, with its folder") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class FileUsed(Exception):
    """A process has the file open, so that it must not be unlinked yet."""


def hold(path: Path) -> int:
    """Say, for as long as the descriptor is open that this gives, that a process has the file open; raise Unavailable."""
    descriptor = os.open(f"{path}.use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Unavailable("the registry is being destroyed", retry_after=5) from None
    return descriptor


def destroy(path: Path) -> int:
    """Unlink a file and all beside it, for good; give how many files it was, or raise FileUsed.

    The file goes before its log: a file without its log might be older than the mark that it is deleted.
    """
    if not beside(path):
        return 0
    descriptor = os.open(f"{path}.use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = [path, *(one for one in beside(path) if one != path)]
        for one in found:
            one.unlink(missing_ok=True)
    except BlockingIOError:
        raise FileUsed(f"a process still has {path.name} open") from None
    finally:
        os.close(descriptor)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return len(found)


def beside(path: Path) -> list[Path]:
    """List a file and whatever else is named after it: its log and its locks, drafts of it, its mark."""
    if not path.parent.exists():
        return []
    mark_ = path.parent / MARKS / path.stem
    return [
        *sorted(path.parent.glob(f"{path.name}*")),
        *sorted(path.parent.glob(f".{path.name}.*")),
        *([mark_] if mark_.exists() else []),
    ]


def close(path: Path, connection: sqlite3.Connection) -> None:
    """Close a connection under the lock: the last one to close checkpoints.

    One whose lock cannot be opened (no descriptor is left, say) is closed after a later one.
    """
    if _is_closed(path, connection):
        with contextlib.suppress(IndexError):
            while _is_closed(*_unclosed.popleft()):
                pass


def _is_closed(path: Path, connection: sqlite3.Connection) -> bool:
    try:
        with locked(path):
            connection.close()
    except Vanished:
        connection.close()
    except OSError:
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
        _unclosed.append((path, connection))
        return False
    return True


def is_deleted(connection: sqlite3.Connection) -> bool:
    """Tell whether the file's registry is deleted."""
    return bool(connection.execute("PRAGMA user_version").fetchone()[0] == DELETED)


def mark(path: Path) -> None:
    """Mark the file's outbox as written to. A mark is a hint: where none can be made, the relay comes later."""
    name = f"{path.parent}/{MARKS}/{path.stem}"
    with contextlib.suppress(OSError):
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def take_marks(folder: Path) -> list[str]:
    """Take away the marks of a folder's files, and give their names without ending."""
    names = os.listdir(folder / MARKS)  # noqa: PTH208 - each second, so the cheap way.
    for name in names:
        os.unlink(folder / MARKS / name)  # noqa: PTH108 - as above.
    return names


def wal_size(path: Path) -> int:
    """Give the size of the write-ahead log, 0 when there is none."""
    try:
        return os.stat(f"{path}-wal").st_size  # noqa: PTH116 - asked at each commit, and twice as fast.
    except FileNotFoundError:
        return 0


def stamp(path: Path) -> Stamp | None:
    """Give what differs once anything was written to a file: it is looked at, and not opened. None: there is none."""
    try:
        whole = os.stat(path)  # noqa: PTH116 - of every registry there is, so the cheap way.
    except FileNotFoundError:
        return None
    try:
        log = os.stat(f"{path}-wal")  # noqa: PTH116 - as above.
    except FileNotFoundError:
        log = None
    # Whoever only reads leaves an empty log behind, or takes it away.
    logged = (log.st_mtime_ns, log.st_size) if log is not None and log.st_size else (0, 0)
    return whole.st_mtime_ns, whole.st_size, *logged


def has_room(path: Path) -> bool:
    """Try whether the disk of a file takes any more bytes of this process."""
    try:
        with tempfile.TemporaryFile(dir=path.parent, buffering=0) as tried:
            return tried.write(bytes(_TRIED)) == _TRIED
    except OSError as error:
        return error.errno not in NO_ROOM


def translated(error: sqlite3.Error, path: Path | None = None) -> Exception:
    """Say what SQLite's error means to a caller: for one in writing, *path* is what was written to."""
    name = getattr(error, "sqlite_errorname", "")
    if isinstance(error, sqlite3.IntegrityError):
        return Broken(str(error))
    # SQLite tells a disk that is full, and no other want of room, such as a quota's, from one that is broken.
    full = name.startswith("SQLITE_FULL")
    if full or (path is not None and name.startswith("SQLITE_IOERR") and not has_room(path)):
        return StorageFull(f"there is no room for {path or 'rows'}: {error}", retry_after=60)
    if name.startswith(_AWAY):
        return Unavailable(f"the database cannot be used for the moment: {error}", retry_after=2)
    return Failed(str(error))
