"""What a store of bytes promises, and the words it is asked in."""

import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NewType, Protocol, Self

from moorage.storage.hashing import Hasher

Key = NewType("Key", str)
"""Where some bytes are kept: random, and never used twice."""

KEY = re.compile(r"[a-z0-9]{3,64}")
FEW = 5
"""How many things are named when something should not be there."""
PREFIX = re.compile(r"[a-z0-9][a-z0-9._-]{1,126}[a-z0-9]")


def new_key() -> Key:
    """Make a key that nothing has had and nothing else will have."""
    return Key(secrets.token_hex(16))


def checked_key(key: str) -> str:
    """Give *key* back, or raise ValueError: no other text may become part of a path."""
    if not KEY.fullmatch(key):
        message = f"not a storage key: {key!r}"
        raise ValueError(message)
    return key


def checked_prefix(prefix: str) -> str:
    """Give *prefix* back, or raise ValueError.

    It is one component of three characters or more: those of two belong to the keys.
    """
    if not PREFIX.fullmatch(prefix) or ".." in prefix:
        message = f"not a prefix of a store: {prefix!r}"
        raise ValueError(message)
    return prefix


def refuse_whole(prefix: str) -> None:
    """Raise ValueError for a prefix that is none: what is destroyed is one registry's, never everyone's."""
    if not prefix:
        message = "a whole store is never destroyed: name a prefix"
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Stored:
    """Something that a store keeps."""

    key: Key
    size: int
    modified_us: int


class WrongOffset(Exception):
    """The bytes do not continue what is stored: another wrote there, or it is already whole."""

    def __init__(self, key: Key, offset: int, stored: int | None) -> None:
        super().__init__(f"{key} cannot be continued at {offset}: it holds {stored}")
        self.key = key
        self.offset = offset
        self.stored = stored


class Missing(Exception):
    """The store has nothing under this key, though somebody counted on it."""

    def __init__(self, key: Key) -> None:
        super().__init__(f"the store holds nothing under {key}")
        self.key = key


class Disconnected(Exception):
    """The sender went away before it had sent what it announced."""


class Source(Protocol):
    """Bytes on their way in, given once: either drained or iterated, never both."""

    async def drain(self, consume: Callable[[memoryview], None]) -> int:
        """Hand every piece to *consume* and give the count, or raise Disconnected.

        *consume* is called in a worker thread, one call at a time. What it raises ends the
        draining and is raised here. A piece is valid only during its call.
        """
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the same bytes in pieces, on the loop."""
        ...


class BlobStore(Protocol):
    """Bytes, kept under keys that are never used twice.

    A store knows nothing of digests' owners, repositories, tenants or quotas: those are the
    caller's. Every implementation passes ``tests/contracts/test_blob_store.py``.
    """

    @property
    def appends(self) -> bool:
        """Tell whether write() can continue a key; if not, each write needs a fresh one."""
        ...

    async def write(self, key: Key, offset: int, source: Source, hasher: Hasher | None, *, limit: int) -> int:
        """Stream *source* under *key* from *offset* on, and give how many bytes came.

        *offset* must be what is stored there, else WrongOffset; so of two writers at once one
        wins. More than *limit* bytes are refused with SizeInvalid, and a lack of room with StorageFull.
        A cut source raises Disconnected. However it fails, a store that appends keeps the pieces
        that came whole and the other kind keeps nothing, and *hasher* has counted what is kept.
        """
        ...

    async def commit(self, keys: Sequence[Key], into: Key) -> int:
        """Make the bytes of *keys*, joined, whole, durable and unchangeable under *into*.

        Gives their size, or raises Missing. With ``keys == [into]`` nothing is copied, and it may
        be repeated; otherwise *into* is a fresh key, and the joined ones stay until deleted.
        Raises WrongOffset while *into* is being written: what is whole must not grow.
        """
        ...

    async def size(self, key: Key) -> int | None:
        """Count the bytes under *key*; None when there is no such key."""
        ...

    def read(self, key: Key, start: int, end: int) -> AsyncIterator[bytes]:
        """Give the bytes from *start* to before *end* in bounded pieces, or raise Missing."""
        ...

    async def shortcut(self, key: Key) -> Path | str | None:
        """Name a local file to send, or an address the client may be sent to, or neither.

        The address answers for some minutes, as an attachment that no browser opens.
        """
        ...

    async def delete(self, key: Key) -> None:
        """Destroy what is under *key*, if anything."""
        ...

    def list(self) -> AsyncIterator[Stored]:
        """Give everything kept, in no order; what is changed meanwhile may be missed."""
        ...

    async def room(self) -> int | None:
        """Count the free bytes; None when that cannot be known."""
        ...

    async def abort_leftovers(self, *, older_than_seconds: int, key: Key | None = None) -> int:
        """Destroy what killed processes left half sent and cannot be listed, of all keys or one; give how many."""
        ...

    async def destroy(self, most: int) -> int:
        """Destroy up to *most* things of all that is kept below this prefix, whole or half sent; give how many.

        0 says that nothing was there any more. Never of a whole store: without a prefix it raises ValueError.
        """
        ...

    async def remains(self) -> Sequence[str]:
        """Name what is kept below this prefix in any form, a few things of it, as the place itself says just now."""
        ...

    def under(self, prefix: str) -> Self:
        """Give the same store, seeing only the keys below *prefix*, which is below its own."""
        ...

    async def close(self) -> None:
        """Let go of threads and connections."""
        ...
