"""Password hashes that were made elsewhere, under the name of their scheme: good at the first sign-in, and made anew by it.

    $pbkdf2-sha256$i=4096$<salt>$<hash>     as Harbor keeps them since 2.0
    $pbkdf2-sha1$i=4096$<salt>$<hash>       as it did before

Salt and hash are in base64 without ``=``. Nothing is hashed so here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import Final

HARBORS_ROUNDS: Final = 4096
MOST_ROUNDS: Final = 2_000_000
LONGEST: Final = 64

_WRITTEN = re.compile(
    r"\$pbkdf2-(sha1|sha256|sha512)\$i=(\d{1,7})\$([A-Za-z0-9+/]{1,344})\$([A-Za-z0-9+/]{1,86})"
)


def of_harbor(version: str, salt: str, hashed: str) -> str:
    """Write what Harbor keeps of a user (``password_version``, ``salt`` and ``password``) as one hash; raise ValueError."""
    if version not in {"sha1", "sha256"}:
        raise ValueError(f"Harbor's password versions are sha1 and sha256, not {version[:20]!r}")
    raw = bytes.fromhex(hashed)
    made = f"$pbkdf2-{version}$i={HARBORS_ROUNDS}${_written(salt.encode())}${_written(raw)}"
    if not is_imported(made):
        raise ValueError("a salt of at most 256 bytes and a hash of at most 64 are wanted")
    return made


def is_imported(hashed: str) -> bool:
    """Say whether a hash names one of these schemes."""
    return _WRITTEN.fullmatch(hashed) is not None


def fits(hashed: str, password: str) -> bool:
    """Say whether a password is the one that was hashed."""
    found = _WRITTEN.fullmatch(hashed)
    # HMAC takes a password with null characters behind it for the one without.
    if found is None or not 0 < int(found[2]) <= MOST_ROUNDS or "\0" in password:
        return False
    try:
        salt, wanted = _read(found[3]), _read(found[4])
    except binascii.Error:
        return False
    given = password.encode("utf-8", "surrogatepass")
    made = hashlib.pbkdf2_hmac(found[1], given, salt, int(found[2]), len(wanted))
    return hmac.compare_digest(made, wanted)


def _written(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


def _read(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
