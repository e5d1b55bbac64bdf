"""Certificates of destruction: what was destroyed, when, and how that was found to be so; signed, and checked by anybody.

    {"certificate": {…}, "signature": {"algorithm", "keyId", "digest", "value"}}

Signed is `TYPE`, a line's end and the certificate as canonical JSON: keys in order, no spaces, UTF-8, no fractions. So it may be
kept and passed on in whatever layout. It names nobody: account and cloud project are keyed hashes, and the key stands beside
them, so that only who knows the ids, which cannot be guessed, finds them in it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sqlalchemy import bindparam, select

from moorage.cloud import signing
from moorage.cloud.signing import PublicKey, Signature, SignatureInvalid
from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform import certificate

TYPE: Final = "moorage/destruction/1"
LARGEST: Final = 1 << 20
HOLDS, WRONG, UNKNOWN, UNREADABLE = 0, 1, 3, 4
"""What a check exits with; 2 is a misspelt command's."""

_ADD = Statement(
    insert(certificate).values(
        cloud_registry_id=bindparam("registry"), key_id=bindparam("key"), body=bindparam("body"), created_at=bindparam("at")
    )
)  # fmt: skip
_GET = Statement(select(certificate.c.body).where(certificate.c.cloud_registry_id == bindparam("registry")))


class NoCertificate(ValueError):
    """What was given is no certificate, or no list of keys."""


class Altered(Exception):
    """The certificate is not as it was when it was signed."""


class UnknownKey(Exception):
    """It is signed by a key that is not among those given."""


class WrongSignature(Exception):
    """The signature is not by the key that it names."""


def canonical(body: Mapping[str, Any]) -> bytes:
    """Write a certificate in the one way that is signed."""
    return json.dumps(
        body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def payload(body: Mapping[str, Any]) -> bytes:
    """Give what is signed of a certificate: no other thing that the provider signs begins so."""
    return f"{TYPE}\n".encode() + canonical(body)


def pseudonym(salt: str, id_: str) -> str:
    """Name an id so that only who knows it finds it again."""
    return "hmac-sha256:" + hmac.digest(bytes.fromhex(salt), id_.encode(), "sha256").hex()


def written(body: Mapping[str, Any], signed: Signature) -> str:
    """Write the whole document."""
    signature = {
        "algorithm": signing.ALGORITHM,
        "keyId": signed.key_id,
        "digest": _digest(body),
        "value": base64.b64encode(signed.value).decode(),
    }
    return json.dumps({"certificate": body, "signature": signature}, indent=2, ensure_ascii=False) + "\n"


async def keep(tx: Tx, registry: str, key_id: str, document: str) -> None:
    """Keep a registry's certificate, for good."""
    await tx.run(_ADD, registry=registry, key=key_id, body=document, at=tx.at)


async def find(reader: Reader, registry: str) -> str | None:
    """Give a registry's certificate, if it was destroyed."""
    row = await reader.one(_GET, registry=registry)
    return None if row is None else str(row.body)


def verify(document: bytes, keys: Iterable[PublicKey]) -> tuple[dict[str, Any], PublicKey]:
    """Give what a certificate says, and the key that it is signed with.

    Raises NoCertificate, Altered, UnknownKey or WrongSignature.
    """
    body, signature = _parts(document)
    if _digest(body) != signature["digest"]:
        raise Altered(
            f"something in it was altered: its digest is {_digest(body)}, and was {signature['digest'][:80]} when it was signed"
        )
    found = next((one for one in keys if one.id == signature["keyId"]), None)
    if found is None:
        raise UnknownKey(f"it is signed by the key {signature['keyId'][:80]}, which is not among those given")
    try:
        value = base64.b64decode(signature["value"], validate=True)
        signing.verify([found], found.id, payload(body), value)
    except (ValueError, SignatureInvalid):
        raise WrongSignature(
            f"the signature is not by the key {found.id}, or of another certificate"
        ) from None
    return body, found


def read_keys(document: bytes) -> list[PublicKey]:
    """Read public keys as the API publishes them, or raise NoCertificate."""
    try:
        whole = _loads(document)
        keys = [_key(one) for one in whole]
    except (TypeError, KeyError, ValueError, RecursionError, AttributeError, UnsupportedAlgorithm):
        keys = []
    if not keys:
        raise NoCertificate("this is no list of keys as /1.0/cloud/signingKey gives it")
    return keys


def written_keys(keys: Iterable[PublicKey]) -> str:
    """Write public keys as the API publishes them."""
    shown = [{"keyId": one.id, "algorithm": signing.ALGORITHM, "publicKey": one.pem} for one in keys]
    return json.dumps(shown, indent=2) + "\n"


def judged(document: bytes, keys: Iterable[PublicKey]) -> tuple[int, str]:
    """Check a certificate, and tell what comes of it: a status to exit with, and some lines."""
    try:
        body, key = verify(document, keys)
    except NoCertificate as problem:
        return UNREADABLE, f"no certificate: {problem}\n"
    except (Altered, WrongSignature) as problem:
        return WRONG, f"WRONG: {problem}\n"
    except UnknownKey as problem:
        return UNKNOWN, (
            f"unknown key: {problem}\nGive the provider's keys with --keys: /1.0/cloud/signingKey publishes them, and"
            " `moorage certificate keys` writes them.\n"
        )
    gone, times = body["destroyed"], body["times"]
    return HOLDS, (
        f"holds: signed with the key {key.id}\nThe registry {body['registry']} ({body['region']}, {body['plan']['name']}) was"
        f" destroyed, which was verified at {times['verifiedAt']}.\n"
        f"  {gone['manifests']} manifests, {gone['tags']} tags, {gone['blobs']} blobs of {gone['blobBytes']} bytes,"
        f" {sum(gone['rows'].values())} rows, {gone['objects']} objects of {gone['objectBytes']} bytes,"
        f" {len(gone['signingKeys'])} keys\n"
    )


def _key(given: Mapping[str, Any]) -> PublicKey:
    loaded = load_pem_public_key(given["publicKey"].encode())
    if not isinstance(loaded, Ed25519PublicKey):
        raise TypeError
    # It is called by what it is, whatever the list says.
    return PublicKey.parse(loaded.public_bytes_raw())


def _parts(document: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        whole = _loads(document)
        body, signature = whole["certificate"], whole["signature"]
        texts = {name: signature[name] for name in ("algorithm", "keyId", "digest", "value")}
        canonical(body)
    except (TypeError, KeyError, ValueError, RecursionError):
        raise NoCertificate("this is no certificate of destruction") from None
    if not isinstance(body, dict) or body.get("type") != TYPE or texts["algorithm"] != signing.ALGORITHM:
        raise NoCertificate(f"this is no certificate of the kind {TYPE}, signed with {signing.ALGORITHM}")
    if set(whole) != {"certificate", "signature"} or set(signature) != set(texts):
        raise NoCertificate("it has more fields than a certificate has: what is not signed proves nothing")
    if not all(isinstance(one, str) for one in texts.values()):
        raise NoCertificate("its signature is not made of texts")
    return body, texts


def _loads(document: bytes) -> Any:
    if len(document) > LARGEST:
        raise ValueError
    return json.loads(document, object_pairs_hook=_once, parse_float=_refuse, parse_constant=_refuse)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a field that is there twice: readers differ in which of them they show."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refuse(_: str) -> NoReturn:
    raise ValueError


def _digest(body: Mapping[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(payload(body)).hexdigest()
