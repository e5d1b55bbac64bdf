"""What was done with a registry's content, summed up for the ledger: its own record has each push, the ledger how many.

A registry takes hundreds of pushes a second, and its record is its own; so what is evidence there is counted whenever the registry
is collected, and the ledger is told what was done, how often, between when and when. How far it was counted is kept beside, in the
turn that tells of it: so nothing is counted twice, whoever is killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import bindparam, func, select

from moorage.cloud import events
from moorage.cloud.activities import CUSTOMER, PROVIDER
from moorage.cloud.events import SYSTEM
from moorage.db import Database, Statement, Tx, insert, one_of
from moorage.db.platform import cloud_project, cloud_registry, ledger_counted
from moorage.db.tables import event

CHANGES: Final[Mapping[str, tuple[str, ...]]] = {
    "content.pushed": ("manifest.push",),
    "content.deleted": ("manifest.delete", "tag.delete", "blob.delete"),
    "content.restored": ("manifest.revive", "tag.restore"),
    "content.collected": ("manifest.purge",),
    "content.access-changed": (
        "user.create",
        "user.admin",
        "user.delete",
        "oidc.put",
        "oidc.delete",
        "iam.enable",
        "iam.disable",
    ),
}
PULLS: Final[Mapping[str, tuple[str, ...]]] = {"content.pulled": ("manifest.pull",)}
BY_PROVIDER: Final = frozenset({"content.collected"})
SETTLED: Final = 300_000_000
"""Pulls are counted in rows of a minute each, which are written late if at all: such rows are as they stay."""

_sums = select(
    event.c.kind, func.sum(event.c.count).label("count"), func.min(event.c.at).label("first"),
    func.max(event.c.at).label("last"), func.max(event.c.id).label("last_id"),
).group_by(event.c.kind)  # fmt: skip
# Changes come into the record in turns, so no row of them ever comes with a lower number than one that was seen.
_CHANGED = Statement(_sums.where(event.c.id > bindparam("after"), one_of(event.c.kind, "kinds")))
_PULLED = Statement(
    _sums.where(
        event.c.at > bindparam("after"),
        event.c.at <= bindparam("until"),
        one_of(event.c.kind, "kinds"),
        # What the provider's people pull by a grant is told of one by one, as theirs.
        event.c.party != PROVIDER,
    )
)
ABOUT: Final = Statement(
    select(
        cloud_registry.c.id,
        cloud_registry.c.name,
        cloud_registry.c.cloud_project_id,
        cloud_project.c.account_id,
    )
    .join_from(cloud_registry, cloud_project, cloud_registry.c.cloud_project_id == cloud_project.c.id)
    .where(cloud_registry.c.entry_uuid == bindparam("entry"))
)
_COUNTED = Statement(
    select(ledger_counted.c.what, ledger_counted.c.upto).where(
        ledger_counted.c.about == bindparam("registry")
    )
)
_count = insert(ledger_counted).values(
    about=bindparam("registry"), what=bindparam("what"), upto=bindparam("upto")
)
_COUNT = Statement(
    _count.on_conflict_do_update(
        index_elements=[ledger_counted.c.about, ledger_counted.c.what],
        set_={"upto": _count.excluded.upto},
        where=ledger_counted.c.upto == bindparam("seen"),
    )
)


@dataclass(frozen=True, slots=True)
class Sum:
    """So many events of the kinds that one kind of the ledger's stands for."""

    kind: str
    count: int
    first: int
    last: int


async def sum_up(platform: Database, registry: Database, entry_uuid: str) -> int:
    """Tell the ledger what was done in a registry since it was told last; give how many events that takes."""
    about = await platform.one(ABOUT, entry=entry_uuid)
    if about is None:
        return 0
    seen = {row.what: row.upto for row in await platform.all(_COUNTED, registry=about.id)}
    changed = await registry.all(_CHANGED, after=seen.get("changes", 0), kinds=_kinds(CHANGES))
    told = 0
    if changed:
        span = seen.get("changes", 0), max(row.last_id for row in changed)
        told += await _tell(platform, about, "changes", span, _summed(CHANGES, changed))
    until = registry.now() - SETTLED
    pulled = await registry.all(_PULLED, after=seen.get("pulls", 0), until=until, kinds=_kinds(PULLS))
    if pulled:
        span = seen.get("pulls", 0), max(row.last for row in pulled)
        told += await _tell(platform, about, "pulls", span, _summed(PULLS, pulled))
    return told


async def _tell(platform: Database, about: Any, what: str, span: tuple[int, int], sums: Iterable[Sum]) -> int:
    """Write the sums down, unless another worker has counted from there already."""
    kept = list(sums)

    async def work(tx: Tx) -> int:
        if not await tx.run(_COUNT, registry=about.id, what=what, seen=span[0], upto=span[1]):
            return 0
        for one in kept:
            party = PROVIDER if one.kind in BY_PROVIDER else CUSTOMER
            await events.record(
                tx, one.kind, replace(SYSTEM, party=party), target=about.id, account=about.account_id,
                cloud_project=about.cloud_project_id, count=one.count, first=one.first, last=one.last,
            )  # fmt: skip
        return len(kept)

    return await platform.change(work)


def _summed(of: Mapping[str, tuple[str, ...]], rows: Iterable[Any]) -> Iterable[Sum]:
    found = {row.kind: row for row in rows}
    for kind, counted in of.items():
        some = [found[one] for one in counted if one in found]
        if some:
            yield Sum(
                kind,
                sum(int(row.count) for row in some),
                min(row.first for row in some),
                max(row.last for row in some),
            )


def _kinds(of: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [one for kinds in of.values() for one in kinds]
