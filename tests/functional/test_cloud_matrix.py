"""Every call with every kind of caller, generated from the table of calls: what is not listed here does not exist."""

from __future__ import annotations

import re
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import bindparam, select

from moorage.api.cloud.api import cloud_api
from moorage.api.cloud.asks import Needs
from moorage.api.cloud.routes import Route
from moorage.api.forwarded import Proxies
from moorage.api.front import front
from moorage.cloud import credentials, members
from moorage.cloud.members import Role
from moorage.cloud.rules import Limits
from moorage.db import Statement, Tx
from moorage.db.platform import cloud_event
from tests.functional.cloud_api_world import MEDIUM, Api
from tests.functional.cloud_world import BASE
from tests.functional.ordering_world import Orders

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

# What each role may, said again by hand: a pattern of the product that grants more than this shows.
READS: Final = {
    "get", "region/get", "capabilities/containerRegistry/get", "containerRegistry/get",
    "containerRegistry/certificate/get", "containerRegistry/plan/get", "containerRegistry/capabilities/plan/get",
    "containerRegistry/users/get",
    "containerRegistry/ipRestrictions/registry/get", "containerRegistry/ipRestrictions/management/get",
    "containerRegistry/usage/get", "containerRegistry/limits/get", "containerRegistry/forecast/get", "inventory/get",
    "containerRegistry/grant/get",
    "containerRegistry/responsibility/get", "containerRegistry/ledger/get", "containerRegistry/notification/get",
    "containerRegistry/notification/mail/get",
    "containerRegistry/openIdConnect/get",
}  # fmt: skip
# What an administrator may see beside, and what owners alone may do.
RIGHTS: Final = {"member/get", "policy/get"}
WRITES: Final = {
    "containerRegistry/create", "containerRegistry/edit", "containerRegistry/delete", "containerRegistry/undelete",
    "containerRegistry/plan/edit", "containerRegistry/users/create", "containerRegistry/users/delete",
    "containerRegistry/users/setAsAdmin", "containerRegistry/ipRestrictions/registry/edit",
    "containerRegistry/ipRestrictions/management/edit", "containerRegistry/ledger/export",
    "containerRegistry/openIdConnect/upsert",
    "containerRegistry/openIdConnect/edit", "containerRegistry/openIdConnect/delete", "containerRegistry/iam/enable",
    "containerRegistry/iam/disable",
    "containerRegistry/grant/approve", "containerRegistry/grant/refuse", "containerRegistry/grant/end",
}  # fmt: skip
# About oneself: whoever may read notifications may have them mailed, or not.
OWN_MAIL: Final = {"containerRegistry/notification/mail/edit"}
HOOKS: Final = {"webhook/get", "webhook/create", "webhook/edit", "webhook/delete"}
BILLS: Final = {"usage/bill/get"}
# Who decides about others' rights is an owner: no policy makes one.
OWNERS: Final = {
    "member/create", "member/edit", "member/delete", "member/invitation/delete", "policy/create", "policy/edit",
    "policy/delete",
}  # fmt: skip
MAY: Final[dict[Role, set[str]]] = {
    Role.OWNER: READS | OWN_MAIL | WRITES | RIGHTS | OWNERS | BILLS | HOOKS | {"member/invitation/get"},
    Role.ADMINISTRATOR: READS | OWN_MAIL | WRITES | RIGHTS | BILLS | HOOKS,
    Role.REGISTRIES: READS | OWN_MAIL | WRITES,
    Role.READER: READS | OWN_MAIL,
    Role.BILLING: BILLS | {
        "get", "region/get", "capabilities/containerRegistry/get", "containerRegistry/get", "containerRegistry/usage/get",
        "containerRegistry/limits/get", "containerRegistry/forecast/get", "inventory/get",
        "containerRegistry/certificate/get",
    },
}  # fmt: skip
BODIES: Final[dict[str, Any]] = {
    "containerRegistry/create": {"name": "matrix", "region": "LOCAL"},
    "containerRegistry/edit": {"name": "matrix"},
    "containerRegistry/plan/edit": {"planID": MEDIUM},
    "containerRegistry/ipRestrictions/registry/edit": [{"ipBlock": "127.0.0.1"}],
    "containerRegistry/ipRestrictions/management/edit": [],
    "containerRegistry/notification/mail/edit": {"enabled": False},
    "webhook/create": {"url": "https://example.com/"},
    "member/create": {"user": "nobody/nobody", "role": "reader"},
    "member/edit": {"role": "reader"},
    "containerRegistry/openIdConnect/upsert": {
        "deleteUsers": True,
        "provider": {
            "name": "a",
            "endpoint": "https://idp.example.com",
            "clientId": "a",
            "clientSecret": "a",
            "scope": "openid",
        },
    },
    "containerRegistry/iam/enable": {"deleteUsers": True},
    "auth/credential/create": {"accessRules": [{"method": "GET", "path": "/*"}]},
}
DENIED = Statement(
    select(cloud_event.c.rule, cloud_event.c.body).where(
        cloud_event.c.account_id == bindparam("account"), cloud_event.c.kind == "call.denied"
    )
)
OPEN: Final = {Needs.NOTHING, Needs.APPLICATION}
NOBODYS: Final = "0123456789abcdef0123456789abcdef"


