"""An OpenID provider that lies, browsers that bring what is not theirs, and pages that would be led elsewhere: nobody gets in."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey
from sqlalchemy import bindparam, func, select

from moorage.cloud import cloud_projects, members, oidc_identities, oidc_providers
from moorage.cloud.events import SYSTEM
from moorage.cloud.members import Role
from moorage.cloud.oidc_providers import Provider, RoleOfGroup, Terms
from moorage.db import Statement
from moorage.db.platform_sign_in import oidc_flow
from moorage.outbound import oidc_codes
from moorage.outbound.http import Caller
from moorage.outbound.oidc import IssuerAway, Issuers
from tests.functional.cloud_world import BASE, MASTER
from tests.functional.session_world import Browser, Console, Forms
from tests.servers.lying_issuer import BIG, CLIENT, SECRET, WELL_KNOWN, LyingIssuer, lying_issuer

FLOWS = Statement(select(func.count().label("n")).where(oidc_flow.c.provider_id == bindparam("provider")))
HERE = Caller((ip_network("127.0.0.0/8"),), seconds=60)


@dataclass
class World:
    """The console, an issuer that may lie, and what alice's account knows it as."""

    console: Console
    issuer: LyingIssuer
    provider: Provider

    async def goes(self, browser: Browser, **given: str) -> str:
        """Ask to be signed in, and give where the browser is led."""
        self.issuer.now = self.console.now
        form = {"account": self.console.alice.account_name, "next": "", "invitation": ""} | given
        going = await browser.client.post("/auth/oidc", data=form)
        assert going.status_code == 200, going.text
        url: str = going.headers["refresh"].partition("url=")[2]
        return url

    async def signs_in(self, browser: Browser, subject: str = "ada", **back: str) -> httpx.Response:
        """Sign in by the issuer."""
        return await browser.client.get(self.issuer.sign_in(await self.goes(browser), subject, **back))

    async def settle(self, **changed: Any) -> Provider:
        """Let the account's provider be this one."""
        given: dict[str, Any] = {
            "name": "Staff", "issuer": self.issuer.issuer, "client_id": CLIENT, "secret": SECRET, "scopes": ("openid",),
            "groups_claim": "groups", "allowed_groups": (), "roles": (), "disabled": False,
        }  # fmt: skip
        terms = Terms(**given | changed)
        account = self.console.alice.account
        self.provider = await self.console.platform.change(
            lambda tx: oidc_providers.put(tx, MASTER, account, terms, SYSTEM)
        )
        return self.provider

    async def known(self, subject: str = "ada") -> None:
        """Let alice be somebody there."""
        who = self.console.alice
        await self.console.platform.change(
            lambda tx: oidc_identities.link(tx, who.account, self.issuer.issuer, subject, who.login, SYSTEM)
        )


@pytest.fixture
async def world(console: Console) -> AsyncIterator[World]:
    """Run an issuer by which alice may sign in."""
    with lying_issuer() as issuer:
        made = World(console, issuer, None)  # type: ignore[arg-type]
        await made.settle()
        await made.known()
        yield made


async def refused(world: World, text: str, status: int = 401) -> None:
    """Hold that a sign-in ends in a refusal that says so, without a session."""
    browser = await world.console.browser()
    answer = await world.signs_in(browser)
    assert (answer.status_code, browser.cookie) == (status, ""), (text, answer.text)
    assert text in answer.text, answer.text


async def test_the_honest_one_lets_in_and_is_asked_as_the_standard_says(world: World):
    browser = await world.console.browser()
    url = await world.goes(browser)
    asked = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
    entered = await browser.client.get(world.issuer.sign_in(url))

    assert (entered.status_code, await browser.asks()) == (303, 200)
    assert asked["redirect_uri"] == f"{BASE}/auth/oidc/callback/{world.provider.id}"
    assert (asked["response_type"], asked["code_challenge_method"], len(asked["code_challenge"])) == (
        "code",
        "S256",
        43,
    )
    redeemed = next(form for path, form in world.issuer.asked if path == "/token")
    assert redeemed.keys() == {"grant_type", "code", "redirect_uri", "code_verifier"}
    assert redeemed["code_verifier"] not in url
    assert len({asked["state"], asked["nonce"], redeemed["code_verifier"]}) == 3


