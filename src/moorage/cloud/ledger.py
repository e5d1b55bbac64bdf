"""The responsibility ledger: each event that is evidence of an activity becomes an entry of a chain, once.

    a change ─▶ outbox ─▶ record + entry      in one turn of the relay, so there is an entry if and only if there is an event

A registry has a chain of its own, and whatever is about no registry stands in the provider's. What `cloud.chains` hashes stays
for good; the personal part stands beside it and can be erased.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, or_, select

from moorage.cloud import activities, chains
from moorage.cloud.chains import NOTHING_BEFORE, PROVIDER, Entry
from moorage.db import Database, Reader, Statement, Tx, insert, one_of
from moorage.db.platform import cloud_registry, ledger_entry, ledger_evidence, ledger_personal

MOST: Final = 1000

PROJECTLESS: Final = ""
"""The cloud project of what is about no customer alone, and so about all."""
_PERSONAL: Final = ("actor", "address", "agent", "target", "rule", "request_id", "body")
_COLUMNS: Final = (
    "chain", "seq", "at", "event", "kind", "activities", "party", "outcome", "cloud_project_id", "personal", "previous",
    "hash", "for_customer", "for_provider",
)  # fmt: skip
_ADD = Statement(
    insert(ledger_entry)
    .values({name: bindparam(name) for name in _COLUMNS})
    .on_conflict_do_nothing(index_elements=[ledger_entry.c.chain, ledger_entry.c.seq])
)
_ADD_PERSONAL = Statement(
    insert(ledger_personal).values({name: bindparam(name) for name in ("event", "chain", "salt", *_PERSONAL)})
)
_evidence = insert(ledger_evidence).values(
    chain=bindparam("chain"), cloud_project_id=bindparam("cloud_project_id"), activity=bindparam("activity"),
    seq=bindparam("seq"),
)  # fmt: skip
_SHOW = Statement(
    _evidence.on_conflict_do_update(
        index_elements=[
            ledger_evidence.c.chain,
            ledger_evidence.c.cloud_project_id,
            ledger_evidence.c.activity,
        ],
        set_={"seq": _evidence.excluded.seq},
    )
)
_KNOWN = Statement(select(ledger_entry.c.event).where(one_of(ledger_entry.c.event, "events")))
_REGISTRIES = Statement(select(cloud_registry.c.id).where(one_of(cloud_registry.c.id, "named")))
_LAST = Statement(
    select(ledger_entry.c.seq, ledger_entry.c.hash)
    .where(ledger_entry.c.chain == bindparam("chain"))
    .order_by(ledger_entry.c.seq.desc())
    .limit(1)
)
_whole = select(ledger_entry, *(ledger_personal.c[name] for name in ("salt", *_PERSONAL))).join_from(
    ledger_entry, ledger_personal, ledger_personal.c.event == ledger_entry.c.event, isouter=True
)
_LISTED = Statement(
    _whole.where(ledger_entry.c.chain == bindparam("chain"), ledger_entry.c.seq > bindparam("after"))
    .order_by(ledger_entry.c.seq)
    .limit(bindparam("most"))
)
_OF_EVENT = Statement(
    _whole.where(
        ledger_entry.c.event == bindparam("event"),
        or_(
            ledger_entry.c.chain == bindparam("chain"),
            and_(ledger_entry.c.chain == PROVIDER, one_of(ledger_entry.c.cloud_project_id, "projects")),
        ),
    )
)
_EVIDENCE = Statement(
    select(ledger_evidence.c.activity, ledger_entry)
    .join_from(
        ledger_evidence,
        ledger_entry,
        and_(ledger_entry.c.chain == ledger_evidence.c.chain, ledger_entry.c.seq == ledger_evidence.c.seq),
    )
    .where(
        or_(
            ledger_evidence.c.chain == bindparam("chain"),
            and_(
                ledger_evidence.c.chain == PROVIDER,
                one_of(ledger_evidence.c.cloud_project_id, "projects"),
            ),
        )
    )
)
_ERASE = Statement(delete(ledger_personal).where(ledger_personal.c.chain == bindparam("chain")))


class Forked(Exception):
    """Another has appended to the chain meanwhile: what was to follow its last entry does not; read it, and do it again."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry as it is kept: with its number among all of every chain, and the personal part, unless that is erased."""

    number: int
    entry: Entry
    hash: str
    """As it was when the entry was made: who alters the row later alters this, too, or it shows."""
    salt: bytes | None = None
    said: Mapping[str, str] | None = None

    @property
    def told(self) -> dict[str, object]:
        """Give the line that a file of the chain has for it."""
        line = {"type": "entry", **self.entry.told, "hash": self.hash}
        if self.salt is not None and self.said is not None:
            line["said"] = {"salt": self.salt.hex(), **self.said}
        return line


