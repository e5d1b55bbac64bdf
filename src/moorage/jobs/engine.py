"""The door to DBOS, which keeps jobs through any crash: in a SQLite file of its own, or a schema of PostgreSQL.

    submit ──> queue ──> workflow "job" ──> step "round" ──> a handler, on the worker's own event loop
               (few of one registry)         (repeated while there is more to do)

Only a worker imports this module: DBOS and what it brings are a third of the worker's memory.
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from dbos import DBOS, DBOSConfig
from dbos._serialization import DBOSPortableJSONSerializer
from sqlalchemy.exc import SQLAlchemyError

from moorage.errors import Problem
from moorage.jobs.job import CannotWork, Handlers, Job, Rounds

LOG = logging.getLogger(__name__)

QUEUE = "jobs"
SCHEMA = "moorage_jobs"
# Work is recovered only by workers of its own version: it changes when a round in flight could not be repeated.
VERSION = "1"
POLL = 1.0
"""Seconds between two looks at the queue."""
AT_ONCE = 10
"""How many jobs one worker does at once."""
OF_ONE = 5
"""How many of them one partition (a registry) may have, in the whole cell."""
KEPT = timedelta(days=1)
"""How long a job that has ended can be looked up: each registry has one or more an hour, and a thousand have 24,000 a day."""
_FORGET = 500
_SELDOM = 3600.0
_TRIES = 8


class _Stopping(BaseException):
    """Leaves a job where it is, to be taken up by the next worker. DBOS keeps an Exception as a job's end."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """Where jobs are kept, and the name under which this worker does them: the same after a restart."""

    url: str
    executor: str

    @classmethod
    def file(cls, path: Path) -> Self:
        """Keep them in a file, which one worker has at a time; raise CannotWork when another has it."""
        # Held as long as the process lives: two workers under one name would take each other's jobs for their own.
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise CannotWork(f"another worker has {path}: one folder takes one worker") from None
        try:
            with contextlib.closing(sqlite3.connect(path)) as connection:
                path.chmod(0o600)
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:
            raise CannotWork(f"{path}: {error}") from error
        return cls(f"sqlite:///{path.absolute()}", "worker")


