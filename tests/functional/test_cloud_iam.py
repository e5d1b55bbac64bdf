"""Policies under /v2/iam, as the original's clients ask for them: the same policies, and the same word on them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import bindparam, select

from moorage.cloud import policies
from moorage.cloud.members import Role
from moorage.db import Statement
from moorage.db.platform import cloud_outbox
from tests.functional.cloud_api_world import Api, Customer

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

POLICY = "/v2/iam/policy"
PREFIX = "publicCloudProject:apiovh:"
KINDS = Statement(
    select(cloud_outbox.c.kind)
    .where(cloud_outbox.c.target == bindparam("target"))
    .order_by(cloud_outbox.c.id)
)


def terraform(identity: str, urn: str, *allow: str, **more: Any) -> dict[str, Any]:
    """Write a policy as the Terraform provider sends it: what a Go program leaves empty is null."""
    return {
        "name": "from terraform",
        "identities": [identity],
        "resources": [{"urn": urn}],
        "permissions": {
            "allow": [{"action": PREFIX + one} for one in allow] or None, "except": None, "deny": None,
        },
        "permissionsGroups": None,
        **more,
    }  # fmt: skip


async def made(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    """Make a policy."""
    answer = await api.owner.client.post(POLICY, json=body)
    assert answer.status_code == 200, answer.text
    given: dict[str, Any] = answer.json()
    return given


async def listed(who: httpx.AsyncClient, path: str = POLICY) -> list[dict[str, Any]]:
    """List what somebody may see."""
    answer = await who.get(path)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def test_terraform_makes_reads_changes_and_destroys_a_policy_that_is_in_force_meanwhile(api: Api):
    service, urn = await api.service(), policies.PROJECT + api.owner.project
    path = "/containerRegistry"
    before = (await service.call("GET", path)).status_code
    body = terraform(service.made.client.identity, urn, "containerRegistry/get")
    policy = await made(api, body)
    meanwhile = (await service.call("GET", path)).status_code
    read = (await api.owner.client.get(f"{POLICY}/{policy['id']}?details=true")).json()
    other = terraform(
        service.made.client.identity, urn, "region/get", description="less", expiredAt="2199-01-01T00:00:00Z"
    )
    changed = (await api.owner.client.put(f"{POLICY}/{policy['id']}", json=other)).json()
    less = (await service.call("GET", path)).status_code
    # What was read is sent back whole, and is the same.
    again = (await api.owner.client.put(f"{POLICY}/{policy['id']}", json=changed)).json()
    ended = await api.owner.client.delete(f"{POLICY}/{policy['id']}")

    assert (before, meanwhile, less, (await service.call("GET", path)).status_code) == (404, 200, 403, 404)
    assert read == policy
    assert {name: policy[name] for name in ("name", "identities", "resources", "readOnly", "permissionsGroups")} == {
        "name": "from terraform", "identities": body["identities"], "resources": body["resources"], "readOnly": False,
        "permissionsGroups": [],
    }  # fmt: skip
    assert policy["permissions"] == {
        "allow": [{"action": f"{PREFIX}containerRegistry/get"}],
        "except": [],
        "deny": [],
    }
    assert "expiredAt" not in policy
    assert (changed["description"], changed["expiredAt"][:10]) == ("less", "2199-01-01")
    assert again | {"updatedAt": ""} == changed | {"updatedAt": ""}
    assert (ended.status_code, ended.json()) == (200, None)
    assert (await api.owner.client.get(f"{POLICY}/{policy['id']}")).status_code == 404
    kinds = [row.kind for row in await api.orders.platform.all(KINDS, target=policy["id"])]
    assert kinds == ["policy.created", "policy.changed", "policy.changed", "policy.deleted"]


async def test_they_are_the_policies_of_cloud_projects_seen_from_elsewhere(api: Api):
    service, registry = await api.service(), await api.ready()
    urn = policies.REGISTRY + registry["id"]
    policy = await made(api, terraform(service.made.client.identity, urn, "containerRegistry/get"))
    below = (await api.owner.call("GET", "/policy")).json()

    assert (
        [one["id"] for one in await listed(api.owner.client)]
        == [one["id"] for one in below]
        == [policy["id"]]
    )
    assert below[0]["resources"] == [{"urn": urn}]
    assert (await service.call("GET", f"/containerRegistry/{registry['id']}")).status_code == 200
    assert (await api.owner.call("DELETE", f"/policy/{policy['id']}")).status_code == 200
    assert await listed(api.owner.client) == []


async def test_who_may_not_see_a_policy_is_told_of_none_and_who_may_not_make_one_makes_none(api: Api):
    service, stranger = await api.service(), await api.customer(Role.OWNER)
    mine, theirs = (policies.PROJECT + one.project for one in (api.owner, stranger))
    body = terraform(service.made.client.identity, mine, "get")
    policy = await made(api, body)
    one = f"{POLICY}/{policy['id']}"
    administrator = await api.customer(Role.ADMINISTRATOR, api.owner.project)
    reader = await api.customer(Role.READER, api.owner.project)

    async def tells(who: Customer) -> list[int]:
        return [
            (await who.client.get(one)).status_code,
            (await who.client.put(one, json=body)).status_code,
            (await who.client.delete(one)).status_code,
            (await who.client.post(POLICY, json=body)).status_code,
        ]

    # An administrator sees policies, and only owners give rights; a reader sees none; a stranger's is not even there.
    assert await tells(administrator) == [200, 403, 403, 403]
    assert await tells(reader) == [404, 404, 404, 403]
    assert await tells(stranger) == [404, 404, 404, 400]
    assert [await listed(who.client) for who in (administrator, reader, stranger)] == [[policy], [], []]
    # A client that a policy lets do everything gives no rights either.
    clever = await api.service("*")
    assert (await clever.client.post(POLICY, json=body)).status_code == 403
    assert (await clever.client.delete(one)).status_code == 403
    # Another's cloud project and one that is not there are answered alike.
    told = set()
    for urn in (
        theirs,
        policies.PROJECT + "0" * 32,
        policies.REGISTRY + "0",
        "urn:v1:eu:resource:vps:a",
        "",
        policies.PROJECT + "\0",
    ):
        answer = await api.owner.client.post(POLICY, json=body | {"resources": [{"urn": urn}]})
        told.add((answer.status_code, answer.json()["message"]))
    assert len(told) == 1
    assert (await api.owner.client.get(one)).json() == policy


async def test_what_is_not_built_or_breaks_a_rule_is_named(api: Api):
    service = await api.service()
    urn, identity = policies.PROJECT + api.owner.project, service.made.client.identity
    elsewhere = await api.customer(Role.OWNER)
    for changed, field in (
        (
            {"permissionsGroups": [{"urn": "urn:v1:eu:permissionsGroup:ovh:controlPanelAccess"}]},
            "permissionsGroups",
        ),
        ({"conditions": {"operator": "MATCH", "values": {"request.IP": "10.0.0.1"}}}, "conditions"),
        ({"resources": []}, "resources[0].urn"),
        ({"resources": ["a"]}, "resources[0].urn"),
        ({"resources": [{"urn": urn}, {"urn": policies.PROJECT + elsewhere.project}]}, "resources[1].urn"),
        ({"identities": []}, "identities"),
        ({"identities": ["urn:v1:eu:identity:account:ab12345-ovh"]}, "identities[0]"),
        ({"permissions": {"allow": None}}, "permissions"),
        ({"permissions": {"allow": [{"action": "vps:apiovh:get"}]}}, "permissions.allow[0].action"),
        ({"expiredAt": "tomorrow"}, "expiredAt"),
        ({"naame": "a"}, "naame"),
    ):
        answer = await api.owner.client.post(POLICY, json=terraform(identity, urn, "get") | changed)
        assert (answer.status_code, answer.json()["message"].partition(":")[0]) == (400, field), answer.text
    assert await listed(api.owner.client) == []


async def test_resources_are_those_that_one_sees_and_actions_those_that_there_are(api: Api):
    mine, other = await api.ready("mine"), await api.ready("other")
    one = await api.service("containerRegistry/get", registry=mine["id"])
    everything = await listed(api.owner.client, "/v2/iam/resource")
    registries = await listed(
        api.owner.client, "/v2/iam/resource?resourceType=publicCloudProject/managedRegistry"
    )
    seen = await listed(one.client, "/v2/iam/resource")
    actions = await listed(api.owner.client, "/v2/iam/reference/action?resourceType=publicCloudProject")
    urn = policies.REGISTRY + other["id"]

    project = policies.PROJECT + api.owner.project
    assert {one["urn"] for one in everything} == {project, policies.REGISTRY + mine["id"], urn}
    assert {one["displayName"] for one in registries} == {"mine", "other"}
    assert [(one["urn"], one["type"], one["tags"]) for one in seen] == [
        (policies.REGISTRY + mine["id"], "publicCloudProject/managedRegistry", {})
    ]
    for written in (urn, quote(urn, safe="")):
        assert (await api.owner.client.get(f"/v2/iam/resource/{written}")).json()["id"] == other["id"]
    assert (await one.client.get(f"/v2/iam/resource/{urn}")).status_code == 404
    categories = {one["action"].removeprefix(PREFIX): one["categories"] for one in actions}
    assert (categories["containerRegistry/get"], categories["containerRegistry/create"]) == (
        ["READ"],
        ["CREATE"],
    )
    assert await listed(api.owner.client, "/v2/iam/reference/action?resourceType=vps") == []
    assert (await api.owner.client.get("/v2/iam/reference/resource/type")).json()[0] == "publicCloudProject"


async def test_only_under_v2_and_with_a_proof_at_a_browser(api: Api):
    service = await api.service()
    body = terraform(service.made.client.identity, policies.PROJECT + api.owner.project, "get")
    browser, stale = await api.at_a_browser(api.owner), await api.at_a_browser(api.owner, proved_at=0)
    anybody = await api.anybody()
    statuses = [
        (await api.owner.client.get(path)).status_code
        for path in (
            "/1.0/v2/iam/policy",
            "/v1/v2/iam/policy",
            "/1.0/iam/policy",
            "/v2/iam/nothing",
            "/v2/iam/",
        )
    ]

    assert statuses == [404] * 5
    assert (await api.owner.client.patch(POLICY)).status_code == 405
    assert (await anybody.get(POLICY)).status_code == 403
    # What is beside it under /v2 is no call of the API's: it answers as a registry's port does.
    assert "errors" in (await anybody.get("/v2/")).json()
    made_at = [(await one.client.post(POLICY, json=body)).status_code for one in (stale, browser)]
    (policy,) = await listed(stale.client)
    assert (made_at, (await stale.client.delete(f"{POLICY}/{policy['id']}")).status_code) == ([403, 200], 403)
