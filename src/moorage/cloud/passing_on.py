"""What happens inside a registry and its customer is told of: it becomes an event of the platform, once.

A registry's own record has each of these as well. It is its users'; whoever runs the registry reads the platform's
notifications, and has them mailed or sent to a program.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select, union_all

from moorage.cloud import contents, events
from moorage.cloud.events import SYSTEM
from moorage.db import Database, Statement, Tx
from moorage.db.platform import cloud_event, cloud_outbox
from moorage.jobs import Event, Job
from moorage.registry import quota_events, robot_warnings

KINDS: Final[Mapping[str, str]] = {
    robot_warnings.EXPIRING: "registry.robot-expiring",
    quota_events.WARNING: "registry.quota-warning",
    quota_events.EXCEEDED: "registry.quota-exceeded",
}
_FACTS: Final = frozenset({"days", "expires_at", "level", "used", "limit", "requested", "bound"})
_THERE = Statement(
    union_all(
        *(select(one.c.id).where(one.c.uuid == bindparam("uuid")) for one in (cloud_outbox, cloud_event))
    )
)


@dataclass(frozen=True, slots=True)
class PassOn(Job):
    """Tell a customer what happened in one registry (its uuid): an event under the one of the registry's own record."""

    registry: str
    uuid: str
    kind: str
    facts: str
    """In JSON: what it says, without whoever did it."""

    @classmethod
    def of(cls, event: Event) -> PassOn:
        """Take what may be told from an event of a registry."""
        project, target = str(event.body.get("project", "")), str(event.body.get("target", ""))
        told = {name: value for name, value in event.body.items() if name in _FACTS}
        facts = json.dumps({"project": project, "about": target, **told}, separators=(",", ":"))
        return cls(event.registry, event.uuid, event.kind, facts)


async def pass_on(platform: Database, job: PassOn) -> bool:
    """Tell it, unless it was told: the job may be done twice."""

    async def work(tx: Tx) -> None:
        found = await tx.one(contents.ABOUT, entry=job.registry)
        if found is None or await tx.one(_THERE, uuid=job.uuid) is not None:
            return
        await events.record(
            tx, KINDS[job.kind], SYSTEM, uuid_=job.uuid, target=found.id, account=found.account_id,
            cloud_project=found.cloud_project_id, name=found.name, **json.loads(job.facts),
        )  # fmt: skip

    await platform.change(work)
    return False
