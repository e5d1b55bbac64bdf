"""Passwords of the registry's own, an OpenID provider and a directory at once: each lets in its own people, and none another's."""

from __future__ import annotations

import pytest

from moorage.api.harbor.operations import PREFIX
from tests.functional import ldap_world
from tests.functional.ldap_world import PERSON
from tests.functional.oidc_world import Staffed, current
from tests.functional.test_harbor_people import made
from tests.servers.directory import Directory


@pytest.mark.parametrize("staffed", ["sqlite"], indirect=True)
async def test_three_ways_are_on_at_once_and_one_name_is_one_account(staffed: Staffed, directory: Directory):
    world = staffed.world
    directory.add_person("lea", PERSON)
    directory.add_person("ada", PERSON)
    await ldap_world.turn_on(world, directory)
    await staffed.settle()
    _, bob = await made(world, "bob")
    ada = await staffed.signed_in("ada")
    browser = await staffed.browser()

    async def enter(name: str, password: str = PERSON) -> tuple[int, str]:
        """Sign in at the form for passwords."""
        shown = (await browser.get("/c/oidc/logout")).headers["x-harbor-csrf-token"]
        form = {"principal": name, "password": password}
        answer = await browser.post("/c/login", data=form, headers={"x-harbor-csrf-token": shown})
        return answer.status_code, (await current(browser)).get("username", "")

    assert (await current(bob))["username"] == "bob"
    assert (await ldap_world.current(world, "lea"))["username"] == "lea"
    assert await enter("lea") == (200, "lea")
    # Whoever is called so in the directory is not the provider's ada, and who is there is known by the form, too.
    assert await ldap_world.current(world, "ada") == {"status": 403}
    assert await enter("ada") == (403, "")
    assert (await current(ada))["username"] == "ada"
    assert await enter("nobody") == (403, "")
    for mode, seen in (("ldap_auth", ("lea", 302)), ("db_auth", ("", 412)), ("oidc_auth", ("lea", 302))):
        assert await ldap_world.put(world, auth_mode=mode) == (200, "")
        await ldap_world.forget(world)
        told = (await ldap_world.current(world, "lea")).get("username", "")
        assert (told, (await (await staffed.browser()).get("/c/oidc/login")).status_code) == seen, mode
        assert (await current(bob))["username"] == "bob"
        assert (await current(staffed.admin))["username"] == "admin"
    assert len((await staffed.admin.get(f"{PREFIX}/users")).json()) == 4