def routes_of(orders: Orders) -> list[Route]:
    """List the table's calls, those that end things last."""
    app = cloud_api(orders.desk, orders.world.parts.master, orders.world.passwords, validation="/auth/")
    ends = {"containerRegistry/delete": 2, "containerRegistry/undelete": 3, "auth/logout": 4}
    return sorted(app.table.routes, key=lambda route: ends.get(route.action, 1))


def filled(route: Route, project: str, registry: str = "", user: str = "1") -> str:
    """Put values in a call's path."""
    values = {
        "serviceName": project, "registryID": registry, "userID": user, "regionName": "LOCAL", "activityId": "R18",
        "eventId": NOBODYS, "grantId": NOBODYS,
    }  # fmt: skip
    # What the original has under /v2 alone stands so in the table.
    prefix = "" if route.path.startswith("/v2/") else "/1.0"
    return prefix + re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], NOBODYS), route.path)


async def call(client: httpx.AsyncClient, route: Route, path: str) -> httpx.Response:
    """Make a call with the body that it takes."""
    return await client.request(route.method, path, json=BODIES.get(route.action))


async def test_each_role_may_what_it_is_said_to_and_no_more(api: Api):
    """A call that is added to the table without a decision about who may make it fails here."""
    routes = [route for route in routes_of(api.orders) if route.needs is Needs.ROLE]
    assert {route.action for route in routes} == MAY[Role.OWNER]
    wrong = []
    for role, granted in MAY.items():
        made = await api.ready(f"for-{role}")
        member = await api.customer(role, api.owner.project)
        user = (await api.owner.call("POST", f"/containerRegistry/{made['id']}/users")).json()["id"]
        for route in routes:
            answer = await call(member.client, route, filled(route, api.owner.project, made["id"], user))
            refused = answer.status_code == 403 and answer.json()["errorCode"] == "FORBIDDEN"
            # A role that may is let through to the call itself, which may find that it is not the time for it.
            if refused == (route.action in granted) or answer.status_code not in {200, 400, 403, 404, 409}:
                wrong.append((role, route.action, answer.status_code, answer.text))
            await api.orders.work()
    assert not wrong


async def test_no_call_but_the_open_ones_is_answered_without_a_credential(api: Api):
    anonymous = httpx.AsyncClient(transport=httpx.ASGITransport(front(api.app, Proxies(()))), base_url=BASE)
    made = await api.ready()
    seen = {}
    for route in routes_of(api.orders):
        answer = await call(anonymous, route, filled(route, api.owner.project, made["id"]))
        seen[route.action] = answer.status_code
    await anonymous.aclose()

    opened = {action for action, status in seen.items() if status == 200}
    assert opened == {"auth/time/get", "openapi/get", "signingKey/get"}
    assert set(seen.values()) == {200, 403}


async def test_a_credential_that_is_good_for_nothing_is_good_for_no_call(api: Api):
    made = await api.ready()
    now = api.orders.platform.now()

    async def work(tx: Tx) -> dict[str, str]:
        application, login = api.owner.application, api.owner.login
        expired = await credentials.create_validated(
            tx, application.id, login, Limits.checked([("GET", "/*")], None), expires_at=now - 1
        )
        pending = await credentials.request(tx, application.key, Limits.checked([("GET", "/*")], None), None)
        elsewhere = await credentials.create_validated(
            tx,
            application.id,
            login,
            Limits.checked([(m, "/*") for m in ("GET", "POST", "PUT", "DELETE")], ["192.0.2.0/24"]),
        )
        limited = await credentials.create_validated(
            tx, application.id, login, Limits.checked([("GET", "/elsewhere/*")], None)
        )
        return {
            "expired": expired,
            "pending": pending.consumer_key,
            "elsewhere": elsewhere,
            "limited": limited,
        }

    keys = await api.orders.platform.change(work)
    codes = {
        "expired": "INVALID_CREDENTIAL", "pending": "INVALID_CREDENTIAL", "elsewhere": "FORBIDDEN",
        "limited": "NOT_GRANTED_CALL",
    }  # fmt: skip
    wrong = []
    for kind, code in codes.items():
        who = await api.as_(api.owner, keys[kind])
        for route in routes_of(api.orders):
            if route.needs not in OPEN:
                answer = await call(who.client, route, filled(route, api.owner.project, made["id"]))
                if (answer.status_code, answer.json().get("errorCode")) != (403, code):
                    wrong.append((kind, route.action, answer.text))
    assert not wrong
    assert await api.get(made["id"]) == made


