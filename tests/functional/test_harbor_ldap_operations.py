"""What administrators ask about a registry's LDAP directory: whether it answers, who is in it, and who is brought from there."""

from __future__ import annotations

from typing import Any

from moorage.api.harbor.operations import PREFIX
from moorage.identity.roles import Role
from tests.functional.ldap_world import PERSON, current, forget, put, turn_on
from tests.servers.directory import Directory
from tests.worlds import World


async def ping(world: World, **given: object) -> Any:
    """Try a directory."""
    answer = await world.client.post(f"{PREFIX}/ldap/ping", json=given or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def search(world: World, what: str, **query: str) -> tuple[int, Any]:
    """Look for somebody or something in the directory."""
    answer = await world.client.get(f"{PREFIX}/ldap/{what}/search", params=query)
    return answer.status_code, answer.json()


async def test_a_directory_is_tried_before_and_after_it_is_set(ldap_world: World, directory: Directory):
    given = {"ldap_url": directory.url, "ldap_search_dn": directory.reader, "ldap_base_dn": directory.base}
    before = await ping(ldap_world, **given, ldap_search_password=directory.password)
    wrong = await ping(ldap_world, **given, ldap_search_password="wrong")
    none = await ping(ldap_world, **given)
    own = await ping(ldap_world, ldap_url=directory.tls_url)
    nowhere = await ping(ldap_world, ldap_url="ldaps://169.254.169.254")
    nothing = await ldap_world.client.post(f"{PREFIX}/ldap/ping", json={"ldap_url": "http://a"})
    await turn_on(ldap_world, directory)
    after = await ping(ldap_world)
    # The kept password goes nowhere else than where it is kept for.
    elsewhere = await ping(ldap_world, ldap_url=directory.url)
    untrusted = await ping(ldap_world, ldap_url=directory.tls_url, ldap_verify_cert=False)

    assert (before, after, untrusted) == ({"success": True},) * 3
    assert nothing.status_code == 400
    for told, why in (
        (wrong, "is wrong"), (none, "is empty"), (own, "certificate is not believed"), (nowhere, "no public address"),
        (elsewhere, "is empty"),
    ):  # fmt: skip
        assert (told["success"], told["message"].startswith("error: "), why in told["message"]) == (
            False,
            True,
            True,
        ), told


async def test_people_and_groups_are_looked_for_by_name_alone(ldap_world: World, directory: Directory):
    absent = await search(ldap_world, "users", username="alice")
    directory.add_person("alice", PERSON, "cn: Alice Example", "mail: alice@example.org")
    directory.add_person("bob", PERSON)
    dn = directory.add_group("builders", "alice")
    await turn_on(ldap_world, directory, ldap_group_search_filter="(objectClass=groupOfNames)")
    shown = {"group_name": "builders", "group_type": 1, "ldap_group_dn": dn}

    assert (absent[0], "ldap_url" in absent[1]["errors"][0]["message"]) == (400, True)
    alice = {"username": "alice", "realname": "Alice Example", "email": "alice@example.org"}
    assert await search(ldap_world, "users", username="alice") == (200, [alice])
    everybody = await search(ldap_world, "users")
    assert {one["username"] for one in everybody[1]} == {"alice", "bob", "reader"}
    for name in ("*", "al*", "*)(uid=*", "nobody"):
        assert await search(ldap_world, "users", username=name) == (200, [])
    for query in ({"groupname": "builders"}, {"groupdn": dn}, {"groupdn": dn.upper()}):
        assert await search(ldap_world, "groups", **query) == (200, [shown])
    for query in (
        {},
        {"groupname": "*"},
        {"groupdn": directory.person("alice")},
        {"groupdn": "cn=builders,dc=other"},
    ):
        assert (await search(ldap_world, "groups", **query))[0] == 404
    assert (await search(ldap_world, "groups", groupdn="nothing"))[0] == 400


async def test_people_are_brought_before_they_sign_in_and_each_failure_is_told(
    ldap_world: World, directory: Directory
):
    directory.add_person("alice", PERSON)
    directory.add_person("bob", PERSON)
    await ldap_world.add_user("bob", Role.GUEST)
    await turn_on(ldap_world, directory)

    brought = await ldap_world.client.post(f"{PREFIX}/ldap/users/import", json={"ldap_uid_list": ["alice"]})
    again = await ldap_world.client.post(
        f"{PREFIX}/ldap/users/import", json={"ldap_uid_list": ["alice", "", "nobody", "*", "bob"]}
    )
    many = await ldap_world.client.post(f"{PREFIX}/ldap/users/import", json={"ldap_uid_list": ["a"] * 101})
    listed = (await ldap_world.client.get(f"{PREFIX}/users", params={"username": "alice"})).json()

    assert (brought.status_code, brought.content, again.status_code, many.status_code) == (200, b"", 404, 400)
    assert [(one["uid"], one["error"].partition(" (")[0]) for one in again.json()] == [
        ("", "empty_uid"), ("nobody", "unknown_user"), ("*", "unknown_user"), ("bob", "failed to import user: bob"),
    ]  # fmt: skip
    assert [one["user_id"] for one in listed] == [(await current(ldap_world, "alice"))["user_id"]]


async def test_a_group_is_made_once_by_the_name_that_the_directory_has_and_its_people_come_with_it(
    ldap_world: World, directory: Directory
):
    directory.add_person("alice", PERSON)
    dn = directory.add_group("builders", "alice")
    await ldap_world.add_project("team")
    client, path = ldap_world.client, f"{PREFIX}/usergroups"
    without = await client.post(path, json={"group_type": 1, "ldap_group_dn": dn})
    await turn_on(ldap_world, directory)
    made = await client.post(path, json={"group_type": 1, "ldap_group_dn": dn.replace("cn=", "CN = ")})
    twice = await client.post(path, json={"group_name": "other", "group_type": 1, "ldap_group_dn": dn})
    absent = await client.post(path, json={"group_type": 1, "ldap_group_dn": f"cn=absent,{directory.base}"})
    shown = (await client.get(made.headers["location"].removeprefix("http://localhost"))).json()
    found = (await client.get(path, params={"ldap_group_dn": dn.upper()})).json()

    assert [one.status_code for one in (without, made, twice, absent)] == [400, 201, 409, 400]
    assert (shown["group_name"], shown["group_type"], shown["ldap_group_dn"], found) == (
        "builders",
        1,
        dn,
        [shown],
    )
    member = {"role_id": int(Role.GUEST), "member_group": {"id": shown["id"]}}
    assert (await client.post(f"{PREFIX}/projects/team/members", json=member)).status_code == 201
    alice = await ldap_world.as_("alice", PERSON)
    assert (await alice.get(f"{PREFIX}/projects/team/repositories")).status_code == 200


async def test_two_groups_of_one_name_are_two(ldap_world: World, directory: Directory):
    directory.add_person("alice", PERSON)
    first = directory.add_group("builders", "alice")
    directory.server.ask(
        "ldapadd", f"dn: ou=more,{directory.base}\nobjectClass: organizationalUnit\nou: more\n"
    )
    second = f"cn=builders,ou=more,{directory.base}"
    directory.server.ask(
        "ldapadd", f"dn: {second}\nobjectClass: groupOfNames\ncn: builders\nmember: {directory.reader}\n"
    )
    await ldap_world.add_project("team")
    await turn_on(ldap_world, directory)
    path = f"{PREFIX}/projects/team/members"
    for dn, role in ((second, Role.PROJECT_ADMIN), (first, Role.GUEST)):
        given = {"role_id": int(role), "member_group": {"group_type": 1, "ldap_group_dn": dn}}
        assert (await ldap_world.client.post(path, json=given)).status_code == 201
    alice = await ldap_world.as_("alice", PERSON)

    assert (await alice.get(f"{PREFIX}/projects/team/members")).status_code == 200
    assert (await alice.post(path, json={})).status_code == 403
    unknown = {
        "role_id": 3,
        "member_group": {"group_type": 1, "ldap_group_dn": f"cn=absent,{directory.base}"},
    }
    assert (await ldap_world.client.post(path, json=unknown)).status_code == 400


async def test_a_directory_in_clear_and_one_that_begins_tls_are_asked_where_that_is_allowed(
    ldap_world: World, directory: Directory
):
    directory.add_person("alice", PERSON)
    for url in (directory.url, directory.start_tls_url):
        await turn_on(ldap_world, directory, ldap_url=url)
        await forget(ldap_world)
        assert (await current(ldap_world, "alice"))["username"] == "alice"
    assert await put(ldap_world, ldap_ca_certificates="") == (200, "")
    assert await current(ldap_world, "alice") == {"status": 503}