async def append(tx: Tx, events: Sequence[Any]) -> None:
    """Make entries of those of some events that are evidence and have none yet; raise Forked."""
    matrix = activities.matrix()
    evidence = [row for row in events if matrix.evidence_of(row.kind)]
    if not evidence:
        return
    known = {row.event for row in await tx.all(_KNOWN, events=[row.uuid for row in evidence])}
    fresh = [row for row in evidence if row.uuid not in known]
    registries = await _registries(tx, fresh)
    ends: dict[str, tuple[int, str]] = {}
    for row in fresh:
        chain = next((one for one in _named(row) if one in registries), PROVIDER)
        if chain not in ends:
            last = await tx.one(_LAST, chain=chain)
            ends[chain] = (0, NOTHING_BEFORE) if last is None else (last.seq, last.hash)
        ends[chain] = await _add(tx, row, chain, *ends[chain])


async def listed(reader: Reader, chain: str, *, after: int = 0, most: int = 100) -> list[Kept]:
    """List a chain's entries past one, in their order."""
    rows = await reader.all(_LISTED, chain=chain, after=after, most=max(1, min(most, MOST)))
    return [kept(row) for row in rows]


async def evidence(reader: Reader, chain: str, cloud_project: str) -> dict[str, Entry]:
    """Give the last evidence of each activity for a registry: its own, its cloud project's, or everybody's."""
    found: dict[str, Entry] = {}
    rows = await reader.all(_EVIDENCE, chain=chain, projects=[PROJECTLESS, cloud_project])
    for row in sorted(rows, key=lambda row: (row.at, row.id)):
        found[row.activity] = _entry(row)
    return found


async def of_event(reader: Reader, event: str, chain: str, cloud_project: str) -> Kept | None:
    """Find the entry of an event that is evidence for a registry: in its chain, or about its cloud project or everybody."""
    row = await reader.one(_OF_EVENT, event=event, chain=chain, projects=[PROJECTLESS, cloud_project])
    return None if row is None else kept(row)


async def last(reader: Reader, chain: str) -> tuple[int, str]:
    """Give the number and the hash of a chain's last entry; 0 and no hash before there is one."""
    row = await reader.one(_LAST, chain=chain)
    return (0, NOTHING_BEFORE) if row is None else (row.seq, row.hash)


async def erase(db: Database, chain: str) -> int:
    """Erase who did what from a chain, for good, and give of how many entries; what was done, and when, stays provable."""
    return await db.write(_ERASE, chain=chain)


def kept(row: Any) -> Kept:
    """Read an entry, with its personal part if the row has one."""
    said = None if row.salt is None else {name: getattr(row, name) for name in _PERSONAL}
    return Kept(row.id, _entry(row), row.hash, row.salt, said)


def _entry(row: Any) -> Entry:
    return Entry(
        row.chain, row.seq, row.at, row.event, row.kind, tuple(row.activities.split()), row.party, row.outcome,
        row.cloud_project_id, row.personal, row.previous,
    )  # fmt: skip


async def _registries(tx: Tx, rows: Iterable[Any]) -> frozenset[str]:
    """Tell which of the ids that some events name are registries'."""
    named = sorted({one for row in rows for one in _named(row)})
    return frozenset(row.id for row in await tx.all(_REGISTRIES, named=named))


def _named(row: Any) -> tuple[str, ...]:
    """List the ids by which an event may say which registry it is about."""
    registry = json.loads(row.body).get("registry")
    return (registry, row.target) if isinstance(registry, str) else (row.target,)


async def _add(tx: Tx, row: Any, chain: str, last_seq: int, last_hash: str) -> tuple[int, str]:
    matrix = activities.matrix()
    said = {name: getattr(row, name) for name in _PERSONAL}
    salt = os.urandom(chains.SALT)
    made = Entry(
        chain, last_seq + 1, row.at, row.uuid, row.kind, matrix.evidence_of(row.kind), row.party, row.outcome,
        row.cloud_project_id, chains.commitment(salt, said), last_hash,
    )  # fmt: skip
    told = {name: int(matrix.tells(row.kind, name)) for name in activities.PARTIES}
    columns = {
        **{name: getattr(made, name) for name in ("chain", "seq", "at", "event", "kind", "party", "outcome")},
        "activities": " ".join(made.activities),
        "cloud_project_id": made.cloud_project,
        "personal": made.personal,
        "previous": made.previous,
        "hash": made.hash,
    }
    if not await tx.run(_ADD, **columns, **{f"for_{name}": yes for name, yes in told.items()}):
        raise Forked(f"entry {made.seq} of {chain}")
    await tx.run(_ADD_PERSONAL, event=row.uuid, chain=chain, salt=salt, **said)
    for activity in made.activities:
        await tx.run(_SHOW, chain=chain, cloud_project_id=made.cloud_project, activity=activity, seq=made.seq)
    return made.seq, made.hash
