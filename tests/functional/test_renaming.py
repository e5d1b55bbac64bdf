"""Projects that are renamed: the old name goes on meaning them, for every client and whoever may, and for nobody else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from moorage.api.harbor.operations import PREFIX
from moorage.identity import old_names
from moorage.identity.roles import Role
from moorage.oci.digests import Digest
from moorage.registry import relay
from tests.functional.harbor_artifacts import CONFIG, IMAGE, LAYER, path_of, push, put, upload
from tests.functional.names_world import (
    PULL,
    PUSH,
    counted_right,
    made_as,
    move,
    pulls,
    rename,
    said,
    token,
    with_token,
)
from tests.functional.test_harbor_robots import made, of_project, of_system
from tests.worlds import World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)


async def unwatched(*_: Any) -> None:
    """Nobody waits for an event here."""
    raise AssertionError


async def test_pulls_and_uploads_under_way_go_on_by_the_old_name_as_by_the_new_one(world: World):
    admin = world.client
    await world.add_project("team")
    digest = await push(admin, "team/app", "1", {"n": 1}, b"layer")
    begun = await admin.post("/v2/team/app/blobs/uploads/")
    first = await admin.patch(begun.headers["location"], content=b"in two ")

    assert (await rename(admin, "team", "crew")).status_code == 200
    for name in ("team/app", "crew/app"):
        pulled = await admin.get(f"/v2/{name}/manifests/1")
        assert (pulled.status_code, pulled.headers["docker-content-digest"]) == (200, digest)
        assert (await admin.get(f"/v2/{name}/tags/list")).json() == {"name": name, "tags": ["1"]}
        layer = Digest.of(b"layer")
        assert (await admin.get(f"/v2/{name}/blobs/{layer}")).content == b"layer"
        assert (await admin.head(f"/v2/{name}/blobs/{layer}")).status_code == 200

    second = await admin.patch(first.headers["location"], content=b"halves")
    whole = Digest.of(b"in two halves")
    ended = await admin.put(second.headers["location"], params={"digest": str(whole)})
    assert second.headers["location"].startswith("/v2/team/app/")
    assert (ended.status_code, ended.headers["location"]) == (201, f"/v2/team/app/blobs/{whole}")
    assert await counted_right(world)


async def test_pushes_and_deletes_go_on_by_the_old_name_as_by_the_new_one(world: World):
    admin = world.client
    await world.add_project("team")
    digest = await push(admin, "team/app", "1", {"n": 1}, b"layer")
    assert (await rename(admin, "team", "crew")).status_code == 200
    whole = Digest.of(b"in two halves")
    described = await upload(admin, "team/app", b"in two halves", LAYER)
    config = await upload(admin, "team/app", b"{}", CONFIG)
    signed = {"mediaType": IMAGE, "digest": digest, "size": 1}
    later = await put(admin, "team/app", "2", {"config": config, "layers": [described], "subject": signed})
    fresh = await push(admin, "team/new", "1", {"n": 2}, b"other")

    referrers = await admin.get(f"/v2/team/app/referrers/{digest}")
    assert [one["digest"] for one in referrers.json()["manifests"]] == [later]
    assert (await admin.get("/v2/crew/app/manifests/2")).headers["docker-content-digest"] == later
    assert (await admin.get("/v2/crew/new/manifests/1")).headers["docker-content-digest"] == fresh
    assert (await admin.get("/v2/_catalog")).json()["repositories"] == ["crew/app", "crew/new"]
    mounted = await admin.post(
        "/v2/crew/third/blobs/uploads/", params={"mount": str(whole), "from": "team/app"}
    )
    assert mounted.status_code == 201
    assert (await admin.delete("/v2/team/app/manifests/2")).status_code == 202
    assert await pulls(admin, "crew/app", "2") == 404
    assert await counted_right(world)


async def test_robots_and_tokens_keep_working_under_both_names_warm_and_cold(world: World):
    admin = world.client
    for name in ("team", "other"):
        await world.add_project(name)
        await push(admin, f"{name}/app", "1", {"of": name})
    own = await made(admin, of_project("ci", "team", PULL, PUSH))
    all_of_it = await made(admin, of_system("all", ("project", "team", "repository", "pull")))
    guest = await world.add_user("guest", Role.GUEST, "team")
    warm = await world.as_(own["name"], own["secret"])
    wide = await world.as_(all_of_it["name"], all_of_it["secret"])
    before = await with_token(world, await token(guest, "repository:team/app:pull"))
    assert [await pulls(one, "team/app") for one in (warm, wide, before, guest)] == [200] * 4

    assert (await rename(admin, "team", "crew")).status_code == 200
    renamed = await world.as_("robot$crew+ci", own["secret"])
    cold = await world.as_(own["name"], own["secret"])
    for one in (warm, cold, renamed, wide, guest):
        assert [await pulls(one, name) for name in ("team/app", "crew/app")] == [200, 200]
    assert await pulls(before, "team/app") == 200
    assert [await pulls(one, "other/app") for one in (warm, wide, guest, before)] == [403] * 4
    for name in ("team/app", "crew/app"):
        fresh = await with_token(world, await token(cold, f"repository:{name}:pull,push"))
        await push(fresh, name, "2", {"by": name})
        assert await pulls(fresh, name, "2") == 200


async def test_a_robot_is_called_by_the_projects_name_and_answers_to_the_old_one_until_that_is_freed(
    world: World,
):
    admin = world.client
    await world.add_project("team")
    await push(admin, "team/app", "1", {"n": 1})
    own = await made(admin, of_project("ci", "team", PULL))
    all_of_it = await made(admin, of_system("all", ("project", "team", "repository", "pull")))
    guest = await world.add_user("guest", Role.GUEST, "team")
    assert (await rename(admin, "team", "crew")).status_code == 200
    cold = await world.as_(own["name"], own["secret"])
    renamed = await world.as_("robot$crew+ci", own["secret"])
    wide = await world.as_(all_of_it["name"], all_of_it["secret"])
    assert [await pulls(one, "team/app") for one in (cold, renamed, wide)] == [200] * 3
    told = (await admin.get(f"{PREFIX}/robots/{own['id']}")).json()
    assert (told["name"], told["permissions"][0]["namespace"]) == ("robot$crew+ci", "crew")

    # A configuration that still has the old names keeps working, and gives what the project has now.
    old = {**told, "name": own["name"], "description": "still so called"}
    old["permissions"] = [{**told["permissions"][0], "namespace": "team"}]
    assert (await admin.put(f"{PREFIX}/robots/{own['id']}", json=old)).status_code == 200
    more = await made(admin, of_project("more", "team"))
    assert more["name"] == "robot$crew+more"

    freed = await admin.delete(f"{PREFIX}/projects/crew/old-names/team")
    assert freed.status_code == 200
    assert [await pulls(one, "crew/app") for one in (renamed, wide)] == [200, 200]
    assert [await pulls(one, "crew/app") for one in (await world.as_(own["name"], own["secret"]), cold)] == [
        401,
        401,
    ]
    assert [await pulls(one, "team/app") for one in (renamed, wide, guest)] == [403] * 3


async def test_an_old_name_is_never_anothers_until_it_is_freed(world: World):
    admin = world.client
    await world.add_project("team")
    await push(admin, "team/app", "1", {"n": 1})
    member = await world.add_user("member", Role.MAINTAINER, "team")
    owner = await world.add_user("owner", Role.PROJECT_ADMIN, "team")
    stranger = await world.add_user("stranger", Role.PROJECT_ADMIN, "elsewhere")
    assert (await rename(owner, "team", "crew")).status_code == 200

    told = await owner.post(f"{PREFIX}/projects", json={"project_name": "team"})
    hidden = await stranger.post(f"{PREFIX}/projects", json={"project_name": "team"})
    in_use = await stranger.post(f"{PREFIX}/projects", json={"project_name": "crew"})
    assert (told.status_code, hidden.status_code, in_use.status_code) == (409, 409, 409)
    assert "old name of project crew" in told.text
    assert "crew" not in hidden.text
    assert said(hidden, "team") == said(in_use, "crew")
    assert (await rename(stranger, "elsewhere", "team")).status_code == 409
    # An administrator's push makes projects, but none of this name.
    await push(admin, "team/new", "1", {"n": 2})
    assert await pulls(admin, "crew/new") == 200

    listed = (await member.get(f"{PREFIX}/projects/crew/old-names")).json()
    assert [(one["name"], one["kind"], one["current"]) for one in listed] == [("team", "project", "crew")]
    path = f"{PREFIX}/projects/crew/old-names/team"
    assert [(await one.delete(path)).status_code for one in (stranger, member, owner)] == [403, 403, 200]
    assert (await owner.delete(path)).status_code == 404
    assert (await owner.delete(f"{PREFIX}/projects/crew/old-names/crew")).status_code == 404
    assert await pulls(owner, "team/app") == 403
    assert await made_as(stranger, "team") == 201
    await push(stranger, "team/app", "1", {"n": 3})
    assert [await pulls(one, "team/app") for one in (stranger, owner, member)] == [200, 403, 403]
    assert [await pulls(one, "crew/app") for one in (stranger, owner, member)] == [403, 200, 200]


async def test_what_was_renamed_looks_to_strangers_like_what_never_was(world: World):
    admin = world.client
    await world.add_project("team")
    await world.add_project("secret")
    await push(admin, "team/app", "1", {"n": 1})
    await push(admin, "team/moved", "1", {"n": 1})
    reader = await world.add_user("reader", Role.MAINTAINER, "team")
    stranger = await world.add_user("stranger", Role.PROJECT_ADMIN, "elsewhere")
    nobody = await world.as_(None)
    assert (await move(admin, "team/moved", project="secret")).status_code == 200
    assert (await rename(admin, "team", "crew")).status_code == 200

    async def asked(client: httpx.AsyncClient, method: str, path: str) -> tuple[int, str]:
        return said(await client.request(method, path), "team", "crew", "zzzz", "moved", "never")

    for one in (stranger, nobody):
        for method, path in (
            ("GET", "/v2/{}/manifests/1"),
            ("HEAD", "/v2/{}/manifests/1"),
            ("POST", "/v2/{}/blobs/uploads/"),
            ("GET", "/v2/{}/tags/list"),
            ("GET", f"/v2/{{}}/referrers/{Digest.of(b'x')}"),
        ):
            old = await asked(one, method, path.format("team/moved"))
            assert old == await asked(one, method, path.format("zzzz/never"))
            assert old[0] in {401, 403}
        for path in (
            "/projects/{}",
            "/projects/{}/repositories/moved",
            "/projects/{}/old-names",
            "/projects/{}/logs",
        ):
            full = f"{PREFIX}{path}"
            assert await asked(one, "GET", full.format("team")) == await asked(
                one, "GET", full.format("zzzz")
            )
    # Who may here, and not where it went to, is told that there is nothing.
    for method, path in (("GET", "/v2/{}/manifests/1"), ("GET", "/v2/{}/tags/list")):
        for name in ("crew", "team"):
            gone = await asked(reader, method, path.format(f"{name}/moved"))
            assert gone == await asked(reader, method, path.format(f"{name}/never"))
            assert gone[0] == 404
    api = f"{PREFIX}/projects/team/repositories"
    assert await asked(reader, "GET", f"{api}/moved") == await asked(reader, "GET", f"{api}/never")


async def test_names_lead_to_the_same_project_in_one_step_and_back(world: World):
    admin = world.client
    number = (
        (await admin.post(f"{PREFIX}/projects", json={"project_name": "a"}))
        .headers["location"]
        .split("/")[-1]
    )
    await push(admin, "a/app", "1", {"n": 1})
    for before, after in (("a", "b"), ("a", "c"), ("b", "d")):
        # Asked for by an old name each time, but the first.
        assert (await rename(admin, before, after)).headers["location"] == f"{PREFIX}/projects/{after}"
    for name in "abcd":
        assert await pulls(admin, f"{name}/app") == 200
        shown = (await admin.get(f"{PREFIX}/projects/{name}")).json()
        assert (shown["project_id"], shown["name"]) == (int(number), "d")
    assert (await rename(admin, "d", "b")).status_code == 200
    assert (await rename(admin, "b", "b")).status_code == 200
    kept = [one["name"] for one in (await admin.get(f"{PREFIX}/projects/b/old-names")).json()]
    assert kept == ["a", "c", "d"]
    assert [await pulls(admin, f"{name}/app") for name in "abcd"] == [200] * 4

    assert (await rename(admin, "b", "Not a name")).status_code == 400
    assert (await rename(admin, "b", "n" * 252)).status_code == 400
    assert (await admin.delete(f"{path_of('b/app')}")).status_code == 200
    assert (await admin.delete(f"{PREFIX}/projects/a")).status_code == 200
    assert [await made_as(admin, name) for name in "abcd"] == [201] * 4
    assert [await pulls(admin, f"{name}/app") for name in "abcd"] == [404] * 4


async def test_the_record_goes_with_the_name_that_a_project_had_then(world: World):
    admin = world.client
    await world.add_project("team")
    owner = await world.add_user("owner", Role.PROJECT_ADMIN, "team")
    await world.add_project("crew")
    await push(owner, "team/app", "before", {"n": 1})
    assert (await admin.delete(f"{PREFIX}/projects/crew")).status_code == 200
    assert (await rename(owner, "team", "crew")).status_code == 200
    await push(owner, "crew/app", "after", {"n": 2})
    assert (await owner.delete(f"{PREFIX}/projects/crew/old-names/team")).status_code == 200
    other = await world.add_user("other", Role.PROJECT_ADMIN, "team")
    await push(other, "team/app", "others", {"n": 3})
    assert (await rename(owner, "crew", "gang")).status_code == 200

    registry = await world.registry()
    await registry.gathered.flush()
    await relay.drain(registry.db, registry.entry.uuid, {}, unwatched)

    async def lines(client: httpx.AsyncClient, path: str) -> list[tuple[str, str]]:
        answer = await client.get(f"{PREFIX}{path}", params={"sort": "id", "page_size": 100})
        told = [(one["operation"], one["resource"].partition("@")[0]) for one in answer.json()]
        assert answer.headers["x-total-count"] == str(len(told))
        return told

    mine = await lines(owner, "/projects/gang/logs")
    assert [one for one in mine if one[0] == "create"] == [("create", "team/app"), ("create", "crew/app")]
    assert [one for one in mine if one[0] == "update"] == [
        ("update", "crew"),
        ("update", "team"),
        ("update", "gang"),
    ]
    assert await lines(owner, "/audit-logs") == mine
    assert await lines(owner, "/projects/crew/logs") == mine
    assert await lines(other, "/projects/team/logs") == [("create", "team/app")]
    assert await lines(other, "/audit-logs") == [("create", "team/app")]


async def test_what_was_never_renamed_pays_for_old_names_only_where_a_name_is_not_found(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    way, project_of = old_names._way, old_names.project_of

    async def counted_way(reader: Any, name: Any) -> Any:
        asked.append(str(name))
        return await way(reader, name)

    async def counted_project(reader: Any, name: str) -> Any:
        asked.append(name)
        return await project_of(reader, name)

    monkeypatch.setattr(old_names, "_way", counted_way)
    monkeypatch.setattr(old_names, "project_of", counted_project)
    admin = world.client
    await world.add_project("team")
    guest = await world.add_user("guest", Role.GUEST, "team")
    await push(admin, "team/app", "1", {"n": 1}, b"layer")
    # Before a repository is made its name is looked for among the old ones, and before a project is.
    assert set(asked) <= {"team", "team/app"}
    asked.clear()

    for _ in range(3):
        assert await pulls(guest, "team/app") == 200
        assert await pulls(guest, "team/app", "none") == 404
        assert (await admin.get("/v2/team/app/tags/list")).status_code == 200
        assert (await admin.get(f"{PREFIX}/projects/team/repositories/app/artifacts/1")).status_code == 200
        await push(admin, "team/app", "2", {"n": 2}, b"another layer")
    assert asked == []
    for _ in range(3):
        absent = [f"/v2/team/app/blobs/{Digest.of(b'none')}", "/v2/team/none/manifests/1"]
        assert [(await admin.head(path)).status_code for path in absent] == [404, 404]
    # Once for the project, and it is remembered that nothing in it ever had another name.
    assert len(asked) <= 1
