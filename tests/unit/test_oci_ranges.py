"""Ranges are answered as RFC 9110 has them, and as the conformance suite wants them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.oci.errors import RangeInvalid
from moorage.oci.ranges import byte_range, content_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=500-1499", (500, 1500)),
        ("bytes=500-", (500, 3000)),
        ("bytes=-500", (2500, 3000)),
        ("bytes=2000-5000", (2000, 3000)),
        ("bytes=0-0", (0, 1)),
        ("bytes=-5000", (0, 3000)),
        (" BYTES= 0-9 ", (0, 10)),
        (f"bytes=0-{10**90}", (0, 3000)),
    ],
)
def test_a_range_gives_start_and_stop(header: str, expected: tuple[int, int]):
    assert byte_range(header, 3000) == expected


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,5-6", "pages=1-2",
     "bytes=1--2",
     "bytes=\u0661-\u0662", f"bytes={'9' * 5000}-"],
)  # fmt: skip
def test_what_is_no_single_range_of_bytes_is_answered_whole(header: str | None):
    assert byte_range(header, 3000) is None


@pytest.mark.parametrize("header", ["bytes=500-0", "bytes=3000-", "bytes=5000-10000", "bytes=-0"])
def test_a_range_that_is_not_there_is_refused_with_the_size(header: str):
    with pytest.raises(RangeInvalid, match="which has 3000 bytes") as refused:
        byte_range(header, 3000)

    assert refused.value.headers() == [("content-range", "bytes */3000")]


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-1", "bytes=0-0"])
def test_nothing_of_an_empty_blob_can_be_asked_for(header: str):
    with pytest.raises(RangeInvalid):
        byte_range(header, 0)


@given(st.text() | st.from_regex(r"bytes=[0-9]{0,5}-[0-9]{0,5}", fullmatch=True), st.integers(0, 10**5))
def test_any_header_gives_bytes_of_the_blob_or_the_whole_or_a_refusal(header: str, size: int):
    try:
        found = byte_range(header, size)
    except RangeInvalid:
        return

    assert found is None or 0 <= found[0] < found[1] <= size


@pytest.mark.parametrize("header", ["0-1023", "bytes 0-1023/*", "bytes 0-1023/2048", "bytes=0-1023"])
def test_a_chunk_says_its_first_and_last_byte(header: str):
    assert content_range(header) == (0, 1023)


def test_a_chunk_may_say_nothing():
    assert content_range(None) is None


@pytest.mark.parametrize("header", ["", "1-0", "0-", "-5", "0--1", "a-b", "0-1,2-3", f"0-{10**18}"])
def test_what_is_no_chunk_is_refused(header: str):
    with pytest.raises(RangeInvalid, match="is not a range"):
        content_range(header)


@given(st.text())
def test_any_text_is_a_chunk_or_is_refused(header: str):
    try:
        found = content_range(header)
    except RangeInvalid:
        return

    assert found is not None
    assert 0 <= found[0] <= found[1]
