"""harborapi has a registry's people come from a real directory: tried, set, looked into, and signed in from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harborapi.models import Configurations, LdapConf, ProjectMember, ProjectReq, UserGroup

from tests.clients.strict_harborapi import Strict, seen
from tests.servers.directory import Directory
from tests.servers.house import house
from tests.worlds import ADMIN, PASSWORD

PERSON = "Person-pass-1"
SECONDS = 120.0


async def test_people_and_groups_come_from_a_directory(tmp_path: Path, directory: Directory):
    directory.add_person("alice", PERSON, "cn: Alice Example", "mail: alice@example.org")
    directory.add_person("bob", PERSON)
    dn = directory.add_group("builders", "alice")
    given: dict[str, Any] = {
        "ldap_url": directory.url, "ldap_search_dn": directory.reader, "ldap_search_password": directory.password,
        "ldap_base_dn": directory.base, "ldap_uid": "uid",
    }  # fmt: skip
    with house(tmp_path / "house", PASSWORD=PASSWORD, CALL_NETWORKS="127.0.0.0/8") as up:
        url = f"{up.registry}/api/v2.0"
        admin = Strict(url, ADMIN, PASSWORD, timeout=SECONDS, retry=None)
        alice = Strict(url, "alice", PERSON, timeout=SECONDS, retry=None)
        tried = await admin.ping_ldap(LdapConf(**given))
        await admin.update_config(Configurations(auth_mode="ldap_auth", **given))
        again = await admin.ping_ldap()
        people, groups = await admin.search_ldap_users("alice"), await admin.search_ldap_groups("builders")
        await admin.import_ldap_users(["bob"])
        await admin.create_project(ProjectReq(project_name="team"))
        member = ProjectMember(role_id=2, member_group=UserGroup(group_type=1, ldap_group_dn=dn))
        await admin.add_project_member("team", member)

        # Another process learns a moment later what one has changed.
        who = await seen(alice.get_current_user)
        project = await seen(lambda: alice.get_project("team"))
        imported = [one.username for one in await admin.get_users()]
        for one in (admin, alice):
            await one.client.aclose()

    assert (tried.success, again.success) == (True, True)
    assert [(one.username, one.realname, one.email) for one in people] == [
        ("alice", "Alice Example", "alice@example.org")
    ]
    assert [(one.group_name, one.group_type, one.ldap_group_dn) for one in groups] == [("builders", 1, dn)]
    assert (who.username, who.sysadmin_flag, "bob" in imported) == ("alice", False, True)
    assert project.current_user_role_ids == [2]
