"""Clients of OAuth2: tokens that are asked for as RFC 6749 has it, and what they open until they are revoked."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import bindparam, func, select, update

from moorage.cloud import oauth2
from moorage.cloud.rules import Limits
from moorage.db import Statement
from moorage.db.platform import account, cloud_event, cloud_outbox, login, oauth2_token
from tests.functional.cloud_api_world import Api, Service

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

CLIENTS = "/1.0/me/api/oauth2/client"
ASKED = {"name": "terraform", "description": "CI", "flow": "CLIENT_CREDENTIALS", "callbackUrls": []}
EXPIRE = Statement(
    update(oauth2_token).where(oauth2_token.c.client_id == bindparam("client")).values(expires_at=1)
)
TOKENS = Statement(select(func.count().label("n")).where(oauth2_token.c.client_id == bindparam("client")))
KEPT = Statement(select(oauth2_token.c.hash).where(oauth2_token.c.client_id == bindparam("client")))
ORDINARY = Statement(update(login).where(login.c.id == bindparam("which")).values(admin=0))
CLOSE = Statement(update(account).where(account.c.id == bindparam("which")).values(state="CLOSED"))
CHANGES = Statement(
    select(cloud_outbox.c.kind, cloud_outbox.c.actor).where(cloud_outbox.c.target == bindparam("target"))
)
DENIALS = Statement(
    select(cloud_event.c.kind, cloud_event.c.rule).where(cloud_event.c.target == bindparam("target"))
)


async def made(api: Api, **changed: Any) -> dict[str, str]:
    """Make a client through the API."""
    answer = await api.owner.client.post(CLIENTS, json=ASKED | changed)
    assert answer.status_code == 200, answer.text
    given: dict[str, str] = answer.json()
    return given


async def asked(api: Api, form: dict[str, str], auth: tuple[str, str] | None = None) -> httpx.Response:
    """Ask for a token."""
    anybody = await api.anybody()
    return await anybody.post("/auth/oauth2/token", data=form, auth=auth or httpx.Auth())


async def status(service: Service) -> int:
    """Say what a token is answered now."""
    return (await service.call("GET", "/containerRegistry")).status_code


async def test_a_client_is_made_shown_renamed_and_ended(api: Api):
    new = await made(api)
    one = f"{CLIENTS}/{new['clientId']}"
    owner = api.owner.client
    listed = (await owner.get(CLIENTS)).json()
    shown = (await owner.get(one)).json()
    renamed = await owner.put(one, json={"name": "pipeline", "description": ""})
    again = (await owner.get(one)).json()
    ended = await owner.delete(one)

    assert new.keys() == {"clientId", "clientSecret"}
    assert new["clientId"] in listed
    assert shown["identity"].endswith(f"/oauth2-{new['clientId']}")
    assert {name: shown[name] for name in ("name", "description", "flow", "callbackUrls")} == ASKED
    assert new["clientSecret"] not in str(shown)
    assert (renamed.json(), again["name"]) == (None, "pipeline")
    assert (ended.status_code, (await owner.get(one)).status_code) == (200, 404)
    kinds = [row.kind for row in await api.orders.platform.all(CHANGES, target=new["clientId"])]
    assert kinds == ["oauth2-client.created", "oauth2-client.changed", "oauth2-client.revoked"]


async def test_a_client_may_do_nothing_until_a_policy_names_it(api: Api):
    nobody = await api.service()
    allowed = await api.service("containerRegistry/*")
    order = {"name": "by-client", "region": "LOCAL"}

    assert await status(nobody) == 404
    assert (await nobody.client.get("/1.0/cloud/project")).json() == []
    assert (await allowed.client.get("/1.0/cloud/project")).json() == [api.owner.project]
    assert (await allowed.call("POST", "/containerRegistry", order)).status_code == 200
    refused = await allowed.call("GET", "")
    assert (refused.status_code, refused.json()["errorCode"]) == (403, "FORBIDDEN")


async def test_a_client_is_told_of_as_what_it_is(api: Api):
    service = await api.service("*")
    details = (await service.client.get("/1.0/auth/details")).json()
    current = (await service.client.get("/v1/auth/currentCredential")).json()
    me = (await service.client.get("/1.0/me")).json()

    assert (details["user"], details["method"]) == (None, "oauth2")
    assert details["identities"] == [service.made.client.identity]
    assert (current["applicationId"], current["status"]) == (service.id, "validated")
    assert (me["customerCode"], me["email"]) == (api.owner.account, "")


async def test_what_a_client_does_is_recorded_in_its_own_name(api: Api):
    service = await api.service("containerRegistry/*")
    ordered = await service.call("POST", "/containerRegistry", {"name": "mine", "region": "LOCAL"})

    rows = await api.orders.platform.all(CHANGES, target=ordered.json()["id"])

    assert [row.actor.partition("/")[2] for row in rows] == [f"oauth2-{service.id}"]


async def test_a_token_is_answered_as_the_standard_has_it(api: Api):
    new = await made(api)
    basic = (new["clientId"], new["clientSecret"])
    answer = await asked(api, {"grant_type": "client_credentials", "scope": "all"}, basic)
    in_form = await asked(
        api, {"grant_type": "client_credentials", "client_id": basic[0], "client_secret": basic[1]}
    )

    given = answer.json()
    assert given.pop("access_token")
    assert given == {"token_type": "Bearer", "expires_in": 3600, "scope": "all"}
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    assert in_form.status_code == 200


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({}, "invalid_request"),
    ({"grant_type": ""}, "invalid_request"),
    ({"grant_type": "password"}, "unsupported_grant_type"),
    ({"grant_type": "client_credentials", "scope": "account/all"}, "invalid_scope"),
    ({"grant_type": "client_credentials", "client_secret": "x"}, "invalid_request"),
    ({"grant_type": ["client_credentials"] * 2}, "invalid_request"),
    ({"grant_type": "client_credentials", **{f"f{n}": "1" for n in range(30)}}, "invalid_request"),
    ({"grant_type": "client_credentials", "client_id": "another"}, "invalid_client"),
    ({"grant_type": "client_credentials", "padding": "x" * 20_000}, "invalid_request"),
]


async def test_a_request_that_breaks_a_rule_is_refused_by_the_standards_code(api: Api):
    new = await made(api)
    for form, error in BROKEN:
        answer = await asked(api, form, (new["clientId"], new["clientSecret"]))

        assert (answer.status_code in {400, 401, 413}, answer.json()["error"]) == (True, error), form
        assert set(answer.json()["error_description"]).isdisjoint('"\\')
        assert answer.headers["cache-control"] == "no-store"


async def test_an_unknown_client_and_a_wrong_secret_are_answered_alike(api: Api):
    new = await made(api)
    form = {"grant_type": "client_credentials"}
    answers = [
        await asked(api, form, (new["clientId"], "0" * 32)),
        await asked(api, form, ("0123456789abcdef", "0" * 32)),
        await asked(api, form, ("a\0b", "0" * 32)),
    ]
    await asked(api, form, (new["clientId"], "1" * 32))

    assert {(one.status_code, one.text, one.headers["www-authenticate"]) for one in answers} == {
        (401, answers[0].text, 'Basic realm="moorage"')
    }
    # Once a minute: who guesses does not fill the record.
    denied = await api.orders.platform.all(DENIALS, target=new["clientId"])
    assert {(row.kind, row.rule) for row in denied} == {("oauth2-client.token", "wrong secret")}


async def test_a_token_ends_with_its_hour_its_client_or_its_account(api: Api):
    platform = api.orders.platform
    late, ended, logged_out = [await api.service("*") for _ in range(3)]
    renewed, closed = await api.service("*"), await api.service("*")
    assert {await status(one) for one in (late, ended, logged_out, renewed)} == {200}

    await platform.write(EXPIRE, client=late.id)
    await api.owner.client.delete(f"{CLIENTS}/{ended.id}")
    await logged_out.client.post("/1.0/auth/logout")
    fresh = (await api.owner.client.post(f"{CLIENTS}/{renewed.id}/secret")).json()

    assert [await status(one) for one in (late, ended, logged_out, renewed)] == [401] * 4
    assert (await ended.token()).status_code == 401
    assert (await renewed.token()).status_code == 401
    assert (await asked(api, {"grant_type": "client_credentials"}, tuple(fresh.values()))).status_code == 200
    assert (await late.token()).status_code == 200
    await platform.write(CLOSE, which=api.owner.account)
    assert (await status(closed), (await closed.token()).status_code) == (401, 401)


async def test_a_bad_token_is_told_of_as_the_standard_has_it(api: Api):
    anybody = await api.anybody()
    answer = await anybody.get("/1.0/me", headers={"Authorization": "Bearer nothing"})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="moorage", error="invalid_token"'
    assert answer.json()["class"] == "Client::Unauthorized"
    assert answer.json()["errorCode"] == "INVALID_CREDENTIAL"


async def test_a_client_ends_its_own_tokens_and_no_others(api: Api):
    one, other = await api.service("*"), await api.service("*")
    token = one.client.headers["Authorization"].partition(" ")[2]

    async def revoked(by: Service) -> int:
        auth = httpx.BasicAuth(by.id, by.made.secret)
        answer = await (await api.anybody()).post("/auth/oauth2/revoke", data={"token": token}, auth=auth)
        return answer.status_code

    assert (await revoked(other), await status(one)) == (200, 200)
    assert (await revoked(one), await status(one)) == (200, 401)
    assert await revoked(one) == 200


async def test_a_client_is_kept_to_its_calls_and_addresses(api: Api):
    reader = await api.service("*", limits=Limits.checked([("GET", "/cloud/*")], None))
    elsewhere = await made(api, allowedIPs=["192.0.2.0/24"])
    refused = await reader.call("POST", "/containerRegistry", {"name": "a", "region": "LOCAL"})
    token = await asked(
        api, {"grant_type": "client_credentials"}, (elsewhere["clientId"], elsewhere["clientSecret"])
    )

    assert (await status(reader), refused.json()["errorCode"]) == (200, "NOT_GRANTED_CALL")
    assert (token.status_code, token.json()["error"]) == (403, "invalid_client")


async def test_who_takes_a_token_for_each_call_ends_the_oldest(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(oauth2, "MOST_TOKENS", 3)
    service = await api.service("*")
    for _ in range(2):
        assert (await service.token()).status_code == 200
    assert await status(service) == 200
    assert (await service.token()).status_code == 200

    assert (await api.orders.platform.one(TOKENS, client=service.id)).n == 3
    assert await status(service) == 401


async def test_neither_secret_nor_token_is_kept(api: Api):
    service = await api.service("*")
    token = service.client.headers["Authorization"].partition(" ")[2]
    rows = await api.orders.platform.all(KEPT, client=service.id)

    assert token.encode() not in {bytes(row.hash) for row in rows}
    assert token not in repr(service.made)
    assert service.made.secret not in repr(service.made)


BAD: list[tuple[str, object]] = [
    ("name", ""), ("name", "x" * 65), ("name", " a"), ("name", "a\n"), ("name", 1), ("name", None),
    ("description", "x" * 256), ("description", "\0"), ("flow", "AUTHORIZATION_CODE"), ("flow", 1),
    ("callbackUrls", ["https://app.example"]), ("callbackUrls", "x"), ("accessRules", []),
    ("accessRules", [{"method": "PATCH", "path": "/*"}]), ("accessRules", [{"method": "GET", "path": "x"}]),
    ("allowedIPs", ["x"]), ("allowedIPs", "192.0.2.1"), ("other", 1),
]  # fmt: skip


async def test_a_bad_field_is_named_with_its_rule_and_nothing_is_made(api: Api):
    for field, value in BAD:
        answer = await api.owner.client.post(CLIENTS, json=ASKED | {field: value})

        assert (answer.status_code, answer.json()["class"]) == (400, "Client::BadRequest"), (field, value)
        assert answer.json()["message"].startswith(field)
    assert (await api.owner.client.get(CLIENTS)).json() == []


async def test_clients_are_made_by_those_who_administer_the_account(api: Api):
    service = await api.service("*")
    stranger = await api.customer()
    await api.orders.platform.write(ORDINARY, which=api.owner.login)

    for method, path in (("GET", CLIENTS), ("POST", CLIENTS), ("DELETE", f"{CLIENTS}/{service.id}")):
        body = ASKED if method == "POST" else None
        for who in (api.owner.client, service.client):
            refused = await who.request(method, path, json=body)
            assert (refused.status_code, refused.json()["errorCode"]) == (403, "FORBIDDEN")
    assert (await stranger.client.get(f"{CLIENTS}/{service.id}")).status_code == 404
    assert (await stranger.client.delete(f"{CLIENTS}/{service.id}")).status_code == 404
    assert await status(service) == 200
