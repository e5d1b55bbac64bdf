"""Deleting a whole repository: it is gone at once, and sinks into the trash a step at a time.

Its name is free as soon as it is asked for. What is left to do stands in the repository's state, so that collection goes on
where a process was killed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, select, update

from moorage.db import Statement
from moorage.db.tables import manifest, repository, tag
from moorage.oci.names import RepositoryName
from moorage.registry import immutability, repositories, trash
from moorage.registry.events import SYSTEM, Origin, record
from moorage.registry.quotas import Account
from moorage.registry.repositories import Repository

if TYPE_CHECKING:
    from moorage.db import Database, Tx

STEP: Final = 50
SINKING: Final = "sinking"
SUNK: Final = "trash"
_END_OF_TIME: Final = 1 << 62

_TAGS = Statement(
    select(tag.c.name).where(tag.c.repository_id == bindparam("repository"), tag.c.end_at.is_(None))
)
_SINK = Statement(
    update(repository)
    .where(repository.c.id == bindparam("repository"))
    .values(state=SINKING, deleted_at=bindparam("at"))
)
_SINKING = Statement(
    select(repository.c.id, repository.c.project_id, repository.c.name)
    .where(repository.c.deleted_at <= bindparam("at"), repository.c.state == SINKING)
    .order_by(repository.c.deleted_at)
    .limit(1)
)
_THIS_ONE = Statement(
    select(repository.c.id, repository.c.project_id, repository.c.name).where(
        repository.c.id == bindparam("repository"), repository.c.state == SINKING
    )
)
_LEFT = Statement(
    select(manifest.c.id)
    .where(manifest.c.repository_id == bindparam("repository"), manifest.c.deleted_at.is_(None))
    .order_by(manifest.c.pushed_at, manifest.c.id)
    .limit(bindparam("most"))
)
_IS_LIVE = Statement(
    select(manifest.c.id).where(manifest.c.id == bindparam("manifest"), manifest.c.deleted_at.is_(None))
)
_SUNK = Statement(update(repository).where(repository.c.id == bindparam("repository")).values(state=SUNK))


async def begin(tx: Tx, name: RepositoryName, origin: Origin) -> int:
    """Make a repository invisible and give its number, or raise NameUnknown, or TagImmutable if a rule keeps a tag."""
    home = await repositories.get(tx, name)
    await immutability.check(tx, home, [row.name for row in await tx.all(_TAGS, repository=home.id)])
    await tx.run(_SINK, repository=home.id, at=tx.at)
    await record(tx, "repository.delete", origin, repository=name.text, project=name.project)
    return home.id


async def step(tx: Tx, origin: Origin = SYSTEM, only: int | None = None) -> int:
    """Put some manifests of a repository that sinks (*only* of one) in the trash; give how much there was to do."""
    row = await (tx.one(_SINKING, at=tx.at) if only is None else tx.one(_THIS_ONE, repository=only))
    if row is None:
        return 0
    home = Repository(row.id, row.project_id, RepositoryName.parse(row.name))
    account = Account(tx, home.project_id)
    left = await tx.all(_LEFT, repository=home.id, most=STEP)
    for one in left:
        # What refers to another goes with it.
        if await tx.one(_IS_LIVE, manifest=one.id):
            await trash.put(tx, account, home, one.id, origin)
    await account.settle()
    if len(left) < STEP:
        await tx.run(_SUNK, repository=home.id)
    return len(left) + 1


async def sink(db: Database, number: int, origin: Origin) -> None:
    """Let a repository that somebody has deleted reach the trash; what others delete meanwhile is their own doing."""
    while await db.change(lambda tx: step(tx, origin, number)):
        pass


async def finish(db: Database, origin: Origin = SYSTEM) -> int:
    """Let every repository that sinks reach the trash; give how many steps that took."""
    steps = 0
    # Asked outside of a turn, since there is hardly ever one; a stamp may be ahead of the clock.
    while await db.one(_SINKING, at=_END_OF_TIME) is not None:
        steps += 1
        await db.change(lambda tx: step(tx, origin))
    return steps
