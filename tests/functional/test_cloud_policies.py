"""Policies through the API: what they let users and clients do, on what, and what none of them can."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import bindparam, select

from moorage.cloud import policies
from moorage.cloud.members import Role
from moorage.db import Statement
from moorage.db.platform import cloud_outbox
from tests.functional.cloud_api_world import Api, Service

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

PREFIX = "publicCloudProject:apiovh:"
KINDS = Statement(
    select(cloud_outbox.c.kind)
    .where(cloud_outbox.c.target == bindparam("target"))
    .order_by(cloud_outbox.c.id)
)


def terms(api: Api, identity: str, *allow: str, registry: str = "", **more: list[str]) -> dict[str, Any]:
    """Write a policy as the provider's API has it."""
    urn = policies.REGISTRY + registry if registry else policies.PROJECT + api.owner.project
    lists = {"allow": allow, **more}
    return {
        "name": "pipeline",
        "identities": [identity],
        "resources": [{"urn": urn}],
        "permissions": {
            kind: [{"action": PREFIX + one} for one in actions] for kind, actions in lists.items()
        },
    }


async def put(api: Api, body: dict[str, Any], id_: str = "") -> dict[str, Any]:
    """Make a policy, or change one."""
    method, path = ("PUT", f"/policy/{id_}") if id_ else ("POST", "/policy")
    answer = await api.owner.call(method, path, body)
    assert answer.status_code == 200, answer.text
    given: dict[str, Any] = answer.json()
    return given


async def gets(service: Service, path: str) -> int:
    return (await service.call("GET", path)).status_code


async def test_a_policy_is_in_force_at_the_next_call_changed_or_ended(api: Api):
    service, made = await api.service(), await api.ready()
    one = f"/containerRegistry/{made['id']}"
    before = await gets(service, one)
    policy = await put(api, terms(api, service.made.client.identity, "containerRegistry/get"))
    while_allowed = await gets(service, one), await gets(service, "/region")
    changed = await put(api, terms(api, service.made.client.identity, "region/get"), policy["id"])
    while_changed = await gets(service, one), await gets(service, "/region")
    shown = (await api.owner.call("GET", f"/policy/{policy['id']}")).json()
    ended = await api.owner.call("DELETE", f"/policy/{policy['id']}")

    assert (before, while_allowed, while_changed) == (404, (200, 403), (404, 200))
    assert shown == changed
    assert (ended.json(), await gets(service, "/region")) == (None, 404)
    assert (await api.owner.call("GET", "/policy")).json() == []
    kinds = [row.kind for row in await api.orders.platform.all(KINDS, target=policy["id"])]
    assert kinds == ["policy.created", "policy.changed", "policy.deleted"]


async def test_a_denial_comes_before_roles_and_other_policies(api: Api):
    made, other = await api.ready("denied"), await api.ready("open")
    guest = await api.customer(Role.ADMINISTRATOR, api.owner.project)
    identity = (await guest.client.get("/1.0/auth/details")).json()["identities"][0]
    await put(api, terms(api, identity, "*"))
    await put(api, terms(api, identity, registry=made["id"], deny=["containerRegistry/*"]))
    await put(api, terms(api, identity, deny=["containerRegistry/create"]))

    assert (await guest.call("GET", f"/containerRegistry/{made['id']}")).status_code == 404
    assert (await guest.call("GET", f"/containerRegistry/{other['id']}")).status_code == 200
    assert [one["id"] for one in (await guest.call("GET", "/containerRegistry")).json()] == [other["id"]]
    refused = await guest.call("POST", "/containerRegistry", {"name": "a", "region": "LOCAL"})
    assert (refused.status_code, refused.json()["errorCode"]) == (403, "FORBIDDEN")


async def test_what_is_excepted_is_not_allowed_but_another_policy_may(api: Api):
    service = await api.service()
    body = terms(api, service.made.client.identity, "*")
    body["permissions"]["except"] = [{"action": f"{PREFIX}region/get"}]
    await put(api, body)
    excepted = await gets(service, "/region")
    await put(api, terms(api, service.made.client.identity, "region/*"))

    assert (excepted, await gets(service, "/region")) == (403, 200)


