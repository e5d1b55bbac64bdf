"""What the database counts by itself: right after every kind of change, whoever made it, and mended where it is not."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import bindparam, func, select, update

from moorage.db import Statement, migrate
from moorage.db.postgres import Postgres
from moorage.db.sqlite import SqliteDatabase
from moorage.db.tables import manifest, member, project, registry, repository
from moorage.identity import groups, members, users
from moorage.identity.roles import Role
from moorage.oci.digests import Digest
from moorage.oci.manifests import OCI_INDEX, Descriptor, Manifest
from moorage.oci.names import RepositoryName, Tag
from moorage.registry import collection, copying, fsck, manifests, projects, recount, sinking, trash
from moorage.registry.events import SYSTEM
from moorage.registry.pulls import Pulls
from moorage.registry.shown import signature_tag
from tests.functional.registry_world import APP, DAY, WEB, Held, held
from tests.servers.postgres import PostgresServer

__all__ = ["held"]

OTHER = RepositoryName.parse("other/app")
_KEPT = Statement(
    select(repository.c.artifacts, repository.c.pulls).where(repository.c.name == bindparam("name"))
)
_OF_PROJECT = Statement(
    select(project.c.repositories, project.c.artifacts).where(project.c.name == bindparam("name"))
)
_OF_REGISTRY = Statement(
    select(
        registry.c.projects, registry.c.public_projects, registry.c.repositories, registry.c.public_repositories
    )
)  # fmt: skip
_NUMBER = Statement(select(manifest.c.id).where(manifest.c.digest == bindparam("digest")))
_MEMBERS = Statement(select(member.c.name).order_by(member.c.id))
_MOVE = Statement(
    update(repository)
    .where(repository.c.name == bindparam("which"))
    .values(project_id=select(project.c.id).where(project.c.name == bindparam("to")).scalar_subquery())
)
_SHOWN = Statement(
    select(func.count().label("n"))
    .select_from(manifest.join(project, project.c.id == manifest.c.project_id))
    .where(project.c.name == bindparam("name"), manifest.c.shown == 1)
)
_BREAK = (
    Statement(update(manifest).values(shown=0, project_id=0)),
    Statement(update(repository).values(artifacts=7, pulls=7)),
    Statement(update(project).values(repositories=7, artifacts=7)),
    Statement(update(registry).values(projects=7, public_repositories=7)),
    Statement(update(member).values(name="nobody")),
)


async def index(held: Held, *children: Digest, tag: str | None = None) -> Digest:
    """Push an index of what is there."""
    named = tuple(Descriptor("application/vnd.oci.image.manifest.v1+json", one, 1) for one in children)
    body = b"index of " + b", ".join(str(one).encode() for one in children)
    read = Manifest(OCI_INDEX, "", children=named)
    tags = [Tag(tag)] if tag else []
    await held.change(lambda tx: manifests.push(tx, APP, Digest.of(body), read, body, tags, SYSTEM))
    return Digest.of(body)


async def kept(held: Held, name: RepositoryName = APP) -> tuple[int, int]:
    """Give how many artifacts and pulls are kept of a repository; and see that they are all there are."""
    wrong = [one for one in await recount.recount(held.db) if "counted" in one.kind or one.kind == "shown"]
    assert wrong == []
    row = await held.db.one(_KEPT, name=name.text)
    return row.artifacts, row.pulls


async def delete(held: Held, digest: Digest) -> None:
    await held.change(lambda tx: manifests.delete(tx, APP, digest, SYSTEM))


async def test_artifacts_are_counted_as_lists_show_them(held: Held) -> None:
    first, second = await held.push(APP, b"one"), await held.push(APP, b"two", tag="two")
    both = await kept(held)
    whole = await index(held, first, second, tag="all")
    # A child without a tag is not shown; one with a tag is, beside its index.
    under = await kept(held)
    await held.push(APP, b"sig", tag=signature_tag(whole))
    await held.put(APP, b"sig", subject=second)
    signed = await kept(held)
    await held.change(lambda tx: manifests.untag(tx, APP, Tag("two"), SYSTEM))
    untagged = await kept(held)
    await delete(held, whole)
    without = await kept(held)
    await held.change(lambda tx: trash.restore(tx, APP, whole, SYSTEM))
    again = await kept(held)
    await delete(held, whole)
    await index(held, first, second)
    pushed = await kept(held)

    assert (both[0], under[0], signed[0], untagged[0]) == (2, 2, 2, 1)
    assert (without[0], again[0], pushed[0]) == (2, 1, 1)


async def test_what_is_deleted_purged_and_sunk_is_counted_no_more(held: Held) -> None:
    gone = await held.push(APP, b"one", tag="one")
    await held.push(APP, b"two", tag="two")
    await held.push(WEB, b"three", tag="three")
    before = await held.db.one(_OF_PROJECT, name="team")
    await delete(held, gone)
    deleted = await kept(held)
    held.clock.at += 9 * DAY
    while await collection.collect(held.db, held.store, longest_request=DAY, margin=0):
        pass
    purged = await kept(held)
    number = await held.change(lambda tx: sinking.begin(tx, APP, SYSTEM))
    hidden = await held.db.one(_OF_PROJECT, name="team")
    await kept(held, WEB)
    await sinking.sink(held.db, number, SYSTEM)
    await kept(held, WEB)
    left = await held.db.one(_OF_PROJECT, name="team")

    assert (before.repositories, before.artifacts) == (2, 3)
    assert deleted == purged == (1, 0)
    assert (hidden.repositories, hidden.artifacts) == (left.repositories, left.artifacts) == (1, 1)


async def test_pulls_are_counted_when_they_are_written_down(held: Held) -> None:
    pushed = [await held.push(APP, data, tag=data.decode()) for data in (b"one", b"two")]
    numbers = [(await held.db.one(_NUMBER, digest=one.raw)).id for one in pushed]
    pulls, others = Pulls(held.db), Pulls(held.db)
    for number in (*numbers, numbers[0]):
        pulls.count(number)
        others.count(number)
    for one in (pulls, others):
        await one.flush()
    pulled = await kept(held)
    await delete(held, pushed[0])
    held.clock.at += 9 * DAY
    while await collection.collect(held.db, held.store, longest_request=DAY, margin=0):
        pass

    assert pulled == (2, 6)
    # What is gone for good was pulled by nobody who could still be asked.
    assert await kept(held) == (1, 2)


async def test_projects_and_what_is_in_them_are_counted_public_ones_apart(held: Held) -> None:
    other = await held.change(lambda tx: projects.create(tx, "other", public=True))
    await held.push(APP, b"one", tag="one")
    await held.push(OTHER, b"two", tag="two")
    first = await held.db.one(_OF_REGISTRY)
    await held.change(lambda tx: projects.set_public(tx, other, public=False))
    private = await held.db.one(_OF_REGISTRY)
    await held.change(lambda tx: projects.set_public(tx, other, public=True))
    number = await held.change(lambda tx: sinking.begin(tx, OTHER, SYSTEM))
    await sinking.sink(held.db, number, SYSTEM)
    sunk = await held.db.one(_OF_REGISTRY)
    await held.change(lambda tx: projects.remove(tx, other))
    removed = await held.db.one(_OF_REGISTRY)

    assert [tuple(one) for one in (first, private, sunk, removed)] == [
        (2, 1, 2, 1), (2, 0, 2, 0), (2, 1, 1, 0), (1, 0, 1, 0),
    ]  # fmt: skip
    await kept(held)


async def test_a_repository_that_moves_takes_its_artifacts_along(held: Held) -> None:
    await held.change(lambda tx: projects.create(tx, "other", public=True))
    await held.push(APP, b"one", tag="one")
    await held.push(APP, b"two", tag="two")
    await held.change(lambda tx: tx.run(_MOVE, which=APP.text, to="other"))

    moved = await held.db.one(_OF_PROJECT, name="other")

    assert (moved.repositories, moved.artifacts) == (1, 2)
    assert (await held.db.one(_SHOWN, name="other")).n == 2
    assert tuple(await held.db.one(_OF_REGISTRY)) == (2, 1, 1, 1)
    await kept(held)


async def test_members_are_listed_by_the_names_that_users_and_groups_have(held: Held) -> None:
    async def work(tx: Any) -> None:
        user = await users.create(tx, name="ada", password=None)
        group = await groups.add(tx, "makers", groups.LOCAL)
        team = await projects.find(tx, "team")
        assert team is not None
        await members.add(tx, team.id, Role.GUEST, user=user)
        await members.add(tx, team.id, Role.GUEST, group=group)
        await groups.rename(tx, group, "builders")

    await held.change(work)

    assert [row.name for row in await held.db.all(_MEMBERS)] == ["ada", "builders"]


async def test_what_is_counted_wrong_is_found_and_mended(held: Held) -> None:
    await held.push(APP, b"one", tag="one")
    await test_members_are_listed_by_the_names_that_users_and_groups_have(held)
    for statement in _BREAK:
        await held.db.write(statement)

    report = await fsck.check(held.db, held.store, repair=True)

    assert {one.kind for one in report.findings} == {
        "shown", "counted repository", "counted project", "counted registry", "member",
    }  # fmt: skip
    assert report.left == ()
    assert await recount.recount(held.db) == []


async def test_a_copy_counts_anew_what_arrives(held: Held, tmp_path: Path) -> None:
    await held.push(APP, b"one", tag="one")
    await index(held, await held.push(APP, b"two"), tag="two")
    pulls = Pulls(held.db)
    pulls.count((await held.db.one(_NUMBER, digest=Digest.of(b"manifest of one").raw)).id)
    await pulls.flush()
    target = await SqliteDatabase.open(tmp_path / "copy.sqlite", 7, create=True)

    await copying.rows(held.db, target)

    assert [tuple(row) for row in await target.all(_KEPT, name=APP.text)] == [(2, 1)]
    assert await recount.recount(target) == []
    await target.close()


@pytest.fixture
def before(tmp_path: Path) -> migrate.Family:
    """Give the registry's family as it was before anything was counted."""
    folder = tmp_path / "versions"
    folder.mkdir()
    for path in migrate.REGISTRY.folder.glob("0*"):
        if not path.name.startswith("0009"):
            shutil.copy(path, folder / path.name)
    return migrate.Family("registry", folder, "schema_registry", "0001")


