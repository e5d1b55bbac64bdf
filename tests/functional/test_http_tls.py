"""The protocol under TLS: slower, and otherwise the same."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from ipaddress import IPv4Address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from moorage.api.http.limits import Limits
from moorage.api.http.responses import PACE
from tests.functional.http_world import (
    BIG,
    GET,
    IMPATIENT,
    MIB,
    Start,
    push,
)


async def test_under_tls_the_same_is_done_without_the_extensions(
    start_site: Start, tls: tuple[ssl.SSLContext, ssl.SSLContext]
):
    ours, theirs = tls
    site = await start_site(Limits(), tls=ours)
    client = await site.connect(theirs)
    await client.send(push(len(BIG)) + BIG + b"GET /pull HTTP/1.1\r\nHost: h\r\n\r\n" + GET)

    pushed, pulled, then = [await client.answer() for _ in range(3)]

    assert (pushed[0], pulled[2] == BIG, then[2]) == (201, True, b"hello")
    assert bytes(site.app.kept) == BIG
    assert site.app.extensions == [{PACE}, {PACE}, {PACE}]


async def test_under_tls_a_stalled_download_is_cut(
    start_site: Start, tls: tuple[ssl.SSLContext, ssl.SSLContext]
):
    ours, theirs = tls
    site = await start_site(IMPATIENT, tls=ours)
    os.truncate(site.app.file, 256 * MIB)
    client = await site.connect(theirs)
    client.stop_reading()
    await client.send(b"GET /pull HTTP/1.1\r\nHost: h\r\n\r\n")

    ended = await site.app.until(1)

    assert ended == ["Disconnected"]
    await site.until_closed()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a certificate of our own: the server's side, and a client's that believes it."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "here")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    certificate = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(certificate + private)
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(folder / "both.pem")
    return ours, ssl.create_default_context(cadata=certificate.decode())
