"""containerd, as Kubernetes' nodes run it, by its own command."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.clients import engines
from tests.clients.conftest import Desk
from tests.clients.layouts import Layout
from tests.worlds import ADMIN, PASSWORD

PLAIN = ("--plain-http", "--user", f"{ADMIN}:{PASSWORD}")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Give the address of a running containerd."""
    with engines.containerd() as running:
        yield running


@pytest.fixture
def ctr(desk: Desk, address: str) -> Callable[..., str]:
    """Give what runs ctr, with images of its own."""
    flags = ("--address", address, "--namespace", f"test-{secrets.token_hex(4)}")
    return lambda *arguments, **how: desk.run("ctr", *flags, *arguments, **how)


def pushed(desk: Desk, layout: Layout, name: str) -> str:
    """Push what a layout calls v1, and say where it is."""
    desk.run(
        "skopeo", "copy", "--all", "--dest-tls-verify=false", "--dest-creds", f"{ADMIN}:{PASSWORD}",
        f"oci:{layout.path}:v1", f"docker://{desk.host}/{name}:v1",
    )  # fmt: skip
    return f"{desk.host}/{name}:v1"


def test_containerd_pulls_an_index_and_pushes_it_to_another_repository(desk: Desk, ctr: Callable[..., str]):
    layout = desk.layout()
    index = layout.name("v1", layout.index("containerd"))
    one, other = pushed(desk, layout, "library/containerd"), f"{desk.host}/team/containerd/other:v1"

    ctr("images", "pull", *PLAIN, "--snapshotter", "native", "--all-platforms", one)
    ctr("images", "push", *PLAIN, other, one)

    assert index["digest"] in ctr("images", "ls", f"name=={one}")
    assert desk.head("team/containerd/other/manifests/v1").headers["docker-content-digest"] == index["digest"]
    for child in desk.get("team/containerd/other/manifests/v1").json()["manifests"]:
        manifest = desk.get(f"team/containerd/other/manifests/{child['digest']}").json()
        for blob in (manifest["config"], *manifest["layers"]):
            assert desk.head(f"team/containerd/other/blobs/{blob['digest']}").status_code == 200


def test_containerd_fetches_every_blob_of_an_image(desk: Desk, ctr: Callable[..., str]):
    layout = desk.layout()
    layout.name("v1", layout.image("containerd fetch"))
    there = pushed(desk, layout, "library/containerd-fetch")

    ctr("content", "fetch", *PLAIN, there)

    manifest = desk.get("library/containerd-fetch/manifests/v1").json()
    held = ctr("content", "ls", "--quiet").split()
    assert {blob["digest"] for blob in (manifest["config"], *manifest["layers"])} < {*held}


def test_containerd_pulls_one_platform_of_an_index(desk: Desk, ctr: Callable[..., str]):
    layout = desk.layout()
    layout.name("v1", layout.index("containerd platform"))
    there = pushed(desk, layout, "library/containerd-platform")

    ctr("images", "pull", *PLAIN, "--snapshotter", "native", "--platform", "linux/arm64", there)

    amd64, arm64 = desk.get("library/containerd-platform/manifests/v1").json()["manifests"]
    held = ctr("content", "ls", "--quiet").split()
    wanted, other = (
        {
            layer["digest"]
            for layer in desk.get(f"library/containerd-platform/manifests/{one['digest']}").json()["layers"]
        }
        for one in (arm64, amd64)
    )
    assert wanted <= {*held}
    assert not (other - wanted) & {*held}


def test_containerd_pushes_what_it_converted(desk: Desk, ctr: Callable[..., str]):
    layout = desk.layout()
    layout.name("v1", layout.image("containerd convert"))
    there, plain = (
        pushed(desk, layout, "library/containerd-convert"),
        f"{desk.host}/library/containerd-plain:v1",
    )
    ctr("images", "pull", *PLAIN, "--snapshotter", "native", there)

    ctr("images", "convert", "--uncompress", "--oci", there, plain)
    ctr("images", "push", *PLAIN, plain)

    layers = desk.get("library/containerd-plain/manifests/v1").json()["layers"]
    assert {layer["mediaType"] for layer in layers} == {"application/vnd.oci.image.layer.v1.tar"}
    assert [
        desk.head(f"library/containerd-plain/blobs/{layer['digest']}").status_code for layer in layers
    ] == [200, 200]


def test_containerd_is_refused_with_a_wrong_password(desk: Desk, ctr: Callable[..., str]):
    layout = desk.layout()
    layout.name("v1", layout.image("containerd refused"))
    there = pushed(desk, layout, "library/containerd-refused")

    told = ctr("images", "pull", "--plain-http", "--user", f"{ADMIN}:Wrong-pass-1", there, fails=True)

    assert "401 Unauthorized" in told
