"""Who may what on the wire: mounts, tokens, and registries that never see each other."""

from __future__ import annotations

import httpx
import pytest

from moorage.identity.roles import Role
from tests.conformance.site import Site, digest_of, refused
from tests.worlds import ADMIN, PASSWORD, World

BLOB = b"a blob that somebody else has"
MOUNT = "blobs/uploads/"


async def token(world: World, name: str, *scopes: str) -> dict[str, str]:
    """Get a token, and give the header that shows it."""
    asking = await world.as_(name)
    answer = await asking.get("/service/token", params={"service": "harbor-registry", "scope": list(scopes)})
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['token']}"}


async def test_nobody_mounts_what_they_may_not_pull(world: World):
    secret = Site(world.client, "secret/app")
    digest = await secret.push_blob(BLOB)
    alice = Site(await world.add_user("alice", Role.DEVELOPER, "team"), "team/app")

    answers = [
        await alice.ask("POST", MOUNT, params={"mount": digest, **more})
        for more in ({"from": "secret/app"}, {})
    ]

    assert [answer.status_code for answer in answers] == [202, 202]
    refused(await alice.get(f"blobs/{digest}"), 404, "BLOB_UNKNOWN")


async def test_everybody_mounts_from_a_public_project(world: World):
    await world.add_project("open", public=True)
    digest = await Site(world.client, "open/app").push_blob(BLOB)
    alice = Site(await world.add_user("alice", Role.DEVELOPER, "team"), "team/app")

    for more in ({"from": "open/app"}, {}):
        answer = await alice.ask("POST", MOUNT, params={"mount": digest, **more})

        assert answer.status_code == 201
        assert (await alice.get(f"blobs/{digest}")).content == BLOB
        await alice.ask("DELETE", f"blobs/{digest}")


async def test_nobody_pushes_by_mounting(world: World):
    digest = await Site(world.client, "library/app").push_blob(BLOB)
    bob = Site(await world.add_user("bob", Role.GUEST), "library/other")

    answer = await bob.ask("POST", MOUNT, params={"mount": digest, "from": "library/app"})

    refused(answer, 403, "DENIED")


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_a_token_for_one_repository_is_told_to_name_the_source_too(world: World):
    digest = await Site(world.client, "library/source").push_blob(BLOB)
    stranger = await world.as_(None)
    site = Site(stranger, "library/app")
    query = {"mount": digest, "from": "library/source"}
    narrow = await token(world, ADMIN, "repository:library/app:pull,push")

    unknown = await site.ask("POST", MOUNT, params=query)
    told = await site.ask("POST", MOUNT, params=query, headers=narrow)

    wanted = "repository:library/app:pull,push repository:library/source:pull"
    for answer in (unknown, told):
        refused(answer, 401, "UNAUTHORIZED")
        assert f'scope="{wanted}"' in answer.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in told.headers["www-authenticate"]
    wide = await token(world, ADMIN, wanted)
    assert (await site.ask("POST", MOUNT, params=query, headers=wide)).status_code == 201


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_a_token_for_one_repository_mounts_from_no_other(world: World):
    digest = await Site(world.client, "library/source").push_blob(BLOB)
    site = Site(await world.as_(None), "library/app")
    narrow = await token(world, ADMIN, "repository:library/app:pull,push")

    answer = await site.ask("POST", MOUNT, params={"mount": digest}, headers=narrow)

    assert answer.status_code == 202


