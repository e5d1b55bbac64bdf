"""How people sign in is set through Harbor's API by a registry's administrators: on, off, and on again, whoever its users are."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from moorage.api.harbor.operations import PREFIX
from moorage.identity import configuration, oidc_settings
from tests.functional.test_harbor_people import made, person
from tests.worlds import World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

SECRET = "the-clients-secret-1"
PROVIDER = {
    "oidc_name": "Staff", "oidc_endpoint": "https://idp.example.com/realms/team", "oidc_client_id": "moorage",
    "oidc_client_secret": SECRET, "oidc_scope": "openid,profile",
}  # fmt: skip


async def put(client: httpx.AsyncClient, **given: object) -> tuple[int, str]:
    """Set some of the configuration."""
    answer = await client.put(f"{PREFIX}/configurations", json=given)
    assert SECRET not in answer.text
    return answer.status_code, answer.json()["errors"][0]["message"] if answer.content else ""


async def shown(client: httpx.AsyncClient, path: str = "configurations") -> dict[str, Any]:
    """Give what is shown."""
    answer = await client.get(f"{PREFIX}/{path}")
    assert answer.status_code == 200, answer.text
    assert SECRET not in answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_way_is_turned_on_and_off_and_on_with_users_there(world: World):
    _, ann = await made(world, "ann")
    before = await shown(world.client)
    alone = await put(world.client, auth_mode="oidc_auth")
    on = await put(world.client, auth_mode="oidc_auth", primary_auth_mode=True, **PROVIDER)
    now, told = await shown(world.client), await shown(await world.as_(None), "systeminfo")
    _, bob = await made(world, "bob")
    seen = [(await one.get(f"{PREFIX}/users/current")).status_code for one in (ann, bob)]
    off = await put(world.client, auth_mode="db_auth")
    again = await put(world.client, auth_mode="oidc_auth", oidc_client_secret="")

    assert (alone[0], alone[1].partition(" (")[0]) == (400, "oidc_name: must not be empty")
    assert (on, off, again) == ((200, ""),) * 3
    assert (before["auth_mode"], now["auth_mode"]) == (
        {"value": "db_auth", "editable": True},
        {"value": "oidc_auth", "editable": True},
    )
    assert "oidc_client_secret" not in now
    assert {name: now[name]["value"] for name in PROVIDER if name in now}.items() <= PROVIDER.items()
    assert (told["auth_mode"], told["primary_auth_mode"], told["oidc_provider_name"]) == (
        "oidc_auth",
        True,
        "Staff",
    )
    assert seen == [200, 200]
    registry = await world.registry()
    kept = await oidc_settings.secret(registry.db, registry.access.master, registry.entry.uuid)
    assert kept == SECRET
    assert (await put(ann, auth_mode="db_auth"))[0] == 403


async def test_what_breaks_a_rule_is_refused_by_its_name_and_nothing_changes(world: World):
    before = await shown(world.client)
    for name, value, told in (
        ("auth_mode", "http_auth", "auth_mode is db_auth or "), ("auth_mode", 1, "auth_mode is text"),
        ("oidc_endpoint", "http://idp.example.com", "oidc_endpoint: must be an https address"),
        ("oidc_endpoint", "https://me@idp.example.com", "oidc_endpoint: must be an https address"),
        ("oidc_scope", "profile", "oidc_scope: must be scopes"), ("oidc_name", "a\nb", "oidc_name: must be one line"),
        ("oidc_group_filter", "a(", "oidc_group_filter: must be a regular expression"),
        ("oidc_group_filter", "(?P<a>b)", "oidc_group_filter: must be a regular expression"),
        ("oidc_extra_redirect_parms", "[]", "oidc_extra_redirect_parms: must be a JSON object"),
        ("oidc_extra_redirect_parms", '{"state": "a"}', "oidc_extra_redirect_parms: must not have state"),
        ("oidc_verify_cert", "yes", "oidc_verify_cert is true or false"),
        ("oidc_client_secret", 7, "oidc_client_secret is a secret"),
        ("oidc_client_secret", SECRET * 60, "oidc_client_secret: must be one line"),
    ):  # fmt: skip
        status, message = await put(world.client, **{name: value})
        assert (status, message[: len(told)]) == (400, told)
    assert await shown(world.client) == before
    # What is not whole yet can be kept, and cannot be turned on.
    assert (await put(world.client, oidc_endpoint=PROVIDER["oidc_endpoint"]))[0] == 200
    assert (await put(world.client, auth_mode="oidc_auth"))[0] == 400


async def test_what_the_provider_ends_alone_is_not_changed_here(world: World):
    await (await world.registry()).db.change(
        lambda tx: configuration.put(tx, {configuration.AUTH_MODE: configuration.IAM})
    )
    status, message = await put(world.client, auth_mode="db_auth")

    assert (status, "provider's API" in message) == (412, True)
    assert (await put(world.client, auth_mode="iam_auth", banner_message="hello"))[0] == 200
    assert (await world.client.post(f"{PREFIX}/users", json=person("ann"))).status_code == 403
