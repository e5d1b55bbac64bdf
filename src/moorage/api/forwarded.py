"""Who really asks, when a proxy that the operator trusts stands in front.

`Forwarded` (RFC 7239) and the `X-Forwarded-*` headers are believed only from trusted peers; from
anyone else they are a client's words about itself and change nothing. A proxy passes on those that it
does not set, so from a trusted one, too, only the family that the operator says it sets is read.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from starlette.types import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

HEADERS = (b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
"""Where proxies say it: every header that `Proxies.apply` may look at, whatever the family."""

_PAIR = re.compile(r'([A-Za-z]+)=(?:"([^"\\]*)"|([^;,"\s]*))')
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Family(StrEnum):
    """The headers that the operator's proxies set themselves, whatever a client put there."""

    X_FORWARDED = "x-forwarded"
    """X-Forwarded-For and X-Forwarded-Proto, as nginx, HAProxy, Traefik and load balancers have it; Host is passed on."""
    X_FORWARDED_HOST = "x-forwarded-host"
    """X-Forwarded-Host as well, by a proxy that changes Host."""
    FORWARDED = "forwarded"
    """Forwarded, to which each proxy adds an element."""


@dataclass(frozen=True, slots=True)
class Hop:
    """What one proxy said of the peer it was asked by; empty where it said nothing."""

    client: str = ""
    scheme: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Proxies:
    """The networks whose word about others is believed, and the headers that they say it in."""

    trusted: tuple[Network, ...]
    family: Family = Family.X_FORWARDED

    def apply(self, scope: Scope) -> None:
        """Put the real client, scheme and host into *scope*, if its peer may say them; twice is as good as once."""
        peer = scope.get("client")
        if not self.trusted or peer is None or not self.trusts(peer[0]):
            return
        hop = self._furthest_known(_hops(scope["headers"], self.family))
        if client := _address(hop.client):
            scope["client"] = (str(client), 0)
        if hop.scheme in {"http", "https"}:
            scope["scheme"] = hop.scheme
        if _HOST.fullmatch(hop.host):
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [(b"host", hop.host.encode()), *others]

    def trusts(self, text: str) -> bool:
        """Say whether *text* is the address of a trusted proxy."""
        address = _address(text)
        return address is not None and any(address in network for network in self.trusted)

    def _furthest_known(self, hops: list[Hop]) -> Hop:
        """Give the hop that the first untrusted peer was seen on: what lies before is hearsay."""
        scheme = host = ""
        for hop in reversed(hops):
            scheme, host = hop.scheme or scheme, hop.host or host
            if not self.trusts(hop.client):
                return Hop(hop.client, scheme, host)
        return Hop(hops[0].client, scheme, host) if hops else Hop()


def _hops(headers: list[tuple[bytes, bytes]], family: Family) -> list[Hop]:
    if family is Family.FORWARDED:
        return [_element(part) for part in _values(headers, b"forwarded")]
    clients = _values(headers, b"x-forwarded-for")
    schemes = _values(headers, b"x-forwarded-proto")
    hosts = _values(headers, b"x-forwarded-host") if family is Family.X_FORWARDED_HOST else []
    # Proxies add to the first list, and often only repeat or replace the others: the last of
    # each belongs to the last hop.
    length = max(len(clients), 1 if schemes or hosts else 0)
    padded = (_at_the_end(values, length) for values in (clients, schemes, hosts))
    return [Hop(client, scheme.lower(), host) for client, scheme, host in zip(*padded, strict=True)]


def _at_the_end(values: list[str], length: int) -> list[str]:
    return [""] * (length - len(values)) + values[max(0, len(values) - length) :]


def _values(headers: list[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    found = (value.decode("latin-1").split(",") for name, value in headers if name == wanted)
    return [part.strip() for parts in found for part in parts]


def _element(text: str) -> Hop:
    said = dict(_pairs(text))
    return Hop(said.get("for", ""), said.get("proto", "").lower(), said.get("host", ""))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for name, quoted, plain in _PAIR.findall(text):
        yield name.lower(), quoted or plain


def _address(text: str) -> Address | None:
    """Read an address with or without brackets and port; `unknown` and obfuscated names are none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A socket that listens on `::` shows IPv4 clients like this.
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
