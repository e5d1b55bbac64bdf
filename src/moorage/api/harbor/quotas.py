"""Quotas: what each project may store and does; a quota has the number of its project."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from moorage.api.harbor import answers as write
from moorage.api.harbor.problems import BadRequest, NotFound
from moorage.api.harbor.projects import check_limit
from moorage.db.pages import Condition, How
from moorage.registry import project_pages, projects
from moorage.registry.events import record
from moorage.registry.project_pages import ALL

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx
    from moorage.registry.project_pages import Shown

STORAGE = "storage"


class QuotaRequest(msgspec.Struct):
    """What a project may store from now on."""

    hard: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Quotas:
    """Who answers for quotas."""

    def answers(self) -> Answers:
        """Say who answers each."""
        return {"listQuotas": self.list, "getQuota": self.get, "updateQuota": self.update}

    async def list(self, ask: Ask) -> Answer:
        """List the quotas."""
        asked = ask.page.asked
        kept: tuple[Condition, ...] = ()
        if (number := ask.whole("reference_id")) is not None:
            kept = (Condition("project_id", How.EXACT, (str(number),)),)
        asked = replace(asked, conditions=kept)
        if ask.text("reference") not in {"", "project"}:
            return write.listed(ask, [], 0)
        found, total = await project_pages.listed(ask.db, ALL, asked)
        return write.listed(ask, map(_shown, found), total)

    async def get(self, ask: Ask) -> Answer:
        """Show a quota."""
        return write.given(_shown(await _found(ask)))

    async def update(self, ask: Ask) -> Answer:
        """Limit what a project may store; what is stored already stays."""
        hard = ask.read(QuotaRequest).hard
        if not hard:
            raise BadRequest("hard required in body")
        if strange := hard.keys() - {STORAGE}:
            raise BadRequest(f"{min(strange)[:64]} is nothing that is limited: {STORAGE} is")
        limit = check_limit(hard[STORAGE])
        number = (await _found(ask)).id

        async def work(tx: Tx) -> None:
            found = await projects.numbered(tx, number)
            if found is None:
                raise _unknown(number)
            await projects.set_limit(tx, found, limit)
            before, after = {STORAGE: found.limit_bytes}, {STORAGE: limit}
            await record(
                tx,
                "quota.update",
                ask.origin,
                project=found.name,
                target=found.name,
                before=before,
                after=after,
            )

        await ask.db.change(work)
        return write.done()


async def _found(ask: Ask) -> Shown:
    number = ask.number("id")
    found = await project_pages.of(ask.db, number)
    if found is None:
        raise _unknown(number)
    return found


def _unknown(number: int) -> NotFound:
    return NotFound(f"quota {number} not found", quota=number)


def _shown(one: Shown) -> dict[str, Any]:
    return {
        "id": one.id,
        "ref": {"id": one.id, "name": one.name, "owner_name": one.owner or ""},
        "hard": {STORAGE: one.limit_bytes},
        "used": {STORAGE: one.used},
        "creation_time": write.moment(one.created_at),
        "update_time": write.moment(one.updated_at),
    }
