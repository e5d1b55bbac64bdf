"""crane and regctl: the two that make the fewest assumptions."""

from __future__ import annotations

import json

from tests.clients.conftest import Desk
from tests.clients.layouts import blobs, tar
from tests.worlds import ADMIN, PASSWORD

PLAIN = "--insecure"


def crane_signs_in(desk: Desk) -> None:
    """Sign in with crane."""
    desk.run("crane", "auth", "login", desk.host, "--username", ADMIN, "--password", PASSWORD)


def regctl_signs_in(desk: Desk) -> None:
    """Sign in with regctl."""
    desk.run("regctl", "registry", "set", desk.host, "--tls", "disabled", "--skip-check")
    desk.run("regctl", "registry", "login", desk.host, "--user", ADMIN, "--pass-stdin", given=PASSWORD)


def test_crane_gets_back_what_it_pushed_byte_for_byte(desk: Desk):
    crane_signs_in(desk)
    layout, back = desk.layout(), desk.home / "back"
    index = layout.index("crane")
    layout.name("v1", index)
    there = f"{desk.host}/library/crane:v1"

    desk.run("crane", "push", PLAIN, "--index", str(layout.path), there)
    desk.run("crane", "pull", PLAIN, "--format", "oci", there, str(back))

    pulled = blobs(back)
    # crane wraps what a layout names in one more index.
    wrapped = json.loads(desk.run("crane", "manifest", PLAIN, there))["manifests"]
    assert [child["digest"] for child in wrapped] == [index["digest"]]
    assert {name: pulled.get(name) for name in blobs(layout.path)} == blobs(layout.path)


def test_crane_copies_lists_and_deletes(desk: Desk):
    crane_signs_in(desk)
    layout = desk.layout()
    digest = layout.name("v1", layout.image("crane copy"))["digest"]
    one, other = f"{desk.host}/library/crane-copy", f"{desk.host}/team/crane/copy"

    desk.run("crane", "push", PLAIN, str(layout.path), f"{one}:v1")
    desk.run("crane", "copy", PLAIN, f"{one}:v1", f"{other}:v1")
    desk.run("crane", "tag", PLAIN, f"{other}:v1", "v2")

    assert desk.run("crane", "digest", PLAIN, f"{other}:v1").strip() == digest
    assert desk.run("crane", "ls", PLAIN, other).split() == ["v1", "v2"]
    assert {"library/crane-copy", "team/crane/copy"} <= {
        *desk.run("crane", "catalog", PLAIN, desk.host).split()
    }
    desk.run("crane", "validate", PLAIN, "--remote", f"{other}:v1")
    desk.run("crane", "delete", PLAIN, f"{other}@{digest}")
    assert desk.head("team/crane/copy/manifests/v1").status_code == 404
    assert desk.head("library/crane-copy/manifests/v1").status_code == 200


def test_crane_appends_a_layer(desk: Desk):
    crane_signs_in(desk)
    layout = desk.layout()
    layout.name("v1", layout.image("crane append"))
    (desk.home / "more").write_text("more")
    there = f"{desk.host}/library/crane-append"
    desk.run("crane", "push", PLAIN, str(layout.path), f"{there}:v1")

    desk.run(
        "crane",
        "append",
        PLAIN,
        "--base",
        f"{there}:v1",
        "--new_layer",
        _tar(desk),
        "--new_tag",
        f"{there}:v2",
    )

    layers = [len(desk.get(f"library/crane-append/manifests/{tag}").json()["layers"]) for tag in ("v1", "v2")]
    assert layers == [2, 3]


def test_regctl_gets_back_what_it_pushed_byte_for_byte(desk: Desk):
    regctl_signs_in(desk)
    layout, back = desk.layout(), desk.home / "back"
    layout.name("v1", layout.index("regctl"))
    there = f"{desk.host}/library/regctl:v1"

    desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:v1", there)
    desk.run("regctl", "image", "copy", there, f"ocidir://{back}:v1")

    assert blobs(back) == blobs(layout.path)


def test_regctl_mounts_from_one_repository_to_another(desk: Desk):
    regctl_signs_in(desk)
    layout = desk.layout()
    digest = layout.name("v1", layout.image("regctl mount"))["digest"]
    one, other = f"{desk.host}/library/regctl-one", f"{desk.host}/team/regctl/other"

    desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:v1", f"{one}:v1")
    desk.run("regctl", "image", "copy", f"{one}:v1", f"{other}:v1")
    desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:v1", f"{desk.host}/team/regctl/third:v1")

    assert desk.run("regctl", "image", "digest", f"{other}:v1").strip() == digest
    assert desk.run("regctl", "tag", "ls", other).split() == ["v1"]


def test_regctl_deletes_one_tag_and_then_the_manifest(desk: Desk):
    regctl_signs_in(desk)
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
    regctl_signs_in(desk)
    layout = desk.layout()
    digest = layout.name("v1", layout.image("regctl artifact"))["digest"]
    there = f"{desk.host}/library/regctl-artifact:v1"
    desk.run("regctl", "image", "copy", f"ocidir://{layout.path}:v1", there)

    desk.run(
        "regctl", "artifact", "put", "--artifact-type", "application/vnd.example.sbom", "--subject", there,
        given="a bill of materials",
    )  # fmt: skip

    listed = json.loads(desk.run("regctl", "artifact", "list", there, "--format", "{{ json . }}"))
    referring = desk.get(f"library/regctl-artifact/referrers/{digest}").json()["manifests"]
    assert [one["artifactType"] for one in referring] == ["application/vnd.example.sbom"]
    assert referring[0]["digest"] in json.dumps(listed)
    assert (
        desk.run(
            "regctl",
            "artifact",
            "get",
            "--subject",
            there,
            "--filter-artifact-type",
            "application/vnd.example.sbom",
        )
        == "a bill of materials"
    )


def _tar(desk: Desk) -> str:
    path = desk.home / "layer.tar"
    path.write_bytes(tar({"more": b"more"}))
    return str(path)
