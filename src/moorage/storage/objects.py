"""A store on S3, Google Cloud Storage or Azure: an object a write, joined only when it must be.

    <prefix of the address>/<prefix>/<key>

Every object is an attachment of no particular type, so an address that is handed out shows
nothing in a browser. ``docs/reference/storage-format.md`` says it in full.
"""

import asyncio
import builtins
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from moorage.errors import Unavailable
from moorage.storage.hashing import Hasher
from moorage.storage.intake import PART, Intake
from moorage.storage.leftovers import Leftovers
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

if TYPE_CHECKING:
    from obstore import GetResult

T = TypeVar("T")
Remote = S3Store | GCSStore | AzureStore

PIECE = 1024 * 1024
PATIENCE = 10.0
RETRY_AFTER = 5
_TOLD = 300
SENDING = 16
PAGE = 1000
ATTRIBUTES = {
    "Content-Type": "application/octet-stream",
    "Content-Disposition": "attachment",
}


@dataclass(frozen=True, slots=True)
class Bucket:
    """What every store in one bucket shares: connections, threads, places for sending."""

    remote: Remote
    reading: Remote
    threads: Threads = field(default_factory=Threads)
    sending: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SENDING))
    redirect_for: timedelta | None = None
    leftovers: Leftovers | None = None


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """Bytes as the objects of a bucket whose names begin with a prefix."""

    bucket: Bucket
    prefix: str = ""

    @property
    def appends(self) -> bool:
        """Refuse to: objects are written once."""
        return False

    async def write(self, key: Key, offset: int, source: Source, hasher: Hasher | None, *, limit: int) -> int:
        """Send an object in parts, unless it fits in one, and nothing of it if it is cut."""
        checked_key(key)
        if offset:
            raise WrongOffset(key, offset, await self.size(key))
        before = hasher.state() if hasher else b""
        bucket = self.bucket
        intake = Intake(source, hasher, limit=limit, threads=bucket.threads, sending=bucket.sending)
        try:
            with _problems(key):
                await self._send(key, intake)
        except BaseException as failure:
            if hasher:
                await intake.close()
                hasher.rewind(before)
            if isinstance(failure, AlreadyExistsError | PreconditionError):
                raise WrongOffset(key, offset, None) from None
            raise
        finally:
            await intake.close()
        return intake.count

    async def commit(self, keys: Sequence[Key], into: Key) -> int:
        """Ask for the size; several objects are first sent through this process into one."""
        if [*keys] != [into]:
            sizes = [await self._sure_size(key) for key in keys]
            joined = Joined(self, [*zip(keys, sizes, strict=True)])
            await self.write(into, 0, joined, None, limit=sum(sizes))
        return await self._sure_size(into)

    async def size(self, key: Key) -> int | None:
        """Ask for the object's head."""
        try:
            async with asyncio.timeout(PATIENCE):
                return (await obstore.head_async(self.bucket.remote, self._path(key)))["size"]
        except FileNotFoundError:
            return None
        except (BaseError, TimeoutError) as problem:
            raise _away(problem) from problem

    async def read(self, key: Key, start: int, end: int) -> AsyncIterator[bytes]:
        """Stream a range; a client that stalls holds a piece and a connection."""
        if start >= end or (found := await self._get(key, start, end)) is None:
            await self._sure_size(key)
            return
        with _problems(key):
            pieces = aiter(found.stream(min_chunk_size=PIECE))
            while True:
                async with asyncio.timeout(PATIENCE):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield bytes(piece)

    async def shortcut(self, key: Key) -> Path | str | None:
        """Sign an address, if the operator says that clients can reach the store."""
        if self.bucket.redirect_for is None:
            return None
        with _problems(key):
            return await obstore.sign_async(
                self.bucket.remote, "GET", self._path(key), self.bucket.redirect_for
            )

    async def delete(self, key: Key) -> None:
        """Delete the object."""
        try:
            with _problems(key):
                async with asyncio.timeout(PATIENCE):
                    await obstore.delete_async(self.bucket.remote, self._path(key))
        except Missing:
            return

    async def list(self) -> AsyncIterator[Stored]:
        """Give the objects a page at a time."""
        start = f"{self.prefix}/" if self.prefix else ""
        pages = aiter(obstore.list(self.bucket.remote, start or None, chunk_size=PAGE))
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    page = await anext(pages, None)
            except (BaseError, TimeoutError) as problem:
                raise _away(problem) from problem
            if page is None:
                return
            for found in page:
                name = found["path"].removeprefix(start)
                if "/" not in name:
                    modified = round(found["last_modified"].timestamp() * 1_000_000)
                    yield Stored(Key(name), found["size"], modified)

    async def room(self) -> int | None:
        """Know no end of it."""
        return None

    async def abort_leftovers(self, *, older_than_seconds: int, key: Key | None = None) -> int:
        """Abort the multipart uploads below this prefix, or of one key, that were begun so long ago."""
        leftovers = self.bucket.leftovers
        if leftovers is None:
            return 0
        prefix = f"{self.prefix}/" if self.prefix else ""
        if key is not None:
            # Keys made by us have one length, so none begins with another.
            prefix = self._path(key)
        return await self.bucket.threads.run(leftovers.abort, prefix, older_than_seconds)

    async def destroy(self, most: int) -> int:
        """Delete objects a page at a time, then half-sent ones and old versions, where the bucket has such."""
        refuse_whole(self.prefix)
        gone = 0
        while gone < most and (names := await self._first(min(PAGE, most - gone))):
            try:
                async with asyncio.timeout(PATIENCE * 6):
                    await obstore.delete_async(self.bucket.remote, names)
            except FileNotFoundError:
                pass
            except (BaseError, TimeoutError) as problem:
                raise _away(problem) from problem
            gone += len(names)
        if gone or self.bucket.leftovers is None:
            return gone
        run, within = self.bucket.threads.run, f"{self.prefix}/"
        # Whatever the store's clock says now, what was begun until tomorrow by it goes.
        half_sent = await run(self.bucket.leftovers.abort, within, -86_400)
        return half_sent + await run(self.bucket.leftovers.erase_versions, within, most)

    async def remains(self) -> Sequence[str]:
        """Ask the store for objects, uploads in parts and old versions."""
        found = await self._first(FEW)
        if not found and self.bucket.leftovers is not None:
            found = await self.bucket.threads.run(self.bucket.leftovers.remains, f"{self.prefix}/", FEW)
        return [name.removeprefix(f"{self.prefix}/") for name in found]

    def under(self, prefix: str) -> Self:
        """Name objects below one more prefix."""
        return replace(self, prefix=f"{self.prefix}/{checked_prefix(prefix)}".lstrip("/"))

    async def close(self) -> None:
        """End the threads, which stores under other prefixes share."""
        self.bucket.threads.close()

    async def _first(self, most: int) -> builtins.list[str]:
        """Name the first objects below the prefix, however they are called."""
        try:
            async with asyncio.timeout(PATIENCE):
                page = await anext(
                    aiter(obstore.list(self.bucket.remote, f"{self.prefix}/", chunk_size=most)), None
                )
        except (BaseError, TimeoutError) as problem:
            raise _away(problem) from problem
        return [found["path"] for found in page or ()]

    def _path(self, key: Key) -> str:
        return f"{self.prefix}/{checked_key(key)}".lstrip("/")

    async def _sure_size(self, key: Key) -> int:
        size = await self.size(key)
        if size is None:
            raise Missing(key)
        return size

    async def _get(self, key: Key, start: int, end: int) -> "GetResult | None":
        """Ask for a range; None when the object ends before it, which S3 calls an error."""
        try:
            with _problems(key):
                async with asyncio.timeout(PATIENCE):
                    return await obstore.get_async(
                        self.bucket.reading, self._path(key), options={"range": (start, end)}
                    )
        except Unavailable:
            if start < await self._sure_size(key):
                raise
            return None

    async def _send(self, key: Key, intake: Intake) -> None:
        if not await intake.fill():
            await self._create(key, await intake.whole(), intake)
            return
        # Sending in parts cannot be made conditional without holding all of it in memory, so the
        # key is claimed first: an empty object, which only one writer can create.
        await self._create(key, b"", intake)
        try:
            # With one part at a time the next is asked for when the former has been sent, which
            # is what gives its place back.
            sending = obstore.put_async(
                self.bucket.remote,
                self._path(key),
                intake,
                attributes=ATTRIBUTES,
                chunk_size=PART,
                max_concurrency=1,
            )
            await _unhurried(sending, intake)
        except BaseException:
            with suppress(Unavailable):
                await self.delete(key)
            raise

    async def _create(self, key: Key, body: bytes, intake: Intake) -> None:
        """Put a small object where there is none, or raise AlreadyExistsError."""
        sending = obstore.put_async(
            self.bucket.remote,
            self._path(key),
            body,
            attributes=ATTRIBUTES,
            mode="create",
            use_multipart=False,
        )
        await _unhurried(sending, intake)


