"""Repositories through Harbor's API."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import bindparam

from moorage.api.harbor.operations import PREFIX
from moorage.db import Statement, insert
from moorage.db.tables import immutable_rule
from moorage.identity.roles import Role
from moorage.oci.digests import Digest
from moorage.registry import projects
from tests.worlds import World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

IMAGE = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
_RULE = Statement(
    insert(immutable_rule).values(project_id=bindparam("project"), repositories="kept", created_at=0)
)


async def push(client: httpx.AsyncClient, name: str, tag: str, config: dict[str, object]) -> str:
    """Push an image, or what looks like one, and give its digest."""
    data = json.dumps(config).encode()
    began = await client.post(
        f"/v2/{name}/blobs/uploads/", params={"digest": str(Digest.of(data))}, content=data
    )
    assert began.status_code == 201, began.text
    described = {"mediaType": CONFIG, "digest": str(Digest.of(data)), "size": len(data)}
    body = json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "config": described, "layers": []}).encode()
    done = await client.put(f"/v2/{name}/manifests/{tag}", content=body, headers={"content-type": IMAGE})
    assert done.status_code == 201, done.text
    return done.headers["docker-content-digest"]


def path_of(name: str) -> str:
    """Give a repository's path as Harbor's clients write it: encoded twice."""
    project, _, rest = name.partition("/")
    return f"{PREFIX}/projects/{project}/repositories/{quote(quote(rest, safe=''), safe='')}"


async def test_repositories_are_listed_described_and_deleted_to_the_trash(world: World):
    digest = await push(world.client, "library/web/front", "v1", {"os": "linux"})
    await push(world.client, "library/web/front", "v2", {"os": "plan9"})
    await push(world.client, "library/app", "v1", {})
    await world.client.get(f"/v2/library/web/front/manifests/{digest}")
    await (await world.registry()).pulls.flush()
    listed = f"{PREFIX}/projects/library/repositories"

    page = await world.client.get(f"{listed}?page_size=1&page=2&sort=-name")
    assert [one["name"] for one in page.json()] == ["library/app"]
    assert (page.headers["x-total-count"], 'rel="prev"' in page.headers["link"]) == ("2", True)
    found = (await world.client.get(f"{listed}?q=name%3D~front")).json()
    assert [(one["artifact_count"], one["pull_count"], one["description"]) for one in found] == [(2, 1, "")]
    home = path_of("library/web/front")
    assert (await world.client.put(home, json={"description": "what is seen"})).status_code == 200
    shown = (await world.client.get(home)).json()
    assert shown["description"] == "what is seen"
    assert shown["update_time"] > shown["creation_time"]

    assert (await world.client.delete(home)).status_code == 200
    assert [one["name"] for one in (await world.client.get(listed)).json()] == ["library/app"]
    for method in ("GET", "PUT", "DELETE"):
        gone = await world.client.request(method, home, json={"description": ""})
        assert (gone.status_code, gone.json()["errors"][0]["code"]) == (404, "NOT_FOUND")
    assert (await world.client.get(f"/v2/library/web/front/manifests/{digest}")).status_code == 404
    registry = await world.registry()
    library = await projects.find(registry.db, "library")
    assert library is not None
    assert library.trash > 0
    # The name is free: another repository begins there, and has nothing of the one before.
    await push(world.client, "library/web/front", "v9", {"os": "linux"})
    assert (await world.client.get(home)).json()["artifact_count"] == 1


async def test_a_repository_with_an_immutable_tag_is_kept(world: World):
    await push(world.client, "library/kept", "v1", {})
    db = (await world.registry()).db
    library = await projects.find(db, "library")
    assert library is not None
    await db.write(_RULE, project=library.id)

    refused = await world.client.delete(path_of("library/kept"))

    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (412, "PRECONDITION")
    assert "configured as immutable" in refused.text
    assert (await world.client.get(path_of("library/kept"))).status_code == 200


async def test_all_repositories_are_those_that_somebody_sees(world: World):
    await world.add_project("open", public=True)
    await world.add_project("closed")
    guest = await world.add_user("guest", Role.LIMITED_GUEST)
    for project in ("library", "open", "closed"):
        await push(world.client, f"{project}/app", "v1", {})

    async def seen(client: httpx.AsyncClient) -> list[str]:
        answer = await client.get(f"{PREFIX}/repositories")
        assert answer.headers["x-total-count"] == str(len(answer.json()))
        return [one["name"] for one in answer.json()]

    # The newest first, as in Harbor.
    assert await seen(world.client) == ["closed/app", "open/app", "library/app"]
    assert await seen(guest) == ["open/app", "library/app"]
    assert await seen(await world.as_(None)) == ["open/app"]
    # Whoever may not is not told what is there.
    for name in ("closed/app", "closed/nothing", "nothing/app"):
        assert [(await one.get(path_of(name))).status_code for one in (guest, await world.as_(None))] == [
            403,
            401,
        ]
