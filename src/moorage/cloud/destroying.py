"""Destroying: a registry whose grace is over goes, keys first, and a certificate is signed once nothing of it is found any more.

    let go ──▶ stock ──▶ seal, keys ──▶ rows ──▶ bytes ──▶ traffic ──▶ names ──▶ read back ──▶ certificate    a day later: again

Each step ensures, in pieces of a bounded size, and may be cut anywhere: what is gone is gone, and what was there in the
beginning was counted and kept before the first of it went. Nothing is certified that is found by reading back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update

from moorage import __version__
from moorage.cloud import certificates, grants, ledger, metering, provisioning, registries, signing
from moorage.cloud.catalogue import Catalogue
from moorage.cloud.events import SYSTEM
from moorage.cloud.metering import Metering
from moorage.cloud.registries import DELETED, Registry
from moorage.cloud.times import written_or_none
from moorage.db import Database, Statement, Tx, insert
from moorage.db.cell import address_rules
from moorage.db.destroying import Rows
from moorage.db.files import FileUsed
from moorage.db.platform import (
    cloud_event,
    cloud_outbox,
    cloud_registry,
    cloud_restrictions,
    destruction,
    idempotency,
    mail,
    storage_alert,
)
from moorage.identity.keys import MasterKey
from moorage.registry.directory import Entry
from moorage.storage import BlobStore

LOG = logging.getLogger(__name__)

SECOND: Final = 1_000_000
LETTING_GO: Final = 60 * SECOND
"""Microseconds after which no request of before its closing is under way any more: each process cuts them when it sees it, reads
the directory each second, and gives up on a store or a database sooner."""
LETTING_GO_OF_FILES: Final = 2 * SECOND
"""The same where rows are files: locks tell exactly who still has one open, which whoever serves a request has."""
LOOK_AGAIN: Final = 86_400 * SECOND
PIECE: Final = 1000
PIECES: Final = 20
"""How many pieces one round destroys."""
EVENTS: Final = 500
LONGEST_TOLD: Final = 500
_PERSON: Final = re.compile(r"person-[0-9a-f]{16}")

_KEPT_OF_EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    registries.ORDERED: ("region", "plan"),
    registries.PLAN_ASKED: ("before", "after"),
    registries.DELETE_ASKED: ("delete_after",),
}
"""What of an event's body is neither a person's nor the customer's own word, beside the plan."""

_FIND = Statement(select(destruction).where(destruction.c.cloud_registry_id == bindparam("registry")))
_BEGIN = Statement(
    insert(destruction)
    .values(
        cloud_registry_id=bindparam("registry"), found=bindparam("found"), salt=bindparam("salt"), secret=bindparam("secret"),
        begun_at=bindparam("at"),
    )
    .on_conflict_do_nothing(index_elements=[destruction.c.cloud_registry_id])
)  # fmt: skip
_END = Statement(
    update(destruction)
    .where(destruction.c.cloud_registry_id == bindparam("registry"))
    .values(secret=b"", ended_at=bindparam("at"))
)
_LOOKED = Statement(
    update(destruction)
    .where(destruction.c.cloud_registry_id == bindparam("registry"))
    .values(looked_at=bindparam("at"))
)
_TO_LOOK = Statement(
    select(destruction.c.cloud_registry_id.label("id"))
    .where(destruction.c.looked_at.is_(None), destruction.c.ended_at <= bindparam("before"))
    .order_by(destruction.c.ended_at)
    .limit(bindparam("most"))
)
_ENDED = Statement(
    select(
        cloud_registry.c.id, cloud_registry.c.status, cloud_registry.c.deleted_at, cloud_registry.c.destroyed_at,
        cloud_registry.c.error,
    )
    .where(cloud_registry.c.deleted_at.is_not(None))
    .order_by(cloud_registry.c.deleted_at, cloud_registry.c.id)
)  # fmt: skip
_DESTROYED = Statement(
    update(cloud_registry)
    .where(
        cloud_registry.c.id == bindparam("registry"),
        cloud_registry.c.updated_at == bindparam("read_at"),
        cloud_registry.c.destroyed_at.is_(None),
    )
    .values(
        name=cloud_registry.c.id, url="", size=0, status=DELETED, error="", suspension="",
        suspended_for="", called=None, destroyed_at=bindparam("at"),
        updated_at=bindparam("at"),
    )
)  # fmt: skip
_WAITING = Statement(
    select(cloud_outbox.c.id)
    # Of what the system does by itself there is nothing to forget.
    .where(cloud_outbox.c.target == bindparam("target"), cloud_outbox.c.actor != SYSTEM.actor)
    .limit(1)
)
_TELLING = Statement(
    select(cloud_event)
    .where(cloud_event.c.target == bindparam("target"), cloud_event.c.id > bindparam("after"))
    .order_by(cloud_event.c.id)
    .limit(EVENTS)
)
_FORGET = Statement(
    update(cloud_event)
    .where(cloud_event.c.id == bindparam("which"))
    .values(actor=bindparam("who"), body=bindparam("kept"), address="", agent="")
)

