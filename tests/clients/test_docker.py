"""The docker command without an engine: what it asks of a registry itself."""

from __future__ import annotations

import json

from tests.clients.conftest import Desk
from tests.worlds import ADMIN, PASSWORD


def sign_in(desk: Desk) -> None:
    """Sign in as the greeting says."""
    desk.run("docker", "login", "--username", ADMIN, "--password-stdin", desk.host, given=PASSWORD)


def pushed(desk: Desk, name: str) -> tuple[str, str]:
    """Push two images with skopeo, and give their digests."""
    layout = desk.layout()
    digests = []
    for architecture in ("amd64", "arm64"):
        layout.name(architecture, layout.image(name, architecture))
        # Debian 12's docker reads no other format's manifest by itself.
        digests.append(desk.push(layout, architecture, f"library/{name}", "--format", "v2s2"))
    return digests[0], digests[1]


def test_docker_signs_in_with_the_right_password_only(desk: Desk):
    wrong = desk.run(
        "docker",
        "login",
        "--username",
        ADMIN,
        "--password-stdin",
        desk.host,
        given="Wrong-pass-1",
        fails=True,
    )
    sign_in(desk)

    assert "wrong password" in wrong
    assert desk.host in json.loads((desk.home / ".docker" / "config.json").read_text())["auths"]


def test_docker_signs_out(desk: Desk):
    sign_in(desk)

    desk.run("docker", "logout", desk.host)

    assert not json.loads((desk.home / ".docker" / "config.json").read_text()).get("auths")


def test_docker_looks_at_a_manifest(desk: Desk):
    sign_in(desk)
    digest, _ = pushed(desk, "docker-inspect")

    seen = desk.run(
        "docker", "manifest", "inspect", "--insecure", f"{desk.host}/library/docker-inspect:amd64"
    )

    manifest = desk.get(f"library/docker-inspect/manifests/{digest}").json()
    assert [layer["digest"] for layer in json.loads(seen)["layers"]] == [
        layer["digest"] for layer in manifest["layers"]
    ]


def test_docker_makes_a_manifest_list(desk: Desk):
    sign_in(desk)
    digests = pushed(desk, "docker-list")
    there = f"{desk.host}/library/docker-list"

    desk.run("docker", "manifest", "create", "--insecure", f"{there}:all", f"{there}:amd64", f"{there}:arm64")
    desk.run("docker", "manifest", "push", "--insecure", f"{there}:all")

    listed = desk.get("library/docker-list/manifests/all").json()["manifests"]
    assert sorted(child["digest"] for child in listed) == sorted(digests)
    assert {child["platform"]["architecture"] for child in listed} == {"amd64", "arm64"}


def test_docker_is_refused_before_it_signs_in(desk: Desk):
    refused = desk.run(
        "docker", "manifest", "inspect", "--insecure", f"{desk.host}/library/docker-secret:v1", fails=True
    )

    assert "unauthorized" in refused or "no such manifest" in refused
