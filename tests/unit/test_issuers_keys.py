"""Keys that an OpenID provider publishes are read only where that costs little."""

from __future__ import annotations

import base64

import pytest
from joserfc.jwk import RSAKey

from moorage.outbound.signatures import LARGEST_RSA, key


@pytest.mark.parametrize("bits", [1024, LARGEST_RSA + 8, 1_000_000])
def test_an_rsa_key_that_is_too_small_or_takes_long_to_read_is_not_read(bits: int) -> None:
    modulus = base64.urlsafe_b64encode(b"\xff" * (bits // 8)).rstrip(b"=").decode()

    with pytest.raises(ValueError, match="an RSA key has 2048 to 16384 bits"):
        key({"kty": "RSA", "n": modulus, "e": "AQAB"})


def test_the_largest_rsa_key_is_read() -> None:
    modulus = base64.urlsafe_b64encode(b"\xff" * (LARGEST_RSA // 8)).rstrip(b"=").decode()

    assert isinstance(key({"kty": "RSA", "n": modulus, "e": "AQAB"}), RSAKey)
