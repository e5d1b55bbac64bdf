"""Whose word about the client is believed."""

from ipaddress import ip_network
from typing import Any

import pytest

from moorage.api.forwarded import HEADERS, Family, Proxies

NETWORKS = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
PROXIES = Proxies(NETWORKS)
STANDARD = Proxies(NETWORKS, Family.FORWARDED)
WITH_HOST = Proxies(NETWORKS, Family.X_FORWARDED_HOST)


def seen(
    peer: str, *headers: tuple[str, str], proxies: Proxies = PROXIES, times: int = 1
) -> tuple[str, str, str]:
    """Give the client, scheme and host that a request from *peer* is taken to have."""
    scope: dict[str, Any] = {
        "client": (peer, 1234),
        "scheme": "http",
        "headers": [(b"host", b"inside"), *((name.encode(), value.encode()) for name, value in headers)],
    }
    for _ in range(times):
        proxies.apply(scope)
    return scope["client"][0], scope["scheme"], dict(scope["headers"])[b"host"].decode()


FORWARDED = ("forwarded", 'for=203.0.113.9;proto=https;host="reg.example:443"')
LEGACY = (
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "reg.example:443"),
)


EACH = [
    (WITH_HOST, LEGACY, ("203.0.113.9", "https", "reg.example:443")),
    (STANDARD, (FORWARDED,), ("203.0.113.9", "https", "reg.example:443")),
    (PROXIES, LEGACY, ("203.0.113.9", "https", "inside")),
]


@pytest.mark.parametrize(("proxies", "headers", "told"), EACH)
@pytest.mark.parametrize("times", [1, 2])
def test_a_trusted_proxy_is_believed(
    proxies: Proxies, headers: tuple[tuple[str, str], ...], told: tuple[str, str, str], times: int
):
    assert seen("10.1.2.3", *headers, proxies=proxies, times=times) == told


@pytest.mark.parametrize(("proxies", "headers", "told"), EACH)
def test_a_stranger_is_not_believed(
    proxies: Proxies, headers: tuple[tuple[str, str], ...], told: tuple[str, str, str]
):
    del told

    assert seen("198.51.100.1", *headers, proxies=proxies) == ("198.51.100.1", "http", "inside")


SPOOFED = ("forwarded", 'for=6.6.6.6;proto=https;host="evil.example"')
SPOOFED_LEGACY = (
    ("x-forwarded-for", "6.6.6.6"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "evil.example"),
)


def test_what_a_proxy_does_not_set_itself_is_its_client_s_word():
    """nginx, HAProxy, Traefik and load balancers pass on a client's Forwarded and X-Forwarded-Host."""
    said = (("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "http"))

    for spoofed in (SPOOFED, ("x-forwarded-host", "evil.example")):
        assert seen("10.1.2.3", spoofed, *said) == ("203.0.113.9", "http", "inside")
        assert seen("10.1.2.3", *said, spoofed) == ("203.0.113.9", "http", "inside")
    assert seen("10.1.2.3", SPOOFED) == ("10.1.2.3", "http", "inside")


def test_a_proxy_that_adds_to_forwarded_passes_on_its_client_s_other_headers():
    added = ("forwarded", f"{SPOOFED[1]}, for=203.0.113.9;proto=http")

    assert seen("10.1.2.3", *SPOOFED_LEGACY, added, proxies=STANDARD) == ("203.0.113.9", "http", "inside")
    assert seen("10.1.2.3", *SPOOFED_LEGACY, proxies=STANDARD) == ("10.1.2.3", "http", "inside")


@pytest.mark.parametrize("values", [("6.6.6.6", "203.0.113.9"), ("6.6.6.6, 203.0.113.9",)])
def test_of_one_header_s_words_the_proxy_s_own_are_the_last(values: tuple[str, ...]):
    clients = [("x-forwarded-for", value) for value in values]
    schemes = [("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")]

    assert seen("10.1.2.3", *clients, *schemes) == ("203.0.113.9", "http", "inside")


@pytest.mark.parametrize("family", list(Family))
def test_every_header_that_changes_anything_is_named(family: Family):
    """An answer that is remembered hangs on the headers named: one left out would give it to somebody else."""
    proxies = Proxies(NETWORKS, family)

    names = {
        name
        for name, value in [
            FORWARDED,
            *LEGACY,
            ("x-real-ip", "6.6.6.6"),
            ("x-forwarded-port", "1"),
            ("via", "a"),
        ]
        if seen("10.1.2.3", (name, value), proxies=proxies) != ("10.1.2.3", "http", "inside")
    }

    assert names
    assert {name.encode() for name in names} <= set(HEADERS)


def test_nobody_is_believed_when_nobody_is_trusted():
    assert seen("10.1.2.3", *LEGACY, proxies=Proxies(())) == ("10.1.2.3", "http", "inside")


def test_what_a_client_puts_before_the_proxy_s_own_word_is_hearsay():
    client, _, _ = seen("10.1.2.3", ("x-forwarded-for", "127.0.0.1, 203.0.113.9, 10.9.9.9"))

    assert client == "203.0.113.9"


def test_the_outer_proxy_s_scheme_counts_when_there_are_two():
    elements = "for=203.0.113.9;proto=https;host=reg.example, for=10.9.9.9;proto=http;host=inner"

    told = seen("10.1.2.3", ("forwarded", elements), proxies=STANDARD)

    assert told == ("203.0.113.9", "https", "reg.example")


def test_an_ipv4_proxy_is_known_on_an_ipv6_socket():
    assert seen("::ffff:10.1.2.3", *LEGACY)[0] == "203.0.113.9"


@pytest.mark.parametrize("text", ["[2001:db8::1]:4711", "2001:db8::1"])
def test_ipv6_clients_are_read_with_and_without_brackets(text: str):
    assert seen("fd00::1", ("x-forwarded-for", text))[0] == "2001:db8::1"


@pytest.mark.parametrize("value", ["unknown", "_hidden", "for=;;;", '"', "for=\x00", ",,,", ""])
def test_what_cannot_be_read_changes_nothing(value: str):
    unchanged = ("10.1.2.3", "http", "inside")

    assert seen("10.1.2.3", ("forwarded", value), proxies=STANDARD) == unchanged
    assert seen("10.1.2.3", ("x-forwarded-for", value), ("x-forwarded-proto", value)) == unchanged
    assert seen("10.1.2.3", ("x-forwarded-host", "a b\r\nc"), proxies=WITH_HOST) == unchanged