_NO_RULES = Statement(delete(address_rules).where(address_rules.c.entry_id == bindparam("entry")))
_NO_ANSWERS = Statement(
    delete(idempotency).where(
        idempotency.c.account_id == bindparam("account"), idempotency.c.body.contains(bindparam("registry"))
    )
)
_NO_MAILS = Statement(
    delete(mail).where(
        mail.c.event.in_(select(cloud_event.c.uuid).where(cloud_event.c.target == bindparam("registry")))
    )
)
_NO_ALERTS = Statement(
    delete(storage_alert).where(storage_alert.c.cloud_registry_id == bindparam("registry"))
)
_NO_RESTRICTIONS = Statement(
    delete(cloud_restrictions).where(cloud_restrictions.c.cloud_registry_id == bindparam("registry"))
)


class NotYet(Exception):
    """Somebody may still be at it: it goes on when the time has come, and nothing is wrong."""


class StillThere(Exception):
    """Something was found by reading back: nothing is certified."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where registries' rows and bytes are, as what is to be destroyed; *kind* says what the store is."""

    cell: Database
    rows: Callable[[Entry], Rows]
    store: BlobStore
    kind: str
    forget: Callable[[Entry], Awaitable[None]]
    """Forgets what processes of this machine have counted of a registry."""
    letting_go: int = LETTING_GO


