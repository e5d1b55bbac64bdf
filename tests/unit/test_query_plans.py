"""The hot queries' plans: the intended index, and neither a scan nor a sort, on both engines. And how many there are."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from moorage.db import Database, Statement, migrate
from moorage.db.statements import POSTGRES_BOUND, REGISTRY, SQLITE_BOUND
from moorage.oci.digests import Digest
from moorage.oci.manifests import OCI_MANIFEST, Descriptor, Manifest
from moorage.oci.names import Tag
from moorage.registry import blobs, collection, dooming, listings, manifests, repositories, trash, uploads
from moorage.registry.events import SYSTEM
from tests.functional.registry_world import APP, Held, held
from tests.servers.postgres import PostgresServer

__all__ = ["held"]

T = TypeVar("T")

RAW = Digest.of(b"x").raw
NAME = {"name": "team/app"}
PAGE = {"after": "", "most": 100}
REFERRERS = {**NAME, "subject": RAW, "most": 100}

# Query, its parameters, and the indexes that its plan must name.
PLANS: list[tuple[str, Statement, dict[str, Any], set[str]]] = [
    ("manifest by tag", manifests._BY_TAG, {**NAME, "tag": "v1"}, {"repository_name", "tag_current"}),
    (
        "manifest by digest",
        manifests._BY_DIGEST,
        {**NAME, "digest": RAW},
        {"repository_name", "manifest_digest"},
    ),
    ("blob in repository", blobs._FIND, {**NAME, "digest": RAW}, {"repository_name", "blob_digest"}),
    ("mount from anywhere", blobs._FIND_ANYWHERE, {"projects": [1, 2], "digest": RAW}, {"blob_digest"}),
    ("tags page", listings._TAGS, {**PAGE, "repository": 1}, {"tag_current"}),
    ("referrers page", listings._REFERRERS, REFERRERS, {"manifest_subject"}),
    (
        "referrers of a type",
        listings._REFERRERS_OF_TYPE,
        {**REFERRERS, "artifact_type": "a/b", "after_id": 5},
        {"manifest_subject"},
    ),
    (
        "referrers of later types",
        listings._REFERRERS_OF_LATER_TYPES,
        {**REFERRERS, "after_type": "a/b"},
        {"manifest_subject"},
    ),
    ("catalog page", repositories._PAGE, PAGE, {"repository_name"}),
    ("trash page", trash._LISTED, {"repository": 1, "most": 100}, {"manifest_trash"}),
    ("links due", collection._DUE, {"at": 5, "most": 50}, {"repository_blob_review"}),
    ("trash due", collection._TRASHED, {"before": 5, "most": 50}, {"manifest_deleted"}),
    ("doomed due", dooming._DUE, {"before": 5, "most": 50}, {"doomed_due", "blob_key"}),
    ("uploads expired", uploads._EXPIRED, {"at": 5, "most": 50}, {"upload_expires"}),
]
NAMES = [name for name, *_ in PLANS]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("plans") / "registry.sqlite"
    migrate.clone(migrate.REGISTRY, path)
    connection = sqlite3.connect(path)
    connection.create_function("from_hex", 1, bytes.fromhex, deterministic=True)
    yield connection
    connection.close()


FILL = """
INSERT INTO registry (registry_id, clock, limit_bytes, lease, trash_window, backup_window)
  VALUES (1, 0, -1, 1, 1, 1);
INSERT INTO project (registry_id, id, name, created_at) SELECT 1, n, 'team' || n, 0 FROM generate_series(1, 5000) n;
INSERT INTO repository (registry_id, id, project_id, name, created_at)
  SELECT 1, n, 1 + n % 20, 'team/app' || n, 0 FROM generate_series(1, 200) n;
INSERT INTO manifest (registry_id, id, repository_id, digest, media_type, artifact_type, subject, size, content_size,
    pushed_at, deleted_at, body)
  SELECT 1, n, 1 + n % 200, decode(md5(n::text), 'hex'), 'm', 'a/b', decode(md5((n % 40)::text), 'hex'), 1, 1,
    n, CASE WHEN n % 10 = 0 THEN n END, '' FROM generate_series(1, 20000) n;
