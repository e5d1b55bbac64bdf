"""Members are told their cloud project's notifications by mail: each once, in their language, and only who wants it."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import bindparam, select, update

from moorage.cloud import events, mails, members, notifications, policies
from moorage.cloud.callers import user_identity
from moorage.cloud.events import SYSTEM
from moorage.cloud.mails import Kept
from moorage.cloud.members import Role
from moorage.cloud.notification_mails import MOST, Teller
from moorage.db import Database, Statement, Tx
from moorage.db.platform import account, login, mail, notification_mail
from tests.functional.cloud_api_world import SMALL, Api, Customer, api
from tests.functional.ordering_world import Orders
from tests.functional.usage_world import orders

__all__ = ["api", "orders"]

ADDRESS = Statement(update(login).where(login.c.id == bindparam("which")).values(email=bindparam("address")))
SENT = Statement(select(mail).where(mail.c.address == bindparam("address")).order_by(mail.c.created_at))
ROWS = Statement(select(notification_mail).where(notification_mail.c.login_id == bindparam("which")))
NAMED = Statement(
    select(account.c.name.label("account_name"), login.c.name)
    .join_from(account, login, login.c.account_id == account.c.id)
    .where(login.c.id == bindparam("which"))
)
TOLD = "/notification/mail"


class Killed(Exception):
    """The worker ends here."""


async def member(api: Api, role: Role, address: str) -> Customer:
    """Make a member of the owner's cloud project who has a mail address."""
    made = await api.customer(role, api.owner.project)
    await api.orders.platform.write(ADDRESS, which=made.login, address=address)
    return made


async def happen(api: Api, count: int = 1) -> None:
    """Have so many things happen of which the customer is informed."""

    async def work(tx: Tx) -> None:
        for _ in range(count):
            await events.record(
                tx, "registry.delivered", SYSTEM, target=str(uuid.uuid4()), account=api.owner.account,
                cloud_project=api.owner.project,
            )  # fmt: skip

    await api.orders.platform.change(work)
    await api.orders.work()


async def tell(orders: Orders, *, pause: int = 0) -> None:
    """Let two workers tell what is due, at once."""
    await asyncio.gather(*(Teller(orders.platform, "en", pause).tell_due() for _ in range(2)))


async def sent(db: Database, address: str) -> list[Kept]:
    return [Kept(*row) for row in await db.all(SENT, address=address)]


def lines(written: Sequence[Kept]) -> list[str]:
    """List the notifications that some mails name."""
    return [line for one in written for line in one.text.splitlines() if line.startswith("- ")]


async def feed(api: Api, after: int) -> list[str]:
    """List the kinds of what the feed has past a number."""
    found = await notifications.for_customer(api.orders.platform, api.owner.project, after=after, most=1000)
    return [one.kept.entry.kind for one in found]


async def number(api: Api) -> int:
    """Give the number of the feed's last."""
    return (await notifications.waiting(api.orders.platform, api.owner.project, 0))[1]


async def test_each_notification_is_told_once_and_never_more_often_than_once_an_hour(api: Api) -> None:
    orders, db = api.orders, api.orders.platform
    await happen(api, 3)
    await member(api, Role.ADMINISTRATOR, "admin@example.com")
    await member(api, Role.READER, "reader@example.com")
    await member(api, Role.OWNER, "no address")
    before = await number(api)
    made = await api.ready("a name that no mail tells")
    await orders.work()
    await tell(orders, pause=3600 * 1_000_000)
    await happen(api)
    first = await sent(db, "admin@example.com")
    await tell(orders, pause=3600 * 1_000_000)
    within = await sent(db, "admin@example.com")
    await db.write(Statement(update(notification_mail).values(next_at=1)))
    await tell(orders)
    await tell(orders)

    written = await sent(db, "admin@example.com")
    told = lines(written)
    assert (len(first), len(within), len(written)) == (1, 1, 2)
    assert [line.split(" · ")[3] for line in told] == await feed(api, before)
    assert "R11 Have the compute and storage that the plan promises" in written[0].text
    assert f"registry {made['id']}" in written[0].text
    assert "a name that no mail tells" not in written[0].text + written[0].html
    assert "<li>" in written[0].html
    assert await sent(db, "reader@example.com") == await sent(db, "no address") == []


async def test_a_mail_is_bounded_and_in_the_members_language(api: Api) -> None:
    orders, db = api.orders, api.orders.platform
    french = await member(api, Role.ADMINISTRATOR, "fr@example.com")
    chosen = (await french.call("PUT", TOLD, {"enabled": True, "language": "fr"})).json()
    refused = await french.call("PUT", TOLD, {"enabled": True, "language": "xx"})
    await member(api, Role.ADMINISTRATOR, "en@example.com")
    await happen(api, MOST + 7)
    await tell(orders)

    (one,), (other,) = await sent(db, "fr@example.com"), await sent(db, "en@example.com")
    assert chosen == {"enabled": True, "language": "fr"}
    assert (refused.status_code, refused.json()["message"].split(":")[0]) == (400, "language")
    assert (len(lines([one])), len(lines([other]))) == (MOST, MOST)
    assert (one.language, other.language) == ("fr", "en")
    assert "de plus : voir le flux" in one.text
    assert "Disposer du calcul et du stockage" in one.html
    assert "7 more: see the feed." in other.text
    await tell(orders)
    assert len(await sent(db, "en@example.com")) == 1


