"""Schemas and their revisions: made, checked when opened, and brought forward.

There are three families of tables, a registry's, the cell's and the platform's, each with one line of
revisions that run on both engines. A revision says in ``PHASE`` how it goes with the code of the release before:

- ``pre`` (expand): that code goes on working, so it runs as soon as a database is opened;
- ``post`` (contract): it would not, so it runs only when the operator says that none is left.

So code of release N+1 serves schema N and N+1, and refuses a newer one. A revision is one
transaction together with its number, so a process killed in the middle has changed nothing; or,
where that would hold up a PostgreSQL that is being used, steps that the next process goes on with
(``migrations.online``).
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import sqlite3
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moorage.db import estimates, files
from moorage.errors import NewerSchema, Unavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData

_HERE = Path(__file__).parent / "migrations"
_LOCK = 0x4D6F6F72_00000000
"""PostgreSQL's advisory lock under which one process at a time migrates: "Moor", and no registry."""
_PHASE = re.compile(r'^PHASE = "(pre|post)"$', re.MULTILINE)
_PAUSE = 0.2
"""Seconds before a process asks again whether another has ended migrating."""
_ONE_AT_A_TIME = threading.Lock()
"""What a revision's ``op`` works on is one for a whole process: of two threads, one would work on the other's connection."""


@dataclass(frozen=True)
class Family:
    """Tables that change together."""

    name: str
    folder: Path
    version_table: str
    serves_from: str
    """The oldest revision that this code can work on without bringing it forward."""

    @functools.cached_property
    def revisions(self) -> tuple[str, ...]:
        """List the revisions this code knows, oldest first."""
        return tuple(sorted(path.name.split("_")[0] for path in self.folder.glob("[0-9]*_*.py")))

    @functools.cached_property
    def opened_to(self) -> dict[str | None, str]:
        """Say for each revision how far opening brings a database: to the last before one that must wait.

        One without tables goes all the way, since no release before ours can be at work on it.
        """
        known = self.revisions
        end = known[-1]
        ends: dict[str | None, str] = {None: end}
        for revision, after in reversed(list(zip(known, (*known[1:], ""), strict=True))):
            end = revision if not after or self._waits(after) else end
            ends[revision] = end
        return ends

    def _waits(self, revision: str) -> bool:
        """Tell whether a revision is of the phase ``post``. Its file is not run for it: that would need Alembic."""
        path = next(self.folder.glob(f"{revision}_*.py"))
        phase = _PHASE.search(path.read_text())
        if phase is None:
            raise ValueError(f'{path}: a revision says its phase: PHASE = "pre" or PHASE = "post"')
        return phase[1] == "post"

    def metadata(self) -> MetaData:
        """Give the tables as the code has them."""
        from moorage.db import cell, counting, platform_sign_in  # noqa: PLC0415 - 20 ms that only migrations need.

        # Whoever has read the tables of sign-in has read the platform's others, which they refer to.
        whole = platform_sign_in.browser_session.metadata
        known = {"registry": counting.COUNTED, "cell": cell.metadata, "platform": whole}
        return known[self.name]

    def check(self, version: str | None) -> None:
        """Raise NewerSchema for a version that this code does not know."""
        if version is not None and version not in self.revisions:
            raise NewerSchema(
                f"the {self.name} schema has version {version} and this release knows {self.revisions[-1]}: "
                "start the release that wrote it, or a newer one",
                schema=version,
                known=self.revisions[-1],
            )


REGISTRY = Family("registry", _HERE / "registry", "schema_registry", "0001")
CELL = Family("cell", _HERE / "cell", "schema_cell", "0001")
PLATFORM = Family("platform", _HERE / "platform", "schema_platform", "0001")


def of_a_cell() -> tuple[Family, Family]:
    """Give the families that the registry plane works on."""
    return REGISTRY, CELL


def file_version(family: Family, connection: sqlite3.Connection) -> str | None:
    """Read a file's revision; None: it has no tables yet."""
    try:
        row = connection.execute(f"SELECT version_num FROM {family.version_table}").fetchone()  # noqa: S608 - a constant.
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise files.translated(error) from error
        return None
    return None if row is None else row[0]


def ensure_file(family: Family, path: Path, reader: sqlite3.Connection, *, contract: bool = False) -> None:
    """Bring an open file forward where it must be, or raise NewerSchema. Mostly one short query."""
    version = file_version(family, reader)
    family.check(version)
    wanted = family.revisions[-1] if contract else family.opened_to[version]
    if version != wanted or not estimates.are_told(reader):
        upgrade_file(family, path, contract=contract)


