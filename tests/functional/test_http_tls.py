"""The protocol under TLS: slower, and otherwise the same."""

from __future__ import annotations

import os
import ssl

import pytest

from moorage.api.http.limits import Limits
from moorage.api.http.responses import PACE, TALLY
from tests.functional.http_world import (
    BIG,
    GET,
    IMPATIENT,
    MIB,
    Start,
    push,
)
from tests.servers.certificates import certified


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
    assert site.app.extensions == [{PACE, TALLY}] * 3


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
    both, alone = certified(tmp_path_factory.mktemp("tls"))
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(both)
    return ours, ssl.create_default_context(cafile=alone)
