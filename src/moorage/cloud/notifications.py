"""Notifications: whoever has an I for an activity is informed when there is evidence of it, as a CloudEvent.

A feed is a part of the ledger: what is for a party, in the order in which it came, each with a number that only grows. Who
delivers it keeps the number of the last one that arrived, and asks what is due after that: entries are appended in turns of the
whole platform, one after another, so none ever turns up behind one that was seen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, bindparam, func, or_, select

from moorage.cloud import ledger
from moorage.cloud.activities import CUSTOMER
from moorage.cloud.chains import PROVIDER
from moorage.cloud.ledger import PROJECTLESS, Kept
from moorage.cloud.times import written
from moorage.db import Reader, Statement, one_of
from moorage.db.platform import ledger_entry, ledger_personal

SPEC: Final = "1.0"
TYPE: Final = "moorage."

_whole = (
    select(
        ledger_entry, ledger_personal.c.salt, ledger_personal.c.actor, ledger_personal.c.address, ledger_personal.c.agent,
        ledger_personal.c.target, ledger_personal.c.rule, ledger_personal.c.request_id, ledger_personal.c.body,
    )
    .join_from(ledger_entry, ledger_personal, ledger_personal.c.event == ledger_entry.c.event, isouter=True)
    .where(ledger_entry.c.id > bindparam("after"))
    .order_by(ledger_entry.c.id)
    .limit(bindparam("most"))
)  # fmt: skip
_FOR_CUSTOMER = Statement(
    _whole.where(ledger_entry.c.for_customer == 1, one_of(ledger_entry.c.cloud_project_id, "projects"))
)
_OF_REGISTRY = Statement(
    _whole.where(
        ledger_entry.c.for_customer == 1,
        one_of(ledger_entry.c.cloud_project_id, "projects"),
        or_(
            ledger_entry.c.chain == bindparam("chain"),
            and_(ledger_entry.c.chain == PROVIDER, ledger_entry.c.cloud_project_id == PROJECTLESS),
        ),
    )
)
_WAITING = Statement(
    select(func.count().label("n"), func.max(ledger_entry.c.id).label("last")).where(
        ledger_entry.c.for_customer == 1,
        one_of(ledger_entry.c.cloud_project_id, "projects"),
        ledger_entry.c.id > bindparam("after"),
    )
)
_FOR_PROVIDER = Statement(_whole.where(ledger_entry.c.for_provider == 1))


@dataclass(frozen=True, slots=True)
class Notification:
    """Something that a party is informed of."""

    kept: Kept
    party: str

    @property
    def number(self) -> int:
        """Give its number in the feed."""
        return self.kept.number

    @property
    def told(self) -> dict[str, object]:
        """Give it as a CloudEvent in JSON: facts that tell nobody's address or program."""
        entry, said = self.kept.entry, self.kept.said
        return {
            "specversion": SPEC,
            "id": entry.event,
            "source": _source(entry.cloud_project, entry.chain),
            "type": f"{TYPE}{entry.kind}",
            "time": written(entry.at),
            **({"subject": said["target"]} if said and said["target"] else {}),
            "datacontenttype": "application/json",
            "moorageseq": self.number,
            "data": {
                "activities": list(entry.activities),
                "party": entry.party,
                "outcome": entry.outcome,
                "entry": {"chain": entry.chain, "seq": entry.seq, "hash": self.kept.hash},
                **({"actor": said["actor"], "facts": json.loads(said["body"])} if said else {}),
            },
        }


async def for_customer(
    reader: Reader, cloud_project: str, *, registry: str | None = None, after: int = 0, most: int = 100
) -> list[Notification]:
    """List what a cloud project's people are informed of past a number: about it, or one registry in it, and about all."""
    asked = {"projects": [PROJECTLESS, cloud_project], "after": after, "most": _most(most)}
    if registry is None:
        return [_made(row, CUSTOMER) for row in await reader.all(_FOR_CUSTOMER, **asked)]
    return [_made(row, CUSTOMER) for row in await reader.all(_OF_REGISTRY, chain=registry, **asked)]


async def waiting(reader: Reader, cloud_project: str, after: int) -> tuple[int, int]:
    """Count what a cloud project's people are informed of past a number, and give the last one's."""
    row = await reader.one(_WAITING, projects=[PROJECTLESS, cloud_project], after=after)
    return row.n, row.last or after


async def for_provider(reader: Reader, *, after: int = 0, most: int = 100) -> list[Notification]:
    """List what the provider is informed of past a number."""
    return [_made(row, "provider") for row in await reader.all(_FOR_PROVIDER, after=after, most=_most(most))]


def _made(row: Any, party: str) -> Notification:
    return Notification(ledger.kept(row), party)


def _most(most: int) -> int:
    return max(1, min(most, ledger.MOST))


def _source(cloud_project: str, chain: str) -> str:
    if not cloud_project:
        return f"/{PROVIDER}"
    project = f"/cloud/project/{cloud_project}"
    return project if chain == PROVIDER else f"{project}/containerRegistry/{chain}"
