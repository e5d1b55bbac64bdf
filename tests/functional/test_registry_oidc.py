"""People sign in to a registry by its OpenID provider: accounts, names, groups, administrators, CLI secrets, and out again."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

import httpx
from sqlalchemy import bindparam, select, update

from moorage.api.harbor.operations import PREFIX
from moorage.db import Statement
from moorage.db.tables import outbox, user, user_identity
from moorage.identity import users
from tests.functional.oidc_world import Staffed, base, current, send
from tests.servers.lying_issuer import CLIENT
from tests.worlds import PASSWORD

EVENTS = Statement(select(outbox.c.kind).order_by(outbox.c.id))
KEPT = Statement(
    select(user_identity.c.claims, user.c.password).join_from(
        user_identity, user, user.c.id == user_identity.c.user_id
    )
)
DISABLE = Statement(update(user).where(user.c.name == bindparam("name")).values(disabled=1))

TOKEN = "/service/token?service=harbor-registry&scope=repository:team/app:pull"


async def groups_of(staffed: Staffed) -> list[str]:
    """Give the names of the OIDC groups that there are."""
    told = (await staffed.admin.get(f"{PREFIX}/usergroups")).json()
    return sorted(one["group_name"] for one in told if one["group_type"] == 3)


async def secret_of(browser: httpx.AsyncClient) -> str:
    """Make a CLI secret at the page that has one made."""
    page = await send(browser, await browser.get("/c/oidc/welcome"))
    found = re.search(r"<code>([\w-]+)</code>", page.text)
    assert found, page.text
    return found[1]


async def test_who_is_known_nowhere_gets_an_account_of_their_own(staffed: Staffed):
    browser = await staffed.signed_in(name="Ada Lovelace")
    told = await current(browser)
    again = await current(await staffed.signed_in(preferred_username="other", email="other@example.com"))

    assert (told["username"], told["email"], told["realname"]) == ("ada", "ada@example.com", "Ada Lovelace")
    assert (told["sysadmin_flag"], told["comment"]) == (False, "Onboarded via OIDC provider")
    meta = told["oidc_user_meta"]
    assert (meta["subiss"], meta["secret"], meta["user_id"]) == (
        f"ada{staffed.issuer.issuer}",
        "",
        told["user_id"],
    )
    # Whatever they are called later, they are who they were.
    assert {name: again[name] for name in ("user_id", "username", "email")} == {
        name: told[name] for name in ("user_id", "username", "email")
    }
    kinds = [row.kind for row in await (await staffed.world.registry()).db.all(EVENTS)]
    assert [kind for kind in kinds if kind.startswith("user.")] == ["user.create", "user.login", "user.login"]
    # Another administrator sees who they are, and not their identity elsewhere.
    seen = (await staffed.admin.get(f"{PREFIX}/users/{told['user_id']}")).json()
    assert (seen["username"], "oidc_user_meta" in seen) == ("ada", False)


async def test_a_name_or_a_mail_address_of_anothers_makes_nobody_that_other(staffed: Staffed):
    first = await current(await staffed.signed_in())
    browser = await staffed.browser()
    entered = await staffed.arrives(browser, "eve", preferred_username="admin", email="ada@example.com")
    page = await browser.get(entered.headers["location"])
    still = await send(browser, page, username="ada")
    wrong = await browser.post("/c/oidc/onboard", data=_form(page) | {"username": "a b"})
    nobody = await current(browser)
    done = await send(browser, page, username="eve")
    told = await current(browser)

    assert entered.headers["location"].startswith("/c/oidc/onboard?why=")
    assert "choose another" in page.text
    assert (still.status_code, wrong.status_code, nobody) == (409, 400, {})
    assert 'role="alert"' in still.text
    assert "script" not in page.headers["content-security-policy"]
    assert (done.status_code, done.headers["location"]) == (302, "/c/oidc/welcome")
    assert (told["username"], told["email"], told["sysadmin_flag"]) == ("eve", "", False)
    assert told["user_id"] != first["user_id"]
    # The form was good once, and in its browser.
    assert (await send(browser, page, username="eve2")).status_code == 400
    assert (await current(staffed.admin))["username"] == "admin"


def _form(page: httpx.Response) -> dict[str, str]:
    from tests.functional.session_world import Forms  # noqa: PLC0415 - its fixtures are for another world.

    return Forms(page.text).forms[0]


async def test_people_choose_their_names_where_that_is_set(staffed: Staffed):
    await staffed.settle(oidc_auto_onboard=False)
    browser, thief = await staffed.browser(), await staffed.browser()
    entered = await staffed.arrives(browser, preferred_username="Ada Lovelace")
    where = entered.headers["location"]
    page = await browser.get(where)
    guard = {"x-harbor-csrf-token": page.headers["x-harbor-csrf-token"]}
    stolen = await thief.get(where)
    crossed = await browser.post("/c/oidc/onboard", data={"username": "ada"})
    # As Harbor's portal sends it: JSON, and the guard in a header.
    taken = await browser.post("/c/oidc/onboard", json={"username": "admin"}, headers=guard)
    done = await browser.post("/c/oidc/onboard", json={"username": "ada"}, headers=guard)

    assert 'value="Ada_Lovelace"' in page.text
    assert (stolen.status_code, crossed.status_code) == (400, 403)
    assert (taken.status_code, taken.json()["errors"][0]["code"]) == (409, "CONFLICT")
    assert (done.status_code, done.content) == (200, b"")
    assert (await current(browser))["username"] == "ada"


async def test_groups_are_those_of_the_last_sign_in(staffed: Staffed):
    await staffed.settle(oidc_group_filter="^team-")
    await staffed.world.add_project("team")
    role = {"role_id": 3, "member_group": {"group_name": "team-a", "group_type": 3}}
    ada = await staffed.signed_in(groups=["team-a", "other", 7, "x" * 300, "team-\n"])
    assert (await staffed.admin.post(f"{PREFIX}/projects/team/members", json=role)).status_code == 201
    seen = []
    for groups in (["team-a"], ["team-b"], "team-a", None, ["team-a", "team-b"]):
        await staffed.signed_in(groups=groups)
        seen.append((await ada.get(f"{PREFIX}/projects/team")).status_code)

    assert seen == [200, 403, 200, 403, 200]
    assert await groups_of(staffed) == ["team-a", "team-b"]
    await staffed.settle(oidc_groups_claim="")
    await staffed.signed_in(groups=["team-a"])
    assert (await ada.get(f"{PREFIX}/projects/team")).status_code == 403


async def test_the_group_of_administrators_gives_and_takes_and_a_persons_word_stays(staffed: Staffed):
    # The filter is of what becomes a group here, not of who administers.
    await staffed.settle(oidc_admin_group="bosses", oidc_group_filter="^team-")
    seen = []
    told: dict[str, Any] = {}
    for groups in (["bosses"], [], ["bosses"]):
        told = await current(await staffed.signed_in(groups=groups))
        seen.append((told["sysadmin_flag"], told["admin_role_in_auth"]))
    number = told["user_id"]
    for admin in (False, True):
        set_ = {"sysadmin_flag": admin}
        assert (await staffed.admin.put(f"{PREFIX}/users/{number}/sysadmin", json=set_)).status_code == 200
    told = await current(await staffed.signed_in(groups=[]))
    seen.append((told["sysadmin_flag"], told["admin_role_in_auth"]))

    assert seen == [(True, True), (False, False), (True, True), (True, False)]
    assert await groups_of(staffed) == []
    kinds = [row.kind for row in await (await staffed.world.registry()).db.all(EVENTS)]
    assert kinds.count("user.admin") == 5


async def test_the_last_administrator_stays_one_though_their_group_is_gone(staffed: Staffed):
    await staffed.settle(oidc_admin_group="bosses")
    ada = await staffed.signed_in(groups=["bosses"])
    number = (await current(staffed.admin))["user_id"]
    guard = {"x-harbor-csrf-token": (await ada.get(f"{PREFIX}/users/current")).headers["x-harbor-csrf-token"]}
    gone = await ada.put(f"{PREFIX}/users/{number}/sysadmin", json={"sysadmin_flag": False}, headers=guard)
    told = await current(await staffed.signed_in(groups=[]))

    assert (gone.status_code, told["sysadmin_flag"]) == (200, True)
    guard = {"x-harbor-csrf-token": (await ada.get(f"{PREFIX}/users/current")).headers["x-harbor-csrf-token"]}
    back = await ada.put(f"{PREFIX}/users/{number}/sysadmin", json={"sysadmin_flag": True}, headers=guard)
    again = await current(await staffed.signed_in(groups=[]))
    assert (back.status_code, again["sysadmin_flag"]) == (200, False)


async def test_a_cli_secret_is_a_password_for_clients_with_the_groups_of_the_last_sign_in(staffed: Staffed):
    await staffed.world.add_project("team")
    ada = await staffed.signed_in(groups=["team-a"])
    role = {"role_id": 3, "member_group": {"group_name": "team-a", "group_type": 3}}
    assert (await staffed.admin.post(f"{PREFIX}/projects/team/members", json=role)).status_code == 201
    secret = await secret_of(ada)
    cli = await staffed.world.as_("ada", secret)

    async def may() -> tuple[int, int]:
        """Ask the token service, and what the token is for."""
        token = await cli.get(TOKEN)
        if token.status_code != 200:
            return token.status_code, 0
        bearer = {"authorization": f"Bearer {token.json()['token']}"}
        asked = await (await staffed.browser()).get("/v2/team/app/tags/list", headers=bearer)
        return token.status_code, asked.status_code

    # There is no such repository, and whoever may not read it is not told.
    assert (await may(), (await cli.get("/v2/")).status_code) == ((200, 404), 200)
    # This browser was signed in anew, and is no other's.
    number = (await current(ada))["user_id"]
    (row,) = await (await staffed.world.registry()).db.all(KEPT)
    assert (row.password, secret in row.claims, "$argon2id$" in row.claims) == (None, False, True)
    # What the groups give goes at the next sign-in, and the secret does not.
    await staffed.signed_in(groups=[])
    assert await may() == (200, 403)
    # One may choose it, by the rules for secrets; the one before is good no more.
    chosen = await cli.put(f"{PREFIX}/users/{number}/cli_secret", json={"secret": "Chosen-secret-1"})
    weak = await (await staffed.world.as_("ada", "Chosen-secret-1")).put(
        f"{PREFIX}/users/{number}/cli_secret", json={"secret": "weak"}
    )
    assert (chosen.status_code, weak.status_code, (await cli.get("/v2/")).status_code) == (200, 400, 401)


async def test_a_cli_secret_is_for_clients_and_as_good_as_its_account(staffed: Staffed):
    ada = await staffed.signed_in()
    number = (await current(ada))["user_id"]
    secret = await secret_of(ada)
    cli, browser = await staffed.world.as_("ada", secret), await staffed.browser()
    guard = {"x-harbor-csrf-token": (await browser.get("/c/oidc/logout")).headers["x-harbor-csrf-token"]}
    # At the form for passwords it is none.
    for name in ("ada", "nobody"):
        told = await browser.post("/c/login", data={"principal": name, "password": secret}, headers=guard)
        assert (told.status_code, told.json()) == (
            403,
            {"redirect_location": f"{base(staffed.admin)}/c/oidc/login"},
        )
    wrong = await browser.post("/c/login", data={"principal": "admin", "password": secret}, headers=guard)
    seen = [(await cli.get("/v2/")).status_code]
    assert (
        await staffed.admin.put(f"{PREFIX}/configurations", json={"auth_mode": "db_auth"})
    ).status_code == 200
    seen.append((await cli.get("/v2/")).status_code)
    await staffed.settle()
    seen.append((await cli.get("/v2/")).status_code)
    assert (await staffed.admin.delete(f"{PREFIX}/users/{number}")).status_code == 200
    seen.append((await cli.get("/v2/")).status_code)
    # Who comes back is somebody new, and has none.
    assert (await current(await staffed.signed_in()))["user_id"] != number
    seen.append((await cli.get("/v2/")).status_code)

    assert (wrong.status_code, seen) == (401, [200, 401, 200, 401, 401])


async def test_a_secret_is_its_owners_and_no_local_users(staffed: Staffed):
    ada = await staffed.signed_in()
    number = (await current(ada))["user_id"]
    boss = (await current(staffed.admin))["user_id"]
    registry = await staffed.world.registry()
    hashed = await staffed.world.passwords.hash(PASSWORD)
    await registry.db.change(lambda tx: users.create(tx, name="bob", password=hashed))
    bob = await staffed.world.as_("bob")
    guard = {"x-harbor-csrf-token": (await ada.get(f"{PREFIX}/users/current")).headers["x-harbor-csrf-token"]}
    made = await ada.put(f"{PREFIX}/users/{number}/cli_secret", json={}, headers=guard)

    assert (
        await bob.put(f"{PREFIX}/users/{number}/cli_secret", json={"secret": PASSWORD})
    ).status_code == 403
    assert (
        await staffed.admin.put(f"{PREFIX}/users/{boss}/cli_secret", json={"secret": PASSWORD})
    ).status_code == 412
    assert (await (await staffed.world.as_("ada", made.json()["secret"])).get("/v2/")).status_code == 200
    # Whoever sets it is signed out everywhere else.
    assert await current(ada) == {}


async def test_who_signs_out_is_out_and_goes_to_the_provider_where_that_is_set(staffed: Staffed):
    staffed.issuer.metadata = {"end_session_endpoint": f"{staffed.issuer.issuer}/bye"}
    ada = await staffed.signed_in()
    plain = await ada.get("/c/oidc/logout")
    gone = await current(ada)
    page = await ada.get(plain.headers["location"])
    await staffed.settle(oidc_logout=True)
    led = await (await staffed.signed_in()).get("/c/oidc/logout")
    local = await staffed.browser()
    guard = {"x-harbor-csrf-token": (await local.get("/c/oidc/logout")).headers["x-harbor-csrf-token"]}
    entered = await local.post("/c/login", data={"principal": "admin", "password": PASSWORD}, headers=guard)
    home = await local.get("/c/oidc/logout")

    assert (plain.status_code, plain.headers["location"], gone) == (302, "/c/oidc/logout", {})
    assert (page.status_code, "/c/oidc/login" in page.text) == (200, True)
    there, query = led.headers["location"].split("?")
    assert (there, parse_qs(query)) == (
        f"{staffed.issuer.issuer}/bye",
        {"client_id": [CLIENT], "post_logout_redirect_uri": [f"{base(staffed.admin)}/c/oidc/logout"]},
    )
    # Who did not come from there is not led there.
    assert (entered.status_code, home.headers["location"]) == (200, "/c/oidc/logout")


async def test_the_way_back_signs_out_who_came_by_the_provider_and_nobody_else(staffed: Staffed):
    ada = await staffed.signed_in()
    await (await staffed.world.registry()).db.change(lambda tx: users.create(tx, name="bob", password=None))
    waiting = await staffed.browser()
    led = await staffed.goes(waiting)
    assert (
        await staffed.admin.put(f"{PREFIX}/configurations", json={"auth_mode": "db_auth"})
    ).status_code == 200
    off = [
        (await (await staffed.browser()).get("/c/oidc/login")).status_code,
        (await waiting.get(staffed.issuer.sign_in(led))).status_code,
    ]
    shut = await current(ada)
    await staffed.settle()

    assert (off, shut) == ([412, 412], {})
    assert (await current(staffed.admin))["username"] == "admin"
    assert (await current(await staffed.signed_in()))["username"] == "ada"
    registry = await staffed.world.registry()
    await registry.db.write(DISABLE, name="ada")
    refused = await staffed.arrives(await staffed.browser())
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, "FORBIDDEN")


async def test_a_provider_is_asked_before_it_is_set(staffed: Staffed):
    async def ping(url: Any) -> tuple[int, str]:
        answer = await staffed.admin.post(
            f"{PREFIX}/system/oidc/ping", json={"url": url, "verify_cert": True}
        )
        return answer.status_code, answer.text

    assert await ping(staffed.issuer.issuer) == (200, "")
    for url, why in (
        ("", "endpoint"),
        (f"{staffed.issuer.issuer}/", "says that its issuer is"),
        ("https://10.0.0.1", "no public address"),
    ):
        status, text = await ping(url)
        assert (status, why in text) == (400, True), text
