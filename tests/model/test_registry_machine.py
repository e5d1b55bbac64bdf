"""A registry against a plain model of it: whatever is done in whatever order, the two agree."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from moorage.db import Database, Statement, insert
from moorage.db.postgres import Postgres
from moorage.db.sqlite import SqliteDatabase
from moorage.db.tables import manifest, manifest_blob, registry, repository, tag
from moorage.oci.digests import Digest
from moorage.oci.errors import (
    BlobUnknown,
    BlobUploadUnknown,
    ManifestBlobUnknown,
    ManifestUnknown,
    NameUnknown,
)
from moorage.oci.manifests import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest
from moorage.oci.names import RepositoryName, Tag
from moorage.registry import blobs, collection, manifests, projects, recount, trash
from moorage.registry.errors import QuotaExceeded, StillReferenced
from moorage.registry.events import SYSTEM
from moorage.registry.uploads import Upload, Uploads
from moorage.storage import Threads
from moorage.storage.memory import BytesSource, MemoryStore

T = TypeVar("T")

HOUR = 3_600_000_000
LEASE, TRASH, BACKUP, LIFETIME = 24 * HOUR, 20 * HOUR, 30 * HOUR, 40 * HOUR
START = 1_800_000_000_000_000

NAMES = [RepositoryName.parse(text) for text in ("one/app", "one/web", "two/app")]
LAYERS = [bytes([65 + number]) * (10 + number) for number in range(4)]
TAGS = [Tag("latest"), Tag("v1"), Tag("v2")]

ADD_REGISTRY = Statement(
    insert(registry).values(clock=0, limit_bytes=-1, lease=LEASE, trash_window=TRASH, backup_window=BACKUP)
)
ALL = Statement(
    select(manifest.c.id, repository.c.name, manifest.c.digest, manifest.c.deleted_at).select_from(
        manifest.join(repository, repository.c.id == manifest.c.repository_id)
    )
)
TAGGED = Statement(
    select(repository.c.name.label("repository"), tag.c.name, manifest.c.digest, tag.c.end_at).select_from(
        tag.join(manifest, manifest.c.id == tag.c.manifest_id).join(
            repository, repository.c.id == tag.c.repository_id
        )
    )
)
CLOCK = Statement(select(registry.c.clock))
NAMED = Statement(select(manifest_blob.c.manifest_id, manifest_blob.c.blob_id))


@dataclass(frozen=True)
class Thing:
    """A manifest that may be pushed: an image, an index or a referrer."""

    body: bytes
    read: Manifest

    @property
    def digest(self) -> str:
        return str(Digest.of(self.body))

    @property
    def children(self) -> set[str]:
        return {str(child.digest) for child in self.read.children}

    @property
    def layers(self) -> list[bytes]:
        wanted = {one.digest for one in self.read.blobs}
        return [data for data in LAYERS if Digest.of(data) in wanted]


def _image(number: int, subject: Digest | None = None) -> Thing:
    layers = [data for bit, data in enumerate(LAYERS) if number & 1 << bit]
    named = tuple(Descriptor("application/octet-stream", Digest.of(data), len(data)) for data in layers)
    return Thing(
        f"image {number} of {subject}".encode(), Manifest(OCI_MANIFEST, "", blobs=named, subject=subject)
    )


def _index(name: str, *things: Thing) -> Thing:
    named = tuple(Descriptor(OCI_MANIFEST, Digest.of(one.body), len(one.body)) for one in things)
    return Thing(name.encode(), Manifest(OCI_INDEX, "", children=named))


IMAGES = [_image(number) for number in (1, 3, 6, 12)]
SIGNED = [_image(8, Digest.of(one.body)) for one in IMAGES[:2]]
INDEXES = [_index("i1", *IMAGES[:2]), _index("i2", IMAGES[1], SIGNED[0])]
NESTED = [_index("nested", INDEXES[0], IMAGES[2])]
THINGS = {one.digest: one for one in (*IMAGES, *SIGNED, *INDEXES, *NESTED)}

names, things = st.sampled_from(NAMES), st.sampled_from(list(THINGS.values()))
layers, tags = st.sampled_from(LAYERS), st.sampled_from(TAGS)


@dataclass
class Plain:
    """What one repository should hold: plain dicts and sets."""

    live: set[str] = field(default_factory=set)
    trash: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    ended: list[tuple[int, str, str]] = field(default_factory=list)

    def revive(self, wanted: set[str]) -> None:
        waiting = list(wanted)
        while waiting:
            one = waiting.pop()
            self.trash.pop(one, None)
            self.live.add(one)
            waiting += [child for child in THINGS[one].children if child in self.trash]

    def push(self, thing: Thing, names: list[Tag]) -> None:
        self.revive({thing.digest, *(child for child in thing.children if child in self.trash)})
        self.tags.update(dict.fromkeys(names, thing.digest))

    def is_child(self, digest: str) -> bool:
        return any(digest in THINGS[one].children for one in self.live)

    def going(self, digest: str) -> list[str]:
        """List what goes with a manifest: what refers to it and is held by no tag and no index."""
        gone: list[str] = []
        waiting = [digest]
        while waiting:
            one = waiting.pop()
            if one in gone:
                continue
            gone.append(one)
            self.live.discard(one)
            waiting += [
                other
                for other in self.live
                if str(THINGS[other].read.subject) == one
                and other not in self.tags.values()
                and not self.is_child(other)
            ]
        return gone

    def delete(self, digest: str, stamp: int) -> None:
        for one in self.going(digest):
            self.trash[one] = stamp
            for name in [name for name, of in self.tags.items() if of == one]:
                del self.tags[name]
                self.ended.append((stamp, name, one))

    def restore(self, digest: str) -> None:
        stamp = self.trash[digest]
        self.revive({one for one, at in self.trash.items() if at == stamp})
        for at, name, of in self.ended:
            if at == stamp and of in self.live and name not in self.tags:
                self.tags[name] = of


class World:
    """Where the rows are; each run has a registry of its own."""

    loop: asyncio.AbstractEventLoop
    numbers = itertools.count(70_000)

    async def open(self, clock: Any) -> Database:
        raise NotImplementedError

    async def leave(self, db: Database) -> None:
        await db.close()


class InFile(World):
    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()

    async def open(self, clock: Any) -> Database:
        number = next(self.numbers)
        path = Path(self.folder.name) / f"{number}.sqlite"
        return await SqliteDatabase.open(path, number, create=True, clock=clock)

    async def close(self) -> None:
        self.folder.cleanup()


class InPostgres(World):
    def __init__(self, url: str) -> None:
        self.url = url
        self.opened: list[Postgres] = []

    async def open(self, clock: Any) -> Database:
        made = await Postgres.connect(self.url, clock=clock)
        self.opened.append(made)
        return made.bound(next(self.numbers))

    async def leave(self, db: Database) -> None:
        await self.opened.pop().close()

    async def close(self) -> None:
        return


class Machine(RuleBasedStateMachine):
    """Does things to a registry and to its model, and compares them after each."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.plain: dict[str, Plain] = {name.text: Plain() for name in NAMES}
        self.promised: dict[tuple[str, bytes], int] = {}
        self.begun: list[tuple[Upload, bytes]] = []
        self.limited = False
        self.threads = Threads(1)
        self.store = MemoryStore()

    def run(self, work: Awaitable[T]) -> T:
        return self.world.loop.run_until_complete(_as_coroutine(work))

    @initialize()
    def open(self) -> None:
        self.db = self.run(self.world.open(lambda: self.now))
        self.run(self.db.write(ADD_REGISTRY))
        for name in ("one", "two"):
            self.run(self.db.change(partial(projects.create, name=name)))
        self.uploads = Uploads(self.db, self.store, LIFETIME, 1 << 20)

    def teardown(self) -> None:
        self.threads.close()
        if hasattr(self, "db"):
            self.run(self.world.leave(self.db))

    # --- pushing ------------------------------------------------------------------------------------------------

    def source(self, data: bytes) -> BytesSource:
        return BytesSource(data, threads=self.threads)

    def clock(self) -> int:
        """Give the time that stamps go by, which a clock put back does not turn."""
        seen: int = self.run(self.db.one(CLOCK)).clock
        return max(self.now, seen)

    @rule(name=names, data=layers)
    def upload(self, name: RepositoryName, data: bytes) -> None:
        begun = self.run(self.uploads.begin(name, "u"))
        try:
            sent = self.run(self.uploads.append(begun, self.source(data)))
            self.run(self.uploads.finish(sent, Digest.of(data), SYSTEM))
        except QuotaExceeded:
            assert self.limited
        else:
            self.promised[name.text, data] = self.clock()

    @rule(name=names, data=layers)
    def head(self, name: RepositoryName, data: bytes) -> None:
        try:
            self.run(blobs.promise(self.db, name, Digest.of(data)))
        except BlobUnknown:
            assert not self.is_promised(name, data)
        else:
            self.promised[name.text, data] = self.clock()

    @rule(source=names, into=names, data=layers)
    def mount(self, source: RepositoryName, into: RepositoryName, data: bytes) -> None:
        try:
            done = self.run(
                self.db.change(lambda tx: blobs.mount(tx, into, Digest.of(data), sources=[source]))
            )
        except QuotaExceeded:
            assert self.limited
            return
        if done:
            self.promised[into.text, data] = self.clock()
        else:
            assert not self.is_promised(source, data)

    @rule(name=names, thing=things, chosen=st.lists(tags, max_size=2), ensures=st.booleans())
    def push(self, name: RepositoryName, thing: Thing, chosen: list[Tag], ensures: bool) -> None:  # noqa: FBT001 what a stateful test is made of
        if ensures:
            for data in thing.layers:
                self.upload(name, data)
        digest = Digest.of(thing.body)
        try:
            self.run(
                self.db.change(
                    lambda tx: manifests.push(tx, name, digest, thing.read, thing.body, chosen, SYSTEM)
                )
            )
        except QuotaExceeded:
            assert self.limited
        except ManifestBlobUnknown:
            assert not all(self.is_promised(name, data) for data in thing.layers)
        else:
            self.plain[name.text].push(thing, chosen)
            for data in thing.layers:
                self.promised.pop((name.text, data), None)

    def is_promised(self, name: RepositoryName, data: bytes) -> bool:
        """Say whether a blob must be there: it was promised lately, or a live manifest names it."""
        if any(data in THINGS[one].layers for one in self.plain[name.text].live):
            return True
        at = self.promised.get((name.text, data))
        return at is not None and self.clock() - at < LEASE // 2

    # --- taking away, and bringing back -------------------------------------------------------------------------

    @rule(name=names, chosen=tags)
    def untag(self, name: RepositoryName, chosen: Tag) -> None:
        plain = self.plain[name.text]
        try:
            self.run(self.db.change(lambda tx: manifests.untag(tx, name, chosen, SYSTEM)))
        except (ManifestUnknown, NameUnknown):
            assert chosen not in plain.tags
        else:
            del plain.tags[chosen]

    @rule(name=names, thing=things)
    def delete(self, name: RepositoryName, thing: Thing) -> None:
        plain = self.plain[name.text]
        try:
            self.run(self.db.change(lambda tx: manifests.delete(tx, name, Digest.of(thing.body), SYSTEM)))
        except (ManifestUnknown, NameUnknown):
            assert thing.digest not in plain.live
        except StillReferenced:
            assert plain.is_child(thing.digest)
        else:
            assert not plain.is_child(thing.digest)
            plain.delete(thing.digest, self.run(self.db.one(CLOCK)).clock)
            self._unpromise(name)

    def _unpromise(self, name: RepositoryName) -> None:
        """Forget promises that a manifest's push fulfilled: what goes with the manifest may go."""
        kept = {layer for one in self.plain[name.text].trash for layer in THINGS[one].layers}
        self.promised = {
            at: when for at, when in self.promised.items() if at[0] != name.text or at[1] not in kept
        }

    @rule(name=names, thing=things)
    def restore(self, name: RepositoryName, thing: Thing) -> None:
        plain = self.plain[name.text]
        try:
            self.run(self.db.change(lambda tx: trash.restore(tx, name, Digest.of(thing.body), SYSTEM)))
        except (ManifestUnknown, NameUnknown):
            assert thing.digest not in plain.trash
        except QuotaExceeded:
            assert self.limited
        else:
            plain.restore(thing.digest)

    @rule(name=names, data=layers)
    def delete_blob(self, name: RepositoryName, data: bytes) -> None:
        try:
            self.run(self.db.change(lambda tx: blobs.delete(tx, name, Digest.of(data), SYSTEM)))
        except (BlobUnknown, NameUnknown):
            assert not self.is_promised(name, data)
        except StillReferenced:
            assert any(data in THINGS[one].layers for one in self.plain[name.text].live)
        else:
            self.promised.pop((name.text, data), None)

    # --- uploads that end otherwise -----------------------------------------------------------------------------

    @rule(name=names, data=layers)
    def begin(self, name: RepositoryName, data: bytes) -> None:
        self.begun.append((self.run(self.uploads.begin(name, "u")), data))

    @precondition(lambda self: self.begun)
    @rule(number=st.integers(0, 5), ends=st.sampled_from(["cancel", "finish", "send"]))
    def go_on(self, number: int, ends: str) -> None:
        upload, data = self.begun[number % len(self.begun)]
        name = upload.repository.name
        try:
            found = self.run(self.uploads.find(name, upload.id, "u"))
            if found.received < len(data):
                found = self.run(self.uploads.append(found, self.source(data[found.received :])))
            if ends == "finish":
                self.run(self.uploads.finish(found, Digest.of(data), SYSTEM))
                self.promised[name.text, data] = self.clock()
            elif ends == "cancel":
                self.run(self.uploads.cancel(found))
        except (BlobUploadUnknown, QuotaExceeded):
            ends = "gone"
        if ends != "send":
            self.begun.remove((upload, data))

    # --- time -----------------------------------------------------------------------------------------------------

    @rule(hours=st.sampled_from([-48, -1, 1, 5, 11, 13, 25, 60]))
    def clock_jumps(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule()
    def collect(self) -> None:
        self.run(collection.collect(self.db, self.store, longest_request=HOUR, margin=HOUR))
        there = {(row.name, str(Digest.from_raw(row.digest))) for row in self.run(self.db.all(ALL))}
        history = {(row.repository, row.name, row.end_at) for row in self.run(self.db.all(TAGGED))}
        clock = self.run(self.db.one(CLOCK)).clock
        for name, plain in self.plain.items():
            for digest, at in list(plain.trash.items()):
                if (name, digest) not in there:
                    assert clock - at >= max(LEASE, TRASH)
                    del plain.trash[digest]
            plain.ended = [one for one in plain.ended if (name, one[1], one[0]) in history]

    @rule(bytes_=st.sampled_from([-1, 60, 120]))
    def limit(self, bytes_: int) -> None:
        found = self.run(projects.find(self.db, "one"))
        assert found is not None
        self.run(self.db.change(lambda tx: projects.set_limit(tx, found, bytes_)))
        self.limited = bytes_ >= 0

    # --- what holds after each -----------------------------------------------------------------------------------

    @invariant()
    def the_counts_are_right(self) -> None:
        assert self.run(recount.findings(self.db)) == []

    @invariant()
    def the_registry_holds_what_the_model_holds(self) -> None:
        rows = self.run(self.db.all(ALL))
        live = {(row.name, str(Digest.from_raw(row.digest))) for row in rows if row.deleted_at is None}
        gone = {(row.name, str(Digest.from_raw(row.digest))) for row in rows if row.deleted_at is not None}
        current = [row for row in self.run(self.db.all(TAGGED)) if row.end_at is None]

        assert live == {(name, one) for name, plain in self.plain.items() for one in plain.live}
        assert gone == {(name, one) for name, plain in self.plain.items() for one in plain.trash}
        assert {(row.repository, row.name, str(Digest.from_raw(row.digest))) for row in current} == {
            (name, *one) for name, plain in self.plain.items() for one in plain.tags.items()
        }

    @invariant()
    def every_listed_manifest_can_be_pulled_whole(self) -> None:
        for name in NAMES:
            for digest in self.plain[name.text].live:
                pulled = self.run(manifests.get(self.db, name, Digest.parse(digest)))
                assert str(Digest.of(pulled.body)) == digest
                for data in THINGS[digest].layers:
                    found = self.run(blobs.get(self.db, name, Digest.of(data)))
                    assert self.run(_read(self.store, found)) == data


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work


async def _read(store: MemoryStore, found: blobs.Blob) -> bytes:
    return b"".join([piece async for piece in store.read(found.key, 0, found.size)])


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def _test(world: World, loop: asyncio.AbstractEventLoop, *, examples: int) -> None:
    world.loop = loop
    machine = type("Machine", (Machine,), {"world": world})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=checks,
            database=None,
        ),
    )


def test_a_registry_in_a_file_does_what_its_model_does(loop: asyncio.AbstractEventLoop):
    world = InFile()

    _test(world, loop, examples=25)

    loop.run_until_complete(world.close())


def test_a_registry_in_postgres_does_what_its_model_does(loop: asyncio.AbstractEventLoop, postgres_url: str):
    world = InPostgres(postgres_url)

    _test(world, loop, examples=6)

    loop.run_until_complete(world.close())
