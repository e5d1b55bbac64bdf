"""The operations that ask for no one permission: what each caller is let do, as data, beside the matrix of all others.

A letter for each caller: ``y`` is let do it, ``n`` is refused (401 to who did not sign in, 403 to others). An operation that is
not in this table, and takes no permission of its own, fails the test.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from moorage.api.harbor.operations import OPERATIONS, PREFIX, Needs
from moorage.db import Tx
from moorage.identity import custom_roles, robots, roles, users
from moorage.identity.accounts import Grant
from moorage.identity.callers import Caller
from moorage.identity.roles import Permission, Role
from moorage.registry import labels, projects
from tests.worlds import PASSWORD, World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

PROJECT = "alpha"
CALLERS = ("anonymous", "nobody", "guest", "boss", "its robot", "a robot", "admin")
SOME = [{"resource": "repository", "action": "pull"}]

# Of each operation: who is let do it, and with what: NAME=NOUN in the path (a new one for each caller), ?QUERY and @BODY.
# Several lines of one operation ask about different things. Whoever makes a project administrates one from then on.
TABLE = """
getHealth                   yyyyyyy
search                      yyyyyyy ?q=a
getStatistic                nyyyyyy
listProjects                yyyyyyy
headProject                 nyyyyyy ?project_name=alpha
getPermissions              nnnynny
createProject               nyyynyy @project
listAllRepositories         yyyyyyy
listAuditLogs               nyyyyyy
listAuditLogExts            nyyyyyy
searchUserGroups            nyyyyyy ?groupname=a
getIcon                     yyyyyyy digest=digest
ListRobot                   nnnnnyy
ListRobot                   nnyyyyy ?q=Level%3Dproject,ProjectID%3D{project}
CreateRobot                 nnnnnyy @machine
CreateRobot                 nnnyyyy @robot
GetRobotByID                nnyyyyy robot_id=robot
GetRobotByID                nnnnnyy robot_id=machine
UpdateRobot                 nnnynny robot_id=robot @nothing
UpdateRobot                 nnnnnny robot_id=machine @nothing
RefreshSec                  nnnynny robot_id=robot @nothing
RefreshSec                  nnnnnny robot_id=machine @nothing
DeleteRobot                 nnnyyyy robot_id=robot
DeleteRobot                 nnnnnyy robot_id=machine
getSystemInfo               yyyyyyy
getCert                     yyyyyyy
getSystemCVEAllowlist       nyyyyyy
getSchedulePaused           nyyyyyy job_type=all
getPing                     yyyyyyy
getRentenitionMetadata      yyyyyyy
createUser                  nnnnnyy @user
getCurrentUserInfo          nyyyyyy
searchUsers                 nyyyyyy ?username=a
getUser                     nnnnnyy user_id=user
updateUserProfile           nnnnnyy user_id=user @nothing
deleteUser                  nnnnnyy user_id=user
updateUserPassword          nnnnnyy user_id=user @nothing
getCurrentUserPermissions   nyyyyyy
setCliSecret                nnnnnyy user_id=user @nothing
ListLabels                  yyyyyyy ?scope=g
ListLabels                  nnyyyny ?scope=p&project_id={project}
CreateLabel                 nnnnnyy @label
CreateLabel                 nnnyyny @its_label
GetLabelByID                nnnnnyy label_id=label
GetLabelByID                nnyyyny label_id=its_label
UpdateLabel                 nnnnnyy label_id=label @label
UpdateLabel                 nnnyyny label_id=its_label @label
DeleteLabel                 nnnnnyy label_id=label
DeleteLabel                 nnnyyny label_id=its_label
listRoles                   nyyyyyy
listRoles                   nnyyyny ?project_id={project}
createRole                  nnnnnny @role
createRole                  nnnyyny @its_role
getRole                     nyyyyyy role_id=role
updateRole                  nnnnnny role_id=role @role
deleteRole                  nnnnnny role_id=role
listRobotTrusts             nnyyyyy robot_id=robot
createRobotTrust            nnnynny robot_id=robot @nothing
getRobotTrust               nnyyyyy robot_id=robot trust_id=missing
updateRobotTrust            nnnynny robot_id=robot trust_id=missing @nothing
deleteRobotTrust            nnnynny robot_id=robot trust_id=missing
createRetention             nyyyyyy @nothing
getRetention                nyyyyyy id=missing
updateRetention             nyyyyyy id=missing @nothing
deleteRetention             nyyyyyy id=missing
triggerRetentionExecution   nyyyyyy id=missing @nothing
listRetentionExecutions     nyyyyyy id=missing
operateRetentionExecution   nyyyyyy id=missing eid=missing @nothing
listRetentionTasks          nyyyyyy id=missing eid=missing
getRetentionTaskLog         nyyyyyy id=missing eid=missing tid=missing
exportScanData              nyyyyyy @nothing
getScanDataExportExecution  nyyyyyy execution_id=missing
getScanDataExportExecutionList nyyyyyy
downloadScanData            nyyyyyy execution_id=missing
"""
FIXED = {"digest": "sha256:" + "0" * 64, "all": "all"}
OTHERS = {one.id: one for one in OPERATIONS if one.permission is None and one.needs is not Needs.INTERNAL}


@dataclass(slots=True)
class Things:
    """Makes what an operation is asked about, straight in the rows: a new one each time, since some end it."""

    world: World
    project: int = 0
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def make(self, noun: str) -> int:
        """Make one more of something, and give its number."""
        if noun == "missing":
            return 99_999
        if noun == "project":
            return self.project
        n = next(self.numbers)

        async def work(tx: Tx) -> int:
            match noun:
                case "robot" | "machine":
                    owner = robots.Owner(self.project, PROJECT) if noun == "robot" else None
                    grants = [Grant("project", PROJECT, Permission("repository", "pull"))]
                    made = await robots.create(
                        tx, name=f"n{n}", owner=owner, grants=grants, creator=Caller("user", 1, "admin")
                    )
                    return made.id
                case "user":
                    return await users.create(tx, name=f"user-{n}", password=None)
                case "role" | "its_role":
                    home = self.project if noun == "its_role" else None
                    held = frozenset({Permission("repository", "pull")})
                    return await custom_roles.create(tx, f"role-{n}", held, project_id=home)
                case "label" | "its_label":
                    home = self.project if noun == "its_label" else None
                    return await labels.create(tx, home, f"label-{n}", "", "")
            raise AssertionError(noun)

        return await (await self.world.registry()).db.change(work)


def body_of(name: str, things: Things) -> dict[str, Any]:
    """Give a body, each time of another name."""
    n = next(things.numbers)
    given = [{"kind": "project", "namespace": PROJECT, "access": SOME}]
    bodies: dict[str, dict[str, Any]] = {
        "nothing": {},
        "project": {"project_name": f"made-{n}"},
        "robot": {"name": f"made-{n}", "level": "project", "duration": 1, "permissions": given},
        "machine": {"name": f"made-{n}", "level": "system", "duration": 1, "permissions": given},
        "user": {
            "username": f"made-{n}",
            "email": f"made-{n}@example.com",
            "realname": "made",
            "password": PASSWORD,
        },
        "label": {"name": f"made-{n}", "scope": "g"},
        "its_label": {"name": f"made-{n}", "scope": "p", "project_id": things.project},
        "role": {"name": f"made-{n}", "permissions": SOME},
        "its_role": {"name": f"made-{n}", "permissions": SOME, "project_id": things.project},
    }
    return bodies[name]


async def callers(world: World) -> tuple[dict[str, httpx.AsyncClient], int]:
    """Make everybody who asks; and the project that some of them are of."""
    guest = await world.add_user("guest", Role.GUEST, PROJECT)
    boss = await world.add_user("boss", Role.PROJECT_ADMIN, PROJECT)
    nobody = await world.add_user("nobody", Role.GUEST, "elsewhere")
    db = (await world.registry()).db
    found = await projects.find(db, PROJECT)
    assert found is not None
    creator = Caller("user", 1, "admin")

    async def work(tx: Tx) -> list[robots.NewRobot]:
        of_project = [Grant("project", PROJECT, one) for one in sorted(roles.ROBOT_PROJECT)]
        of_system = [Grant("system", robots.SYSTEM, one) for one in sorted(roles.ROBOT_SYSTEM)]
        # Of the project it has what it gives robots of it, and may make some there.
        of_system += [
            Grant("project", PROJECT, Permission(*one))
            for one in (
                ("robot", "create"),
                ("robot", "read"),
                ("robot", "list"),
                ("robot", "delete"),
                ("repository", "pull"),
            )
        ]
        owner = robots.Owner(found.id, PROJECT)
        return [
            await robots.create(tx, name="its", owner=owner, grants=of_project, creator=creator),
            await robots.create(tx, name="of-system", owner=None, grants=of_system, creator=creator),
        ]

    its, machine = await db.change(work)
    clients = [
        await world.as_(None), nobody, guest, boss, await world.as_(its.name, its.secret),
        await world.as_(machine.name, machine.secret), world.client,
    ]  # fmt: skip
    return dict(zip(CALLERS, clients, strict=True)), found.id


async def test_each_operation_that_asks_further_lets_do_it_whom_the_table_says(world: World):
    # Who adds such an operation adds a line.
    assert {line.split()[0] for line in TABLE.strip().splitlines()} == OTHERS.keys()
    asking, project = await callers(world)
    things = Things(world, project)
    wrong = []
    for line in TABLE.strip().splitlines():
        _, letters, *_ = line.split()
        seen = "".join([await asked(things, who, client, line) for who, client in asking.items()])
        if seen != letters:
            wrong.append(f"{line}: {seen}")
    assert wrong == []


async def asked(things: Things, who: str, client: httpx.AsyncClient, line: str) -> str:
    """Ask what a line says, and give the letter that the answer is."""
    name, _, *rest = line.split()
    values = dict(part.split("=", 1) for part in rest if part[0] not in "?@")
    filled = {key: FIXED.get(noun) or await things.make(noun) for key, noun in values.items()}
    query = next((part for part in rest if part[0] == "?"), "").replace("{project}", str(things.project))
    body = next((body_of(part[1:], things) for part in rest if part[0] == "@"), None)
    path = f"{PREFIX}{OTHERS[name].path.format(**filled)}{query}"
    answer = await client.request(OTHERS[name].method, path, json=body)
    if answer.status_code == (401 if who == "anonymous" else 403):
        return "n"
    return (
        "y" if answer.status_code < 500 and answer.status_code not in {401, 403} else str(answer.status_code)
    )
