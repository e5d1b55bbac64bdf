"""harborapi, a client of Harbor: what it asks of a registry's management side, and what it reads in the answers.

Its models let other types and unknown fields pass; here (`strict_harborapi.py`) they do not.
"""

from __future__ import annotations

import httpx
import pytest
from harborapi.exceptions import Conflict, Forbidden, NotFound, PreconditionFailed, StatusError, Unauthorized
from harborapi.models import (
    Access,
    Configurations,
    CVEAllowlist,
    CVEAllowlistItem,
    Label,
    ProjectMetadata,
    ProjectReq,
    QuotaUpdateReq,
    Registry,
    ResourceList,
    RobotCreate,
    RobotPermission,
    UserCreationReq,
    UserGroup,
    UserProfile,
)

from tests.clients.strict_harborapi import SignIn, Strict, refused, seen
from tests.worlds import ADMIN, PASSWORD


async def test_what_a_registry_says_of_itself(admin: Strict):
    health, told, volumes = (
        await admin.health_check(),
        await admin.get_system_info(),
        await admin.get_system_volume_info(),
    )
    counts, may = await admin.get_statistics(), await admin.get_permissions()

    assert await admin.ping() == "Pong"
    assert health.status == "healthy"
    assert {one.status for one in health.components or ()} == {"healthy"}
    assert (told.auth_mode, told.read_only) == ("db_auth", False)
    assert told.registry_url
    # The first registry's plan has no limit, so that there is no volume to tell of.
    assert volumes.storage == []
    assert counts.total_project_count == (counts.private_project_count or 0) + (
        counts.public_project_count or 0
    )
    assert (len(may.system or ()), len(may.project or ())) == (70, 70)


async def test_a_projects_life(admin: Strict, name: str):
    allowed = CVEAllowlist(items=[CVEAllowlistItem(cve_id="CVE-2026-1")])
    made = ProjectReq(project_name=name, metadata=ProjectMetadata(public="false"), storage_limit=1 << 20)
    location = await admin.create_project(made)
    first = await admin.get_project(name)

    assert location == f"/api/v2.0/projects/{name}"
    assert await admin.project_exists(name)
    assert not await admin.project_exists(f"{name}-not")
    assert first == await admin.get_project(first.project_id or 0)
    assert (first.owner_name, first.metadata and first.metadata.public) == (ADMIN, "false")
    with pytest.raises(Conflict):
        await admin.create_project(made)
    await admin.update_project(
        name,
        ProjectReq(
            metadata=ProjectMetadata(public="true", reuse_sys_cve_allowlist="false"), cve_allowlist=allowed
        ),
    )
    changed = await admin.get_project(name)
    assert changed.metadata
    assert (changed.metadata.public, changed.metadata.reuse_sys_cve_allowlist) == ("true", "false")
    assert [one.cve_id for one in (changed.cve_allowlist or allowed).items or ()] == ["CVE-2026-1"]
    summary = await admin.get_project_summary(name)
    assert (summary.repo_count, summary.project_admin_count) == (0, 1)
    assert summary.quota
    assert (summary.quota.hard, summary.quota.used) == (
        ResourceList({"storage": 1 << 20}),
        ResourceList({"storage": 0}),
    )
    assert (await admin.get_project_deletable(name)).deletable is True
    found = await admin.search(name)
    assert [one.name for one in found.project or ()] == [name]
    await admin.delete_project(name)
    with pytest.raises(NotFound):
        await admin.get_project(name)


async def test_what_is_set_for_a_project(admin: Strict, name: str):
    await admin.create_project(ProjectReq(project_name=name))

    await admin.set_project_metadata(name, ProjectMetadata(prevent_vul="true"))
    await admin.update_project_metadata_entry(name, "prevent_vul", {"prevent_vul": "false"})
    entry = await admin.get_project_metadata_entry(name, "prevent_vul")
    whole = await admin.get_project_metadata(name)
    await admin.delete_project_metadata_entry(name, "prevent_vul")

    assert entry == {"prevent_vul": "false"}
    assert (whole.public, whole.prevent_vul) == ("false", "false")
    assert (await admin.get_project_metadata(name)).prevent_vul is None


async def test_the_client_follows_the_links_of_a_long_list(admin: Strict, name: str):
    made = [f"{name}-{number:02}" for number in range(13)]
    for one in made:
        await admin.create_project(ProjectReq(project_name=one))

    listed = await admin.get_projects(query=f"name=~{name}", sort="-name", page_size=5)
    some = await admin.get_projects(query=f"name=~{name}", sort="name", page_size=5, page=2, limit=4)

    assert [one.name for one in listed] == made[::-1]
    assert [one.name for one in some] == made[5:9]
    for one in made:
        await admin.delete_project(one)


