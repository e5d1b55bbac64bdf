"""oras and helm: what is no image; and signatures, laid out as cosign and notation lay them out."""

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


def test_oras_gets_back_what_it_pushed(desk: Desk):
    oras_signs_in(desk)
    (desk.home / "text").write_text("an artifact")
    (desk.home / "back").mkdir()
    there = f"{desk.host}/library/oras:v1"

    desk.run("oras", "push", PLAIN, "--artifact-type", SBOM, there, "text:text/plain")
    desk.run("oras", "pull", PLAIN, "--output", "back", there)

    assert (desk.home / "back" / "text").read_text() == "an artifact"
    assert desk.get("library/oras/manifests/v1").json()["artifactType"] == SBOM


def test_oras_attaches_discovers_and_copies_with_what_refers(desk: Desk):
    oras_signs_in(desk)
    (desk.home / "text").write_text("an artifact")
    (desk.home / "sbom").write_text('{"a": "bill"}')
    one, other = f"{desk.host}/library/oras-one:v1", f"{desk.host}/team/oras/other:v1"
    desk.run(
        "oras", "push", PLAIN, "--artifact-type", "application/vnd.example.thing", one, "text:text/plain"
    )

    desk.run("oras", "attach", PLAIN, "--artifact-type", SBOM, one, "sbom:application/json")
    desk.run("oras", "copy", "--from-plain-http", "--to-plain-http", "--recursive", one, other)

    for there in (one, other):
        found = json.loads(desk.run("oras", "discover", PLAIN, "--format", "json", there))
        assert [entry["artifactType"] for entry in found["referrers"]] == [SBOM]
    # With the API there, nobody keeps a list under a fallback tag.
    assert desk.get("library/oras-one/tags/list").json()["tags"] == ["v1"]


def test_oras_lists_and_deletes(desk: Desk):
    oras_signs_in(desk)
    (desk.home / "text").write_text("an artifact to delete")
    there = f"{desk.host}/library/oras-delete"
    desk.run("oras", "push", PLAIN, "--artifact-type", SBOM, f"{there}:v1,v2", "text:text/plain")

    tags = desk.run("oras", "repo", "tags", PLAIN, there).split()
    names = desk.run("oras", "repo", "ls", PLAIN, desk.host).split()
    desk.run("oras", "manifest", "delete", PLAIN, "--force", f"{there}:v1")

    assert tags == ["v1", "v2"]
    assert "library/oras-delete" in names
    assert desk.get("library/oras-delete/tags/list").json()["tags"] == []


def test_oras_tells_a_wrong_password(desk: Desk):
    told = desk.run(
        "oras",
        "login",
        PLAIN,
        "--username",
        ADMIN,
        "--password-stdin",
        desk.host,
        given="Wrong-pass-1",
        fails=True,
    )

    assert "wrong password" in told


def test_helm_gets_back_the_chart_that_it_pushed(desk: Desk):
    chart = desk.home / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text(
        "apiVersion: v2\nname: chart\nversion: 1.2.3+build\ndescription: of a test\n"
    )
    (chart / "templates" / "one.yaml").write_text("kind: ConfigMap\napiVersion: v1\nmetadata: {name: one}\n")
    desk.run("helm", "registry", "login", PLAIN, "-u", ADMIN, "--password-stdin", desk.host, given=PASSWORD)

    (desk.home / "back").mkdir()

    desk.run("helm", "package", "chart")
    packed = (desk.home / "chart-1.2.3+build.tgz").read_bytes()
    desk.run("helm", "push", PLAIN, "chart-1.2.3+build.tgz", f"oci://{desk.host}/library")
    desk.run(
        "helm", "pull", PLAIN, f"oci://{desk.host}/library/chart", "--version", "1.2.3+build", "-d", "back"
    )

    assert (desk.home / "back" / "chart-1.2.3+build.tgz").read_bytes() == packed
    # A tag has no plus sign, and helm knows.
    assert desk.get("library/chart/tags/list").json()["tags"] == ["1.2.3_build"]
    assert "ConfigMap" in desk.run(
        "helm", "template", PLAIN, f"oci://{desk.host}/library/chart", "--version", "1.2.3+build"
    )


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
