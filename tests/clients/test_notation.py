"""notation: signatures with a certificate made for the test, found by what they refer to and by the fallback tag."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.clients.conftest import Desk
from tests.worlds import ADMIN, PASSWORD

SIGNATURE = "application/vnd.cncf.notary.signature"
PLAIN = ("--insecure-registry", "--username", ADMIN, "--password", PASSWORD)
BY_TAG, BY_REFERRERS = "--force-referrers-tag=true", "--force-referrers-tag=false"


@pytest.fixture
def notation(desk: Desk) -> Callable[..., str]:
    """Give what runs notation, with a key and trust in its certificate."""
    desk.run("notation", "cert", "generate-test", "--default", "moorage.example")
    trusted = {
        "name": "tests",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:moorage.example"],
        "trustedIdentities": ["*"],
    }
    (desk.home / "policy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [trusted]}))
    desk.run("notation", "policy", "import", "policy.json")
    return lambda command, *arguments, **how: desk.run("notation", command, *PLAIN, *arguments, **how)


@pytest.mark.parametrize("envelope", ["jws", "cose"])
def test_notation_verifies_what_it_signed_and_nothing_else(
    desk: Desk, notation: Callable[..., str], envelope: str
):
    name = f"library/notation-{envelope}"
    digest = desk.push_index(name)
    there = f"{desk.host}/{name}@{digest}"
    unsigned = desk.get(f"{name}/manifests/{digest}").json()["manifests"][0]["digest"]

    notation("sign", "--signature-format", envelope, BY_REFERRERS, there)
    told = notation("verify", there)
    refused = notation("verify", f"{desk.host}/{name}@{unsigned}", fails=True)

    assert "Successfully verified" in told
    assert "no signature is associated" in refused
    (referring,) = desk.get(f"{name}/referrers/{digest}").json()["manifests"]
    assert referring["artifactType"] == SIGNATURE
    assert referring["digest"] in notation("list", there)
    assert desk.get(f"{name}/tags/list").json()["tags"] == ["v1"]


def test_notation_verifies_what_it_listed_under_the_fallback_tag(desk: Desk, notation: Callable[..., str]):
    name = "library/notation-tag"
    digest = desk.push_index(name)
    there = f"{desk.host}/{name}@{digest}"

    notation("sign", BY_TAG, there)
    told = notation("verify", there)

    assert "Successfully verified" in told
    fallback = digest.replace(":", "-")
    assert desk.get(f"{name}/tags/list").json()["tags"] == [fallback, "v1"]
    # What the tag lists is what the API lists.
    listed = desk.get(f"{name}/manifests/{fallback}").json()["manifests"]
    referring = desk.get(f"{name}/referrers/{digest}").json()["manifests"]
    assert [one["digest"] for one in referring] == [one["digest"] for one in listed]


def test_notation_verifies_a_copy_made_by_oras(desk: Desk, notation: Callable[..., str]):
    name, copied = "library/notation-oras", "team/notation/oras"
    digest = desk.push_index(name)
    notation("sign", BY_REFERRERS, f"{desk.host}/{name}@{digest}")
    credentials = [
        flag
        for side in ("from", "to")
        for flag in (f"--{side}-plain-http", f"--{side}-username", ADMIN, f"--{side}-password", PASSWORD)
    ]

    desk.run("oras", "cp", "-r", *credentials, f"{desk.host}/{name}:v1", f"{desk.host}/{copied}:v1")

    assert "Successfully verified" in notation("verify", f"{desk.host}/{copied}@{digest}")