INSERT INTO tag (registry_id, repository_id, name, manifest_id, start_at, end_at)
  SELECT 1, 1 + n % 200, 't' || n, n, 1, CASE WHEN n % 2 = 0 THEN 2 END FROM generate_series(1, 20000) n;
INSERT INTO blob (registry_id, id, digest, size, key, created_at)
  SELECT 1, n, decode(md5(n::text), 'hex'), 1, 'k' || n, 0 FROM generate_series(1, 20000) n;
INSERT INTO repository_blob (registry_id, repository_id, blob_id, refs, held, review_at)
  SELECT 1, r, b, 0, 1, r * 100 + b FROM generate_series(1, 200) r, generate_series(1, 100) b;
INSERT INTO doomed (registry_id, key, size, destroy_at) SELECT 1, 'd' || n, 1, n FROM generate_series(1, 5000) n;
INSERT INTO upload (registry_id, id, repository_id, subject, algorithm, created_at, expires_at)
  SELECT 1, 'u' || n, 1, '', '', 0, n FROM generate_series(1, 5000) n;
INSERT INTO upload_part (registry_id, upload_id, n, key) SELECT 1, 'u' || n, 1, 'p' || n FROM generate_series(1, 5000) n;
INSERT INTO project_blob (registry_id, blob_id, project_id, links, live_links)
  SELECT 1, b, 1 + b % 20, 1, 1 FROM generate_series(1, 20000) b;
INSERT INTO manifest_blob (registry_id, manifest_id, blob_id, repository_id)
  SELECT 1, m, 1 + m % 100, 1 + m % 200 FROM generate_series(1, 20000) m;
INSERT INTO manifest_child (registry_id, parent_id, child, repository_id)
  SELECT 1, m, decode(md5((m + 200)::text), 'hex'), 1 + m % 200 FROM generate_series(1, 20000) m;
INSERT INTO pull_stat (registry_id, manifest_id, pulls, last_at) SELECT 1, m, 1, 1 FROM generate_series(1, 20000) m;
INSERT INTO immutable_rule (registry_id, project_id, created_at)
  SELECT 1, 1 + n % 20, 0 FROM generate_series(1, 1000) n;
INSERT INTO old_project_name (registry_id, name, project_id, start_at, end_at)
  SELECT 1, 'old' || n, n, 1, 2 FROM generate_series(1, 2000) n;
INSERT INTO old_repository_name (registry_id, project_id, name, repository_id, end_at)
  SELECT 1, 1 + n % 20, 'app' || n, 1 + n % 200, 1 FROM generate_series(1, 5000) n;
INSERT INTO event (registry_id, uuid, kind, at, actor, outcome, project, body)
  SELECT 1, 'e' || n, 'k' || n % 20, n, '', '', 'p' || n % 20, '' FROM generate_series(1, 20000) n;
INSERT INTO outbox (registry_id, uuid, at, kind, body) SELECT 1, 'o' || n, n, 'k', '' FROM generate_series(1, 1000) n;
INSERT INTO "user" (registry_id, name, email, created_at)
  SELECT 1, 'u' || n, 'e' || n, 0 FROM generate_series(1, 5000) n;
INSERT INTO user_group (registry_id, name, source, created_at) SELECT 1, 'g' || n, 'k', 0 FROM generate_series(1, 1000) n;
INSERT INTO user_group_member (registry_id, group_id, user_id, at)
  SELECT 1, 1 + n % 1000, n, 0 FROM generate_series(1, 5000) n;
INSERT INTO member (registry_id, project_id, user_id, role, created_at)
  SELECT 1, 1 + n % 20, n, 1, 0 FROM generate_series(1, 5000) n;
INSERT INTO robot (registry_id, project_id, name, secret, created_at)
  SELECT 1, 1 + n % 20, 'r' || n, '', 0 FROM generate_series(1, 5000) n;
INSERT INTO robot_permission (registry_id, robot_id, kind, namespace, resource, action)
  SELECT 1, n, '', '', '', '' FROM generate_series(1, 5000) n;
