"""Clients that still have the name that a project, or a repository, had: they push and pull as before."""

from __future__ import annotations

import httpx

from tests.clients.conftest import Desk
from tests.clients.strict_harborapi import Strict
from tests.functional.harbor_artifacts import path_of
from tests.worlds import ADMIN, PASSWORD

PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")


def asked(desk: Desk, path: str, **body: str) -> None:
    """Ask the registry's management side to change a name."""
    answer = httpx.post(f"http://{desk.host}{path}", json=body, auth=(ADMIN, PASSWORD), timeout=120)
    assert answer.status_code == 200, answer.text


async def test_clients_go_on_by_the_old_names_of_a_project_and_a_repository(
    desk: Desk, admin: Strict, name: str
):
    await admin.create_project({"project_name": name})  # type: ignore[arg-type]
    layout = desk.layout()
    layout.name("v1", layout.image("first"))
    first = desk.push(layout, "v1", f"{name}/app")
    new, other = f"{name}-new", f"{name}-other"

    asked(desk, f"/api/v2.0/projects/{name}/rename", name=new)
    layout.name("v2", layout.image("second"))
    second = desk.push(layout, "v2", f"{name}/app")
    await admin.create_project({"project_name": other})  # type: ignore[arg-type]
    asked(desk, f"{path_of(f'{name}/app')}/move", project=other, name="moved/app")
    layout.name("v3", layout.image("third"))
    third = desk.push(layout, "v3", f"{name}/app")

    repository = await admin.get_repository(other, "moved/app")
    assert (repository.name, (await admin.get_project(name)).name) == (f"{other}/moved/app", new)
    desk.run("crane", "auth", "login", desk.host, "--username", ADMIN, "--password", PASSWORD)
    for where in (f"{name}/app", f"{new}/app", f"{other}/moved/app"):
        there = f"{desk.host}/{where}"
        assert desk.run("crane", "ls", "--insecure", there).split() == ["v1", "v2", "v3"]
        for tag, digest in (("v1", first), ("v2", second), ("v3", third)):
            assert desk.run("crane", "digest", "--insecure", f"{there}:{tag}").strip() == digest
        desk.run("crane", "validate", "--insecure", "--remote", f"{there}:v3")
    desk.run(
        "skopeo", "copy", *PLAIN, "--src-creds", f"{ADMIN}:{PASSWORD}", f"docker://{desk.host}/{name}/app:v3",
        f"oci:{desk.home / 'back'}:v3",
    )  # fmt: skip
    (desk.home / "text").write_text("an artifact")
    desk.run(
        "oras", "login", "--plain-http", "--username", ADMIN, "--password-stdin", desk.host, given=PASSWORD
    )
    desk.run("oras", "push", "--plain-http", f"{desk.host}/{name}/app:v4", "text:text/plain")
    desk.run("oras", "attach", "--plain-http", "--artifact-type", "a/b", f"{desk.host}/{name}/app:v4", "text")
    found = desk.run(
        "oras", "discover", "--plain-http", "--format", "json", f"{desk.host}/{other}/moved/app:v4"
    )
    assert '"a/b"' in found
