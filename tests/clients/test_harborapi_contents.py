"""harborapi: repositories and artifacts, and what the log tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from harborapi.exceptions import NotFound, PreconditionFailed
from harborapi.models import AuditLog, Label, ProjectReq, Repository, Tag

from tests.clients.conftest import SECONDS, Desk
from tests.clients.strict_harborapi import Strict
from tests.worlds import ADMIN


async def logged(ask: Callable[[], Awaitable[list[AuditLog]]], what: tuple[str, str]) -> list[AuditLog]:
    """Wait for what the log tells a moment after it was done, and give the log."""
    async with asyncio.timeout(SECONDS):
        logs = await ask()
        while what not in {(one.operation, one.resource_type) for one in logs}:
            await asyncio.sleep(0.2)
            logs = await ask()
    return logs


async def test_repositories_and_what_the_log_tells_of_them(admin: Strict, desk: Desk, name: str):
    await admin.create_project(ProjectReq(project_name=name))
    desk.push_index(f"{name}/a/b")
    with pytest.raises(PreconditionFailed):
        await admin.delete_project(name)
    assert (await admin.get_project_deletable(name)).deletable is not True

    await admin.update_repository(name, "a/b", Repository(description="deep"))
    (listed,) = await admin.get_repositories(name)
    (found,) = (await admin.search(f"{name}/a")).repository or []

    assert listed == await admin.get_repository(name, "a/b")
    assert (listed.name, listed.description) == (f"{name}/a/b", "deep")
    assert (found.repository_name, found.project_name, found.project_public) == (listed.name, name, False)
    assert (found.artifact_count, found.pull_count) == (listed.artifact_count, listed.pull_count)
    assert listed in await admin.get_repositories(query=f"name=~{name}")
    await admin.delete_repository(name, "a/b")
    assert await admin.get_repositories(name) == []
    logs = await logged(lambda: admin.get_project_logs(name), ("delete", "repository"))
    assert {(one.operation, one.resource_type) for one in logs} >= {
        ("create", "project"),
        ("create", "artifact"),
    }
    assert {one.username for one in logs} == {ADMIN}
    assert await admin.get_audit_logs(query="operation=create,resource_type=project", page_size=1, limit=1)


async def test_artifacts_their_tags_and_labels(admin: Strict, desk: Desk, name: str):
    await admin.create_project(ProjectReq(project_name=name))
    digest = desk.push_index(f"{name}/a/b")
    label = int((await admin.create_label(Label(name=name, scope="g"))).rpartition("/")[2])

    await admin.create_artifact_tag(name, "a/b", digest, Tag(name="v2"))
    await admin.add_artifact_label(name, "a/b", "v1", Label(id=label))
    await admin.copy_artifact(name, "copied", f"{name}/a/b@{digest}")
    flags: dict[str, Any] = {"with_label": True, "with_immutable_status": True, "with_accessory": True}
    (found,) = await admin.get_artifacts(name, "a/b", query="tags=*", **flags)

    assert found == await admin.get_artifact(name, "a/b", "v2", **flags)
    assert (found.digest, len(found.references or ())) == (digest, 2)
    assert {one.name for one in await admin.get_artifact_tags(name, "a/b", digest)} == {"v1", "v2"}
    assert [one.id for one in found.labels or ()] == [label]
    assert (await admin.get_artifact(name, "copied", digest)).digest == digest
    child = (found.references or [])[0].child_digest or ""
    assert (await admin.get_artifact(name, "a/b", child)).type == "IMAGE"
    await admin.delete_artifact_label(name, "a/b", digest, label)
    await admin.delete_artifact_tag(name, "a/b", "v2", "v2")
    await admin.delete_artifact(name, "a/b", digest)
    with pytest.raises(NotFound):
        await admin.get_artifact(name, "a/b", "v1")
    await admin.delete_label(label)
