"""Events, from the change that makes them to the record; pulls and denials, gathered; what collection is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from moorage import working
from moorage.db import Database, Statement, files
from moorage.db import tables as t
from moorage.db.files import MARKS
from moorage.errors import Unavailable
from moorage.identity.roles import Role
from moorage.jobs import Event, Job
from moorage.oci.digests import Digest
from moorage.parts import REGISTRIES, name_of
from moorage.registry import collection, events, relay
from moorage.registry.events import SYSTEM, Gathered, Seen
from moorage.registry.pulls import Pulls
from tests.servers.house import moorage
from tests.worlds import World

EVENTS = Statement(select(t.event).order_by(t.event.c.id))
OUTBOX = Statement(select(t.outbox).order_by(t.outbox.c.id))
WAITING = Statement(select(t.outbox.c.uuid).order_by(t.outbox.c.id))
MANIFESTS = Statement(select(t.manifest.c.id))
COUNTS = Statement(select(t.pull_stat.c.pulls, t.pull_stat.c.last_at))
LEASES = Statement(select(t.registry.c.lease))
AGE = Statement(update(t.event).values(at=1))
ENGINES = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)
SQLITE = pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
CONFIG = b"{}"


async def push(world: World, name: str = "library/app", tag: str = "one", *, config: bytes = CONFIG) -> str:
    """Push a small image, and give its digest."""
    begun = await world.client.post(f"/v2/{name}/blobs/uploads/")
    digest = str(Digest.of(config))
    await world.client.put(begun.headers["location"], params={"digest": digest}, content=config)
    kind = "application/vnd.oci.image.manifest.v1+json"
    described = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": digest,
        "size": len(config),
    }
    body = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": described, "layers": []})
    answer = await world.client.put(
        f"/v2/{name}/manifests/{tag}", content=body, headers={"content-type": kind}
    )
    assert answer.status_code == 201, answer.text
    return answer.headers["docker-content-digest"]


async def nothing(job: Job, id_: str) -> None:
    """Begin no job: nobody waits for any event."""
    raise AssertionError((job, id_))


async def drained(db: Database) -> list[Any]:
    """Relay everything, and give the record."""
    await relay.drain(db, "uuid", {}, nothing)
    return await db.all(EVENTS)


@ENGINES
async def test_a_push_is_an_event_with_who_did_what_from_where(world: World):
    db = (await world.registry()).db
    digest = await push(world)

    record = await drained(db)

    assert [row.kind for row in record] == ["blob.push", "manifest.push"]
    pushed = record[1]
    assert (pushed.actor, pushed.party, pushed.outcome, pushed.rule) == ("admin", "customer", "success", "")
    assert (pushed.project, pushed.target, pushed.count) == ("library", f"library/app@{digest}", 1)
    assert pushed.request_id
    assert pushed.agent.startswith("python-httpx/")
    assert json.loads(pushed.body)["tags"] == ["one"]
    assert await db.all(WAITING) == []


@ENGINES
async def test_events_keep_their_order_and_their_uuids_however_many_wait(world: World):
    db = (await world.registry()).db
    for n in range(3):
        await change(db, n * 150, 150)
    waiting = [row.uuid for row in await db.all(WAITING)]

    record = await drained(db)

    assert [row.uuid for row in record] == waiting
    assert [json.loads(row.body)["n"] for row in record] == [*range(450)]


async def change(db: Database, first: int, count: int) -> None:
    """Make one change with several events."""
    await db.change(lambda tx: many(tx, first, count))


async def many(tx: Any, first: int, count: int) -> None:
    """Record some events in one change."""
    for n in range(first, first + count):
        await events.record(tx, "test.change", SYSTEM, repository="library/app", n=n)


@ENGINES
async def test_an_event_that_is_in_the_record_already_is_not_put_there_again(world: World):
    db = (await world.registry()).db
    await db.change(lambda tx: many(tx, 0, 3))
    rows = [(row.id, row.uuid, row.at, row.kind, row.body) for row in await db.all(OUTBOX)]
    await drained(db)
    for _, uuid, at, kind, body in rows:
        await db.write(events._ADD, uuid=uuid, at=at, kind=kind, body=body)

    record = await drained(db)

    assert [row.uuid for row in record] == [uuid for _, uuid, *_ in rows]


class Waited(Job):
    """Nothing in particular."""


@ENGINES
async def test_a_job_is_promised_before_its_event_leaves_the_outbox(world: World):
    db = (await world.registry()).db
    await db.change(lambda tx: many(tx, 0, 2))
    begun: dict[str, int] = {}

    async def begin(job: Job, id_: str) -> None:
        assert isinstance(job, Waited)
        begun[id_] = len(await db.all(WAITING))

    def waited(event: Event) -> Job:
        assert (event.registry, event.kind) == ("uuid", "test.change")
        return Waited()

    await relay.drain(db, "uuid", {"test.change": waited}, begin)

    assert [*begun] == [row.uuid for row in await db.all(EVENTS)]
    assert [*begun.values()] == [2, 2]


@ENGINES
async def test_an_event_whose_job_cannot_be_promised_stays_and_holds_those_after_it(world: World):
    db = (await world.registry()).db
    await db.change(lambda tx: many(tx, 0, 1))
    await db.change(lambda tx: events.record(tx, "test.waited", SYSTEM))
    await db.change(lambda tx: many(tx, 1, 1))

    async def begin(job: Job, id_: str) -> None:
        raise Unavailable

    with pytest.raises(Unavailable):
        await relay.drain(db, "uuid", {"test.waited": lambda _: Waited()}, begin)

    assert [row.kind for row in await db.all(EVENTS)] == ["test.change"]
    assert len(await db.all(WAITING)) == 2


@SQLITE
async def test_a_change_with_an_event_leaves_a_mark_and_one_without_leaves_none(world: World, tmp_path: Path):
    db = (await world.registry()).db
    folder = tmp_path / REGISTRIES
    files.take_marks(folder)
    await db.change(lambda tx: tx.all(EVENTS))
    without = [*(folder / MARKS).iterdir()]

    await db.change(lambda tx: many(tx, 0, 2))

    assert without == []
    assert files.take_marks(folder) == [name_of(world.entry)]
    assert [*(folder / MARKS).iterdir()] == []


@ENGINES
async def test_the_registries_with_something_in_the_outbox_are_found(world: World):
    await world.add_registry()
    worker = working.Worker.of(world.settings, world.parts)
    await worker.directory.refresh()
    for entry in worker.directory.all():
        await relay.drain((await world.registry(entry)).db, entry.uuid, {}, nothing)
    await worker._marked()
    second = world.entries[1]
    await (await world.registry(second)).db.change(lambda tx: many(tx, 0, 1))

    assert [entry.uuid for entry in await worker._marked()] == [second.uuid]


@ENGINES
async def test_pulls_of_a_minute_that_are_alike_are_one_event_with_a_count(world: World):
    registry = await world.registry()
    digest = await push(world)
    await drained(registry.db)
    for _ in range(3):
        await world.client.get("/v2/library/app/manifests/one")
    await registry.gathered.flush()
    await world.client.get("/v2/library/app/manifests/one")
    await world.client.get(f"/v2/library/app/manifests/{digest}")
    await world.client.head("/v2/library/app/manifests/one")

    await registry.gathered.flush()

    pulled = (await registry.db.all(EVENTS))[2:]
    assert [(row.kind, row.target, row.count) for row in pulled] == [
        ("manifest.pull", f"library/app@{digest}", 4),
        ("manifest.pull", f"library/app@{digest}", 1),
    ]
    assert [json.loads(row.body)["asked"] for row in pulled] == ["one", digest]
    assert (pulled[0].actor, pulled[0].outcome, pulled[0].project) == ("admin", "success", "library")


@ENGINES
async def test_pulls_are_counted_in_batches(world: World):
    registry = await world.registry()
    await push(world)
    for _ in range(3):
        await world.client.get("/v2/library/app/manifests/one")
    before = await registry.db.all(COUNTS)

    await registry.write_down(pulls=True)
    await world.client.get("/v2/library/app/manifests/one")
    await registry.write_down(pulls=True)

    assert before == []
    assert [row.pulls for row in await registry.db.all(COUNTS)] == [4]


@ENGINES
async def test_denials_name_the_rule_and_repeated_ones_are_one_row(world: World):
    registry = await world.registry()
    await push(world)
    guest = await world.add_user("guest", Role.GUEST)
    for _ in range(3):
        await guest.post("/v2/library/app/blobs/uploads/")
    wrong = await world.as_("guest", "wrong")
    await wrong.get("/v2/library/app/manifests/one")
    await drained(registry.db)

    await registry.gathered.flush()

    denied = [row for row in await registry.db.all(EVENTS) if row.outcome == "denied"]
    assert [(row.kind, row.actor, row.rule, row.target, row.count) for row in denied] == [
        ("request.denied", "guest", "access", "library/app", 3),
        ("request.denied", "anonymous", "credentials", "library/app", 1),
    ]
    assert json.loads(denied[0].body)["asked"] == "POST uploads"


@SQLITE
async def test_a_wrong_password_at_the_token_service_is_a_denial_and_none_at_all_is_not(world: World):
    registry = await world.registry()
    nobody, wrong = await world.as_(None), await world.as_("admin", "wrong")
    for client in (nobody, wrong, wrong):
        await client.get("/service/token", params={"service": "harbor-registry"})

    await registry.gathered.flush()

    denied = [(row.kind, row.rule, row.count) for row in await registry.db.all(EVENTS)]
    assert denied == [("request.denied", "credentials", 2)]


@SQLITE
async def test_a_401_to_nobody_in_particular_is_no_denial(world: World):
    registry = await world.registry()
    nobody = await world.as_(None)
    answers = [await nobody.get("/v2/"), await nobody.get("/v2/library/app/tags/list")]

    written = await registry.gathered.flush()

    assert [answer.status_code for answer in answers] == [401, 401]
    assert written == 0


@SQLITE
async def test_a_flood_of_unlike_denials_takes_bounded_memory_and_is_counted_whole(world: World):
    registry = await world.registry()
    for n in range(events.MOST + 100):
        registry.gathered.note(Seen("request.denied", "access", "", "", b"", "", f"{n}", ""), "")

    rows = await registry.gathered.flush()

    record = await registry.db.all(EVENTS)
    assert rows == events.MOST + 1
    assert sum(row.count for row in record) == events.MOST + 100
    assert max(row.count for row in record) == 100


class Away:
    """A database that is away until it is told otherwise."""

    def __init__(self, db: Database) -> None:
        self.db, self.is_away = db, True

    def now(self) -> int:
        return self.db.now()

    async def record(self, work: Any) -> Any:
        if self.is_away:
            raise Unavailable
        return await self.db.record(work)


@SQLITE
async def test_what_cannot_be_written_down_is_kept_and_written_later(world: World):
    db = (await world.registry()).db
    away: Any = Away(db)
    await push(world)
    manifest = (await db.all(MANIFESTS))[0].id
    await drained(db)
    gathered, pulls = Gathered(away), Pulls(away)
    seen = Seen("manifest.pull", "", "me", "", b"", "", "", "")
    for _ in range(2):
        gathered.note(seen, "")
        pulls.count(manifest)
        pulls.count(manifest + 1)
        for flush in (gathered.flush, pulls.flush):
            with pytest.raises(Unavailable):
                await flush()
    away.is_away = False

    await gathered.flush()
    await pulls.flush()

    assert [row.count for row in (await db.all(EVENTS))[2:]] == [2]
    assert [row.pulls for row in await db.all(COUNTS)] == [2]


@ENGINES
async def test_the_record_is_kept_as_long_as_it_is_said_and_dropped_in_batches(world: World):
    registry = await world.registry()
    for n in range(3):
        await change(registry.db, n * 250, 250)
    await drained(registry.db)
    await registry.db.write(AGE)
    await registry.db.change(lambda tx: many(tx, 750, 1))
    await drained(registry.db)
    terms = working.terms(world.settings, world.parts)

    rounds = [await collection.tend(registry.db, registry.store, terms) for _ in range(3)]

    assert [done.events for done in rounds] == [500, 250, 0]
    assert [json.loads(row.body)["n"] for row in await registry.db.all(EVENTS)] == [750]


@ENGINES
async def test_collection_brings_the_lease_that_is_set_to_every_registry(world: World):
    registry = await world.registry()
    terms = collection.Terms(lease=7, longest_request=1, margin=0, events=1 << 60)

    await collection.tend(registry.db, registry.store, terms)

    assert [row.lease for row in await registry.db.all(LEASES)] == [7]


@SQLITE
async def test_the_worker_collects_a_registry_to_the_end_and_counts_on(world: World):
    registry = await world.registry()
    worker = working.Worker.of(world.settings, world.parts)
    await worker.directory.refresh()
    await drained(registry.db)
    await registry.db.change(lambda tx: many(tx, 0, 600))
    await drained(registry.db)
    await registry.db.write(AGE)

    rounds = [await worker.collect(working.Collect(world.entry.uuid)) for _ in range(3)]
    gone = await worker.collect(working.Collect("no such registry"))
    await worker.homes.close()

    assert rounds == [True, True, False]
    assert gone is False


def test_collect_prints_what_it_did_and_refuses_an_unknown_name(tmp_path: Path):
    prepared = moorage("prepare", data=tmp_path)
    done = moorage("collect", data=tmp_path)
    unknown = moorage("collect", "nobody", data=tmp_path)

    assert prepared.returncode == 0, prepared.stderr
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("first\t0 uploads_expired\t0 manifests_purged\t")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "there is no registry nobody here" in unknown.stderr