INSERT INTO project_role (registry_id, project_id, name, created_at, updated_at)
  SELECT 1, CASE WHEN n % 50 > 0 THEN 1 + n % 20 END, 'r' || n, 0, 0 FROM generate_series(1, 1000) n;
INSERT INTO project_role_permission (registry_id, role_id, resource, action)
  SELECT 1, 1 + n % 1000, 'p' || n, '' FROM generate_series(1, 5000) n;
INSERT INTO repository_grant (registry_id, project_id, user_id, pattern, permissions, created_at, updated_at)
  SELECT 1, 1 + n % 20, 1 + n, '', '', 0, 0 FROM generate_series(1, 3000) n;
INSERT INTO repository_grant (registry_id, project_id, robot_id, pattern, permissions, created_at, updated_at)
  SELECT 1, 1 + n % 20, 1 + n, '', '', 0, 0 FROM generate_series(1, 3000) n;
INSERT INTO robot_trust (registry_id, robot_id, issuer, audience, claims, created_at)
  SELECT 1, n, 'i' || n % 1000, '', '', 0 FROM generate_series(1, 5000) n;
INSERT INTO label (registry_id, name, created_at) SELECT 1, 'l' || n, 0 FROM generate_series(1, 100) n;
INSERT INTO manifest_label (registry_id, manifest_id, label_id, at)
  SELECT 1, n, 1 + n % 100, 0 FROM generate_series(1, 5000) n;
INSERT INTO session (registry_id, hash, user_id, created_at, last_at)
  SELECT 1, decode(md5(n::text), 'hex'), n, n, n FROM generate_series(1, 5000) n;
INSERT INTO cve_allowlist (registry_id, project_id, created_at, updated_at) SELECT 1, n, 0, 0 FROM generate_series(0, 5000) n;
INSERT INTO label (registry_id, project_id, name, created_at)
  SELECT 1, CASE WHEN n % 2 = 0 THEN 1 + n % 20 END, 'l' || n, 0 FROM generate_series(1, 5000) n;
INSERT INTO project_metadata (registry_id, project_id, name, value)
  SELECT 1, 1 + n % 20, 'm' || n, '' FROM generate_series(1, 5000) n;
INSERT INTO refresh_token (registry_id, hash, caller_kind, caller_id, created_at, expires_at)
  SELECT 1, decode(md5(n::text), 'hex'), 'user', n % 1000, 0, n FROM generate_series(1, 5000) n;
