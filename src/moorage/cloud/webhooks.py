"""Webhooks: what a cloud project's people are informed of, sent to an address of theirs as signed CloudEvents.

A webhook follows the cloud project's notifications: it keeps the number of the last one that arrived, and the next is sent
until its address says that it has it. So nothing is left out, and the order stays. Whoever gets one twice knows it by its id.

Signed as Standard Webhooks has it: HMAC-SHA256 of ``id.time.body`` by the secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, exists, func, or_, select, update

from moorage.cloud import events, notifications
from moorage.cloud.credentials import PLACE
from moorage.cloud.events import Origin
from moorage.cloud.ledger import PROJECTLESS
from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.platform import cloud_project, cloud_webhook, ledger_entry
from moorage.errors import Problem
from moorage.identity.keys import MasterKey, Wrapped
from moorage.outbound.http import Caller, NotAsked

SECOND: Final = 1_000_000
PREFIX: Final = "whsec_"
MOST: Final = 10
"""How many webhooks a cloud project may have."""
LEASE: Final = 300 * SECOND
FIRST_PAUSE: Final = 10 * SECOND
LONGEST_PAUSE: Final = 3600 * SECOND
TRIES: Final = 60
"""After so many tries of one notification, about two days, a webhook is stopped."""
AT_ONCE: Final = 50
BATCH: Final = 20

_COLUMNS = (
    cloud_webhook.c.id, cloud_webhook.c.cloud_project_id, cloud_webhook.c.url, cloud_webhook.c.delivered,
    cloud_webhook.c.tries, cloud_webhook.c.next_at, cloud_webhook.c.stopped, cloud_webhook.c.error,
    cloud_webhook.c.created_at, cloud_webhook.c.delivered_at,
)  # fmt: skip
_of_project = (cloud_webhook.c.cloud_project_id == bindparam("cloud_project"),)
_ALL = Statement(
    select(*_COLUMNS).where(*_of_project).order_by(cloud_webhook.c.created_at, cloud_webhook.c.id)
)
_ONE = Statement(select(*_COLUMNS).where(*_of_project, cloud_webhook.c.id == bindparam("which")))
_LAST = Statement(select(func.coalesce(func.max(ledger_entry.c.id), 0).label("number")))
_ADD = Statement(
    insert(cloud_webhook).values(
        id=bindparam("id"), cloud_project_id=bindparam("cloud_project"), url=bindparam("url"), secret=bindparam("secret"),
        master=bindparam("master"), delivered=bindparam("delivered"), next_at=bindparam("at"), created_at=bindparam("at"),
    )
)  # fmt: skip
_DROP = Statement(delete(cloud_webhook).where(*_of_project, cloud_webhook.c.id == bindparam("which")))
_RESUME = Statement(
    update(cloud_webhook)
    .where(*_of_project, cloud_webhook.c.id == bindparam("which"))
    .values(stopped=0, tries=0, next_at=bindparam("at"), error="")
)
# Those with nothing to get are not asked for, so that many of them keep nobody waiting.
_new = or_(
    *(
        exists().where(
            ledger_entry.c.for_customer == 1,
            ledger_entry.c.cloud_project_id == project,
            ledger_entry.c.id > cloud_webhook.c.delivered,
        )
        for project in (cloud_webhook.c.cloud_project_id, PROJECTLESS)
    )
)
_DUE = Statement(
    select(*_COLUMNS, cloud_webhook.c.secret, cloud_webhook.c.master)
    .where(cloud_webhook.c.stopped == 0, cloud_webhook.c.next_at <= bindparam("now"), _new)
    .order_by(cloud_webhook.c.next_at)
    .limit(BATCH)
)
_TAKE = Statement(
    update(cloud_webhook)
    .where(cloud_webhook.c.id == bindparam("which"), cloud_webhook.c.next_at == bindparam("seen"))
    .values(next_at=bindparam("until"))
)
_ARRIVED = Statement(
    update(cloud_webhook)
    .where(cloud_webhook.c.id == bindparam("which"))
    .values(delivered=bindparam("number"), delivered_at=bindparam("at"), tries=0, error="")
)
_REST = Statement(
    update(cloud_webhook).where(cloud_webhook.c.id == bindparam("which")).values(next_at=bindparam("next"))
)
_FAILED = Statement(
    update(cloud_webhook)
    .where(cloud_webhook.c.id == bindparam("which"))
    .values(tries=bindparam("tries"), next_at=bindparam("next"), stopped=bindparam("stopped"), error=bindparam("error"))
)  # fmt: skip
_ACCOUNT = Statement(
    select(cloud_project.c.account_id).where(cloud_project.c.id == bindparam("cloud_project"))
)
_others = (cloud_webhook.c.master != bindparam("name"),)


class WebhookUnknown(Problem):
    """The cloud project has no such webhook."""

    code, status, summary = "NOT_FOUND", 404, "this cloud project has no such webhook"


class WebhooksExceeded(Problem):
    """The cloud project has as many webhooks as it may have."""

    code, status, summary = "CONFLICT", 409, "this cloud project has as many webhooks as it may have"


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that notifications are sent to; *delivered* is the number of the last that arrived."""

    id: str
    cloud_project_id: str
    url: str
    delivered: int
    tries: int
    next_at: int
    stopped: int
    error: str
    created_at: int
    delivered_at: int | None


async def listed(reader: Reader, project: str) -> list[Webhook]:
    """List a cloud project's webhooks."""
    return [Webhook(*row) for row in await reader.all(_ALL, cloud_project=project)]


