"""Sessions at a browser: begun by who shows everything, good at one address, and ended by time, by hand or by a password."""

from __future__ import annotations

import httpx
from sqlalchemy import bindparam, select, update

from moorage.db import Statement
from moorage.db.platform import cloud_outbox, login
from moorage.db.platform_sign_in import browser_session
from tests.functional.cloud_world import Platform
from tests.functional.session_world import Browser, Console, Forms
from tests.worlds import PASSWORD

HOUR = 3600
DISABLE = Statement(update(login).where(login.c.id == bindparam("which")).values(disabled=1))
ROWS = Statement(select(browser_session).where(browser_session.c.login_id == bindparam("login")))
KINDS = Statement(
    select(cloud_outbox.c.kind, cloud_outbox.c.actor)
    .where(cloud_outbox.c.account_id == bindparam("account"))
    .order_by(cloud_outbox.c.id)
)


async def test_who_signs_in_is_led_on_and_known_by_a_cookie_that_no_script_sees(console: Console):
    browser = await console.browser()
    answer = await browser.sign_in()
    page = await browser.client.get(answer.headers["location"])
    details = (await browser.client.get("/1.0/auth/details")).json()

    assert (answer.status_code, answer.headers["location"]) == (303, "/auth/sessions")
    cookie = answer.headers.get_list("set-cookie")[0]
    assert cookie.startswith("moorage=")
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}
    assert "Domain" not in cookie
    assert page.status_code == 200
    assert "(this one)" in page.text
    assert details["user"] == "alice"
    assert details["identities"] == [f"urn:v1:moorage:identity:user:{console.user}"]
    kinds = [
        (row.kind, row.actor) for row in await console.platform.db.all(KINDS, account=console.alice.account)
    ]
    assert kinds == [("session.begun", console.user)]