def upgrade_file(family: Family, path: Path, *, contract: bool = False) -> None:
    """Run a file's missing revisions under its lock; those of phase ``post`` only to *contract*."""
    from sqlalchemy import create_engine, event  # noqa: PLC0415 - only migrations need an engine.
    from sqlalchemy.pool import StaticPool  # noqa: PLC0415 - as above.

    with files.locked(path):
        raw = files.connect(path, reads=False)
        try:
            if files.is_deleted(raw):
                return
            family.check(file_version(family, raw))
            # Tables are made anew to change them; the keys are checked afterwards, all at once.
            raw.execute("PRAGMA foreign_keys = OFF")
            engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
            event.listen(engine, "begin", _begin)
            with engine.connect() as connection:
                _upgrade(family, connection, contract=contract)
            broken = raw.execute("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise Unavailable(f"{path}: rows of {broken[0][0]} lost what they refer to in a migration")
            estimates.tell(raw)
        finally:
            raw.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def upgrade_postgres(
    url: str, families: tuple[Family, ...] = (REGISTRY, CELL, PLATFORM), *, contract: bool = False
) -> None:
    """Run a database's missing revisions, one process at a time."""
    from sqlalchemy import create_engine  # noqa: PLC0415 - only migrations need an engine.
    from sqlalchemy.pool import NullPool  # noqa: PLC0415 - as above.

    address = url.partition("?")[0].replace("postgres://", "postgresql://", 1)
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: _psycopg(address + _driver_options(url)),
        poolclass=NullPool,
    )
    with engine.connect() as guard:
        # Asked again and again, not waited for: an index that is built beside writers waits for every statement that
        # began before it, and would wait for ever for one that waits for the lock.
        while not guard.exec_driver_sql(f"SELECT pg_try_advisory_lock({_LOCK})").scalar():
            guard.rollback()
            time.sleep(_PAUSE)
        try:
            for family in families:
                with engine.connect() as connection:
                    _upgrade(family, connection, contract=contract)
        finally:
            guard.exec_driver_sql(f"SELECT pg_advisory_unlock({_LOCK})")


def _psycopg(address: str) -> Any:
    import psycopg  # noqa: PLC0415 - Alembic's driver; the server itself speaks through asyncpg.

    # A statement that was prepared would leave its snapshot open between statements, and hold up an index.
    return psycopg.connect(address, prepare_threshold=None)


def _driver_options(url: str) -> str:
    """Keep the options of a URL that are the driver's, and leave ours out."""
    ours = ("prepared=", "listen=")
    kept = [part for part in url.partition("?")[2].split("&") if part and not part.startswith(ours)]
    return "?" + "&".join(kept) if kept else ""


def _upgrade(family: Family, connection: Connection, *, contract: bool) -> None:
    from alembic.migration import MigrationContext  # noqa: PLC0415 - 100 ms that only migrations need.
    from alembic.operations import Operations  # noqa: PLC0415 - as above.
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above.

    script = ScriptDirectory(str(family.folder), version_locations=[str(family.folder)])
    options: dict[str, Any] = {
        "version_table": family.version_table,
        "transaction_per_migration": True,
        "transactional_ddl": True,
        "target_metadata": family.metadata(),
    }

    def steps(heads: Any, _: Any) -> Any:
        at = heads[0] if heads else None
        family.check(at)
        target = family.revisions[-1] if contract else family.opened_to[at]
        return [] if target == at else script._upgrade_revs(target, heads)  # noqa: SLF001 - what Alembic's own command calls.

    context = MigrationContext.configure(connection, opts={**options, "fn": steps})
    context.impl.transactional_ddl = True
    with _ONE_AT_A_TIME, Operations.context(context):
        context.run_migrations()
    if connection.in_transaction():
        connection.commit()


@functools.cache
def template(family: Family = REGISTRY) -> bytes:
    """Make an empty database once, whole and closed, and keep its bytes to copy from."""
    with tempfile.TemporaryDirectory(prefix="moorage-") as folder:
        path = Path(folder) / "template.sqlite"
        raw = sqlite3.connect(path, isolation_level=None)
        raw.execute("PRAGMA journal_mode = WAL")
        raw.close()
        upgrade_file(family, path)
        raw = sqlite3.connect(path, isolation_level=None)
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        raw.close()
        return path.read_bytes()


def clone(family: Family, path: Path) -> None:
    """Make an empty database at *path*, durable, or raise FileExistsError: a path is used once."""
    whole = template(family)
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(whole)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(made)
    finally:
        with contextlib.suppress(FileNotFoundError):
            made.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