async def test_no_claim_that_is_not_right_lets_anybody_in(world: World):
    lies: list[tuple[dict[str, Any], str]] = [
        ({"iss": "http://127.0.0.1:1"}, "iss: "),
        ({"iss": world.issuer.issuer + "/"}, "iss: "),
        ({"iss": None}, "iss: "),
        ({"aud": "another"}, "aud: "),
        ({"aud": None}, "aud: "),
        ({"aud": [CLIENT, "another"]}, "azp: "),
        ({"aud": [CLIENT, "another"], "azp": "another"}, "azp: "),
        ({"azp": "another"}, "azp: "),
        ({"nonce": "another"}, "nonce: "),
        ({"nonce": None}, "nonce: "),
        ({"nonce": ["a"]}, "nonce: "),
        ({"nonce": "\ud800"}, "nonce: "),
        ({"exp": world.console.now - 61}, "exp: "),
        ({"exp": None}, "exp: "),
        ({"exp": "never"}, "exp: "),
        ({"exp": True}, "exp: "),
        ({"iat": world.console.now - 3600}, "iat: "),
        ({"iat": world.console.now + 3600}, "iat: "),
        ({"iat": None}, "iat: "),
        ({"nbf": world.console.now + 3600}, "nbf: "),
        ({"sub": ""}, "sub: "),
        ({"sub": None}, "sub: "),
        ({"sub": 7}, "sub: "),
        ({"sub": "é"}, "sub: "),
        ({"sub": "a" * 256}, "sub: "),
        ({"at_hash": "AAAA"}, "at_hash: "),
        ({"at_hash": "\udfff"}, "at_hash: "),
        ({"at_hash": None, "aud": []}, "aud: "),
    ]
    for lie, text in lies:
        world.issuer.claims = lie
        await refused(world, text)
    world.issuer.claims, world.issuer.answer = {"at_hash": "AAAA"}, {"access_token": "\ud800"}
    await refused(world, "at_hash: ")
    world.issuer.answer = {}
    world.issuer.claims = {"sub": "eve", "email": "alice@example.com", "preferred_username": "alice"}
    await refused(world, "no user of this account", 403)


async def test_no_signature_but_a_published_keys_lets_anybody_in(world: World):
    for header, text in (
        ({"alg": "none"}, "alg: "),
        ({"alg": "nOnE"}, "alg: "),
        ({"alg": "HS256"}, "alg: "),
        ({"typ": "at+jwt"}, "typ: "),
        ({"kid": "another"}, "no key of"),
    ):
        world.issuer.header = header
        await refused(world, text)
    world.issuer.header = {}
    honest = world.issuer.keys
    # Another's key under the right name, a key for encryption, one too short, one that is a shared secret.
    with warnings.catch_warnings(action="ignore"):
        short, stranger = (RSAKey.generate_key(bits, {"kid": "one"}) for bits in (1024, 2048))
    for key, published in (
        (stranger, honest[0].as_dict(private=False)),
        (honest[0], {**honest[0].as_dict(private=False), "use": "enc"}),
        (short, short.as_dict(private=False)),
        (honest[0], OctKey.generate_key(256, {"kid": "one"}).as_dict()),
        (honest[0], {"kty": "RSA", "kid": "one", "n": 7, "e": []}),
    ):
        world.issuer.keys, world.issuer.published = [key], [published]
        world.console.go_on(3601)
        await refused(world, "no key of")
    for token, text in (("a.b", "no signed token"), ("a.b.c", "no signed token"), ("", "no key of")):
        world.issuer.token = token
        await refused(world, text)


async def test_keys_that_were_changed_are_found_and_not_asked_for_each_time(world: World):
    first = await world.signs_in(await world.console.browser())
    world.console.go_on(31)
    world.issuer.keys = [ECKey.generate_key("P-256", {"kid": "two"})]
    second = await world.signs_in(await world.console.browser())
    fetched = [path for path, _ in world.issuer.asked].count("/keys")
    world.issuer.header = {"kid": "three"}
    for _ in range(3):
        await refused(world, "no key of")

    assert (first.status_code, second.status_code, fetched) == (303, 303, 2)
    assert [path for path, _ in world.issuer.asked].count("/keys") == 2
    assert [path for path, _ in world.issuer.asked].count(WELL_KNOWN) == 1


