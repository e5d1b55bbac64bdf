"""Asks every operation of Harbor's API through a client that openapi-generator wrote from a registry's description.

    python generated.py PACKAGE-FOLDER ADDRESS NAME PASSWORD PROJECT REPOSITORY DIGEST

It is run by the generator's own Python, which has what a written client needs. Each operation is a line of JSON: its id,
whether it is asked as it is meant or for what is not there, the status and what the client made of the answer.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import warnings
from typing import Any

PASSWORD = "Generated-pass-1"


class Client:
    """Every operation under its id, with what its path and its query need by the description."""

    def __init__(self, folder: str, address: str, name: str, password: str) -> None:
        """Sign in, and read which operations there are."""
        sys.path.insert(0, folder)
        self.package: Any = importlib.import_module("generated")
        configuration = self.package.Configuration(
            host=f"{address}/api/v2.0", username=name, password=password
        )
        self.api: Any = self.package.ApiClient(configuration)
        answer = self.api.rest_client.GET(f"{address}/swagger.json")
        self.described: dict[str, Any] = json.loads(answer.data)
        self.methods = {
            name: getattr(kind(self.api), name)
            for kind in vars(self.package).values()
            if isinstance(kind, type) and kind.__name__.endswith("Api")
            for name in dir(kind)
            if name.endswith("_with_http_info")
        }
        self.asked: set[str] = set()
        self.blindly = False

    def operations(self) -> dict[str, dict[str, Any]]:
        """Give every operation that is described."""
        return {one["operationId"]: one for path in self.described["paths"].values() for one in path.values()}

    def model(self, kind: str, /, **fields: Any) -> Any:
        """Make one of the client's models."""
        return getattr(self.package, kind)(**fields)

    def ask(self, operation: str, **given: Any) -> Any:
        """Ask an operation by its id; give what the client made of the answer, and of a new thing its number or name."""
        self.asked.add(operation)
        method = self.methods[f"{snake(operation)}_with_http_info"]
        try:
            data, status, headers = method(**given)
        except self.package.ApiException as refused:
            self._tell(operation, refused.status, refused.body)
            return None
        read = self.api.sanitize_for_serialization(data)
        self._tell(operation, status, read)
        location = headers.get("Location", "").rpartition("/")[2]
        return read if status != 201 else int(location) if location.isdigit() else location

    def ask_blindly(self, operation: str, **known: str) -> None:
        """Ask an operation for what is not there, with whatever its description needs."""
        given: dict[str, Any] = {}
        for parameter in self.operations()[operation]["parameters"]:
            if "$ref" in parameter or not parameter["required"]:
                continue
            given[snake(parameter["name"])] = self._value(parameter, known)
        self.ask(operation, **given)

    def _tell(self, operation: str, status: int, read: Any) -> None:
        line = {"id": operation, "meant": not self.blindly, "status": status, "read": read}
        print(json.dumps(line), flush=True)  # noqa: T201 - this is its answer

    def _value(self, parameter: dict[str, Any], known: dict[str, str]) -> Any:
        if parameter["in"] == "body":
            kind = parameter["schema"].get("$ref", "").rpartition("/")[2]
            wanted = self.described["definitions"].get(kind, {}).get("required", [])
            return self.model(kind, **dict.fromkeys(map(snake, wanted), "x")) if kind else {"x": "x"}
        if parameter["name"] in known:
            return known[parameter["name"]]
        return 987654321 if parameter.get("type") == "integer" else "all"


def snake(name: str) -> str:
    """Name something as the generator does in Python."""
    name = re.sub(r"[-.]", "_", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)).lower()


def content(client: Client, project: str, repository: str, digest: str) -> None:
    """Ask for repositories, artifacts, tags and labels."""
    home = {"project_name": project, "repository_name": repository}
    at = home | {"reference": digest}
    label = client.ask("CreateLabel", label=client.model("Label", name=project, scope="g"))
    client.ask("GetLabelByID", label_id=label)
    client.ask("ListLabels", name=project, scope="g")
    client.ask(
        "UpdateLabel", label_id=label, label=client.model("Label", name=project, scope="g", description="x")
    )
    client.ask("addLabel", label=client.model("Label", id=label), **at)
    client.ask("getArtifact", with_label=True, with_accessory=True, **at)
    client.ask("listArtifacts", with_tag=True, with_immutable_status=True, **home)
    client.ask("listArtifactsOfProject", project_name_or_id=project)
    client.ask("listAccessories", **at)
    client.ask("removeLabel", label_id=label, **at)
    client.ask("DeleteLabel", label_id=label)
    client.ask("createTag", tag=client.model("NewTag", name="v2"), **at)
    client.ask("listTags", **at)
    client.ask("deleteTag", tag_name="v2", **at)
    client.ask(
        "CopyArtifact",
        project_name=project,
        repository_name="copied",
        _from=f"{project}/{repository}@{digest}",
    )
    client.ask("getRepository", **home)
    client.ask("listRepositories", project_name=project)
    client.ask("listAllRepositories")
    client.ask("updateRepository", repository=client.model("Repository", description="what it is"), **home)
    client.ask("getVulnerabilitiesAddition", **at)
    client.ask("deleteArtifact", project_name=project, repository_name="copied", reference=digest)
    client.ask("deleteRepository", project_name=project, repository_name="copied")