async def test_quotas_are_listed_and_set(admin: Strict, name: str):
    await admin.create_project(ProjectReq(project_name=name, storage_limit=1 << 20))
    number = str((await admin.get_project(name)).project_id)

    (quota,) = await admin.get_quotas(reference="project", reference_id=number)
    await admin.update_quota(quota.id or 0, QuotaUpdateReq(hard=ResourceList({"storage": 1 << 21})))

    assert quota.hard == ResourceList({"storage": 1 << 20})
    assert (await admin.get_quota(quota.id or 0)).hard == ResourceList({"storage": 1 << 21})


async def test_labels_of_a_registry_and_of_a_project(admin: Strict, name: str):
    await admin.create_project(ProjectReq(project_name=name))
    number = (await admin.get_project(name)).project_id
    for label in (
        Label(name=name, scope="g", color="#0065AB"),
        Label(name=name, scope="p", project_id=number),
    ):
        assert (await admin.create_label(label)).startswith("/api/v2.0/labels/")

    (wide,) = await admin.get_labels(name=name, scope="g")
    (narrow,) = await admin.get_labels(name=name, scope="p", project_id=number)
    await admin.update_label(wide.id or 0, Label(name=name, description="changed", scope="g"))

    assert (wide.color, narrow.project_id) == ("#0065AB", number)
    assert (await admin.get_label(wide.id or 0)).description == "changed"
    for one in (wide, narrow):
        await admin.delete_label(one.id or 0)
        with pytest.raises(NotFound):
            await admin.get_label(one.id or 0)


async def test_the_configuration_is_read_and_changed(admin: Strict):
    before = await admin.get_config()
    assert before.auth_mode
    assert before.robot_token_duration

    await admin.update_config(
        Configurations(robot_token_duration=(before.robot_token_duration.value or 0) + 1)
    )
    after = await admin.get_config()
    await admin.update_config(Configurations(robot_token_duration=before.robot_token_duration.value))

    assert after.robot_token_duration
    assert after.robot_token_duration.value == (before.robot_token_duration.value or 0) + 1
    assert (before.auth_mode.value, (await admin.get_config()).robot_token_duration) == (
        "db_auth",
        before.robot_token_duration,
    )


async def test_a_users_life(admin: Strict, sign_in: SignIn, name: str):
    fields = {"email": f"{name}@example.com", "realname": "A person", "comment": "by the client"}
    location = await admin.create_user(UserCreationReq(username=name, password=PASSWORD, **fields))
    user = await admin.get_user_by_username(name)
    number = user.user_id or 0
    assert location == f"/api/v2.0/users/{number}"
    assert (user.email, user.realname, user.comment, user.sysadmin_flag) == (*fields.values(), False)
    own = sign_in(name)
    await seen(lambda: own.update_user(number, UserProfile(realname="Another", email=fields["email"])))
    await seen(lambda: own.set_user_password(number, "Moorage-pass-2", PASSWORD))
    own = sign_in(name, "Moorage-pass-2")

    assert (await seen(own.get_current_user)).realname == "Another"
    assert await seen(lambda: own.get_current_user_permissions("/project/1", relative=True)) == []
    assert await admin.get_current_user_permissions("/project/1", relative=True)
    await refused(own.get_users, Forbidden)
    await admin.set_user_admin(number, is_admin=True)
    found = await seen(lambda: own.get_users(query=f"username=~{name}"))
    assert [one.username for one in found] == [name]
    await admin.delete_user(number)
    with pytest.raises(NotFound):
        await admin.get_user(number)


async def test_what_goes_wrong_is_what_the_client_calls_it(admin: Strict, sign_in: SignIn, name: str):
    wrong = sign_in(password="Wrong-pass-1")

    with pytest.raises(Unauthorized):
        await wrong.get_current_user()
    with pytest.raises(StatusError) as wrong_name:
        await admin.create_project(ProjectReq(project_name="Wrong Name"))
    assert wrong_name.value.status_code == httpx.codes.BAD_REQUEST
    assert [one.code for one in wrong_name.value.errors] == ["BAD_REQUEST"]
    with pytest.raises(NotFound):
        await admin.get_repository("library", name)


