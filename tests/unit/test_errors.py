"""Problems are written in every dialect, with nothing in them that could do harm."""

import json
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moorage.api import dialects
from moorage.api.dialects import Answer
from moorage.errors import NewerSchema, Problem, StorageFull, Unavailable
from moorage.oci.digests import Digest
from moorage.oci.errors import (
    BlobUnknown,
    Denied,
    ManifestInvalid,
    NameInvalid,
    RangeInvalid,
    SizeInvalid,
    TooManyRequests,
    Unauthorized,
)

Writer = Callable[..., Answer]
WRITERS: list[Writer] = [dialects.oci, dialects.harbor, dialects.cloud, dialects.page]


def headers(answer: Answer) -> dict[str, str]:
    """Read an answer's headers."""
    return {name.decode(): value.decode() for name, value in answer.headers}


# Problems


def test_a_problem_says_its_message_or_its_summary():
    assert str(BlobUnknown("not here")) == "not here"
    assert str(BlobUnknown()) == BlobUnknown.summary


def test_a_problem_keeps_the_facts():
    problem = Denied("no", retry_after=2, rule="immutable", tag="v1")

    assert problem.detail == {"rule": "immutable", "tag": "v1"}
    assert problem.headers() == [("retry-after", "2")]


def test_time_to_wait_is_never_negative():
    assert TooManyRequests(retry_after=-3).headers() == [("retry-after", "0")]


@pytest.mark.parametrize(
    ("problem", "status"), [(Unavailable(), 503), (StorageFull(), 507), (NewerSchema(), 503)]
)
def test_what_is_ours_to_mend_is_unavailable(problem: Problem, status: int):
    assert (problem.code, problem.status) == ("UNAVAILABLE", status)


# Dialects


def test_the_oci_dialect_has_code_message_and_detail():
    problem = NameInvalid("bad name", name="A", digest=Digest.of(b""), tried=("a", 1, None, {"b": 2}))

    answer = dialects.oci(problem, "r-1")

    assert answer.status == 400
    assert json.loads(answer.body) == {
        "errors": [
            {
                "code": "NAME_INVALID",
                "message": "bad name (request r-1)",
                "detail": {
                    "name": "A",
                    "digest": str(Digest.of(b"")),
                    "tried": ["a", 1, None, {"b": 2}],
                },
            }
        ]
    }
    assert headers(answer) == {
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-request-id": "r-1",
        "docker-distribution-api-version": "registry/2.0",
    }


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (NameInvalid("x"), "BAD_REQUEST"),
        (BlobUnknown("x"), "NOT_FOUND"),
        (Denied("x"), "FORBIDDEN"),
        (Unauthorized("x"), "UNAUTHORIZED"),
        (ManifestInvalid("x"), "MANIFEST_INVALID"),
        (TooManyRequests("x"), "TOO_MANY_REQUEST"),
        (SizeInvalid("x"), "BAD_REQUEST"),
    ],
)
def test_the_harbor_dialect_is_compact_with_its_own_codes(problem: Problem, code: str):
    answer = dialects.harbor(problem, "r")

    expected = f'{{"errors":[{{"code":"{code}","message":"x (request r)"}}]}}\n'
    assert answer.body.decode() == expected


def test_the_harbor_dialect_calls_what_is_ours_unknown():
    assert json.loads(dialects.harbor(Unavailable(), "r").body)["errors"][0]["code"] == "UNKNOWN"


@pytest.mark.parametrize(
    ("problem", "class_"),
    [
        (NameInvalid("x"), "Client::BadRequest"),
        (Unauthorized("x"), "Client::Unauthorized"),
        (Denied("x"), "Client::Forbidden"),
        (BlobUnknown("x"), "Client::NotFound"),
        (TooManyRequests("x"), "Client::TooManyRequests"),
    ],
)
def test_the_cloud_dialect_has_class_message_and_query_id(problem: Problem, class_: str):
    answer = dialects.cloud(problem, "r-1")

    assert json.loads(answer.body) == {"class": class_, "message": "x"}
    assert headers(answer)["x-ovh-queryid"] == "r-1"


def test_the_cloud_dialect_tells_our_faults_from_theirs():
    assert json.loads(dialects.cloud(Unavailable(), "r").body)["class"] == "Server::ServiceUnavailable"


