"""A store in a folder: the bytes as plain files, sent by sendfile, synced once.

    <root>/<prefix>/<first two characters of the key>/<key>     0640 while written, 0440 once whole

``docs/reference/storage-format.md`` says it in full.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import stat
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Self

from moorage.errors import StorageFull, Unavailable
from moorage.oci.errors import SizeInvalid
from moorage.storage.disk import NO_ROOM, Disk
from moorage.storage.hashing import Hasher
from moorage.storage.store import (
    FEW,
    Key,
    Missing,
    Source,
    Stored,
    WrongOffset,
    checked_key,
    checked_prefix,
    refuse_whole,
)
from moorage.storage.threads import Threads

PIECE = 1024 * 1024
WRITE_BACK_EVERY = 8 * 1024 * 1024
KNOWN_FOLDERS = 65_536
FOLDER_NAME = 2


class Writer:
    """One open file that is being appended to, by one thread at a time."""

    def __init__(self, disk: Disk, descriptor: int, offset: int, hasher: Hasher | None, limit: int) -> None:
        self._disk = disk
        self._descriptor = descriptor
        self._hasher = hasher
        self._end = offset + limit
        self._limit = limit
        self._written_back = offset
        # A source that breaks its promise and lets a piece outlive a cancelled request must find
        # the file closed, not another's file under the same number.
        self._lock = threading.Lock()
        self._open = True
        self.size = offset

    def consume(self, piece: memoryview) -> None:
        """Write and hash a piece, or neither."""
        with self._lock:
            if not self._open:
                message = "the file is closed"
                raise ValueError(message)
            if self.size + len(piece) > self._end:
                message = f"more than the {self._limit} bytes that are allowed"
                raise SizeInvalid(message, limit=self._limit)
            self._write(piece)
            if self._hasher:
                self._hasher.update(piece)
            self.size += len(piece)
            if self.size - self._written_back >= WRITE_BACK_EVERY:
                count = self.size - self._written_back
                self._disk.start_write_back(self._descriptor, self._written_back, count)
                self._written_back = self.size

    def close(self) -> None:
        """Wait for the piece in hand and close the file, which also unlocks it."""
        with self._lock:
            self._open = False
            os.close(self._descriptor)

    def _write(self, piece: memoryview) -> None:
        rest = piece
        with _problems():
            try:
                while rest:
                    rest = rest[self._disk.write(self._descriptor, rest) :]
            except OSError:
                self._disk.cut(self._descriptor, self.size)
                raise


class PosixStore:
    """Bytes as files below *root*."""

    appends = True

    def __init__(
        self,
        root: Path,
        *,
        prefix: str = "",
        threads: Threads | None = None,
        disk: Disk | None = None,
    ) -> None:
        self._root = root
        self._prefix = prefix
        self._folder = root / prefix if prefix else root
        self._threads = threads or Threads()
        self._disk = disk or Disk()
        self._durable_folders: set[Path] = set()

    async def write(self, key: Key, offset: int, source: Source, hasher: Hasher | None, *, limit: int) -> int:
        """Append to the file, hashing each piece in the same pass."""
        descriptor = await self._threads.run(self._begin, key, offset)
        writer = Writer(self._disk, descriptor, offset, hasher, limit)
        try:
            await source.drain(writer.consume)
        finally:
            await self._threads.run(writer.close)
        return writer.size - offset

    async def commit(self, keys: Sequence[Key], into: Key) -> int:
        """Sync the file and the folders that name it, once each."""
        return await self._threads.run(self._commit, keys, into)

    async def size(self, key: Key) -> int | None:
        """Ask the file system, on the loop: it answers from memory in microseconds."""
        try:
            with _problems():
                return self._path(key).lstat().st_size
        except FileNotFoundError:
            return None

    async def read(self, key: Key, start: int, end: int) -> AsyncIterator[bytes]:
        """Read in the pool, a piece at a time."""
        descriptor = await self._threads.run(self._open, key)
        try:
            while start < end:
                count = min(PIECE, end - start)
                with _problems():
                    piece = await self._threads.run(os.pread, descriptor, count, start)
                if not piece:
                    return
                start += len(piece)
                yield piece
        finally:
            os.close(descriptor)

    async def shortcut(self, key: Key) -> Path | str | None:
        """Name the file."""
        return self._path(key)

    async def delete(self, key: Key) -> None:
        """Unlink the file; its folder stays."""
        with _problems():
            await self._threads.run(self._disk.remove, self._path(key))

    async def list(self) -> AsyncIterator[Stored]:
        """Give the files a folder at a time."""
        for folder in await self._threads.run(_folders, self._folder):
            for stored in await self._threads.run(_files, folder):
                yield stored

    async def room(self) -> int | None:
        """Count what the file system leaves to such as us."""
        await self._threads.run(self._disk.make_folder, self._root)
        free = await self._threads.run(os.statvfs, self._root)
        return free.f_bavail * free.f_frsize

    async def abort_leftovers(self, *, older_than_seconds: int, key: Key | None = None) -> int:
        """Have none: what was not committed is listed like the rest."""
        del older_than_seconds, key
        return 0

    async def destroy(self, most: int) -> int:
        """Unlink files wherever they are below the folder, and then the folders, so that not even their names are left."""
        refuse_whole(self._prefix)
        with _problems():
            return await self._threads.run(self._destroy, most)

    async def remains(self) -> Sequence[str]:
        """Look into the folder, which should not be there at all."""
        with _problems():
            return await self._threads.run(_names, self._folder)

    def under(self, prefix: str) -> Self:
        """Work in a folder of the root, with the same threads."""
        below = f"{self._prefix}/{checked_prefix(prefix)}".lstrip("/")
        return type(self)(self._root, prefix=below, threads=self._threads, disk=self._disk)

    async def close(self) -> None:
        """End the threads, which stores under other prefixes share."""
        self._threads.close()

    def _path(self, key: Key) -> Path:
        return self._folder / checked_key(key)[:FOLDER_NAME] / key

    def _destroy(self, most: int) -> int:
        if not self._folder.exists():
            return 0
        gone = 0
        # From below, a folder at a time: what is held of a tree is the names of one folder.
        for here, folders, names in os.walk(self._folder, topdown=False, onerror=_raise):
            for name in (*names, *(one for one in folders if Path(here, one).is_symlink())):
                if gone == most:
                    return gone
                self._disk.remove(Path(here, name))
                gone += 1
            self._disk.remove_folder(Path(here))
        self._disk.sync_folder(self._folder.parent)
        # The folders were something too.
        return gone or 1

    def _begin(self, key: Key, offset: int) -> int:
        """Open the file for appending and lock it, or raise WrongOffset."""
        path = self._path(key)
        flags = os.O_WRONLY | os.O_APPEND
        try:
            with _problems():
                descriptor = self._disk.open(path, flags if offset else flags | os.O_CREAT)
        except FileNotFoundError:
            if offset:
                raise WrongOffset(key, offset, None) from None
            return self._begin_folder(key)
        except PermissionError:
            raise WrongOffset(key, offset, path.stat().st_size) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            state = os.fstat(descriptor)
            if state.st_size != offset or not state.st_mode & stat.S_IWUSR or not state.st_nlink:
                raise WrongOffset(key, offset, state.st_size)
        except BlockingIOError:
            os.close(descriptor)
            raise WrongOffset(key, offset, None) from None
        except WrongOffset:
            os.close(descriptor)
            raise
        return descriptor

    def _begin_folder(self, key: Key) -> int:
        """Begin once more, in a folder that is made now."""
        with _problems():
            self._disk.make_folder(self._path(key).parent)
        return self._begin(key, 0)

    def _commit(self, keys: Sequence[Key], into: Key) -> int:
        if list(keys) != [into]:
            self._join(keys, into)
        descriptor = self._open(into)
        try:
            # One who has the file open for writing could go on after it is sealed.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            with _problems():
                self._disk.seal(descriptor)
                self._disk.sync(descriptor)
                size = os.fstat(descriptor).st_size
        except BlockingIOError:
            raise WrongOffset(into, 0, None) from None
        finally:
            os.close(descriptor)
        with _problems():
            self._sync_names(self._path(into).parent)
        return size

    def _sync_names(self, folder: Path) -> None:
        """Sync the folder, and those above it until this process has once done it for them."""
        self._disk.sync_folder(folder)
        if folder in self._durable_folders:
            return
        for above in folder.parents:
            self._disk.sync_folder(above)
            if above == self._root.parent:
                break
        if len(self._durable_folders) >= KNOWN_FOLDERS:
            self._durable_folders.clear()
        self._durable_folders.add(folder)

    def _join(self, keys: Sequence[Key], into: Key) -> None:
        """Copy the files into one, inside the kernel."""
        target = self._begin(into, 0)
        # The kernel does not copy into a file that is open for appending.
        fcntl.fcntl(target, fcntl.F_SETFL, os.O_WRONLY)
        try:
            for key in keys:
                self._append(target, key)
        finally:
            os.close(target)

    def _append(self, target: int, key: Key) -> None:
        source = self._open(key)
        try:
            at = 0
            with _problems():
                while sent := os.sendfile(target, source, at, 1 << 30):
                    at += sent
        finally:
            os.close(source)

    def _open(self, key: Key) -> int:
        try:
            with _problems():
                return self._disk.open(self._path(key), os.O_RDONLY)
        except FileNotFoundError:
            raise Missing(key) from None


@contextlib.contextmanager
def _problems() -> Iterator[None]:
    """Say StorageFull of a lack of room, and Unavailable of whatever else a disk may answer.

    A name that is missing, taken, forbidden or a link is no problem of the disk's: the caller knows what it means.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, PermissionError):
        raise
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise
        if problem.errno in NO_ROOM:
            raise StorageFull(retry_after=60) from problem
        raise Unavailable(f"the disk answers: {problem.strerror}", retry_after=5) from problem


def _raise(problem: OSError) -> None:
    raise problem


def _names(folder: Path) -> list[str]:
    """Name a few files below *folder*, or the folder itself when it is there and empty."""
    if not folder.exists():
        return []
    files = (name for _, _, names in os.walk(folder, onerror=_raise) for name in names)
    return list(itertools.islice(files, FEW)) or [folder.name]


def _folders(within: Path) -> list[Path]:
    try:
        return [f for f in within.iterdir() if len(f.name) == FOLDER_NAME and f.is_dir()]
    except FileNotFoundError:
        return []


def _files(folder: Path) -> list[Stored]:
    return list(_each_file(folder))


def _each_file(folder: Path) -> Iterator[Stored]:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                state = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(state.st_mode):
                yield Stored(Key(entry.name), state.st_size, state.st_mtime_ns // 1000)