async def test_a_revoked_credential_is_good_for_no_call(api: Api):
    made = await api.ready()
    assert (await api.owner.client.post("/1.0/auth/logout")).status_code == 200
    wrong = []
    for route in routes_of(api.orders):
        if route.needs not in OPEN:
            answer = await call(api.owner.client, route, filled(route, api.owner.project, made["id"]))
            if (answer.status_code, answer.json().get("errorCode")) != (403, "INVALID_CREDENTIAL"):
                wrong.append((route.action, answer.text))
    assert not wrong


async def test_another_accounts_ids_are_not_there_warm_or_cold(api: Api):
    """A cold id was never seen by the process, a warm one was just now: a cache that forgets whose it is shows there."""
    stranger = await api.customer(Role.OWNER)
    made = await api.ready()
    told: dict[str, set[tuple[int, str]]] = {}
    for warm in (False, True):
        for route in routes_of(api.orders):
            if route.needs is Needs.ROLE:
                path = filled(route, api.owner.project, made["id"])
                if warm and not route.changes:
                    await call(api.owner.client, route, path)
                answer = await call(stranger.client, route, path)
                missing = await call(stranger.client, route, filled(route, NOBODYS, made["id"]))
                told.setdefault(route.action, set()).update(seen(answer) | seen(missing))

    assert {action: len(answers) for action, answers in told.items()} == dict.fromkeys(told, 1)
    assert {status for answers in told.values() for status, _ in answers} == {404}
    assert await api.get(made["id"]) == made


async def test_a_registry_of_another_cloud_project_is_not_there_in_ones_own(api: Api):
    stranger = await api.customer(Role.OWNER)
    made = await api.ready()
    for route in routes_of(api.orders):
        if "{registryID}" in route.path:
            if not route.changes:
                await call(api.owner.client, route, filled(route, api.owner.project, made["id"]))
            answer = await call(stranger.client, route, filled(route, stranger.project, made["id"]))
            assert answer.status_code == 404, (route.action, answer.text)
    assert await api.get(made["id"]) == made


def seen(answer: httpx.Response) -> set[tuple[int, str]]:
    """Give what a stranger learns from an answer."""
    body = answer.json()
    return {(answer.status_code, f"{body['class']} {body['message']}")}


async def test_a_member_who_is_sent_away_is_a_stranger_at_once(api: Api):
    member = await api.customer(Role.ADMINISTRATOR, api.owner.project)
    before = await member.call("GET", "/containerRegistry")
    await api.orders.platform.change(lambda tx: members.drop(tx, api.owner.project, member.login))
    after = await member.call("GET", "/containerRegistry")

    assert (before.status_code, after.status_code) == (200, 404)


async def test_what_is_denied_is_in_the_record_of_who_signed_it(api: Api):
    reader = await api.customer(Role.READER, api.owner.project)
    await reader.call("POST", "/containerRegistry", BODIES["containerRegistry/create"])

    rows = await api.orders.platform.all(DENIED, account=reader.account)

    assert [row.rule for row in rows] == ["FORBIDDEN"]
    assert "POST /cloud/project/{serviceName}/containerRegistry" in rows[0].body


async def test_who_has_no_key_writes_nothing_into_the_record(api: Api):
    wrong = await api.as_(api.owner, "x" * 32)
    for _ in range(3):
        assert (await wrong.call("GET", "/containerRegistry")).status_code == 403

    assert await api.orders.platform.all(DENIED, account=api.owner.account) == []


async def test_each_client_may_what_its_policy_says_and_no_more(api: Api):
    """Each action alone, and each with all others denied: a pattern that grants more, or a call unlisted, shows here."""
    made = await api.ready()
    routes = [route for route in routes_of(api.orders) if route.needs is Needs.ROLE]
    wrong = []
    for action in sorted({route.action for route in routes} - {"containerRegistry/delete"}):
        one = await api.service(action)
        for route in routes:
            answer = await call(one.client, route, filled(route, api.owner.project, made["id"]))
            # Whoever may not see registries is not told of one.
            refused = answer.status_code == 403 or unseen(answer)
            if refused != (route.action != action or action in OWNERS):
                wrong.append((action, route.action, answer.status_code, answer.text))
        await api.orders.work()
    assert not wrong


