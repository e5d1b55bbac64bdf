"""Explores every interleaving of a few actors, who run the registry's own functions.

An actor is a list of stages, each a coroutine function. Whenever one asks the database or the store, it hands the
operation over and waits: the explorer chooses who goes next, carries out one operation at a time (a turn is one, for
turns are serial on both engines), and comes back to try the other choices. Coroutines cannot be copied, so one that is
needed again is made anew and given the answers that it was given before.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moorage.db import migrate
from moorage.db.statements import REGISTRY, Statement
from moorage.db.writer import TURN, SqliteTx, _drive
from moorage.registry import dooming, uploads
from moorage.registry.uploads import Uploads
from moorage.storage import Disconnected, Hasher, Key, Source, Stored, WrongOffset
from moorage.storage.store import Missing

UNIT = 1000
"""Microseconds of the coarse clock; finer stamps only order the turns of one moment."""
LEASE, TRASH, BACKUP, LIFETIME = 10 * UNIT, 8 * UNIT, 12 * UNIT, 20 * UNIT

Do = Callable[["World"], Any]
Stage = Callable[["World", dict[str, Any]], Coroutine[Any, Any, "int | None"]]


class Violation(AssertionError):
    """Something that must never be, is."""


class CounterExample(AssertionError):
    """A violation, and the steps that lead to it."""


class Step:
    """An operation that waits to be carried out."""

    def __init__(self, kind: str, do: Do) -> None:
        self.kind = kind
        self.do = do

    def __await__(self) -> Generator[Step, Any, Any]:
        return (yield self)


class Store:
    """A store whose operations are steps."""

    appends = True

    async def write(self, key: Key, offset: int, source: Source, hasher: Hasher | None, *, limit: int) -> int:
        data = b"".join([piece async for piece in source])

        def do(world: World) -> int:
            stored = world.bytes.get(key, b"")
            if len(stored) != offset or key in world.whole:
                raise WrongOffset(key, offset, len(stored))
            world.bytes[key] = stored + data
            return len(data)

        written: int = await Step("write", do)
        if hasher:
            hasher.update(data)
        return written

    async def commit(self, keys: Sequence[Key], into: Key) -> int:
        def do(world: World) -> int:
            if into not in world.bytes:
                raise Missing(into)
            world.whole.add(into)
            return len(world.bytes[into])

        size: int = await Step("commit", do)
        return size

    async def size(self, key: Key) -> int | None:
        found: int | None = await Step(
            "size", lambda world: len(world.bytes[key]) if key in world.bytes else None
        )
        return found

    async def read(self, key: Key, start: int, end: int) -> AsyncIterator[bytes]:
        def do(world: World) -> bytes:
            if key not in world.bytes:
                raise Missing(key)
            return world.bytes[key]

        data: bytes = await Step("size", do)
        yield data[start:end]

    async def shortcut(self, key: Key) -> Path | str | None:
        return None

    async def delete(self, key: Key) -> None:
        def do(world: World) -> None:
            world.bytes.pop(key, None)
            world.whole.discard(key)

        await Step("delete", do)

    async def list(self) -> AsyncIterator[Stored]:
        for key, data in await Step("size", lambda world: list(world.bytes.items())):
            yield Stored(key, len(data), 0)

    async def room(self) -> int | None:
        return None

    async def abort_leftovers(self, *, older_than_seconds: int, key: Key | None = None) -> int:
        return 0

    async def destroy(self, most: int) -> int:
        raise NotImplementedError

    async def remains(self) -> Sequence[str]:
        raise NotImplementedError

    def under(self, prefix: str) -> Store:
        return self

    async def close(self) -> None:
        return


class Given:
    """A source of bytes at hand; *cut*: its sender leaves at the end of them."""

    def __init__(self, data: bytes, *, cut: bool = False) -> None:
        self.data = data
        self.cut = cut

    async def drain(self, consume: Callable[[memoryview], None]) -> int:
        consume(memoryview(self.data))
        return len(self.data)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.data
        if self.cut:
            raise Disconnected


def _kind(statement: Statement) -> str:
    """Tell reads that follow a refusal, and are the same whenever they come, from those that decide something."""
    return "after" if statement in (uploads._STANDS, dooming._DOOMED) else "read"


class Explored:
    """A database whose turns and reads are steps."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def one(self, statement: Statement, /, **params: Any) -> Any:
        return await Step(_kind(statement), lambda world: world.read(statement, params, first=True))

    async def all(self, statement: Statement, /, **params: Any) -> list[Any]:
        rows: list[Any] = await Step(
            _kind(statement), lambda world: world.read(statement, params, first=False)
        )
        return rows

    async def change(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await Step("turn", lambda world: world.turn(work))

    async def write(self, statement: Statement, /, **params: object) -> int:
        async def work(tx: Any) -> int:
            changed: int = await tx.run(statement, **params)
            return changed

        changed: int = await Step("turn", lambda world: world.turn(work, stamped=False))
        return changed

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Explored]:
        yield self

    def access_version(self) -> int:
        return 0

    def now(self) -> int:
        return self.world.now

    async def close(self) -> None:
        return


