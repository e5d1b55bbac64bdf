"""People sign in to a registry by its LDAP directory, a real one: who they are, what their groups make of them, and what fails."""

from __future__ import annotations

import asyncio

import pytest

from moorage.api.harbor.operations import PREFIX
from moorage.identity import outsiders, users
from moorage.identity.roles import Role
from tests.contracts.test_ldap_client import lying
from tests.functional.ldap_world import PERSON, current, forget, put, turn_on
from tests.functional.test_harbor_frame import sign_in
from tests.servers.directory import Directory
from tests.worlds import PASSWORD, World


async def test_a_person_signs_in_by_basic_at_a_browser_and_for_a_token(
    ldap_world: World, directory: Directory
):
    directory.add_person("alice", PERSON, "cn: Alice Example", "mail: alice@example.org")
    before = await current(ldap_world, "alice")
    await turn_on(ldap_world, directory)

    who = await current(ldap_world, "alice")
    page = await sign_in(await ldap_world.as_(None), "alice", PERSON)
    token = await (await ldap_world.as_("alice", PERSON)).get(
        "/service/token", params={"service": "harbor-registry", "scope": "repository:library/app:pull"}
    )
    wire = await (await ldap_world.as_("alice", PERSON)).get("/v2/")

    assert before == {"status": 401}
    assert {name: who[name] for name in ("username", "email", "realname", "comment", "sysadmin_flag")} == {
        "username": "alice", "email": "alice@example.org", "realname": "Alice Example", "comment": "from LDAP",
        "sysadmin_flag": False,
    }  # fmt: skip
    assert (page.status_code, wire.status_code, token.status_code, bool(token.json()["token"])) == (
        200,
        200,
        200,
        True,
    )


@pytest.mark.parametrize(
    "shown",
    [
        # No more at once, since each wrong one puts the next one off.
        [("alice", "wrong"), ("alice", ""), ("", PERSON), ("nobody", PERSON)],
        [("*", PERSON), ("alice)(|(uid=*", PERSON), ("*)(uid=*", PERSON), ("al*", PERSON)],
        [("alice\\2a", PERSON), ("uid=alice", PERSON), ("reader)(uid=alice", PERSON), ("ali\\63e", PERSON)],
    ],
    ids=["wrong", "filters", "escapes"],
)
async def test_nobody_comes_in_by_a_wrong_password_by_none_or_by_a_name_that_is_a_filter(
    ldap_world: World, directory: Directory, shown: list[tuple[str, str]]
):
    directory.add_person("alice", PERSON)
    await turn_on(ldap_world, directory)

    refused = [await current(ldap_world, *one) for one in shown]

    assert refused == [{"status": 401}] * len(shown)
    listed = (await ldap_world.client.get(f"{PREFIX}/users")).json()
    assert "alice" not in {one["username"] for one in listed}


async def test_groups_are_gained_and_lost_and_their_roles_with_them(ldap_world: World, directory: Directory):
    directory.add_person("alice", PERSON)
    dn = directory.add_group("builders", "alice", "reader")
    await ldap_world.add_project("team")
    await turn_on(ldap_world, directory)
    path = f"{PREFIX}/projects/team/members"
    made = await ldap_world.client.post(
        path,
        json={"role_id": int(Role.DEVELOPER), "member_group": {"group_type": 1, "ldap_group_dn": dn.upper()}},
    )
    assert made.status_code == 201, made.text
    alice = await ldap_world.as_("alice", PERSON)

    first = (await alice.get(f"{PREFIX}/projects/team/repositories")).status_code
    directory.leave("builders", "alice")
    remembered = (await alice.get(f"{PREFIX}/projects/team/repositories")).status_code
    await forget(ldap_world)
    lost = (await alice.get(f"{PREFIX}/projects/team/repositories")).status_code

    assert (first, remembered, lost) == (200, 200, 403)


async def test_groups_are_looked_for_where_the_entry_does_not_name_them(
    ldap_world: World, directory: Directory
):
    directory.add_person("alice", PERSON)
    dn = directory.add_group("builders", "alice")
    await ldap_world.add_project("team")
    await turn_on(ldap_world, directory, ldap_group_membership_attribute="", ldap_group_admin_dn=dn)

    assert (await current(ldap_world, "alice"))["sysadmin_flag"] is True


