"""The docker command with its engine: login, build, push and pull, as most people know them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.clients import engines
from tests.clients.conftest import Desk
from tests.worlds import ADMIN, PASSWORD

SCHEMA_2 = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Give the address of a running engine."""
    with engines.docker() as running:
        yield running


@pytest.fixture
def docker(desk: Desk, address: str) -> Iterator[Callable[..., str]]:
    """Give what runs docker, whose engine keeps no image afterwards."""

    def run(*arguments: str, **how: object) -> str:
        return desk.run("docker", "--host", address, *arguments, **how)  # type: ignore[arg-type]

    yield run
    run("image", "prune", "--all", "--force")


def sign_in(desk: Desk, docker: Callable[..., str]) -> None:
    """Sign in through the engine."""
    docker("login", "--username", ADMIN, "--password-stdin", desk.host, given=PASSWORD)


def image(desk: Desk, docker: Callable[..., str], name: str) -> str:
    """Build an image of one file, and give its id."""
    context = desk.home / "context"
    context.mkdir(exist_ok=True)
    (context / "file").write_text(name)
    (context / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n")
    return docker("build", "--quiet", "--tag", name, "context", environment={"DOCKER_BUILDKIT": "0"}).strip()


def test_docker_gets_back_the_image_that_it_built_and_pushed(desk: Desk, docker: Callable[..., str]):
    sign_in(desk, docker)
    there = f"{desk.host}/library/engine:v1"
    built = image(desk, docker, there)

    docker("push", there)
    docker("rmi", "--force", built)
    docker("pull", there)

    assert docker("image", "inspect", "--format", "{{.Id}}", there).strip() == built
    pushed = desk.head("library/engine/manifests/v1").headers
    assert pushed["content-type"] == SCHEMA_2
    digest = f"{desk.host}/library/engine@{pushed['docker-content-digest']}"
    assert docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", there).strip() == digest


def test_docker_mounts_the_layers_that_another_repository_has(desk: Desk, docker: Callable[..., str]):
    sign_in(desk, docker)
    one, other = f"{desk.host}/library/engine-one:v1", f"{desk.host}/team/engine/other:v1"
    image(desk, docker, one)
    docker("push", one)

    docker("tag", one, other)
    told = docker("push", other)

    assert "Mounted from library/engine-one" in told
    assert (
        desk.get("team/engine/other/manifests/v1").content
        == desk.get("library/engine-one/manifests/v1").content
    )


def test_docker_pushes_every_tag_at_once(desk: Desk, docker: Callable[..., str]):
    sign_in(desk, docker)
    there = f"{desk.host}/library/engine-tags"
    image(desk, docker, f"{there}:v1")
    docker("tag", f"{there}:v1", f"{there}:v2")

    docker("push", "--all-tags", there)

    assert desk.get("library/engine-tags/tags/list").json()["tags"] == ["v1", "v2"]


def test_docker_pulls_the_platform_that_it_is_asked_for(desk: Desk, docker: Callable[..., str]):
    sign_in(desk, docker)
    there = f"{desk.host}/library/engine-index:v1"
    desk.push_index("library/engine-index")

    docker("pull", "--platform", "linux/arm64", there)

    assert docker("image", "inspect", "--format", "{{.Architecture}}", there).strip() == "arm64"


def test_docker_is_refused_before_it_signs_in_and_with_a_wrong_password(
    desk: Desk, docker: Callable[..., str]
):
    there = f"{desk.host}/library/engine-refused:v1"
    image(desk, docker, there)

    refused = docker("push", there, fails=True)
    wrong = docker(
        "login", "--username", ADMIN, "--password-stdin", desk.host, given="Wrong-pass-1", fails=True
    )

    assert "authentication required" in refused or "unauthorized" in refused
    assert "wrong password" in wrong