@dataclass(slots=True)
class Engine:
    """The jobs of one worker process: DBOS allows one."""

    keeper: Keeper
    handlers: Handlers
    _kinds: dict[str, tuple[type[Job], Rounds]] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _suspects: set[str] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None
    _stopping: bool = False

    async def start(self) -> None:
        """Take up what this worker left, and whatever waits; raise CannotWork when the database refuses."""
        self._kinds = {kind.__name__: (kind, rounds) for kind, rounds in self.handlers.items()}
        self._loop = asyncio.get_running_loop()
        await self._ask(self._launch)

    async def submit(self, job: Job, *, id_: str, partition: str) -> None:
        """Promise a job, once under its id however often it is said. A partition does not hold up the others."""
        options: Any = {
            "workflow_name": "job",
            "queue_name": QUEUE,
            "workflow_id": id_,
            "app_version": VERSION,
            "queue_partition_key": partition,
        }
        kind, body = type(job).__name__, dataclasses.asdict(job)
        await self._ask(lambda: DBOS.enqueue_workflow_with_options(options, kind, body))

    async def busy(self) -> set[str]:
        """List the partitions that have a job which waits or is being done: one question, however many there are."""
        waiting: list[str] = ["ENQUEUED", "PENDING"]
        found = await self._ask(
            lambda: DBOS.list_workflows(queue_name=QUEUE, status=waiting, load_input=False, load_output=False)
        )
        return {one.queue_partition_key for one in found if one.queue_partition_key}

    async def check(self) -> None:
        """Raise CannotWork if a job is marked as being done here and nobody does it.

        So it stays when its last row could not be written (a full disk): only a restart takes it up again.
        """
        marked = await self._ask(lambda: _ids(executor_id=self.keeper.executor, status="PENDING"))
        idle = set(marked) - self._running
        stuck, self._suspects = idle & self._suspects, idle
        if stuck:
            raise CannotWork(f"a job is stuck: {min(stuck)}")

    async def take_over(self, executor: str) -> int:
        """Put the unfinished jobs of a dead worker back into the queue; give how many."""

        def work() -> int:
            ids = _ids(executor_id=executor, status="PENDING")
            # Without the queue's name DBOS would run them past the queue's limits.
            DBOS.resume_workflows(ids, queue_name=QUEUE)
            return len(ids)

        taken: int = await self._ask(work)
        return taken

    async def forget(self) -> int:
        """Drop jobs that ended long ago; give how many."""

        def work() -> int:
            before = (datetime.now(UTC) - KEPT).isoformat()
            ids = _ids(completed_before=before, limit=_FORGET)
            DBOS.delete_workflows(ids)
            return len(ids)

        dropped: int = await self._ask(work)
        return dropped

    def stop(self) -> None:
        """Begin no other round. What is left waits for the next worker."""
        self._stopping = True

    async def _ask(self, work: Callable[[], Any]) -> Any:
        try:
            return await asyncio.to_thread(work)
        except SQLAlchemyError as error:
            raise CannotWork(f"the jobs' database refuses: {str(error).splitlines()[0]}") from error

    def _launch(self) -> None:
        config: DBOSConfig = {
            "name": "moorage",
            "system_database_url": self.keeper.url,
            "dbos_system_schema": SCHEMA,
            "application_version": VERSION,
            "executor_id": self.keeper.executor,
            "serializer": DBOSPortableJSONSerializer(),
            "enable_otlp": False,
            "log_level": "WARNING",
            "max_executor_threads": 2 * AT_ONCE,
            "sys_db_pool_size": 5,
            # Nothing here waits for DBOS's messages, nor uses its calendar.
            "use_listen_notify": False,
            "notification_listener_polling_interval_sec": _SELDOM,
            "scheduler_polling_interval_sec": _SELDOM,
        }
        DBOS(config=config)
        self._declare()
        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=AT_ONCE,
            partition_concurrency=OF_ONE,
            polling_interval_sec=POLL,
            on_conflict="always_update",
        )

    def _declare(self) -> None:
        @DBOS.step(
            name="round", retries_allowed=True, max_attempts=_TRIES, interval_seconds=1.0, backoff_rate=2.0
        )
        def one_round(kind: str, body: Mapping[str, Any]) -> bool:
            return self._round(kind, body)

        @DBOS.workflow(name="job", max_recovery_attempts=None)
        def job(kind: str, body: Mapping[str, Any]) -> int:
            id_ = str(DBOS.workflow_id)
            self._running.add(id_)
            try:
                rounds = 1
                while one_round(kind, body):
                    rounds += 1
                return rounds
            finally:
                self._running.discard(id_)

        # DBOS keeps them by name.
        del job

    def _round(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Do one round on the event loop, where the databases live, and wait for it in DBOS's thread."""
        if self._stopping or self._loop is None:
            raise _Stopping
        done = asyncio.run_coroutine_threadsafe(self._handle(kind, body), self._loop)
        try:
            return done.result()
        except (concurrent.futures.CancelledError, asyncio.CancelledError):
            raise _Stopping from None

    async def _handle(self, kind: str, body: Mapping[str, Any]) -> bool:
        type_, rounds = self._kinds[kind]
        try:
            return await rounds(type_(**body))
        except Problem as problem:
            LOG.warning("a round of a job failed: %s", problem, extra={"job": kind})
            raise
        except Exception:
            LOG.exception("a round of a job failed", extra={"job": kind})
            raise


def _ids(**asked: Any) -> list[str]:
    return [one.workflow_id for one in DBOS.list_workflows(load_input=False, load_output=False, **asked)]
