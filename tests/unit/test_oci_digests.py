"""Digests are read strictly and packed without loss."""

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moorage.oci.digests import ALGORITHMS, Digest
from moorage.oci.errors import DigestInvalid

A = "sha256:" + "a" * 64


@given(data=st.binary(max_size=100), algorithm=st.sampled_from(sorted(ALGORITHMS)))
def test_a_digest_survives_text_and_storage(data: bytes, algorithm: str):
    digest = Digest.of(data, algorithm)

    assert Digest.parse(str(digest)) == digest == Digest.from_raw(digest.raw)
    assert digest.hex == hashlib.new(algorithm, data).hexdigest()


def test_stored_digests_keep_their_numbers():
    assert Digest.of(b"").raw[0] == 1
    assert Digest.of(b"", "sha512").raw[0] == 2


@given(st.text())
@example("sha256:")
@example(A + "\n")
@example("sha512:" + "a" * 64)
@example("sha256:" + "\u0661" * 64)
def test_text_is_a_digest_or_is_refused(text: str):
    try:
        digest = Digest.parse(text)
    except DigestInvalid:
        return

    assert str(digest) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        A[:-1],
        A + "a",
        A.upper(),
        A.replace("a", "A"),
        f" {A}",
        f"{A}\n",
        "sha512:" + "a" * 64,
    ],
)
def test_what_is_nearly_a_digest_is_refused_with_the_rule(text: str):
    with pytest.raises(DigestInvalid, match="must be"):
        Digest.parse(text)


@pytest.mark.parametrize("text", ["md5:" + "a" * 32, "sha384:" + "a" * 96, "blake3:" + "a" * 64])
def test_another_algorithm_is_refused_by_name(text: str):
    with pytest.raises(DigestInvalid, match="is not supported: use sha256 or sha512"):
        Digest.parse(text)


def test_hashing_by_another_algorithm_is_refused():
    with pytest.raises(DigestInvalid, match='"md5" is not supported'):
        Digest.of(b"", "md5")


def test_a_refusal_is_short_however_long_the_text():
    with pytest.raises(DigestInvalid) as refused:
        Digest.parse("sha256:" + "z" * 100_000)

    assert len(str(refused.value)) < 300


@given(st.binary(max_size=70))
@example(b"")
@example(b"\x01" + b"a" * 31)
@example(b"\x03" + b"a" * 32)
def test_stored_bytes_are_a_digest_or_an_error(raw: bytes):
    try:
        digest = Digest.from_raw(raw)
    except ValueError:
        return

    assert digest.raw == raw
