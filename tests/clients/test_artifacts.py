"""Signatures, laid out as cosign and notation lay them out."""

from __future__ import annotations

import json

from tests.clients.conftest import Desk
from tests.worlds import ADMIN, PASSWORD

PLAIN = "--plain-http"
SBOM = "application/vnd.example.sbom.v1+json"
NOTATION = "application/vnd.cncf.notary.signature"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


def oras_signs_in(desk: Desk) -> None:
    """Sign in with oras."""
    desk.run("oras", "login", PLAIN, "--username", ADMIN, "--password-stdin", desk.host, given=PASSWORD)


def test_a_signature_laid_out_as_cosign_s_is_found_by_its_tag(desk: Desk):
    oras_signs_in(desk)
    (desk.home / "text").write_text("signed with cosign")
    (desk.home / "payload").write_text('{"critical": {}}')
    there = f"{desk.host}/library/cosign"
    desk.run("oras", "push", PLAIN, "--artifact-type", SBOM, f"{there}:v1", "text:text/plain")
    digest = desk.head("library/cosign/manifests/v1").headers["docker-content-digest"]
    tag = digest.replace(":", "-") + ".sig"

    desk.run(
        "oras", "push", PLAIN, "--config", "payload:application/vnd.oci.image.config.v1+json", f"{there}:{tag}",
        f"payload:{SIMPLE_SIGNING}",
    )  # fmt: skip

    layers = desk.get(f"library/cosign/manifests/{tag}").json()["layers"]
    assert [layer["mediaType"] for layer in layers] == [SIMPLE_SIGNING]
    assert desk.get("library/cosign/tags/list").json()["tags"] == sorted([tag, "v1"])


def test_a_signature_laid_out_as_notation_s_is_found_by_what_it_refers_to(desk: Desk):
    oras_signs_in(desk)
    (desk.home / "text").write_text("signed with notation")
    (desk.home / "signature").write_text("a signature")
    there = f"{desk.host}/library/notation:v1"
    desk.run("oras", "push", PLAIN, "--artifact-type", SBOM, there, "text:text/plain")

    desk.run(
        "oras", "attach", PLAIN, "--artifact-type", NOTATION, "--annotation", "io.cncf.notary.x509chain=[]", there,
        "signature:application/jose+json",
    )  # fmt: skip

    found = json.loads(
        desk.run("oras", "discover", PLAIN, "--format", "json", "--artifact-type", NOTATION, there)
    )
    assert [entry["artifactType"] for entry in found["referrers"]] == [NOTATION]
    assert found["referrers"][0]["annotations"]["io.cncf.notary.x509chain"] == "[]"
