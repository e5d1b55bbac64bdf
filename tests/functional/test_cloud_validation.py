"""The page where a user decides about a credential: a form that needs no script."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import bindparam, select, update
from starlette.routing import Router
from typing_extensions import override

from moorage.api.cloud.auth import Auth
from moorage.api.cloud.endpoints import CloudApi
from moorage.api.cloud.routes import Table
from moorage.api.forwarded import Proxies
from moorage.api.front import front
from moorage.cloud import credentials
from moorage.db import Statement
from moorage.db.platform import cloud_event, cloud_outbox, login
from moorage.web import validation
from moorage.web.validation import Validation
from tests.functional.cloud_world import MASTER, Person, Platform
from tests.worlds import PASSWORD

CHANGED = Statement(
    select(cloud_outbox.c.kind, cloud_outbox.c.actor, cloud_outbox.c.target)
    .where(cloud_outbox.c.account_id == bindparam("account"))
    .order_by(cloud_outbox.c.id)
)
DENIED = Statement(
    select(cloud_event.c.kind, cloud_event.c.rule, cloud_event.c.target).where(
        cloud_event.c.account_id == bindparam("account")
    )
)
DISABLE = Statement(update(login).where(login.c.id == bindparam("id")).values(disabled=1))
DETAILS = "/1.0/auth/details"


class Form(HTMLParser):
    """What a browser would send of the page's form, and what it would not run or load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.tags: list[str] = []
        self.target: dict[str, str | None] = {}
        self.labelled: set[str | None] = set()
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag == "form":
            self.target = given
        elif tag == "label":
            self.labelled.add(given["for"])
        elif tag in {"input", "select"} and given.get("name"):
            self.fields[str(given["name"])] = given.get("value") or ""
        elif tag == "option":
            self.fields.setdefault("lifetime", "")
            self.fields["lifetime"] = self.fields["lifetime"] or str(given["value"])


@dataclass
class Desk:
    """A user at a browser, and an application that waits for an answer."""

    platform: Platform
    alice: Person
    browser: httpx.AsyncClient
    application: httpx.AsyncClient
    page: str
    token: str
    consumer: str

    async def form(self) -> dict[str, str]:
        """Open the page, and fill its form in as alice would."""
        form = Form((await self.browser.get(self.page)).text)
        return form.fields | {
            "user": f"{self.alice.account_name}/alice",
            "password": PASSWORD,
            "decision": "allow",
        }

    async def decide(self, **changed: str) -> httpx.Response:
        return await self.browser.post("/auth/", data=await self.form() | changed)

    async def asked(self) -> int:
        """Say what the application is answered now."""
        self.platform.clock.go_on(1)
        return (await self.application.get(DETAILS)).status_code


async def ask(application: httpx.AsyncClient, **more: object) -> dict[str, Any]:
    """Ask for a credential as an application does."""
    body = {
        "accessRules": [{"method": "GET", "path": "/*"}],
        "redirection": "https://app.example/done?x=1&y=2",
    }
    answer = await application.post("/1.0/auth/credential", json=body | more)
    assert answer.status_code == 200, answer.text
    given: dict[str, Any] = answer.json()
    return given


@pytest.fixture
async def desk(platform: Platform) -> Desk:
    """Have an application wait for alice on each engine."""
    api = CloudApi(platform.db, MASTER, Table(Auth(platform.db, validation.PATH).routes()))
    page = Router(Validation(platform.db, MASTER, platform.passwords).routes(), default=api)
    app = front(page, Proxies(()))
    alice = await platform.person("alice")
    anybody = await platform.client(app)
    anybody.headers["X-Ovh-Application"] = alice.application.key
    given = await ask(anybody)
    application = await platform.client(app, platform.signer(alice, given["consumerKey"]))
    token = parse_qs(urlsplit(given["validationUrl"]).query)["credentialToken"][0]
    return Desk(
        platform,
        alice,
        await platform.client(app),
        application,
        given["validationUrl"],
        token,
        given["consumerKey"],
    )


async def test_an_application_that_is_allowed_may_make_its_calls(desk: Desk):
    before = await desk.asked()
    answer = await desk.decide()

    assert before == 403
    assert answer.status_code == 200
    assert "may now make the calls" in answer.text
    assert await desk.asked() == 200


async def test_an_application_that_is_refused_may_not(desk: Desk):
    answer = await desk.decide(decision="refuse")

    assert "Refused" in answer.text
    assert "app.example" not in answer.text
    assert await desk.asked() == 403


@pytest.mark.parametrize(("lifetime", "days"), [("day", 1), ("month", 30), ("year", 365)])
async def test_it_is_allowed_for_as_long_as_the_user_says(desk: Desk, lifetime: str, days: int):
    await desk.decide(lifetime=lifetime)
    assert await desk.asked() == 200
    desk.platform.clock.go_on(days * 86_400)

    assert await desk.asked() == 403


async def test_what_is_allowed_always_is_allowed_until_it_is_revoked(desk: Desk):
    await desk.decide(lifetime="always")
    desk.platform.clock.go_on(5000 * 86_400)

    assert await desk.asked() == 200


