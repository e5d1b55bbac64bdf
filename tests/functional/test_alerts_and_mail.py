"""Whoever runs a registry is told once of each level that its storage reaches, by a mail that arrives in the end."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, select, update

from moorage.cloud import letters, mails, members
from moorage.cloud.events import SYSTEM
from moorage.cloud.letters import Letter
from moorage.cloud.mails import DEAD, SENT, TRIES, WAITING, Kept
from moorage.cloud.members import Role
from moorage.cloud.registries import Registry
from moorage.db import Database, Statement, Tx
from moorage.db.platform import cloud_event, login, mail
from moorage.db.tables import registry
from moorage.outbound.mail import Mail, MailServer, NotSent
from tests.functional.cloud_api_world import SMALL, customer
from tests.functional.ordering_world import Orders
from tests.functional.usage_world import accounts, orders
from tests.servers.certificates import certified
from tests.servers.house import moorage
from tests.servers.mail import mail_server
from tests.worlds import MASTER_KEY

__all__ = ["orders"]

GIB = 1 << 30
FROM = "moorage@example.com"
CALLED = Statement(update(login).where(login.c.id == bindparam("which")).values(email=bindparam("address")))
DUE = Statement(update(mail).where(mail.c.state == WAITING).values(next_at=1))
TRASHED = Statement(update(registry).values(trash=bindparam("bytes")))
TRASH_EVENTS = Statement(
    select(cloud_event.c.uuid, cloud_event.c.body)
    .where(cloud_event.c.kind == "registry.trash-alert", cloud_event.c.target == bindparam("target"))
    .order_by(cloud_event.c.id)
)
EVENTS = Statement(
    select(cloud_event.c.uuid, cloud_event.c.body)
    .where(cloud_event.c.kind == "registry.storage-alert", cloud_event.c.target == bindparam("target"))
    .order_by(cloud_event.c.id)
)


async def member(orders: Orders, role: Role, address: str) -> None:
    """Let somebody with a mail address have a role in the cloud project."""
    who = await customer(orders, None, None)  # type: ignore[arg-type]

    async def work(tx: Tx) -> None:
        await members.put(tx, orders.project, who.login, role)
        await tx.run(CALLED, which=who.login, address=address)

    await orders.platform.change(work)


async def stored(orders: Orders, found: Registry, *sizes: int) -> None:
    """Have a registry hold so much, one after the other, and two workers look each time."""
    entry = await orders.entry(found)
    ours = [accounts(orders), accounts(orders)]
    db = await orders.world.parts.open_database(entry)
    for size in sizes:
        await orders.store(found, size)
        await asyncio.gather(*(one.look(entry.uuid, db) for one in ours))
    await db.close()


async def told(orders: Orders, found: Registry) -> list[int]:
    await orders.work()
    rows = await orders.platform.all(EVENTS, target=found.id)
    return [json.loads(row.body)["level"] for row in rows]


async def kept(db: Database) -> dict[str, list[Kept]]:
    """Give the mails by address, the oldest first."""
    found: dict[str, list[Kept]] = {}
    for one in reversed(await mails.listed(db)):
        found.setdefault(one.address, []).append(one)
    return found


async def test_each_level_is_told_once_to_owners_and_administrators(orders: Orders) -> None:
    for role in Role:
        await member(orders, role, f"{role}@example.com")
    await member(orders, Role.OWNER, "no address")
    made = await orders.made("team", SMALL)

    await stored(orders, made, *(part * 2 * GIB for part in (50, 81, 79, 82, 91, 88, 100, 97, 60, 85)))

    assert await told(orders, made) == [80, 90, 100, 80]
    waiting = await kept(orders.platform)
    assert set(waiting) == {"owner@example.com", "administrator@example.com"}
    for each in waiting.values():
        assert [one.subject for one in each] == [
            f"Registry team: {level} % of its storage is used" for level in (80, 90, 100, 80)
        ]
        assert {one.state for one in each} == {WAITING}


async def test_large_trash_is_told_of_once_and_again_after_it_was_smaller(orders: Orders) -> None:
    await member(orders, Role.OWNER, "owner@example.com")
    made = await orders.made("team", SMALL)
    entry = await orders.entry(made)
    ours, silent = [accounts(orders), accounts(orders)], accounts(orders)
    silent.alerts.trash_at = 0
    db = await orders.world.parts.open_database(entry)
    for size in (49, 50, 60, 46, 55, 44, 300):
        await db.write(TRASHED, bytes=size * 2 * GIB)
        assert not await silent.alerts.look(entry.uuid, 0, 200 * GIB, size * 2 * GIB)
        await asyncio.gather(*(one.look(entry.uuid, db) for one in ours))
    await db.close()

    await orders.work()
    rows = await orders.platform.all(TRASH_EVENTS, target=made.id)
    told = [json.loads(row.body) for row in rows]
    assert [(one["level"], one["used"], one["limit"]) for one in told] == [
        (50, 100 * GIB, 200 * GIB), (50, 600 * GIB, 200 * GIB)
    ]  # fmt: skip
    mails_ = (await kept(orders.platform))["owner@example.com"]
    assert [one.subject for one in mails_] == [
        "Registry team: its trash is as large as 50 % of its storage"
    ] * 2


async def test_a_larger_plan_calms_and_is_told_of_anew(orders: Orders) -> None:
    made = await orders.made("team", SMALL)
    await stored(orders, made, 190 * GIB)
    plans = orders.desk.catalogue.plans
    await orders.desk.change_plan(orders.project, made.id, plans[1].id, SYSTEM)
    await orders.work()
    entry = await orders.entry(made)
    db = await orders.world.parts.open_database(entry)
    await accounts(orders).look(entry.uuid, db)
    await db.close()
    await stored(orders, made, 590 * GIB)

    assert await told(orders, made) == [90, 90]


async def add(db: Database, address: str, event: str = "event", language: str = "fr") -> None:
    letter = letters.storage_alert(letters.StorageAlert("équipe", "http://here", 80, 85, 100), language)

    async def work(tx: Tx) -> None:
        await mails.enqueue(tx, event, address, language, letter)
        await mails.enqueue(tx, event, address, language, Letter("again", "", ""))

    await db.change(work)


async def test_a_mail_arrives_once_as_text_and_page(orders: Orders) -> None:
    db = orders.platform
    await add(db, "a@example.com")
    with mail_server() as box:
        server = MailServer.of(f"smtp://127.0.0.1:{box.port}", FROM)
        counts = await asyncio.gather(*(mails.send_due(db, server) for _ in range(3)))
        again = await mails.send_due(db, server)

    (one,) = box.taken
    text, page = one.iter_parts()
    assert (sum(counts), again) == (1, 0)
    assert (one["to"], one["from"]) == ("a@example.com", FROM)
    assert one["subject"] == "Registre équipe : 80 % de son stockage est utilisé"
    assert [part.get_content_type() for part in (text, page)] == ["text/plain", "text/html"]
    assert "100 %" in text.get_content()
    assert "Le registre équipe" in page.get_content()
    assert [(mail.state, mail.tries, mail.error) for mail in await mails.listed(db)] == [(SENT, 1, "")]


async def test_a_mail_is_tried_again_later_and_given_up_with_the_reason(orders: Orders) -> None:
    db = orders.platform
    for address in ("later@example.com", "never@example.com", "gone@example.com"):
        await add(db, address)
    with mail_server() as box:
        server = MailServer.of(f"smtp://127.0.0.1:{box.port}", FROM)
        box.refused = {
            "later@example.com": "451 not now",
            "gone@example.com": "550 nobody of that name",
            "never@example.com": "451 not now",
        }
        assert await mails.send_due(db, server) == 0
        assert await mails.send_due(db, server) == 0
        first = await kept(db)
        del box.refused["later@example.com"]
        for _ in range(TRIES):
            await db.write(DUE)
            await mails.send_due(db, server)
        last = await kept(db)
        box.refused.clear()
        (gone,) = last["gone@example.com"]
        assert await mails.retry(db, gone.id)
        assert await mails.send_due(db, server) == 1
        assert not await mails.retry(db, gone.id)

    states = {address: (one.state, one.tries, one.error) for address, (one,) in first.items()}
    assert states == {
        "later@example.com": (WAITING, 1, "451 not now"),
        "never@example.com": (WAITING, 1, "451 not now"),
        "gone@example.com": (DEAD, 1, "550 nobody of that name"),
    }
    assert {address: (one.state, one.tries) for address, (one,) in last.items()} == {
        "later@example.com": (SENT, 2),
        "never@example.com": (DEAD, TRIES),
        "gone@example.com": (DEAD, 1),
    }
    assert sorted(one["to"] for one in box.taken) == ["gone@example.com", "later@example.com"]


async def test_mail_waits_for_a_server_that_is_away_and_where_there_is_none(orders: Orders) -> None:
    db = orders.platform
    await add(db, "a@example.com")
    with mail_server() as box:
        gone = MailServer.of(f"smtp://127.0.0.1:{box.port}", FROM)
    await mails.send_due(db, gone)
    await accounts(orders).send()

    (one,) = await mails.listed(db)
    assert (one.state, one.tries) == (WAITING, 1)
    assert "cannot be reached" in one.error


@pytest.mark.parametrize("orders", ["sqlite"], indirect=True)
async def test_an_operator_sees_what_waits_and_has_it_tried_anew(orders: Orders, tmp_path: Path) -> None:
    db = orders.platform
    await add(db, "gone@example.com")
    with mail_server() as box:
        box.refused["gone@example.com"] = "550 nobody of that name"
        await mails.send_due(db, MailServer.of(f"smtp://127.0.0.1:{box.port}", FROM))
    (one,) = await mails.listed(db)

    def run(*arguments: str) -> tuple[int, str]:
        ran = moorage("mail", *arguments, data=tmp_path, MASTER_KEY=MASTER_KEY)
        return ran.returncode, ran.stdout + ran.stderr

    listed = await asyncio.to_thread(run, "list")
    shown = await asyncio.to_thread(run, "show", one.id)
    tried = await asyncio.to_thread(run, "retry", one.id)
    unknown = await asyncio.to_thread(run, "retry", "nothing")

    assert listed == (
        0,
        f"{one.id}\tdead\t1\tgone@example.com\t{one.subject}\t550 nobody of that name\n",
    )
    assert shown == (0, f"To: gone@example.com\nSubject: {one.subject}\n\n{one.text}")
    assert tried == (0, "")
    assert unknown[0] == 1
    assert "no mail nothing waits" in unknown[1]
    assert [each.state for each in await mails.listed(db)] == [WAITING]


async def test_a_password_is_sent_only_within_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both, alone = certified(tmp_path)
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(both)
    note = Mail("id", "a@example.com", "subject", "text", "<p>page", "en")

    def server(port: int, scheme: str = "smtp", known: str = "secret") -> MailServer:
        return MailServer.of(f"{scheme}://me:{known}@127.0.0.1:{port}", FROM)

    async def refused(of: MailServer) -> Any:
        with pytest.raises(NotSent) as caught:
            await of.send(note)
        return caught.value

    with mail_server(asks=True) as plain:
        bare = await refused(server(plain.port))
        none = await refused(server(plain.port, "smtp+starttls"))
        assert plain.signed_in == []
    with mail_server(ours, asks=True) as box:
        strange = await refused(server(box.port))
        assert box.signed_in == []
        monkeypatch.setenv("SSL_CERT_FILE", str(alone))
        wrong = await refused(server(box.port, known="other"))
        await server(box.port).send(note)
        await dataclasses.replace(server(box.port), scheme="smtp+starttls").send(note)

    assert "no TLS" in str(bare)
    assert "STARTTLS" in str(none)
    assert "certificate" in str(strange)
    assert "refused the password" in str(wrong)
    assert not any(one.for_good for one in (bare, none, strange, wrong))
    assert len(box.taken) == 2
