"""Digests: the addresses of bytes (image-spec, descriptor.md#digests)."""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from moorage.oci.errors import DigestInvalid

ALGORITHMS = {"sha256": 64, "sha512": 128}
"""The algorithms, with the length of the hex that each gives."""

# These are in databases, so they never change.
_NUMBERS = {"sha256": b"\x01", "sha512": b"\x02"}
_BY_NUMBER = {number: algorithm for algorithm, number in _NUMBERS.items()}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_OTHER_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_SHOWN = 160


@dataclass(frozen=True, slots=True)
class Digest:
    """The address of some bytes: a hash algorithm and the hex it gave.

    Equal digests mean equal bytes, so content found by its digest needs no other check.
    """

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read ``sha256:6c3c…``, or raise DigestInvalid."""
        return _parse(text)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Self:
        """Hash *data*, or raise DigestInvalid when the algorithm is not one of ALGORITHMS."""
        if algorithm not in ALGORITHMS:
            raise _unsupported(algorithm)
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """Read what ``raw`` gave; a ValueError means that the row it came from is broken."""
        algorithm = _BY_NUMBER.get(raw[:1])
        if algorithm is None or 2 * (len(raw) - 1) != ALGORITHMS[algorithm]:
            message = f"not a stored digest: {raw[:_SHOWN]!r}"
            raise ValueError(message)
        return cls(algorithm, raw[1:].hex())

    @property
    def raw(self) -> bytes:
        """Pack the digest as it is stored: one byte for the algorithm, then the hash itself."""
        return _NUMBERS[self.algorithm] + bytes.fromhex(self.hex)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


@lru_cache(maxsize=4096)
def _parse(text: str) -> Digest:
    if _DIGEST.fullmatch(text) is None:
        raise _refusal(text)
    algorithm, _, hex_ = text.partition(":")
    return Digest(algorithm, hex_)


def _unsupported(algorithm: str) -> DigestInvalid:
    shown = algorithm[:40]
    message = f'digest algorithm "{shown}" is not supported: use sha256 or sha512'
    return DigestInvalid(message, algorithm=shown, supported=list(ALGORITHMS))


def _refusal(text: str) -> DigestInvalid:
    shown = text[:_SHOWN]
    algorithm = text.partition(":")[0]
    length = ALGORITHMS.get(algorithm)
    if length is None and _OTHER_DIGEST.fullmatch(text):
        return _unsupported(algorithm)
    rule = (
        f"{algorithm}: and {length} lower-case hexadecimal digits"
        if length
        else "an algorithm (sha256 or sha512), a colon and lower-case hexadecimal digits"
    )
    return DigestInvalid(f'"{shown}" is not a digest: it must be {rule}', digest=shown, rule=rule)