@dataclass(frozen=True, slots=True)
class Joined:
    """The bytes of several objects, as a source of another."""

    store: ObjectStore
    parts: Sequence[tuple[Key, int]]

    async def drain(self, consume: Callable[[memoryview], None]) -> int:
        """Hand over every piece."""
        count = 0
        async for piece in self:
            await self.store.bucket.threads.run(consume, memoryview(piece))
            count += len(piece)
        return count

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Read one after the other."""
        for key, size in self.parts:
            async for piece in self.store.read(key, 0, size):
                yield piece


async def _unhurried(sending: Awaitable[T], intake: Intake) -> T:
    """Wait for *sending*; when cancelled, have it aborted and wait for that too."""
    task = asyncio.ensure_future(sending)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as request:
            cancelled = request
            intake.give_up(request)
    problem = task.exception()
    if cancelled:
        raise cancelled
    if problem and intake.failure:
        raise intake.failure
    return task.result()


@contextmanager
def _problems(key: Key) -> Iterator[None]:
    """Say Missing of what is not there, and Unavailable of all that a store may answer else."""
    try:
        yield
    except FileNotFoundError:
        raise Missing(key) from None
    except (AlreadyExistsError, PreconditionError):
        raise
    except (BaseError, TimeoutError) as problem:
        raise _away(problem) from problem


def _away(problem: Exception) -> Unavailable:
    """Keep what a store answers for the log, where an operator looks for it."""
    told = next(iter(str(problem).splitlines()), "") or "no answer in time"
    return Unavailable(f"the store answers: {told[:_TOLD]}", retry_after=RETRY_AFTER)
