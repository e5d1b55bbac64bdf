"""People sign in to the console by an account's OpenID provider: a real one, from the first page to the session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import bindparam, select

from moorage.cloud import oidc_providers
from moorage.cloud.events import SYSTEM
from moorage.cloud.oidc_providers import Provider, Terms
from moorage.db import Statement
from moorage.db.platform import cloud_event, cloud_outbox, login
from moorage.db.platform_sign_in import oidc_provider as kept
from tests.functional.cloud_world import BASE, MASTER
from tests.functional.session_world import Browser, Console, Forms, totp
from tests.servers import oidc_provider as servers
from tests.servers.oidc_provider import CLIENT, SECRET, OidcProvider
from tests.servers.ports import reserved
from tests.worlds import PASSWORD

ACCOUNT = "/me/identity/oidc"
KINDS = Statement(
    select(cloud_outbox.c.kind, cloud_outbox.c.actor)
    .where(cloud_outbox.c.account_id == bindparam("account"))
    .order_by(cloud_outbox.c.id)
)
DENIED = Statement(
    select(cloud_event.c.rule).where(
        cloud_event.c.account_id == bindparam("account"), cloud_event.c.kind == "user.sign-in"
    )
)
USERS = Statement(
    select(login.c.name).where(login.c.account_id == bindparam("account")).order_by(login.c.name)
)
SECRETS = Statement(select(kept.c.secret).where(kept.c.account_id == bindparam("account")))


@dataclass
class World:
    """The console, and the provider of alice's account."""

    console: Console
    provider: OidcProvider

    @property
    def account(self) -> str:
        """Give the account's name."""
        return self.console.alice.account_name

    async def goes(self, browser: Browser, **given: str) -> httpx.Response:
        """Ask to be signed in by the provider."""
        form = Forms((await browser.client.get("/auth/login")).text).forms[1]
        return await browser.client.post("/auth/oidc", data=form | {"account": self.account} | given)

    async def arrives(self, browser: Browser, going: httpx.Response, person: str) -> httpx.Response:
        """Sign in at the provider, and bring its answer back."""
        assert going.status_code == 200, going.text
        back = await self.provider.sign_in(going.headers["refresh"].partition("url=")[2], person)
        assert back.startswith(f"{BASE}/auth/oidc/callback/")
        return await browser.client.get(back)

    async def signs_in(self, browser: Browser, person: str, **given: str) -> httpx.Response:
        """Sign in by the provider."""
        return await self.arrives(browser, await self.goes(browser, **given), person)

    async def linked(self, person: str = "ada") -> Browser:
        """Sign alice in with her password, and link her to a person of the provider's."""
        browser = await self.console.signed_in()
        forms = Forms((await browser.client.get("/auth/sessions")).text).forms
        guard = {"guard": forms[0]["guard"]}
        done = await self.arrives(browser, await browser.client.post("/auth/oidc/link", data=guard), person)
        assert (done.status_code, done.headers["location"]) == (303, "/auth/sessions")
        return browser

    async def settle(self, **changed: object) -> httpx.Response:
        """Say what the account's provider is, as its administrator."""
        browser = await self.console.signed_in()
        given = {"name": "Staff", "issuer": self.provider.issuer, "clientId": CLIENT, "clientSecret": SECRET}
        return await browser.change("PUT", ACCOUNT, given | changed)


@pytest.fixture
async def world(console: Console, tmp_path: Path) -> AsyncIterator[World]:
    """Run a provider for alice's account."""
    with reserved() as (port,):
        terms = Terms(
            name="Staff", issuer=f"http://localhost:{port}/", client_id=CLIENT, secret=SECRET, scopes=("openid", "profile"),
            groups_claim="", allowed_groups=(), roles=(), disabled=False,
        )  # fmt: skip

        async def made() -> Provider:
            return await console.platform.change(
                lambda tx: oidc_providers.put(tx, MASTER, console.alice.account, terms, SYSTEM)
            )

        redirect = f"{BASE}/auth/oidc/callback/{(await made()).id}"
        with servers.oidc_provider(port, redirect, tmp_path) as provider:
            yield World(console, provider)


