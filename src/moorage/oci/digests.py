"""Digests (image-spec descriptor.md#digests)."""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from moorage.oci.errors import DigestInvalid

# Numbers are kept in databases, so they never change.
NUMBERS = {"sha256": 1, "sha512": 2}
ALGORITHMS = {number: algorithm for algorithm, number in NUMBERS.items()}
HEX_LENGTH = {"sha256": 64, "sha512": 128}
_FORM = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class Digest:
    """The address of some bytes: a hash algorithm and the hex it gave.

    Equal digests mean equal bytes, so content found by its digest needs no other check.
    """

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read ``sha256:6c3c…`` or ``sha512:…``, or raise DigestInvalid."""
        return _parse(text)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> Self:
        """Give the digest of some bytes."""
        return cls(algorithm, hashlib.new(algorithm, content).hexdigest())

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """Read what ``raw`` gave."""
        return cls(ALGORITHMS[raw[0]], raw[1:].hex())

    @property
    def raw(self) -> bytes:
        """The digest as databases keep it: a byte for the algorithm, then the hash."""
        return bytes((NUMBERS[self.algorithm],)) + bytes.fromhex(self.hex)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


@lru_cache(maxsize=4096)
def _parse(text: str) -> Digest:
    if not _FORM.fullmatch(text):
        algorithm = text.partition(":")[0][:32]
        rule = "sha256:<64 hex digits> or sha512:<128 hex digits>, in lower case"
        message = f"not a digest: {text[:160]!r}; a digest is {rule}"
        raise DigestInvalid(message, digest=text[:160], algorithm=algorithm)
    algorithm, _, hex_ = text.partition(":")
    return Digest(algorithm, hex_)
