"""Robots: accounts for machines, of the whole registry or of one project."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from moorage.api.harbor import accesses, answers, finding, robot_repositories
from moorage.api.harbor.asks import project_unknown
from moorage.api.harbor.problems import BadRequest, Forbidden
from moorage.api.harbor.robot_models import (
    LEVELS,
    LONGEST_OVERLAP,
    PROJECT,
    SYSTEM,
    NewRobot,
    NewSecret,
    expires,
    permissions,
    repositories,
    shown,
)
from moorage.identity import accounts, configurable, robot_pages, robots, users
from moorage.identity.robots import Chosen, Owner
from moorage.registry import projects
from moorage.registry.events import record

if TYPE_CHECKING:
    from collections.abc import Collection

    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx
    from moorage.db.pages import Asked
    from moorage.identity.accounts import Grant
    from moorage.identity.robot_pages import Robot

LONGEST_DESCRIPTION: Final = 1024
_DIGITS: Final = 19


@dataclass(frozen=True, slots=True)
class Robots:
    """Answers what is asked about robots."""

    def answers(self) -> Answers:
        """Say who answers each operation."""
        return {
            "ListRobot": self.list,
            "CreateRobot": self.create,
            "GetRobotByID": self.get,
            "UpdateRobot": self.update,
            "RefreshSec": self.refresh,
            "DeleteRobot": self.delete,
        }

    async def list(self, ask: Ask) -> Answer:
        """Give a page of the registry's robots, or (``q=Level=project,ProjectID=1``) of a project's."""
        asked, level, number = _level(ask.page.asked)
        if level == SYSTEM:
            await ask.require_in_system("robot", "list")
            rows, total = await robot_pages.OF_SYSTEM.listed(ask.db, asked)
        else:
            project = await projects.numbered(ask.db, number)
            await ask.require("" if project is None else project.name, "robot", "list")
            rows, total = await robot_pages.OF_PROJECT.listed(ask.db, asked, project=number)
        return answers.listed(ask, [shown(one) for one in await robot_pages.shown(ask.db, rows)], total)

    async def create(self, ask: Ask) -> Answer:
        """Make a robot; its secret is in the answer, this once."""
        given = ask.read(NewRobot)
        asked = given.grants()
        owner = await _owner(ask, given)
        grants = await _as_called_now(ask, asked)
        if ask.caller.kind == "robot":
            held = await accounts.by_subject(ask.db, "robot", ask.caller.id)
            robots.require_subset(grants, held.grants if held else (), ask.caller.name)
        else:
            await accesses.require_to_give_robot(ask, grants)
        places = await robot_repositories.read(ask, given, owner.name if owner else None)
        days = given.duration if given.duration is not None else await _usual_days(ask)
        chosen = await _chosen(ask, given.secret)

        async def work(tx: Tx) -> tuple[robots.NewRobot, int]:
            made = await robots.create(
                tx, name=given.name or "", owner=owner, grants=grants, creator=ask.caller, days=days,
                description=_description(given), chosen=chosen, has_more=bool(places),
            )  # fmt: skip
            await robot_repositories.give(tx, made.id, places)
            if given.disable:
                await robots.set_disabled(tx, made.id, disabled=True)
            after = _given(await robot_pages.require(tx, made.id))
            await record(
                tx, "robot.create", ask.origin, target=made.name, robot=made.id, project=owner.name if owner else "",
                after=after,
            )  # fmt: skip
            return made, tx.at

        made, at = await ask.db.change(work)
        content = {
            "id": made.id,
            "name": made.name,
            "secret": made.secret,
            "creation_time": answers.moment(at),
            "expires_at": expires(made.expires_at),
        }
        return answers.created(ask, made.id, content)

    async def get(self, ask: Ask) -> Answer:
        """Give a robot."""
        return answers.given(shown(await robot_in_path(ask, "read")))

    async def update(self, ask: Ask) -> Answer:
        """Change all of a robot but its name and its level."""
        robot = await editable(ask)
        given = ask.read(NewRobot)
        keeps = given.repositories is None and bool(robot.places)
        grants = await _as_called_now(ask, given.grants(has_more=keeps))
        days = robot.days if given.duration is None else given.duration
        robots.check_days(days)
        if not await _is_called(ask, robot, given.name or "") or given.level != (
            SYSTEM if robot.project_id is None else PROJECT
        ):
            raise BadRequest("cannot update the level or name of robot")
        home = None if robot.project is None else await finding.project(ask, given.namespace)
        if robot.project is not None and (home is None or home.name != robot.project):
            raise BadRequest("cannot update the project id of robot")
        await accesses.require_to_give_robot(ask, grants)
        places = await robot_repositories.read(ask, given, robot.project)
        until = robot.expires_at if days == robot.days else robots.expiry(robot.created_at, days)

        async def work(tx: Tx) -> None:
            before = await robot_pages.require(tx, robot.id)
            await robots.describe(tx, robot.id, description=_description(given), days=days, expires_at=until)
            if bool(given.disable) != before.disabled:
                await robots.set_disabled(tx, robot.id, disabled=bool(given.disable))
            await robots.set_grants(tx, robot.id, grants, has_more=keeps or bool(places))
            await robot_repositories.give(tx, robot.id, places)
            after = await robot_pages.require(tx, robot.id)
            await record(
                tx, "robot.update", ask.origin, target=robot.full_name, robot=robot.id,
                project=robot.project or "", before=_told(before), after=_told(after),
            )  # fmt: skip

        await ask.db.change(work)
        return answers.done()

    async def refresh(self, ask: Ask) -> Answer:
        """Give a robot a new secret, made up here or by who asks; ``overlap`` keeps the one before it good so long."""
        robot = await editable(ask)
        given = ask.read(NewSecret)
        overlap = given.overlap or 0
        if not 0 <= overlap <= LONGEST_OVERLAP:
            raise BadRequest(f"overlap is 0 to {LONGEST_OVERLAP} seconds, not {overlap}")
        chosen = await _chosen(ask, given.secret)

        async def work(tx: Tx) -> str:
            secret = await robots.refresh_secret(tx, robot.id, keep_old=overlap, chosen=chosen)
            await record(
                tx, "robot.secret", ask.origin, target=robot.full_name, robot=robot.id,
                project=robot.project or "", overlap=overlap,
            )  # fmt: skip
            return secret

        secret = await ask.db.change(work)
        return answers.given({} if chosen else {"secret": secret})

    async def delete(self, ask: Ask) -> Answer:
        """Delete a robot: its name can be had again, its number never."""
        robot = await robot_in_path(ask, "delete")

        async def work(tx: Tx) -> None:
            await robots.remove(tx, robot.id)
            await record(
                tx,
                "robot.delete",
                ask.origin,
                target=robot.full_name,
                robot=robot.id,
                project=robot.project or "",
            )

        await ask.db.change(work)
        return answers.done()


async def robot_in_path(ask: Ask, action: str) -> Robot:
    """Give the robot in the path, if the caller may do this to it; who may not is not told whether it is there."""
    robot = await robot_pages.get(ask.db, ask.number("robot_id"))
    if robot is not None and robot.project is not None:
        if not await ask.may(robot.project, "robot", action):
            raise ask.refusal(f"robot:{action} in the system, or in the robot's project")
        return robot
    if not await ask.may_in_system("robot", action):
        raise ask.refusal(f"robot:{action} in the system, or in the robot's project")
    return robot or await robot_pages.require(ask.db, ask.number("robot_id"))


async def editable(ask: Ask) -> Robot:
    """Give the robot in the path, if the caller may change it and what signs it in."""
    robot = await robot_in_path(ask, "update")
    if robot.is_providers:
        raise Forbidden(f"{robot.full_name} is the provider's, by a grant: it is ended, and not changed")
    # Who can be the robot, by a secret of it or by whom it trusts, may what it may.
    await accesses.require_to_give_robot(ask, robot.grants)
    for place in robot.places:
        held = await ask.access.held(ask.caller, place.project_name)
        accesses.require_to_give(ask, held, place.permissions, pattern=place.pattern)
    return robot


async def _owner(ask: Ask, given: NewRobot) -> Owner | None:
    """Give the project that a new robot is of, if the caller may make one there; None: it is the registry's."""
    if given.level == SYSTEM:
        await ask.require_in_system("robot", "create")
        return None
    project = await finding.project(ask, given.namespace)
    await ask.require("" if project is None else project.name, "robot", "create")
    if project is None:
        raise project_unknown(given.namespace[:255])
    return Owner(project.id, project.name)