async def test_each_member_says_for_themself_and_is_told_nothing_of_before(api: Api) -> None:
    orders, db = api.orders, api.orders.platform
    admin = await member(api, Role.ADMINISTRATOR, "admin@example.com")
    reader = await member(api, Role.READER, "reader@example.com")
    billing = await member(api, Role.BILLING, "billing@example.com")
    shown = [(await who.call("GET", TOLD)).json()["enabled"] for who in (admin, reader)]
    refused = [
        (await billing.call(*call)).status_code for call in (("GET", TOLD), ("PUT", TOLD, {"enabled": True}))
    ]
    await happen(api)
    await tell(orders)
    off = (await admin.call("PUT", TOLD, {"enabled": False})).json()
    on = (await reader.call("PUT", TOLD, {"enabled": True})).json()
    await happen(api)
    await tell(orders)

    assert (shown, refused) == ([True, False], [403, 403])
    assert (off, on) == ({"enabled": False, "language": None}, {"enabled": True, "language": None})
    # The mail that waited is withdrawn, and the feed goes on.
    assert await sent(db, "admin@example.com") == []
    assert (await admin.call("GET", "/notification")).status_code == 200
    assert [line.split(" · ")[3] for line in lines(await sent(db, "reader@example.com"))].count(
        "registry.delivered"
    ) == 1
    # What a member has said outlasts another role, but not one that may not read the feed.
    await db.change(lambda tx: members.put(tx, api.owner.project, admin.login, Role.OWNER))
    await db.change(lambda tx: members.put(tx, api.owner.project, reader.login, Role.BILLING))
    await happen(api)
    await tell(orders)
    assert await sent(db, "admin@example.com") == await sent(db, "reader@example.com") == []
    assert (await admin.call("GET", TOLD)).json()["enabled"] is False


async def test_who_may_not_read_the_feed_or_has_left_or_is_deleted_gets_nothing(api: Api) -> None:
    orders, db = api.orders, api.orders.platform
    left = await member(api, Role.ADMINISTRATOR, "left@example.com")
    gone = await member(api, Role.ADMINISTRATOR, "gone@example.com")
    denied = await member(api, Role.ADMINISTRATOR, "denied@example.com")
    stays = await member(api, Role.ADMINISTRATOR, "stays@example.com")
    service = await api.service("containerRegistry/*")
    named = await db.one(NAMED, which=denied.login)
    terms = policies.Terms(
        name="no feed", allow=(), identities=(user_identity(named.account_name, named.name),),
        resources=(policies.PROJECT + api.owner.project,),
        denied=(f"{policies.PREFIX}containerRegistry/notification/get",),
    )  # fmt: skip
    await db.change(lambda tx: policies.create(tx, api.owner.project, api.owner.account, terms, SYSTEM))
    await happen(api)
    await tell(orders)
    waiting = len(await sent(db, "left@example.com"))
    await api.owner.call("DELETE", f"/member/{left.login}")
    await db.change(lambda tx: members.drop_everywhere(tx, gone.login))
    await happen(api)
    await tell(orders)

    assert waiting == 1
    for address in ("left@example.com", "gone@example.com", "denied@example.com"):
        assert await sent(db, address) == [], address
    assert [await db.all(ROWS, which=who.login) for who in (left, gone)] == [[], []]
    assert len(await db.all(ROWS, which=stays.login)) == 1
    assert len(await sent(db, "stays@example.com")) == 2
    # Who has no role here has nothing to say: a program reads the feed, or has a webhook.
    assert (await service.call("GET", TOLD)).status_code == 404


async def test_a_worker_that_is_killed_leaves_number_and_mail_together(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders, db = api.orders, api.orders.platform
    await member(api, Role.ADMINISTRATOR, "admin@example.com")
    before = await number(api)
    await happen(api, 2)

    async def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(mails, "enqueue", killed)
        with pytest.raises(Killed):
            await Teller(db, "en").tell_due()
    between = await sent(db, "admin@example.com")
    await tell(orders)

    assert between == []
    assert [line.split(" · ")[3] for line in lines(await sent(db, "admin@example.com"))] == await feed(
        api, before
    )


async def test_what_became_of_a_destroyed_registry_is_told_and_its_name_is_not(api: Api) -> None:
    orders, db = api.orders, api.orders.platform
    word = f"secret-{secrets.token_hex(6)}"
    who = await api.customer(Role.OWNER, orders.project)
    await db.write(ADDRESS, which=who.login, address="owner@example.com")
    made = await orders.made(word, SMALL)
    await tell(orders)
    await orders.destroyed(made)
    await tell(orders)

    written = await sent(db, "owner@example.com")
    told = "".join(one.subject + one.text + one.html for one in written)
    assert f"registry {made.id}" in told
    assert "R49 Destroy the information of its projects · registry.destroyed · " in written[-1].text
    assert word not in told
