"""skopeo, podman and buildah: one library, three ways to use it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator

import pytest

from tests.clients.conftest import Desk
from tests.clients.layouts import blobs
from tests.worlds import ADMIN, PASSWORD

PLAIN = "--tls-verify=false"
FROM, TO = "--src-tls-verify=false", "--dest-tls-verify=false"


def sign_in(desk: Desk, client: str) -> None:
    """Sign in with a client of that library."""
    desk.run(client, "login", PLAIN, "--username", ADMIN, "--password", PASSWORD, desk.host)


def test_skopeo_signs_in_with_the_right_password_only(desk: Desk):
    wrong = desk.run(
        "skopeo", "login", PLAIN, "--username", ADMIN, "--password", "Wrong-pass-1", desk.host, fails=True
    )
    sign_in(desk, "skopeo")

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
    sign_in(desk, "skopeo")
    layout, back = desk.layout(), desk.home / "back"
    layout.name("v1", layout.image("skopeo"))
    there = f"docker://{desk.host}/library/skopeo:v1"

    desk.run("skopeo", "copy", TO, f"oci:{layout.path}:v1", there)
    desk.run("skopeo", "copy", FROM, there, f"oci:{back}:v1")

    assert blobs(back) == blobs(layout.path)


def test_skopeo_copies_every_image_of_an_index_from_repository_to_repository(desk: Desk):
    sign_in(desk, "skopeo")
    layout, back = desk.layout(), desk.home / "back"
    index = layout.name("v1", layout.index("skopeo index"))
    one, other = (f"docker://{desk.host}/{name}:v1" for name in ("library/skopeo-index", "team/skopeo/index"))

    desk.run("skopeo", "copy", "--all", TO, f"oci:{layout.path}:v1", one)
    desk.run("skopeo", "copy", "--all", FROM, TO, one, other)
    desk.run("skopeo", "copy", "--all", FROM, other, f"oci:{back}:v1")

    assert blobs(back) == blobs(layout.path)
    assert desk.head("team/skopeo/index/manifests/v1").headers["docker-content-digest"] == index["digest"]


def test_skopeo_pushes_zstd_layers(desk: Desk):
    sign_in(desk, "skopeo")
    layout = desk.layout()
    layout.name("v1", layout.image("skopeo zstd"))
    there = f"docker://{desk.host}/library/skopeo-zstd:v1"

    desk.run(
        "skopeo",
        "copy",
        TO,
        "--dest-compress-format",
        "zstd",
        f"oci:{layout.path}:v1",
        f"dir:{desk.home}/dir",
    )
    manifest = json.loads((desk.home / "dir" / "manifest.json").read_text())
    desk.run("skopeo", "copy", TO, "--preserve-digests", f"dir:{desk.home}/dir", there)
    desk.run("skopeo", "copy", FROM, there, f"dir:{desk.home}/back")

    assert json.loads((desk.home / "back" / "manifest.json").read_text()) == manifest


def test_skopeo_pushes_docker_s_own_format(desk: Desk):
    sign_in(desk, "skopeo")
    layout = desk.layout()
    layout.name("v1", layout.image("skopeo schema 2"))
    there = f"docker://{desk.host}/library/skopeo-v2s2:v1"

    desk.run("skopeo", "copy", TO, "--format", "v2s2", f"oci:{layout.path}:v1", there)
    seen = json.loads(desk.run("skopeo", "inspect", "--raw", PLAIN, there))

    assert seen["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert desk.head("library/skopeo-v2s2/manifests/v1").headers["content-type"] == seen["mediaType"]


def test_skopeo_lists_and_deletes(desk: Desk):
    sign_in(desk, "skopeo")
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


@pytest.fixture
def podman(desk: Desk) -> Iterator[Callable[..., str]]:
    """Give what runs podman, with a storage of its own."""
    # podman refuses a longer path than 50 characters.
    with tempfile.TemporaryDirectory(prefix="pod-") as short:
        flags = [
            *("--root", f"{short}/root", "--runroot", f"{short}/run", "--storage-driver", "vfs"),
            *("--cgroup-manager", "cgroupfs", "--events-backend", "file"),
        ]
        yield lambda *arguments: desk.run("podman", *flags, *arguments)


def test_podman_pushes_pulls_and_makes_an_index(desk: Desk, podman: Callable[..., str]):
    podman("login", PLAIN, "--username", ADMIN, "--password", PASSWORD, desk.host)
    layout = desk.layout()
    layout.name("v1", layout.image("podman"))
    there = f"{desk.host}/library/podman"

    image = podman("pull", "--quiet", f"oci:{layout.path}:v1").strip()
    podman("push", PLAIN, image, f"{there}:v1")
    podman("rmi", "--all", "--force")
    again = podman("pull", "--quiet", PLAIN, f"{there}:v1").strip()
    podman("manifest", "create", "list")
    podman("manifest", "add", PLAIN, "list", f"docker://{there}:v1")
    podman("manifest", "push", PLAIN, "--all", "list", f"docker://{there}:all")

    assert again == image
    children = desk.get("library/podman/manifests/all").json()["manifests"]
    assert [child["digest"] for child in children] == [
        desk.head("library/podman/manifests/v1").headers["docker-content-digest"]
    ]


def test_buildah_builds_pushes_and_pulls(desk: Desk):
    flags = (
        "--root",
        str(desk.home / "root"),
        "--runroot",
        str(desk.home / "runroot"),
        "--storage-driver",
        "vfs",
    )
    sign_in(desk, "buildah")
    (desk.home / "file").write_text("built")
    there = f"docker://{desk.host}/library/buildah:v1"

    container = desk.run("buildah", *flags, "from", "scratch").strip()
    desk.run("buildah", *flags, "copy", container, "file", "/file")
    image = desk.run("buildah", *flags, "commit", "--quiet", container).strip()
    desk.run("buildah", *flags, "push", PLAIN, image, there)
    desk.run("buildah", *flags, "rmi", "--all", "--force")
    again = desk.run("buildah", *flags, "pull", "--quiet", PLAIN, there).strip()

    assert again.removeprefix("sha256:") == image.removeprefix("sha256:")