OF_OLD = """
INSERT INTO registry (registry_id, clock, limit_bytes, lease, trash_window, backup_window) VALUES (7, 9, -1, 1, 1, 1);
INSERT INTO "user" (registry_id, id, name, created_at) VALUES (7, 1, 'ada', 0);
INSERT INTO project (registry_id, id, name, public, state, used, trash, created_at, deleted_at)
  VALUES (7, 1, 'team', 1, 'live', 6, 1, 0, NULL), (7, 2, 'gone', 0, 'live', 0, 0, 0, 5), (7, 3, 'own', 0, 'live', 0, 0, 0, NULL);
INSERT INTO member (registry_id, project_id, user_id, role, created_at) VALUES (7, 1, 1, 1, 0);
INSERT INTO repository (registry_id, id, project_id, name, state, created_at, deleted_at)
  VALUES (7, 1, 1, 'team/app', 'live', 0, NULL), (7, 2, 1, 'team/old', 'trash', 0, 5), (7, 3, 1, 'team/up', 'begun', 0, NULL);
INSERT INTO manifest (registry_id, id, repository_id, digest, media_type, artifact_type, subject, size, content_size,
    pushed_at, deleted_at, loose_since, body)
  VALUES (7, 1, 1, '\\x0101', 'm', '', NULL, 1, 0, 1, NULL, NULL, ''), (7, 2, 1, '\\x0102', 'm', '', NULL, 1, 0, 2, NULL, NULL, ''),
    (7, 3, 1, '\\x0103', 'm', '', NULL, 1, 0, 3, NULL, NULL, ''), (7, 4, 1, '\\x0104', 'm', '', '\\x0101', 1, 0, 4, NULL, NULL, ''),
    (7, 5, 1, '\\x0105', 'm', '', NULL, 1, 0, 5, 6, NULL, ''), (7, 6, 1, '\\x0106', 'm', '', NULL, 1, 0, 7, NULL, NULL, ''),
    (7, 7, 1, '\\x0107', 'm', '', NULL, 1, 0, 8, NULL, 8, '');
INSERT INTO manifest_child (registry_id, parent_id, child, repository_id) VALUES (7, 1, '\\x0102', 1), (7, 1, '\\x0103', 1);
INSERT INTO tag (registry_id, repository_id, name, manifest_id, start_at, end_at)
  VALUES (7, 1, 'v1', 1, 1, NULL), (7, 1, 'arm', 3, 1, NULL), (7, 1, 'old', 2, 1, 2), (7, 1, '{signature}', 6, 1, NULL);
INSERT INTO pull_stat (registry_id, manifest_id, pulls, last_at) VALUES (7, 1, 3, 1), (7, 5, 4, 1);
UPDATE registry SET used = 6, trash = 1 WHERE registry_id = 7
""".replace("{signature}", signature_tag(Digest.of(b"x")))


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_what_was_there_before_is_counted_when_a_database_is_brought_forward(
    engine: str, before: migrate.Family, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if engine == "sqlite":
        path = tmp_path / "registry.sqlite"
        migrate.clone(before, path)
        with sqlite3.connect(path) as connection:
            connection.executescript(re.sub(r"'\\x(\w+)'", r"X'\1'", OF_OLD))
        connection.close()
        db: Any = await SqliteDatabase.open(path, 7)
        close = db.close
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.database()
        migrate.upgrade_postgres(url, (before, migrate.CELL, migrate.PLATFORM))
        with psycopg.connect(url) as filled:
            filled.execute(OF_OLD.encode())
        migrate.upgrade_postgres(url)
        postgres = await Postgres.connect(url)
        db, close = postgres.bound(7), postgres.close

    try:
        assert await recount.recount(db) == []
        # The index, its tagged child, and one that is loose: neither a child, nor a referrer, nor a signature.
        assert tuple(await db.one(_KEPT, name="team/app")) == (3, 7)
        assert tuple(await db.one(_OF_PROJECT, name="team")) == (1, 3)
        assert tuple(await db.one(_OF_REGISTRY)) == (2, 1, 1, 1)
        assert [row.name for row in await db.all(_MEMBERS)] == ["ada"]
    finally:
        await close()
