"""skopeo: copies, and nothing else."""

from __future__ import annotations

import json

import pytest

from tests.clients.conftest import Desk
from tests.clients.layouts import blobs
from tests.worlds import ADMIN, PASSWORD

PLAIN = "--tls-verify=false"
FROM, TO = "--src-tls-verify=false", "--dest-tls-verify=false"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def sign_in(desk: Desk) -> None:
    """Sign in with skopeo."""
    desk.run("skopeo", "login", PLAIN, "--username", ADMIN, "--password", PASSWORD, desk.host)


def test_skopeo_signs_in_with_the_right_password_only(desk: Desk):
    wrong = desk.run(
        "skopeo", "login", PLAIN, "--username", ADMIN, "--password", "Wrong-pass-1", desk.host, fails=True
    )
    sign_in(desk)

    assert "password" in wrong
    assert ADMIN in desk.run("skopeo", "login", "--get-login", desk.host)


def test_skopeo_is_refused_before_it_signs_in(desk: Desk):
    layout = desk.layout()
    layout.name("v1", layout.image("refused"))

    desk.run(
        "skopeo", "copy", TO, f"oci:{layout.path}:v1", f"docker://{desk.host}/library/refused:v1", fails=True
    )

    assert desk.head("library/refused/manifests/v1").status_code == 404


def test_skopeo_gets_back_what_it_pushed_byte_for_byte(desk: Desk):
    sign_in(desk)
    layout, back = desk.layout(), desk.home / "back"
    layout.name("v1", layout.image("skopeo"))
    there = f"docker://{desk.host}/library/skopeo:v1"

    desk.run("skopeo", "copy", TO, f"oci:{layout.path}:v1", there)
    desk.run("skopeo", "copy", FROM, there, f"oci:{back}:v1")

    assert blobs(back) == blobs(layout.path)


def test_skopeo_copies_every_image_of_an_index_from_repository_to_repository(desk: Desk):
    sign_in(desk)
    layout, back = desk.layout(), desk.home / "back"
    index = layout.name("v1", layout.index("skopeo index"))
    one, other = (f"docker://{desk.host}/{name}:v1" for name in ("library/skopeo-index", "team/skopeo/index"))

    desk.run("skopeo", "copy", "--all", TO, f"oci:{layout.path}:v1", one)
    desk.run("skopeo", "copy", "--all", FROM, TO, one, other)
    desk.run("skopeo", "copy", "--all", FROM, other, f"oci:{back}:v1")

    assert blobs(back) == blobs(layout.path)
    assert desk.head("team/skopeo/index/manifests/v1").headers["docker-content-digest"] == index["digest"]


@pytest.mark.parametrize("compression", ["zstd", "zstd:chunked"])
def test_skopeo_gets_back_the_zstd_layers_that_it_pushed(desk: Desk, compression: str):
    sign_in(desk)
    layout, back = desk.layout(), desk.home / "back"
    layout.name("v1", layout.image(f"skopeo {compression}"))
    name = "library/skopeo-" + compression.replace(":", "-")
    there = f"docker://{desk.host}/{name}:v1"

    desk.run("skopeo", "copy", TO, "--dest-compress-format", compression, f"oci:{layout.path}:v1", there)
    desk.run("skopeo", "copy", FROM, "--preserve-digests", there, f"oci:{back}:v1")

    layers = desk.get(f"{name}/manifests/v1").json()["layers"]
    assert [layer["mediaType"] for layer in layers] == [ZSTD, ZSTD]
    for layer in layers:
        blob = blobs(back)[layer["digest"].removeprefix("sha256:")]
        assert blob[:4] == ZSTD_MAGIC
        assert blob == desk.get(f"{name}/blobs/{layer['digest']}").content


def test_skopeo_pushes_docker_s_own_format(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    layout.name("v1", layout.image("skopeo schema 2"))
    there = f"docker://{desk.host}/library/skopeo-v2s2:v1"

    desk.run("skopeo", "copy", TO, "--format", "v2s2", f"oci:{layout.path}:v1", there)
    seen = json.loads(desk.run("skopeo", "inspect", "--raw", PLAIN, there))

    assert seen["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert desk.head("library/skopeo-v2s2/manifests/v1").headers["content-type"] == seen["mediaType"]


def test_skopeo_lists_and_deletes(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    layout.name("v1", layout.image("skopeo delete"))
    there = f"{desk.host}/library/skopeo-delete"
    for tag in ("v2", "v1"):
        desk.run("skopeo", "copy", TO, f"oci:{layout.path}:v1", f"docker://{there}:{tag}")

    listed = json.loads(desk.run("skopeo", "list-tags", PLAIN, f"docker://{there}"))
    desk.run("skopeo", "delete", PLAIN, f"docker://{there}:v1")

    assert listed["Tags"] == ["v1", "v2"]
    # skopeo deletes by digest, and with it every tag.
    assert desk.get("library/skopeo-delete/tags/list").json()["tags"] == []


def test_skopeo_deletes_an_index_and_leaves_its_images(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    index = layout.name("v1", layout.index("skopeo delete index"))
    name = "library/skopeo-delete-index"
    desk.run("skopeo", "copy", "--all", TO, f"oci:{layout.path}:v1", f"docker://{desk.host}/{name}:v1")
    children = [one["digest"] for one in desk.get(f"{name}/manifests/v1").json()["manifests"]]

    desk.run("skopeo", "delete", PLAIN, f"docker://{desk.host}/{name}:v1")

    assert desk.head(f"{name}/manifests/{index['digest']}").status_code == 404
    assert [desk.head(f"{name}/manifests/{child}").status_code for child in children] == [200, 200]


def test_skopeo_syncs_a_repository_to_a_folder_and_from_there_to_another(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    digests = {
        "one": layout.name("one", layout.image("skopeo sync"))["digest"],
        "several": layout.name("several", layout.index("skopeo sync"))["digest"],
    }
    for tag in digests:
        there = f"docker://{desk.host}/library/skopeo-sync:{tag}"
        desk.run("skopeo", "copy", "--all", TO, f"oci:{layout.path}:{tag}", there)
    sync = ("skopeo", "sync", "--all", "--preserve-digests")

    desk.run(*sync, FROM, "--src", "docker", "--dest", "dir", f"{desk.host}/library/skopeo-sync", "synced")
    desk.run(*sync, TO, "--src", "dir", "--dest", "docker", "synced", f"{desk.host}/team/from-folder")

    for tag, digest in digests.items():
        found = desk.head(f"team/from-folder/skopeo-sync/manifests/{tag}")
        assert found.headers["docker-content-digest"] == digest


def test_skopeo_syncs_what_a_file_lists_from_repository_to_repository(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    for tag in ("v1", "v2", "other"):
        layout.name(tag, layout.image(f"skopeo listed {tag}"))
        there = f"docker://{desk.host}/library/skopeo-listed:{tag}"
        desk.run("skopeo", "copy", TO, f"oci:{layout.path}:{tag}", there)
    listed = {desk.host: {"tls-verify": False, "images-by-tag-regex": {"library/skopeo-listed": "^v"}}}
    (desk.home / "listed.yaml").write_text(json.dumps(listed))

    desk.run(
        "skopeo", "sync", TO, "--src", "yaml", "--dest", "docker", "listed.yaml", f"{desk.host}/team/listed"
    )

    assert desk.get("team/listed/skopeo-listed/tags/list").json()["tags"] == ["v1", "v2"]