async def test_an_administrator_names_the_provider_and_the_secret_is_never_shown(world: World):
    made = await world.settle(allowedGroups=["staff"], groupsClaim="groups")
    browser = await world.console.signed_in()
    shown = (await browser.client.get(f"/1.0{ACCOUNT}")).json()

    assert made.status_code == 200, made.text
    assert shown == made.json()
    assert shown["redirectUri"] == f"{BASE}/auth/oidc/callback/{shown['id']}"
    assert (shown["issuer"], shown["allowedGroups"], shown["enabled"]) == (
        world.provider.issuer,
        ["staff"],
        True,
    )
    assert SECRET not in str(shown)
    (row,) = await world.console.platform.db.all(SECRETS, account=world.console.alice.account)
    assert SECRET.encode() not in row.secret
    # Said again without the secret, it is the one from before.
    assert (await world.settle(clientSecret=None)).status_code == 200
    await world.linked()


async def test_a_user_links_themselves_and_signs_in_by_it_from_then_on(world: World):
    before = await world.signs_in(await world.console.browser(), "ada")
    linked = await world.linked()
    browser = await world.console.browser()
    entered = await world.signs_in(browser, "ada")
    other = await world.signs_in(await world.console.browser(), "bob")

    # The provider tells alice's own mail address of every one of its people: that makes nobody alice.
    assert (before.status_code, other.status_code) == (403, 403)
    assert (entered.status_code, entered.headers["location"]) == (303, "/auth/sessions")
    assert world.console.user in (await browser.client.get("/auth/sessions")).text
    (known,) = (await browser.client.get("/1.0/me/oidc")).json()
    assert (known["issuer"], known["subject"]) == (world.provider.issuer, "id-ada")
    # The password is as good as ever, and the link ends by an act of the same user.
    assert (await (await world.console.browser()).sign_in()).status_code == 303
    forms = Forms((await linked.client.get("/auth/sessions")).text).forms
    assert (
        await linked.client.post("/auth/oidc/unlink", data={"guard": forms[0]["guard"]})
    ).status_code == 303
    assert (await world.signs_in(await world.console.browser(), "ada")).status_code == 403
    told = [
        row.kind for row in await world.console.platform.db.all(KINDS, account=world.console.alice.account)
    ]
    assert [one for one in told if "oidc" in one] == [
        "oidc-provider.changed", "user.oidc-linked", "user.oidc-unlinked",
    ]  # fmt: skip
    denied = await world.console.platform.db.all(DENIED, account=world.console.alice.account)
    assert [row.rule for row in denied] == ["NotAdmitted"] * 3


async def test_who_was_invited_becomes_a_user_once_and_has_no_password(world: World):
    admin = await world.console.signed_in()
    invitation = {"login": "newcomer", "email": "new@example.com"}
    made = (await admin.change("POST", f"{ACCOUNT}/invitation", invitation)).json()
    listed = (await admin.client.get(f"/1.0{ACCOUNT}/invitation")).json()
    browser = await world.console.browser()
    wrong = await world.goes(browser, invitation="guess")
    entered = await world.signs_in(browser, "bob", invitation=made["code"])
    again = await world.goes(await world.console.browser(), invitation=made["code"])
    later = await world.signs_in(await world.console.browser(), "bob")

    assert [one["id"] for one in listed] == [made["id"]]
    assert "code" not in listed[0]
    assert (wrong.status_code, entered.status_code, again.status_code, later.status_code) == (
        404,
        303,
        404,
        303,
    )
    assert f"{world.account}/newcomer" in (await browser.client.get("/auth/sessions")).text
    newcomer = await world.console.browser()
    newcomer.user = f"{world.account}/newcomer"
    for password in ("", PASSWORD):
        assert (await newcomer.sign_in(password)).status_code == 401
    # Without a password the link is all that they have; with one they need nobody's word.
    unlink = ("DELETE", "/me/identity/user/newcomer/oidc")
    assert (await admin.change(*unlink)).status_code == 409
    assert (
        await admin.change("PUT", "/me/identity/user/newcomer/password", {"password": PASSWORD})
    ).status_code == 200
    assert (await admin.change(*unlink)).status_code == 200
    assert (await newcomer.sign_in()).status_code == 303


