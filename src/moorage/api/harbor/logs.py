"""Audit logs: the registry's record, as Harbor shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moorage.api.harbor import answers as write
from moorage.identity import members, roles
from moorage.identity.roles import CUSTOM, Permission
from moorage.registry import logs

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.registry.logs import Entry

_LOGS = Permission("log", "list")


@dataclass(frozen=True, slots=True)
class Logs:
    """Who answers for logs."""

    def answers(self) -> Answers:
        """Say who answers each."""
        return {
            "listAuditLogs": self.everywhere,
            "listAuditLogExts": self.everywhere_extended,
            "listAuditLogEventTypes": self.event_types,
            "getLogs": self.of_project,
            "getLogExts": self.of_project_extended,
        }

    async def everywhere(self, ask: Ask) -> Answer:
        """List what happened: all of it, or what did in projects whose logs the caller may see."""
        found, total = await self._seen(ask)
        return write.listed(ask, map(_shown, found), total)

    async def everywhere_extended(self, ask: Ask) -> Answer:
        """List the same, with what came of it."""
        found, total = await self._seen(ask)
        return write.listed(ask, map(_extended, found), total)

    async def event_types(self, _: Ask) -> Answer:
        """List the kinds of event that logs have."""
        names = sorted({f"{one.operation}_{one.resource_type}" for one in logs.KINDS.values()})
        return write.given([{"event_type": name} for name in names])

    async def of_project(self, ask: Ask) -> Answer:
        """List what happened in a project."""
        found, total = await logs.page_of(ask.db, ask.project.name, ask.page.asked)
        return write.listed(ask, map(_shown, found), total)

    async def of_project_extended(self, ask: Ask) -> Answer:
        """List the same, with what came of it."""
        found, total = await logs.page_of(ask.db, ask.project.name, ask.page.asked)
        return write.listed(ask, map(_extended, found), total)

    async def _seen(self, ask: Ask) -> tuple[list[Entry], int]:
        asked = ask.page.asked
        if await ask.may_in_system("audit-log", "list"):
            return await logs.page(ask.db, asked)
        held = await members.roles_of(ask.db, ask.caller.id) if ask.caller.kind == "user" else []
        own = {name for name, role in held if role > CUSTOM and await ask.may(name, *_LOGS)}
        names = sorted(own | {name for name, role in held if _LOGS in roles.together([role])})
        return await logs.page_of_all(ask.db, names, asked)


def _shown(one: Entry) -> dict[str, Any]:
    return {
        "id": one.id,
        "username": one.actor,
        "resource": one.resource,
        "resource_type": one.named.resource_type,
        "operation": one.named.operation,
        "op_time": write.moment(one.at),
    }


def _extended(one: Entry) -> dict[str, Any]:
    told = f"{one.named.operation} {one.named.resource_type}: {one.resource}"
    return _shown(one) | {"operation_description": told, "operation_result": one.succeeded}
