"""Subscriptions: which members of a cloud project are told its notifications by mail, and up to which number each was.

A subscription begins and ends with the membership. Who owns or administers a cloud project is told unless they say no, and
others who may read its notifications if they say so. It begins at the newest notification: nobody is told what was before.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, func, select, update

from moorage.cloud import mails
from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform import ledger_entry, notification_mail

_own = (
    notification_mail.c.cloud_project_id == bindparam("cloud_project"),
    notification_mail.c.login_id == bindparam("login"),
)
_ONE = Statement(
    select(
        notification_mail.c.wanted, notification_mail.c.chosen, notification_mail.c.language, notification_mail.c.told
    ).where(*_own)
)  # fmt: skip
_LAST = Statement(select(func.coalesce(func.max(ledger_entry.c.id), 0).label("number")))
_ADD = Statement(
    insert(notification_mail)
    .values(
        cloud_project_id=bindparam("cloud_project"), login_id=bindparam("login"), wanted=bindparam("wanted"),
        told=bindparam("told"), next_at=bindparam("at"),
    )
    .on_conflict_do_nothing(
        index_elements=[notification_mail.c.cloud_project_id, notification_mail.c.login_id]
    )
)  # fmt: skip
_SET = Statement(
    update(notification_mail)
    .where(*_own)
    .values(
        wanted=bindparam("wanted"), chosen=bindparam("chosen"), language=bindparam("language"), told=bindparam("told")
    )
)  # fmt: skip
_DROP = Statement(delete(notification_mail).where(*_own))
_DROP_ALL = Statement(delete(notification_mail).where(notification_mail.c.login_id == bindparam("login")))


@dataclass(frozen=True, slots=True)
class Subscription:
    """A member's part in the mails: no *language* is that of the house, *told* the number of the last that was told."""

    wanted: int
    chosen: int
    language: str
    told: int


async def find(reader: Reader, cloud_project: str, login: str) -> Subscription | None:
    """Find a member's subscription."""
    row = await reader.one(_ONE, cloud_project=cloud_project, login=login)
    return None if row is None else Subscription(*row)


async def follow_role(tx: Tx, cloud_project: str, login: str, *, by_default: bool, may: bool) -> None:
    """Begin a new member's subscription, or let it follow another role: who *may* not read the feed is told nothing."""
    before = await find(tx, cloud_project, login)
    if before is None:
        await tx.run(
            _ADD, cloud_project=cloud_project, login=login, wanted=int(by_default), told=await _last(tx), at=tx.at
        )  # fmt: skip
    elif not (may and before.chosen):
        await put(tx, cloud_project, login, before, wanted=by_default, chosen=False, language=before.language)


async def put(
    tx: Tx, cloud_project: str, login: str, before: Subscription, *, wanted: bool, chosen: bool, language: str
) -> None:
    """Change a subscription; who is told anew is told what comes from now on, and who is not gets no mail that waits."""
    told = await _last(tx) if wanted and not before.wanted else before.told
    await tx.run(
        _SET, cloud_project=cloud_project, login=login, wanted=int(wanted), chosen=int(chosen), language=language, told=told
    )  # fmt: skip
    if not wanted:
        await mails.withdraw(tx, about(login, cloud_project))


async def end(tx: Tx, cloud_project: str, login: str) -> None:
    """End a subscription, with the mails of it that wait."""
    await tx.run(_DROP, cloud_project=cloud_project, login=login)
    await mails.withdraw(tx, about(login, cloud_project))


async def end_everywhere(tx: Tx, login: str) -> None:
    """End every subscription of a user, with the mails of them that wait."""
    await tx.run(_DROP_ALL, login=login)
    await mails.withdraw(tx, about(login))


def about(*parts: str) -> str:
    """Name what a mail is about, or how that begins: the user, the cloud project, and the number that it tells up to."""
    return "".join(f"{one}{mails.APART}" for one in parts)


async def _last(tx: Tx) -> int:
    number: int = (await tx.one(_LAST)).number
    return number