ANALYZE;
"""


@pytest.fixture(scope="module")
def server(postgres_server: PostgresServer) -> Iterator[psycopg.Connection]:
    url = postgres_server.cell()
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute(FILL)
        # A table of few rows is scanned whatever its indexes: here it is asked what they make possible.
        connection.execute("SET enable_seqscan = off")
        connection.execute("SET enable_bitmapscan = off")
        connection.execute("SET enable_hashjoin = off")
        connection.execute("SET enable_mergejoin = off")
        connection.execute("SET plan_cache_mode = force_generic_plan")
        yield connection


@pytest.mark.parametrize(("name", "statement", "params", "indexes"), PLANS, ids=NAMES)
def test_sqlite_takes_the_intended_index(
    file: sqlite3.Connection, name: str, statement: Statement, params: dict[str, Any], indexes: set[str]
) -> None:
    plan = statement.plan(SQLITE_BOUND)
    given = plan.fill(dict(params)) | {REGISTRY: 1}

    steps = [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {plan.sql}", given)]

    text = "\n".join(steps)
    assert {index for index in indexes if f"INDEX {index} " not in text} == set(), text
    assert not [step for step in steps if step.startswith("SCAN") and "json_each" not in step], text
    assert "TEMP B-TREE" not in text, text


@pytest.mark.parametrize(("name", "statement", "params", "indexes"), PLANS, ids=NAMES)
def test_postgresql_takes_the_intended_index(
    server: psycopg.Connection, name: str, statement: Statement, params: dict[str, Any], indexes: set[str]
) -> None:
    plan = statement.plan(POSTGRES_BOUND)
    values = plan.order(plan.fill(dict(params)) | {REGISTRY: 1})
    marks = ", ".join(_literal(value) for value in values)
    server.execute("DEALLOCATE ALL")
    server.execute(f"PREPARE asked AS {plan.sql}".encode())

    rows = server.execute(f"EXPLAIN EXECUTE asked{f'({marks})' if marks else ''}".encode()).fetchall()

    text = "\n".join(row[0] for row in rows)
    missing = {index for index in indexes if f" using {index} " not in text}
    assert missing == set(), text
    assert "Seq Scan" not in text, text
    assert "Sort" not in text, text


def _literal(value: Any) -> str:
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    if isinstance(value, list):
        return f"'{{{','.join(map(str, value))}}}'"
    return f"'{value}'"


# --- how many statements --------------------------------------------------------------------------------------


@dataclass
class Counted:
    """A database that counts what it is asked."""

    db: Database
    asked: list[str] = field(default_factory=list)
    inline: bool = True

    async def one(self, statement: Statement, /, **params: object) -> Any:
        self.asked.append(statement.where)
        return await self.db.one(statement, **params)

    async def all(self, statement: Statement, /, **params: object) -> list[Any]:
        self.asked.append(statement.where)
        return await self.db.all(statement, **params)

    async def change(self, work: Callable[[Any], Awaitable[T]]) -> T:
        return await self.db.change(lambda tx: work(_CountedTx(tx, self.asked)))

    async def record(self, work: Callable[[Any], Awaitable[T]]) -> T:
        return await self.db.record(lambda tx: work(_CountedTx(tx, self.asked)))

    async def write(self, statement: Statement, /, **params: object) -> int:
        self.asked.append(statement.where)
        return await self.db.write(statement, **params)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Any]:
        async with self.db.snapshot() as moment:
            yield moment

    async def numbers(self) -> Mapping[str, int]:
        return await self.db.numbers()

    async def number_past(self, last: Mapping[str, int]) -> None:
        await self.db.number_past(last)

    def version(self) -> int:
        return self.db.version()

    def access_version(self) -> int:
        return self.db.access_version()

    def now(self) -> int:
        return self.db.now()

    async def close(self) -> None:
        await self.db.close()


class _CountedTx:
    def __init__(self, tx: Any, asked: list[str]) -> None:
        self._tx = tx
        self._asked = asked
        self.at: int = tx.at

    def __getattr__(self, name: str) -> Any:
        given = getattr(self._tx, name)

        def counted(*args: Any, **params: Any) -> Any:
            if args and isinstance(args[0], Statement):
                self._asked.append(args[0].where)
            return given(*args, **params)

        return counted


async def test_a_manifest_is_pulled_with_one_statement(held: Held) -> None:
    pushed = await held.push(APP, b"layer", tag="latest")
    counted = Counted(held.db)

    await manifests.get(counted, APP, Tag("latest"))
    by_tag = len(counted.asked)
    await manifests.get(counted, APP, pushed)

    assert by_tag == 1
    assert len(counted.asked) == 2


async def test_a_blob_is_found_with_one_statement(held: Held) -> None:
    await held.push(APP, b"layer", tag="latest")
    counted = Counted(held.db)

    await blobs.get(counted, APP, Digest.of(b"layer"))
    await blobs.promise(counted, APP, Digest.of(b"layer"))

    assert len(counted.asked) == 2


async def test_the_statements_of_a_push_do_not_grow_with_its_layers(held: Held) -> None:
    counts = []
    for number in (2, 40):
        layers = [b"%d-%d" % (number, one) for one in range(number)]
        for data in layers:
            await held.upload(APP, data)
        counted = Counted(held.db)
        named = tuple(Descriptor("a/b", Digest.of(data), len(data)) for data in layers)
        body = b"manifest %d" % number
        read = Manifest(OCI_MANIFEST, "", blobs=named)
        await counted.change(
            lambda tx: manifests.push(tx, APP, Digest.of(body), read, body, [Tag("t")], SYSTEM)  # noqa: B023 called at once
        )
        counts.append(len(counted.asked))

    # The second push also ends the tag's former row and settles what it held.
    assert counts[0] <= 16
    assert counts[1] - counts[0] <= 2
