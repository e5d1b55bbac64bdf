"""From which addresses a registry may be used: how blocks are read, put together, and asked."""

from __future__ import annotations

import ipaddress

import pytest

from moorage.cloud import restrictions
from moorage.cloud.restrictions import RestrictionInvalid, Wanted
from moorage.registry.address_rules import AddressDenied, AddressRules, Part


def lets_in(blocks: str, client: str, part: Part = Part.REGISTRY) -> bool:
    rules = AddressRules.read(blocks, "")
    if rules is None:
        return True
    try:
        rules.check(part, client)
    except AddressDenied:
        return False
    return True


@pytest.mark.parametrize(
    ("blocks", "client", "wanted"),
    [
        ("", "198.51.100.7", True),
        ("192.0.2.0/24", "192.0.2.0", True),
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.1.255", False),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.7/32", "192.0.2.7", True),
        ("192.0.2.7/32", "192.0.2.8", False),
        ("192.0.2.0/24", "::ffff:192.0.2.9", True),
        ("192.0.2.0/24", "::ffff:c000:0209", True),
        ("192.0.2.0/24", "::192.0.2.9", False),
        ("0.0.0.0/0", "203.0.113.1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::/0", "2001:db8::1", True),
        ("::/0", "203.0.113.1", False),
        ("::/0", "::ffff:203.0.113.1", False),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "2001:db9::", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("10.0.0.0/8 10.1.0.0/16 192.0.2.0/25 192.0.2.128/25", "10.255.0.1", True),
        ("10.0.0.0/8 10.1.0.0/16 192.0.2.0/25 192.0.2.128/25", "192.0.2.200", True),
        ("10.0.0.0/8 10.1.0.0/16 192.0.2.0/25 192.0.2.128/25", "11.0.0.0", False),
        ("192.0.2.0/24", "", False),
        ("192.0.2.0/24", "unknown", False),
    ],
)
def test_an_address_is_in_a_block_or_it_is_not(blocks: str, client: str, *, wanted: bool):
    assert lets_in(blocks, client) is wanted


def test_a_part_without_a_list_is_open_to_all():
    assert lets_in("192.0.2.0/24", "198.51.100.7", Part.MANAGEMENT)


def test_two_hundred_blocks_are_asked_as_one_by_one():
    blocks = [ipaddress.ip_network((n * 0x01020304 % (1 << 32) & ~0xFF, 24)) for n in range(150)]
    mixed = [*blocks, *(ipaddress.ip_network((n << 100, 28)) for n in range(0, 4000, 80))]
    rules = AddressRules.read(" ".join(map(str, mixed)), "")
    assert rules is not None

    for block in mixed:
        for number in (int(block[0]) - 1, int(block[0]), int(block[-1]), int(block[-1]) + 1):
            if 0 <= number < 1 << block.max_prefixlen:
                address = (ipaddress.IPv4Address if block.version == 4 else ipaddress.IPv6Address)(number)
                known = rules.lists[Part.REGISTRY].hold(address)
                assert known is any(address in one for one in mixed if one.version == address.version)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("2001:DB8:0:0::/64", "2001:db8::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_a_block_is_kept_in_one_way_of_writing(given: str, kept: str):
    assert restrictions.checked([Wanted(given)]) == {kept: ""}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "must be an address or a block in CIDR"),
        ("192.0.2", "must be an address or a block in CIDR"),
        ("192.0.2.0/33", "must be an address or a block in CIDR"),
        ("192.0.2.0/-1", "must be an address or a block in CIDR"),
        ("192.0.2.0/024", "must be an address or a block in CIDR"),
        ("192.0.2.0/255.255.255.0", "must be an address or a block in CIDR"),
        ("192.0.2.0/24/8", "must be an address or a block in CIDR"),
        ("192.0.02.0/24", "must be an address or a block in CIDR"),
        (" 192.0.2.0/24", "must be an address or a block in CIDR"),
        ("192.0.2.0/24\n", "must be an address or a block in CIDR"),
        ("\N{ARABIC-INDIC DIGIT ONE}.0.0.0", "must be an address or a block in CIDR"),
        ("2001:db8::/129", "must be an address or a block in CIDR"),
        ("fe80::1%eth0", "must be an address or a block in CIDR"),
        ("example.com", "must be an address or a block in CIDR"),
        ("192.0.2.7/24", "say 192.0.2.0/24 for all of the block, or 192.0.2.7 for the address alone"),
        ("2001:db8::1/32", "say 2001:db8::/32 for all of the block"),
    ],
)
def test_what_is_no_block_is_refused_by_field_and_rule(given: str, told: str):
    with pytest.raises(RestrictionInvalid) as refused:
        restrictions.checked([Wanted("198.51.100.0/24"), Wanted(given)])

    assert str(refused.value).startswith("[1].ipBlock: ")
    assert told in str(refused.value)


def test_a_block_is_named_once_however_it_is_written_and_may_lie_in_another():
    with pytest.raises(RestrictionInvalid, match=r"^\[2\]\.ipBlock: 192\.0\.2\.7/32 stands at \[0\] already"):
        restrictions.checked([Wanted("192.0.2.7"), Wanted("192.0.2.0/24"), Wanted("::ffff:192.0.2.7/128")])


def test_a_description_is_one_short_line():
    for text, told in (
        ("x" * 129, "at most 128 characters, not 129"),
        ("a\nb", "one line"),
        ("a\0", "one line"),
    ):
        with pytest.raises(RestrictionInvalid, match=rf"^\[0\]\.description: must .*{told}"):
            restrictions.checked([Wanted("192.0.2.7", text)])


def test_a_list_has_two_hundred_blocks_at_most():
    each = [Wanted(f"10.{n}.0.0/16") for n in range(201)]

    assert len(restrictions.checked(each[:200])) == 200
    with pytest.raises(RestrictionInvalid, match="the body: must have at most 200 elements, not 201"):
        restrictions.checked(each)
