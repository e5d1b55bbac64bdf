"""Hashing that one process begins and another ends."""

import ctypes
import struct
from typing import Any, Protocol, Self

from moorage.oci.digests import Digest
from moorage.storage import libcrypto, rehashing

VERSION = 1
NUMBERS = {"sha256": 1, "sha512": 2}
WORDS = {"sha256": ">8I", "sha512": ">8Q"}
BLOCK = {"sha256": 64, "sha512": 128}
HEAD = struct.Struct(">BB")
COUNT = struct.Struct(">Q")


class StateRefused(ValueError):
    """A saved state is not one, or is not of these bytes: they must be read again."""


class Engine(Protocol):
    """A hash function whose inner state can be read and set."""

    def update(self, piece: bytes | bytearray | memoryview) -> None:
        """Hash a piece more."""
        ...

    def digest(self) -> bytes:
        """Give the hash so far, and be able to go on."""
        ...

    def save(self) -> tuple[tuple[int, ...], bytes]:
        """Give the eight words, and the bytes of the block that is not yet full."""
        ...

    def restore(self, words: tuple[int, ...], tail: bytes, count: int) -> None:
        """Become what :meth:`save` gave after *count* bytes."""
        ...


class Libcrypto:
    """The engine of choice: no copy, no interpreter lock."""

    def __init__(self, functions: libcrypto.Functions) -> None:
        self._functions = functions
        self._state: Any = functions.state()
        functions.init(ctypes.byref(self._state))

    def update(self, piece: bytes | bytearray | memoryview) -> None:
        """Hash a piece where it lies."""
        self._functions.feed(self._state, piece)

    def digest(self) -> bytes:
        """Give the hash so far, of a copy of the state."""
        return self._functions.finish(self._state)

    def save(self) -> tuple[tuple[int, ...], bytes]:
        """Read the struct."""
        return tuple(self._state.h), bytes(self._state.tail[: self._state.used])

    def restore(self, words: tuple[int, ...], tail: bytes, count: int) -> None:
        """Write the struct."""
        state, bits = self._state, count * 8
        state.h[:] = words
        state.low = bits & ((1 << self._functions.word) - 1)
        state.high = bits >> self._functions.word
        state.tail[: len(tail)] = tail
        state.used = len(tail)


class Hasher:
    """A digest in the making, whose state can be saved and gone on with elsewhere.

    The state is ours, not a library's: version, algorithm, eight words, count, the open block
    (``docs/reference/storage-format.md``). Proven by ``tests/unit/test_hashing.py``.
    """

    __slots__ = ("_engine", "algorithm", "count")

    def __init__(self, algorithm: str = "sha256") -> None:
        self.algorithm = algorithm
        self.count = 0
        self._engine = engine(algorithm)

    @classmethod
    def resume(cls, algorithm: str, state: bytes, count: int) -> Self:
        """Go on from a state that was saved after *count* bytes, or raise StateRefused."""
        hasher = cls(algorithm)
        hasher.rewind(state)
        if hasher.count != count:
            message = f"the state was saved after {hasher.count} bytes, not {count}"
            raise StateRefused(message)
        return hasher

    def update(self, piece: bytes | bytearray | memoryview) -> None:
        """Hash a piece more; other threads run meanwhile."""
        self._engine.update(piece)
        self.count += len(piece)

    def digest(self) -> Digest:
        """Give the digest of what came so far; more may come."""
        return Digest(self.algorithm, self._engine.digest().hex())

    def state(self) -> bytes:
        """Save where the hashing stands."""
        words, tail = self._engine.save()
        head = HEAD.pack(VERSION, NUMBERS[self.algorithm])
        return head + struct.pack(WORDS[self.algorithm], *words) + COUNT.pack(self.count) + tail

    def rewind(self, state: bytes) -> None:
        """Be again as when *state* was saved, or raise StateRefused and stay as it is."""
        words = struct.Struct(WORDS[self.algorithm])
        fixed = HEAD.size + words.size + COUNT.size
        if state[: HEAD.size] != HEAD.pack(VERSION, NUMBERS[self.algorithm]) or len(state) < fixed:
            message = "not a saved state of this version and algorithm"
            raise StateRefused(message)
        (count,) = COUNT.unpack_from(state, fixed - COUNT.size)
        tail = state[fixed:]
        if len(tail) != count % BLOCK[self.algorithm]:
            message = "the saved state is cut"
            raise StateRefused(message)
        self._engine.restore(words.unpack_from(state, HEAD.size), tail, count)
        self.count = count


def engine(algorithm: str) -> Engine:
    """Make the best engine that this machine has, or raise KeyError for an unknown algorithm."""
    if algorithm not in NUMBERS:
        raise KeyError(algorithm)
    functions = libcrypto.functions(algorithm)
    return Libcrypto(functions) if functions else rehashing.Rehashes(algorithm)
