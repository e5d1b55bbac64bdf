"""podman and buildah: what keeps images, and builds them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.clients.conftest import Desk
from tests.worlds import ADMIN, PASSWORD

PLAIN = "--tls-verify=false"
TYPES = {
    "oci": "application/vnd.oci.image.manifest.v1+json",
    "v2s2": "application/vnd.docker.distribution.manifest.v2+json",
}
NOTHING: Mapping[str, str] = MappingProxyType({})
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"


def sign_in(desk: Desk, client: str) -> None:
    """Sign in with a client of that library."""
    desk.run(client, "login", PLAIN, "--username", ADMIN, "--password", PASSWORD, desk.host)


@pytest.fixture
def kept() -> Iterator[str]:
    """Give a folder to keep images in."""
    # podman refuses a longer path than 50 characters.
    with tempfile.TemporaryDirectory(prefix="pod-") as short:
        yield short


@pytest.fixture
def podman(desk: Desk, kept: str) -> Callable[..., str]:
    """Give what runs podman, with a storage of its own, and locks that no other podman of this machine shares."""
    flags = [
        *("--root", f"{kept}/root", "--runroot", f"{kept}/run", "--tmpdir", f"{kept}/state"),
        *("--cgroup-manager", "cgroupfs", "--events-backend", "file"),
    ]
    settings = desk.home / "containers.conf"
    settings.write_text('[engine]\nlock_type = "file"\n')

    def run(
        *arguments: str, driver: str = "vfs", also: Mapping[str, str] = NOTHING, errors: bool = False
    ) -> str:
        given = {"CONTAINERS_CONF": str(settings), **also}
        return desk.run(
            "podman", *flags, "--storage-driver", driver, *arguments, environment=given, errors=errors
        )

    return run


@pytest.fixture
def buildah(desk: Desk, kept: str) -> Callable[..., str]:
    """Give what runs buildah, with a storage of its own."""
    flags = ["--root", f"{kept}/root", "--runroot", f"{kept}/run", "--storage-driver", "vfs"]
    return lambda command, *arguments: desk.run("buildah", *flags, command, *arguments)


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


def test_podman_pushes_every_image_of_an_index_to_another_repository(desk: Desk, podman: Callable[..., str]):
    sign_in(desk, "podman")
    desk.push_index("library/podman-index")
    one, other = (f"docker://{desk.host}/{name}:v1" for name in ("library/podman-index", "team/podman/index"))

    podman("manifest", "create", "list")
    podman("manifest", "add", PLAIN, "--all", "list", one)
    podman("manifest", "push", PLAIN, "--all", "list", other)

    pushed, kept = (
        desk.get(f"{name}/manifests/v1").json()["manifests"]
        for name in ("team/podman/index", "library/podman-index")
    )
    assert [child["digest"] for child in pushed] == [child["digest"] for child in kept]
    assert desk.absent("team/podman/index", "v1") == []


def test_podman_gets_back_an_image_that_it_pushed_with_zstd(desk: Desk, podman: Callable[..., str]):
    sign_in(desk, "podman")
    layout = desk.layout()
    layout.name("v1", layout.image("podman zstd"))
    there = f"{desk.host}/library/podman-zstd:v1"

    image = podman("pull", "--quiet", f"oci:{layout.path}:v1").strip()
    podman("push", PLAIN, "--compression-format", "zstd", image, there)
    podman("rmi", "--all", "--force")
    again = podman("pull", "--quiet", PLAIN, there).strip()

    layers = desk.get("library/podman-zstd/manifests/v1").json()["layers"]
    assert [layer["mediaType"] for layer in layers] == [ZSTD, ZSTD]
    assert again == image


def test_podman_gets_only_the_parts_of_a_layer_that_it_asks_for(
    desk: Desk, kept: str, podman: Callable[..., str]
):
    if "overlay" not in Path("/proc/filesystems").read_text():
        pytest.skip("overlay, which podman needs to take layers in parts, is missing on this machine")
    sign_in(desk, "podman")
    layout = desk.layout()
    layout.name("v1", layout.image("podman parts"))
    there = f"{desk.host}/library/podman-parts:v1"
    desk.push(layout, "v1", "library/podman-parts", "--dest-compress-format", "zstd:chunked")
    settings = desk.home / "storage.conf"
    settings.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{kept}/root"\nrunroot = "{kept}/run"\n'
        '[storage.options]\npull_options = {enable_partial_images = "true"}\n'
    )

    told = podman(
        "--log-level", "debug", "pull", PLAIN, there,
        driver="overlay", also={"CONTAINERS_STORAGE_CONF": str(settings)}, errors=True,
    )  # fmt: skip

    for layer in desk.get("library/podman-parts/manifests/v1").json()["layers"]:
        assert f"Retrieved partial blob {layer['digest']}" in told.replace('\\"', "")


@pytest.mark.parametrize("kind", TYPES)
def test_buildah_builds_pushes_and_pulls(desk: Desk, buildah: Callable[..., str], kind: str):
    sign_in(desk, "buildah")
    (desk.home / "file").write_text("built")
    name = f"library/buildah-{kind}"
    there = f"docker://{desk.host}/{name}:v1"

    container = buildah("from", "scratch").strip()
    buildah("copy", container, "file", "/file")
    image = buildah("commit", "--quiet", "--format", kind.replace("v2s2", "docker"), container).strip()
    buildah("push", PLAIN, "--format", kind, image, there)
    buildah("rmi", "--all", "--force")
    again = buildah("pull", "--quiet", PLAIN, there).strip()

    assert again.removeprefix("sha256:") == image.removeprefix("sha256:")
    assert desk.head(f"{name}/manifests/v1").headers["content-type"] == TYPES[kind]


def test_buildah_builds_upon_what_it_pulls(desk: Desk, buildah: Callable[..., str]):
    sign_in(desk, "buildah")
    layout = desk.layout()
    layout.name("v1", layout.image("buildah base"))
    base = f"{desk.host}/library/buildah-base:v1"
    desk.push(layout, "v1", "library/buildah-base")
    (desk.home / "file").write_text("built upon")
    (desk.home / "Containerfile").write_text(f"FROM {base}\nCOPY file /file-of-mine\n")

    buildah("build", PLAIN, "--layers=false", "--tag", f"{desk.host}/library/buildah-upon:v1", ".")
    buildah("push", PLAIN, f"{desk.host}/library/buildah-upon:v1")

    layers = desk.get("library/buildah-upon/manifests/v1").json()["layers"]
    assert len(layers) == 3
