"""A request's signature, as the provider's SDKs compute it."""

from __future__ import annotations

import hashlib
import re
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.api.cloud.signatures import (
    SKEW,
    SignatureInvalid,
    SignatureLate,
    SignatureMissing,
    Signed,
    sign,
    urls,
)
from moorage.api.forwarded import Proxies

AK, AS, CK, NOW = (
    "7kbG7Bk7S9Nt7ZSV",
    "EXEgWIz07P0HYwtQDs7cNIqCiQaWSuHF",
    "MtSwSrPpNjqfVSmJhLbPyr2i45lSwPU1",
    1_800_000_000,
)
BODY = b'{"name":"caf\\u00e9"}'


def scope(
    typed: str, method: str = "GET", *, peer: str = "192.0.2.1", time: int = NOW, body: bytes = b"", signed_as: str = "",
    secret: str = AS, **more: str,
) -> dict[str, Any]:  # fmt: skip
    """Make the request that a client sends who was told to call the URL *typed*, as SDKs sign and HTTP clients send it."""
    text = f"{secret}+{CK}+{method}+{signed_as or typed}+{body.decode()}+{time}"
    sent = urlsplit(quote(typed, safe="%/:=&?~#+!$,;'@()*[]"))
    given = {
        "host": sent.netloc.removesuffix(":443" if sent.scheme == "https" else ":80"),
        "x-ovh-application": AK,
        "x-ovh-consumer": CK,
        "x-ovh-timestamp": str(time),
        "x-ovh-signature": "$1$" + hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(),
    } | {name.replace("_", "-"): value for name, value in more.items()}
    return {
        "method": method,
        "scheme": sent.scheme,
        "client": (peer, 5),
        "raw_path": sent.path.encode(),
        "query_string": sent.query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }


def check(asked: dict[str, Any], body: bytes = b"", secret: str = AS) -> None:
    """Check a request as the server does."""
    Signed.read(asked).check(secret, asked, body)


def test_the_signature_is_the_one_that_the_provider_documents():
    made = sign(AS, CK, "GET", "https://eu.api.ovh.com/1.0/domains/", b"", 1366560945)

    # The provider's first steps with its API show this one for these very values.
    assert made == "$1$d3705e8afb27a0d2970a322b96550abfc67bb798"


@pytest.mark.parametrize(
    "typed",
    [
        "http://localhost:8080/1.0/cloud/project",
        "http://localhost:8080/v1/cloud/project",
        "https://cloud.example/1.0/me",
        "https://cloud.example:443/1.0/me",
        "http://cloud.example:80/1.0/me",
        "http://[::1]:8080/1.0/me",
        "http://localhost:8080/1.0/cloud/project?expand=true&page=2",
        "http://localhost:8080/1.0/cloud/project?q=a+b%20c&empty=",
        "http://localhost:8080/1.0/cloud/project/a%2Fb%3Fc",
        "http://localhost:8080/1.0/cloud/project/caf%C3%A9",
        "http://localhost:8080/1.0/cloud/project/café au lait",
        "http://localhost:8080/1.0/cloud/project/100%25",
        "http://localhost:8080/1.0/cloud/project/a%zzb",
        "http://localhost:8080/1.0/cloud/project/?q=%",
    ],
)
def test_whatever_a_caller_types_its_signature_is_right(typed: str):
    check(scope(typed))
    check(scope(typed, "POST", body=BODY), BODY)