async def test_the_group_of_administrators_makes_them_and_takes_it_again_but_not_from_whom_a_person_has_made_one(
    ldap_world: World, directory: Directory
):
    for name in ("alice", "bob"):
        directory.add_person(name, PERSON)
    dn = directory.add_group("admins", "alice", "reader")
    await turn_on(ldap_world, directory, ldap_group_admin_dn=dn.replace("cn=", "CN = "))
    bob = await current(ldap_world, "bob")
    assert (
        await ldap_world.client.put(f"{PREFIX}/users/{bob['user_id']}/sysadmin", json={"sysadmin_flag": True})
    ).status_code == 200

    before = [(await current(ldap_world, name))["sysadmin_flag"] for name in ("alice", "bob")]
    directory.leave("admins", "alice")
    await forget(ldap_world)
    after = [(await current(ldap_world, name))["sysadmin_flag"] for name in ("alice", "bob")]

    assert (before, after) == ([True, True], [False, True])


async def test_a_person_who_is_renamed_keeps_the_account_and_who_takes_the_name_does_not_get_it(
    ldap_world: World, directory: Directory
):
    directory.add_person("alice", PERSON)
    await turn_on(ldap_world, directory)
    first = await current(ldap_world, "alice")
    directory.rename("alice", "alicia")
    directory.add_person("alice", "Another-pass-1")
    await forget(ldap_world)

    renamed = await current(ldap_world, "alicia")
    other = await (await ldap_world.as_("alice", "Another-pass-1")).get(f"{PREFIX}/users/current")

    assert (renamed["user_id"], renamed["username"]) == (first["user_id"], "alice")
    assert (other.status_code, "another user's" in other.text) == (403, True)


async def test_a_local_user_is_never_taken_over_and_keeps_the_password(
    ldap_world: World, directory: Directory
):
    directory.add_person("admin", PERSON)
    directory.add_person("carol", PERSON)
    await ldap_world.add_user("carol", Role.GUEST)
    await turn_on(ldap_world, directory)

    for name in ("admin", "carol"):
        assert await current(ldap_world, name) == {"status": 401}
        assert (await current(ldap_world, name, PASSWORD))["username"] == name


async def test_while_the_directory_is_away_its_people_are_told_and_all_others_go_on(
    ldap_world: World, directory: Directory
):
    directory.add_person("alice", PERSON)
    await turn_on(ldap_world, directory)
    known = await current(ldap_world, "alice")
    async with lying() as silent:
        assert await put(
            ldap_world, ldap_url=silent, ldap_search_password=directory.password, ldap_timeout=1
        ) == (200, "")

        away = asyncio.ensure_future(current(ldap_world, "alice"))
        local = await current(ldap_world, "admin", PASSWORD)
        others = await (await ldap_world.as_("zoe", PERSON)).get(f"{PREFIX}/users/current")
        told = await away

    assert known["username"] == "alice"
    assert (local["username"], told, others.status_code) == ("admin", {"status": 503}, 503)
    assert "127.0.0.1" not in others.text


async def test_an_account_that_is_disabled_or_signed_out_is_not_let_in_by_what_is_remembered(
    ldap_world: World, directory: Directory
):
    directory.add_person("alice", PERSON)
    await turn_on(ldap_world, directory)
    number = (await current(ldap_world, "alice"))["user_id"]
    registry = await ldap_world.registry()

    await registry.db.change(lambda tx: users.set_disabled(tx, number, disabled=True))
    disabled = await current(ldap_world, "alice")
    await registry.db.change(lambda tx: users.set_disabled(tx, number, disabled=False))
    enabled = await current(ldap_world, "alice")
    assert (await ldap_world.client.delete(f"{PREFIX}/users/{number}")).status_code == 200
    again = await current(ldap_world, "alice")

    assert (disabled, enabled["user_id"]) == ({"status": 401}, number)
    assert again["user_id"] != number


