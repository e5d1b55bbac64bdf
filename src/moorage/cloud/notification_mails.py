"""Notifications by mail: each member who is told gets what came since, in one mail, at most one an hour and cloud project.

A member's number moves in the transaction that writes the mail into the outbox, so each notification is told once, however
often a worker is killed. A mail lists what the feed has of each, but no names and no facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import and_, bindparam, exists, or_, select, update

from moorage import texts
from moorage.cloud import activities, events, letters, mails, members, notifications, subscriptions
from moorage.cloud.callers import user_identity
from moorage.cloud.chains import PROVIDER
from moorage.cloud.cloud_projects import CloudProject
from moorage.cloud.events import Origin
from moorage.cloud.ledger import PROJECTLESS
from moorage.cloud.letters import Letter
from moorage.cloud.members import MemberUnknown
from moorage.cloud.notifications import Notification
from moorage.cloud.subscriptions import Subscription
from moorage.cloud.times import written
from moorage.db import Database, Reader, Statement, Tx
from moorage.db.platform import account, ledger_entry, login, notification_mail
from moorage.outbound.mail import is_address

HOUR: Final = 3600 * 1_000_000
BATCH: Final = 20
MOST: Final = 50
"""How many notifications a mail lists; of the others it says how many they are."""

_came = ledger_entry.c.id > notification_mail.c.told
_new = or_(
    *(
        exists().where(ledger_entry.c.for_customer == 1, ledger_entry.c.cloud_project_id == project, _came)
        for project in (notification_mail.c.cloud_project_id, PROJECTLESS)
    )
)
_DUE = Statement(
    select(
        notification_mail, login.c.email, login.c.name, account.c.name.label("account_name"),
    )
    .join_from(notification_mail, login, login.c.id == notification_mail.c.login_id)
    .join(account, account.c.id == login.c.account_id)
    .where(
        notification_mail.c.wanted == 1,
        notification_mail.c.next_at <= bindparam("now"),
        and_(login.c.disabled == 0, login.c.email != ""),
        # Who has nothing to get is not asked, so that many of them keep nobody waiting.
        _new,
    )
    .order_by(notification_mail.c.next_at)
    .limit(BATCH)
)  # fmt: skip
_MOVE = Statement(
    update(notification_mail)
    .where(
        notification_mail.c.cloud_project_id == bindparam("cloud_project"),
        notification_mail.c.login_id == bindparam("login"),
        notification_mail.c.told == bindparam("was"),
        notification_mail.c.wanted == 1,
    )
    .values(told=bindparam("number"), next_at=bindparam("next"))
)


@dataclass(frozen=True, slots=True)
class Teller:
    """Writes the mails: in *language* for who has chosen none, at most one in *pause* microseconds."""

    platform: Database
    language: str
    pause: int = HOUR

    async def tell_due(self) -> int:
        """Write a mail to each member who has something to get; give how many were written."""
        due = await self.platform.all(_DUE, now=self.platform.now())
        return sum([await self.platform.change(partial(self._tell, row)) for row in due])

    async def _tell(self, row: Any, tx: Tx) -> bool:
        project = row.cloud_project_id
        count, last = await notifications.waiting(tx, project, row.told)
        # Of several workers that see it, one moves the number.
        if not count or not await tx.run(
            _MOVE, cloud_project=project, login=row.login_id, was=row.told, number=last, next=tx.at + self.pause
        ):  # fmt: skip
            return False
        who = user_identity(row.account_name, row.name)
        if not is_address(row.email) or not await members.reads_notifications(
            tx, project, row.login_id, who, tx.at
        ):
            return False
        listed = await notifications.for_customer(tx, project, after=row.told, most=min(count, MOST))
        language = row.language or self.language
        letter = _letter(project, listed, count, language)
        await mails.enqueue(
            tx, subscriptions.about(row.login_id, project) + str(last), row.email, language, letter
        )
        return True


async def get(reader: Reader, cloud_project: str, who: str) -> Subscription:
    """Find a member's own subscription, or raise MemberUnknown."""
    found = await subscriptions.find(reader, cloud_project, who)
    if found is None:
        raise MemberUnknown("notifications are mailed to members: whoever asks has no role here")
    return found


async def change(
    tx: Tx, home: CloudProject, who: str, *, wanted: bool, language: str, origin: Origin
) -> Subscription:
    """Turn a member's own mails on or off, as the member says; raise MemberUnknown."""
    before = await get(tx, home.id, who)
    await subscriptions.put(tx, home.id, who, before, wanted=wanted, chosen=True, language=language)
    await events.record(
        tx, "notification.mail-changed", origin, target=who, account=home.account_id, cloud_project=home.id,
        before=bool(before.wanted), after=wanted,
    )  # fmt: skip
    return await get(tx, home.id, who)


def _letter(project: str, listed: Sequence[Notification], count: int, language: str) -> Letter:
    return letters.notified(project, [_line(one, language) for one in listed], count, language)


def _line(one: Notification, language: str) -> str:
    """Write a notification in a line: when, about what, which activities, the event's kind, and how it ended."""
    _ = texts.catalogue(language).gettext
    entry, matrix = one.kept.entry, activities.matrix()
    if entry.chain != PROVIDER:
        about = _("registry {id}").format(id=entry.chain)
    else:
        about = _("the cloud project") if entry.cloud_project else _("the service")
    known = (matrix.get(id_) for id_ in entry.activities)
    done = "; ".join(f"{each.id} {_(each.text)}" for each in known if each is not None)
    return f"{written(entry.at)} · {about} · {done} · {entry.kind} · {entry.outcome}"
