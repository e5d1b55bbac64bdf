"""crane: the client that makes the fewest assumptions."""

from __future__ import annotations

import json
import tarfile

from tests.clients.conftest import Desk
from tests.clients.layouts import blobs, tar
from tests.worlds import ADMIN, PASSWORD

PLAIN = "--insecure"


def sign_in(desk: Desk) -> None:
    """Sign in with crane."""
    desk.run("crane", "auth", "login", desk.host, "--username", ADMIN, "--password", PASSWORD)


def test_crane_gets_back_what_it_pushed_byte_for_byte(desk: Desk):
    sign_in(desk)
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
    sign_in(desk)
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
    sign_in(desk)
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


def test_crane_copies_an_index_with_every_image(desk: Desk):
    sign_in(desk)
    layout, back = desk.layout(), desk.home / "back"
    index = layout.name("v1", layout.index("crane copy index"))
    one, other = f"{desk.host}/library/crane-index", f"{desk.host}/team/crane/index"
    desk.run("crane", "push", PLAIN, "--index", str(layout.path), f"{one}:pushed")
    desk.run("crane", "tag", PLAIN, f"{one}@{index['digest']}", "v1")

    desk.run("crane", "copy", PLAIN, f"{one}:v1", f"{other}:v1")
    desk.run("crane", "pull", PLAIN, "--format", "oci", f"{other}:v1", str(back))

    assert desk.run("crane", "digest", PLAIN, f"{other}:v1").strip() == index["digest"]
    assert blobs(back) == blobs(layout.path)


def test_crane_copies_a_repository_with_every_tag(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    layout.name("v1", layout.image("crane copy all"))
    one, other = f"{desk.host}/library/crane-all", f"{desk.host}/team/crane/all"
    for tag in ("v1", "v2"):
        desk.run("crane", "push", PLAIN, str(layout.path), f"{one}:{tag}")

    desk.run("crane", "copy", PLAIN, "--all-tags", one, other)

    assert desk.run("crane", "ls", PLAIN, other).split() == ["v1", "v2"]


def test_crane_changes_an_image_where_it_is(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    digest = layout.name("v1", layout.image("crane mutate"))["digest"]
    there = f"{desk.host}/library/crane-mutate"
    desk.run("crane", "push", PLAIN, str(layout.path), f"{there}:v1")

    desk.run(
        "crane",
        "mutate",
        PLAIN,
        "--label",
        "a=b",
        "--annotation",
        "c=d",
        "--tag",
        f"{there}:v2",
        f"{there}:v1",
    )
    desk.run("crane", "flatten", PLAIN, "--tag", f"{there}:flat", f"{there}:v2")

    changed = json.loads(desk.run("crane", "manifest", PLAIN, f"{there}:v2"))
    flat = json.loads(desk.run("crane", "manifest", PLAIN, f"{there}:flat"))
    assert changed["annotations"] == {"c": "d"}
    assert json.loads(desk.run("crane", "config", PLAIN, f"{there}:v2"))["config"]["Labels"] == {"a": "b"}
    assert [len(manifest["layers"]) for manifest in (changed, flat)] == [2, 1]
    assert desk.run("crane", "digest", PLAIN, f"{there}:v1").strip() == digest
    desk.run("crane", "validate", PLAIN, "--remote", f"{there}:flat")


def test_crane_adds_an_image_to_an_index(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    digest = layout.name("v1", layout.image("crane index append"))["digest"]
    there = f"{desk.host}/library/crane-more"
    desk.run("crane", "push", PLAIN, str(layout.path), f"{there}:v1")

    desk.run("crane", "index", "append", PLAIN, "--manifest", f"{there}:v1", "--tag", f"{there}:all")

    children = desk.get("library/crane-more/manifests/all").json()["manifests"]
    assert [(child["digest"], child["platform"]["architecture"]) for child in children] == [(digest, "amd64")]


def test_crane_gives_the_files_of_an_image(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    layout.name("v1", layout.image("crane export"))
    there = f"{desk.host}/library/crane-export:v1"
    desk.run("crane", "push", PLAIN, str(layout.path), there)

    desk.run("crane", "export", PLAIN, there, "files.tar")

    with tarfile.open(desk.home / "files.tar") as files:
        assert {*files.getnames()} == {"file", "of", "salt"}


def test_crane_deletes_a_tag_and_leaves_the_others(desk: Desk):
    sign_in(desk)
    layout = desk.layout()
    layout.name("v1", layout.image("crane delete"))
    there = f"{desk.host}/library/crane-delete"
    for tag in ("v1", "v2"):
        desk.run("crane", "push", PLAIN, str(layout.path), f"{there}:{tag}")

    desk.run("crane", "delete", PLAIN, f"{there}:v1")

    assert desk.run("crane", "ls", PLAIN, there).split() == ["v2"]


def _tar(desk: Desk) -> str:
    path = desk.home / "layer.tar"
    path.write_bytes(tar({"more": b"more"}))
    return str(path)