async def test_the_page_shows_what_is_asked_for_and_runs_nothing(desk: Desk):
    answer = await desk.browser.get(desk.page)
    form = Form(answer.text)

    assert "GET /*" in answer.text
    assert "any address" in answer.text
    assert {"script", "img", "iframe", "link", "object"}.isdisjoint(form.tags)
    assert not re.search(r"\son\w+=|style=", answer.text)
    assert (form.target["method"], form.target["action"]) == ("post", "/auth/")
    assert {"user", "password", "lifetime"} <= form.labelled
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_a_link_leads_back_to_the_application_and_nobody_is_sent_there(desk: Desk):
    answer = await desk.decide()

    assert 'href="https://app.example/done?x=1&amp;y=2"' in answer.text
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "Wrong-pass-1"},
        {"user": "nobody"},
        {"user": "account/alice"},
        {"user": "\0"},
        {"user": "x" * 5000},
    ],
)
async def test_who_cannot_sign_in_decides_nothing_and_is_not_told_why(desk: Desk, wrong: dict[str, str]):
    answer = await desk.decide(**wrong)

    assert answer.status_code == 401
    assert "unknown user, or wrong password" in answer.text
    assert PASSWORD not in answer.text
    assert await desk.asked() == 403
    assert (await desk.decide()).status_code == 200


async def test_wrong_passwords_are_put_off_and_the_right_one_is_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(desk.platform.passwords._lanes, "_pause", pause)
    for number in range(6):
        await desk.decide(password=f"Wrong-pass-{number}")
    answer = await desk.decide()

    assert pauses == sorted(pauses)
    assert len(pauses) == 3
    assert answer.status_code == 200


async def test_a_decision_is_made_once(desk: Desk):
    form = await desk.form()
    first = await desk.browser.post("/auth/", data=form | {"decision": "refuse"})
    again = await desk.browser.post("/auth/", data=form)

    assert (first.status_code, again.status_code) == (200, 404)
    assert await desk.asked() == 403


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "00000000-0000-4000-8000-000000000000",
        "'; DROP TABLE login",
        "\0",
        "00000000-0000-4000-8000-00000000000\N{FULLWIDTH DIGIT ONE}",
    ],
)
async def test_what_was_not_asked_for_cannot_be_decided(desk: Desk, token: str):
    shown = await desk.browser.get("/auth/", params={"credentialToken": token})
    decided = await desk.decide(credentialToken=token)

    assert (shown.status_code, decided.status_code) in {(404, 404), (404, 400)}
    assert "password" not in shown.text


async def test_a_request_grows_old(desk: Desk):
    form = await desk.form()
    desk.platform.clock.go_on(credentials.UNDECIDED / 1_000_000 + 1)

    assert (await desk.browser.get(desk.page)).status_code == 404
    assert (await desk.browser.post("/auth/", data=form)).status_code == 404


@pytest.mark.parametrize(
    "changed", [{"decision": "maybe"}, {"decision": ""}, {"lifetime": "ever"}, {"lifetime": ""}]
)
async def test_a_form_that_is_not_the_pages_own_decides_nothing(desk: Desk, changed: dict[str, str]):
    answer = await desk.decide(**changed)

    assert answer.status_code == 400
    assert await desk.asked() == 403


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a=%ff", b"&".join([b"a=1"] * 100), b"a" * 20_000])
async def test_what_is_no_form_is_refused(desk: Desk, body: bytes):
    assert (await desk.browser.post("/auth/", content=body)).status_code == 400


async def test_what_an_application_calls_itself_is_text_on_the_page(desk: Desk):
    evil = await desk.platform.change(
        lambda tx: credentials.create_application(
            tx, MASTER, account=desk.alice.account, login=desk.alice.login, name="<script>alert(1)</script>",
            description='"><img src=x>',
        )
    )  # fmt: skip
    headers = {"X-Ovh-Application": evil.key}
    body = {
        "accessRules": [{"method": "GET", "path": "/<b>*"}],
        "redirection": "https://x.example/'><script>",
        "allowedIPs": ["192.0.2.0/24"],
    }
    asked = await desk.browser.post("/1.0/auth/credential", json=body, headers=headers)
    page = asked.json()["validationUrl"]
    shown = await desk.browser.get(page)
    done = await desk.browser.post(
        "/auth/", data=await desk.form() | {"credentialToken": page.rpartition("=")[2]}
    )

    assert "192.0.2.0/24 only" in shown.text
    for answer in (shown, done):
        assert {"script", "img", "b"}.isdisjoint(Form(answer.text).tags)


async def test_decisions_and_denials_are_in_the_record(desk: Desk):
    await desk.decide(user="nobody")
    await desk.decide(password="Wrong-pass-1")
    await desk.decide()
    assert await desk.asked() == 200
    await desk.application.post("/1.0/auth/logout")

    changed = await desk.platform.db.all(CHANGED, account=desk.alice.account)
    denied = await desk.platform.db.all(DENIED, account=desk.alice.account)
    who = f"{desk.alice.account_name}/alice"
    assert [(row.kind, row.actor, row.target) for row in changed] == [
        ("credential.validated", who, desk.token)
    ]
    assert {(row.kind, row.rule, row.target) for row in denied} == {
        ("user.sign-in", "wrong password", desk.alice.login),
        ("call.denied", "NOT_GRANTED_CALL", desk.token),
    }


async def test_a_user_who_is_kept_out_decides_nothing_and_what_they_allowed_ends(desk: Desk):
    form = await desk.form()
    await desk.decide()
    assert await desk.asked() == 200
    await desk.platform.db.write(DISABLE, id=desk.alice.login)
    waiting = await ask(desk.application)
    token = waiting["validationUrl"].rpartition("=")[2]

    assert await desk.asked() == 403
    assert (await desk.browser.post("/auth/", data=form | {"credentialToken": token})).status_code == 401
