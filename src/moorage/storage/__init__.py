"""Bytes under keys that are never used twice."""

from moorage.storage.hashing import Hasher, StateRefused
from moorage.storage.opening import open_store
from moorage.storage.store import (
    BlobStore,
    Disconnected,
    Key,
    Missing,
    Source,
    Stored,
    WrongOffset,
    new_key,
)
from moorage.storage.threads import Threads

__all__ = [
    "BlobStore",
    "Disconnected",
    "Hasher",
    "Key",
    "Missing",
    "Source",
    "StateRefused",
    "Stored",
    "Threads",
    "WrongOffset",
    "new_key",
    "open_store",
]