async def _as_called_now(ask: Ask, grants: Collection[Grant]) -> list[Grant]:
    """Give the same with the names that projects have now; raise BadRequest if something is given in one that is not there."""
    now = {}
    for name in sorted({one.namespace for one in grants if one.kind == PROJECT} - {robots.EVERY_PROJECT}):
        found = await finding.project(ask, name)
        if found is None:
            raise BadRequest(f"there is no project {name[:255]!r} to give permissions in")
        now[name] = found.name
    return [replace(one, namespace=now.get(one.namespace, one.namespace)) for one in grants]


async def _is_called(ask: Ask, robot: Robot, name: str) -> bool:
    """Say whether a robot has this name, or had it when its project was called otherwise."""
    if name == robot.full_name or robot.project is None:
        return name == robot.full_name
    project, _, rest = accounts.without_prefix(name).partition("+")
    current = await ask.access.old_names.project(project)
    return accounts.is_robots(name) and robot.name == f"{current}+{rest}"


async def _chosen(ask: Ask, secret: str | None) -> Chosen | None:
    """Give the secret that somebody made up, if it keeps the rules of passwords."""
    if not secret:
        return None
    users.check_password(secret)
    return Chosen(secret, (await ask.access.hash(secret)).encode("ascii"))


async def _usual_days(ask: Ask) -> int:
    found = await configurable.values(ask.db, configurable.ROBOT_DAYS)
    return int(found[configurable.ROBOT_DAYS])


def _level(asked: Asked) -> tuple[Asked, str, int]:
    """Take out of a query whose robots are asked for: the registry's, or those of a project by its number."""
    given = {one.name: one.values[0] for one in asked.conditions if one.name in {"Level", "ProjectID"}}
    rest = tuple(one for one in asked.conditions if one.name not in given)
    level, number = given.get("Level", SYSTEM), given.get("ProjectID", "")
    if level not in LEVELS:
        raise BadRequest(f"bad request error level input: {level[:64]}")
    if level == PROJECT and not number:
        raise BadRequest("must with project ID when to query project robots")
    if level == PROJECT and not (
        number.isascii() and number.isdigit() and len(number) < _DIGITS and int(number)
    ):
        raise BadRequest("ProjectID must be a positive integer")
    return replace(asked, conditions=rest), level, int(number) if level == PROJECT else 0


def _description(given: NewRobot) -> str:
    text = given.description or ""
    if len(text) > LONGEST_DESCRIPTION or "\0" in text:
        raise BadRequest(f"a robot's description has at most {LONGEST_DESCRIPTION} characters, and no NUL")
    return text


def _told(robot: Robot) -> dict[str, object]:
    return {
        "description": robot.description,
        "duration": robot.days,
        "disable": robot.disabled,
        "permissions": _given(robot),
    }


def _given(robot: Robot) -> list[dict[str, object]]:
    return [*permissions(robot), *repositories(robot)]