async def test_a_groups_people_become_users_who_are_called_as_nobody_can_foretell(world: World):
    # This provider tells it beside the ID token, not in it.
    assert (await world.settle(groupsClaim="family_name", allowedGroups=["Staff"])).status_code == 200
    browser = await world.console.browser()
    first = await world.signs_in(browser, "eve")
    second = await world.signs_in(await world.console.browser(), "eve")
    shown = (await browser.client.get("/1.0/auth/details")).json()
    await world.settle(groupsClaim="family_name", allowedGroups=["Others"])
    refused = await world.signs_in(await world.console.browser(), "bob")

    assert (first.status_code, second.status_code, refused.status_code) == (303, 303, 403)
    name = shown["user"]
    assert (name.startswith("eve-"), len(name)) == (True, len("eve-") + 8)
    users = [
        row.name for row in await world.console.platform.db.all(USERS, account=world.console.alice.account)
    ]
    assert users == ["alice", name]
    assert (await browser.client.get("/1.0/me/identity/user")).status_code == 403


async def test_a_second_factor_of_ours_is_asked_for_as_well(world: World):
    browser = await world.linked()
    begun = (await browser.change("POST", "/me/secondFactor", {"currentPassword": PASSWORD})).json()
    await browser.change("POST", "/me/secondFactor/confirm", {"code": totp(begun["key"], world.console.now)})
    world.console.go_on(40)
    other = await world.console.browser()
    page = await world.signs_in(other, "ada")
    form = Forms(page.text).forms[0]
    stolen = await (await world.console.browser()).client.post(
        "/auth/oidc/code", data=form | {"code": totp(begun["key"], world.console.now)}
    )
    wrong = await other.client.post("/auth/oidc/code", data=form | {"code": "000000"})
    before = other.cookie
    right = await other.client.post(
        "/auth/oidc/code", data=form | {"code": totp(begun["key"], world.console.now)}
    )
    twice = await other.client.post(
        "/auth/oidc/code", data=form | {"code": totp(begun["key"], world.console.now)}
    )

    assert (page.status_code, "One more step" in page.text, before) == (200, True, "")
    assert (stolen.status_code, wrong.status_code, right.status_code, twice.status_code) == (
        400,
        401,
        303,
        400,
    )
    assert await other.asks() == 200


async def test_who_is_shut_out_is_not_let_in_by_anybodys_word(world: World):
    await world.linked()
    await world.console.platform.person("boss", world.account)
    boss = await world.console.browser()
    boss.user = f"{world.account}/boss"
    assert (await boss.sign_in()).status_code == 303
    assert (await boss.change("POST", "/me/identity/user/alice/disable")).status_code == 200
    browser = await world.console.browser()
    refused = await world.signs_in(browser, "ada")
    await boss.change("POST", "/me/identity/user/alice/enable")
    entered = await world.signs_in(browser, "ada")
    await boss.change("PUT", ACCOUNT, {
        "name": "Staff", "issuer": world.provider.issuer, "clientId": CLIENT, "enabled": False,
    })  # fmt: skip
    off = await world.goes(await world.console.browser())

    assert (refused.status_code, browser.cookie != "", entered.status_code, off.status_code) == (
        403,
        True,
        303,
        404,
    )


async def test_who_is_signed_in_already_is_asked_anew_and_has_another_cookie(world: World):
    browser = await world.linked()
    before = browser.cookie
    going = await world.goes(browser)
    asked = urlsplit(going.headers["refresh"].partition("url=")[2]).query
    proved = await world.arrives(browser, going, "ada")

    assert ("max_age=0" in asked, "prompt=login" in asked) == (True, True)
    assert (proved.status_code, browser.cookie == before, await browser.asks()) == (303, False, 200)
    assert len((await browser.client.get("/1.0/me/session")).json()) == 1


async def test_a_provider_that_is_away_is_told_and_the_password_goes_on(console: Console):
    with reserved() as (port,):
        terms = Terms(
            name="Staff", issuer=f"http://localhost:{port}/", client_id="a", secret="b", scopes=("openid",), groups_claim="",
            allowed_groups=(), roles=(), disabled=False,
        )  # fmt: skip
        await console.platform.change(
            lambda tx: oidc_providers.put(tx, MASTER, console.alice.account, terms, SYSTEM)
        )
        browser = await console.browser()
        world = World(console, OidcProvider(port))
        away = await world.goes(browser)
        unknown = await world.goes(browser, account="nobody")
        refused = await world.settle()

    assert (away.status_code, "cannot be reached" in away.text) == (503, True)
    assert unknown.status_code == 404
    assert (refused.status_code, "issuer: is not answered as one is" in refused.json()["message"]) == (
        400,
        True,
    )
    # The page that tells it asks for the password, too.
    assert Forms(away.text).forms[0].keys() == {"next", "user", "password", "code"}
    assert (await browser.sign_in()).status_code == 303
