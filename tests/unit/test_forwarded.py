"""Whose word about the client is believed."""

from ipaddress import ip_network
from typing import Any

import pytest

from moorage.api.forwarded import Proxies

PROXIES = Proxies((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))


def seen(peer: str, *headers: tuple[str, str], proxies: Proxies = PROXIES) -> tuple[str, str, str]:
    """Give the client, scheme and host that a request from *peer* is taken to have."""
    scope: dict[str, Any] = {
        "client": (peer, 1234),
        "scheme": "http",
        "headers": [(b"host", b"inside"), *((name.encode(), value.encode()) for name, value in headers)],
    }
    proxies.apply(scope)
    return scope["client"][0], scope["scheme"], dict(scope["headers"])[b"host"].decode()


FORWARDED = ("forwarded", 'for=203.0.113.9;proto=https;host="reg.example:443"')
LEGACY = (
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "reg.example:443"),
)


@pytest.mark.parametrize("headers", [(FORWARDED,), LEGACY])
def test_a_trusted_proxy_is_believed(headers: tuple[tuple[str, str], ...]):
    assert seen("10.1.2.3", *headers) == ("203.0.113.9", "https", "reg.example:443")


@pytest.mark.parametrize("headers", [(FORWARDED,), LEGACY])
def test_a_stranger_is_not_believed(headers: tuple[tuple[str, str], ...]):
    assert seen("198.51.100.1", *headers) == ("198.51.100.1", "http", "inside")


def test_nobody_is_believed_when_nobody_is_trusted():
    assert seen("10.1.2.3", *LEGACY, proxies=Proxies(())) == ("10.1.2.3", "http", "inside")


def test_what_a_client_puts_before_the_proxy_s_own_word_is_hearsay():
    client, _, _ = seen("10.1.2.3", ("x-forwarded-for", "127.0.0.1, 203.0.113.9, 10.9.9.9"))

    assert client == "203.0.113.9"


def test_the_outer_proxy_s_scheme_counts_when_there_are_two():
    elements = "for=203.0.113.9;proto=https;host=reg.example, for=10.9.9.9;proto=http;host=inner"

    assert seen("10.1.2.3", ("forwarded", elements)) == ("203.0.113.9", "https", "reg.example")


def test_an_ipv4_proxy_is_known_on_an_ipv6_socket():
    assert seen("::ffff:10.1.2.3", *LEGACY)[0] == "203.0.113.9"


@pytest.mark.parametrize("text", ["[2001:db8::1]:4711", "2001:db8::1"])
def test_ipv6_clients_are_read_with_and_without_brackets(text: str):
    assert seen("fd00::1", ("x-forwarded-for", text))[0] == "2001:db8::1"


@pytest.mark.parametrize("value", ["unknown", "_hidden", "for=;;;", '"', "for=\x00", ",,,", ""])
def test_what_cannot_be_read_changes_nothing(value: str):
    assert seen("10.1.2.3", ("forwarded", value), ("x-forwarded-host", "a b\r\nc")) == (
        "10.1.2.3",
        "http",
        "inside",
    )