def test_a_page_is_plain_text():
    answer = dialects.page(BlobUnknown("<b>not here</b>"), "r-1")

    assert answer.body == b"404 Not Found\n\n<b>not here</b>\n\nRequest r-1\n"
    assert headers(answer)["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("write", WRITERS)
def test_what_is_not_a_problem_shows_nothing_but_the_request(write: Writer):
    answer = write(RuntimeError("password=hunter2"), "r-1")

    assert answer.status == 500
    assert b"hunter2" not in answer.body
    assert headers(answer)["x-request-id"] == "r-1"


@pytest.mark.parametrize("write", WRITERS)
def test_what_is_ours_to_mend_shows_its_summary_only(write: Writer):
    answer = write(Unavailable("postgres://admin:hunter2@db", retry_after=5, dsn="hunter2"), "r")

    assert b"hunter2" not in answer.body
    assert Unavailable.summary.encode() in answer.body
    assert (answer.status, headers(answer)["retry-after"]) == (503, "5")


@pytest.mark.parametrize("write", WRITERS)
def test_a_problem_brings_its_headers_and_the_caller_adds_more(write: Writer):
    more = [
        ("www-authenticate", 'Bearer realm="https://r/token"'),
        ("warning", "1"),
        ("warning", "2"),
    ]

    answer = write(RangeInvalid("x", size=7), "r", headers=more)

    assert headers(answer)["content-range"] == "bytes */7"
    assert [value for name, value in answer.headers if name == b"warning"] == [b"1", b"2"]
    assert headers(answer)["www-authenticate"] == 'Bearer realm="https://r/token"'


@pytest.mark.parametrize("write", WRITERS)
@given(text=st.text(), request_id=st.text())
@example(text="\x1b[2J\r\nSet-Cookie: a=b\u202e\ud800", request_id="a\r\nSet-Cookie: a=b")
def test_no_text_breaks_out_of_an_answer(write: Writer, text: str, request_id: str):
    answer = write(Denied(text, value=text, x=[text, {text: text}]), request_id, headers=[("x-a", text)])

    for name, value in answer.headers:
        assert not set(name + value) & {0, 10, 13}
    shown = answer.body.decode()
    assert not {"\x1b", "\r", "\x00", "\u202e"} & set(shown)
    assert int(headers(answer)["content-length"]) == len(answer.body)
    if write is not dialects.page:
        json.loads(shown)


@pytest.mark.parametrize("write", WRITERS)
def test_an_answer_is_short_however_long_the_text(write: Writer):
    answer = write(Denied("x" * 10**6, value="y" * 10**6, values=["z"] * 10**6), "r" * 10**6)

    assert len(answer.body) < 8192


def test_a_detail_that_holds_itself_ends():
    loop: dict[str, Any] = {}
    loop["again"] = loop

    assert dialects.oci(Denied("x", loop=loop), "r").status == 403


@pytest.mark.parametrize("name", ["", "a b", "a\r\nb", "A", "é"])
def test_a_header_s_name_is_never_made_up_of_text(name: str):
    with pytest.raises(ValueError, match="not a lower-case header name"):
        dialects.header(name, "x")


# Warnings


def test_a_warning_is_quoted():
    assert dialects.warnings(['say "a\\b"\r\né']) == [(b"warning", rb'299 - "say \"a\\b\"???"')]


@given(st.lists(st.text(max_size=3000), max_size=5))
@example(['"' * 5000])
@example(["x" * 4088, "y"])
@example(["x" * 4080, "y", "z"])
def test_warnings_take_no_more_than_4096_bytes_and_close_their_quotes(texts: list[str]):
    made = [value for _, value in dialects.warnings(texts)]

    assert sum(map(len, made)) <= 4096
    for value in made:
        assert value.startswith(b'299 - "')
        assert value.endswith(b'"')
        inner = value[7:-1].replace(rb"\\", b"").replace(rb"\"", b"")
        assert b'"' not in inner
        assert not inner.endswith(b"\\")


# Sending


async def sent(answer: Answer, method: str) -> list[MutableMapping[str, Any]]:
    """Send an answer and gather what goes out."""
    messages: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        messages.append(message)

    await answer({"type": "http", "method": method}, receive, send)
    return messages


async def test_an_answer_is_an_asgi_application():
    answer = dialects.oci(BlobUnknown(), "r")

    start, body = await sent(answer, "GET")

    assert (start["status"], start["headers"]) == (404, answer.headers)
    assert body["body"] == answer.body


async def test_head_has_the_length_and_no_body():
    answer = dialects.oci(BlobUnknown(), "r")

    start, body = await sent(answer, "HEAD")

    assert (b"content-length", str(len(answer.body)).encode()) in start["headers"]
    assert body["body"] == b""
