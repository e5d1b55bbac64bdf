"""The outbox of mails: written beside what they tell of, and sent by a worker, again and later until one is taken.

Without a mail server they wait here, where the operator sees them (`moorage mail list`).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, select, update

from moorage.cloud.letters import Letter
from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.platform import mail
from moorage.outbound.mail import Mail, MailServer, NotSent

SECOND: Final = 1_000_000
LEASE: Final = 300 * SECOND
"""So long one worker has a mail to itself."""
FIRST_PAUSE: Final = 60 * SECOND
LONGEST_PAUSE: Final = 6 * 3600 * SECOND
TRIES: Final = 12
"""After so many tries, about two days, a mail is given up."""
BATCH: Final = 50
STEP: Final = 500
APART: Final = "/"
"""What stands between the parts of the name of what a mail is about, where it has several."""

WAITING, SENT, DEAD = "waiting", "sent", "dead"

_ADD = Statement(
    insert(mail)
    .values(
        id=bindparam("id"), event=bindparam("event"), address=bindparam("address"), language=bindparam("language"),
        subject=bindparam("subject"), text=bindparam("text"), html=bindparam("html"), state=WAITING,
        next_at=bindparam("at"), created_at=bindparam("at"),
    )
    .on_conflict_do_nothing(index_elements=[mail.c.event, mail.c.address])
)  # fmt: skip
_DUE = Statement(
    select(mail)
    .where(mail.c.state == WAITING, mail.c.next_at <= bindparam("now"))
    .order_by(mail.c.next_at)
    .limit(BATCH)
)
_TAKE = Statement(
    update(mail)
    .where(mail.c.id == bindparam("which"), mail.c.next_at == bindparam("seen"), mail.c.state == WAITING)
    .values(next_at=bindparam("until"))
)
_SETTLE = Statement(
    update(mail)
    .where(mail.c.id == bindparam("which"), mail.c.state == WAITING)
    .values(
        state=bindparam("state"), tries=mail.c.tries + 1, next_at=bindparam("next"), sent_at=bindparam("sent"),
        error=bindparam("error"),
    )
)  # fmt: skip
_LISTED = Statement(select(mail).order_by(mail.c.created_at.desc(), mail.c.id).limit(bindparam("most")))
_ONE = Statement(select(mail).where(mail.c.id == bindparam("which")))
_RETRY = Statement(
    update(mail)
    .where(mail.c.id == bindparam("which"), mail.c.state != SENT)
    .values(state=WAITING, tries=0, next_at=bindparam("at"), error="")
)
_WITHDRAW = Statement(
    delete(mail).where(
        mail.c.event >= bindparam("begins"), mail.c.event < bindparam("ends"), mail.c.state == WAITING
    )
)
_DROP_OLD = Statement(
    delete(mail).where(
        mail.c.id.in_(
            select(mail.c.id)
            .where(mail.c.created_at < bindparam("before"), mail.c.state != WAITING)
            .order_by(mail.c.created_at)
            .limit(STEP)
        )
    )
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A mail as it is kept: *state* is waiting, sent, or dead for the reason that *error* gives."""

    id: str
    event: str
    address: str
    language: str
    subject: str
    text: str
    html: str
    state: str
    tries: int
    next_at: int
    created_at: int
    sent_at: int | None
    error: str


async def enqueue(tx: Tx, event: str, address: str, language: str, letter: Letter) -> None:
    """Have a letter sent about an event; the same event is told to an address once."""
    await tx.run(
        _ADD, id=str(uuid.uuid4()), event=event, address=address, language=language, subject=letter.subject,
        text=letter.text, html=letter.html, at=tx.at,
    )  # fmt: skip


async def send_due(db: Database, server: MailServer) -> int:
    """Try every mail whose time has come; give how many were taken."""
    sent = 0
    for row in await db.all(_DUE, now=db.now()):
        kept = Kept(*row)
        if await db.write(_TAKE, which=kept.id, seen=kept.next_at, until=db.now() + LEASE):
            sent += await _send(db, server, kept)
    return sent


async def _send(db: Database, server: MailServer, kept: Kept) -> bool:
    try:
        await server.send(Mail(kept.id, kept.address, kept.subject, kept.text, kept.html, kept.language))
    except NotSent as refused:
        over = refused.for_good or kept.tries + 1 >= TRIES
        pause = min(FIRST_PAUSE << kept.tries, LONGEST_PAUSE)
        await db.write(
            _SETTLE, which=kept.id, state=DEAD if over else WAITING, next=db.now() + pause, sent=None, error=str(refused)
        )  # fmt: skip
        return False
    await db.write(_SETTLE, which=kept.id, state=SENT, next=0, sent=db.now(), error="")
    return True


async def listed(reader: Reader, most: int = 100) -> list[Kept]:
    """List the mails, the latest first."""
    return [Kept(*row) for row in await reader.all(_LISTED, most=most)]


async def find(reader: Reader, which: str) -> Kept | None:
    """Find a mail."""
    row = await reader.one(_ONE, which=which)
    return None if row is None else Kept(*row)


async def retry(db: Database, which: str) -> bool:
    """Have a mail tried anew; say whether there is one that was not sent."""
    return bool(await db.write(_RETRY, which=which, at=db.now()))


async def withdraw(tx: Tx, begins: str) -> None:
    """Drop the mails that wait and are about what *begins* so, which ends in APART."""
    await tx.run(_WITHDRAW, begins=begins, ends=begins.removesuffix(APART) + chr(ord(APART) + 1))


async def drop_old(db: Database, before: int) -> int:
    """Drop mails from before a moment that wait no more, a batch of them; give how many."""
    return await db.write(_DROP_OLD, before=before)