def people(client: Client, project: str) -> None:
    """Ask for users, groups and members."""
    user = client.ask(
        "createUser",
        user_req=client.model("UserCreationReq", username=project, password=PASSWORD, email=f"{project}@example.com", realname="A"),
    )  # fmt: skip
    for operation in (
        "listUsers",
        "getCurrentUserInfo",
        "getCurrentUserPermissions",
        "listUserGroups",
        "ListRobot",
    ):
        client.ask(operation)
    client.ask("getUser", user_id=user)
    client.ask("searchUsers", username=project)
    profile = client.model("UserProfile", realname="B", email=f"{project}@example.com")
    client.ask("updateUserProfile", user_id=user, profile=profile)
    client.ask(
        "setUserSysAdmin", user_id=user, sysadmin_flag=client.model("UserSysAdminFlag", sysadmin_flag=True)
    )
    changed = client.model("PasswordReq", new_password="Generated-pass-2")
    client.ask("updateUserPassword", user_id=user, password=changed)
    entity = client.model("UserEntity", username=project)
    made = client.model("ProjectMember", role_id=2, member_user=entity)
    member = client.ask("createProjectMember", project_name_or_id=project, project_member=made)
    client.ask("listProjectMembers", project_name_or_id=project)
    client.ask("getProjectMember", project_name_or_id=project, mid=member)
    client.ask(
        "updateProjectMember",
        project_name_or_id=project,
        mid=member,
        role=client.model("RoleRequest", role_id=4),
    )
    client.ask("deleteProjectMember", project_name_or_id=project, mid=member)
    client.ask("deleteUser", user_id=user)
    group = client.ask(
        "createUserGroup", usergroup=client.model("UserGroup", group_name=project, group_type=3)
    )
    client.ask("getUserGroup", group_id=group)
    client.ask("searchUserGroups", groupname=project)
    client.ask(
        "updateUserGroup", group_id=group, usergroup=client.model("UserGroup", group_name=f"{project}-2")
    )
    client.ask("deleteUserGroup", group_id=group)


def robots(client: Client, project: str) -> None:
    """Ask for robots."""
    access = client.model("Access", resource="repository", action="pull")
    given = client.model("RobotPermission", kind="project", namespace=project, access=[access])
    asked = {"name": "ci", "level": "project", "duration": 30, "permissions": [given]}
    robot = client.ask("CreateRobot", robot=client.model("RobotCreate", **asked))
    client.ask("GetRobotByID", robot_id=robot)
    renamed = client.model("Robot", **asked | {"name": f"robot${project}+ci", "disable": True})
    client.ask("UpdateRobot", robot_id=robot, robot=renamed)
    client.ask("RefreshSec", robot_id=robot, robot_sec=client.model("RobotSec", secret="Generated-pass-3"))
    client.ask("DeleteRobot", robot_id=robot)


def projects(client: Client, project: str) -> None:
    """Ask for projects, what is set for them, quotas, logs and the system."""
    at = {"project_name_or_id": project}
    other = f"{project}-2"
    client.ask("createProject", project=client.model("ProjectReq", project_name=other))
    client.ask("headProject", project_name=other)
    client.ask("deleteProject", project_name_or_id=other)
    for operation in ("getProject", "getProjectSummary", "getProjectDeletable", "listProjectMetadatas"):
        client.ask(operation, **at)
    client.ask("updateProject", project=client.model("ProjectReq", public=True), **at)
    client.ask("addProjectMetadatas", metadata={"prevent_vul": "true"}, **at)
    client.ask("getProjectMetadata", meta_name="prevent_vul", **at)
    client.ask("updateProjectMetadata", meta_name="prevent_vul", metadata={"prevent_vul": "false"}, **at)
    client.ask("deleteProjectMetadata", meta_name="prevent_vul", **at)
    for operation in ("getLogs", "getLogExts"):
        client.ask(operation, project_name=project)
    quotas = client.ask("listQuotas", page_size=100)
    number = next(one["id"] for one in quotas if one["ref"]["name"] == project)
    client.ask("getQuota", id=number)
    client.ask("updateQuota", id=number, hard=client.model("QuotaUpdateReq", hard={"storage": 1 << 30}))
    client.ask("search", q=project)
    for operation in (
        "listProjects", "getHealth", "getPing", "getStatistic", "getSystemInfo", "getVolumes", "getPermissions",
        "listAuditLogs", "listAuditLogExts", "listAuditLogEventTypes", "getConfigurations", "getSystemCVEAllowlist",
    ):  # fmt: skip
        client.ask(operation)
    client.ask("updateConfigurations", configurations=client.model("Configurations", session_timeout=60))
    client.ask("putSystemCVEAllowlist", allowlist=client.model("CVEAllowlist", items=[]))


def main() -> None:
    """Ask all that is served as it is meant, and all else for what is not there."""
    warnings.simplefilter("ignore")
    folder, address, name, password, project, repository, digest = sys.argv[1:]
    client = Client(folder, address, name, password)
    projects(client, project)
    content(client, project, repository, digest)
    people(client, project)
    robots(client, project)
    client.blindly = True
    for operation in sorted(client.operations().keys() - client.asked):
        client.ask_blindly(operation, project_name=project, project_name_or_id=project)


if __name__ == "__main__":
    main()
