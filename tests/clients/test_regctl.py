"""regctl: the client that speaks the draft after 1.1."""

from __future__ import annotations

import json

from tests.clients.conftest import Desk
from tests.clients.layouts import blobs
from tests.worlds import ADMIN, PASSWORD

SBOM = "application/vnd.example.sbom"


def sign_in(desk: Desk) -> None:
    """Sign in with regctl."""
    desk.run("regctl", "registry", "set", desk.host, "--tls", "disabled", "--skip-check")
    desk.run("regctl", "registry", "login", desk.host, "--user", ADMIN, "--pass-stdin", given=PASSWORD)


def test_regctl_gets_back_what_it_pushed_byte_for_byte(desk: Desk):
    sign_in(desk)
    layout, back = desk.layout(), desk.home / "back"
    layout.name("v1", layout.index("regctl"))
    there = f"{desk.host}/library/regctl:v1"

    desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:v1", there)
    desk.run("regctl", "image", "copy", there, f"ocidir://{back}:v1")

    assert blobs(back) == blobs(layout.path)


def test_regctl_mounts_from_one_repository_to_another(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    digest = layout.name("v1", layout.image("regctl mount"))["digest"]
    one, other = f"{desk.host}/library/regctl-one", f"{desk.host}/team/regctl/other"

    desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:v1", f"{one}:v1")
    desk.run("regctl", "image", "copy", f"{one}:v1", f"{other}:v1")
    desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:v1", f"{desk.host}/team/regctl/third:v1")

    assert desk.run("regctl", "image", "digest", f"{other}:v1").strip() == digest
    assert desk.run("regctl", "tag", "ls", other).split() == ["v1"]


def test_regctl_deletes_one_tag_and_then_the_manifest(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    digest = layout.name("v1", layout.image("regctl delete"))["digest"]
    there = f"{desk.host}/library/regctl-delete"
    for tag in ("v1", "v2"):
        desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:v1", f"{there}:{tag}")

    desk.run("regctl", "tag", "delete", f"{there}:v1")
    left = desk.run("regctl", "tag", "ls", there).split()
    desk.run("regctl", "manifest", "delete", f"{there}@{digest}")

    assert left == ["v2"]
    assert desk.head("library/regctl-delete/manifests/v2").status_code == 404


def test_regctl_puts_an_artifact_that_refers_to_an_image(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    digest = layout.name("v1", layout.image("regctl artifact"))["digest"]
    there = f"{desk.host}/library/regctl-artifact:v1"
    desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:v1", there)

    desk.run(
        "regctl", "artifact", "put", "--artifact-type", SBOM, "--subject", there,
        given="a bill of materials",
    )  # fmt: skip

    listed = json.loads(desk.run("regctl", "artifact", "list", there, "--format", "{{ json . }}"))
    referring = desk.get(f"library/regctl-artifact/referrers/{digest}").json()["manifests"]
    assert [one["artifactType"] for one in referring] == [SBOM]
    assert referring[0]["digest"] in json.dumps(listed)
    assert (
        desk.run(
            "regctl",
            "artifact",
            "get",
            "--subject",
            there,
            "--filter-artifact-type",
            SBOM,
        )
        == "a bill of materials"
    )


def test_regctl_copies_an_index_with_its_referrers_and_digest_tags(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    digest = layout.name("v1", layout.index("regctl referrers"))["digest"]
    one, other = f"{desk.host}/library/regctl-referred", f"{desk.host}/team/regctl/referred"
    desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:v1", f"{one}:v1")
    desk.run(
        "regctl",
        "artifact",
        "put",
        "--artifact-type",
        SBOM,
        "--subject",
        f"{one}:v1",
        given="a bill of materials",
    )
    digest_tag = digest.replace(":", "-") + ".sig"
    desk.run("regctl", "artifact", "put", "--artifact-type", SBOM, f"{one}:{digest_tag}", given="a signature")

    desk.run("regctl", "image", "copy", "--referrers", "--digest-tags", f"{one}:v1", f"{other}:v1")

    assert desk.run("regctl", "tag", "ls", other).split() == [digest_tag, "v1"]
    referring = [
        desk.get(f"{name}/referrers/{digest}").json()["manifests"]
        for name in ("library/regctl-referred", "team/regctl/referred")
    ]
    assert [one["artifactType"] for one in referring[1]] == [SBOM]
    assert referring[1] == referring[0]
    found = desk.run("regctl", "artifact", "get", "--subject", f"{other}:v1", "--filter-artifact-type", SBOM)
    assert found == "a bill of materials"


def test_regctl_makes_an_index_of_images_in_another_repository(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    one, other = f"{desk.host}/library/regctl-parts", f"{desk.host}/team/regctl/made"
    digests = []
    for architecture in ("amd64", "arm64"):
        digests.append(layout.name(architecture, layout.image("regctl index", architecture))["digest"])
        desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:{architecture}", f"{one}:{architecture}")

    desk.run("regctl", "index", "create", f"{other}:v1", "--ref", f"{one}:amd64", "--ref", f"{one}:arm64")

    children = desk.get("team/regctl/made/manifests/v1").json()["manifests"]
    assert [child["digest"] for child in children] == digests


def test_regctl_compresses_layers_anew_with_zstd(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    layout.name("v1", layout.image("regctl zstd"))
    there = f"{desk.host}/library/regctl-zstd"
    desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:v1", f"{there}:v1")

    desk.run("regctl", "image", "mod", f"{there}:v1", "--create", f"{there}:v2", "--layer-compress", "zstd")

    layers = desk.get("library/regctl-zstd/manifests/v2").json()["layers"]
    assert {layer["mediaType"].rpartition("+")[2] for layer in layers} == {"zstd"}
    assert [desk.head(f"library/regctl-zstd/blobs/{layer['digest']}").status_code for layer in layers] == [
        200,
        200,
    ]


def test_regctl_brings_an_image_in_a_file_to_another_repository(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    digest = layout.name("v1", layout.index("regctl export"))["digest"]
    one, other = f"{desk.host}/library/regctl-export:v1", f"{desk.host}/team/regctl/import:v1"
    desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:v1", one)

    desk.run("regctl", "image", "export", one, "image.tar")
    desk.run("regctl", "image", "import", other, "image.tar")

    assert desk.run("regctl", "image", "digest", other).strip() == digest
