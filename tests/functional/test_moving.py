"""Repositories that are moved to another name or project, with all that hangs on them."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import update

from moorage.api.harbor.operations import PREFIX
from moorage.db import Statement, insert
from moorage.db.tables import immutable_rule
from moorage.identity import members
from moorage.identity.roles import Role
from moorage.oci.digests import Digest
from moorage.oci.names import RepositoryName
from moorage.registry import projects, trash
from moorage.registry.events import SYSTEM
from tests.functional.harbor_artifacts import IMAGE, path_of, push
from tests.functional.names_world import counted_right, move, pulls, said, token, with_token
from tests.functional.test_harbor_robots import made, of_system
from tests.worlds import World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)


async def seed(admin: httpx.AsyncClient, world: World) -> dict[str, str]:
    """Push into two projects what they share and what they do not, live and in the trash; give some digests."""
    for name in ("team", "crew"):
        await world.add_project(name)
    shared = b"in both, and in the trash of both"
    digest = await push(admin, "team/app", "1", {"n": 1}, shared, b"of app")
    await push(admin, "team/app", "later", {"n": 2}, b"of app, later")
    await push(admin, "team/stays", "1", {"n": 3}, shared, b"only here")
    await push(admin, "crew/there", "1", {"n": 4}, b"of app", b"there")
    gone = await push(admin, "team/app", "gone", {"n": 5}, shared, b"gone")
    also = await push(admin, "crew/there", "x", {"n": 6}, shared)
    for name, which in (("team/app", gone), ("crew/there", also)):
        assert (await admin.delete(f"/v2/{name}/manifests/{which}")).status_code == 202
    subject = {"mediaType": IMAGE, "digest": digest, "size": 1}
    signature = await push(admin, "team/app", None, {"n": 7}, b"signature", subject=subject)
    return {"live": digest, "gone": gone, "signature": signature}


async def test_a_moved_repository_takes_all_of_itself_along_and_is_counted_there(world: World):
    admin = world.client
    registry = await world.registry()
    digests = await seed(admin, world)
    begun = await admin.post("/v2/team/app/blobs/uploads/")
    part = await admin.patch(begun.headers["location"], content=b"half")
    assert [await pulls(admin, "team/app", digests["live"]) for _ in range(3)] == [200] * 3

    answer = await move(admin, "team/app", project="crew", name="apps/app")
    assert (answer.status_code, answer.headers["location"]) == (200, path_of("crew/apps/app"))
    assert await counted_right(world)
    for name in ("team/app", "crew/apps/app"):
        assert (await admin.get(f"/v2/{name}/tags/list")).json() == {"name": name, "tags": ["1", "later"]}
        assert await pulls(admin, name, digests["live"]) == 200
        referrers = (await admin.get(f"/v2/{name}/referrers/{digests['live']}")).json()["manifests"]
        assert [one["digest"] for one in referrers] == [digests["signature"]]
    ended = await admin.put(part.headers["location"], params={"digest": str(Digest.of(b"half"))})
    assert ended.status_code == 201
    await push(admin, "team/app", "2", {"n": 8}, b"after")
    assert await pulls(admin, "crew/apps/app", "2") == 200
    home = RepositoryName.parse("crew/apps/app")
    await registry.db.change(lambda tx: trash.restore(tx, home, Digest.parse(digests["gone"]), SYSTEM))
    assert await pulls(admin, "team/app", "gone") == 200
    assert await counted_right(world)
    await registry.pulls.flush()
    counts = (await admin.get(path_of("team/app"))).json()
    assert (counts["name"], counts["artifact_count"], counts["pull_count"]) == ("crew/apps/app", 4, 7)
    for name, within in (("team", 1), ("crew", 2)):
        assert (await admin.get(f"{PREFIX}/projects/{name}/summary")).json()["repo_count"] == within


async def test_nobody_else_gets_the_name_and_a_repository_finds_its_way_back(world: World):
    admin = world.client
    for name in ("team", "crew"):
        await world.add_project(name)
    await push(admin, "team/app", "1", {"n": 1}, b"layer")
    await push(admin, "crew/there", "1", {"n": 2}, b"layer")
    assert (await move(admin, "team/app", project="crew", name="apps/app")).status_code == 200
    assert (await move(admin, "crew/there", project="team", name="app")).status_code == 409
    assert (await move(admin, "crew/there", name="apps/app")).status_code == 409
    assert (await move(admin, "team/app", project="team", name="app")).status_code == 200
    assert (await move(admin, "team/app", name="other")).status_code == 200
    for name in ("team/app", "team/other", "crew/apps/app"):
        assert await pulls(admin, name) == 200
    listed = [one["name"] for one in (await admin.get(f"{PREFIX}/projects/team/old-names")).json()]
    assert listed == ["team/app"]
    assert await counted_right(world)
    freed = quote(quote("team/app", safe=""), safe="")
    assert (await admin.delete(f"{PREFIX}/projects/team/old-names/{freed}")).status_code == 200
    assert [await pulls(admin, name) for name in ("team/app", "team/other", "crew/apps/app")] == [
        404,
        200,
        200,
    ]
    await push(admin, "team/app", "1", {"n": 9})
    assert await counted_right(world)


async def test_a_move_keeps_limits_and_rules(world: World):
    admin = world.client
    db = (await world.registry()).db
    await world.add_project("team")
    await world.add_project("small", limit_bytes=2000)
    await push(admin, "team/large", "1", {"n": 1}, b"x" * 3000)
    await push(admin, "team/app", "1", {"n": 2}, b"y" * 500)

    refused = await move(admin, "team/large", project="small")
    assert (refused.status_code, "2000 bytes" in refused.text) == (412, True)
    assert await pulls(admin, "team/large") == 200

    team = await projects.find(db, "team")
    assert team is not None
    rule = Statement(
        insert(immutable_rule).values(project_id=team.id, repositories="app", tags="1", created_at=1)
    )
    await db.write(rule)
    for to in ({"project": "small"}, {"name": "other"}):
        kept = await move(admin, "team/app", **to)
        assert (kept.status_code, "immutable" in kept.text) == (412, True)
    await db.write(Statement(update(immutable_rule).values(repositories="{app,other}")))
    assert (await move(admin, "team/app", name="other")).status_code == 200
    await db.write(Statement(update(immutable_rule).values(disabled=1)))


async def test_a_move_takes_the_right_to_delete_here_and_to_push_there(world: World):
    admin = world.client
    db = (await world.registry()).db
    for name in ("team", "small"):
        await world.add_project(name)
    await push(admin, "team/app", "1", {"n": 2}, b"y" * 500)
    assert (await move(admin, "team/app", name="other")).status_code == 200
    maintainer = await world.add_user("maintainer", Role.MAINTAINER, "team")
    guest = await world.add_user("guest", Role.GUEST, "small")
    for one in (maintainer, guest):
        # Of a project where one may not push nothing is told, not even whether it is there.
        there, none = [await move(one, "team/other", project=name) for name in ("small", "nowhere")]
        assert said(there, "small") == said(none, "nowhere")
        assert there.status_code == 403
    small = await projects.find(db, "small")
    assert small is not None
    user = (await admin.get(f"{PREFIX}/users/search?username=maintainer")).json()[0]["user_id"]
    await db.change(lambda tx: members.set_user(tx, small.id, user, Role.DEVELOPER))
    assert (await move(maintainer, "team/other", project="small")).status_code == 200
    bearer = await with_token(world, await token(guest, "repository:team/other:pull,push"))
    for name in ("team/app", "team/other", "small/other"):
        assert await pulls(guest, name) == 200
    assert await pulls(bearer, "team/other") == 200
    assert (await bearer.post("/v2/team/other/blobs/uploads/")).status_code == 403


async def test_nobody_gets_at_what_they_may_only_delete_by_moving_it(world: World):
    admin = world.client
    for name in ("team", "mine"):
        await world.add_project(name)
    await push(admin, "team/app", "1", {"n": 1}, b"secret")
    given = [("project", "mine", "repository", one) for one in ("pull", "push")]
    sweeper = [*given, ("project", "team", "repository", "delete")]
    told = await made(admin, of_system("sweeper", *sweeper))
    mover = await made(admin, of_system("mover", *sweeper, ("project", "team", "repository", "pull")))
    sweeps, moves = [await world.as_(one["name"], one["secret"]) for one in (told, mover)]

    refused = await move(sweeps, "team/app", project="mine")
    assert (refused.status_code, "repository:pull" in refused.text) == (403, True)
    assert said(await move(sweeps, "team/none", project="mine")) == said(refused)
    assert await pulls(sweeps, "mine/app") == 404
    assert (await move(moves, "team/app", project="mine")).status_code == 200
    assert await pulls(moves, "mine/app") == 200


async def test_where_a_repository_is_by_now_is_told_to_nobody_who_may_not_see_it_there(world: World):
    admin = world.client
    await world.add_project("open", public=True)
    await world.add_project("secret")
    for name in ("app", "here"):
        await push(admin, f"open/{name}", "1", {"of": name})
    assert (await move(admin, "open/app", project="secret", name="hidden")).status_code == 200
    assert (await move(admin, "open/here", name="there")).status_code == 200
    stranger = await world.add_user("stranger", Role.GUEST, "elsewhere")
    insider = await world.add_user("insider", Role.GUEST, "secret")

    seen = []
    for one in (await world.as_(None), stranger, insider, admin):
        answer = await one.get(f"{PREFIX}/projects/open/old-names")
        seen.append([row["current"] for row in answer.json()])
    # What is not told cannot be asked for either.
    asked = await stranger.get(f"{PREFIX}/projects/open/old-names", params={"q": "current=~hidden"})

    assert seen == [["", "open/there"]] * 2 + [["secret/hidden", "open/there"]] * 2
    assert (asked.json(), asked.headers["x-total-count"]) == ([], "0")


async def test_labels_of_a_project_stay_behind_but_for_those_that_the_other_has_too(world: World):
    admin = world.client
    numbers = {}
    for project in ("team", "small"):
        await world.add_project(project)
        found = (await admin.get(f"{PREFIX}/projects/{project}")).json()["project_id"]
        for label in ("both", f"of-{project}"):
            body = {"name": label, "scope": "p", "project_id": found, "color": "#FFFFFF"}
            where = (await admin.post(f"{PREFIX}/labels", json=body)).headers["location"]
            numbers[project, label] = int(where.rpartition("/")[2])
    digest = await push(admin, "team/app", "1", {"n": 2}, b"y" * 500)
    for label in ("both", "of-team"):
        path = f"{path_of('team/app')}/artifacts/1/labels"
        assert (await admin.post(path, json={"id": numbers["team", label]})).status_code == 200

    assert (await move(admin, "team/app", project="small")).status_code == 200

    artifact = (await admin.get(f"{path_of('team/app')}/artifacts/{digest}?with_label=true")).json()
    assert [(one["id"], one["name"]) for one in artifact["labels"]] == [(numbers["small", "both"], "both")]


async def test_a_move_to_nowhere_is_refused_and_says_what_it_takes(world: World):
    await world.add_project("team")
    await push(world.client, "team/app", "1", {"n": 1}, b"of app")

    answer = await world.client.post(f"{path_of('team/app')}/move", json={"new_name": "other"})

    assert (answer.status_code, "name, project, or both" in answer.text) == (400, True)
    assert await pulls(world.client, "team/app", "1") == 200
