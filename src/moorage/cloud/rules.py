"""What a credential lets its application do: calls, by method and path, and from which addresses."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from moorage.errors import Problem

METHODS: Final = ("GET", "POST", "PUT", "DELETE")
MOST_RULES: Final = 100
MOST_ADDRESSES: Final = 100
LONGEST_PATH: Final = 512

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RuleInvalid(Problem):
    """An access rule, or an address that a credential is kept to, breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not a rule for a credential"


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """Calls that are granted: a method, and a path in which ``*`` is any text, slashes too."""

    method: str
    path: str

    @classmethod
    def checked(cls, method: str, path: str, field: str) -> Rule:
        """Make a rule, or raise RuleInvalid, which names the *field*."""
        if method not in METHODS:
            raise RuleInvalid(f"{field}.method: must be one of {', '.join(METHODS)}", field=f"{field}.method")
        if not path.startswith("/") or len(path) > LONGEST_PATH or not _is_plain(path):
            told = f"must begin with / and have at most {LONGEST_PATH} visible ASCII characters"
            raise RuleInvalid(f"{field}.path: {told}", field=f"{field}.path")
        return cls(method, path)

    def allows(self, method: str, path: str) -> bool:
        """Say whether the rule grants a call."""
        return method == self.method and _matches(self.path, path)


EVERYTHING: Final = tuple(Rule(method, "/*") for method in METHODS)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a credential is kept to: the calls it may make, and the networks it may come from (None: any)."""

    rules: tuple[Rule, ...]
    networks: tuple[Network, ...] | None = None

    @classmethod
    def checked(cls, rules: Iterable[tuple[str, str]], addresses: Iterable[str] | None) -> Limits:
        """Read what an application asks for, or raise RuleInvalid."""
        kept = [
            Rule.checked(method, path, f"accessRules[{place}]") for place, (method, path) in enumerate(rules)
        ]
        if not 0 < len(kept) <= MOST_RULES:
            raise RuleInvalid(f"accessRules: must have 1 to {MOST_RULES} elements", field="accessRules")
        if addresses is None:
            return cls(tuple(kept))
        networks = [_network(text, f"allowedIPs[{place}]") for place, text in enumerate(addresses)]
        if len(networks) > MOST_ADDRESSES:
            raise RuleInvalid(f"allowedIPs: must have at most {MOST_ADDRESSES} elements", field="allowedIPs")
        return cls(tuple(kept), tuple(networks) or None)

    @classmethod
    def kept(cls, rules: str, addresses: str | None) -> Limits:
        """Read what a row holds."""
        networks = None if addresses is None else tuple(map(ipaddress.ip_network, json.loads(addresses)))
        return cls(tuple(Rule(one["method"], one["path"]) for one in json.loads(rules)), networks)

    def as_rows(self) -> tuple[str, str | None]:
        """Write them as a row holds them."""
        rules = json.dumps([{"method": one.method, "path": one.path} for one in self.rules])
        return rules, None if self.networks is None else json.dumps([str(one) for one in self.networks])

    def allow(self, method: str, path: str) -> bool:
        """Say whether a call is among those granted."""
        return any(rule.allows(method, path) for rule in self.rules)

    def allow_address(self, text: str) -> bool:
        """Say whether a client may come from this address."""
        if self.networks is None:
            return True
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self.networks)


def _matches(pattern: str, path: str) -> bool:
    """Match a pattern in one pass: each piece between stars as early as it can stand, the last at the end."""
    first, *pieces = pattern.split("*")
    if not pieces:
        return path == first
    if not path.startswith(first):
        return False
    place = len(first)
    for piece in pieces[:-1]:
        found = path.find(piece, place)
        if found < 0:
            return False
        place = found + len(piece)
    return len(path) - place >= len(pieces[-1]) and path.endswith(pieces[-1])


def _network(text: str, field: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise RuleInvalid(
            f"{field}: must be an address or a network, such as 192.0.2.0/24", field=field
        ) from None


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
