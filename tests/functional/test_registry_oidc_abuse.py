"""An OpenID provider that lies, answers that are others', and addresses that lead elsewhere: nobody gets in to a registry."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey
from sqlalchemy import bindparam, update

from moorage.api.harbor.operations import PREFIX
from moorage.db import Statement, Tx
from moorage.db.tables import sign_in_flow
from moorage.identity import oidc_sign_in
from moorage.outbound import oidc_codes
from moorage.outbound.http import Caller
from moorage.outbound.oidc import IssuerAway
from tests.functional.oidc_world import Staffed, base, current
from tests.servers.certificates import certified
from tests.servers.lying_issuer import BIG, CLIENT, WELL_KNOWN, lying_issuer

LONG_AGO = Statement(update(sign_in_flow).values(created_at=bindparam("at")))


async def refused(staffed: Staffed, text: str, status: int = 401, **claims: Any) -> None:
    """Hold that a sign-in ends in a refusal that says so, and that nobody has signed in."""
    browser = await staffed.browser()
    answer = await staffed.arrives(browser, **claims)
    assert (answer.status_code, text in answer.text, await current(browser)) == (status, True, {}), (
        answer.text
    )


async def test_no_lie_lets_anybody_in(staffed: Staffed):
    now = (await staffed.world.registry()).db.now() // 1_000_000
    for claims, told in (
        ({"iss": "http://127.0.0.1:1"}, "iss: "), ({"aud": "another"}, "aud: "), ({"aud": [CLIENT, "another"]}, "azp: "),
        ({"nonce": "another"}, "nonce: "), ({"nonce": None}, "nonce: "), ({"exp": now - 3600}, "exp: "), ({"exp": None}, "exp: "),
        ({"iat": now - 86_400}, "iat: "), ({"iat": now + 3600}, "iat: "), ({"nbf": now + 3600}, "nbf: "), ({"sub": ""}, "sub: "),
        ({"at_hash": "another"}, "at_hash: "),
    ):  # fmt: skip
        await refused(staffed, told, **claims)
    for algorithm in ("none", "nOnE", "HS256"):
        staffed.issuer.header = {"alg": algorithm}
        await refused(staffed, "alg: ")
    staffed.issuer.header = {}
    # A key of another's, under the name of the issuer's own.
    honest, staffed.issuer.keys = staffed.issuer.keys, [RSAKey.generate_key(2048, {"kid": "one"})]
    staffed.issuer.published = [key.as_dict(private=False) for key in honest]
    await refused(staffed, "no key of")
    staffed.issuer.keys, staffed.issuer.published = honest, None
    # What is told beside the ID token is of somebody else.
    browser = await staffed.browser()
    staffed.issuer.claims, staffed.issuer.userinfo = {}, {"sub": "eve", "groups": ["bosses"]}
    answer = await browser.get(staffed.issuer.sign_in(await staffed.goes(browser)))
    assert (answer.status_code, "somebody else" in answer.text) == (401, True)
    assert (await current(await staffed.signed_in()))["username"] == "ada"


async def test_an_answer_is_good_once_in_its_browser_and_for_ten_minutes(staffed: Staffed):
    browser, thief = await staffed.browser(), await staffed.browser()
    staffed.issuer.userinfo, staffed.issuer.claims = {"sub": "ada"}, {"preferred_username": "ada"}
    back = staffed.issuer.sign_in(await staffed.goes(browser))
    own = staffed.issuer.sign_in(await staffed.goes(thief), "eve")
    code = parse_qs(urlsplit(back).query)["code"][0]
    # Another's code in one's own sign-in, and another's answer in one's own browser.
    swapped = await thief.get(own.replace(parse_qs(urlsplit(own).query)["code"][0], code))
    stolen = await thief.get(back)
    kept = dict(browser.cookies)
    assert (swapped.status_code, stolen.status_code) == (401, 400)
    late = await staffed.browser()
    last = staffed.issuer.sign_in(await staffed.goes(late))
    db = (await staffed.world.registry()).db
    await db.write(LONG_AGO, at=db.now() - oidc_codes.LASTS - 1)
    assert (await late.get(last)).status_code == 400
    # The code of the first was taken, and thrown away; a fresh one is good once.
    back = staffed.issuer.sign_in(await staffed.goes(browser))
    kept = dict(browser.cookies)
    entered = await browser.get(back)
    assert (entered.status_code, entered.headers["location"]) == (302, "/c/oidc/welcome")
    replayed = await browser.get(
        back, headers={"cookie": "; ".join(f"{name}={value}" for name, value in kept.items())}
    )
    assert replayed.status_code == 400
    for query in ("", "?code=a", "?state=b", "?code=a&state=b", "?error=access_denied&state=b"):
        assert (await browser.get(f"/c/oidc/callback{query}")).status_code == 400
    refusal = await browser.get(
        staffed.issuer.sign_in(await staffed.goes(browser), error="access_denied", error_description="no")
    )
    assert (refusal.status_code, "Staff has not signed you in: no" in refusal.text) == (401, True)


@pytest.mark.parametrize("staffed", ["sqlite"], indirect=True)
async def test_nobody_is_led_elsewhere_after(staffed: Staffed):
    for following in (
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\/evil.example", "/\t/evil.example", "javascript:alert(1)",
        "evil",         "/c/oidc/logout", "/c/oidc/login", "/a\r\nset-cookie: a=b", "/\u00e9", "/" + "a" * 2000,
    ):  # fmt: skip
        answer = await (await staffed.browser()).get("/c/oidc/login", params={"redirect_url": following})
        assert (answer.status_code, "location" in answer.headers) == (400, False), following
    staffed.issuer.userinfo, staffed.issuer.claims = {"sub": "ada"}, {"preferred_username": "ada"}
    browser = await staffed.browser()
    entered = await browser.get(staffed.issuer.sign_in(await staffed.goes(browser, "/harbor/projects?a=b#c")))
    assert entered.headers["location"] == "/harbor/projects?a=b#c"


@pytest.mark.parametrize("staffed", ["sqlite"], indirect=True)
async def test_what_goes_to_the_provider_is_as_the_standard_has_it(staffed: Staffed):
    await staffed.settle(oidc_extra_redirect_parms='{"prompt": "login", "told": "x"}')
    url = await staffed.goes(await staffed.browser())
    asked = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}

    assert (asked["response_type"], asked["scope"], asked["code_challenge_method"]) == (
        "code",
        "openid profile",
        "S256",
    )
    assert (asked["redirect_uri"], asked["prompt"], asked["told"]) == (
        f"{base(staffed.admin)}/c/oidc/callback",
        "login",
        "x",
    )
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3


@pytest.mark.parametrize("staffed", ["sqlite"], indirect=True)
async def test_answers_that_are_huge_or_lead_inwards_are_none(staffed: Staffed):
    browser = await staffed.browser()
    for lie in (
        {"token_endpoint": "http://169.254.169.254/"}, {"jwks_uri": "http://10.0.0.1/"}, {"issuer": "https://idp.example.com"},
        {"end_session_endpoint": "javascript:alert(1)"}, {"authorization_endpoint": "javascript:alert(1)"},
    ):  # fmt: skip
        staffed.issuer.metadata = lie
        answer = await browser.get("/c/oidc/login")
        assert (answer.status_code, "location" in answer.headers) == (503, False), answer.text
    staffed.issuer.metadata = {}
    staffed.issuer.raw = {WELL_KNOWN: BIG}
    assert (await browser.get("/c/oidc/login")).status_code == 503
    staffed.issuer.raw = {"/token": BIG}
    await refused(staffed, "", 503)
    staffed.issuer.raw = {}
    back = staffed.issuer.sign_in(await staffed.goes(browser))
    staffed.issuer.redirects = "http://169.254.169.254/"
    assert (await browser.get(back)).status_code == 401
    staffed.issuer.redirects = ""
    assert (await current(await staffed.signed_in()))["username"] == "ada"


@pytest.mark.parametrize("staffed", ["sqlite"], indirect=True)
async def test_nobody_fills_the_table_of_sign_ins_and_a_slow_provider_is_left(
    staffed: Staffed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(oidc_sign_in, "MOST", 3)
    browser = await staffed.browser()
    answers = [(await browser.get("/c/oidc/login")).status_code for _ in range(4)]
    registry = await staffed.world.registry()
    held, over = threading.Event(), threading.Event()

    async def hold(_: Tx) -> None:
        held.set()
        over.wait(300)

    # Whoever is refused takes no turn of those who change something.
    changing = asyncio.create_task(registry.db.change(hold))
    await asyncio.to_thread(held.wait, 300)
    try:
        async with asyncio.timeout(60):
            answers.append((await browser.get("/c/oidc/login")).status_code)
    finally:
        over.set()
    await changing
    here = Caller((ip_network("127.0.0.0/8"),), seconds=0.5)
    asked = replace(registry.sign_ins, known=oidc_sign_in.Known.by(here, registry.db.now))
    staffed.issuer.drips = WELL_KNOWN
    with pytest.raises(IssuerAway):
        await asked.begin("http://localhost/c/oidc/callback", "", "192.0.2.1")

    assert answers == [302, 302, 302, 429, 429]


@pytest.mark.parametrize("staffed", ["sqlite"], indirect=True)
async def test_a_certificate_that_nobody_vouches_for_is_taken_only_where_that_is_set(
    staffed: Staffed, tmp_path: Path
):
    with lying_issuer(certified(tmp_path)[0]) as issuer:
        staffed.issuer = issuer
        asked = {"url": issuer.issuer, "verify_cert": True}
        checked = await staffed.admin.post(f"{PREFIX}/system/oidc/ping", json=asked)
        unchecked = await staffed.admin.post(
            f"{PREFIX}/system/oidc/ping", json=asked | {"verify_cert": False}
        )
        await staffed.settle()
        refused_ = await (await staffed.browser()).get("/c/oidc/login")
        await staffed.settle(oidc_verify_cert=False)
        entered = await current(await staffed.signed_in())

    assert (checked.status_code, "CERTIFICATE_VERIFY_FAILED" in checked.text, unchecked.status_code) == (
        400,
        True,
        200,
    )
    assert (refused_.status_code, entered["username"]) == (503, "ada")


@pytest.mark.parametrize("staffed", ["sqlite"], indirect=True)
async def test_no_sibling_host_begins_a_sign_in_in_a_browser(staffed: Staffed):
    browser = await staffed.browser()
    led = await browser.get(f"{base(browser).replace('http', 'https')}/c/oidc/login")
    asked = parse_qs(urlsplit(led.headers["location"]).query)
    bound = led.headers["set-cookie"]

    assert asked["redirect_uri"][0].startswith("https://")
    assert bound.startswith("__Host-registry-oidc=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= {*map(str.strip, bound.split(";"))}
