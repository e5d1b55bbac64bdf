"""Who may call the provider's API: signatures, credentials and what limits them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.auth import Auth
from moorage.api.cloud.endpoints import CloudApi
from moorage.api.cloud.routes import Route, Table
from moorage.api.cloud.signatures import SKEW
from moorage.api.forwarded import Proxies
from moorage.api.front import front
from moorage.cloud import credentials
from moorage.cloud.events import SYSTEM
from moorage.cloud.rules import EVERYTHING, Limits
from tests.functional.cloud_world import BASE, MASTER, Person, Platform, Signer

DETAILS = "/1.0/auth/details"
RULES = [{"method": "GET", "path": "/*"}]


@dataclass
class Api:
    """The calls about credentials, and alice, who may make them all."""

    platform: Platform
    app: CloudApi
    alice: Person
    signer: Signer
    client: httpx.AsyncClient

    async def as_(self, signer: Signer | None, **more: Any) -> httpx.AsyncClient:
        return await self.platform.client(front(self.app, Proxies(())), signer, **more)

    async def limited(self, *rules: tuple[str, str], addresses: list[str] | None = None) -> httpx.AsyncClient:
        consumer = await self.platform.consumer(self.alice, Limits.checked(rules, addresses))
        return await self.as_(self.platform.signer(self.alice, consumer))


@pytest.fixture
async def api(platform: Platform) -> Api:
    """Answer calls about credentials on each engine."""
    changed = Route("PUT", "/changed/{serviceName}", "changed", _nothing, "Change", needs=Needs.CREDENTIAL)
    app = CloudApi(platform.db, MASTER, Table([*Auth(platform.db, "/auth/").routes(), changed]))
    alice = await platform.person("alice")
    signer = platform.signer(alice, await platform.consumer(alice))
    client = await platform.client(front(app, Proxies(())), signer)
    return Api(platform, app, alice, signer, client)


async def _nothing(_: Ask) -> None:
    """Change nothing."""


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Read a refusal, which is what SDKs read."""
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["errorCode"]) == (status, code), answer.text
    assert body["message"]
    assert body["class"].startswith("Client::")
    assert body["httpCode"].startswith(str(status))
    assert answer.headers["x-ovh-queryid"]
    return body


@pytest.mark.parametrize("prefix", ["/1.0", "/v1"])
async def test_the_time_is_a_bare_number_that_needs_no_signature(api: Api, prefix: str):
    anybody = await api.as_(None)

    answer = await anybody.get(f"{prefix}/auth/time")

    assert answer.json() == api.platform.clock.at // 1_000_000
    assert answer.headers["content-type"].startswith("application/json")


async def test_a_signed_call_is_answered_with_who_signed_it(api: Api):
    answer = await api.client.get(DETAILS)

    assert answer.status_code == 200
    assert answer.json() == {
        "account": api.alice.account_name,
        "allowedRoutes": [{"method": rule.method, "path": rule.path} for rule in EVERYTHING],
        "description": "tests",
        "identities": [f"urn:v1:moorage:identity:user:{api.alice.account_name}/alice"],
        "method": "account",
        "roles": [],
        "user": "alice",
    }


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        (f"{DETAILS}?a=1&b=two%20words&c=%2F%3F", ""),
        (f"{DETAILS}?q=a+b&e=&f", ""),
        ("/v1/auth/details", ""),
        ("/1.0/auth/details?name=caf%C3%A9", f"{BASE}/1.0/auth/details?name=café"),
        ("/1.0/auth/details?name=a%20b", f"{BASE}/1.0/auth/details?name=a b"),
        ("/1.0/auth/details?name=%22", f'{BASE}/1.0/auth/details?name="'),
    ],
)
async def test_the_url_is_signed_as_it_was_typed(api: Api, path: str, typed: str):
    client = await api.as_(replace(api.signer, signed_as=typed or BASE + path))

    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    "dropped", ["X-Ovh-Application", "X-Ovh-Consumer", "X-Ovh-Timestamp", "X-Ovh-Signature"]
)
async def test_an_unsigned_call_is_refused(api: Api, dropped: str):
    client = await api.as_(replace(api.signer, drop=(dropped,)))

    assert dropped in refused(await client.get(DETAILS), 403, "NOT_CREDENTIAL")["message"]


async def test_a_wrong_secret_a_wrong_key_and_a_wrong_consumer_key_are_told_apart(api: Api):
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"secret": "x" * 32}, 400, "INVALID_SIGNATURE"),
        ({"key": "x" * 16}, 403, "INVALID_KEY"),
        ({"consumer": "x" * 32}, 403, "INVALID_CREDENTIAL"),
        (
            {"consumer": "\N{LATIN SMALL LETTER E WITH ACUTE}".encode().decode("latin-1")},
            403,
            "INVALID_CREDENTIAL",
        ),
    ]
    for change, status, code in cases:
        client = await api.as_(replace(api.signer, **change))
        refused(await client.get(DETAILS), status, code)