async def test_an_answer_is_good_once_in_the_browser_that_asked_and_from_the_provider_that_was_asked(
    world: World,
):
    browser, other = await world.console.browser(), await world.console.browser()
    back = world.issuer.sign_in(await world.goes(browser))
    await world.goes(other)
    elsewhere = await other.client.get(back)
    nowhere = await (await world.console.browser()).client.get(back)
    at_port = await (await world.console.browser("http://localhost:9999")).client.get(
        back.removeprefix(BASE), headers={"cookie": f"moorage-oidc={browser.client.cookies['moorage-oidc']}"}
    )
    back = world.issuer.sign_in(await world.goes(browser))
    first, replayed = await browser.client.get(back), await browser.client.get(back)
    late = world.issuer.sign_in(await world.goes(other))
    world.console.go_on(601)

    assert [one.status_code for one in (elsewhere, nowhere, at_port)] == [400, 400, 400]
    assert (first.status_code, replayed.status_code) == (303, 400)
    assert (await other.client.get(late)).status_code == 400
    assert other.cookie == ""
    for broken in ("", "?code=a", "?code=a&state=b", "?code=a&code=b&state=c", f"?code=a&state={'a' * 5000}"):
        answer = await other.client.get(f"/auth/oidc/callback/{world.provider.id}{broken}")
        assert answer.status_code == 400


async def test_an_answer_of_one_provider_is_not_taken_for_anothers(world: World):
    """The mix-up: a provider that is asked sends the browser on to an honest one, and would get the honest one's code."""
    with lying_issuer() as evil:
        mallory = await world.console.platform.person("mallory")
        terms = Terms(
            name="Evil", issuer=evil.issuer, client_id=CLIENT, secret=SECRET, scopes=("openid",), groups_claim="",
            allowed_groups=(), roles=(), disabled=False,
        )  # fmt: skip
        await world.console.platform.change(
            lambda tx: oidc_providers.put(tx, MASTER, mallory.account, terms, SYSTEM)
        )
        browser = await world.console.browser()
        led = await world.goes(browser, account=mallory.account_name)
        # The honest provider sends browsers back to its own address, with the state that the evil one was given.
        asked = parse_qs(urlsplit(led).query)
        home = f"{BASE}/auth/oidc/callback/{world.provider.id}"
        mixed = await browser.client.get(f"{home}?code=honest&state={asked['state'][0]}")
        # An account's provider speaks for its own account's people alone, whatever it says its subjects are.
        evil.now = world.console.now
        entered = await browser.client.get(
            evil.sign_in(await world.goes(browser, account=mallory.account_name))
        )

        assert mixed.status_code == 400
        assert "/token" not in [path for path, _ in evil.asked if _.get("code") == "honest"]
        assert (entered.status_code, browser.cookie) == (403, "")
    world.issuer.metadata = {"authorization_response_iss_parameter_supported": True}
    await world.settle(name="Staff")
    world.console.go_on(3601)
    await refused(world, "another OpenID provider")
    browser = await world.console.browser()
    wrong = await world.signs_in(browser, iss="http://127.0.0.1:1")
    right = await world.signs_in(browser, iss=world.issuer.issuer)
    assert (wrong.status_code, right.status_code) == (401, 303)


async def test_a_refusal_of_the_provider_is_told_and_nothing_of_it_runs(world: World):
    browser = await world.console.browser()
    back = world.issuer.sign_in(
        await world.goes(browser), error="access_denied", error_description="<script>x</script>"
    )
    told = await browser.client.get(back)
    taken = await browser.client.get(world.issuer.sign_in(await world.goes(browser), code="another"))

    assert (told.status_code, "&lt;script&gt;x" in told.text, "<script>" in told.text) == (401, True, False)
    assert (taken.status_code, "does not take the code: no such code" in taken.text) == (401, True)
    assert "script" not in told.headers["content-security-policy"]


