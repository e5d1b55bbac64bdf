"""Calls about responsibility: who does what, what shows that it was done, and what one is informed of."""

from __future__ import annotations

import builtins
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from moorage.api.cloud import files, models, times
from moorage.api.cloud.asks import Ask, answered
from moorage.api.cloud.registries import registry_id
from moorage.api.cloud.routes import Route
from moorage.api.dialects import Answer
from moorage.cloud import activities, exports, heads, ledger, notifications, registries
from moorage.cloud.activities import Activity, Software
from moorage.cloud.chains import Entry
from moorage.cloud.errors import RegistryUnknown
from moorage.cloud.notifications import Notification
from moorage.db import Database
from moorage.errors import Problem

_PROJECT: Final = "/cloud/project/{serviceName}"
_ONE: Final = f"{_PROJECT}/containerRegistry/{{registryID}}"
_EVENT = re.compile(r"[0-9a-f-]{36}")
LINES: Final = "application/jsonl"
PAGE: Final = 100
LONGEST: Final = 10_000
EVIDENCED, NO_EVIDENCE, NOT_BUILT, OUTSIDE = (
    "EVIDENCED",
    "NO_EVIDENCE_YET",
    "NOT_BUILT_YET",
    "OUTSIDE_SOFTWARE",
)
_WITHOUT_EVIDENCE: Final = {Software.YES: NO_EVIDENCE, Software.NO: NOT_BUILT, Software.OUTSIDE: OUTSIDE}


def _number(name: str, told: str) -> dict[str, object]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": told,
        "schema": {"type": "integer", "minimum": 0},
    }


_PAGED: Final = (
    _number("after", "Only what comes past this number: what the page before ended with."),
    _number("limit", f"At most so many: {PAGE} without it, {ledger.MOST} at most."),
)


class ActivityUnknown(Problem):
    """The path names an activity that the responsibility matrix does not have."""

    code, status, summary = "NOT_FOUND", 404, "there is no such activity"


class EntryUnknown(Problem):
    """The path names an event that has no entry in the ledger for this registry."""

    code, status, summary = "NOT_FOUND", 404, "the ledger has no entry of this event for the registry"


