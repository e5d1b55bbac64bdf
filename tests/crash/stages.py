"""Processes of the registry that end themselves at a stage: the product's own, with a hook put around it from outside.

``kill -9`` from a test comes at a moment that nobody chose. Here a process takes itself away exactly between two steps,
or in the midst of one: the product knows nothing of it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import signal
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import asyncpg

from moorage import ordering, working
from moorage.app import Moorage
from moorage.cli.commands import Inherited
from moorage.cloud.reconciling import Reconciler
from moorage.cloud.registries import Registry
from moorage.db import files
from moorage.db.postgres import PostgresDatabase
from moorage.db.sqlite import SqliteDatabase
from moorage.db.turns import PostgresTx
from moorage.db.writer import SqliteTx
from moorage.identity.passwords import Passwords
from moorage.registry import collection, dooming, uploads
from moorage.storage.objects import ObjectStore
from moorage.storage.posix import PosixStore
from tests.servers.passwords import CHEAP

SECONDS = 60.0
# A frame of SQLite's log is a head of 24 bytes and a page of 4096.
TORN = {"in the commit, its first frame begun": 10, "in the commit, half of it written": 24 + 4096 + 2000}
# Where a process may end, and whether what it was asked to do is done by then; engine and store may decide that.
DONE, NOT_DONE, EITHER = frozenset({True}), frozenset({False}), frozenset({True, False})
CHANGE = {
    "in the turn, after its first row": NOT_DONE,
    "in the turn, after its last row": NOT_DONE,
    **dict.fromkeys(TORN, EITHER),
    "after the commit": DONE,
}
# Small programs that begin here have imported already what costs most of a start.
_BEGINNING = multiprocessing.get_context("forkserver")
_BEGINNING.set_forkserver_preload([
    "moorage.app", "moorage.planes", "moorage.serving", "moorage.working", "moorage.db.postgres", "moorage.jobs.engine",
    "moorage.ordering", "obstore",
])  # fmt: skip


@dataclass(slots=True)
class Stage:
    """A point of the code where this process ends: the *nth* time that it comes by, *within* a step of collection."""

    point: str
    within: str = ""
    nth: int = 1
    _reached: bool = field(default=False)

    def arm(self) -> None:
        """Put the hooks around the product's functions."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self.within:
            _around(_STEPS[self.within], self.within, self._entered)
        else:
            self._reached = True
        _HOOKS[self.point](self)

    def come_by(self) -> None:
        """End this process, if this is the place."""
        if self._reached:
            self.nth -= 1
            if self.nth == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    @property
    def is_reached(self) -> bool:
        """Say whether the next time would be the one."""
        return self._reached and self.nth == 1

    async def _entered(self, call: Callable[[], Awaitable[Any]]) -> Any:
        self._reached = True
        return await call()


def _around(owner: Any, name: str, hook: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]) -> None:
    """Have *hook* make each call of a function, or do something else."""
    original = getattr(owner, name)

    async def hooked(*given: Any, **more: Any) -> Any:
        return await hook(lambda: original(*given, **more))

    setattr(owner, name, hooked)


def _before(stage: Stage, name: str, *owners: Any) -> None:
    async def hook(call: Callable[[], Awaitable[Any]]) -> Any:
        stage.come_by()
        return await call()

    for owner in owners:
        _around(owner, name, hook)


def _after(stage: Stage, name: str, *owners: Any) -> None:
    async def hook(call: Callable[[], Awaitable[Any]]) -> Any:
        given = await call()
        stage.come_by()
        return given

    for owner in owners:
        _around(owner, name, hook)


def _last_row(stage: Stage) -> None:
    """End when a turn has done all that it does, and is not committed."""
    for owner in (SqliteDatabase, PostgresDatabase):
        _turn_through(owner, stage)


def _turn_through(owner: Any, stage: Stage) -> None:
    original = owner.change

    async def change(self: Any, work: Callable[[Any], Awaitable[Any]]) -> Any:
        async def whole(tx: Any) -> Any:
            given = await work(tx)
            stage.come_by()
            return given

        return await original(self, whole)

    setattr(owner, "change", change)  # noqa: B010 - a method is not assigned to, says the type checker.


