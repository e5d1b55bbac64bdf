"""A real PostgreSQL for the tests: Debian's, in a folder of its own, on a free port."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from moorage.db import migrate
from tests.servers.ports import reserved
from tests.servers.processes import children_of, standing_still, until_gone

START_SECONDS = 240
USER = "postgres"


@dataclass
class PostgresServer:
    """A server that can be stopped, killed and started again."""

    programs: Path
    folder: Path
    port: int
    fsync: bool = True
    settings: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    _templates: list[str] = field(default_factory=list)

    @property
    def log(self) -> str:
        """Everything the server has said."""
        return (self.folder / "log").read_text(errors="replace")

    def url(self, database: str = "postgres") -> str:
        """Give the address that ``Postgres.connect`` takes."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # What it shares between its processes lies in its folder, and goes with that.
        options = [
            f"fsync={'on' if self.fsync else 'off'}",
            "max_connections=200",
            # After a crash it would sync every file there is, one by one: late in a session that is hundreds of databases.
            "recovery_init_sync_method=syncfs",
            "dynamic_shared_memory_type=mmap",
            *self.settings,
        ]
        command = [
            str(self.programs / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder),
            "-h", "127.0.0.1", "-p", str(self.port), *(word for option in options for word in ("-c", option)),
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, **_as_postgres()
            )
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"PostgreSQL did not start:\n{self.log}")
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End every process of it at once, as a power cut would."""
        if self.process is not None:
            # One that runs would make new processes in the place of those that were killed, and one that is left keeps
            # the next server from starting.
            with standing_still(self.process.pid):
                children = children_of(self.process.pid)
                self.process.kill()
            self.process.wait()
            for child in children:
                # A backend may end by itself meanwhile.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            assert until_gone(children) == []

    def stop(self) -> None:
        """Stop it in order, clients or not."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def database(self, template: str = "template1") -> str:
        """Make an empty database, and give its address."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        return self.url(name)

    def cell(self) -> str:
        """Make a database with the tables of a cell, and give its address."""
        if not self._templates:
            made = self.database()
            migrate.upgrade_postgres(made)
            self._templates.append(made.rpartition("/")[2])
        return self.database(self._templates[0])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server for the whole session, for those who do not kill it: what it says is durable need not be."""
    with running_postgres(fsync=False) as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """Run a PostgreSQL that may be killed."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """Make one database with a cell's tables for the whole session."""
    return postgres_server.cell()


@contextmanager
def running_postgres(*settings: str, fsync: bool = True) -> Iterator[PostgresServer]:
    """Run a server in a folder of its own; stop it and remove the folder after."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("Debian's package postgresql is missing: no /usr/lib/postgresql/*/bin/initdb")
    programs = found[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="moorage-pg-"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, USER, USER)
        command = [
            str(programs / "initdb"), "-D", str(folder / "data"), "-U", USER, "-A", "trust", "-N",
            "--locale=C.UTF-8", "--encoding=UTF8",
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **_as_postgres())
        with reserved() as (port,):
            server = PostgresServer(programs, folder, port, fsync, settings)
            try:
                server.start()
                yield server
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_postgres() -> dict[str, Any]:
    """Say who runs it: PostgreSQL refuses to be root."""
    if os.getuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        pytest.skip("Debian's package postgresql is missing: no user postgres, and it does not run as root")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