@given(
    st.text(
        st.characters(exclude_characters="?#/\\", exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20
    )
)
def test_a_segment_that_is_escaped_by_its_caller_or_by_the_http_client_is_signed_right(segment: str):
    escaped = f"http://localhost:8080/1.0/x/{quote(segment, safe='')}"

    check(scope(escaped))
    if "%" not in segment and "[" not in segment and "]" not in segment:
        check(scope(f"http://localhost:8080/1.0/x/{segment}"))


def test_a_segment_with_a_slash_in_it_is_not_the_path_that_it_looks_like():
    """What divides a URL stays as it was sent: else a signature for one resource would be good for another."""
    sent = scope("http://localhost:8080/1.0/x/a%2Fb", signed_as="http://localhost:8080/1.0/x/a/b")

    with pytest.raises(SignatureInvalid):
        check(sent)


@pytest.mark.parametrize(
    "wrong",
    [
        {"signed_as": "http://localhost:8080/1.0/you"},
        {"signed_as": "https://localhost:8080/1.0/me"},
        {"signed_as": "http://127.0.0.1:8080/1.0/me"},
        {"signed_as": "http://localhost/1.0/me"},
        {"signed_as": "http://localhost:8080/1.0/me?x=1"},
        {"secret": "another"},
        {"x_ovh_consumer": "another"},
        {"x_ovh_timestamp": str(NOW + 1)},
        {"body": b"{}"},
    ],
)
def test_what_was_signed_otherwise_is_refused_with_the_url_that_was_looked_for(wrong: dict[str, Any]):
    with pytest.raises(SignatureInvalid, match=re.escape("GET http://localhost:8080/1.0/me")):
        check(scope("http://localhost:8080/1.0/me", **wrong))


def test_a_body_or_a_method_that_was_changed_on_the_way_is_refused():
    sent = scope("http://localhost:8080/1.0/me", "PUT", body=BODY)

    with pytest.raises(SignatureInvalid):
        check(sent, BODY + b" ")
    with pytest.raises(SignatureInvalid):
        check(sent | {"method": "POST"}, BODY)


def test_behind_a_trusted_proxy_the_url_is_the_one_that_the_client_called():
    typed = "https://cloud.example/1.0/me"
    inside = scope(typed, peer="10.0.0.1", x_forwarded_for="203.0.113.9", x_forwarded_proto="https")
    inside["scheme"] = "http"

    with pytest.raises(SignatureInvalid):
        check(inside)
    Proxies((ip_network("10.0.0.0/8"),)).apply(inside)
    check(inside)


@pytest.mark.parametrize(
    ("header", "value", "refusal"),
    [
        ("x_ovh_application", "", SignatureMissing),
        ("x_ovh_consumer", "", SignatureMissing),
        ("x_ovh_timestamp", "", SignatureMissing),
        ("x_ovh_signature", "", SignatureMissing),
        ("x_ovh_timestamp", "now", SignatureInvalid),
        ("x_ovh_timestamp", "-5", SignatureInvalid),
        ("x_ovh_timestamp", "1.5", SignatureInvalid),
        ("x_ovh_timestamp", "9" * 13, SignatureInvalid),
        ("x_ovh_timestamp", "١٢", SignatureInvalid),
        ("x_ovh_signature", "$1$", SignatureInvalid),
        ("x_ovh_signature", "$2$" + "0" * 40, SignatureInvalid),
        ("x_ovh_signature", "$1$" + "A" * 40, SignatureInvalid),
        ("x_ovh_signature", "$1$" + "0" * 41, SignatureInvalid),
    ],
)
def test_headers_that_are_missing_or_malformed_are_refused(header: str, value: str, refusal: type[Exception]):
    given: dict[str, Any] = {header: value}

    with pytest.raises(refusal, match=header.replace("_", "-").title()):
        Signed.read(scope("http://localhost:8080/1.0/me", **given))


@pytest.mark.parametrize("away", [-SKEW, 0, SKEW])
def test_clocks_may_differ_by_a_little(away: int):
    Signed.read(scope("http://x/1.0/me", time=NOW + away)).check_time(NOW * 1_000_000)


@pytest.mark.parametrize(("away", "told"), [(-SKEW - 1, "behind"), (SKEW + 1, "ahead of")])
def test_a_time_that_is_too_far_away_is_refused_with_the_difference(away: int, told: str):
    with pytest.raises(SignatureLate, match=f"{SKEW + 1} seconds {told}"):
        Signed.read(scope("http://x/1.0/me", time=NOW + away)).check_time(NOW * 1_000_000)


def test_secrets_are_not_shown():
    signed = Signed.read(scope("http://x/1.0/me"))

    assert CK not in repr(signed)
    assert signed.signature not in repr(signed)
    assert len(signed.hash) == 32


def test_the_url_on_the_wire_comes_first():
    asked = scope("http://localhost:8080/1.0/caf%C3%A9?x=1")

    assert list(urls(asked)) == [
        "http://localhost:8080/1.0/caf%C3%A9?x=1",
        "http://localhost:8080/1.0/café?x=1",
    ]
