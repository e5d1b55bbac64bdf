"""What happened, written in the turn that makes it happen; the relay takes it from there."""

import json
import uuid
from dataclasses import asdict, dataclass

from sqlalchemy import bindparam

from moorage.db import Statement, Tx, insert
from moorage.db.tables import outbox


@dataclass(frozen=True, slots=True)
class Origin:
    """Who makes a change, through which request."""

    actor: str = "system"
    party: str = "provider"
    request_id: str = ""
    address: str = ""
    agent: str = ""


SYSTEM = Origin()

_ADD = Statement(
    insert(outbox).values(
        uuid=bindparam("uuid"), at=bindparam("at"), kind=bindparam("kind"), body=bindparam("body")
    )
)


async def record(tx: Tx, kind: str, origin: Origin, /, **body: object) -> None:
    """Write an event beside the change that it tells of."""
    whole = {**asdict(origin), **body}
    await tx.run(
        _ADD, uuid=str(uuid.uuid4()), at=tx.at, kind=kind, body=json.dumps(whole, separators=(",", ":"))
    )
