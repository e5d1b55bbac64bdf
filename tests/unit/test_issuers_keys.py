"""Keys that an OpenID provider publishes are read only where that costs little."""

from __future__ import annotations

import base64

import pytest
from joserfc.jwk import RSAKey

from moorage.outbound.key_sets import KeySet
from moorage.outbound.signatures import LARGEST_RSA, key


@pytest.mark.parametrize("bits", [1024, LARGEST_RSA + 8, 1_000_000])
def test_an_rsa_key_that_is_too_small_or_takes_long_to_read_is_not_read(bits: int) -> None:
    modulus = base64.urlsafe_b64encode(b"\xff" * (bits // 8)).rstrip(b"=").decode()

    with pytest.raises(ValueError, match="an RSA key has 2048 to 16384 bits"):
        key({"kty": "RSA", "n": modulus, "e": "AQAB"})


def test_the_largest_rsa_key_is_read() -> None:
    modulus = base64.urlsafe_b64encode(b"\xff" * (LARGEST_RSA // 8)).rstrip(b"=").decode()

    assert isinstance(key({"kty": "RSA", "n": modulus, "e": "AQAB"}), RSAKey)


@pytest.mark.parametrize("exponent", ["A" * 400, 65537, None, ["AQAB"]])
def test_an_exponent_that_makes_each_signature_slow_is_not_read(exponent: object) -> None:
    modulus = base64.urlsafe_b64encode(b"\xff" * 384).rstrip(b"=").decode()

    with pytest.raises(ValueError, match="an RSA key's exponent is short"):
        key({"kty": "RSA", "n": modulus, "e": exponent})


@pytest.mark.parametrize("kind", ["EC", "OKP"])
def test_a_key_on_a_curve_that_nobody_knows_spoils_none_beside_it(kind: str) -> None:
    odd = {"kty": kind, "crv": "brainpoolP256r1", "x": "A" * 43, "y": "A" * 43, "kid": "odd"}
    good = {**RSAKey.generate_key(2048, {"kid": "good"}).as_dict(private=False)}

    assert [said["kid"] for said, _ in KeySet.read({"keys": [odd, good]}).keys] == ["good"]
