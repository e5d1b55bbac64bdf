"""SHA-256 and SHA-512 of the ``rehashes`` package, for machines without a usable libcrypto."""

import struct
from dataclasses import dataclass
from typing import Any

import rehashes  # type: ignore[import-untyped] # it ships no types

SLICE = 128 * 1024
"""It holds the interpreter's lock: 0.08 ms at this size, which no other request notices."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the package lays its state out: words, count of blocks, length of the tail, tail."""

    make: Any
    words: struct.Struct
    block: int
    blocks_width: int


LAYOUTS = {
    "sha256": Layout(rehashes.PySha256, struct.Struct("<8I"), 64, 8),
    "sha512": Layout(rehashes.PySha512, struct.Struct("<8Q"), 128, 16),
}


class Rehashes:
    """An engine that copies what it hashes and lets no other thread run meanwhile."""

    def __init__(self, algorithm: str) -> None:
        self._layout = LAYOUTS[algorithm]
        self._hash = self._layout.make()

    def update(self, piece: bytes | bytearray | memoryview) -> None:
        """Hash a piece in slices."""
        view = memoryview(piece)
        for start in range(0, len(view), SLICE):
            self._hash.update(bytes(view[start : start + SLICE]))

    def digest(self) -> bytes:
        """Give the hash so far."""
        return bytes.fromhex(self._hash.finalize())

    def save(self) -> tuple[tuple[int, ...], bytes]:
        """Take the words and the tail out of the package's own state."""
        state, layout = self._hash.serialize(), self._layout
        tail = layout.words.size + layout.blocks_width
        return layout.words.unpack_from(state), state[tail + 1 : tail + 1 + state[tail]]

    def restore(self, words: tuple[int, ...], tail: bytes, count: int) -> None:
        """Write the package's own state."""
        layout = self._layout
        blocks = (count // layout.block).to_bytes(layout.blocks_width, "little")
        rest = bytes((len(tail),)) + tail.ljust(layout.block - 1, b"\0")
        self._hash = layout.make.deserialize(layout.words.pack(*words) + blocks + rest)
