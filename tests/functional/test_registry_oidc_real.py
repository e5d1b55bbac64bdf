"""People sign in to a registry by a real OpenID provider: from the first page to a password for docker, and out again."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from moorage.api.harbor.operations import PREFIX
from tests.functional.oidc_world import ENGINES, base, current, house, send
from tests.servers import oidc_provider as servers
from tests.servers.oidc_provider import CLIENT, SECRET
from tests.servers.ports import reserved
from tests.worlds import PASSWORD


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_person_of_a_real_provider_signs_in_uses_docker_and_signs_out(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str
):
    async with house(request, engine) as world:
        home = f"{base(world.client)}/c/oidc/callback"
        with (
            reserved() as (port,),
            servers.oidc_provider(port, home, tmp_path) as provider,
        ):
            given = {
                "auth_mode": "oidc_auth", "oidc_name": "Staff", "oidc_endpoint": provider.issuer, "oidc_client_id": CLIENT,
                "oidc_client_secret": SECRET, "oidc_scope": "openid,profile,email", "oidc_logout": True,
                "oidc_user_claim": "preferred_username", "oidc_auto_onboard": False,
            }  # fmt: skip
            asked = {"url": provider.issuer, "verify_cert": True}
            assert (await world.client.post(f"{PREFIX}/system/oidc/ping", json=asked)).status_code == 200
            assert (await world.client.put(f"{PREFIX}/configurations", json=given)).status_code == 200
            browser = await world.as_(None)

            led = await browser.get("/c/oidc/login", params={"redirect_url": "/harbor/projects"})
            back = await provider.sign_in(led.headers["location"], "ada")
            entered = await browser.get(back)
            done = await send(browser, page := await browser.get(entered.headers["location"]))
            told = await current(browser)
            shown = await send(browser, await browser.get("/c/oidc/welcome"))
            found = re.search(r"<code>([\w-]+)</code>", shown.text)
            assert found, shown.text
            docker = await (await world.as_("ada", found[1])).get("/service/token?service=harbor-registry")
            led = await browser.get("/c/oidc/logout")
            out = await current(browser)
            # The second time they are known, and asked for no name.
            again = await world.as_(None)
            led_again = await again.get("/c/oidc/login")
            entered = await again.get(await provider.sign_in(led_again.headers["location"], "ada"))

    assert 'value="ada"' in page.text
    assert (done.status_code, done.headers["location"]) == (302, "/harbor/projects")
    assert (told["username"], told["email"]) == ("ada", "alice@example.com")
    assert told["oidc_user_meta"]["subiss"] == f"id-ada{provider.issuer}"
    assert (docker.status_code, out) == (200, {})
    assert led.headers["location"].startswith(f"{provider.issuer}end_session?")
    assert parse_qs(urlsplit(led.headers["location"]).query)["client_id"] == [CLIENT]
    assert (entered.status_code, entered.headers["location"]) == (302, "/c/oidc/welcome")


async def test_a_local_user_signs_in_while_the_provider_is_away(request: pytest.FixtureRequest):
    async with house(request, "sqlite") as world:
        with reserved() as (port,):
            given = {
                "auth_mode": "oidc_auth", "oidc_name": "Staff", "oidc_endpoint": f"http://localhost:{port}/",
                "oidc_client_id": CLIENT, "oidc_client_secret": SECRET, "oidc_scope": "openid",
            }  # fmt: skip
            assert (await world.client.put(f"{PREFIX}/configurations", json=given)).status_code == 200
            browser = await world.as_(None)
            away = await browser.get("/c/oidc/login")
            guard = {"x-harbor-csrf-token": away.headers["x-harbor-csrf-token"]}
            form = {"principal": "admin", "password": PASSWORD}
            entered = await browser.post("/c/login", data=form, headers=guard)

    assert (away.status_code, entered.status_code) == (503, 200)