async def test_nobody_is_led_elsewhere_after(world: World):
    browser = await world.console.browser()
    for asked in (
        "//evil.example",
        "https://evil.example/",
        "/auth/sessions@evil.example",
        "/auth/\r\nset-cookie: a=b",
        "/v2/",
    ):
        entered = await browser.client.get(world.issuer.sign_in(await world.goes(browser, next=asked)))
        assert (entered.status_code, entered.headers["location"]) == (303, "/auth/sessions")
    page = f"/auth/?credentialToken={'0' * 8}-0000-0000-0000-{'0' * 12}"
    entered = await browser.client.get(world.issuer.sign_in(await world.goes(browser, next=page)))
    assert entered.headers["location"] == page


async def test_another_page_neither_begins_nor_links_nor_unlinks(world: World):
    browser = await world.console.signed_in()
    account = {"account": world.console.alice.account_name}
    crossing = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    guard = Forms((await browser.client.get("/auth/sessions")).text).forms[0]["guard"]

    assert (await browser.client.post("/auth/oidc", data=account, headers=crossing)).status_code == 403
    for act in ("link", "unlink"):
        assert (await browser.client.post(f"/auth/oidc/{act}", data={"guard": "guess"})).status_code == 400
        crossed = await browser.client.post(f"/auth/oidc/{act}", data={"guard": guard}, headers=crossing)
        assert crossed.status_code == 403
    # A link that was begun is not ended in another session than that which began it.
    led = await browser.client.post("/auth/oidc/link", data={"guard": guard})
    world.issuer.now = world.console.now
    back = world.issuer.sign_in(led.headers["refresh"].partition("url=")[2], "somebody else's person")
    await browser.client.post("/auth/sign-out", data={"guard": guard})
    assert (await browser.client.get(back)).status_code == 400
    world.console.go_on(601)
    stale = await world.console.signed_in()
    world.console.go_on(601)
    guard = Forms((await stale.client.get("/auth/sessions")).text).forms[0]["guard"]
    assert (await stale.client.post("/auth/oidc/unlink", data={"guard": guard})).status_code == 403


async def test_a_person_is_one_users_and_proof_is_as_old_as_the_provider_says(world: World):
    bob = await world.console.platform.person("bob", world.console.alice.account_name)
    with pytest.raises(oidc_identities.IdentityTaken):
        await world.console.platform.change(
            lambda tx: oidc_identities.link(tx, bob.account, world.issuer.issuer, "ada", bob.login, SYSTEM)
        )
    change = ("PUT", "/me/identity/user/bob", {"email": "b@example.com", "group": "DEFAULT"})
    seen = []
    browser = await world.console.browser()
    for shown in (None, world.console.now - 3600, world.console.now):
        world.issuer.claims = {"auth_time": shown}
        browser = await world.console.browser()
        assert (await world.signs_in(browser)).status_code == 303
        seen.append((await browser.change(*change)).status_code)
    # Whoever has signed in is asked anew, and a provider that did not ask proves nothing.
    world.console.go_on(660)
    assert (await browser.change(*change)).status_code == 403
    world.issuer.claims = {"auth_time": world.console.now - 600}
    lazy = await world.signs_in(browser)
    world.issuer.claims = {}
    assert (await world.signs_in(browser)).status_code == 303
    seen.append((await browser.change(*change)).status_code)

    assert seen == [403, 403, 200, 200]
    assert (lazy.status_code, "auth_time: " in lazy.text) == (401, True)