@dataclass
class Actor:
    """Who does what: the name is in the path that is told of a counter-example."""

    name: str
    stages: list[Stage]
    may_crash: bool = True


@dataclass
class Standing:
    """Where an actor stands: its stage, what it keeps from stage to stage, what it was answered in this stage.

    And what the clock showed it in this stage, each time that it looked: it may go by that much later.
    """

    stage: int | None = 0
    kept: dict[str, Any] = field(default_factory=dict)
    answers: tuple[tuple[Any, BaseException | None, int], ...] = ()
    keys: int = 0
    looked: tuple[int, ...] = ()

    def copy(self) -> Standing:
        return Standing(self.stage, dict(self.kept), self.answers, self.keys, self.looked)

    def seen(self) -> tuple[Any, ...]:
        told = tuple(repr(error) if error else repr(value) for value, error, _ in self.answers)
        return self.stage, sorted(self.kept.items(), key=repr), told, self.looked


class World:
    """One registry in memory, its bytes, the clock, and where everybody stands."""

    def __init__(self, actors: Sequence[Actor]) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        image = bytearray(migrate.template())
        image[18:20] = b"\x01\x01"  # No write-ahead log: there is no file to have one beside.
        self.connection.deserialize(bytes(image))
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.create_function("from_hex", 1, bytes.fromhex, deterministic=True)
        self.actors = list(actors)
        self.standing = [Standing() for _ in actors]
        self.bytes: dict[str, bytes] = {}
        self.whole: set[str] = set()
        self.wall = 0
        self.shown = 0
        self.looked: list[int] = []
        self.crashes = 0
        self.history: list[tuple[int, frozenset[str]]] = []
        self.acknowledged: list[tuple[str, str, str | None]] = []
        self.acting = "setup"
        self.made = 0
        self.db = Explored(self)
        self.store = Store()
        self.uploads = Uploads(self.db, self.store, LIFETIME, 1 << 20)  # type: ignore[arg-type]

    @property
    def now(self) -> int:
        """What the clock shows the actor that runs, which is noted."""
        self.looked.append(self.shown)
        return self.shown

    def new_key(self) -> Key:
        """Make the same keys whenever an actor does the same again."""
        self.made += 1
        return Key(f"{self.acting}{self.made:04d}")

    def turn(self, work: Callable[[Any], Awaitable[Any]], *, stamped: bool = True) -> Any:
        execute = self.connection.execute
        execute("SAVEPOINT turn")
        try:
            at = self.wall
            if stamped:
                at = execute(TURN, {"now": self.wall, "n": 1, REGISTRY: 1}).fetchone()[0]
            tx = SqliteTx(self.connection, 1, at)
            given = _drive(work, tx)
            if tx.failed:
                raise tx.failed
        except BaseException:
            execute("ROLLBACK TO turn")
            execute("RELEASE turn")
            raise
        execute("RELEASE turn")
        return given

    def read(self, statement: Statement, params: dict[str, Any], *, first: bool) -> Any:
        tx = SqliteTx(self.connection, 1, 0)
        return _drive(lambda tx: tx.one(statement, **params) if first else tx.all(statement, **params), tx)

    def ask(self, sql: str, *params: object) -> list[Any]:
        return self.connection.execute(sql, params).fetchall()

    # --- going on, and going back -------------------------------------------------------------------------------

    def save(self) -> tuple[Any, ...]:
        return (
            [one.copy() for one in self.standing],
            dict(self.bytes),
            set(self.whole),
            self.wall,
            self.crashes,
            list(self.history),
            list(self.acknowledged),
        )

    def load(self, saved: tuple[Any, ...]) -> None:
        standing, bytes_, whole, self.wall, self.crashes, history, acknowledged = saved
        self.standing = [one.copy() for one in standing]
        self.bytes, self.whole = dict(bytes_), set(whole)
        self.history, self.acknowledged = list(history), list(acknowledged)

    def advance(self, number: int, fused: frozenset[str]) -> None:
        """Let an actor carry out one operation, and those that follow it and nobody else can see."""
        standing, actor = self.standing[number], self.actors[number]
        assert standing.stage is not None
        stage = actor.stages[standing.stage]
        kept = dict(standing.kept)
        self.acting, self.made, self.looked = actor.name, standing.keys, []
        running = stage(self, kept)
        answers = list(standing.answers)
        try:
            step = self._replay(running, answers)
            while True:
                value, error = self._carry_out(step)
                answers.append((value, error, self.wall))
                step = self._answer(running, value, error, self.wall)
                if step.kind not in fused:
                    break
        except StopIteration as end:
            self.standing[number] = Standing(end.value, kept, (), self.made)
        else:
            shown = tuple(self.looked)
            self.standing[number] = Standing(
                standing.stage, standing.kept, tuple(answers), standing.keys, shown
            )
        finally:
            running.close()

    def _replay(self, running: Coroutine[Any, Any, Any], answers: list[Any]) -> Step:
        self.shown = self.wall if not answers else answers[0][2]
        step: Step = running.send(None)
        for value, error, wall in answers:
            step = self._answer(running, value, error, wall)
        self.shown = self.wall
        return step

    def _answer(
        self, running: Coroutine[Any, Any, Any], value: Any, error: BaseException | None, wall: int
    ) -> Step:
        self.shown = wall
        step: Step = running.send(value) if error is None else running.throw(error)
        return step

    def _carry_out(self, step: Step) -> tuple[Any, BaseException | None]:
        try:
            return step.do(self), None
        except Violation:
            raise
        except Exception as error:  # noqa: BLE001 - the actor hears of it, as it would of a real one.
            return None, error

    def alone(self, running: Coroutine[Any, Any, Any]) -> Any:
        """Run something to its end with nobody between."""
        self.shown = self.wall
        try:
            step = running.send(None)
            while True:
                value, error = self._carry_out(step)
                step = self._answer(running, value, error, self.wall)
        except StopIteration as end:
            return end.value

    def fingerprint(self, tables: Iterable[str]) -> bytes:
        rows = [self.ask(sql) for sql in tables]
        kept = [moment for moment in self.history if moment[0] >= self.wall - BACKUP]
        seen = (
            rows, self.wall, sorted(self.bytes), sorted(self.whole), [one.seen() for one in self.standing],
            self.crashes, [(at, sorted(keys)) for at, keys in kept], sorted(self.acknowledged, key=repr),
        )  # fmt: skip
        return hashlib.blake2b(repr(seen).encode(), digest_size=16).digest()