@dataclass(frozen=True, slots=True)
class Responsibility:
    """Calls about the ledger of a registry, and the notifications of a cloud project."""

    db: Database

    def routes(self) -> list[Route]:
        """List the calls."""
        action = "containerRegistry/"
        matrix, chain, feed = f"{_ONE}/responsibility", f"{_ONE}/ledger", models.Notifications
        return [
            Route("GET", matrix, f"{action}responsibility/get", self.list,
                  "List every activity: who does it, whether it can be shown, and what shows it last",
                  gives=list[models.Responsibility], added=True),
            Route("GET", f"{matrix}/{{activityId}}", f"{action}responsibility/get", self.get, "Show an activity",
                  gives=models.Responsibility, added=True),
            Route("GET", chain, f"{action}ledger/get", self.entries, "List the entries of the registry's chain",
                  gives=models.LedgerPage, added=True, headers=_PAGED),
            Route("GET", f"{chain}/head", f"{action}ledger/get", self.heads, "List the signed heads of the registry's chain",
                  gives=list[models.LedgerHead], added=True, headers=_PAGED),
            Route("GET", f"{chain}/export", f"{action}ledger/export", self.export,
                  "Give the chain as JSON lines that anybody can check", added=True, headers=_PAGED, media=LINES),
            Route("GET", f"{chain}/event/{{eventId}}", f"{action}ledger/get", self.entry,
                  "Show the entry of an event that is evidence for the registry", gives=models.LedgerEntry, added=True),
            Route("GET", f"{_ONE}/notification", f"{action}notification/get", self.of_registry,
                  "List what the customer is informed of about a registry", gives=feed, added=True, headers=_PAGED),
            Route("GET", f"{_PROJECT}/notification", f"{action}notification/get", self.of_project,
                  "List what the customer is informed of about a cloud project", gives=feed, added=True, headers=_PAGED),
        ]  # fmt: skip

    async def list(self, ask: Ask) -> builtins.list[models.Responsibility]:
        """List the activities in the matrix's order."""
        chain = await self._chain(ask)
        found = await ledger.evidence(self.db, chain, ask.cloud_project)
        return [_line(one, found.get(one.id), ask) for one in activities.matrix().activities]

    async def get(self, ask: Ask) -> models.Responsibility:
        """Show an activity, or raise ActivityUnknown."""
        known = activities.matrix().get(ask.params["activityId"])
        if known is None:
            raise ActivityUnknown(
                f"there is no activity {ask.params['activityId'][:20]}: they are R01 to R49"
            )
        found = await ledger.evidence(self.db, await self._chain(ask), ask.cloud_project)
        return _line(known, found.get(known.id), ask)

    async def entries(self, ask: Ask) -> models.LedgerPage:
        """List a page of entries, without what is personal."""
        after, most = _page(ask)
        found = await ledger.listed(self.db, await self._chain(ask), after=after, most=most)
        last = found[-1].entry.seq if found else None
        return models.LedgerPage(entries=[_entry(one.entry, one.hash) for one in found], next=last)

    async def entry(self, ask: Ask) -> models.LedgerEntry:
        """Show an entry of the registry's chain, or of the provider's that is about its cloud project or about everybody."""
        chain = await self._chain(ask)
        event = ask.params["eventId"]
        known = _EVENT.fullmatch(event)
        found = await ledger.of_event(self.db, event, chain, ask.cloud_project) if known else None
        if found is None:
            raise EntryUnknown
        return _entry(found.entry, found.hash)

    async def heads(self, ask: Ask) -> builtins.list[models.LedgerHead]:
        """List a page of signed heads."""
        after, most = _page(ask)
        found = await heads.listed(self.db, await self._chain(ask), after=after, most=most)
        return [
            models.LedgerHead(
                chain=one.chain,
                seq=one.seq,
                hash=one.hash,
                at=one.at,
                key_id=one.key_id,
                signature=one.signature,
            )
            for one in found
        ]

    async def export(self, ask: Ask) -> Answer:
        """Give the lines of a page, with whatever is needed to check them."""
        chain = await self._chain(ask)
        after, most = _page(ask, LONGEST)
        told = exports.lines(self.db, chain, after=after, most=max(1, min(most, LONGEST)))
        text = "".join([f"{json.dumps(line)}\n" async for line in told])
        return answered(text.encode(), LINES)

    async def of_registry(self, ask: Ask) -> models.Notifications:
        """List a page of what is about a registry, or about everybody."""
        chain, (after, most) = await self._chain(ask), _page(ask)
        return _feed(
            await notifications.for_customer(
                self.db, ask.cloud_project, registry=chain, after=after, most=most
            )
        )

    async def of_project(self, ask: Ask) -> models.Notifications:
        """List a page of what is about a cloud project and all in it, or about everybody."""
        after, most = _page(ask)
        return _feed(await notifications.for_customer(self.db, ask.cloud_project, after=after, most=most))

    async def _chain(self, ask: Ask) -> str:
        """Name a registry's chain, which outlives the registry; raise RegistryUnknown."""
        found = await registries.find(self.db, registry_id(ask))
        if found is None or found.cloud_project_id != ask.cloud_project:
            raise RegistryUnknown(registry=registry_id(ask)[:80])
        return found.id


def _page(ask: Ask, most: int = PAGE) -> tuple[int, int]:
    """Read where a page begins, and how long it may be."""
    given = files.query(ask, "after", "limit")
    return files.number(given, "after", 0), files.number(given, "limit", most)


def _line(activity: Activity, found: Entry | None, ask: Ask) -> models.Responsibility:
    here = f"/cloud/project/{ask.cloud_project}/containerRegistry/{registry_id(ask)}"
    last = None
    if found is not None:
        last = models.Evidence(
            event=found.event,
            kind=found.kind,
            at=times.written(found.at),
            link=f"{here}/ledger/event/{found.event}",
        )
    return models.Responsibility(
        activity_id=activity.id,
        section=activity.section,
        text=activity.text,
        customer=activity.customer,
        provider=activity.provider,
        party=activity.party,
        state=_WITHOUT_EVIDENCE[activity.software] if found is None else EVIDENCED,
        last_evidence=last,
    )


def _entry(found: Entry, hash_: str) -> models.LedgerEntry:
    return models.LedgerEntry(
        chain=found.chain,
        seq=found.seq,
        at=found.at,
        event=found.event,
        kind=found.kind,
        activities=list(found.activities),
        party=found.party,
        outcome=found.outcome,
        cloud_project=found.cloud_project,
        personal=found.personal,
        previous=found.previous,
        hash=hash_,
    )


def _feed(found: list[Notification]) -> models.Notifications:
    shown: list[dict[str, Any]] = [one.told for one in found]
    return models.Notifications(notifications=shown, next=found[-1].number if found else None)