async def test_another_applications_consumer_key_is_no_use(api: Api):
    mallory = await api.platform.person("mallory")
    stolen = replace(api.platform.signer(mallory, api.signer.consumer))

    client = await api.as_(stolen)

    refused(await client.get(DETAILS), 403, "INVALID_CREDENTIAL")


@pytest.mark.parametrize("away", [-SKEW - 2, SKEW + 2])
async def test_a_time_that_is_too_far_away_is_refused(api: Api, away: int):
    client = await api.as_(replace(api.signer, now=lambda: api.platform.clock.at // 1_000_000 + away))

    refused(await client.get(DETAILS), 400, "QUERY_TIME_OUT")


async def test_a_change_that_is_sent_again_is_refused(api: Api):
    first = await api.client.put("/1.0/changed/it", json={"a": 1})
    again = await api.client.put("/1.0/changed/it", json={"a": 1})
    other = await api.client.put("/1.0/changed/it", json={"a": 2})
    api.platform.clock.go_on(1)
    later = await api.client.put("/1.0/changed/it", json={"a": 1})

    assert (first.status_code, first.content) == (200, b"null")
    refused(again, 403, "QUERY_REPLAYED")
    assert (other.status_code, later.status_code) == (200, 200)


async def test_a_question_may_be_asked_twice_in_a_second_and_is_not_good_for_longer(api: Api):
    """An SDK that asks the same twice within a second signs the same twice."""
    begun = api.platform.clock.at // 1_000_000
    client = await api.as_(replace(api.signer, now=lambda: begun))
    first = await client.get(DETAILS)
    soon = await client.get(DETAILS)
    api.platform.clock.go_on(credentials.REPEATED / 1_000_000 + 1)
    late = await client.get(DETAILS)

    assert (first.status_code, soon.status_code) == (200, 200)
    refused(late, 403, "QUERY_REPLAYED")


async def test_a_signature_is_remembered_for_as_long_as_its_time_is_good(api: Api):
    """Signed for a time ahead, it would be good until that time has passed by as much again."""
    ahead = api.platform.clock.at // 1_000_000 + SKEW
    client = await api.as_(replace(api.signer, now=lambda: ahead))
    assert (await client.put("/1.0/changed/it")).status_code == 200
    for _ in range(9):
        api.platform.clock.go_on(SKEW / 5)
        # Other calls make room by forgetting old signatures.
        assert (await api.client.get(DETAILS)).status_code == 200

    answer = await client.put("/1.0/changed/it")

    refused(answer, 403, "QUERY_REPLAYED")


async def test_a_limited_credential_has_its_calls_and_no_others(api: Api):
    client = await api.limited(("GET", "/auth/*"), ("PUT", "/changed/mine"))

    assert (await client.get(DETAILS)).status_code == 200
    assert (await client.get("/v1/auth/details")).status_code == 200
    assert (await client.put("/1.0/changed/mine")).status_code == 200
    refused(await client.put("/1.0/changed/yours"), 403, "NOT_GRANTED_CALL")
    refused(await client.post("/1.0/auth/logout"), 403, "NOT_GRANTED_CALL")


async def test_a_credential_that_was_granted_v1_by_name_has_it_there_alone(api: Api):
    client = await api.limited(("GET", "/v1/auth/*"))

    assert (await client.get("/v1/auth/details")).status_code == 200
    refused(await client.get(DETAILS), 403, "NOT_GRANTED_CALL")


async def test_a_credential_is_kept_to_its_addresses(api: Api):
    consumer = await api.platform.consumer(
        api.alice, Limits.checked([("GET", "/*")], ["203.0.113.0/24", "2001:db8::/64"])
    )
    signer = api.platform.signer(api.alice, consumer)
    for address, allowed in [
        ("203.0.113.9", True),
        ("2001:db8::7", True),
        ("198.51.100.1", False),
        ("2001:db9::7", False),
    ]:
        client = await api.as_(signer, client=(address, 5))
        answer = await client.get(f"{DETAILS}?from={address}")
        if allowed:
            assert answer.status_code == 200
        else:
            refused(answer, 403, "FORBIDDEN")


async def test_an_expired_credential_is_refused(api: Api):
    consumer = await api.platform.consumer(api.alice, expires_at=api.platform.clock.at + 1_000_000)
    client = await api.as_(api.platform.signer(api.alice, consumer))
    before = await client.get(DETAILS)
    api.platform.clock.go_on(1)
    after = await client.get(DETAILS)

    assert before.status_code == 200
    assert "expired" in refused(after, 403, "INVALID_CREDENTIAL")["message"]


async def test_a_credential_ends_itself(api: Api):
    current = (await api.client.get("/1.0/auth/currentCredential")).json()

    assert (await api.client.post("/1.0/auth/logout")).json() is None
    refused(await api.client.get(DETAILS), 403, "INVALID_CREDENTIAL")
    assert (current["status"], current["expiration"]) == ("validated", None)


async def test_an_application_that_is_revoked_takes_its_credentials_with_it(api: Api):
    await api.platform.change(
        lambda tx: credentials.revoke_application(tx, api.alice.account, api.alice.application.id, SYSTEM)
    )

    refused(await api.client.get(DETAILS), 403, "INVALID_KEY")
    answer = await (await api.as_(None)).post(
        "/1.0/auth/credential", json={"accessRules": RULES}, headers={"X-Ovh-Application": api.signer.key}
    )
    refused(answer, 403, "INVALID_KEY")


async def test_only_its_own_account_revokes_an_application(api: Api):
    mallory = await api.platform.person("mallory")

    with pytest.raises(credentials.ApplicationUnknown):
        await api.platform.change(
            lambda tx: credentials.revoke_application(tx, mallory.account, api.alice.application.id, SYSTEM)
        )
    assert (await api.client.get(DETAILS)).status_code == 200


async def test_a_refusal_tells_nothing_of_a_credential_to_who_has_not_its_secret(api: Api):
    """Only who signs right hears that a credential has expired, was revoked, or waits."""
    await api.client.post("/1.0/auth/logout")
    guesser = await api.as_(replace(api.signer, secret="guess"))

    refused(await guesser.get(DETAILS), 400, "INVALID_SIGNATURE")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/1.0/nothing", 404), ("PUT", "/1.0/auth/time", 405), ("GET", "/1.0/auth/logout", 405)],
)
async def test_what_the_api_does_not_have_is_refused_in_its_dialect(
    api: Api, method: str, path: str, status: int
):
    answer = await (await api.as_(None)).request(method, path)

    assert answer.status_code == status
    assert answer.json()["class"] == ("Client::NotFound" if status == 404 else "Client::MethodNotAllowed")
    assert ("allow" in answer.headers) == (status == 405)


async def test_a_body_that_is_too_long_is_refused(api: Api):
    answer = await api.client.put("/1.0/changed/it", content=b"x" * 70_000)

    assert answer.status_code == 413
    assert "65536" in answer.json()["message"]


def ask_for(**more: object) -> dict[str, object]:
    return {"accessRules": RULES, "redirection": None, "allowedIPs": None} | more


async def test_a_credential_that_is_asked_for_waits_for_a_user(api: Api):
    asked = await (await api.as_(None)).post(
        "/1.0/auth/credential", json=ask_for(), headers={"X-Ovh-Application": api.signer.key}
    )
    given = asked.json()
    client = await api.as_(api.platform.signer(api.alice, given["consumerKey"]))

    assert given["state"] == "pendingValidation"
    assert given["validationUrl"].startswith(f"{BASE}/auth/?credentialToken=")
    assert given["consumerKey"] not in given["validationUrl"]
    assert "validationUrl" in refused(await client.get(DETAILS), 403, "INVALID_CREDENTIAL")["message"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "accessRules: is required"),
        (ask_for(accessRules=[]), "accessRules: must have 1 to"),
        (ask_for(accessRules=[{"method": "GET"}]), "accessRules[0].path: is required"),
        (ask_for(accessRules=[{"method": "LIST", "path": "/"}]), "accessRules[0].method: must be one of"),
        (ask_for(accessRules=[{"method": "GET", "path": "me"}]), "accessRules[0].path: must begin with /"),
        (ask_for(allowedIPs=["here"]), "allowedIPs[0]: must be an address"),
        (ask_for(allowedIPs="192.0.2.1"), "allowedIPs: must be an array or null"),
        (ask_for(redirection="javascript:alert(1)"), "redirection: must be an http"),
        (ask_for(redirection="//evil.example"), "redirection: must be"),
        (ask_for(redirection="https://a@b.example/"), "redirection: must be"),
        (ask_for(redirection="https://[b/"), "redirection: must be"),
        (ask_for(redirection="https://b.example/ x"), "redirection: must be"),
        (ask_for(redirection="https://b.example/" + "x" * 3000), "redirection: must be"),
        (ask_for(redirection=7), "redirection: must be a string or null"),
        (ask_for(secret=1), "secret: is no field of this call"),
    ],
)
async def test_a_request_for_a_credential_that_breaks_a_rule_is_refused_by_name(
    api: Api, body: dict[str, object], told: str
):
    answer = await (await api.as_(None)).post(
        "/1.0/auth/credential", json=body, headers={"X-Ovh-Application": api.signer.key}
    )

    assert (answer.status_code, answer.json()["class"]) == (400, "Client::BadRequest")
    assert answer.json()["message"].startswith(told)


async def test_an_application_asks_for_no_more_than_users_can_decide_about(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(credentials, "MOST_UNDECIDED", 3)
    anybody = await api.as_(None)

    async def ask() -> int:
        headers = {"X-Ovh-Application": api.signer.key}
        return (await anybody.post("/1.0/auth/credential", json=ask_for(), headers=headers)).status_code

    assert [await ask() for _ in range(4)] == [200, 200, 200, 429]
    api.platform.clock.go_on(credentials.UNDECIDED / 1_000_000 + 1)
    assert await ask() == 200


async def test_no_secret_stands_in_the_rows_in_clear(api: Api, tmp_path: Any):
    await api.client.get(DETAILS)
    await api.platform.db.close()

    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert api.signer.secret.encode() not in kept
    assert api.signer.consumer.encode() not in kept