TABLES = (
    "SELECT used, trash FROM registry",
    "SELECT name, used, trash FROM project ORDER BY 1",
    "SELECT digest, key, projects, live_projects FROM blob ORDER BY 1",
    (
        "SELECT r.name, b.digest, refs, held, review_at / 1000 FROM repository_blob l JOIN repository r"
        " ON r.id = repository_id JOIN blob b ON b.id = blob_id ORDER BY 1, 2"
    ),
    (
        "SELECT r.name, digest, m.deleted_at / 1000, loose_since / 1000 FROM manifest m JOIN repository r"
        " ON r.id = repository_id ORDER BY 1, 2"
    ),
    (
        "SELECT r.name, t.name, m.digest, start_at / 1000, end_at / 1000 FROM tag t JOIN repository r"
        " ON r.id = t.repository_id JOIN manifest m ON m.id = manifest_id ORDER BY 1, 2, start_at"
    ),
    "SELECT id, version, received, expires_at / 1000 FROM upload ORDER BY 1",
    "SELECT key, destroy_at / 1000 FROM doomed ORDER BY 1",
)


@dataclass
class Seen:
    """What was seen."""

    states: int = 0
    steps: int = 0
    ends: int = 0


class Explorer:
    """Tries every order of the actors' operations."""

    def __init__(
        self,
        world: World,
        check: Callable[[World], None],
        rest: Callable[[World], None],
        *,
        crashes: int = 1,
        fused: frozenset[str] = frozenset(),
        most: int = 1_000_000,
    ) -> None:
        self.world, self.check, self.rest = world, check, rest
        self.crashes, self.fused, self.most = crashes, fused, most
        self.seen: set[bytes] = set()
        self.result = Seen()

    def explore(self) -> Seen:
        self.check(self.world)
        self.seen.add(self.world.fingerprint(TABLES))
        self._from(0, ())
        self.result.states = len(self.seen)
        return self.result

    def _from(self, depth: int, path: tuple[str, ...]) -> None:
        world = self.world
        moves = [number for number, one in enumerate(world.standing) if one.stage is not None]
        saved = world.save()
        world.connection.execute(f"SAVEPOINT depth{depth}")
        if not moves:
            self.result.ends += 1
            with _told((*path, "and rest")):
                self.rest(world)
            self._back(depth, saved)
        for number in moves:
            for crash in (False, True):
                step = self._try(number, crash=crash, path=path)
                if step is not None and len(self.seen) < self.most:
                    self._from(depth + 1, (*path, step))
                self._back(depth, saved)
        world.connection.execute(f"RELEASE depth{depth}")

    def _back(self, depth: int, saved: tuple[Any, ...]) -> None:
        self.world.connection.execute(f"ROLLBACK TO depth{depth}")
        self.world.load(saved)

    def _try(self, number: int, *, crash: bool, path: tuple[str, ...]) -> str | None:
        """Take one step, check what came of it, and give its name if it leads to something new."""
        world, actor = self.world, self.world.actors[number]
        standing = world.standing[number]
        begun = bool(standing.answers or standing.stage)
        if crash and (world.crashes >= self.crashes or not actor.may_crash or not begun):
            return None
        step = f"{actor.name}{'!' if crash else standing.stage}.{len(standing.answers)}"
        self.result.steps += 1
        with _told((*path, step)):
            if crash:
                world.standing[number] = Standing(None)
                world.crashes += 1
            else:
                world.advance(number, self.fused)
            mark = world.fingerprint(TABLES)
            if mark in self.seen:
                return None
            self.seen.add(mark)
            self.check(world)
        return step


@contextmanager
def _told(path: tuple[str, ...]) -> Any:
    try:
        yield
    except CounterExample:
        raise
    except Exception as error:
        raise CounterExample(f"{type(error).__name__}: {error} after {' '.join(path)}") from error