async def get(reader: Reader, project: str, which: str) -> Webhook:
    """Find a webhook of a cloud project, or raise WebhookUnknown."""
    row = await reader.one(_ONE, cloud_project=project, which=which)
    if row is None:
        raise WebhookUnknown(webhook=which[:80])
    return Webhook(*row)


async def create(tx: Tx, master: MasterKey, project: str, url: str, origin: Origin) -> tuple[Webhook, str]:
    """Send what comes from now on to an address; give the secret that it is signed with, once."""
    if len(await listed(tx, project)) >= MOST:
        raise WebhooksExceeded(f"a cloud project may have {MOST} webhooks: delete one first")
    id_, secret = str(uuid.uuid4()), secrets.token_bytes(32)
    wrapped = master.wrap(secret, registry=PLACE, purpose=_purpose(id_))
    last = await tx.one(_LAST)
    await tx.run(
        _ADD, id=id_, cloud_project=project, url=url, secret=wrapped, master=master.name, delivered=last.number, at=tx.at
    )  # fmt: skip
    await _note(tx, "webhook.created", project, id_, origin)
    return await get(tx, project, id_), PREFIX + base64.b64encode(secret).decode()


async def remove(tx: Tx, project: str, which: str, origin: Origin) -> None:
    """Send nothing more to an address, or raise WebhookUnknown."""
    await get(tx, project, which)
    await tx.run(_DROP, cloud_project=project, which=which)
    await _note(tx, "webhook.deleted", project, which, origin)


async def resume(tx: Tx, project: str, which: str, origin: Origin) -> Webhook:
    """Go on with a webhook that was stopped, from where it was; raise WebhookUnknown."""
    await get(tx, project, which)
    await tx.run(_RESUME, cloud_project=project, which=which, at=tx.at)
    await _note(tx, "webhook.resumed", project, which, origin)
    return await get(tx, project, which)


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends what is due."""

    platform: Database
    master: MasterKey
    caller: Caller
    pause: int = SECOND
    """After so long it is looked for more."""

    async def send_due(self) -> int:
        """Send each webhook what it has not got; give how many notifications arrived."""
        sent = 0
        for row in await self.platform.all(_DUE, now=self.platform.now()):
            hook = Webhook(*row[: len(_COLUMNS)])
            waiting = await notifications.for_customer(
                self.platform, hook.cloud_project_id, after=hook.delivered, most=AT_ONCE
            )
            # Another worker may have sent it meanwhile.
            if waiting and await self._take(hook):
                secret = self.master.unwrap(
                    row.secret, name=row.master, registry=PLACE, purpose=_purpose(hook.id)
                )
                sent += await self._send(hook, secret, waiting)
        return sent

    async def _take(self, hook: Webhook) -> bool:
        until = self.platform.now() + LEASE
        return bool(await self.platform.write(_TAKE, which=hook.id, seen=hook.next_at, until=until))

    async def _send(self, hook: Webhook, secret: bytes, waiting: Sequence[notifications.Notification]) -> int:
        db, tries = self.platform, hook.tries
        for sent, one in enumerate(waiting):
            try:
                await self._post(hook, secret, one)
            except NotAsked as failed:
                pause = min(FIRST_PAUSE << min(tries, 20), LONGEST_PAUSE)
                await db.write(
                    _FAILED, which=hook.id, tries=tries + 1, next=db.now() + pause, stopped=int(tries + 1 >= TRIES),
                    error=str(failed)[:500],
                )  # fmt: skip
                return sent
            await db.write(_ARRIVED, which=hook.id, number=one.number, at=db.now())
            tries = 0
        await db.write(_REST, which=hook.id, next=db.now() + self.pause)
        return len(waiting)

    async def _post(self, hook: Webhook, secret: bytes, one: notifications.Notification) -> None:
        told = one.told
        body, at = json.dumps(told, separators=(",", ":")).encode(), self.platform.now() // SECOND
        status = await self.caller.post(
            hook.url,
            body,
            {
                "content-type": "application/cloudevents+json",
                "user-agent": "Moorage",
                "webhook-id": str(told["id"]),
                "webhook-timestamp": str(at),
                "webhook-signature": sign(secret, str(told["id"]), at, body),
            },
        )
        if status not in range(200, 300):
            raise NotAsked(f"it answered {status}")


def sign(secret: bytes, id_: str, at: int, body: bytes) -> str:
    """Sign what is sent, so that who has the secret knows that it is from here, and when it was sent."""
    told = b".".join((id_.encode(), str(at).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret, told, hashlib.sha256)).decode()


def _purpose(which: str) -> str:
    return f"webhook {which}"


async def _note(tx: Tx, kind: str, project: str, which: str, origin: Origin) -> None:
    account = (await tx.one(_ACCOUNT, cloud_project=project)).account_id
    await events.record(tx, kind, origin, target=which, account=account, cloud_project=project)


SECRETS: Final = Wrapped(
    Statement(
        select(cloud_webhook.c.id, cloud_webhook.c.secret, cloud_webhook.c.master)
        .where(*_others)
        .limit(bindparam("most"))
    ),
    Statement(select(func.count().label("n")).select_from(cloud_webhook).where(*_others)),
    Statement(
        update(cloud_webhook)
        .where(cloud_webhook.c.id == bindparam("which"))
        .values(secret=bindparam("wrapped"), master=bindparam("name"))
    ),
    _purpose,
)
