"""The last who administers an account has lost authenticator and recovery codes: the provider helps, and not in silence."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import bindparam, select

from moorage import parts
from moorage.cloud import accounts, factors, lost_factors
from moorage.cloud.events import Origin
from moorage.cloud.factors import FactorUnknown
from moorage.cloud.lost_factors import ReasonInvalid
from moorage.cloud.users import LoginUnknown
from moorage.db import Statement
from moorage.db.platform import cloud_outbox, mail
from tests.functional.session_world import Console, totp
from tests.functional.test_cloud_factors import enrolled, enters
from tests.servers.house import moorage

OPERATOR = Origin("operator", "provider")
ABOUT = Statement(
    select(cloud_outbox)
    .where(cloud_outbox.c.target == bindparam("target"), cloud_outbox.c.party == "provider")
    .order_by(cloud_outbox.c.id)
)
MAILS = Statement(
    select(mail).where(mail.c.event == bindparam("event"), mail.c.id != "").order_by(mail.c.address)
)


async def removed(console: Console, user: str, reason: str = "ticket 7") -> lost_factors.Helped:
    """Have the provider remove a user's second factor."""
    return await console.platform.change(lambda tx: lost_factors.remove(tx, user, reason, "en", OPERATOR))


async def test_the_user_signs_in_without_a_code_and_all_who_administer_the_account_are_told(console: Console):
    await enrolled(console)
    await console.platform.person("bob", console.alice.account_name)
    assert await enters(console, "") == 401

    done = await removed(console, console.user)

    assert (done.user, done.told) == (console.user, 2)
    assert await enters(console, "") == 303
    first, second = await console.platform.db.all(ABOUT, target=console.alice.login)
    assert (first.kind, second.kind) == ("user.second-factor-removed", "user.second-factor-lost")
    assert (json.loads(second.body), second.account_id) == ({"reason": "ticket 7"}, console.alice.account)
    written = await console.platform.db.all(MAILS, event=second.uuid)
    assert [one.address for one in written] == ["alice@example.com", "bob@example.com"]
    assert all(console.user in one.text and "ticket 7" in one.text for one in written)


async def test_what_cannot_be_done_is_refused_and_leaves_all_as_it_was(console: Console):
    _, key, _ = await enrolled(console)

    with pytest.raises(LoginUnknown, match="write account/user"):
        await removed(console, "nobody/nobody")
    for reason in ("", "  ", "a\nb", "a" * 256):
        with pytest.raises(ReasonInvalid):
            await removed(console, console.user, reason)
    assert await enters(console, "") == 401
    assert await enters(console, totp(key, console.now)) == 303
    await removed(console, console.user)
    with pytest.raises(FactorUnknown):
        await removed(console, console.user)


def test_the_command_says_what_it_has_done_and_refuses_where_there_is_none(tmp_path: Path):
    assert moorage("prepare", data=tmp_path).returncode == 0
    user = asyncio.run(_enrolled(tmp_path))

    ask = ("user", "remove-second-factor", user, "--reason", "ticket 7")
    done, again = moorage(*ask, data=tmp_path), moorage(*ask, data=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{user} is asked for no code any more.")
    assert (again.returncode, again.stderr) == (1, "there is no second factor of yours\n")


async def _enrolled(data: Path) -> str:
    """Give the first account's owner a second factor, and the name of the owner."""
    async with parts.opened(parts.Place(data, "", (data / "blobs").as_uri(), "")) as opened:
        platform, first = opened.platform, await accounts.first(opened.platform)
        assert first is not None
        user, key = first.login_id, ""
        made = await platform.change(lambda tx: factors.begin(tx, opened.master, user, "owner"))
        key = totp(made.key, platform.now() // 1_000_000)
        await platform.change(
            lambda tx: factors.confirm(tx, opened.master, user, key, first.account_id, OPERATOR)
        )
        account = await accounts.get(platform, first.account_id)
        return f"{account.name}/admin"