@dataclass(frozen=True, slots=True)
class _Left:
    """What there was before the first of it was destroyed."""

    rows: Mapping[str, int] = field(default_factory=dict)
    tags: int = 0
    blob_bytes: int = 0
    keys: tuple[str, ...] = ()
    objects: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Destroyer:
    """Does it: each step says whether it has come to its end, else the rest is for another round."""

    platform: Database
    ground: Ground
    catalogue: Catalogue
    master: MasterKey

    def steps(self, found: Registry) -> list[Callable[[Registry], Awaitable[bool]]]:
        """List the steps for a registry whose grace is over."""
        if found.destroyed_at is not None:
            return [self.look_again]
        return [
            self.take_stock,
            self.seal,
            self.end_rows,
            self.end_bytes,
            self.end_traffic,
            self.end_names,
            self.certify,
        ]

    async def take_stock(self, found: Registry) -> bool:
        """Ensure that what there is was counted, once nobody can be at it any more; raise NotYet."""
        if await self.platform.one(_FIND, registry=found.id) is not None:
            return True
        entry = await self._entry(found)
        if entry is not None and (found.closed_at or 0) + self.ground.letting_go > self.platform.now():
            raise NotYet("requests of before it was closed may still be under way")
        left = _Left() if entry is None else await self._count(entry)
        await self.platform.write(
            _BEGIN, registry=found.id, found=json.dumps(_as_dict(left)), salt=secrets.token_hex(16),
            secret=secrets.token_bytes(32), at=self.platform.now(),
        )  # fmt: skip
        return True

    async def seal(self, found: Registry) -> bool:
        """Ensure that no process writes a row of it any more, and destroy its keys."""
        entry = await self._entry(found)
        if entry is not None:
            await self.ground.rows(entry).seal()
        return True

    async def end_rows(self, found: Registry) -> bool:
        """Destroy rows; raise NotYet while a process has them open."""
        entry = await self._entry(found)
        if entry is None:
            return True
        rows = self.ground.rows(entry)
        try:
            return await _in_pieces(rows.destroy)
        except FileUsed as used:
            raise NotYet(str(used)) from used

    async def end_bytes(self, found: Registry) -> bool:
        """Destroy all that is kept under its prefix."""
        entry = await self._entry(found)
        return entry is None or await _in_pieces(self.ground.store.under(entry.prefix).destroy)

    async def end_traffic(self, found: Registry) -> bool:
        """Destroy the cell's counts of what it was asked; its hours, which are billed, have them."""
        entry = await self._entry(found)
        if entry is not None:
            meter = Metering(self.platform, self.ground.cell, self.catalogue, metering.unmeasured)
            await meter.end(found.id, entry.uuid)
        return True

    async def end_names(self, found: Registry) -> bool:
        """Forget what people called it and who did what with it, but for that somebody did."""
        entry = await self._entry(found)
        if entry is not None:
            await self.ground.forget(entry)
            await provisioning.forget_name(self.ground.cell, entry.id)
            await provisioning.note(self.ground.cell, _NO_RULES, entry=entry.id)
        await self.platform.write(_NO_RESTRICTIONS, registry=found.id)
        await self.platform.write(_NO_ANSWERS, account=found.account_id, registry=found.id)
        await self.platform.write(_NO_MAILS, registry=found.id)
        await self.platform.write(_NO_ALERTS, registry=found.id)
        if await self.platform.one(_WAITING, target=found.id) is not None:
            raise NotYet("the platform's outbox still holds events of it")
        begun = await self.platform.one(_FIND, registry=found.id)
        await ledger.erase(self.platform, found.id)
        await grants.forget(self.platform, found.id)
        last: int | None = 0
        while last is not None:
            last = await self._forget_some(found, begun.secret, last)
        return True

    async def certify(self, found: Registry) -> bool:
        """Read back that nothing is left, and only then sign; raise StillThere."""
        entry = await self._entry(found)
        if entry is not None:
            await self._read_back(entry)
        verified_at = self.platform.now()
        begun = await self.platform.one(_FIND, registry=found.id)
        body = self._body(found, begun, entry, verified_at)
        signed = await signing.sign(self.platform, self.master, certificates.payload(body))
        document = certificates.written(body, signed)

        async def work(tx: Tx) -> None:
            at = max(tx.at, found.updated_at + 1)
            if not await tx.run(_DESTROYED, registry=found.id, read_at=found.updated_at, at=at):
                return
            await certificates.keep(tx, found.id, signed.key_id, document)
            await tx.run(_END, registry=found.id, at=at)
            await registries.note(
                tx,
                "registry.destroyed",
                found,
                SYSTEM,
                plan=found.plan,
                certificate=body["id"],
                key=signed.key_id,
            )

        await self.platform.change(work)
        return True

    async def look_again(self, found: Registry) -> bool:
        """Look a day later whether anything came after all, destroy that too, and tell of it."""
        begun = await self.platform.one(_FIND, registry=found.id)
        if begun is None or begun.looked_at is not None or begun.ended_at + LOOK_AGAIN > self.platform.now():
            return True
        entry = await self._entry(found)
        late: list[str] = []
        if entry is not None:
            late = [
                *await self.ground.store.under(entry.prefix).remains(),
                *await self.ground.rows(entry).remains(),
                *await metering.remains(self.ground.cell, entry.uuid),
            ]
        if late:
            LOG.error(
                "ALARM: a destroyed registry had something left",
                extra={"registry": found.id, "left": str(late)},
            )
            for step in (self.seal, self.end_rows, self.end_bytes, self.end_traffic):
                if not await step(found):
                    return False

        async def work(tx: Tx) -> None:
            if late:
                await registries.note(tx, "registry.destroyed-again", found, SYSTEM, left=late)
            await tx.run(_LOOKED, registry=found.id, at=tx.at)

        await self.platform.change(work)
        return True

    async def _entry(self, found: Registry) -> Entry | None:
        """Give its place, though it has left the directory; None if it never had one."""
        if found.entry_uuid is None:
            return await provisioning.find(self.ground.cell, found.place_name)
        return await provisioning.ever_placed(self.ground.cell, found.entry_uuid)

    async def _count(self, entry: Entry) -> _Left:
        stock = await self.ground.rows(entry).stock()
        objects = count = 0
        async for one in self.ground.store.under(entry.prefix).list():
            objects, count = objects + 1, count + one.size
        return _Left(stock.rows, stock.tags, stock.bytes, tuple(stock.keys), objects, count)

    async def _forget_some(self, found: Registry, secret: bytes, after: int) -> int | None:
        """Make pseudonyms of people in some of the record; give how far it came, None at the end."""
        rows = await self.platform.all(_TELLING, target=found.id, after=after)
        changed = [
            {"which": row.id, "who": _who(secret, row), "kept": _kept(row.kind, row.body)}
            for row in rows
            if (row.actor, row.body, row.address, row.agent)
            != (_who(secret, row), _kept(row.kind, row.body), "", "")
        ]
        if changed:
            await self.platform.change(lambda tx: tx.many(_FORGET, changed))
        return rows[-1].id if rows else None

    async def _read_back(self, entry: Entry) -> None:
        left = {
            "rows": await self.ground.rows(entry).remains(),
            "bytes": await self.ground.store.under(entry.prefix).remains(),
            "traffic": await metering.remains(self.ground.cell, entry.uuid),
        }
        told = [f"{what}: {', '.join(some)}" for what, some in left.items() if some]
        if told:
            raise StillThere(
                f"after all was destroyed there still was, of its {'; '.join(told)}"[:LONGEST_TOLD]
            )

    def _plan(self, id_: str) -> dict[str, str]:
        name = next((one.name for one in self.catalogue.plans if one.id == id_), "")
        return {"id": id_, "name": name}

    def _body(self, found: Registry, begun: Any, entry: Entry | None, verified_at: int) -> dict[str, Any]:
        left = json.loads(begun.found)
        rows = left["rows"]
        return {
            "type": certificates.TYPE,
            "id": hashlib.sha256(f"{found.id} {begun.salt}".encode()).hexdigest()[:32],
            "registry": found.id,
            "account": certificates.pseudonym(begun.salt, found.account_id),
            "cloudProject": certificates.pseudonym(begun.salt, found.cloud_project_id),
            "salt": begun.salt,
            "region": found.region,
            "plan": self._plan(found.plan),
            "times": {
                "orderedAt": written_or_none(found.created_at),
                "deletedAt": written_or_none(found.delete_asked_at),
                "closedAt": written_or_none(found.closed_at),
                "graceEndedAt": written_or_none(found.delete_after),
                "begunAt": written_or_none(begun.begun_at),
                "verifiedAt": written_or_none(verified_at),
            },
            "destroyed": {
                "manifests": rows.get("manifest", 0),
                "tags": left["tags"],
                "blobs": rows.get("blob", 0),
                "blobBytes": left["blob_bytes"],
                "objects": left["objects"],
                "objectBytes": left["bytes"],
                "rows": rows,
                "signingKeys": left["keys"],
            },
            "engine": "" if entry is None else self.ground.rows(entry).engine,
            "store": self.ground.kind,
            "verified": [
                "rows were counted again: none",
                "the store was listed again: nothing",
                "the cell's counts of its traffic were looked for again: none",
            ],
            "software": f"moorage {__version__}",
        }


