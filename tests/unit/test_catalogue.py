"""The catalogue is data, and a file that breaks a rule is refused with the entry, the field and the rule."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from moorage.cloud import catalogue, provisioning
from moorage.cloud.catalogue import CatalogueInvalid
from moorage.cloud.members import PREFIX, Role, may
from tests.servers.house import moorage

TEXT = catalogue.PACKAGED.read_text()
MIB = 1 << 20


def test_the_packaged_plans_are_the_providers_to_the_byte():
    plans = {plan.name: plan for plan in catalogue.read().plans}

    small, medium, large = (plans[name] for name in ("SMALL", "MEDIUM", "LARGE"))
    assert small.id == "9f728ba5-998b-4401-ab0f-497cd8bc6a89"
    assert (small.grants.limit_bytes, small.grants.parallel, small.vulnerability) == (214748364800, 15, False)
    assert (medium.grants.limit_bytes, medium.grants.parallel, medium.vulnerability) == (
        644245094400,
        45,
        True,
    )
    assert (large.grants.limit_bytes, large.grants.parallel, large.vulnerability) == (5497558138880, 90, True)
    assert large.price_hour == {"REGION-1-AZ": Decimal("0.26"), "REGION-3-AZ": Decimal("0.29")}


def test_the_packaged_plans_grant_what_the_command_line_grants_by_the_same_name():
    granted = {plan.grants.name: plan.grants for plan in catalogue.read().plans}

    assert granted == provisioning.PLANS


BAD = {
    'name = "LOCAL"                  #': ('name = "lo cal" #', r"regions\[0\].name: 'lo cal' is not 1 to 63 capital"),
    '"REGION-1-AZ"            #': ('"REGION-2-AZ" #', r"regions\[0\].type: .* is not one of REGION-1-AZ, REGION-3-AZ"),
    'cell = "local"': ('cell = "other"', r"regions\[0\].cell: 'other' is not a cell of this release: local"),
    "9f728ba5-998b-4401-ab0f-497cd8bc6a89": ("9F728BA5", r"plans\[0\].id: .* is not a UUID"),
    "image_storage = 214_748_364_800": ("image_storage = -2", r"plans\[0\].image_storage: -2 is not a whole number"),
    "parallel_requests = 15": ("parallel_requests = true", r"plans\[0\].parallel_requests: True is not"),
    "trash_days = 7": ("trash_days = 0", r"plans\[0\].trash_days: 0 is not a whole number from 1 to 365"),
    '"0.02"': ("0.02", r"plans\[0\].price_hour: a price is a text"),
    '"0.03"': ('"NaN"', r"plans\[0\].price_hour: a price is a text"),
    'name = "MEDIUM"': ('name = "SMALL"', r"plans\[1\].name: 'SMALL' is there twice"),
    'grants = "M"': ('grants = "S"', r"plans\[1\].grants: 'S' is there twice"),
    "orderable = true": ("orderable = false", r"plans: none is orderable"),
    "[[regions]]": ("[[region]]", r"regions: a catalogue has one \[\[regions\]\] at least"),
    'code = "registry.local"': ('kode = "registry.local"', r"plans\[3\].kode: no such field; there are: id, name"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_broken_catalogue_is_refused_by_entry_field_and_rule(what: str, tmp_path: Path):
    assert what in TEXT
    made, told = BAD[what]
    path = tmp_path / "catalogue.toml"
    path.write_text(TEXT.replace(what, made))

    with pytest.raises(CatalogueInvalid, match=told):
        catalogue.read(path)


@pytest.mark.parametrize("content", [b"[[regions", b"\xff\xfe", b"#" * (MIB + 1)])
def test_what_is_no_catalogue_at_all_is_refused_with_its_path(content: bytes, tmp_path: Path):
    path = tmp_path / "catalogue.toml"
    path.write_bytes(content)

    with pytest.raises(CatalogueInvalid, match=r"catalogue\.toml: "):
        catalogue.read(path)


def test_a_start_with_a_broken_catalogue_ends_in_one_line(tmp_path: Path):
    path = tmp_path / "catalogue.toml"
    path.write_text(TEXT.replace("trash_days = 7", "trash_days = 0"))

    refused = moorage("prepare", data=tmp_path, CATALOGUE=str(path))

    assert refused.returncode == 78
    assert refused.stderr.startswith("MOORAGE_CATALOGUE: plans[0].trash_days: 0 is not a whole number")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("action", "roles"),
    [
        ("containerRegistry/get", {"owner", "administrator", "registries", "reader", "billing"}),
        ("containerRegistry/users/get", {"owner", "administrator", "registries", "reader"}),
        ("containerRegistry/create", {"owner", "administrator", "registries"}),
        ("containerRegistry/plan/edit", {"owner", "administrator", "registries"}),
        ("containerRegistry/users/setAsAdmin", {"owner", "administrator", "registries"}),
        ("usage/get", {"owner", "administrator", "billing"}),
        ("edit", {"owner", "administrator"}),
        ("member/edit", {"owner"}),
    ],
)
def test_a_role_may_do_what_its_patterns_have_and_nothing_else(action: str, roles: set[str]):
    assert {role.value for role in Role if may(role, PREFIX + action)} == roles
    assert not any(may(role, action) for role in Role)
