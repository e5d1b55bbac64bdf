"""Password hashes as Harbor keeps them: computed here by the standard library, and believed for what they say alone."""

from __future__ import annotations

import hashlib

import pytest

from moorage.identity import imported_passwords
from moorage.identity.imported_passwords import fits, of_harbor

SALT, PASSWORD = "kJ5aZ0qvQ1b7mH3xw9RtYc2LsE8uGdNf", "Harbor12345"


def harbors(version: str, password: str = PASSWORD) -> str:
    """Compute what Harbor has in its row: 16 bytes, in hexadecimal."""
    return hashlib.pbkdf2_hmac(version, password.encode(), SALT.encode(), 4096, 16).hex()


@pytest.mark.parametrize("version", ["sha1", "sha256"])
def test_a_hash_of_harbors_fits_its_password_alone(version: str):
    kept = of_harbor(version, SALT, harbors(version))

    assert kept.startswith(f"$pbkdf2-{version}$i=4096$")
    assert fits(kept, PASSWORD)
    assert not any(fits(kept, wrong) for wrong in ("", "Harbor1234", "harbor12345", "Harbor12345\0"))
    assert not fits(of_harbor(version, SALT[::-1], harbors(version)), PASSWORD)
    assert not fits(kept.replace(version, "sha512"), PASSWORD)


def test_what_is_none_is_refused_or_fits_nothing():
    for version, salt, hashed in (
        ("md5", SALT, "00"), ("sha256", SALT, "zz"), ("sha256", "s" * 300, "00" * 16), ("sha256", SALT, ""), ("sha256", "", "00"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            of_harbor(version, salt, hashed)
    kept = of_harbor("sha256", SALT, harbors("sha256"))
    for broken in (
        kept.replace("4096", "0"),
        kept.replace("4096", "9999999"),
        kept + "$",
        kept.replace("=", ""),
    ):
        assert not fits(broken, PASSWORD)
    assert not imported_passwords.is_imported("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA")