async def test_roles_follow_from_groups_and_what_a_person_has_given_stays(world: World):
    who, platform = world.console.alice, world.console.platform

    async def roles() -> list[str | None]:
        return [await members.role_of(platform.db, one, who.login) for one in (mine, given)]

    mine, given = [
        await platform.change(lambda tx: cloud_projects.create(tx, who.account, "a")) for _ in range(2)
    ]
    stranger = await platform.person("mallory")
    foreign = await platform.change(lambda tx: cloud_projects.create(tx, stranger.account, "theirs"))
    await platform.change(lambda tx: members.put(tx, given, who.login, Role.OWNER))
    named = [
        ("ops", mine, "administrator"),
        ("dev", mine, "reader"),
        ("ops", given, "reader"),
        ("ops", foreign, "reader"),
    ]
    await world.settle(roles=tuple(RoleOfGroup(*one) for one in named))
    seen, world.issuer.userinfo = [], {"sub": "ada"}
    for groups in (["dev", 7, "x" * 300], ["dev", "ops"], "dev", [], None):
        world.issuer.claims = {"groups": groups}
        assert (await world.signs_in(await world.console.browser())).status_code == 303
        seen.append(await roles())
    await platform.change(lambda tx: members.put(tx, mine, who.login, Role.BILLING))
    world.issuer.claims = {"groups": ["ops"]}
    assert (await world.signs_in(await world.console.browser())).status_code == 303

    assert [one for one, _ in seen] == ["reader", "administrator", "reader", None, None]
    assert {one for _, one in seen} == {"owner"}
    assert await roles() == ["billing", "owner"]
    assert await members.role_of(platform.db, foreign, who.login) is None
    # Where nothing follows from groups any more, a role that did goes, and one that a person has given does not.
    await platform.change(lambda tx: members.drop(tx, mine, who.login))
    assert (await world.signs_in(await world.console.browser())).status_code == 303
    assert await roles() == ["administrator", "owner"]
    await world.settle(groups_claim="")
    assert (await world.signs_in(await world.console.browser())).status_code == 303
    assert await roles() == [None, "owner"]
    await world.settle(roles=tuple(RoleOfGroup(*one) for one in named))
    # What is told beside the ID token must be of the same person.
    world.issuer.claims, world.issuer.userinfo = {}, {"sub": "another", "groups": ["ops"]}
    await refused(world, "somebody else")


async def test_an_answer_that_is_huge_slow_or_leads_on_is_cut(world: World):
    issuers = Issuers(HERE, world.console.platform.db.now)
    slow = Issuers(Caller(HERE.allowed, seconds=0.5), world.console.platform.db.now)
    guarded = Issuers(Caller(), world.console.platform.db.now)
    issuer = world.issuer.issuer

    async def away(who: Issuers, text: str) -> None:
        with pytest.raises(IssuerAway, match=text):
            await who.metadata(issuer)

    # What the operator has not allowed is not asked at all: this machine, or a cloud's metadata.
    await away(guarded, "no public address")
    with pytest.raises(IssuerAway, match="no public address"):
        await guarded.metadata("http://169.254.169.254")
    assert world.issuer.asked == []
    for lie, text in (
        ({"issuer": "http://127.0.0.1:1"}, "says that its issuer is"),
        ({"issuer": None}, "says that its issuer is"),
        ({"token_endpoint": "file:///etc/passwd"}, "token that must be"),
        ({"token_endpoint": "http://169.254.169.254/"}, "no public address"),
        ({"jwks_uri": "http://example.com/"}, "must begin with https"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "authorization that must be"),
        ({"authorization_endpoint": None}, "authorization that must be"),
    ):
        world.issuer.metadata = lie
        await away(issuers, text)
    world.issuer.metadata = {}
    for body, text in (
        (BIG, "more than 262144 bytes"),
        (b"<html>", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"[]", "JSON"),
    ):
        world.issuer.raw = {WELL_KNOWN: body}
        await away(issuers, text)
    world.issuer.raw, world.issuer.redirects = {}, "http://127.0.0.1:1/"
    await away(issuers, "status 302")
    world.issuer.redirects, world.issuer.drips = "", WELL_KNOWN
    await away(slow, "did not answer")
    world.issuer.drips = ""
    world.issuer.raw = {"/token": BIG}
    await refused(world, "more than 262144 bytes", 503)
    world.issuer.raw = {"/keys": b'{"keys": {}}'}
    await refused(world, "no set of at most", 503)


