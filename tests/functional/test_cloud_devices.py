"""Guesses at a user's password: slowed wherever they come from, told to the user, and no hindrance at a browser of theirs."""

from __future__ import annotations

import asyncio

from sqlalchemy import bindparam, select

from moorage.cloud import devices
from moorage.db import Statement
from moorage.db.platform import cloud_outbox, mail
from moorage.db.platform_sign_in import known_device
from moorage.identity import passwords
from tests.functional.session_world import Browser, Console
from tests.worlds import PASSWORD, HashedOnce

TOLD = Statement(
    select(cloud_outbox.c.kind, cloud_outbox.c.uuid)
    .where(cloud_outbox.c.target == bindparam("target"))
    .order_by(cloud_outbox.c.id)
)
MAILS = Statement(
    select(mail.c.address, mail.c.subject, mail.c.text).where(mail.c.event == bindparam("event"))
)
KEPT = Statement(select(known_device.c.hash).where(known_device.c.login_id == bindparam("login")))
UNTOLD = Statement(
    select(known_device.c.hash).where(
        known_device.c.login_id == bindparam("login"), known_device.c.told_at.is_(None)
    )
)
WRONG = "Wrong-pass-1"


async def told(console: Console) -> list[tuple[str, str, str]]:
    """Have a worker tell, and give what alice was told: kind, address and subject."""
    db = console.platform.db
    await devices.tell(db, "en")
    # Others' rows may stand before hers, and a worker takes some at a time.
    while await db.all(UNTOLD, login=console.alice.login):
        await devices.tell(db, "en")
    return [
        (row.kind, one.address, one.subject)
        for row in await db.all(TOLD, target=console.alice.login)
        for one in await db.all(MAILS, event=row.uuid)
    ]


async def guess(console: Console, count: int, *, user: str = "") -> None:
    """Guess from as many addresses as it takes for none to be put off."""
    for place in range(count):
        browser = await console.browser(address=f"192.0.2.{place // 3}")
        answer = await browser.sign_in(WRONG, user=user or console.user)
        assert answer.status_code == 401


async def test_a_user_is_told_of_a_new_browser_and_not_of_one_that_is_known(console: Console):
    first = await console.signed_in()
    await first.sign_in()
    before = await told(console)
    second = await console.browser(**{"user-agent": "Other/1.0"}, address="192.0.2.7")
    await second.sign_in()
    after = await told(console)
    await second.sign_in()

    assert before == []
    assert after == [
        ("user.new-browser", "alice@example.com", f"{console.user} has signed in at a new browser")
    ]
    assert await told(console) == after
    body = await console.platform.db.all(TOLD, target=console.alice.login)
    text = (await console.platform.db.all(MAILS, event=body[-1].uuid))[0].text
    assert "Other/1.0, from 192.0.2.7" in text
    kept = [bytes(row.hash) for row in await console.platform.db.all(KEPT, login=console.alice.login)]
    assert len(kept) == 2
    assert all(one.value and one.value.encode() not in kept for one in second.client.cookies.jar)


async def test_a_user_is_told_once_a_day_that_somebody_guesses(console: Console):
    await guess(console, 9)
    before = await told(console)
    await guess(console, 3)
    after = await told(console)

    assert before == []
    assert after == [
        ("user.guessed-at", "alice@example.com", f"Somebody is guessing the password of {console.user}")
    ]
    console.go_on(2 * 3600)
    await console.signed_in()
    assert await told(console) == after


async def stranger(console: Console) -> Browser:
    return await console.browser(address="198.51.100.1")


async def test_guesses_from_everywhere_wait_for_each_other_and_the_user_at_a_known_browser_does_not(
    console: Console,
):
    """The turns are counted, not timed: who must wait stands behind one that is held up here."""
    mine = await console.signed_in()
    held, pauses = asyncio.Event(), []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await held.wait()

    slow = HashedOnce(pause=pause)
    console.use(slow)
    await guess(console, passwords._GUESSES)
    guesses = [asyncio.create_task((await stranger(console)).sign_in(f"Guess-pass-{n}")) for n in range(3)]
    while not pauses:
        await asyncio.sleep(0)
    known = await mine.sign_in()
    waiting = [task.done() for task in guesses]
    late = asyncio.create_task((await stranger(console)).sign_in(PASSWORD))
    held.set()

    assert (known.status_code, waiting) == (303, [False] * 3)
    assert pauses[0] == passwords._TURN
    assert [(await task).status_code for task in guesses] == [401] * 3
    # A right password passes in the end, wherever it comes from.
    assert (await late).status_code == 303
    slow.close()


async def test_a_browser_of_another_user_is_none_of_ones_own(console: Console):
    await console.platform.person("bob")
    other = await console.browser()
    other.user = f"{console.platform.people['bob'].account_name}/bob"
    await other.sign_in()
    token = next(one.value or "" for one in other.client.cookies.jar if one.name == "moorage-device")

    assert await devices.known(console.platform.db, console.platform.people["bob"].login, token)
    assert not await devices.known(console.platform.db, console.alice.login, token)
    assert not await devices.known(console.platform.db, "", token)


async def test_a_browser_is_a_stranger_after_another_password_and_after_half_a_year(console: Console):
    browser = await console.signed_in()
    token = next(one.value or "" for one in browser.client.cookies.jar if one.name == "moorage-device")
    db, alice = console.platform.db, console.alice.login
    before = await devices.known(db, alice, token)
    console.go_on(181 * 86_400)
    late = await devices.known(db, alice, token)
    await browser.sign_in()
    again = next(one.value or "" for one in browser.client.cookies.jar if one.name == "moorage-device")
    body = {"currentPassword": PASSWORD, "password": "Another-pass-1"}
    assert (await browser.change("PUT", "/me/password", body)).status_code == 200

    assert (before, late, token != again) == (True, False, True)
    assert not await devices.known(db, alice, again)