def unseen(answer: httpx.Response) -> bool:
    """Say whether an answer tells that there is no such registry."""
    return answer.status_code == 404 and '"this cloud project has no such registry"' in answer.text


async def test_a_client_without_a_policy_is_a_stranger_to_every_call(api: Api):
    made, nobody, routes = await api.ready(), await api.service(), routes_of(api.orders)
    stopped = await api.service("*", denied=(members.PREFIX + "*",))
    late = await api.service("*", expires_at=1)
    for route in routes:
        if route.needs is Needs.ROLE:
            for who in (nobody, late):
                answer = await call(who.client, route, filled(route, api.owner.project, made["id"]))
                assert answer.status_code == 404, (route.action, answer.text)
            denied = await call(stopped.client, route, filled(route, api.owner.project, made["id"]))
            assert denied.status_code in {403, 404}, (route.action, denied.text)
        elif route.needs not in OPEN | {Needs.CREDENTIAL}:
            answer = await call(nobody.client, route, filled(route, api.owner.project))
            assert (answer.status_code, answer.json()["errorCode"]) == (403, "FORBIDDEN"), route.action
    assert await api.get(made["id"]) == made


async def test_a_token_that_has_ended_is_good_for_no_call(api: Api):
    made, service = await api.ready(), await api.service("*")
    assert (await service.client.post("/1.0/auth/logout")).status_code == 200
    for route in routes_of(api.orders):
        if route.needs not in OPEN:
            answer = await call(service.client, route, filled(route, api.owner.project, made["id"]))
            assert (answer.status_code, answer.json()["errorCode"]) == (401, "INVALID_CREDENTIAL"), (
                route.action
            )
    assert await api.get(made["id"]) == made


async def test_who_is_let_to_one_registry_sees_that_and_no_other(api: Api):
    mine, others = await api.ready("mine"), await api.ready("others")
    one = await api.service("*", registry=mine["id"])
    listed = (await one.call("GET", "/containerRegistry")).json()
    told: dict[str, set[tuple[int, str]]] = {}
    for route in routes_of(api.orders):
        if route.needs is not Needs.ROLE:
            continue
        if "{registryID}" not in route.path:
            answer = await call(one.client, route, filled(route, api.owner.project))
            assert answer.status_code == (200 if route.of_each else 403), (route.action, answer.text)
            continue
        for warm in (False, True):
            path = filled(route, api.owner.project, others["id"])
            if warm and not route.changes:
                await call(api.owner.client, route, path)
            there = await call(one.client, route, path)
            missing = await call(one.client, route, filled(route, api.owner.project, NOBODYS))
            told.setdefault(route.action, set()).update(seen(there) | seen(missing))
        allowed = await call(one.client, route, filled(route, api.owner.project, mine["id"]))
        assert allowed.status_code not in {401, 403}, (route.action, allowed.text)
        assert not unseen(allowed), route.action
        await api.orders.work()

    assert [found["id"] for found in listed] == [mine["id"]]
    assert {(action, len(answers)) for action, answers in told.items()} == {(action, 1) for action in told}
    assert {status for answers in told.values() for status, _ in answers} == {404}
    assert await api.get(others["id"]) == others


async def test_a_user_at_a_browser_may_what_they_may_with_a_key_and_only_from_their_own_pages(api: Api):
    """Each call by a session of two roles; without what its pages know it changes nothing."""
    wrong = []
    for role in (Role.OWNER, Role.READER):
        made = await api.ready(f"for-{role}")
        user = await api.at_a_browser(await api.customer(role, api.owner.project))
        forged = await api.at_a_browser(user)
        del forged.client.headers["x-moorage-guard"]
        for route in [one for one in routes_of(api.orders) if one.needs is Needs.ROLE]:
            path = filled(route, api.owner.project, made["id"])
            if route.changes and (refused := await call(forged.client, route, path)).status_code != 403:
                wrong.append(("forged", role, route.action, refused.text))
            answer = await call(user.client, route, path)
            if (answer.status_code == 403) == (route.action in MAY[role]):
                wrong.append(("session", role, route.action, answer.text))
            await api.orders.work()
    assert not wrong


async def test_a_session_that_has_ended_is_good_for_no_call(api: Api):
    made, user = await api.ready(), await api.at_a_browser(api.owner)
    assert (await user.client.post("/1.0/auth/logout")).status_code == 200
    for route in routes_of(api.orders):
        if route.needs not in OPEN:
            answer = await call(user.client, route, filled(route, api.owner.project, made["id"]))
            assert (answer.status_code, answer.json()["errorCode"]) == (401, "INVALID_CREDENTIAL"), (
                route.action
            )
    assert await api.get(made["id"]) == made
