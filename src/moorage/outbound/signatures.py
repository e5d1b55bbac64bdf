"""Tokens that others have signed: their headers, and the public keys that may have signed them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from moorage.errors import Problem

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA",
)  # fmt: skip
"""Signatures by a key pair alone: ``none`` and HMAC, whose key would be public, are in no list of ours."""
SMALLEST_RSA, LARGEST_RSA = 2048, 16_384
LONGEST_EXPONENT: Final = 6
"""Letters, which are 36 bits: whoever chooses a longer one has each signature take tens of milliseconds."""

Key = RSAKey | ECKey | OKPKey


class TokenRefused(Problem):
    """What an OpenID provider gave is not what it has to be."""

    code, status, summary = (
        "UNAUTHORIZED",
        401,
        "what the OpenID provider gave is not believed: sign in again",
    )


def header(token: str) -> dict[str, Any]:
    """Read a token's header, or raise TokenRefused for one that no token that we take has."""
    parts = token.split(".")
    try:
        read = json.loads(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (ValueError, RecursionError):
        read = None
    if len(parts) != 3 or not isinstance(read, dict):  # noqa: PLR2004 - header, payload and signature.
        raise TokenRefused("the ID token is no signed token")
    if read.get("alg") not in ALGORITHMS:
        raise TokenRefused(
            f"alg: the ID token is signed by {str(read.get('alg'))[:20]!r}, which is not among those taken"
        )
    if str(read.get("typ", "JWT")).lower() != "jwt":
        raise TokenRefused("typ: this is a token of another kind")
    return read


def suits(key: Mapping[str, Any], header: Mapping[str, Any]) -> bool:
    """Say whether a key may have signed a token: it is of the algorithm's kind, for signing, and named as the token has it."""
    kind = {"R": "RSA", "P": "RSA", "E": "EC"}[header["alg"][0]]
    if header["alg"] in {"EdDSA", "Ed25519"}:
        kind = "OKP"
    if (
        key.get("kty") != kind
        or key.get("use", "sig") != "sig"
        or key.get("alg", header["alg"]) != header["alg"]
    ):
        return False
    return "kid" not in header or key.get("kid") == header["kid"]


def key(given: Mapping[str, Any]) -> Key:
    """Read a public key; raise JoseError or ValueError for one that is none, or too weak."""
    public = {
        name: value for name, value in given.items() if name in {"kty", "n", "e", "crv", "x", "y", "kid"}
    }
    modulus = public.get("n", "")
    fits = isinstance(modulus, str) and SMALLEST_RSA <= len(modulus) * 6 <= LARGEST_RSA + 5
    if public.get("kty") == "RSA" and not fits:
        # A number of a million bits takes long to be read.
        raise ValueError(f"an RSA key has {SMALLEST_RSA} to {LARGEST_RSA} bits")
    exponent = public.get("e", "")
    if not isinstance(exponent, str) or len(exponent) > LONGEST_EXPONENT:
        raise ValueError("an RSA key's exponent is short, as 65537 is")
    try:
        found = import_key(public)
    except KeyError:
        raise ValueError("its curve is not known") from None
    assert isinstance(found, RSAKey | ECKey | OKPKey)
    return found
