"""A push that nearly fills a limit is told so in a Warning header; one that passes it is refused. Both are events."""

import json

from sqlalchemy import select

from moorage.db import Statement, Tx, one_of
from moorage.db.tables import event, outbox
from moorage.jobs import Job
from moorage.oci.digests import Digest
from moorage.registry import projects, relay
from moorage.registry.errors import QuotaExceeded
from moorage.registry.quota_events import Refusals
from tests.worlds import World

_WAITING = Statement(
    select(outbox.c.kind, outbox.c.body).where(one_of(outbox.c.kind, "kinds")).order_by(outbox.c.id)
)
_RECORDED = Statement(select(event.c.target).where(one_of(event.c.kind, "kinds")).order_by(event.c.id))
TYPE = "application/vnd.oci.image.manifest.v1+json"


async def _push(world: World, content: bytes, tag: str) -> str:
    digest = Digest.of(content)
    answer = await world.client.post(f"/v2/library/app/blobs/uploads/?digest={digest}", content=content)
    if answer.status_code != 201:
        return str(answer.json()["errors"][0]["message"])
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(digest), "size": len(content)}
    body = json.dumps({"schemaVersion": 2, "mediaType": TYPE, "config": config, "layers": []}).encode()
    pushed = await world.client.put(
        f"/v2/library/app/manifests/{tag}", content=body, headers={"content-type": TYPE}
    )
    assert pushed.status_code == 201
    return str(pushed.headers.get("warning", ""))


async def _limit(world: World, size: int) -> None:
    registry = await world.plane.registries.get(world.entry)

    async def work(tx: Tx) -> None:
        found = await projects.find(tx, "library")
        assert found is not None
        await projects.set_limit(tx, found, size)

    await registry.db.change(work)


async def test_a_push_is_told_how_full_its_project_is(world: World):
    await _limit(world, 10_000)

    easy = await _push(world, b"a" * 1000, "a")
    nearly = await _push(world, b"b" * 7000, "b")
    refused = await _push(world, b"c" * 7000, "c")

    assert easy == ""
    assert "the quota of project library is 80 % used" in nearly
    assert "will exceed the configured upper limit of 10000 bytes" in refused


async def test_a_level_and_a_refusal_are_told_of_once_in_an_hour(world: World):
    await _limit(world, 10_000)
    registry = await world.plane.registries.get(world.entry)

    await _push(world, b"a" * 1000, "a")
    await registry.write_down(pulls=True)
    assert await _told(world) == []
    await _push(world, b"b" * 7000, "b")
    for content in (b"c" * 7000, b"d" * 7000):
        await _push(world, content, "c")
        await registry.write_down(pulls=True)

    assert await _told(world) == [
        ("quota.warning", {"level": 80, "limit": 10_000, "project": "library", "target": "library: 80 %"}),
        (
            "quota.exceeded",
            {
                "bound": "the quota of project library",
                "limit": 10_000,
                "project": "library",
                "requested": 7000,
                "target": "library",
            },
        ),
    ]


async def test_another_process_tells_nothing_that_was_told(world: World):
    """What one told stands in the outbox or, once the relay has moved it, in the record."""
    await _limit(world, 100)
    registry = await world.plane.registries.get(world.entry)
    problem = QuotaExceeded(
        "it does not fit", rule="the quota of project library", limit=100, used=0, requested=200
    )

    async def refused() -> None:
        other = Refusals()
        other.note("library", problem)
        await other.flush(registry.db)

    await refused()
    await refused()
    await relay.drain(registry.db, world.entry.uuid, {}, _begin_nothing)
    await refused()

    rows = await registry.db.all(_RECORDED, kinds=["quota.exceeded"])
    assert [row.target for row in rows] == ["library"]
    assert await _told(world) == []


async def _told(world: World) -> list[tuple[str, dict[str, object]]]:
    registry = await world.plane.registries.get(world.entry)
    rows = await registry.db.all(_WAITING, kinds=["quota.warning", "quota.exceeded"])
    told = []
    for row in rows:
        body = json.loads(row.body)
        said = {"level", "limit", "project", "requested", "target", "bound"}
        told.append((row.kind, {name: body[name] for name in sorted(said & body.keys())}))
    return told


async def _begin_nothing(job: Job, id_: str) -> None:
    raise AssertionError((job, id_))