async def to_look_at(platform: Database, most: int) -> list[str]:
    """List registries that were destroyed a day ago and not looked for since."""
    before = platform.now() - LOOK_AGAIN
    return [str(row.id) for row in await platform.all(_TO_LOOK, before=before, most=most)]


async def told(platform: Database) -> str:
    """List every registry whose grace is over: its id, when it was destroyed or that it is being so, and what is in the way."""
    return "".join(
        f"{row.id}\t{'destroyed' if row.destroyed_at else row.status.lower() + ', being destroyed'}"
        f"\t{written_or_none(row.destroyed_at or row.deleted_at)}\t{row.error}\n"
        for row in await platform.all(_ENDED)
    )


async def _in_pieces(destroy: Callable[[int], Awaitable[int]]) -> bool:
    """Destroy some pieces; say whether nothing is left."""
    for _ in range(PIECES):
        if not await destroy(PIECE):
            return True
    return False


def _who(secret: bytes, row: Any) -> str:
    """Name whoever it was so that the same one has the same name here, and nobody is found by it once the secret is gone."""
    if row.party != "customer" or _PERSON.fullmatch(row.actor):
        return str(row.actor)
    return f"person-{hmac.digest(secret, row.actor.encode(), 'sha256').hex()[:16]}"


def _kept(kind: str, body: str) -> str:
    found = json.loads(body)
    names = {"plan", *_KEPT_OF_EVENTS.get(kind, ())}
    return json.dumps({name: value for name, value in found.items() if name in names}, separators=(",", ":"))


def _as_dict(left: _Left) -> dict[str, Any]:
    return {
        "rows": dict(left.rows), "tags": left.tags, "blob_bytes": left.blob_bytes, "keys": list(left.keys),
        "objects": left.objects, "bytes": left.bytes,
    }  # fmt: skip
