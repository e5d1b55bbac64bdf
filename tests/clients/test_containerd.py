"""containerd, as Kubernetes' nodes run it, by its own command."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.clients import engines
from tests.clients.conftest import Desk
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


def test_containerd_pulls_an_index_and_pushes_it_to_another_repository(desk: Desk, ctr: Callable[..., str]):
    one, other = f"{desk.host}/library/containerd:v1", f"{desk.host}/team/containerd/other:v1"
    digest = desk.push_index("library/containerd")

    ctr("images", "pull", *PLAIN, "--snapshotter", "native", "--all-platforms", one)
    ctr("images", "push", *PLAIN, other, one)

    assert digest in ctr("images", "ls", f"name=={one}")
    assert desk.head("team/containerd/other/manifests/v1").headers["docker-content-digest"] == digest
    assert desk.absent("team/containerd/other", "v1") == []


def test_containerd_fetches_every_blob_of_an_image(desk: Desk, ctr: Callable[..., str]):
    digest = desk.push_index("library/containerd-fetch")

    ctr("content", "fetch", *PLAIN, "--platform", "linux/arm64", f"{desk.host}/library/containerd-fetch:v1")

    _, arm64 = desk.get(f"library/containerd-fetch/manifests/{digest}").json()["manifests"]
    manifest = desk.get(f"library/containerd-fetch/manifests/{arm64['digest']}").json()
    held = ctr("content", "ls", "--quiet").split()
    assert {blob["digest"] for blob in (manifest["config"], *manifest["layers"])} < {*held}


def test_containerd_pulls_one_platform_of_an_index(desk: Desk, ctr: Callable[..., str]):
    name = "library/containerd-platform"
    desk.push_index(name)

    ctr(
        "images",
        "pull",
        *PLAIN,
        "--snapshotter",
        "native",
        "--platform",
        "linux/arm64",
        f"{desk.host}/{name}:v1",
    )

    amd64, arm64 = desk.get(f"{name}/manifests/v1").json()["manifests"]
    configs = [desk.get(f"{name}/manifests/{one['digest']}").json()["config"] for one in (amd64, arm64)]
    held = ctr("content", "ls", "--quiet").split()
    assert [config["digest"] in held for config in configs] == [False, True]


def test_containerd_pushes_what_it_converted(desk: Desk, ctr: Callable[..., str]):
    layout = desk.layout()
    layout.name("v1", layout.image("containerd convert"))
    desk.push(layout, "v1", "library/containerd-convert")
    there, plain = f"{desk.host}/library/containerd-convert:v1", f"{desk.host}/library/containerd-plain:v1"
    ctr("images", "pull", *PLAIN, "--snapshotter", "native", there)

    ctr("images", "convert", "--uncompress", "--oci", there, plain)
    ctr("images", "push", *PLAIN, plain)

    layers = desk.get("library/containerd-plain/manifests/v1").json()["layers"]
    assert {layer["mediaType"] for layer in layers} == {"application/vnd.oci.image.layer.v1.tar"}
    assert desk.absent("library/containerd-plain", "v1") == []


def test_containerd_is_refused_with_a_wrong_password(desk: Desk, ctr: Callable[..., str]):
    desk.push_index("library/containerd-refused")
    there = f"{desk.host}/library/containerd-refused:v1"

    told = ctr("images", "pull", "--plain-http", "--user", f"{ADMIN}:Wrong-pass-1", there, fails=True)

    assert "401 Unauthorized" in told
