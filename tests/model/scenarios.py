"""Who meets whom: actors that push, mount, delete, restore and collect, and what must hold after every step of theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from moorage.errors import Problem
from moorage.oci.digests import Digest
from moorage.oci.errors import BlobUploadUnknown, ManifestBlobUnknown
from moorage.oci.manifests import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest
from moorage.oci.names import RepositoryName, Tag
from moorage.registry import blobs, collection, links, manifests, quotas, recount, repositories, trash
from moorage.registry.events import SYSTEM
from tests.model.explorer import BACKUP, LEASE, TRASH, UNIT, Actor, Given, Stage, Step, Violation, World

R, Q = RepositoryName.parse("p/a"), RepositoryName.parse("q/b")
LAYER, OTHER = b"layer", b"other"
TAG = Tag("t")


def body(text: str) -> bytes:
    return text.encode() * 3


def digest(text: str) -> Digest:
    return Digest.of(body(text))


def image(*layers: bytes, subject: Digest | None = None) -> Manifest:
    named = tuple(Descriptor("application/octet-stream", Digest.of(data), len(data)) for data in layers)
    return Manifest(OCI_MANIFEST, "", blobs=named, subject=subject)


def index(*children: str) -> Manifest:
    named = tuple(Descriptor(OCI_MANIFEST, digest(child), len(body(child))) for child in children)
    return Manifest(OCI_INDEX, "", children=named)


# --- actors ---------------------------------------------------------------------------------------------------


def _promised(kept: dict[str, Any], data: bytes, wall: int) -> None:
    kept[Digest.of(data).hex[:6]] = wall


def ensuring(name: RepositoryName, data: bytes, here: int, *, row_first: bool = False) -> Stage:
    """Ask for a blob, and upload it if it is not there."""

    async def stage(world: World, kept: dict[str, Any]) -> int | None:
        try:
            await blobs.promise(world.db, name, Digest.of(data))  # type: ignore[arg-type]
        except Problem:
            begun = await world.uploads.begin(name, "u")
            if row_first:
                await world.db.change(
                    lambda tx: world.uploads._link(
                        tx, begun, Digest.of(data), len(data), begun.parts[0].key, SYSTEM
                    )
                )
                await world.store.write(begun.parts[0].key, 0, Given(data), None, limit=100)
                _promised(kept, data, world.now)
                return here + 1
            try:
                sent = await world.uploads.append(begun, Given(data))
            except BlobUploadUnknown:
                # Its time was over: a client would begin anew.
                return None
            try:
                await world.uploads.finish(sent, Digest.of(data), SYSTEM)
            except Problem:
                return None
        _promised(kept, data, world.now)
        return here + 1

    return stage


def putting(
    name: RepositoryName, what: str, read: Manifest, tag: Tag | None, layers: Sequence[bytes], here: int
) -> Stage:
    """Push a manifest of blobs that were promised."""

    async def stage(world: World, kept: dict[str, Any]) -> int | None:
        async def work(tx: Any) -> None:
            await manifests.push(tx, name, digest(what), read, body(what), [tag] if tag else [], SYSTEM)

        before = world.now
        try:
            await world.db.change(work)
        except ManifestBlobUnknown as refused:
            since = [kept.get(Digest.of(data).hex[:6], -LEASE) for data in layers]
            if all(before - moment < LEASE // 2 for moment in since):
                raise Violation(f"a promised blob was refused: {refused}") from refused
            return here + 1
        world.acknowledged.append((name.text, str(digest(what)), tag))
        return here + 1

    return stage


def _ended(stages: list[Stage]) -> list[Stage]:
    async def end(world: World, kept: dict[str, Any]) -> None:
        return None

    def last(stage: Stage) -> Stage:
        async def run(world: World, kept: dict[str, Any]) -> int | None:
            await stage(world, kept)
            return None

        return run

    return [*stages[:-1], last(stages[-1])]


def pusher(
    who: str,
    name: RepositoryName,
    layers: Sequence[bytes],
    what: str,
    tag: Tag | None,
    *,
    subject: Digest | None = None,
    row_first: bool = False,
) -> Actor:
    stages = [ensuring(name, data, here, row_first=row_first) for here, data in enumerate(layers)]
    put = putting(name, what, image(*layers, subject=subject), tag, layers, len(layers))
    return Actor(who, _ended([*stages, put]))


def uploader(who: str, name: RepositoryName, data: bytes) -> Actor:
    return Actor(who, _ended([ensuring(name, data, 0)]))


def index_pusher(who: str, name: RepositoryName, child: str, what: str, tag: Tag) -> Actor:
    async def find(world: World, kept: dict[str, Any]) -> int | None:
        found = await manifests.find(world.db, name, digest(child))
        return None if found is None else 1

    return Actor(who, [find, *_ended([putting(name, what, index(child), tag, (), 1)])])


def mounter(who: str, source: RepositoryName, target: RepositoryName, data: bytes, what: str) -> Actor:
    async def mount(world: World, kept: dict[str, Any]) -> int | None:
        done = await world.db.change(lambda tx: blobs.mount(tx, target, Digest.of(data), sources=[source]))
        if not done:
            return None
        _promised(kept, data, world.now)
        return 1

    return Actor(who, [mount, *_ended([putting(target, what, image(data), TAG, (data,), 1)])])


def _turn(who: str, work: Callable[[Any], Any]) -> Actor:
    async def stage(world: World, kept: dict[str, Any]) -> None:
        try:
            await world.db.change(work)
        except Problem:
            return

    return Actor(who, [stage], may_crash=False)


def deleter(who: str, name: RepositoryName, what: str) -> Actor:
    return _turn(who, lambda tx: manifests.delete(tx, name, digest(what), SYSTEM))


def untagger(who: str, name: RepositoryName, tag: Tag) -> Actor:
    return _turn(who, lambda tx: manifests.untag(tx, name, tag, SYSTEM))


def restorer(who: str, name: RepositoryName, what: str) -> Actor:
    return _turn(who, lambda tx: trash.restore(tx, name, digest(what), SYSTEM))


def blob_deleter(who: str, name: RepositoryName, data: bytes) -> Actor:
    return _turn(who, lambda tx: blobs.delete(tx, name, Digest.of(data), SYSTEM))


def collector(who: str, rounds: int = 1) -> Actor:
    """Collect in so many rounds: what a round does is due at its start, so a purge, a review and a destruction take one each."""

    def stage(here: int) -> Stage:
        async def collect(world: World, kept: dict[str, Any]) -> int | None:
            await collection.collect(world.db, world.store, longest_request=LEASE, margin=0)  # type: ignore[arg-type]
            return here + 1 if here + 1 < rounds else None

        return collect

    return Actor(who, [stage(here) for here in range(rounds)])


def stale_collector(who: str, rounds: int = 1) -> Actor:
    """One that breaks a rule: what it reviews was chosen in another turn."""

    def stage(here: int) -> Stage:
        async def collect(world: World, kept: dict[str, Any]) -> int | None:
            async def due(tx: Any) -> list[tuple[int, int, int, int]]:
                return [tuple(row) for row in await tx.all(collection._DUE, at=tx.at, most=50)]

            chosen = await world.db.change(due)

            async def work(tx: Any) -> None:
                for repository, blob, held, project in chosen:
                    account = quotas.Account(tx, project)
                    await links.review(tx, account, repository, blob, held=bool(held))
                    await account.settle()

            await world.db.change(work)
            return here + 1 if here + 1 < rounds else None

        return collect

    return Actor(who, [stage(here) for here in range(rounds)])


def clock(ticks: int, size: int) -> Actor:
    def stage(here: int) -> Stage:
        async def tick(world: World, kept: dict[str, Any]) -> int | None:
            def do(world: World) -> None:
                world.wall += size * UNIT

            await Step("tick", do)
            return here + 1 if here + 1 < ticks else None

        return tick

    return Actor("tick", [stage(here) for here in range(ticks)], may_crash=False)


# --- what must hold -------------------------------------------------------------------------------------------


def check(world: World) -> None:
    """Hold every invariant against a state, or raise Violation."""
    _counts(world)
    _bytes(world)
    _events(world)


def _counts(world: World) -> None:
    wrong = world.alone(recount.findings(world.db))
    if wrong:
        raise Violation(f"recount: {'; '.join(map(str, wrong))}")


def _bytes(world: World) -> None:
    keys = frozenset(key for (key,) in world.ask("SELECT key FROM blob"))
    if missing := keys - world.bytes.keys():
        raise Violation(f"rows without bytes: {sorted(missing)}")
    for found, size, key in world.ask("SELECT digest, size, key FROM blob"):
        data = world.bytes[key]
        if Digest.of(data).raw != found or len(data) != size:
            raise Violation(f"{key} holds {data!r}, which is not what its row says")
    if doomed := world.ask("SELECT d.key FROM doomed d JOIN blob b ON b.key = d.key"):
        raise Violation(f"a living key is doomed: {doomed}")
    world.history = [moment for moment in world.history if moment[0] >= world.wall - BACKUP]
    if not world.history or world.history[-1][1] != keys:
        world.history.append((world.wall, keys))
    for at, then in world.history:
        if gone := then - world.bytes.keys():
            raise Violation(f"destroyed {world.wall - at} after it was restorable: {sorted(gone)}")


@dataclass
class Told:
    """What the events tell, read from the first to the last."""

    manifests: set[tuple[str, str]]
    tags: dict[tuple[str, str], str]
    pushed: set[tuple[str, str]]

    def hear(self, kind: str, told: dict[str, Any]) -> None:
        where, what = told.get("repository", ""), told.get("digest", "")
        if kind in {"manifest.push", "manifest.revive"}:
            self.manifests.add((where, what))
            self.pushed.add((where, what))
            self.tags.update({(where, tag): what for tag in told.get("tags", ())})
        elif kind == "manifest.delete":
            self.manifests.discard((where, what))
            self.tags = {at: one for at, one in self.tags.items() if (at[0], one) != (where, what)}
        elif kind == "tag.delete":
            self.tags.pop((where, told["tag"]), None)
        elif kind == "tag.restore":
            self.tags[where, told["tag"]] = what


def _events(world: World) -> None:
    told = Told(set(), {}, set())
    for kind, text in world.ask("SELECT kind, body FROM outbox ORDER BY id"):
        told.hear(kind, json.loads(text))
    held = {
        (name, str(Digest.from_raw(raw)))
        for name, raw in world.ask(
            "SELECT r.name, digest FROM manifest m JOIN repository r ON r.id = repository_id WHERE m.deleted_at IS NULL"
        )
    }
    if held != told.manifests:
        raise Violation(f"events and manifests differ: {held ^ told.manifests}")
    tags = {
        (name, tag): str(Digest.from_raw(raw))
        for name, tag, raw in world.ask(
            "SELECT r.name, t.name, m.digest FROM tag t JOIN repository r ON r.id = t.repository_id"
            " JOIN manifest m ON m.id = t.manifest_id WHERE t.end_at IS NULL"
        )
    }
    if tags != told.tags:
        raise Violation(f"events and tags differ: {tags} and {told.tags}")
    if lost := [one for one in world.acknowledged if one[:2] not in told.pushed]:
        raise Violation(f"a 201 without an event: {lost}")


def rest(world: World, check: Callable[[World], None] = check) -> None:
    """Let everything run out: nothing may remain that no manifest names."""
    for _ in range(8):
        world.wall += 30 * UNIT
        world.alone(collection.collect(world.db, world.store, longest_request=LEASE, margin=0))  # type: ignore[arg-type]
        check(world)
    keys = {key for (key,) in world.ask("SELECT key FROM blob")}
    if forever := world.bytes.keys() - keys:
        raise Violation(f"bytes for ever: {sorted(forever)}")
    unnamed = (
        "SELECT count(*) FROM blob b WHERE NOT EXISTS (SELECT 1 FROM manifest_blob x WHERE x.blob_id = b.id)"
    )
    for left in (unnamed, "SELECT count(*) FROM upload", "SELECT count(*) FROM doomed"):
        if world.ask(left) != [(0,)]:
            raise Violation(f"left over: {left}")


# --- scenes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """What there is at first, and who comes then; *ticks* of the clock in a short exploration and in a whole one.

    A whole one has an actor end anywhere, once; a short one only where *crashes* says so. *close*: operations that
    are otherwise one step with what follows are steps here.
    """

    before: Sequence[Actor]
    actors: Sequence[Actor]
    ticks: tuple[int, int] = (0, 0)
    crashes: int = 0
    close: bool = False

    def world(self, *, whole: bool, prepare: Callable[[World], None]) -> World:
        """Make a world in which everything before has happened."""
        ticks = self.ticks[whole]
        made = World([*self.actors, *([clock(ticks, 4 if whole else 6)] if ticks else [])])
        prepare(made)
        made.connection.execute(
            "INSERT INTO registry (registry_id, clock, limit_bytes, lease, trash_window, backup_window)"
            " VALUES (1, 0, -1, ?, ?, ?)",
            (LEASE, TRASH, BACKUP),
        )
        for project in ("p", "q"):
            made.connection.execute(
                "INSERT INTO project (registry_id, name, created_at) VALUES (1, ?, 0)", (project,)
            )

        async def repository(tx: Any) -> None:
            for name in (R, Q):
                await repositories.ensure(tx, name)

        made.turn(repository)
        for number, actor in enumerate(self.before):
            made.acting, made.made = f"before{number}", 0
            stage: int | None = 0
            kept: dict[str, Any] = {}
            while stage is not None:
                stage = made.alone(actor.stages[stage](made, kept))
        made.acknowledged.clear()
        return made


def scenes() -> dict[str, Scene]:
    """Give every scene under its name."""
    seed = pusher("s", R, (LAYER,), "m1", TAG)
    of_index = index_pusher("s", R, "m1", "i1", Tag("x"))
    loose_blob = uploader("s", R, LAYER)
    first = pusher("a", R, (LAYER,), "m1", TAG)
    return {
        "two finish one digest": Scene(
            [], [first, pusher("b", R, (LAYER,), "m2", TAG), collector("c", 2)], (0, 2), 1
        ),
        "two projects finish one digest": Scene(
            [], [first, pusher("b", Q, (LAYER,), "m2", TAG), collector("c", 2)], (0, 1), 1
        ),
        "the lease ends between HEAD and PUT": Scene([loose_blob], [first, collector("c", 3)], (3, 7)),
        "deleted and purged while pushed": Scene(
            [seed], [pusher("a", R, (LAYER,), "m2", TAG), deleter("d", R, "m1"), collector("c", 3)], (3, 7)
        ),
        "the same pushed while deleted": Scene(
            [seed],
            [pusher("a", R, (LAYER,), "m1", Tag("u")), deleter("d", R, "m1"), collector("c", 2)],
            (2, 5),
        ),
        "mounted while the source goes": Scene(
            [seed], [mounter("m", R, Q, LAYER, "m2"), deleter("d", R, "m1"), collector("c", 3)], (3, 7)
        ),
        "an index over a deleted child": Scene(
            [seed],
            [
                index_pusher("i", R, "m1", "i1", Tag("x")),
                deleter("d", R, "m1"),
                untagger("u", R, TAG),
                collector("c", 2),
            ],
            (2, 3),
        ),
        "restored while purged": Scene(
            [seed],
            [
                deleter("d", R, "m1"),
                restorer("r", R, "m1"),
                pusher("a", R, (LAYER,), "m2", TAG),
                collector("c", 2),
            ],
            (2, 4),
        ),
        "a blob deleted while its manifest is pushed": Scene(
            [loose_blob],
            [blob_deleter("d", R, LAYER), pusher("a", R, (LAYER,), "m1", TAG), collector("c", 3)],
            (2, 6),
        ),
        "a referrer while its subject is deleted": Scene(
            [seed],
            [
                pusher("a", R, (LAYER,), "m2", None, subject=digest("m1")),
                deleter("d", R, "m1"),
                restorer("r", R, "m1"),
                collector("c", 2),
            ],
            (2, 3),
        ),
        "an index, then its child, deleted": Scene(
            [seed, of_index],
            [
                deleter("d", R, "i1"),
                deleter("e", R, "m1"),
                restorer("r", R, "i1"),
                index_pusher("a", R, "m1", "i1", Tag("y")),
                collector("c", 2),
            ],
            (2, 4),
        ),
        "two collectors": Scene(
            [seed], [deleter("d", R, "m1"), collector("c", 3), collector("k")], (5, 7), 1
        ),
        "one upload by two requests": Scene(
            [beginner()],
            [
                chunk_sender("a", LAYER),
                chunk_sender("b", OTHER),
                finisher("f", LAYER),
                finisher("g", LAYER + OTHER),
            ],
            close=True,
        ),
        "an upload cancelled while it is written": Scene(
            [beginner()],
            [chunk_sender("a", LAYER), canceller("d"), finisher("f", LAYER), collector("c")],
            (0, 2),
            1,
            close=True,
        ),
    }


SHARED = "before0upload"
"""The id of the upload that the first actor before a scene begins."""


def beginner() -> Actor:
    """Begin the upload that two requests share."""

    async def stage(world: World, kept: dict[str, Any]) -> None:
        await world.uploads.begin(R, "u")

    return Actor("s", [stage])


def chunk_sender(who: str, data: bytes) -> Actor:
    """Send a chunk to the shared upload, wherever it stands."""

    async def stage(world: World, kept: dict[str, Any]) -> None:
        try:
            await world.uploads.append(await world.uploads.find(R, SHARED, "u"), Given(data))
        except Problem:
            return

    return Actor(who, [stage])


def canceller(who: str) -> Actor:
    """Cancel the shared upload."""

    async def stage(world: World, kept: dict[str, Any]) -> None:
        try:
            await world.uploads.cancel(await world.uploads.find(R, SHARED, "u"))
        except Problem:
            return

    return Actor(who, [stage])


def finisher(who: str, data: bytes) -> Actor:
    """Finish the shared upload, whose bytes are believed to be these."""

    async def stage(world: World, kept: dict[str, Any]) -> None:
        try:
            await world.uploads.finish(await world.uploads.find(R, SHARED, "u"), Digest.of(data), SYSTEM)
        except Problem:
            return

    return Actor(who, [stage])
