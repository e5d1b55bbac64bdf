"""A second factor: codes of RFC 6238 that are good once, recovery codes, and guesses that are slowed without locking anyone out."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from sqlalchemy import bindparam, select

from moorage.cloud import factors
from moorage.db import Statement
from moorage.db.platform import cloud_event, cloud_outbox
from moorage.db.platform_sign_in import recovery_code, second_factor
from moorage.identity import keys
from moorage.identity.keys import MasterKey
from tests.functional.cloud_world import MASTER
from tests.functional.session_world import Browser, Console, totp
from tests.functional.test_cloud_sessions import asked_for, decided
from tests.worlds import MASTER_KEY, PASSWORD

KEPT = Statement(select(second_factor.c.secret).where(second_factor.c.login_id == bindparam("login")))
CODES = Statement(select(recovery_code.c.hash).where(recovery_code.c.login_id == bindparam("login")))
DENIED = Statement(
    select(cloud_event.c.kind, cloud_event.c.rule).where(cloud_event.c.target == bindparam("target"))
)
KINDS = Statement(
    select(cloud_outbox.c.kind)
    .where(cloud_outbox.c.target == bindparam("target"))
    .order_by(cloud_outbox.c.id)
)
FACTOR = "/me/secondFactor"
NEWER = "6b" * 32


async def enrolled(console: Console) -> tuple[Browser, str, list[str]]:
    """Set an authenticator up; give the browser, its key and the recovery codes."""
    browser = await console.signed_in()
    begun = (await browser.change("POST", FACTOR, {"currentPassword": PASSWORD})).json()
    confirmed = await browser.change("POST", f"{FACTOR}/confirm", {"code": totp(begun["key"], console.now)})
    assert confirmed.status_code == 200, confirmed.text
    console.go_on(60)
    return browser, begun["key"], confirmed.json()["recoveryCodes"]


async def enters(console: Console, code: str) -> int:
    """Sign in with a code, and give the status."""
    return (await (await console.browser()).sign_in(code=code)).status_code


async def test_the_codes_are_those_of_the_standard():
    """RFC 6238, appendix B, cut to six digits."""
    key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

    assert [totp(key, at) for at in (59, 1111111109, 2000000000)] == ["287082", "081804", "279037"]


async def test_a_code_is_asked_for_from_the_first_right_one_on(console: Console):
    browser = await console.signed_in()
    begun = (await browser.change("POST", FACTOR, {"currentPassword": PASSWORD})).json()
    uri = urlsplit(begun["uri"])
    before = await enters(console, "")
    wrong = await browser.change("POST", f"{FACTOR}/confirm", {"code": "000000"})
    right = await browser.change("POST", f"{FACTOR}/confirm", {"code": totp(begun["key"], console.now)})
    shown = (await browser.client.get(f"/1.0{FACTOR}")).json()
    page = await (await console.browser()).sign_in()
    console.go_on(60)

    assert (uri.scheme, parse_qs(uri.query)["secret"]) == ("otpauth", [begun["key"]])
    assert (before, wrong.status_code, right.status_code) == (303, 401, 200)
    assert len(set(right.json()["recoveryCodes"])) == 10
    assert (shown["enabled"], shown["recoveryCodesLeft"]) == (True, 10)
    assert (page.status_code, "recovery code, is needed too" in page.text) == (401, True)
    assert await enters(console, totp(begun["key"], console.now)) == 303
    assert (await browser.change("POST", FACTOR, {"currentPassword": PASSWORD})).status_code == 409
    kinds = [row.kind for row in await console.platform.db.all(KINDS, target=console.alice.login)]
    assert kinds == ["user.second-factor-added"]


async def test_a_code_is_good_once_and_only_about_its_time(console: Console):
    _, key, _ = await enrolled(console)
    early, now = totp(key, console.now + 30), totp(key, console.now)

    assert await enters(console, totp(key, console.now - 90)) == 401
    assert await enters(console, totp(key, console.now + 90)) == 401
    assert await enters(console, now) == 303
    assert await enters(console, now) == 401
    assert await enters(console, f"{early[:3]} {early[3:]}") == 303
    assert await enters(console, early) == 401
    console.go_on(90)
    assert await enters(console, totp(key, console.now - 30)) == 303


async def test_a_recovery_code_stands_in_once(console: Console):
    browser, _, codes = await enrolled(console)

    assert await enters(console, codes[0]) == 303
    assert await enters(console, codes[0]) == 401
    assert await enters(console, codes[1].upper().replace("-", " ")) == 303
    assert await enters(console, "aaaa-aaaa-aaaa-aaaa") == 401
    assert (await browser.client.get(f"/1.0{FACTOR}")).json()["recoveryCodesLeft"] == 8
    kinds = [row.kind for row in await console.platform.db.all(KINDS, target=console.alice.login)]
    assert kinds == ["user.second-factor-added", *["user.recovery-code-used"] * 2]


async def test_guesses_are_slowed_and_told_and_the_user_is_not_locked_out(console: Console):
    _, key, codes = await enrolled(console)
    guesses = [await enters(console, "000000") for _ in range(6)]
    slowed = await (await console.browser()).sign_in(code=totp(key, console.now))
    by_recovery = await enters(console, codes[0])
    console.go_on(60)
    later = await enters(console, totp(key, console.now))

    assert guesses == [401] * 5 + [429]
    assert slowed.status_code == 429
    assert 0 < int(slowed.headers["retry-after"]) <= 30
    assert (by_recovery, later) == (303, 303)
    denied = [row.rule for row in await console.platform.db.all(DENIED, target=console.alice.login)]
    assert denied == ["wrong code"] * 5


async def test_nothing_of_a_second_factor_is_told_to_who_does_not_know_the_password(console: Console):
    _, key, codes = await enrolled(console)
    plain = await (await console.browser()).sign_in("Wrong-pass-1", user="first/nobody")
    for code in ("", totp(key, console.now), codes[0]):
        answer = await (await console.browser()).sign_in("Wrong-pass-1", code=code)
        assert answer.status_code == 401
        assert answer.text.replace(console.user, "") == plain.text.replace("first/nobody", "")
    assert await enters(console, codes[0]) == 303


async def test_the_page_that_allows_applications_asks_for_the_code_too(console: Console):
    _, key, _ = await enrolled(console)
    application, token = await asked_for(console)
    nobody = await console.browser()
    given = {"user": console.user, "password": PASSWORD}

    assert (await decided(nobody, token, **given)).status_code == 401
    assert (await application.get("/1.0/auth/details")).status_code == 403
    assert (await decided(nobody, token, **given, code=totp(key, console.now))).status_code == 200


async def test_a_second_factor_is_removed_by_who_shows_both_or_by_an_administrator(console: Console):
    browser, key, _ = await enrolled(console)
    code = totp(key, console.now)
    wrong = [
        await browser.change("POST", f"{FACTOR}/remove", {"currentPassword": "x", "code": code}),
        await browser.change("POST", f"{FACTOR}/remove", {"currentPassword": PASSWORD, "code": "000000"}),
        await browser.change("POST", f"{FACTOR}/remove", {"currentPassword": PASSWORD, "code": ""}),
    ]
    right = await browser.change("POST", f"{FACTOR}/remove", {"currentPassword": PASSWORD, "code": code})

    assert [one.status_code for one in wrong] == [403] * 3
    assert (right.status_code, await enters(console, "")) == (200, 303)
    assert await console.platform.db.all(CODES, login=console.alice.login) == []
    await enrolled(console)
    other = await console.platform.person("grace", console.alice.account_name)
    grace = await console.browser()
    grace.user = f"{other.account_name}/grace"
    await grace.sign_in()
    assert (await grace.change("DELETE", "/me/identity/user/alice/secondFactor")).status_code == 200
    assert await enters(console, "") == 303
    assert (await grace.change("DELETE", "/me/identity/user/alice/secondFactor")).status_code == 404


async def test_the_key_is_kept_wrapped_and_codes_as_hashes_and_both_outlive_another_master_key(
    console: Console,
):
    _, key, codes = await enrolled(console)
    db = console.platform.db
    before = bytes((await db.one(KEPT, login=console.alice.login)).secret)
    newer = MasterKey.parse(f"{NEWER} {MASTER_KEY}")
    moved = await keys.rewrap(db, factors.PLACE, newer, factors.FACTORS)

    assert key.encode() not in before
    assert codes[0].encode() not in {
        bytes(row.hash) for row in await db.all(CODES, login=console.alice.login)
    }
    assert moved >= 1
    assert bytes((await db.one(KEPT, login=console.alice.login)).secret) != before
    back = MasterKey.parse(f"{MASTER_KEY} {NEWER}")
    await keys.rewrap(db, factors.PLACE, back, factors.FACTORS)
    assert MASTER.name == back.name
    assert await enters(console, totp(key, console.now)) == 303


async def test_a_bad_field_is_named_with_its_rule(console: Console):
    browser = await console.signed_in()
    for path, body, field in (
        (FACTOR, {}, "currentPassword"), (FACTOR, {"currentPassword": 1}, "currentPassword"), (FACTOR, {"a": 1}, "a"),
        (f"{FACTOR}/confirm", {}, "code"), (f"{FACTOR}/confirm", {"code": 1}, "code"),
        (f"{FACTOR}/remove", {"currentPassword": PASSWORD}, "code"),
    ):  # fmt: skip
        answer = await browser.change("POST", path, body)
        assert (answer.status_code, answer.json()["message"].partition(":")[0]) == (400, field), answer.text
    assert (await browser.change("POST", f"{FACTOR}/confirm", {"code": "000000"})).status_code == 404
