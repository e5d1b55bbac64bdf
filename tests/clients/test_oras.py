"""oras: what is no image."""

from __future__ import annotations

import json

import pytest

from tests.clients.conftest import Desk
from tests.worlds import ADMIN, PASSWORD

PLAIN = "--plain-http"
SBOM = "application/vnd.example.sbom.v1+json"


def sign_in(desk: Desk) -> None:
    """Sign in with oras."""
    desk.run("oras", "login", PLAIN, "--username", ADMIN, "--password-stdin", desk.host, given=PASSWORD)


def test_oras_gets_back_what_it_pushed(desk: Desk):
    sign_in(desk)
    (desk.home / "text").write_text("an artifact")
    (desk.home / "back").mkdir()
    there = f"{desk.host}/library/oras:v1"

    desk.run("oras", "push", PLAIN, "--artifact-type", SBOM, there, "text:text/plain")
    desk.run("oras", "pull", PLAIN, "--output", "back", there)

    assert (desk.home / "back" / "text").read_text() == "an artifact"
    assert desk.get("library/oras/manifests/v1").json()["artifactType"] == SBOM


def test_oras_attaches_discovers_and_copies_with_what_refers(desk: Desk):
    sign_in(desk)
    (desk.home / "text").write_text("an artifact")
    (desk.home / "sbom").write_text('{"a": "bill"}')
    one, other = f"{desk.host}/library/oras-one:v1", f"{desk.host}/team/oras/other:v1"
    desk.run(
        "oras", "push", PLAIN, "--artifact-type", "application/vnd.example.thing", one, "text:text/plain"
    )

    desk.run("oras", "attach", PLAIN, "--artifact-type", SBOM, one, "sbom:application/json")
    desk.run("oras", "copy", "--from-plain-http", "--to-plain-http", "--recursive", one, other)

    for there in (one, other):
        found = json.loads(desk.run("oras", "discover", PLAIN, "--format", "json", there))
        assert [entry["artifactType"] for entry in found["referrers"]] == [SBOM]
    # With the API there, nobody keeps a list under a fallback tag.
    assert desk.get("library/oras-one/tags/list").json()["tags"] == ["v1"]


def test_oras_lists_and_deletes(desk: Desk):
    sign_in(desk)
    (desk.home / "text").write_text("an artifact to delete")
    there = f"{desk.host}/library/oras-delete"
    desk.run("oras", "push", PLAIN, "--artifact-type", SBOM, f"{there}:v1,v2", "text:text/plain")

    tags = desk.run("oras", "repo", "tags", PLAIN, there).split()
    names = desk.run("oras", "repo", "ls", PLAIN, desk.host).split()
    desk.run("oras", "manifest", "delete", PLAIN, "--force", f"{there}:v1")

    assert tags == ["v1", "v2"]
    assert "library/oras-delete" in names
    assert desk.get("library/oras-delete/tags/list").json()["tags"] == []


def test_oras_tells_a_wrong_password(desk: Desk):
    told = desk.run(
        "oras",
        "login",
        PLAIN,
        "--username",
        ADMIN,
        "--password-stdin",
        desk.host,
        given="Wrong-pass-1",
        fails=True,
    )

    assert "wrong password" in told


def test_oras_makes_an_index_and_copies_it_with_what_refers_to_its_images(desk: Desk):
    sign_in(desk)
    one, other = f"{desk.host}/library/oras-index", f"{desk.host}/team/oras/index"
    for part in ("amd64", "arm64"):
        (desk.home / "text").write_text(f"for {part}")
        desk.run("oras", "push", PLAIN, "--artifact-type", SBOM, f"{one}:{part}", "text:text/plain")
    (desk.home / "sbom").write_text('{"a": "bill"}')
    desk.run("oras", "attach", PLAIN, "--artifact-type", SBOM, f"{one}:arm64", "sbom:application/json")

    desk.run("oras", "manifest", "index", "create", PLAIN, f"{one}:all", "amd64", "arm64")
    desk.run("oras", "cp", "-r", "--from-plain-http", "--to-plain-http", f"{one}:all", f"{other}:v1,v2")

    digests = [desk.run("oras", "resolve", PLAIN, f"{one}:{part}").strip() for part in ("amd64", "arm64")]
    children = desk.get("team/oras/index/manifests/v2").json()["manifests"]
    assert [child["digest"] for child in children] == digests
    found = json.loads(desk.run("oras", "discover", PLAIN, "--format", "json", f"{other}@{digests[1]}"))
    assert [entry["artifactType"] for entry in found["referrers"]] == [SBOM]


@pytest.mark.parametrize("where", ["folder", "file.tar"])
def test_oras_backs_a_repository_up_and_restores_it(desk: Desk, where: str):
    sign_in(desk)
    name, restored = f"library/oras-{where}", f"team/oras/restored-{where}"
    for tag in ("v1", "v2"):
        (desk.home / "text").write_text(f"to keep: {tag}")
        desk.run(
            "oras", "push", PLAIN, "--artifact-type", SBOM, f"{desk.host}/{name}:{tag}", "text:text/plain"
        )
    (desk.home / "sbom").write_text('{"a": "bill"}')
    desk.run(
        "oras", "attach", PLAIN, "--artifact-type", SBOM, f"{desk.host}/{name}:v1", "sbom:application/json"
    )

    desk.run("oras", "backup", PLAIN, "--include-referrers", "--output", where, f"{desk.host}/{name}")
    desk.run("oras", "restore", PLAIN, "--input", where, f"{desk.host}/{restored}")

    assert desk.get(f"{restored}/tags/list").json()["tags"] == ["v1", "v2"]
    for tag in ("v1", "v2"):
        digest = desk.head(f"{name}/manifests/{tag}").headers["docker-content-digest"]
        assert desk.head(f"{restored}/manifests/{tag}").headers["docker-content-digest"] == digest
        referring = [desk.get(f"{one}/referrers/{digest}").json()["manifests"] for one in (name, restored)]
        assert referring[1] == referring[0]
        assert len(referring[1]) == (1 if tag == "v1" else 0)


def test_oras_pushes_fetches_and_deletes_one_blob(desk: Desk):
    sign_in(desk)
    there = f"{desk.host}/library/oras-blob"
    (desk.home / "blob").write_text("a blob that nothing names")

    pushed = json.loads(desk.run("oras", "blob", "push", PLAIN, "--descriptor", there, "blob"))
    fetched = desk.run("oras", "blob", "fetch", PLAIN, "--output", "-", f"{there}@{pushed['digest']}")
    desk.run("oras", "blob", "delete", PLAIN, "--force", f"{there}@{pushed['digest']}")

    assert fetched == "a blob that nothing names"
    assert desk.head(f"library/oras-blob/blobs/{pushed['digest']}").status_code == 404
