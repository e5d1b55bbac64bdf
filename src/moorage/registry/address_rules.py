"""From which addresses a registry may be used: one list for clients that push and pull, one for its pages and its API.

A list that is empty lets everybody in. They stand in the cell's directory, so that they hold though the platform is away.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self, TypeVar

from moorage.db import schema
from moorage.oci.errors import Denied

if TYPE_CHECKING:
    from moorage.db import Reader

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
N = TypeVar("N", ipaddress.IPv4Network, ipaddress.IPv6Network)

KEPT_FROM: Final = "0003"
"""The first revision of a cell's schema that has a place for them."""


class AddressDenied(Denied):
    """The registry has address rules, and they let nobody in from this address."""

    summary = "this registry may not be used from this address"


class Part(StrEnum):
    """What a list is about."""

    REGISTRY = "registry"
    """What clients speak: /v2 and the tokens for it."""
    MANAGEMENT = "management"
    """All else that the registry answers: its pages and its own API."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of addresses, as ranges that neither meet nor overlap, for each version of IP."""

    starts: dict[int, tuple[int, ...]]
    ends: dict[int, tuple[int, ...]]

    @classmethod
    def of(cls, blocks: Iterable[Network]) -> Self:
        """Put blocks together."""
        each = list(blocks)
        four = _merged(one for one in each if isinstance(one, ipaddress.IPv4Network))
        six = _merged(one for one in each if isinstance(one, ipaddress.IPv6Network))
        return cls(
            {4: tuple(int(one[0]) for one in four), 6: tuple(int(one[0]) for one in six)},
            {4: tuple(int(one[-1]) for one in four), 6: tuple(int(one[-1]) for one in six)},
        )

    def hold(self, address: Address) -> bool:
        """Say whether an address is in one of them."""
        number = int(address)
        place = bisect_right(self.starts[address.version], number)
        return place > 0 and number <= self.ends[address.version][place - 1]


@dataclass(frozen=True, slots=True)
class AddressRules:
    """A registry's lists; a part that is not among them may be used from anywhere."""

    lists: dict[Part, Blocks]

    @classmethod
    def read(cls, registry: str, management: str) -> AddressRules | None:
        """Read what a row of the directory holds; give None where there is no rule."""
        kept = {Part.REGISTRY: registry.split(), Part.MANAGEMENT: management.split()}
        lists = {part: Blocks.of(map(ipaddress.ip_network, each)) for part, each in kept.items() if each}
        return cls(lists) if lists else None

    def check(self, part: Part, client: str) -> None:
        """Raise AddressDenied unless a part of the registry may be used from an address."""
        blocks = self.lists.get(part)
        if blocks is None:
            return
        address = read_address(client)
        if address is None or not blocks.hold(address):
            shown = str(address) if address is not None else "one that is not known"
            message = (
                f"this registry has IP restrictions, and your address, {shown}, is in none of the blocks that they allow for"
                f" {_USED_FOR[part]}: ask who runs the registry to add it, or connect from an address that is allowed"
            )
            raise AddressDenied(message, rule=f"ipRestrictions/{part}", address=shown)


_USED_FOR: Final = {
    Part.REGISTRY: "pushing and pulling",
    Part.MANAGEMENT: "its pages and its API",
}


def read_address(text: str) -> Address | None:
    """Read a client's address; IPv4 in the clothes of IPv6, as a socket of both sees it, is IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


async def are_kept(cell: Reader) -> bool:
    """Say whether a cell's schema has a place for address rules: one of the release before has none."""
    return await schema.has(cell, KEPT_FROM)


def _merged(blocks: Iterable[N]) -> list[N]:
    return sorted(ipaddress.collapse_addresses(blocks))
