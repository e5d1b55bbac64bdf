"""What the caller may do, in the system or in a project, as Harbor's pages ask to show what there is to press."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from moorage.api.harbor import answers
from moorage.api.harbor.operations import OPERATIONS, Needs
from moorage.identity import roles
from moorage.registry import projects

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.identity.roles import Permission

SYSTEM: Final = "/system"
_PROJECT: Final = re.compile(r"/project/(\d{1,18})(?:/repository/(.+))?/?")
_IN_SYSTEM: Final = roles.ROBOT_SYSTEM | {
    one.permission for one in OPERATIONS if one.needs is Needs.SYSTEM and one.permission
}


@dataclass(frozen=True, slots=True)
class OwnPermissions:
    """Tells callers what they may."""

    def answers(self) -> Answers:
        """Say who answers."""
        return {"getCurrentUserPermissions": self.current}

    async def current(self, ask: Ask) -> Answer:
        """List what the caller may do in a scope: ``/system``, or ``/project/`` and its number; elsewhere nothing.

        After a project ``/repository/`` and a name is ours: what was granted for that repository is added.
        """
        scope, relative = ask.text("scope"), ask.flag("relative")
        if scope.startswith(SYSTEM):
            in_system = [one for one in sorted(_IN_SYSTEM) if await ask.may_in_system(*one)]
            return answers.given(
                [_written(one, one.resource, "" if relative else SYSTEM) for one in in_system]
            )
        found = _PROJECT.match(scope)
        project = None if found is None else await projects.numbered(ask.db, int(found[1]))
        if project is None:
            return answers.given([])
        everything = await ask.access.held(ask.caller, project.name)
        named = found and found[2]
        held = sorted(everything.within(named) if named else everything.everywhere)
        home = "" if relative else f"/project/{project.id}"
        # A project itself is its scope.
        names = ["" if one.resource == "project" else one.resource for one in held]
        return answers.given([_written(one, name, home) for one, name in zip(held, names, strict=True)])


def _written(permission: Permission, name: str, home: str) -> dict[str, str]:
    """Write a permission as Harbor does, below its scope or (with no *home*) from there; a scope itself is a dot then."""
    resource = "/".join(part for part in (home, name) if part) or "."
    return {"resource": resource, "action": permission.action}