def _in_commit(stage: Stage, more: int) -> None:
    """End while the commit is written: SQLite's after *more* bytes of its log, PostgreSQL's when it is on its way."""
    # Python lets a write fail that would pass the limit; as the system does it, the process ends there.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    connect, execute = files.connect, asyncpg.Connection.execute

    def traced(path: Any, *, reads: bool) -> sqlite3.Connection:
        connection = connect(path, reads=reads)

        def begins(statement: str) -> None:
            if statement == "COMMIT" and stage.is_reached:
                limit = files.wal_size(path) + more
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        connection.set_trace_callback(begins)
        return connection

    async def sent(self: Any, query: str, *given: Any, **named: Any) -> Any:
        if not query.endswith("COMMIT") or not stage.is_reached:
            return await execute(self, query, *given, **named)
        answer = asyncio.ensure_future(execute(self, query, *given, **named))
        await asyncio.sleep(0)
        stage.come_by()
        return await answer

    files.connect = traced
    setattr(asyncpg.Connection, "execute", sent)  # noqa: B010 - as above.


_STEPS: Mapping[str, Any] = {
    "expire": uploads,
    "purge": collection,
    "review": collection,
    "forget_history": collection,
    "destroy": dooming,
}
_HOOKS: Mapping[str, Callable[[Stage], None]] = {
    "before the bytes": lambda stage: _before(stage, "write", PosixStore, ObjectStore),
    "after the bytes": lambda stage: _after(stage, "write", PosixStore, ObjectStore),
    "before the bytes are whole": lambda stage: _before(stage, "commit", PosixStore, ObjectStore),
    "after the bytes are whole": lambda stage: _after(stage, "commit", PosixStore, ObjectStore),
    "in the turn, after its first row": lambda stage: _after(stage, "run", SqliteTx, PostgresTx),
    "in the turn, after its last row": _last_row,
    "after the commit": lambda stage: _after(stage, "change", SqliteDatabase, PostgresDatabase),
    "before bytes are destroyed": lambda stage: _before(stage, "delete", PosixStore, ObjectStore),
    "after bytes are destroyed": lambda stage: _after(stage, "delete", PosixStore, ObjectStore),
    "before rows without a turn": lambda stage: _before(stage, "write", SqliteDatabase, PostgresDatabase),
    **{point: partial(_in_commit, more=more) for point, more in TORN.items()},
}


def serving(stage: Stage, environment: Mapping[str, str], listening: socket.socket) -> BaseProcess:
    """Start a worker of the registry plane that ends itself at a stage."""
    return _begun(_serve, stage, dict(environment), listening)


def collecting(stage: Stage, environment: Mapping[str, str], name: str) -> BaseProcess:
    """Start a collection of one registry that ends itself at a stage."""
    return _begun(_collect, stage, dict(environment), name)


def reconciling(environment: Mapping[str, str], step: str = "", moment: str = "") -> BaseProcess:
    """Start a worker of the fleet; one that is given a step of reconciling ends itself before it, or once it is done."""
    return _begun(_reconcile, dict(environment), step, moment)


async def ended(process: BaseProcess) -> None:
    """Wait for a process to end, and see that it was by the hook."""
    await asyncio.to_thread(process.join, SECONDS)
    status = process.exitcode
    process.kill()
    process.close()
    assert status in (-signal.SIGKILL, -signal.SIGXFSZ), f"it came by no such stage: {status}"


def _begun(target: Callable[..., None], *given: Any) -> BaseProcess:
    process = _BEGINNING.Process(target=target, args=given, daemon=True)
    process.start()
    return process


def _serve(stage: Stage, environment: dict[str, str], listening: socket.socket) -> None:
    os.environ.update(environment)
    # As those who sign in here were made; at another price each would be hashed anew, which is a change of its own.
    Passwords.hasher = CHEAP
    stage.arm()
    Moorage().serve("registry", Inherited(None, (("registry", listening.detach()),)))


def _reconcile(environment: dict[str, str], wanted: str, moment: str) -> None:
    os.environ.update(environment)
    run = Reconciler.run

    async def hooked(self: Reconciler, step: Callable[[Registry], Awaitable[bool]], found: Registry) -> bool:
        at = step.__name__ == wanted
        if at and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = await run(self, step, found)
        if at:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(Reconciler, "run", hooked)  # noqa: B010 - as above.
    # Nobody else serves this cell, so nobody has to let go.
    for name in ("LETTING_GO", "LETTING_GO_OF_FILES"):
        setattr(ordering, name, 0)
    Moorage().work(Inherited(None, ()))


def _collect(stage: Stage, environment: dict[str, str], name: str) -> None:
    os.environ.update(environment)
    # Nothing else writes here, and nobody's clock differs: what is due may go at once.
    working.LONGEST_REQUEST = working.MARGIN = 0
    stage.arm()
    Moorage().collect(name)
