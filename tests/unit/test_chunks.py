"""The chunked coding, held to what the parser makes of the same bytes."""

from __future__ import annotations

import contextlib
from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.api.http.chunks import Chunks
from moorage.api.http.problems import RequestMalformed

HEAD = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def decoded(pieces: list[bytes], most: int = 1000) -> tuple[bytes, bool, bytes]:
    """Decode piece by piece: the data, whether it ended, and what came after the end."""
    chunks, data, rest = Chunks(), b"", b""
    for piece in pieces:
        buffer, at, size = bytearray(piece), 0, 0
        while at < len(buffer) and not chunks.ended:
            at, size = chunks.decode(buffer, start=at, end=len(buffer), into=size, most=most)
        data += buffer[:size]
        rest += buffer[at:]
    return data, chunks.ended, rest


class Seen:
    """What httptools makes of a request."""

    def __init__(self, raw: bytes) -> None:
        self.data = b""
        self.ended = self.failed = False
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(raw)
        except httptools.HttpParserError:
            self.failed = True

    def on_body(self, body: bytes) -> None:
        if not self.ended:
            self.data += body

    def on_message_complete(self) -> None:
        self.ended = True


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(raw) + 1) for place in places} | {len(raw)})
    return [raw[a:b] for a, b in zip([0, *ends], ends, strict=False)]


@given(st.lists(st.binary(min_size=1, max_size=300)), st.lists(st.integers(0, 5000)), st.integers(1, 4))
def test_what_was_put_into_chunks_comes_out_however_it_is_cut(
    pieces: list[bytes], places: list[int], most: int
):
    raw = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nA: b\r\n\r\nNEXT"

    found = decoded(cut(raw, places), most)

    assert found == (b"".join(pieces), True, b"NEXT")


PARTS: st.SearchStrategy[bytes] = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b"0",
        b"1",
        b"5",
        b"a",
        b"F",
        b"hello",
        b"x",
        b";",
        b";e=1",
        b" ",
        b"\t",
        b"-",
        b"+",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nA: b\r\n",
        b"A:",
        b"\0",
        b"0x5",
        b"\xff",
        b"G",
        b'"',
        b"_",
    ]
)


@given(st.lists(PARTS, max_size=12), st.lists(st.integers(0, 200)))
def test_a_body_that_is_taken_is_the_one_that_the_parser_sees(parts: list[bytes], places: list[int]):
    raw = b"".join(parts)
    found: Any = None
    with contextlib.suppress(RequestMalformed):
        found = decoded(cut(raw, places))

    seen = Seen(HEAD + raw)

    if found is not None and found[1]:
        assert (found[0], True) == (seen.data, seen.ended)
    elif found is None:
        assert not seen.ended


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1_0\r\n",
        b"1" * 16 + b"\r\n",
        b"5\nhello",
        b"1\rx\r\n",
        b"2\r\nabc\r\n",
        b"1;\nx\r\na\r\n",
        b"0\r\nno field\r\n\r\n",
        b"0\r\n: b\r\n\r\n",
        b"1;" + b"x" * 5000,
        b"0\r\n" + b"A: b\r\n" * 5000,
    ],
)
def test_what_is_not_strictly_chunked_is_refused(raw: bytes):
    with pytest.raises(RequestMalformed):
        decoded([raw + b"y" * 5000])
