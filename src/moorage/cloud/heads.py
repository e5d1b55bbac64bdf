"""Signed heads: each day the provider signs what the last entry of each chain is, and sends it to whom the chain is about.

Whoever has kept a head sees by it whether the chain was written anew since: the entry of that number has another hash then.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, func, select

from moorage.cloud import events, ledger, registries, signing
from moorage.cloud.chains import Head
from moorage.cloud.events import SYSTEM
from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.platform import ledger_entry, ledger_evidence, ledger_head
from moorage.identity.keys import MasterKey

DAY: Final = 86_400_000_000
SIGNED: Final = "ledger.head-signed"

# Every entry is the last evidence of something when it comes, so the last entry of a chain is found among few rows.
_ENDS = Statement(
    select(ledger_evidence.c.chain, func.max(ledger_evidence.c.seq).label("seq"))
    .group_by(ledger_evidence.c.chain)
    .order_by(ledger_evidence.c.chain)
)
_LAST = Statement(
    select(ledger_head.c.seq, ledger_head.c.at)
    .where(ledger_head.c.chain == bindparam("chain"))
    .order_by(ledger_head.c.seq.desc())
    .limit(1)
)
_NEWS = Statement(
    select(ledger_entry.c.seq)
    .where(
        ledger_entry.c.chain == bindparam("chain"),
        ledger_entry.c.seq > bindparam("after"),
        ledger_entry.c.kind != SIGNED,
    )
    .limit(1)
)
_ADD = Statement(
    insert(ledger_head)
    .values(
        chain=bindparam("chain"), seq=bindparam("seq"), hash=bindparam("hash"), at=bindparam("at"),
        key_id=bindparam("key_id"), signature=bindparam("signature"),
    )
    .on_conflict_do_nothing(index_elements=[ledger_head.c.chain, ledger_head.c.seq])
)  # fmt: skip
_LISTED = Statement(
    select(ledger_head)
    .where(ledger_head.c.chain == bindparam("chain"), ledger_head.c.seq > bindparam("after"))
    .order_by(ledger_head.c.seq)
    .limit(bindparam("most"))
)


async def sign_due(platform: Database, master: MasterKey) -> int:
    """Sign the head of each chain that has grown since its last one, which is a day old or older; give how many."""
    signed = 0
    for row in await platform.all(_ENDS):
        before = await platform.one(_LAST, chain=row.chain)
        if before is not None and before.at // DAY == platform.now() // DAY:
            continue
        # That a head was signed is an entry, too: alone it is no news, or every chain would grow each day for good.
        if await platform.one(_NEWS, chain=row.chain, after=0 if before is None else before.seq) is not None:
            signed += await sign(platform, master, row.chain)
    return signed


async def sign(platform: Database, master: MasterKey, chain: str) -> bool:
    """Sign what a chain's last entry is now, and tell of it; say no if it was signed already."""
    seq, hash_ = await ledger.last(platform, chain)
    head = Head(chain, seq, hash_, platform.now())
    made = await signing.sign(platform, master, head.payload)
    about = await registries.find(platform, chain)

    async def work(tx: Tx) -> bool:
        added = await tx.run(
            _ADD, chain=chain, seq=seq, hash=hash_, at=head.at, key_id=made.key_id, signature=made.value
        )
        if added:
            await events.record(
                tx, SIGNED, SYSTEM, target=chain, account=about.account_id if about else "",
                cloud_project=about.cloud_project_id if about else "",
                chain=chain, seq=seq, hash=hash_, at=head.at, keyId=made.key_id, signature=made.value.hex(),
            )  # fmt: skip
        return bool(added)

    return await platform.change(work)


async def listed(reader: Reader, chain: str, *, after: int = 0, most: int = 100) -> list[Head]:
    """List the signed heads of a chain past an entry."""
    rows = await reader.all(_LISTED, chain=chain, after=after, most=max(1, min(most, ledger.MOST)))
    return [Head(row.chain, row.seq, row.hash, row.at, row.key_id, row.signature.hex()) for row in rows]


def told(head: Head) -> dict[str, object]:
    """Give the line that a file has for a head."""
    return {
        "type": "head",
        "chain": head.chain,
        "seq": head.seq,
        "hash": head.hash,
        "at": head.at,
        "keyId": head.key_id,
        "signature": head.signature,
    }
