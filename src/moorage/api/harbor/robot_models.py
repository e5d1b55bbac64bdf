"""Robots as Harbor writes and reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from moorage.api.harbor import accesses, answers
from moorage.api.harbor.accesses import Access
from moorage.api.harbor.problems import BadRequest
from moorage.identity import robots
from moorage.identity.accounts import Grant

if TYPE_CHECKING:
    from moorage.identity.robot_pages import Robot

SYSTEM, PROJECT = "system", "project"
LEVELS: Final = (SYSTEM, PROJECT)
LONGEST_OVERLAP: Final = 30 * 86_400
_SECOND: Final = 1_000_000
_CREATORS: Final = {"user": "local", "robot": "robot"}


class Given(msgspec.Struct):
    """What is given in one place."""

    kind: str | None = None
    namespace: str | None = None
    access: list[Access] | None = None


class InRepositories(msgspec.Struct):
    """What is given in the repositories of a project that match a pattern; in the robot's own where none is named."""

    namespace: str | None = None
    repository: str | None = None
    access: list[Access] | None = None


class NewRobot(msgspec.Struct):
    """A robot to be made, or what one is to be."""

    name: str | None = None
    description: str | None = None
    secret: str | None = None
    level: str | None = None
    disable: bool | None = None
    duration: int | None = None
    permissions: list[Given] | None = None
    repositories: list[InRepositories] | None = None
    """Ours. Beside what is given in whole projects, so that a client which does not know it widens nothing by leaving it out."""

    def grants(self, *, has_more: bool = False) -> list[Grant]:
        """Read what is given, or raise BadRequest: a robot of a project is given something in one place.

        One that *has_more*, in single repositories, may have nothing beside.
        """
        has_more = has_more or bool(self.repositories)
        if self.level not in LEVELS:
            raise BadRequest(
                f"bad request error level input: {(self.level or '')[:64]}: it is system or project"
            )
        given = self.permissions or []
        if not given and not (has_more and self.level == SYSTEM):
            raise BadRequest("bad request empty permission")
        if self.level == PROJECT and len(given) > 1:
            raise BadRequest("bad request permission: a robot of a project is given permissions in it alone")
        return [_grant(one, access) for one in given for access in _accesses(one, has_more=has_more)]

    @property
    def namespace(self) -> str:
        """Give the project that a robot of a project is of."""
        return (self.permissions or [Given()])[0].namespace or ""


class NewSecret(msgspec.Struct):
    """A secret, or none to have one made up; and for how many seconds the one before it stays good."""

    secret: str | None = None
    overlap: int | None = None


def _accesses(given: Given, *, has_more: bool) -> list[Access]:
    if not given.access and not has_more:
        raise BadRequest("bad request empty access")
    return given.access or []


def _grant(given: Given, access: Access) -> Grant:
    if given.kind not in LEVELS:
        raise BadRequest(f"bad request permission level: {(given.kind or '')[:64]}")
    # Harbor's clients leave out where system permissions are: there is one place.
    where = given.namespace or (robots.SYSTEM if given.kind == SYSTEM else "")
    return Grant(given.kind, where, access.permission())


def shown(robot: Robot) -> dict[str, object]:
    """Write a robot; *last_used_time* is ours, and what says until when the secret before this one is good."""
    more: dict[str, object] = {}
    if robot.last_used_at is not None:
        more["last_used_time"] = answers.moment(robot.last_used_at)
    if robot.old_until is not None:
        more["old_secret_until"] = answers.moment(robot.old_until)
    if robot.places:
        more["repositories"] = repositories(robot)
    return {
        "id": robot.id,
        "name": robot.full_name,
        "description": robot.description,
        "level": SYSTEM if robot.project_id is None else PROJECT,
        "duration": robot.days,
        "editable": not robot.is_providers,
        "disable": robot.disabled,
        "expires_at": expires(robot.expires_at),
        "permissions": permissions(robot),
        "creator_type": _CREATORS.get(robot.creator_kind, ""),
        "creator_ref": robot.creator_id or 0,
        "creation_time": answers.moment(robot.created_at),
        "update_time": answers.moment(robot.updated_at),
        **more,
    }


def repositories(robot: Robot) -> list[dict[str, object]]:
    """Write what a robot was given in single repositories."""
    return [
        {
            "namespace": one.project_name,
            "repository": one.pattern,
            "access": accesses.written(one.permissions),
        }
        for one in robot.places
    ]


def permissions(robot: Robot) -> list[dict[str, object]]:
    """Write what a robot was given, by place; one of a project is given something there, if it be nothing."""
    places: dict[tuple[str, str], list[dict[str, str]]] = {}
    if robot.project is not None:
        places["project", robot.project] = []
    for one in robot.grants:
        access = {"resource": one.permission.resource, "action": one.permission.action, "effect": "allow"}
        places.setdefault((one.kind, one.namespace), []).append(access)
    return [{"kind": kind, "namespace": where, "access": given} for (kind, where), given in places.items()]


def expires(at: int | None) -> int:
    """Write when a robot expires, in seconds; -1 for never."""
    return -1 if at is None else at // _SECOND
