"""Registries ordered, shown, resized, ended and taken back through the provider's API."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from moorage.api.cloud import models
from moorage.cloud import registries
from moorage.cloud.members import Role
from tests.functional.cloud_api_world import LARGE, MEDIUM, SMALL, Api

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

GIB = 1 << 30
REGISTRIES = "/containerRegistry"
NOBODY = "00000000-0000-4000-8000-000000000000"


def exactly(kind: Any, answered: Any) -> None:
    """Hold an answer to its model: every field, and no other."""
    again = msgspec.to_builtins(msgspec.convert(answered, kind))
    assert again == answered


async def test_a_registry_is_ordered_and_becomes_ready(api: Api):
    ordered = await api.owner.call("POST", REGISTRIES, {"name": "team", "region": "LOCAL", "planID": SMALL})
    first = ordered.json()
    await api.orders.work()
    now = await api.get(first["id"])
    listed = await api.owner.call("GET", REGISTRIES)

    assert (ordered.status_code, first["status"], first["name"], first["region"]) == (
        200,
        "INSTALLING",
        "team",
        "LOCAL",
    )
    assert (first["deliveredAt"], first["iamEnabled"], first["size"]) == (None, False, 0)
    assert first["projectID"] == api.owner.project
    assert now["status"] == "READY"
    assert now["url"].startswith("http")
    assert now["deliveredAt"] is not None
    assert listed.json() == [now]
    exactly(models.Registry, now)


async def test_without_a_plan_the_smallest_is_ordered(api: Api):
    ordered = (await api.owner.call("POST", REGISTRIES, {"name": "team", "region": "LOCAL"})).json()
    plan = (await api.owner.call("GET", f"{REGISTRIES}/{ordered['id']}/plan")).json()

    assert (plan["id"], plan["name"]) == (SMALL, "SMALL")
    assert plan["registryLimits"] == {"imageStorage": 200 * GIB, "parallelRequest": 15}
    assert plan["features"] == {"vulnerability": False}
    exactly(models.Plan, plan)


async def test_capabilities_list_each_region_with_its_plans(api: Api):
    found = (await api.owner.call("GET", "/capabilities/containerRegistry")).json()

    assert [(one["regionName"], one["regionType"]) for one in found] == [("LOCAL", "REGION-1-AZ")]
    assert [(plan["id"], plan["name"]) for plan in found[0]["plans"]] == [
        (SMALL, "SMALL"), (MEDIUM, "MEDIUM"), (LARGE, "LARGE"),
    ]  # fmt: skip
    exactly(list[models.Capability], found)


async def test_a_registry_is_renamed_and_the_answer_is_null(api: Api):
    made = await api.ready()

    answer = await api.owner.call("PUT", f"{REGISTRIES}/{made['id']}", {"name": "renamed"})

    assert (answer.status_code, answer.content) == (200, b"null")
    assert (await api.get(made["id"]))["name"] == "renamed"
    assert (await api.get(made["id"]))["url"] == made["url"]


async def test_a_plan_is_upgraded_through_scaling_up_and_never_updating(api: Api):
    made = await api.ready()
    path = f"{REGISTRIES}/{made['id']}"

    answer = await api.owner.call("PUT", f"{path}/plan", {"planID": MEDIUM})
    meanwhile = await api.get(made["id"])
    await api.orders.work()

    assert answer.content == b"null"
    assert meanwhile["status"] == "SCALING_UP"
    assert (await api.get(made["id"]))["status"] == "READY"
    assert (await api.owner.call("GET", f"{path}/plan")).json()["id"] == MEDIUM


async def test_a_downgrade_that_does_not_fit_is_refused_with_what_does_not(api: Api):
    made = await api.ready(plan=MEDIUM)
    found = await registries.find(api.orders.platform, made["id"])
    assert found is not None
    await api.orders.store(found, 300 * GIB)
    path = f"{REGISTRIES}/{made['id']}"
    reachable = (await api.owner.call("GET", f"{path}/capabilities/plan")).json()

    answer = await api.owner.call("PUT", f"{path}/plan", {"planID": SMALL})
    refusal = answer.json()

    assert (answer.status_code, refusal["class"]) == (409, "Client::Conflict")
    assert str(300 * GIB) in refusal["message"]
    assert "imageStorage" in refusal["details"]["details"]
    assert all(isinstance(value, str) for value in refusal["details"].values())
    assert [plan["id"] for plan in reachable] == [LARGE]
    assert (await api.get(made["id"]))["status"] == "READY"


async def test_a_downgrade_that_fits_is_made(api: Api):
    made = await api.ready(plan=MEDIUM)
    path = f"{REGISTRIES}/{made['id']}"

    answer = await api.owner.call("PUT", f"{path}/plan", {"planID": SMALL})
    await api.orders.work()

    assert answer.status_code == 200
    assert (await api.owner.call("GET", f"{path}/plan")).json()["id"] == SMALL


async def test_a_registry_is_deleted_with_grace_and_taken_back(api: Api):
    made = await api.ready()
    path = f"{REGISTRIES}/{made['id']}"

    answer = await api.owner.call("DELETE", path)
    deleting = await api.get(made["id"])
    await api.orders.work()
    deleted, listed = await api.get(made["id"]), (await api.owner.call("GET", REGISTRIES)).json()
    back = await api.owner.call("POST", f"{path}/undelete")
    await api.orders.work()

    assert answer.content == b"null"
    assert (deleting["status"], deleted["status"], listed) == ("DELETING", "DELETED", [])
    assert deleted["deleteAfter"] > deleted["updatedAt"]
    assert back.json()["status"] == "RESTORING"
    assert (await api.get(made["id"]))["status"] == "READY"


async def test_what_was_not_deleted_cannot_be_taken_back(api: Api):
    made = await api.ready()

    answer = await api.owner.call("POST", f"{REGISTRIES}/{made['id']}/undelete")

    assert (answer.status_code, answer.json()["class"]) == (409, "Client::Conflict")


# Orders with a key


async def order(api: Api, key: str, name: str = "team") -> Any:
    return await api.owner.call(
        "POST", REGISTRIES, {"name": name, "region": "LOCAL"}, **{"Idempotency-Key": key}
    )


async def test_an_order_that_is_sent_again_with_its_key_is_made_once(api: Api):
    first, again = await order(api, "k1"), await order(api, "k1")
    other = await order(api, "k2")

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert other.json()["id"] != first.json()["id"]
    assert len((await api.owner.call("GET", REGISTRIES)).json()) == 2


async def test_an_order_that_is_sent_many_times_at_once_is_made_once(api: Api):
    answers = await asyncio.gather(*(order(api, "k1") for _ in range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len((await api.owner.call("GET", REGISTRIES)).json()) == 1


async def test_a_key_is_for_one_order(api: Api):
    await order(api, "k1")

    answer = await order(api, "k1", name="other")

    assert (answer.status_code, answer.json()["class"]) == (409, "Client::Conflict")
    assert answer.json()["details"] == {"field": "Idempotency-Key"}
    assert len((await api.owner.call("GET", REGISTRIES)).json()) == 1


async def test_another_accounts_keys_are_its_own(api: Api):
    other = await api.customer(Role.OWNER)
    mine = await order(api, "k1")
    theirs = await other.call(
        "POST", REGISTRIES, {"name": "team", "region": "LOCAL"}, **{"Idempotency-Key": "k1"}
    )

    assert theirs.json()["id"] != mine.json()["id"]


async def test_a_refused_order_uses_up_no_key(api: Api):
    refused = await order(api, "k1", name="")

    assert refused.status_code == 400
    assert (await order(api, "k1")).status_code == 200


@pytest.mark.parametrize("key", ["a b", "k" * 256, "k\x7f"])
async def test_a_key_that_breaks_a_rule_is_refused(api: Api, key: str):
    answer = await order(api, key)

    assert answer.status_code == 400
    assert "Idempotency-Key: must have 1 to 255" in answer.json()["message"]


# What is refused


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "name: is required"),
        ({"name": "a"}, "region: is required"),
        ({"name": 7, "region": "LOCAL"}, "name: must be a string"),
        ({"name": "", "region": "LOCAL"}, "name: "),
        ({"name": "x" * 5000, "region": "LOCAL"}, "name: "),
        ({"name": "a\0b", "region": "LOCAL"}, "name: "),
        ({"name": "a\nb", "region": "LOCAL"}, "name: "),
        ({"name": "a", "region": ""}, "region: "),
        ({"name": "a", "region": "MOON"}, "region: "),
        ({"name": "a", "region": "\0"}, "region: "),
        ({"name": "a", "region": None}, "region: must be a string"),
        ({"name": "a", "region": "LOCAL", "planID": "S"}, "planID: "),
        ({"name": "a", "region": "LOCAL", "planID": ""}, "planID: "),
        ({"name": "a", "region": "LOCAL", "planID": "5b1f2c1e-6b0c-4a53-9a0e-0c7a1d0f6a11"}, "planID: "),
        ({"name": "a", "region": "LOCAL", "planID": {}}, "planID: must be a string or null"),
        ({"name": "a", "region": "LOCAL", "planId": SMALL}, "planId: is no field"),
        ([], "the body: must be an object"),
    ],
)
async def test_an_order_that_breaks_a_rule_is_refused_by_field_and_nothing_is_made(
    api: Api, body: Any, told: str
):
    answer = await api.owner.call("POST", REGISTRIES, body)

    assert (answer.status_code, answer.json()["class"]) == (400, "Client::BadRequest")
    assert answer.json()["message"].startswith(told)
    assert (await api.owner.call("GET", REGISTRIES)).json() == []


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("", {"name": ""}, "name: "),
        ("", {"name": "a\u202eb"}, "name: "),
        ("", {"title": "a"}, "title: is no field of this call"),
        ("/plan", {}, "planID: is required"),
        ("/plan", {"planID": "XL"}, "planID: "),
        ("/plan", {"planID": "\0"}, "planID: "),
        ("/plan", {"planID": None}, "planID: must be a string"),
    ],
)
async def test_a_change_that_breaks_a_rule_is_refused_by_field_and_changes_nothing(
    api: Api, path: str, body: Any, told: str
):
    made = await api.ready()

    answer = await api.owner.call("PUT", f"{REGISTRIES}/{made['id']}{path}", body)

    assert (answer.status_code, answer.json()["class"]) == (400, "Client::BadRequest")
    assert answer.json()["message"].startswith(told)
    assert await api.get(made["id"]) == made


@pytest.mark.parametrize("registry", [NOBODY, "x", "%00", "a%2Fb", "\N{SNOWMAN}", "x" * 300])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "", None), ("PUT", "/plan", {"planID": SMALL}), ("GET", "/users", None)],
)
async def test_an_id_of_nothing_is_unknown(api: Api, registry: str, method: str, path: str, body: Any):
    answer = await api.owner.call(method, f"{REGISTRIES}/{registry}{path}", body)

    assert (answer.status_code, answer.json()["class"]) == (404, "Client::NotFound")


async def test_while_it_is_being_made_a_registry_is_not_resized_ended_or_given_users(api: Api):
    ordered = (await api.owner.call("POST", REGISTRIES, {"name": "team", "region": "LOCAL"})).json()
    path = f"{REGISTRIES}/{ordered['id']}"

    answers = [
        await api.owner.call("PUT", f"{path}/plan", {"planID": MEDIUM}),
        await api.owner.call("DELETE", path),
        await api.owner.call("GET", f"{path}/users"),
        await api.owner.call("POST", f"{path}/users"),
    ]

    assert [answer.status_code for answer in answers] == [409] * 4
    assert all("INSTALLING" in answer.json()["message"] for answer in answers)


# The account and its cloud projects


async def test_the_account_tells_of_itself_and_its_cloud_projects(api: Api):
    me = (await api.owner.client.get("/1.0/me")).json()
    listed = (await api.owner.client.get("/v1/cloud/project")).json()
    shown = (await api.owner.call("GET", "")).json()
    regions = (await api.owner.call("GET", "/region")).json()
    region = (await api.owner.call("GET", "/region/LOCAL")).json()

    assert (me["firstname"], me["currency"]["code"], me["customerCode"]) == (
        "somebody",
        "EUR",
        api.owner.account,
    )
    assert listed == [api.owner.project]
    assert (shown["project_id"], shown["projectName"], shown["status"]) == (
        api.owner.project,
        "A project",
        "ok",
    )
    assert (regions, region["name"], region["type"], region["status"]) == (["LOCAL"], "LOCAL", "region", "UP")
    for kind, answered in ((models.Me, me), (models.CloudProject, shown), (models.Region, region)):
        exactly(kind, answered)


@pytest.mark.parametrize("region", ["MOON", "%00", "local"])
async def test_a_region_that_is_not_there_is_unknown(api: Api, region: str):
    assert (await api.owner.call("GET", f"/region/{region}")).status_code == 404