async def test_members_of_a_project_and_groups_of_users(admin: Strict, sign_in: SignIn, name: str):
    await admin.create_project(ProjectReq(project_name=name))
    await admin.create_user(
        UserCreationReq(username=name, password=PASSWORD, email=f"{name}@example.com", realname="A")
    )
    own = sign_in(name)
    await refused(lambda: own.get_project(name), Forbidden)

    location = await admin.add_project_member_user(name, name, 3)
    number = int(location.rpartition("/")[2])
    assert (await seen(lambda: own.get_project(name))).current_user_role_id == 3
    await admin.update_project_member_role(name, number, 2)
    member = await admin.get_project_member(name, number)
    assert (member.entity_name, member.role_id, member.role_name) == (name, 2, "developer")
    assert member in await admin.get_project_members(name)
    assert [one.entity_name for one in await admin.get_project_members(name, entity_name=name)] == [name]
    assert (await admin.get_project_summary(name)).developer_count == 1
    await admin.remove_project_member(name, number)
    await refused(lambda: own.get_project(name), Forbidden)
    group = await admin.create_usergroup(UserGroup(group_name=name, group_type=3))
    group_number = int(group.rpartition("/")[2])
    await admin.update_usergroup(group_number, UserGroup(group_name=f"{name}-renamed"))
    assert (await admin.get_usergroup(group_number)).group_name == f"{name}-renamed"
    assert [one.id for one in await admin.search_usergroups(f"{name}-r")] == [group_number]
    assert group_number in {one.id for one in await admin.get_usergroups(page_size=100)}
    await admin.delete_usergroup(group_number)
    with pytest.raises(NotFound):
        await admin.get_usergroup(group_number)
    await admin.delete_user((await admin.get_user_by_username(name)).user_id or 0)


async def test_robots_of_a_project_and_of_the_registry(admin: Strict, sign_in: SignIn, name: str):
    await admin.create_project(ProjectReq(project_name=name))
    given = RobotPermission(
        kind="project", namespace=name, access=[Access(resource="repository", action="list")]
    )
    machine = await admin.create_robot(
        RobotCreate(name="ci", level="project", duration=30, permissions=[given], description="builds")
    )
    everywhere = await admin.create_robot(
        RobotCreate(name=name, level="system", duration=-1, permissions=[given])
    )
    number = machine.id or 0

    assert (machine.name, everywhere.expires_at) == (f"robot${name}+ci", -1)
    robot = await admin.get_robot(number)
    assert (robot.level, robot.duration, robot.description) == ("project", 30, "builds")
    assert robot.permissions
    assert [one.resource for one in robot.permissions[0].access or []] == ["repository"]
    project = (await admin.get_project(name)).project_id
    assert await admin.get_robots(query=f"Level=project,ProjectID={project}") == [robot]
    assert [one.id for one in await admin.get_robots(query=f"name={everywhere.name}")] == [everywhere.id]
    own = sign_in(machine.name or "", machine.secret or "")
    assert await seen(lambda: own.get_repositories(name)) == []
    with pytest.raises(PreconditionFailed):
        await seen(own.get_current_user)
    await admin.refresh_robot_secret(number, "Chosen-by-me-1")
    await refused(own.get_robots, Unauthorized)
    own = sign_in(machine.name or "", "Chosen-by-me-1")
    assert await seen(lambda: own.get_repositories(name)) == []
    robot.disable = True
    await admin.update_robot(number, robot)
    await refused(lambda: own.get_repositories(name), Unauthorized)
    for one in (number, everywhere.id or 0):
        await admin.delete_robot(one)
        with pytest.raises(NotFound):
            await admin.get_robot(one)


async def test_what_is_off_reads_as_empty_or_is_not_there(admin: Strict, name: str):
    await admin.create_project(ProjectReq(project_name=name))

    empty = [
        await admin.get_gc_jobs(),
        await admin.get_purge_job_history(),
        await admin.get_replication_policies(),
        await admin.get_replications(),
        await admin.get_registries(),
        await admin.get_registry_adapters(),
        await admin.get_scanners(),
        await admin.get_project_scanner_candidates(name),
        await admin.get_project_immutable_tag_rules(name),
        await admin.get_webhook_policies(name),
        await admin.get_webhook_policy_last_trigger(name),
        (await admin.get_scan_exports()).items,
        (await admin.get_retention_metadata()).templates,
        (await admin.get_cve_allowlist()).items,
    ]

    assert empty == [[] for _ in empty]
    assert not (await admin.get_webhook_supported_events(name)).event_type
    for absent in (
        admin.get_gc_job,
        admin.get_registry,
        admin.get_replication_policy,
        admin.get_retention_policy,
    ):
        with pytest.raises(NotFound):
            await absent(1)
    with pytest.raises(PreconditionFailed):
        await admin.create_registry(
            Registry(name=name, url="https://registry.example.com", type="docker-registry")
        )
