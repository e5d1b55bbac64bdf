"""harbor-cli, Harbor's command line in Python: every command of what this release serves, as a person types it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Desk
from tests.clients.programs import program
from tests.servers.house import House
from tests.worlds import ADMIN, PASSWORD

pytestmark = pytest.mark.parametrize("running", ["sqlite-posix"], indirect=True)
ASKS = {"confirm_deletion": "false", "confirm_enumeration": "false", "format": '"json"'}


@dataclass(frozen=True, slots=True)
class Shell:
    """Where commands are typed."""

    process: subprocess.Popen[str]
    signs_in: list[str]

    def type(self, words: str, *more: str, status: int = 0) -> Any:
        """Type a command; give what it says on its output, which is JSON if it is anything."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([*self.signs_in, *words.split(), *more]) + "\n")
        self.process.stdin.flush()
        ran = json.loads(self.process.stdout.readline())
        assert ran["status"] == status, (words, ran)
        return json.loads(ran["out"]) if ran["out"] else None


@pytest.fixture
def shell(running: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Open a shell whose harbor-cli is set up, and asks nothing back."""
    harbor, home = Path(program("harbor")), tmp_path_factory.mktemp("shell")
    python = harbor.resolve().with_name("python")
    # Where these are set it takes nobody to be there who could be asked, and deletes nothing, not even by force.
    alone = {"CI", "DEBIAN_FRONTEND"}
    kept = {name: value for name, value in os.environ.items() if name not in alone}
    given = {**kept, "HOME": str(home), "COLUMNS": "200"}
    sample = subprocess.run(
        [harbor, "sample-config"], env=given, capture_output=True, text=True, check=True
    ).stdout
    lines = [
        f"{name} = {ASKS[name]}" if (name := line.partition(" = ")[0]) in ASKS else line
        for line in sample.splitlines()
    ]
    (home / "config.toml").write_text("\n".join(lines))
    signs_in = [
        "--config",
        str(home / "config.toml"),
        "--url",
        f"{running.registry}/api/v2.0",
        "--username",
        ADMIN,
    ]
    command: list[str | Path] = [python, Path(__file__).with_name("forked.py"), "harbor_cli.main"]
    with subprocess.Popen(
        command, env=given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Shell(process, [*signs_in, "--secret", PASSWORD])
        assert process.stdin is not None
        process.stdin.close()


def test_projects_their_metadata_quotas_and_logs(shell: Shell, name: str):
    made = shell.type(f"project create {name} --public false --storage-limit 1048576")
    assert made["location"] == f"/api/v2.0/projects/{name}"
    shell.type(f"project create {name}", status=1)
    found = shell.type(f"project get {name}")
    assert (found["name"], found["metadata"]["public"]) == (name, "false")
    assert shell.type(f"project exists {name}") is True
    assert shell.type(f"project exists {name}-not", status=1) is False
    assert [one["name"] for one in shell.type(f"project list --query name=~{name}")] == [name]

    shell.type(f"project update {name} --public true --severity high")
    shell.type(f"project metadata set {name} --prevent-vul true")
    shell.type(f"project metadata field set {name} severity low")
    assert shell.type(f"project metadata field get {name} severity") == {"severity": "low"}
    set_ = shell.type(f"project metadata get {name}")
    assert (set_["public"], set_["prevent_vul"], set_["severity"]) == ("true", "true", "low")
    (quota,) = [one for one in shell.type("quota list") if one["ref"]["name"] == name]
    shell.type(f"quota update {quota['id']} storage=2097152")
    assert shell.type(f"quota get {quota['id']}")["hard"] == {"storage": 2097152}
    assert shell.type(f"project summary {name}")["quota"]["hard"] == {"storage": 2097152}
    assert isinstance(shell.type(f"project logs {name}"), list)
    assert shell.type("auditlog list --page-size 1 --limit 1")
    assert [one["name"] for one in shell.type(f"search {name}")["project"]] == [name]
    assert shell.type(f"project repos {name}") == []
    shell.type(f"project delete {name} --force")
    shell.type(f"project get {name}", status=1)


def test_people_groups_and_members(shell: Shell, name: str):
    shell.type(f"project create {name}")
    location = shell.type(
        f"user create {name} --password {PASSWORD} --email {name}@example.com --realname", "A person"
    )
    user = shell.type(f"user get {name}")
    assert location == f"/api/v2.0/users/{user['user_id']}"
    shell.type(f"user update {name} --realname Another")
    assert shell.type(f"user get {name}")["realname"] == "Another"
    for command, flag in (("set-admin", True), ("unset-admin", False)):
        shell.type(f"user {command} {name}")
        assert shell.type(f"user get {name}")["sysadmin_flag"] is flag
    shell.type(f"user set-password {name} --old-password {PASSWORD} --new-password Moorage-pass-2")
    assert [one["username"] for one in shell.type(f"user search {name}")] == [name]
    assert name in {one["username"] for one in shell.type(f"user list --query username=~{name}")}
    assert shell.type("user get-current")["username"] == ADMIN
    assert shell.type("user get-current-permissions --scope /project/1")
    shell.type(f"user set-cli-secret {name} --secret Moorage-pass-2", status=1)

    shell.type(f"usergroup create {name} OIDC")
    (group,) = shell.type(f"usergroup search {name}")
    shell.type(f"usergroup update {group['id']} --name {name}-renamed")
    assert shell.type(f"usergroup get {group['id']}")["group_name"] == f"{name}-renamed"
    assert group["id"] in {one["id"] for one in shell.type("usergroup list --page-size 100")}
    shell.type(f"project member add-user {name} {name} developer")
    members = {one["entity_name"]: one for one in shell.type(f"project member list {name}")}
    assert members[name]["role_id"] == 2
    shell.type(f"project member update-role {name} {name} maintainer")
    assert shell.type(f"project member get {name} {members[name]['id']}")["role_id"] == 4
    shell.type(f"project member remove {name} {name}")
    shell.type(f"usergroup delete {group['id']} --force")
    shell.type(f"user delete {name} --force")
    shell.type(f"user get {name}", status=1)


def test_repositories_artifacts_tags_and_labels(shell: Shell, desk: Desk, name: str):
    shell.type(f"project create {name}")
    digest = desk.push_index(f"{name}/app")
    artifact = f"{name}/app@{digest}"

    (listed,) = shell.type(f"repository list {name}")
    shell.type(f"repository update {name} app --description", "what it is")
    assert shell.type(f"repository get {name} app")["description"] == "what it is"
    assert listed["name"] == f"{name}/app"
    assert digest in {one["artifact"]["digest"] for one in shell.type(f"artifact list --project {name}")}
    found = shell.type(f"artifact get {artifact}")["artifact"]
    assert (found["digest"], len(found["references"])) == (digest, 2)
    shell.type(f"artifact tag create {artifact} v2")
    assert {one["name"] for one in shell.type(f"artifact tag list {artifact}")} == {"v1", "v2"}
    shell.type(f"artifact tag delete {artifact} v2 --force")
    assert shell.type(f"artifact accessories {artifact}") == []
    child = found["references"][0]["child_digest"]
    assert len(shell.type(f"artifact buildhistory {name}/app@{child}")) == 2
    shell.type(f"artifact copy {artifact} {name} copied")
    assert shell.type(f"artifact get {name}/copied@{digest}")["artifact"]["digest"] == digest
    shell.type(f"artifact delete {artifact} --force")
    shell.type(f"artifact get {artifact}", status=1)
    for repository in ("copied", "app"):
        shell.type(f"repository delete {name} {repository} --force")
    shell.type(f"project delete {name} --force")


def test_the_system_its_configuration_and_what_is_off(shell: Shell):
    assert shell.type("system info")["auth_mode"] == "db_auth"
    assert shell.type("system health")["status"] == "healthy"
    assert shell.type("system ping") > 0
    assert shell.type("system statistics")["total_project_count"] > 0
    assert shell.type("system volumes") == {"storage": []}
    before = shell.type("config get")["robot_token_duration"]
    shell.type(f"config update --robot-token-duration {before + 1}")
    assert shell.type("config get")["robot_token_duration"] == before + 1
    shell.type(f"config update --robot-token-duration {before}")
    shell.type("cve-allowlist update --cve CVE-2026-3")
    assert [one["cve_id"] for one in shell.type("cve-allowlist get")["items"]] == ["CVE-2026-3"]
    shell.type("cve-allowlist clear")

    for command in ("scanner list", "registry list", "auditlog rotation list", "replication policy list"):
        assert shell.type(command) == [], command
    assert shell.type("gc schedule get")["schedule"] is None
