"""A certificate holds or it does not, and whoever checks it is told why."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moorage.app import Moorage
from moorage.cloud import certificates, signing
from moorage.cloud.signing import PublicKey, Signature

KEY, OTHER = (
    Ed25519PrivateKey.from_private_bytes(bytes(32)),
    Ed25519PrivateKey.from_private_bytes(bytes(31) + b"1"),
)
BODY = {
    "type": certificates.TYPE,
    "registry": "cd6cbd0a-3b9c-4cb8-9d1f-1a1ad1e1f1a1",
    "region": "LOCAL",
    "plan": {"id": "p", "name": "SMALL ü"},
    "times": {"verifiedAt": "2026-01-01T00:00:00.000000Z"},
    "destroyed": {
        "manifests": 1, "tags": 2, "blobs": 3, "blobBytes": 4, "objects": 5, "objectBytes": 6,
        "rows": {"blob": 3, "event": 4}, "signingKeys": ["k"],
    },
}  # fmt: skip


def public(key: Ed25519PrivateKey) -> PublicKey:
    """Give the public half."""
    return PublicKey.parse(key.public_key().public_bytes_raw())


def document(key: Ed25519PrivateKey = KEY) -> str:
    """Sign a certificate."""
    value = key.sign(certificates.payload(BODY))
    return certificates.written(BODY, Signature(public(key).id, value))


def judged(text: str | bytes, *keys: Ed25519PrivateKey) -> tuple[int, str]:
    """Check what somebody was given."""
    whole = text if isinstance(text, bytes) else text.encode()
    return certificates.judged(whole, map(public, keys or (KEY,)))


def changed(*path: str, to: Any) -> str:
    """Alter one field of the document."""
    whole = json.loads(document())
    place = whole
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    return json.dumps(whole)


def test_a_certificate_holds_in_whatever_layout_it_is_kept():
    whole = json.loads(document())
    other_way_round = {name: whole[name] for name in reversed(whole)}

    for text in (document(), json.dumps(whole), json.dumps(other_way_round, indent=7, sort_keys=True)):
        status, told = judged(text, OTHER, KEY)
        assert status == certificates.HOLDS
        assert "7 rows" in told
        assert "cd6cbd0a" in told


@pytest.mark.parametrize(
    "altered",
    [
        changed("certificate", "registry", to="another"),
        changed("certificate", "destroyed", "rows", "blob", to=2),
        changed("certificate", "added", to=None),
        changed("certificate", "plan", "name", to="SMALL u"),
    ],
)
def test_a_field_that_was_altered_is_told(altered: str):
    status, told = judged(altered)

    assert (status, told.split(":")[0]) == (certificates.WRONG, "WRONG")
    assert "altered" in told


def test_an_altered_field_with_a_fitting_digest_has_the_wrong_signature():
    whole = json.loads(changed("certificate", "registry", to="another"))
    whole["signature"]["digest"] = certificates._digest(whole["certificate"])

    status, told = judged(json.dumps(whole))

    assert status == certificates.WRONG
    assert "the signature is not by the key" in told


@pytest.mark.parametrize("value", ["", "====", base64.b64encode(bytes(64)).decode(), "é"])
def test_a_signature_that_is_none_is_wrong(value: str):
    assert judged(changed("signature", "value", to=value))[0] == certificates.WRONG


def test_a_key_that_is_not_among_those_given_is_told_with_where_to_find_it():
    none, others = certificates.judged(document().encode(), []), judged(document(), OTHER)

    assert none == others
    assert none[0] == certificates.UNKNOWN
    assert "--keys" in none[1]


def test_anothers_key_under_the_name_of_ours_does_not_make_it_hold():
    (shown,) = json.loads(certificates.written_keys([public(OTHER)]))
    renamed = json.dumps([{**shown, "keyId": public(KEY).id}]).encode()

    assert (
        certificates.judged(document().encode(), certificates.read_keys(renamed))[0] == certificates.UNKNOWN
    )


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{}", b"[]", b"null", b"\xff", b'{"certificate": {}, "signature": {}}', b"[" * 100_000,
        document()[:-10].encode(), changed("certificate", "type", to="moorage/other/1").encode(),
        changed("signature", "algorithm", to="none").encode(), changed("signature", "digest", to=1).encode(),
        changed("signature", "more", to="").encode(), changed("certificate", "n", to=1.5).encode(),
        document().replace('"region"', '"registry"').encode(), changed("certificate", "n", to="\ud800").encode(),
        b" " * (certificates.LARGEST + 1),
    ],
)  # fmt: skip
def test_what_is_no_certificate_is_told(text: bytes):
    status, told = judged(text)

    assert status == certificates.UNREADABLE
    assert told.startswith("no certificate: ")


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[1]", b"[{}]", b'[{"publicKey": "x"}]', b'[{"publicKey": 1}]', b"\xff"]
)
def test_what_is_no_list_of_keys_is_told(text: bytes):
    with pytest.raises(certificates.NoCertificate, match="no list of keys"):
        certificates.read_keys(text)


def test_nothing_else_that_is_signed_is_taken_for_a_certificate():
    body = json.dumps(BODY, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    signed = Signature(public(KEY).id, KEY.sign(body))

    assert judged(certificates.written(BODY, signed))[0] == certificates.WRONG


def test_the_command_needs_no_house(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    file, keys = tmp_path / "certificate.json", tmp_path / "keys.json"
    file.write_text(document())
    keys.write_text(certificates.written_keys([public(OTHER), public(KEY)]))

    statuses = [
        Moorage().verify(file, keys),
        Moorage().verify(file, None),
        Moorage().verify(keys, keys),
        Moorage().verify(file, file),
        Moorage().verify(tmp_path / "none", keys),
    ]

    assert statuses == [0, 3, 4, 4, 4]
    assert capsys.readouterr().out.startswith(f"holds: signed with the key {public(KEY).id}")
    assert sorted(tmp_path.iterdir()) == [file, keys]
    assert signing.ALGORITHM in file.read_text()