async def test_over_tls_no_other_host_can_set_the_cookie(console: Console):
    browser = await console.browser("https://console.example")
    cookie = (await browser.sign_in()).headers.get_list("set-cookie")[0]

    assert cookie.startswith("__Host-moorage=")
    assert {"Secure", "HttpOnly", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert await browser.asks() == 200


async def test_a_session_is_none_at_another_port_or_host_or_without_tls(console: Console):
    browser = await console.signed_in()
    for address in (
        "http://localhost:8081",
        "http://localhost:5000",
        "http://other.localhost:8080",
        "https://localhost:8080",
    ):
        other = await console.browser(address)
        for name in ("moorage", "__Host-moorage"):
            other.client.cookies.set(name, browser.cookie)
        assert await other.asks() == 401, address
        listed = await other.client.get("/auth/sessions")
        assert (listed.status_code, listed.headers["location"]) == (303, "/auth/login?next=/auth/sessions")
    assert await browser.asks() == 200


async def test_a_session_ends_when_it_is_not_used_and_when_it_is_old(console: Console):
    idle, used = await console.signed_in(), await console.signed_in()
    for _ in range(3):
        console.go_on(1000)
        assert await used.asks() == 200
    assert (await idle.asks(), await used.asks()) == (401, 200)
    answers = []
    for _ in range(45):
        console.go_on(1000)
        answers.append(await used.asks())
    # Twelve hours, whatever it was used for.
    assert answers == [200] * 40 + [401] * 5


async def test_a_session_ends_by_hand_here_and_there(console: Console):
    here, there, third = [await console.signed_in() for _ in range(3)]
    page = Forms((await here.client.get("/auth/sessions")).text)
    listed = (await here.client.get("/1.0/me/session")).json()
    ended = next(one["id"] for one in listed if not one["current"])

    assert len(listed) == 3
    assert sum(one["current"] for one in listed) == 1
    button = next(one for one in page.buttons if one.get("end") == ended)
    assert (await here.client.post("/auth/sessions", data=button)).status_code == 303
    assert sorted([await there.asks(), await third.asks()]) == [200, 401]
    assert (await here.change("DELETE", "/me/session")).status_code == 200
    assert [await one.asks() for one in (here, there, third)] == [200, 401, 401]
    gone = await here.client.post("/auth/sign-out", data=button)
    assert "max-age=0" in gone.headers["set-cookie"].lower()
    # The browser has let the cookie go, so the call is one that nobody signed.
    assert await here.asks() == 403


async def test_a_session_of_another_user_cannot_be_ended(console: Console):
    await console.platform.person("bob")
    here, other = await console.signed_in(), await console.browser()
    other.user = f"{console.platform.people['bob'].account_name}/bob"
    assert (await other.sign_in()).status_code == 303
    mine = (await here.client.get("/1.0/me/session")).json()[0]["id"]

    assert (await other.change("DELETE", f"/me/session/{mine}")).status_code == 404
    form = Forms((await other.client.get("/auth/sessions")).text).buttons[0] | {"end": mine}
    assert (await other.client.post("/auth/sessions", data=form)).status_code == 404
    assert await here.asks() == 200


async def test_a_session_ends_with_its_users_password_and_standing(console: Console):
    first, second = await console.signed_in(), await console.signed_in()
    body = {"currentPassword": PASSWORD, "password": "Another-pass-1"}
    assert (await first.change("PUT", "/me/password", body)).status_code == 200
    assert (await first.asks(), await second.asks()) == (401, 401)
    console.go_on(1)
    assert (await first.sign_in("Another-pass-1")).status_code == 303
    assert await first.asks() == 200
    await console.platform.db.write(DISABLE, which=console.alice.login)
    assert await first.asks() == 401


async def test_the_cookie_is_another_after_each_proof_and_never_one_that_was_brought(console: Console):
    browser = await console.browser()
    browser.client.cookies.set("moorage", "fixed", domain="localhost.local", path="/")
    await browser.sign_in()
    first = browser.cookie
    await browser.sign_in()
    second = browser.cookie

    assert len({"fixed", first, second}) == 3
    stolen = await console.browser()
    for old in ("fixed", first):
        stolen.client.cookies.clear()
        stolen.client.cookies.set("moorage", old)
        assert await stolen.asks() == 401
    stolen.client.cookies.set("moorage", second)
    assert await stolen.asks() == 200
    # Proved once more, it is the same session with another cookie.
    assert len((await stolen.client.get("/1.0/me/session")).json()) == 1


async def test_of_two_cookies_of_one_name_neither_is_believed(console: Console):
    browser = await console.signed_in()
    double = f"moorage=put-there-by-another-host; moorage={browser.cookie}"
    bare = await console.platform.client(console.app)

    assert (await bare.get("/1.0/auth/details", headers={"cookie": double})).status_code == 403
    assert await browser.asks() == 200


CROSS = [
    {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:5000"},
    {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
]  # fmt: skip


async def test_a_page_of_another_origin_can_do_nothing_in_the_users_name(console: Console):
    browser = await console.signed_in()
    form = Forms((await browser.client.get("/auth/sessions")).text).buttons[0]
    guard = await browser.guard()
    for headers in CROSS:
        for answer in (
            await browser.client.get("/1.0/me/session", headers=headers),
            await browser.client.delete("/1.0/me/session", headers=headers | guard),
            await browser.client.post("/auth/sessions", data=form, headers=headers),
            await browser.client.post("/auth/sign-out", data=form, headers=headers),
            await browser.client.post(
                "/auth/login", data={"user": console.user, "password": PASSWORD}, headers=headers
            ),
        ):
            assert answer.status_code == 403, headers
    fine = {"origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}
    assert (await browser.client.delete("/1.0/me/session", headers=fine | guard)).status_code == 200


async def test_a_change_takes_what_only_the_sessions_pages_know(console: Console):
    browser, other = await console.signed_in(), await console.signed_in()
    form = Forms((await browser.client.get("/auth/sessions")).text).buttons[0]
    others = await other.guard()
    for guard in ({}, {"x-moorage-guard": ""}, {"x-moorage-guard": "0" * 64}, others):
        refused = await browser.client.delete("/1.0/me/session", headers=guard)
        assert (refused.status_code, refused.json()["errorCode"]) == (403, "FORBIDDEN")
    for wrong in ("", "0" * 64, "\u00e9", others["x-moorage-guard"]):
        refused = await browser.client.post("/auth/sign-out", data=form | {"guard": wrong})
        assert refused.status_code == 400
    assert (await browser.asks(), await other.asks()) == (200, 200)


async def test_what_changes_rights_takes_the_password_once_more_after_a_while(console: Console):
    browser = await console.signed_in()
    client = {"name": "ci", "flow": "CLIENT_CREDENTIALS"}
    fresh = await browser.change("POST", "/me/api/oauth2/client", client)
    console.go_on(700)
    late = await browser.change("POST", "/me/api/oauth2/client", client)
    listed = await browser.client.get("/1.0/me/api/oauth2/client")
    await browser.sign_in()
    again = await browser.change("POST", "/me/api/oauth2/client", client)

    assert [one.status_code for one in (fresh, late, listed, again)] == [200, 403, 200, 200]
    assert "password once more" in late.json()["message"]


async def test_nobody_is_led_to_another_place_after_signing_in(console: Console):
    for next_, leads in (
        ("/auth/sessions", "/auth/sessions"),
        ("/auth/?credentialToken=" + "0" * 36, "/auth/?credentialToken=" + "0" * 36),
        ("https://evil.example/", "/auth/sessions"),
        ("//evil.example/", "/auth/sessions"),
        ("/auth/sessions\r\nset-cookie: a=b", "/auth/sessions"),
        ("/auth/..//evil.example", "/auth/sessions"),
    ):
        browser = await console.browser()
        assert (await browser.sign_in(next=next_)).headers["location"] == leads


async def test_an_unknown_user_and_a_wrong_password_look_alike(console: Console):
    unknown, wrong = await console.browser(), await console.browser()
    pages = [
        await unknown.sign_in(user="first/nobody"),
        await wrong.sign_in("Wrong-pass-1", user="first/nobody"),
        await wrong.sign_in("Wrong-pass-1", user="a\0b"),
    ]
    known = await wrong.sign_in("Wrong-pass-1")

    assert {one.status_code for one in [*pages, known]} == {401}
    told = {one.text.replace("a\0b", "").replace("first/nobody", "") for one in pages}
    told.add(known.text.replace(console.user, ""))
    assert len(told) == 1
    assert not list(unknown.client.cookies.jar)


async def test_neither_cookie_nor_guard_is_kept(console: Console):
    browser = await console.signed_in()
    kept = str([tuple(row) for row in await console.platform.db.all(ROWS, login=console.alice.login)])

    assert browser.cookie not in kept
    assert (await browser.guard())["x-moorage-guard"] not in kept


async def asked_for(console: Console) -> tuple[httpx.AsyncClient, str]:
    """Have an application ask for a credential; give it, and the token of the page where a user decides."""
    platform: Platform = console.platform
    anybody = await platform.client(console.app)
    anybody.headers["X-Ovh-Application"] = console.alice.application.key
    asked = {"accessRules": [{"method": "GET", "path": "/*"}]}
    given = (await anybody.post("/1.0/auth/credential", json=asked)).json()
    application = await platform.client(console.app, platform.signer(console.alice, given["consumerKey"]))
    return application, given["validationUrl"].rpartition("=")[2]


async def decided(browser: Browser, token: str, **changed: str) -> httpx.Response:
    """Open the page and allow what is asked for, without a word but what the page has."""
    page = await browser.client.get("/auth/", params={"credentialToken": token})
    form = Forms(page.text).forms[0]
    return await browser.client.post("/auth/", data=form | {"lifetime": "day", "decision": "allow"} | changed)


async def test_who_has_signed_in_lately_allows_an_application_without_a_password(console: Console):
    browser = await console.signed_in()
    application, token = await asked_for(console)
    page = await browser.client.get("/auth/", params={"credentialToken": token})
    forged = await decided(browser, token, guard="0" * 64)
    before = (await application.get("/1.0/auth/details")).status_code
    done = await decided(browser, token)
    console.go_on(1)

    assert f"signed in as <strong>{console.user}" in page.text
    assert 'name="password"' not in page.text
    assert (forged.status_code, before) == (400, 403)
    assert done.status_code == 200
    assert (await application.get("/1.0/auth/details")).json()["user"] == "alice"


async def test_who_signed_in_long_ago_or_nowhere_gives_the_password_to_allow_one(console: Console):
    browser, nobody = await console.signed_in(), await console.browser()
    application, token = await asked_for(console)
    console.go_on(700)
    assert 'name="password"' in (await browser.client.get("/auth/", params={"credentialToken": token})).text
    for who in (browser, nobody):
        assert (await decided(who, token)).status_code == 401
    assert (await application.get("/1.0/auth/details")).status_code == 403
    assert (await decided(nobody, token, user=console.user, password=PASSWORD)).status_code == 200


async def test_a_form_that_is_none_is_refused_in_a_page(console: Console):
    browser = await console.browser()
    large = await browser.client.post("/auth/login", data={"user": "x" * 20_000})
    odd = await browser.client.post("/auth/login", content=b"\xff")

    assert (large.status_code, odd.status_code) == (400, 400)
    assert "at most 16384 bytes" in large.text