async def test_no_policy_lets_anybody_give_rights(api: Api):
    service = await api.service("*")
    for method, path in (("POST", "/member"), ("POST", "/policy"), ("DELETE", f"/member/{api.owner.login}")):
        body = terms(api, service.made.client.identity, "*") if path == "/policy" else None
        answer = await service.call(method, path, body)
        assert (answer.status_code, answer.json()["errorCode"]) == (403, "FORBIDDEN"), path
    assert await gets(service, "/member") == 200
    listed = (await service.client.get("/1.0/iam/reference/action")).json()
    names = {one["action"].removeprefix(PREFIX) for one in listed}
    assert {"containerRegistry/create", "member/get"} <= names
    assert names.isdisjoint({"member/create", "policy/create", "policy/edit"})


async def test_a_policy_that_has_expired_says_nothing(api: Api):
    service = await api.service()
    body = terms(api, service.made.client.identity, "*") | {"expiredAt": "2999-01-01T00:00:00+02:00"}
    made = await put(api, body)
    before = await gets(service, "/region")
    await put(api, body | {"expiredAt": "2001-01-01T00:00:00Z"}, made["id"])

    assert made["expiredAt"] == "2998-12-31T22:00:00.000000Z"
    assert (before, await gets(service, "/region")) == (200, 404)
    assert (await service.client.get("/1.0/cloud/project")).json() == []


async def test_an_identity_that_is_ended_leaves_its_policies(api: Api):
    service = await api.service("*")
    await api.owner.client.delete(f"/1.0/me/api/oauth2/client/{service.id}")

    assert [one["identities"] for one in (await api.owner.call("GET", "/policy")).json()] == [[]]


async def test_a_policy_of_another_cloud_project_is_not_there(api: Api):
    stranger, service = await api.customer(Role.OWNER), await api.service("*")
    policy = (await api.owner.call("GET", "/policy")).json()[0]
    mine = {"name": "a", "identities": [], "resources": [], "permissions": {}}
    for method in ("GET", "PUT", "DELETE"):
        answer = await stranger.call(method, f"/policy/{policy['id']}", mine if method == "PUT" else None)
        assert answer.status_code == 404, method
    assert await gets(service, "/region") == 200


async def test_a_bad_field_is_named_with_its_rule_and_nothing_is_made(api: Api):
    service, stranger = await api.service(), await api.customer(Role.OWNER)
    theirs = (await stranger.client.get("/1.0/auth/details")).json()["identities"][0]
    other = policies.PROJECT + stranger.project
    action = {"action": PREFIX + "region/get"}
    bad: list[tuple[str, object, str]] = [
        ("name", "", "name"), ("name", "x" * 65, "name"), ("name", "a\0", "name"), ("description", "x" * 256, "description"),
        ("identities", [], "identities"), ("identities", ["x"] * 101, "identities"), ("identities", "x", "identities"),
        ("identities", [theirs], "identities[0]"), ("identities", [service.made.client.identity, "x\0"], "identities[1]"),
        ("identities", [service.made.client.identity + "0"], "identities[0]"),
        ("resources", [], "resources"), ("resources", [{"urn": other}], "resources[0].urn"),
        ("resources", [{"urn": policies.REGISTRY + "x"}], "resources[0].urn"), ("resources", [{}], "resources[0].urn"),
        ("resources", [{"urn": policies.REGISTRY + "\0"}], "resources[0].urn"),
        ("permissions", {}, "permissions"), ("permissions", {"allow": [action], "grant": []}, "permissions.grant"),
        ("permissions", {"allow": [{"action": "*"}]}, "permissions.allow[0].action"),
        ("permissions", {"allow": [action, {"action": PREFIX + "moon/get"}]}, "permissions.allow[1].action"),
        ("permissions", {"allow": [{"action": PREFIX + "policy/create"}]}, "permissions.allow[0].action"),
        ("permissions", {"deny": [{"action": PREFIX + "[a-z]"}]}, "permissions.deny[0].action"),
        ("permissions", {"allow": [action] * 101}, "permissions.allow"),
        ("expiredAt", "tomorrow", "expiredAt"), ("expiredAt", "2027-01-01T00:00:00", "expiredAt"), ("expiredAt", 1, "expiredAt"),
        ("other", 1, "other"),
    ]  # fmt: skip
    fine = terms(api, service.made.client.identity, "*")
    for field, value, told in bad:
        answer = await api.owner.call("POST", "/policy", fine | {field: value})
        assert (answer.status_code, answer.json()["class"]) == (400, "Client::BadRequest"), (field, value)
        assert answer.json()["message"].partition(":")[0] == told, answer.text
    assert (await api.owner.call("GET", "/policy")).json() == []
