"""A PostgreSQL of the bench's own: Debian's, in a folder that goes with it, on a free port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from bench.servers import PATIENCE, Server, free_port

USER = "postgres"


@contextlib.contextmanager
def running() -> Iterator[tuple[Server, str]]:
    """Run a server with everything as Debian has it; give it, and the address of an empty database."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise SystemExit("no PostgreSQL to measure on: apt install postgresql")
    programs, folder = found[-1].parent, Path(tempfile.mkdtemp(prefix="moorage-bench-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)
        data, port = folder / "data", free_port()
        made = ["-D", str(data), "-U", USER, "-A", "trust", "--locale=C.UTF-8", "--encoding=UTF8"]
        subprocess.run(
            [programs / "initdb", *made], check=True, stdout=subprocess.DEVNULL, cwd=folder, **_as_postgres()
        )
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [
                    programs / "postgres", "-D", data, "-k", folder, "-h", "127.0.0.1", "-p", str(port),
                    "-c", "dynamic_shared_memory_type=mmap",
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder, **_as_postgres(),
            )  # fmt: skip
        server = Server("PostgreSQL", process, port, folder)
        try:
            yield server, _database(server)
        finally:
            # In order, clients or not.
            process.send_signal(signal.SIGINT)
            process.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _database(server: Server) -> str:
    url = f"postgresql://{USER}@127.0.0.1:{server.port}/"
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            with psycopg.connect(f"{url}postgres", autocommit=True) as connection:
                connection.execute("CREATE DATABASE bench")
        except psycopg.OperationalError as error:
            if server.process.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"PostgreSQL does not answer: {error}") from None
            time.sleep(0.05)
        else:
            return f"{url}bench"


def transactions(url: str) -> int:
    """Count what was asked of a database so far: each statement of ours outside a change is a transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        asked = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        row = connection.execute(asked).fetchone()
    return 0 if row is None else int(row[0])


def _as_postgres() -> dict[str, Any]:
    """Say who runs it: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(USER)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