async def test_two_registries_never_see_each_other(world: World):
    one = Site(world.client)
    other = Site(await world.add_registry())
    manifest = await one.push_image("v1", layer=BLOB)
    location = await one.begin()
    await one.append(location, BLOB)
    await other.push_blob(b"so that the repository is there")

    refused(await other.get("manifests/v1"), 404, "MANIFEST_UNKNOWN")
    refused(await other.get(f"manifests/{manifest}"), 404, "MANIFEST_UNKNOWN")
    refused(await other.get(f"blobs/{digest_of(BLOB)}"), 404, "BLOB_UNKNOWN")
    refused(await other.ask("DELETE", f"blobs/{digest_of(BLOB)}"), 404, "BLOB_UNKNOWN")
    refused(await other.ask("DELETE", f"manifests/{manifest}"), 404, "MANIFEST_UNKNOWN")
    for ask in (other.client.get, other.client.delete):
        refused(await ask(location), 404, "BLOB_UPLOAD_UNKNOWN")
    refused(await other.append(location, b"more"), 404, "BLOB_UPLOAD_UNKNOWN")
    refused(await other.finish(location, digest_of(BLOB)), 404, "BLOB_UPLOAD_UNKNOWN")
    for more in ({"from": one.name}, {}):
        mounted = await other.ask("POST", MOUNT, params={"mount": digest_of(BLOB), **more})
        assert mounted.status_code == 202
    assert (await other.get(f"referrers/{manifest}")).json()["manifests"] == []
    assert (await other.client.get("/v2/_catalog")).json() == {"repositories": [other.name]}
    assert (await one.finish(location, digest_of(BLOB))).status_code == 201


@pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)
async def test_what_signs_in_to_one_registry_signs_in_to_no_other(world: World):
    await world.add_registry()
    await world.add_user("alice", Role.DEVELOPER)
    elsewhere = await world.as_("alice", entry=world.entries[1])
    stranger = await world.as_(None, entry=world.entries[1])

    password = await elsewhere.get("/v2/")
    shown = await stranger.get("/v2/", headers=await token(world, ADMIN, "repository:library/app:pull"))

    refused(password, 401, "UNAUTHORIZED")
    refused(shown, 401, "UNAUTHORIZED")
    assert (await world.clients[1].get("/v2/", auth=httpx.BasicAuth(ADMIN, PASSWORD))).status_code == 200


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
@pytest.mark.parametrize(
    ("method", "path", "actions"),
    [
        ("GET", "blobs/sha256:" + "0" * 64, "pull"),
        ("GET", "manifests/v1", "pull"),
        ("GET", "tags/list", "pull"),
        ("GET", "referrers/sha256:" + "0" * 64, "pull"),
        ("POST", "blobs/uploads/", "pull,push"),
        ("PATCH", "blobs/uploads/some", "pull,push"),
        ("PUT", "blobs/uploads/some", "pull,push"),
        ("GET", "blobs/uploads/some", "pull,push"),
        ("DELETE", "blobs/uploads/some", "pull,push"),
        ("PUT", "manifests/v1", "pull,push"),
        ("DELETE", "manifests/v1", "delete"),
        ("DELETE", "blobs/sha256:" + "0" * 64, "delete"),
    ],
)
async def test_a_stranger_is_told_the_scope_that_each_endpoint_needs(
    world: World, method: str, path: str, actions: str
):
    site = Site(await world.as_(None))

    answer = await site.ask(method, path)

    refused(answer, 401, "UNAUTHORIZED")
    assert f'scope="repository:library/app:{actions}"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_the_catalog_is_for_administrators(world: World):
    alice = await world.add_user("alice", Role.PROJECT_ADMIN)
    stranger = await world.as_(None)

    refused(await alice.get("/v2/_catalog"), 403, "DENIED")
    told = await stranger.get("/v2/_catalog")
    refused(told, 401, "UNAUTHORIZED")
    assert 'scope="registry:catalog:*"' in told.headers["www-authenticate"]


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_a_method_that_a_path_has_not_is_told_with_those_that_it_has(world: World):
    for method, path, allowed in (
        ("POST", "manifests/v1", "GET, HEAD, PUT, DELETE"),
        ("PUT", "tags/list", "GET"),
    ):
        answer = await Site(world.client).ask(method, path)

        refused(answer, 405, "UNSUPPORTED")
        assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_a_name_that_breaks_a_rule_is_refused_with_it(world: World):
    for name in ("UPPER/app", "library/app_", "pro__ject/app", "library/" + "a" * 248):
        answer = await Site(world.client, name).get("tags/list")

        refused(answer, 400, "NAME_INVALID")


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_one_component_means_a_repository_of_library(world: World):
    short = Site(world.client, "app")
    digest = await short.push_image("v1")

    assert (await Site(world.client, "library/app").get("manifests/v1")).headers[
        "docker-content-digest"
    ] == digest
    assert (await short.get("tags/list")).json() == {"name": "library/app", "tags": ["v1"]}
