"""Who may not: another registry's, another project's, somebody who was let go; on each engine with each store."""

from __future__ import annotations

import httpx
import pytest

from moorage.db import Tx
from moorage.identity import users
from moorage.identity.roles import Role
from moorage.oci.manifests import OCI_MANIFEST
from moorage.registry import projects
from tests.conformance.site import Site, digest_of, refused
from tests.worlds import World

LAYER = b"a layer that others must not read"


async def token(client: httpx.AsyncClient, *scopes: str, **more: str) -> dict[str, str]:
    """Ask the token service for a token, with the client's own name and password."""
    asked: dict[str, str | list[str]] = {"scope": list(scopes), **more}
    answer = await client.get("/service/token", params=asked)
    assert answer.status_code == 200, answer.text
    given: dict[str, str] = answer.json()
    return given


def bearer(text: str) -> dict[str, str]:
    """Show a token."""
    return {"authorization": f"Bearer {text}"}


def everything(location: str, digest: str) -> list[tuple[str, str]]:
    """List a request of every endpoint that names something of one repository."""
    upload = f"{location}?digest={digest_of(LAYER)}"
    return [
        ("GET", f"/v2/library/app/blobs/{digest_of(LAYER)}"),
        ("HEAD", f"/v2/library/app/blobs/{digest_of(LAYER)}"),
        ("GET", "/v2/library/app/manifests/v1"),
        ("GET", f"/v2/library/app/manifests/{digest}"),
        ("HEAD", f"/v2/library/app/manifests/{digest}"),
        ("GET", "/v2/library/app/tags/list"),
        ("GET", upload),
        ("PATCH", upload),
        ("PUT", upload),
        ("DELETE", upload),
        ("DELETE", f"/v2/library/app/manifests/{digest}"),
        ("DELETE", f"/v2/library/app/blobs/{digest_of(LAYER)}"),
    ]


@pytest.mark.parametrize("warm", [False, True])
async def test_nothing_of_one_registry_is_anything_in_another(world: World, *, warm: bool):
    site, other = Site(world.client), await world.add_registry()
    digest = await site.push_image("v1", LAYER)
    location = await site.begin()
    if warm:
        for method, path in everything(location, digest)[:6]:
            assert (await world.client.request(method, path)).status_code == 200

    for method, path in everything(location, digest):
        assert (await other.request(method, path)).status_code == 404, (method, path)

    referrers = await other.get(f"/v2/library/app/referrers/{digest}")
    mounted = await other.post(f"/v2/library/mine/blobs/uploads/?mount={digest_of(LAYER)}&from=library/app")
    assert referrers.json()["manifests"] == []
    assert mounted.status_code == 202
    assert (await other.get("/v2/_catalog")).json()["repositories"] == []
    assert (await site.get("manifests/v1")).status_code == 200
    assert (await world.client.get(location)).status_code == 204


async def test_no_credential_of_one_registry_opens_another(world: World):
    site, other = Site(world.client), await world.add_registry()
    await site.push_image("v1", LAYER)
    given = await token(
        other, "repository:library/app:pull,push,delete", "registry:catalog:*", offline_token="true"
    )
    nobody = await world.as_(None)
    anonymous = await world.as_(None, entry=world.entries[1])

    for method, path in everything(await site.begin(), digest_of(LAYER)):
        assert (await nobody.request(method, path, headers=bearer(given["token"]))).status_code == 401
    form = {
        "grant_type": "refresh_token",
        "refresh_token": given["refresh_token"],
        "service": "harbor-registry",
    }
    assert (await nobody.post("/service/token", data=form)).status_code == 401
    theirs = await token(anonymous, "repository:library/app:pull")
    assert (
        await nobody.get("/v2/library/app/manifests/v1", headers=bearer(theirs["token"]))
    ).status_code == 401


async def test_a_digest_of_a_private_repository_is_unknown_in_every_other(world: World):
    site = Site(world.client)
    await world.add_project("secret")
    await site.at("secret/app").push_blob(LAYER)
    stranger = Site(await world.add_user("eve", Role.DEVELOPER))

    for attempt in ("library/app", "library/secret"):
        assert (await stranger.at(attempt).get(f"blobs/{digest_of(LAYER)}")).status_code == 404
        assert (await stranger.at(attempt).ask("HEAD", f"blobs/{digest_of(LAYER)}")).status_code == 404
    assert (await stranger.at("secret/app").get(f"blobs/{digest_of(LAYER)}")).status_code == 403
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []}
    await stranger.begin()
    config = {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": digest_of(LAYER),
        "size": len(LAYER),
    }
    refused(await stranger.push({**document, "config": config}, "v1"), 400, "MANIFEST_BLOB_UNKNOWN")


