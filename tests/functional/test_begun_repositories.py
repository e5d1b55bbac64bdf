"""An upload of which nothing comes leaves no repository and no project behind, and nobody sees one before."""

from __future__ import annotations

from sqlalchemy import func, select

from moorage.db import Statement
from moorage.db.tables import project, repository
from moorage.oci.names import RepositoryName
from moorage.registry import projects, uploads
from tests.conformance.site import Site, digest_of
from tests.worlds import World

_NAMES = Statement(select(func.count().label("count")).select_from(repository))
_PROJECTS = Statement(select(func.count().label("count")).select_from(project))
GHOST = "/v2/ghost/x"
SINGLE = f"{GHOST}/blobs/uploads/?digest={digest_of(b'right')}"


async def rows(world: World) -> tuple[int, int]:
    """Count the rows of repositories and of projects, of which ``library`` is one."""
    db = (await world.registry()).db
    return (await db.one(_NAMES)).count, (await db.one(_PROJECTS)).count


async def seen(world: World) -> tuple[list[str], int, list[str]]:
    """Tell what is in the catalog, how tags are answered, and which projects there are."""
    catalog = (await world.client.get("/v2/_catalog")).json()["repositories"]
    tags = (await world.client.get(f"{GHOST}/tags/list")).status_code
    listed = await projects.all_of((await world.registry()).db)
    return catalog, tags, [one.name for one in listed]


async def test_a_cancelled_upload_leaves_nothing_and_shows_nothing(world: World) -> None:
    begun = await world.client.post(f"{GHOST}/blobs/uploads/")
    other = await world.client.post(f"{GHOST}/blobs/uploads/")
    meanwhile = await seen(world)
    status = (await world.client.get(begun.headers["location"])).status_code
    await world.client.delete(begun.headers["location"])
    kept = await rows(world)
    await world.client.delete(other.headers["location"])

    assert meanwhile == ([], 404, ["library"])
    assert status == 204
    assert (kept, await rows(world)) == ((1, 2), (0, 1))


async def test_a_blob_of_another_digest_leaves_nothing(world: World) -> None:
    refused = await world.client.post(SINGLE, content=b"wrong")

    assert refused.status_code == 400
    assert await rows(world) == (0, 1)


async def test_an_upload_that_expires_leaves_nothing(world: World) -> None:
    await world.client.post(f"{GHOST}/blobs/uploads/")
    registry = await world.registry()
    late = uploads.Uploads(registry.db, registry.store, -1, 1 << 20)
    await late.begin(RepositoryName.parse("ghost/x"), "", creates_project=True)

    await registry.db.change(lambda tx: uploads.expire(tx, 10, appends=registry.store.appends))

    assert await rows(world) == (1, 2)


async def test_what_is_pushed_makes_it_a_repository_like_others(world: World) -> None:
    other = await world.client.post(f"{GHOST}/blobs/uploads/")
    pushed = await world.client.post(SINGLE, content=b"right")
    whole = await seen(world)
    await world.client.delete(other.headers["location"])

    assert pushed.status_code == 201
    assert whole == (["ghost/x"], 200, ["ghost", "library"])
    assert await seen(world) == whole


async def test_a_manifest_beside_uploads_shows_its_repository_and_project_alone(world: World) -> None:
    await world.client.post("/v2/ghost/y/blobs/uploads/")
    site = Site(world.client, "ghost/x")

    await site.push_image("v1")

    assert await seen(world) == (["ghost/x"], 200, ["ghost", "library"])
    assert await rows(world) == (2, 2)


async def test_a_project_is_made_of_one_that_was_only_begun(world: World) -> None:
    begun = await world.client.post(f"{GHOST}/blobs/uploads/")

    await world.add_project("ghost", public=True)
    await world.client.delete(begun.headers["location"])

    listed = await projects.all_of((await world.registry()).db)
    assert [(one.name, one.public) for one in listed] == [("ghost", True), ("library", False)]