async def test_many_at_once_wait_for_their_turn_and_those_of_a_slow_provider_for_nobody_elses(world: World):
    issuers = Issuers(HERE.apart(60, 8), world.console.platform.db.now)
    with lying_issuer() as slow:
        slow.drips = WELL_KNOWN
        stuck = [asyncio.create_task(_away(issuers, slow.issuer)) for _ in range(6)]
        many = await asyncio.gather(*(issuers.metadata(world.issuer.issuer, anew=True) for _ in range(12)))
        still = [one.done() for one in stuck]

    assert len(set(many)) == 1
    assert still == [False] * 6
    assert await asyncio.gather(*stuck) == [True] * 6


async def _away(issuers: Issuers, issuer: str) -> bool:
    with pytest.raises(IssuerAway):
        await issuers.metadata(issuer)
    return True


async def test_nobody_fills_the_table_of_sign_ins_and_keeps_others_out(world: World):
    form = {"account": world.console.alice.account_name}
    flood = await world.console.browser(address="192.0.2.7")
    answers = [
        (await flood.client.post("/auth/oidc", data=form)).status_code for _ in range(oidc_codes.MOST + 2)
    ]
    entered = await world.signs_in(await world.console.browser(address="192.0.2.8"))
    world.console.go_on(601)
    later = await flood.client.post("/auth/oidc", data=form)

    assert answers == [200] * oidc_codes.MOST + [429] * 2
    assert (entered.status_code, later.status_code) == (303, 200)
    assert (await world.console.platform.db.one(FLOWS, provider=world.provider.id)).n == 1


async def test_an_answer_that_nobody_waits_for_holds_up_nobody_who_changes_something(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    browser, kind, turns = await world.console.browser(), type(world.console.platform.db), []
    change = kind.change

    async def counted(db: Any, work: Any) -> Any:
        turns.append(work)
        return await change(db, work)

    monkeypatch.setattr(kind, "change", counted)
    path = f"/auth/oidc/callback/{world.provider.id}?code=a&state=b"
    answer = await browser.client.get(path, headers={"cookie": "moorage-oidc=c"})
    before = len(turns)
    entered = await world.signs_in(browser)

    assert (answer.status_code, before) == (400, 0)
    assert (entered.status_code, len(turns) > 0) == (303, True)


async def test_another_issuer_is_another_provider_and_gets_no_secret_of_the_one_before(world: World):
    browser = await world.console.signed_in()
    path, before = "/me/identity/oidc", world.provider.id
    with lying_issuer() as other:
        changed = await browser.change("PUT", path, {"name": "B", "issuer": other.issuer, "clientId": CLIENT})
        other.now = world.console.now
        url = await world.goes(await world.console.browser())
        other.sign_in(url)

        assert changed.json()["id"] != before
        now = await oidc_providers.of_account(world.console.platform.db, MASTER, world.console.alice.account)
        assert now.terms.secret == ""
    for given, field in (
        ({"issuer": "ftp://a"}, "issuer"), ({"issuer": "http://example.com"}, "issuer"), ({"issuer": "https://10.0.0.1"}, "issuer"),
        ({"issuer": "https://a?b"}, "issuer"), ({"clientId": ""}, "clientId"), ({"clientSecret": "a\nb"}, "clientSecret"),
        ({"scopes": ["email"]}, "scopes"), ({"scopes": ["openid", 'a"b']}, "scopes[1]"), ({"name": " "}, "name"),
        ({"allowedGroups": ["a"]}, "groupsClaim"), ({"groupsClaim": "g", "allowedGroups": [""]}, "allowedGroups[0]"),
        ({"groupsClaim": "g", "roles": [{"group": "a", "cloudProject": "a", "role": "owner"}]}, "roles[0].role"),
        ({"groupsClaim": "g", "roles": [{"group": "a", "cloudProject": "a", "role": "reader"}]}, "roles[0].cloudProject"),
    ):  # fmt: skip
        body = {"name": "A", "issuer": world.issuer.issuer, "clientId": CLIENT} | given
        answer = await browser.change("PUT", path, body)
        assert (answer.status_code, answer.json()["message"].partition(":")[0]) == (400, field), answer.text
    assert (await browser.change("DELETE", path)).status_code == 200
    assert (await browser.change("DELETE", path)).status_code == 404
