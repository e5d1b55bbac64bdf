"""The API's description says what the table of calls does, and what is answered keeps to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from moorage.api.forwarded import Proxies
from moorage.api.front import front
from tests.functional.cloud_api_world import Api
from tests.functional.cloud_world import BASE

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)

# What the original API has under these paths, said again by hand: all else is ours, and has to say so.
ORIGINAL = {
    "GET /auth/time", "POST /auth/credential", "GET /auth/details", "GET /auth/currentCredential", "POST /auth/logout",
    "GET /me", "GET /me/api/application", "GET /me/api/application/{applicationId}",
    "DELETE /me/api/application/{applicationId}", "GET /me/api/credential", "GET /me/api/credential/{credentialId}",
    "PUT /me/api/credential/{credentialId}", "DELETE /me/api/credential/{credentialId}",
    "GET /me/api/credential/{credentialId}/application",
    "GET /me/api/oauth2/client", "POST /me/api/oauth2/client", "GET /me/api/oauth2/client/{clientId}",
    "PUT /me/api/oauth2/client/{clientId}", "DELETE /me/api/oauth2/client/{clientId}", "GET /cloud/project",
    "GET /me/identity/user", "POST /me/identity/user", "GET /me/identity/user/{user}", "PUT /me/identity/user/{user}",
    "DELETE /me/identity/user/{user}", "POST /me/identity/user/{user}/disable", "POST /me/identity/user/{user}/enable",
    "GET {p}", "GET {p}/region", "GET {p}/region/{regionName}",
    "GET {p}/capabilities/containerRegistry", "GET {p}/containerRegistry", "POST {p}/containerRegistry", "GET {r}",
    "PUT {r}", "DELETE {r}", "GET {r}/capabilities/plan", "GET {r}/plan", "PUT {r}/plan", "GET {r}/users",
    "POST {r}/users", "GET {r}/users/{userID}", "DELETE {r}/users/{userID}", "PUT {r}/users/{userID}/setAsAdmin",
    "GET {r}/ipRestrictions/registry", "PUT {r}/ipRestrictions/registry", "GET {r}/ipRestrictions/management",
    "PUT {r}/ipRestrictions/management", "GET {r}/openIdConnect", "POST {r}/openIdConnect", "PUT {r}/openIdConnect",
    "DELETE {r}/openIdConnect", "POST {r}/iam", "DELETE {r}/iam",
    "GET /v2/iam/policy", "POST /v2/iam/policy", "GET /v2/iam/policy/{policyId}", "PUT /v2/iam/policy/{policyId}",
    "DELETE /v2/iam/policy/{policyId}", "GET /v2/iam/resource", "GET /v2/iam/resource/{resourceURN}",
    "GET /v2/iam/reference/action", "GET /v2/iam/reference/resource/type",
}  # fmt: skip


@pytest.fixture
async def described(api: Api) -> dict[str, Any]:
    """Ask for the description, as anybody may."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(front(api.app, Proxies(()))), base_url=BASE
    ) as anybody:
        answer = await anybody.get("/1.0/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def short(call: str) -> str:
    return call.replace("/cloud/project/{serviceName}/containerRegistry/{registryID}", "{r}").replace(
        "/cloud/project/{serviceName}", "{p}"
    )


async def test_every_call_is_described_and_nothing_else(api: Api, described: dict[str, Any]):
    assert described["openapi"] == "3.1.0"
    assert {name for name, _ in operations(described)} == {
        f"{route.method} {route.path}" for route in api.app.table.routes
    }


async def test_what_the_original_lacks_is_marked_as_added_and_nothing_else_is(described: dict[str, Any]):
    marked = {short(name) for name, operation in operations(described) if operation.get("x-moorage-added")}
    every = {short(name) for name, _ in operations(described)}

    assert every - marked == ORIGINAL
    for kind, added in (
        ("Registry", {"deleteAfter", "error", "suspension", "suspendedFor"}),
        ("UserCreation", {"password"}),
        ("Plan", set()),
    ):
        schema = described["components"]["schemas"][kind]
        assert {name for name, one in schema["properties"].items() if one.get("x-moorage-added")} == added
        assert added.isdisjoint(schema.get("required", ()))


async def test_every_parameter_of_a_path_is_described(described: dict[str, Any]):
    for name, operation in operations(described):
        said = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert said == set(re.findall(r"\{(\w+)\}", name))


async def test_every_reference_leads_somewhere(described: dict[str, Any]):
    text = str(described)
    named = set(re.findall(r"#/components/schemas/(\w+)", text))

    assert named
    assert named <= set(described["components"]["schemas"])


async def test_every_call_below_a_cloud_project_names_its_action(described: dict[str, Any]):
    for name, operation in operations(described):
        actions = [one["name"] for one in operation.get("x-iam-actions", [])]
        assert len(actions) == int("{serviceName}" in name)
        assert all(action.startswith("publicCloudProject:apiovh:") for action in actions)


async def test_ids_of_operations_are_each_one_call(described: dict[str, Any]):
    ids = [operation["operationId"] for _, operation in operations(described)]

    assert len(set(ids)) == len(ids)


async def test_the_models_have_the_names_that_clients_read(described: dict[str, Any]):
    schemas = described["components"]["schemas"]

    assert {
        "createdAt",
        "iamEnabled",
        "id",
        "name",
        "projectID",
        "region",
        "size",
        "status",
        "updatedAt",
        "url",
        "version",
    } <= set(schemas["Registry"]["properties"])
    assert set(schemas["RegistryCreation"]["properties"]) == {"name", "region", "planID"}
    assert set(schemas["RegistryCreation"]["required"]) == {"name", "region"}
    assert set(schemas["User"]["properties"]) == {"email", "id", "password", "user"}
    assert set(schemas["IPRestrictions"]["properties"]) == {
        "createdAt",
        "description",
        "ipBlock",
        "updatedAt",
    }
    provider = {
        "adminGroup", "autoOnboard", "clientId", "endpoint", "groupFilter", "groupsClaim", "name", "scope", "userClaim",
        "verifyCert",
    }  # fmt: skip
    read = {"id", "status", "createdAt", "updatedAt"}
    assert set(schemas["OIDCConfiguration"]["properties"]) == provider | read
    assert set(schemas["OIDCProvider"]["properties"]) == provider | read | {"clientSecret"}
    assert set(schemas["OIDCProvider"]["required"]) == {
        "name",
        "endpoint",
        "clientId",
        "clientSecret",
        "scope",
    }
    assert set(schemas["OIDCPost"]["properties"]) == {"provider", "deleteUsers"}
    assert set(schemas["OIDCPut"]["properties"]) == provider | read | {"clientSecret"}
    assert set(schemas["Plan"]["properties"]) == {
        "code", "createdAt", "features", "id", "name", "registryLimits", "updatedAt",
    }  # fmt: skip
