"""docker's buildx: indexes made, looked at and copied where they are, without an engine; and images built and pushed with one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.clients import engines
from tests.clients.conftest import Desk
from tests.clients.programs import program
from tests.worlds import ADMIN, PASSWORD


@pytest.fixture
def buildx(desk: Desk) -> Callable[..., str]:
    """Give what runs buildx as docker's plugin, signed in."""
    plugins = desk.home / ".docker" / "cli-plugins"
    plugins.mkdir()
    (plugins / "docker-buildx").symlink_to(program("buildx"))
    desk.run("docker", "login", "--username", ADMIN, "--password-stdin", desk.host, given=PASSWORD)
    return lambda *arguments, **how: desk.run("docker", "buildx", *arguments, **how)


@pytest.fixture
def address() -> Iterator[str]:
    """Give the address of a running engine."""
    with engines.docker() as running:
        yield running


def pushed(desk: Desk, name: str) -> dict[str, str]:
    """Push an image for each of two architectures and an index of both, and give their digests."""
    layout = desk.layout()
    for architecture in ("amd64", "arm64"):
        layout.name(architecture, layout.image(name, architecture))
    layout.name("all", layout.index(name))
    tags = ("amd64", "arm64", "all")
    return {tag: desk.push(layout, tag, f"library/{name}") for tag in tags}


def test_buildx_looks_at_an_index(desk: Desk, buildx: Callable[..., str]):
    digest = pushed(desk, "buildx-inspect")["all"]
    there = f"{desk.host}/library/buildx-inspect:all"

    seen = buildx("imagetools", "inspect", there)
    raw = buildx("imagetools", "inspect", "--raw", there)
    config = json.loads(buildx("imagetools", "inspect", "--format", "{{json .Image}}", there))

    assert digest in seen
    assert json.loads(raw) == desk.get("library/buildx-inspect/manifests/all").json()
    assert {platform: image["architecture"] for platform, image in config.items()} == {
        "linux/amd64": "amd64",
        "linux/arm64": "arm64",
    }


def test_buildx_makes_an_index_of_images(desk: Desk, buildx: Callable[..., str]):
    digests = pushed(desk, "buildx-create")
    there = f"{desk.host}/library/buildx-create"

    buildx("imagetools", "create", "--tag", f"{there}:both", f"{there}:amd64", f"{there}:arm64")

    children = desk.get("library/buildx-create/manifests/both").json()["manifests"]
    assert {child["digest"] for child in children} == {digests["amd64"], digests["arm64"]}


def test_buildx_copies_an_index_to_another_repository(desk: Desk, buildx: Callable[..., str]):
    digests = pushed(desk, "buildx-copy")
    one, other = f"{desk.host}/library/buildx-copy", f"{desk.host}/team/buildx/copy"

    buildx("imagetools", "create", "--tag", f"{other}:v1", "--tag", f"{other}:v2", f"{one}:all")
    buildx("imagetools", "create", "--tag", f"{other}:noted", "--annotation", "index:a=b", f"{one}:all")

    for tag in ("v1", "v2"):
        assert (
            desk.head(f"team/buildx/copy/manifests/{tag}").headers["docker-content-digest"] == digests["all"]
        )
    noted = desk.get("team/buildx/copy/manifests/noted").json()
    assert noted["annotations"] == {"a": "b"}
    assert desk.absent("team/buildx/copy", "noted") == []


def test_buildx_adds_an_image_to_an_index(desk: Desk, buildx: Callable[..., str]):
    digests = pushed(desk, "buildx-append")
    there = f"{desk.host}/library/buildx-append"
    buildx("imagetools", "create", "--tag", f"{there}:both", f"{there}:amd64")

    buildx("imagetools", "create", "--append", "--tag", f"{there}:both", f"{there}:arm64")

    children = desk.get("library/buildx-append/manifests/both").json()["manifests"]
    assert {child["digest"] for child in children} == {digests["amd64"], digests["arm64"]}


def test_buildx_builds_upon_an_image_and_pushes_through_the_engine(
    desk: Desk, buildx: Callable[..., str], address: str
):
    pushed(desk, "buildx-base")
    there = f"{desk.host}/library/buildx-upon:v1"
    (desk.home / "context").mkdir()
    (desk.home / "context" / "file").write_text("built upon")
    (desk.home / "context" / "Dockerfile").write_text(
        f"FROM {desk.host}/library/buildx-base:all\nCOPY file /file-of-mine\n"
    )

    buildx(
        "build", "--platform", "linux/amd64", "--provenance=false", "--tag", there, "--push", "context",
        environment={"DOCKER_HOST": address},
    )  # fmt: skip

    assert len(desk.get("library/buildx-upon/manifests/v1").json()["layers"]) == 3
