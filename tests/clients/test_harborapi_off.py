"""harborapi: what this release does not do, and that no method of the client is left untried."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from harborapi import HarborAsyncClient, models
from harborapi.exceptions import Conflict, NotFound, PreconditionFailed, StatusError
from harborapi.models import ProjectReq

from tests.clients.conftest import Desk
from tests.clients.strict_harborapi import Strict

# How the client speaks HTTP: every other method does through these.
PLUMBING: Final = {
    "authenticate", "construct_model", "delete", "get", "get_file", "get_text", "head", "log_response", "no_retry",
    "no_validation", "patch", "post", "put", "raw_mode",
}  # fmt: skip
# Some of the client's methods are old names of others.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SCANNER: Final = {"name": "scanner", "url": "http://scanner.example"}
LIBRARY: Final = "library"


async def failed(ask: Callable[[], Awaitable[object]]) -> type[StatusError] | object:
    """Give how something is refused, or what is answered."""
    try:
        return await ask()
    except StatusError as problem:
        return type(problem)


async def check(expected: object, *asked: Callable[[], Awaitable[object]]) -> None:
    """Ask, and compare each answer with what is expected of all."""
    found = [(place, await failed(ask)) for place, ask in enumerate(asked)]
    assert [one for one in found if one[1] != expected] == []


async def test_what_would_make_something_that_is_off_is_refused_with_the_reason(admin: Strict):
    schedule = models.Schedule(
        schedule=models.ScheduleObj.model_validate({"type": "Daily", "cron": "0 0 0 * * *"})
    )
    scanner = models.ScannerRegistrationReq.model_validate(SCANNER)
    given = models.ScannerRegistrationSettings.model_validate(SCANNER)
    await check(
        PreconditionFailed,
        lambda: admin.create_gc_schedule(schedule),
        lambda: admin.update_gc_schedule(schedule),
        lambda: admin.create_purge_job_schedule(schedule),
        lambda: admin.update_purge_job_schedule(schedule),
        lambda: admin.create_audit_log_rotation_schedule(schedule),
        lambda: admin.update_audit_log_rotation_schedule(schedule),
        lambda: admin.create_scan_all_schedule(schedule),
        lambda: admin.update_scan_all_schedule(schedule),
        admin.get_scan_all_schedule,
        admin.get_scan_all_metrics,
        admin.stop_scan_all_job,
        lambda: admin.create_scanner(scanner),
        lambda: admin.ping_scanner_adapter(given),
        lambda: admin.check_registry_status(models.RegistryPing(type="harbor", url="http://other.example")),
        lambda: admin.create_registry(models.Registry(name="other", type="harbor")),
        lambda: admin.create_replication_policy(models.ReplicationPolicy(name="away")),
        lambda: admin.create_retention_policy(models.RetentionPolicy(algorithm="or")),
        lambda: admin.create_project_immutable_tag_rule(LIBRARY, models.ImmutableRule(action="immutable")),
        lambda: admin.create_webhook_policy(LIBRARY, models.WebhookPolicy(name="told")),
        lambda: admin.export_scan_data(models.ScanDataExportRequest(job_name="all")),
    )


async def test_what_is_asked_for_by_a_number_and_is_off_is_not_there(admin: Strict):
    scanner = models.ScannerRegistrationReq.model_validate(SCANNER)
    rule, policy = models.ImmutableRule(disabled=True), models.WebhookPolicy(name="told")
    await check(
        NotFound,
        lambda: admin.get_gc_log(77),
        lambda: admin.get_purge_job_log(77),
        lambda: admin.stop_purge_job(77),
        lambda: admin.get_audit_log_rotation(77),
        lambda: admin.get_audit_log_rotation_log(77),
        lambda: admin.stop_audit_log_rotation(77),
        lambda: admin.get_scanner_metadata(77),
        lambda: admin.set_default_scanner("77"),
        lambda: admin.set_project_scanner(LIBRARY, "77"),
        lambda: admin.update_scanner("77", scanner),
        lambda: admin.delete_scanner("77"),
        lambda: admin.get_registry_info(77),
        lambda: admin.update_registry(77, models.RegistryUpdate(name="other")),
        lambda: admin.delete_registry(77),
        lambda: admin.update_replication_policy(77, models.ReplicationPolicy(name="away")),
        lambda: admin.delete_replication_policy(77),
        lambda: admin.start_replication(77),
        lambda: admin.stop_replication(77),
        lambda: admin.get_replication_tasks(77),
        lambda: admin.get_replication_task_log(77, 1),
        lambda: admin.get_project_retention_id(LIBRARY),
        lambda: admin.update_retention_policy(77, models.RetentionPolicy(algorithm="or")),
        lambda: admin.delete_retention_policy(77),
        lambda: admin.start_retention_execution(77),
        lambda: admin.stop_retention_execution(77, 1),
        lambda: admin.get_retention_executions(77),
        lambda: admin.get_retention_tasks(77, 1),
        lambda: admin.get_retention_execution_task_log(77, 1, 1),
        lambda: admin.update_project_immutable_tag_rule(LIBRARY, 77, rule),
        lambda: admin.enable_project_immutable_tagrule(LIBRARY, 77),
        lambda: admin.delete_project_immutable_tag_rule(LIBRARY, 77),
        lambda: admin.update_webhook_policy(LIBRARY, 77, policy),
        lambda: admin.delete_webhook_policy(LIBRARY, 77),
        lambda: admin.get_purge_job(77),
        lambda: admin.get_replication(77),
        lambda: admin.get_scan_export(77),
        lambda: admin.get_scanner("77"),
        lambda: admin.get_webhook_policy(LIBRARY, 77),
        lambda: admin.get_icon(f"sha256:{'0' * 64}"),
        # Paths of Harbor 1, which Harbor 2 has no more.
        lambda: admin.get_robots_v1(LIBRARY),
        lambda: admin.get_robot_v1(LIBRARY, 77),
        lambda: admin.create_robot_v1(LIBRARY, models.RobotCreateV1(name="old")),
        lambda: admin.update_robot_v1(LIBRARY, 77, models.Robot(name="old")),
        lambda: admin.delete_robot_v1(LIBRARY, 77),
    )


async def test_what_is_off_reads_as_empty(admin: Strict):
    nothing: list[Any] = []
    await check(
        nothing,
        admin.get_audit_log_rotation_history,
        lambda: admin.get_webhook_jobs(LIBRARY, 77),
    )
    await check(models.Schedule(), admin.get_gc_schedule)
    await check(
        models.ExecHistory(),
        admin.get_purge_job_schedule,
        admin.get_audit_log_rotation_schedule,
    )
    # The client reads a file's bytes whatever the status is.
    files = await admin.download_scan_export(77), await admin.get_system_certificate()
    assert all(b'"NOT_FOUND"' in one.content for one in files)
    assert (await admin.get_project_scanner(LIBRARY)).uuid is None
    assert (await admin.get_registry_providers()).model_dump() in ({}, {"root": {}})


async def test_what_else_there_is_about_an_artifact(admin: Strict, desk: Desk, name: str):
    await admin.create_project(ProjectReq(project_name=name))
    digest = desk.push_index(f"{name}/a/b")
    index = await admin.get_artifact(name, "a/b", digest)
    child = (index.references or [])[0].child_digest or ""

    listed = await admin.get_project_artifacts(name, with_tag=True)
    assert {one.digest for one in listed} >= {digest}
    assert await admin.get_artifact_accessories(name, "a/b", digest) == []
    assert isinstance(await admin.get_artifact_build_history(name, "a/b", child), list)
    assert await admin.get_artifact_vulnerability_reports(name, "a/b", digest) == {}
    with pytest.raises(NotFound):
        await admin.get_artifact_vulnerabilities(name, "a/b", digest)
    await check(
        PreconditionFailed,
        lambda: admin.scan_artifact(name, "a/b", digest),
        lambda: admin.stop_artifact_scan(name, "a/b", digest),
    )
    await check(NotFound, lambda: admin.get_artifact_scan_report_log(name, "a/b", digest, "77"))


async def test_people_and_groups_that_others_know(admin: Strict, name: str):
    await admin.create_project(ProjectReq(project_name=name))
    group = int(
        (await admin.create_usergroup(models.UserGroup(group_name=name, group_type=3))).rpartition("/")[2]
    )
    allowed = models.CVEAllowlist(items=[models.CVEAllowlistItem(cve_id="CVE-2026-2")])

    await admin.add_project_member_group(name, group, 2)
    with pytest.raises(Conflict):
        await admin.add_project_member(
            name, models.ProjectMember(role_id=3, member_group=models.UserGroup(id=group))
        )
    assert name in {one.entity_name for one in await admin.get_project_members(name)}
    (admins,) = await admin.search_users_by_username("admin")
    await check(
        PreconditionFailed, lambda: admin.set_user_cli_secret(admins.user_id or 0, "Another-secret-1")
    )
    # No directory and no provider is set here.
    for ask in (
        lambda: admin.ping_ldap(models.LdapConf(ldap_url="ldap://127.0.0.1:1")),
        lambda: admin.search_ldap_users("ann"),
        lambda: admin.search_ldap_groups("builders"),
        lambda: admin.import_ldap_users(["ann"]),
        lambda: admin.test_oidc(models.OIDCTestReq(url="http://127.0.0.1:1", verify_cert=True)),
    ):  # fmt: skip
        answer = await failed(ask)
        assert not isinstance(answer, type) or issubclass(answer, StatusError), answer
    await admin.update_cve_allowlist(allowed)
    assert [one.cve_id for one in (await admin.get_cve_allowlist()).items or ()] == ["CVE-2026-2"]
    await admin.update_cve_allowlist(models.CVEAllowlist(items=[]))
    await admin.delete_usergroup(group)


def test_no_method_of_the_client_is_left_untried():
    sources = [ast.parse(one.read_text()) for one in Path(__file__).parent.glob("test_harborapi*.py")]
    called = {node.attr for source in sources for node in ast.walk(source) if isinstance(node, ast.Attribute)}
    every = {
        name
        for name, _ in inspect.getmembers(HarborAsyncClient, inspect.isfunction)
        if not name.startswith("_")
    }

    assert every - PLUMBING - called == set()