@pytest.mark.parametrize("there", [True, False])
async def test_a_mount_without_the_right_to_pull_tells_nothing(world: World, *, there: bool):
    await world.add_project("secret")
    if there:
        await Site(world.client, "secret/app").push_blob(LAYER)
    stranger = await world.add_user("eve", Role.DEVELOPER)
    rights = await token(stranger, "repository:library/app:pull,push", "repository:secret/app:pull")

    by_name = await stranger.post(f"/v2/library/app/blobs/uploads/?mount={digest_of(LAYER)}&from=secret/app")
    anywhere = await stranger.post(f"/v2/library/app/blobs/uploads/?mount={digest_of(LAYER)}")
    by_token = await (await world.as_(None)).post(
        f"/v2/library/app/blobs/uploads/?mount={digest_of(LAYER)}&from=secret/app",
        headers=bearer(rights["token"]),
    )

    for answer in (by_name, anywhere, by_token):
        assert (answer.status_code, answer.content) == (202, b"")
        assert "docker-content-digest" not in answer.headers


async def test_who_is_let_go_is_refused_at_the_next_request_with_all_that_was_warm(world: World):
    site = Site(world.client)
    await site.push_image("v1", LAYER)
    leaver = await world.add_user("ann", Role.DEVELOPER)
    given = await token(leaver, "repository:library/app:pull,push", offline_token="true")
    nobody = await world.as_(None)
    path, shown = "/v2/library/app/manifests/v1", bearer(given["token"])
    for _ in range(3):
        assert (await leaver.get(path)).status_code == 200
        assert (await nobody.get(path, headers=shown)).status_code == 200
    location = await Site(leaver).begin()
    registry = await world.registry()

    async def work(tx: Tx) -> None:
        found = await users.find(tx, "ann")
        assert found is not None
        await users.remove(tx, found)

    await registry.db.change(work)

    assert (await leaver.get(path)).status_code == 401
    assert (await nobody.get(path, headers=shown)).status_code == 401
    assert (await nobody.patch(location, content=b"x", headers=shown)).status_code == 401
    form = {
        "grant_type": "refresh_token",
        "refresh_token": given["refresh_token"],
        "service": "harbor-registry",
    }
    assert (await nobody.post("/service/token", data=form)).status_code == 401


async def test_a_project_that_turns_private_is_so_at_the_next_request(world: World):
    await world.add_project("open", public=True)
    site, nobody = Site(world.client, "open/app"), await world.as_(None)
    await site.push_image("v1", LAYER)
    given = bearer((await token(nobody, "repository:open/app:pull"))["token"])
    paths = ["/v2/open/app/manifests/v1", f"/v2/open/app/blobs/{digest_of(LAYER)}", "/v2/open/app/tags/list"]
    for path in paths:
        assert (await nobody.get(path)).status_code == 200
        assert (await nobody.get(path, headers=given)).status_code == 200
    registry = await world.registry()
    home = await projects.find(registry.db, "open")
    assert home is not None
    await registry.db.change(lambda tx: projects.set_public(tx, home, public=False))

    for path in paths:
        assert (await nobody.get(path)).status_code == 401
        assert (await nobody.get(path, headers=given)).status_code == 401


async def test_an_answer_tells_a_stranger_no_more_of_what_is_there_than_of_what_is_not(world: World):
    await world.add_project("secret")
    await Site(world.client, "secret/app").push_image("v1", LAYER)
    stranger, nobody = await world.add_user("eve", Role.GUEST), await world.as_(None)

    for client in (stranger, nobody):
        for rest in (
            "manifests/v1",
            f"blobs/{digest_of(LAYER)}",
            "tags/list",
            f"referrers/{digest_of(LAYER)}",
        ):
            there = await client.get(f"/v2/secret/app/{rest}", headers={"x-request-id": "same"})
            absent = await client.get(f"/v2/absent/app/{rest}", headers={"x-request-id": "same"})

            assert there.status_code == absent.status_code
            assert there.text.replace("secret", "absent") == absent.text


async def test_a_further_registry_is_not_closed_under_the_requests_of_a_busy_one(world: World):
    world.plane.registries.most = 1
    site = Site(world.client)
    location = await site.begin()
    registry = await world.registry()
    other = await world.add_registry()

    with registry.use:
        assert (await other.get("/v2/")).status_code == 200
        assert await world.registry() is registry
        found = await projects.find(registry.db, "library")

    assert found is not None
    assert (await site.append(location, b"goes on")).status_code == 202