async def test_many_requests_at_once_with_one_password_ask_the_directory_once(
    ldap_world: World, directory: Directory
):
    directory.add_person("alice", PERSON)
    await turn_on(ldap_world, directory)
    client = await ldap_world.as_("alice", PERSON)

    answers = await asyncio.gather(*(client.get("/v2/") for _ in range(40)))
    directory.remove("alice")
    later = await client.get("/v2/")
    await forget(ldap_world)

    assert {one.status_code for one in answers} == {200}
    # What was right a moment ago is believed for a minute, and no longer.
    assert (later.status_code, await current(ldap_world, "alice")) == (200, {"status": 401})


async def test_what_is_remembered_ends_when_the_directory_is_another_or_is_turned_off(
    ldap_world: World, directory: Directory
):
    directory.add_person("alice", PERSON)
    await turn_on(ldap_world, directory)
    assert (await current(ldap_world, "alice"))["username"] == "alice"

    assert await put(ldap_world, ldap_filter="(uid=reader)") == (200, "")
    filtered = await current(ldap_world, "alice")
    assert await put(ldap_world, ldap_filter="") == (200, "")
    back = await current(ldap_world, "alice")
    assert await put(ldap_world, auth_mode="db_auth") == (200, "")

    assert (filtered, back["username"], await current(ldap_world, "alice")) == (
        {"status": 401},
        "alice",
        {"status": 401},
    )


async def test_the_password_for_searching_is_never_shown_nor_sent_elsewhere(
    ldap_world: World, directory: Directory, caplog: pytest.LogCaptureFixture
):
    directory.add_person("alice", PERSON)
    await turn_on(ldap_world, directory)
    await current(ldap_world, "alice")
    shown = await ldap_world.client.get(f"{PREFIX}/configurations")
    moved = await put(ldap_world, ldap_url="ldaps://elsewhere.example.com")
    logs = await ldap_world.client.get(f"{PREFIX}/auditlog-exts")
    registry = await ldap_world.registry()
    known = await outsiders.of_user(registry.db, await registry.db.change(lambda tx: users.find(tx, "alice")))

    assert known is not None
    assert (known.issuer, known.subject[:10]) == ("ldap:dc=example,dc=org", "entryuuid:")
    assert "ldap_search_password" not in shown.json()
    assert (moved[0], moved[1].startswith("ldap_search_password: has to be given")) == (400, True)
    for text in (shown.text, logs.text, caplog.text, repr(known)):
        assert directory.password not in text
        assert PERSON not in text


RULES: list[tuple[str, object, str]] = [
    ("ldap_url", "http://a", "ldaps://"), ("ldap_base_dn", "nothing", "distinguished name"),
    ("ldap_filter", "(a=b", "a filter"), ("ldap_uid", "a b", "attribute"), ("ldap_scope", 3, "0 to 2"),
    ("ldap_timeout", 31, "1 to 30"), ("ldap_timeout", 0, "1 to 30"), ("ldap_ca_certificates", "x", "PEM"),
    ("ldap_group_admin_dn", "=", "distinguished name"), ("ldap_group_search_filter", "(", "a filter"),
    ("ldap_verify_cert", "yes", "true or false"), ("ldap_search_password", 7, "a secret"),
    ("auth_mode", "ldap_auth", "ldap_url: must not be empty"),
]  # fmt: skip


async def test_what_breaks_a_rule_is_not_set(ldap_world: World):
    for key, value, rule in RULES:
        status, told = await put(ldap_world, **{key: value})

        assert (status, rule in told, told.startswith((key, "ldap_url"))) == (400, True, True), told


async def test_a_directory_that_must_not_be_asked_is_not_asked(ldap_world: World):
    given = {"auth_mode": "ldap_auth", "ldap_base_dn": "dc=example", "ldap_uid": "uid"}
    for url in ("ldaps://169.254.169.254", "ldaps://10.0.0.1", "ldaps://[::1]"):
        assert await put(ldap_world, **given, ldap_url=url) == (200, "")
        assert await current(ldap_world, "alice") == {"status": 503}
