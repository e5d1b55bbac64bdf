"""Grants: the only way of the provider's people into a registry's content.

    ask ──▶ ASKED ──▶ APPROVED ──▶ ENDED      by a second operator or the customer, as the plan says; the end by anybody of
              │                               the two parties, by the customer's word, or by itself at its time
              └─────▶ REFUSED

A grant in force gives its operator a robot of the registry that may pull in the grant's scope and nothing else. It expires with
the grant by the registry's own clock, whoever runs; a grant that is ended before its time takes its robot along. Each step, and
each use, is an event that the customer is told of.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, or_, select, update

from moorage.cloud import events, registries
from moorage.cloud.catalogue import CUSTOMER, OPERATOR, Catalogue
from moorage.cloud.errors import NotReady, RegistryUnknown
from moorage.cloud.events import SYSTEM, Origin
from moorage.cloud.operators import Operator
from moorage.cloud.registries import Registry
from moorage.db import Database, Reader, Statement, Tx, insert, one_of
from moorage.db.platform import operator, operator_grant
from moorage.errors import Problem

ASKED, APPROVED, REFUSED, ENDED = "ASKED", "APPROVED", "REFUSED", "ENDED"
ALL: Final = "*"
HOUR: Final = 3_600_000_000
LONGEST_HOURS: Final = 72
LONGEST_REASON: Final = 500
LISTED: Final = 1000

_columns = select(operator_grant, operator.c.name.label("operator")).join_from(
    operator_grant, operator, operator.c.id == operator_grant.c.operator_id
)
_GET = Statement(_columns.where(operator_grant.c.id == bindparam("id")))
_OF_REGISTRY = Statement(
    _columns.where(operator_grant.c.cloud_registry_id == bindparam("registry"))
    .order_by(operator_grant.c.asked_at.desc(), operator_grant.c.id)
    .limit(LISTED)
)
_LISTED = Statement(_columns.order_by(operator_grant.c.asked_at.desc(), operator_grant.c.id).limit(LISTED))
_LEFT = Statement(
    _columns.where(
        or_(
            one_of(operator_grant.c.state, "open") & (operator_grant.c.until <= bindparam("now")),
            (operator_grant.c.state == ENDED) & operator_grant.c.robot.is_not(None),
        )
    ).limit(LISTED)
)
_OPEN = Statement(
    _columns.where(operator_grant.c.state == APPROVED, operator_grant.c.robot.is_not(None)).limit(LISTED)
)
_OF_OPERATOR = Statement(
    _columns.where(
        operator_grant.c.operator_id == bindparam("operator"), one_of(operator_grant.c.state, "open")
    )
)
_ADD = Statement(
    insert(operator_grant).values(
        id=bindparam("id"), operator_id=bindparam("operator"), cloud_registry_id=bindparam("registry"),
        reason=bindparam("reason"), scope=bindparam("scope"), approver=bindparam("approver"), state=ASKED,
        asked_at=bindparam("at"), until=bindparam("until"),
    )
)  # fmt: skip
_DECIDE = Statement(
    update(operator_grant)
    .where(operator_grant.c.id == bindparam("which"), operator_grant.c.state == ASKED)
    .values(state=bindparam("decided"), decided_at=bindparam("at"), decided_by=bindparam("by"))
)
_END = Statement(
    update(operator_grant)
    .where(operator_grant.c.id == bindparam("which"), one_of(operator_grant.c.state, "open"))
    .values(state=ENDED, ended_at=bindparam("at"), ended_by=bindparam("by"))
)
_ROBOT = Statement(
    update(operator_grant)
    .where(operator_grant.c.id == bindparam("which"), operator_grant.c.state == APPROVED)
    .values(robot=bindparam("robot"))
)
_GONE = Statement(update(operator_grant).where(operator_grant.c.id == bindparam("which")).values(robot=None))
_FORGET = Statement(
    update(operator_grant)
    .where(operator_grant.c.cloud_registry_id == bindparam("which"))
    .values(reason="", scope="", decided_by="", ended_by="")
)
_IN_FORCE: Final = [ASKED, APPROVED]


class GrantUnknown(Problem):
    """There is no such grant, or it is about another's registry."""

    code, status, summary = "NOT_FOUND", 404, "there is no such grant"


class GrantInvalid(Problem):
    """What is asked for breaks a rule for grants."""

    code, status, summary = "BAD_REQUEST", 400, "no grant can be asked for so"


class GrantRefused(Problem):
    """The grant's state, or its plan, does not allow this; or another has to do it."""

    code, status, summary = "CONFLICT", 409, "this cannot be done with the grant"


@dataclass(frozen=True, slots=True)
class Grant:
    """An operator's entry into a registry, as it was asked for and decided; *approver* says which party decides."""

    id: str
    operator_id: str
    operator: str
    registry: str
    reason: str
    scope: str
    approver: str
    state: str
    asked_at: int
    until: int
    decided_at: int | None
    decided_by: str
    ended_at: int | None
    ended_by: str
    robot: int | None

    def check_in_force(self, now: int) -> None:
        """Raise GrantRefused unless the grant opens the registry now."""
        if self.state != APPROVED:
            raise GrantRefused(f"the grant is {self.state}: only one that was approved opens anything")
        if self.until <= now:
            raise GrantRefused("the grant's time is over: ask for another")


async def ask(
    tx: Tx, catalogue: Catalogue, who: Operator, registry: str, *, reason: str, scope: str, hours: int
) -> Grant:
    """Ask for entry into a registry's content; raise RegistryUnknown or GrantInvalid."""
    found = await registries.find(tx, registry)
    if found is None or found.wanted == registries.DELETED:
        raise RegistryUnknown(f"there is no registry {registry[:80]}", registry=registry[:80])
    if not reason.strip() or len(reason) > LONGEST_REASON or not reason.isprintable():
        raise GrantInvalid(f"reason: say in 1 to {LONGEST_REASON} visible characters why you must enter")
    if not 1 <= hours <= LONGEST_HOURS:
        raise GrantInvalid(f"hours: a grant lasts 1 to {LONGEST_HOURS} hours")
    if not scope or len(scope) > LONGEST_REASON or not scope.isprintable():
        raise GrantInvalid(f"scope: name one project of the registry, or {ALL} for all of them")
    id_, approver = str(uuid.uuid4()), catalogue.plan(found.plan).approves_grants
    until = tx.at + hours * HOUR
    await tx.run(
        _ADD, id=id_, operator=who.id, registry=registry, reason=reason, scope=scope, approver=approver, at=tx.at,
        until=until,
    )  # fmt: skip
    made = await get(tx, id_)
    await note(
        tx, "grant.asked", made, found, who.origin, reason=reason, scope=scope, until=until, approver=approver
    )
    return made


async def approve_as_operator(tx: Tx, who: Operator, id_: str) -> Grant:
    """Approve another operator's grant where the plan leaves it to the provider; raise GrantUnknown or GrantRefused."""
    found = await get(tx, id_)
    if found.approver != OPERATOR:
        raise GrantRefused("the registry's plan leaves it to the customer to approve grants")
    if found.operator_id == who.id:
        raise GrantRefused("who asks for a grant does not approve it: let another operator do it")
    return await _decide(tx, found, APPROVED, who.origin)


async def decide_as_customer(
    tx: Tx, cloud_project: str, registry: str, id_: str, decided: str, origin: Origin
) -> Grant:
    """Approve a grant where the plan leaves it to the customer, or refuse any; raise GrantUnknown or GrantRefused."""
    found = await of_customer(tx, cloud_project, registry, id_)
    if decided == APPROVED and found.approver != CUSTOMER:
        raise GrantRefused(
            "the registry's plan leaves it to a second operator to approve grants; you can refuse it or end it"
        )
    return await _decide(tx, found, decided, origin)


async def end(tx: Tx, found: Grant, origin: Origin) -> Grant:
    """End a grant before its time, or at it; one that is decided against or ended already stays as it is.

    Its robot is taken away by `entries.close`, and opens nothing past the grant's time in any case.
    """
    if await tx.run(_END, which=found.id, at=tx.at, by=origin.actor, open=_IN_FORCE):
        await note(tx, "grant.ended", found, await _registry(tx, found), origin)
    return await get(tx, found.id)


async def note_robot(tx: Tx, found: Grant, robot: int, origin: Origin) -> None:
    """Note which robot a grant has opened; raise GrantRefused if it is not in force any more."""
    (await get(tx, found.id)).check_in_force(tx.at)
    await tx.run(_ROBOT, which=found.id, robot=robot)
    if found.robot != robot:
        await note(tx, "grant.opened", found, await _registry(tx, found), origin)


async def note_closed(platform: Database, found: Grant) -> None:
    """Note that a grant's robot is gone."""
    await platform.write(_GONE, which=found.id)


async def forget(platform: Database, registry: str) -> int:
    """Forget who has decided about the grants of a registry that is destroyed, and why they were asked for; give how many."""
    return await platform.write(_FORGET, which=registry)


async def get(reader: Reader, id_: str) -> Grant:
    """Find a grant, or raise GrantUnknown."""
    row = await reader.one(_GET, id=id_[:80])
    if row is None:
        raise GrantUnknown(f"there is no grant {id_[:80]}")
    return _made(row)


async def of_customer(reader: Reader, cloud_project: str, registry: str, id_: str) -> Grant:
    """Find a grant of a customer's registry, or raise RegistryUnknown or GrantUnknown."""
    await registries.get(reader, cloud_project, registry)
    row = await reader.one(_GET, id=id_)
    if row is None or row.cloud_registry_id != registry:
        raise GrantUnknown
    return _made(row)


async def of_registry(reader: Reader, cloud_project: str, registry: str) -> list[Grant]:
    """List the grants of a customer's registry, the latest first; raise RegistryUnknown."""
    await registries.get(reader, cloud_project, registry)
    return [_made(row) for row in await reader.all(_OF_REGISTRY, registry=registry)]


async def listed(reader: Reader) -> list[Grant]:
    """List the provider's grants, the latest first."""
    return [_made(row) for row in await reader.all(_LISTED)]


async def left(reader: Reader, now: int) -> list[Grant]:
    """List the grants whose time is over, and those that have ended and still have a robot."""
    return [_made(row) for row in await reader.all(_LEFT, now=now, open=_IN_FORCE)]


async def opened(reader: Reader) -> list[Grant]:
    """List the grants in force that have opened a registry."""
    return [_made(row) for row in await reader.all(_OPEN)]


async def of_operator(reader: Reader, operator_id: str) -> list[Grant]:
    """List an operator's grants that are asked for or in force."""
    return [_made(row) for row in await reader.all(_OF_OPERATOR, operator=operator_id, open=_IN_FORCE)]


async def note(tx: Tx, kind: str, about: Grant, registry: Registry, origin: Origin, /, **body: Any) -> None:
    """Write an event about a grant, in its registry's chain."""
    await events.record(
        tx, kind, origin, target=registry.id, account=registry.account_id, cloud_project=registry.cloud_project_id,
        grant=about.id, operator=about.operator, **body,
    )  # fmt: skip


async def _decide(tx: Tx, found: Grant, decided: str, origin: Origin) -> Grant:
    if decided == APPROVED and found.until <= tx.at:
        raise GrantRefused("the grant's time is over: another has to be asked for")
    if not await tx.run(_DECIDE, which=found.id, decided=decided, at=tx.at, by=origin.actor):
        if found.state == decided:
            return found
        raise GrantRefused(f"the grant is {found.state}: only one that is ASKED can be decided about")
    kind = "grant.approved" if decided == APPROVED else "grant.refused"
    await note(tx, kind, found, await _registry(tx, found), origin)
    return await get(tx, found.id)


async def _registry(tx: Tx, found: Grant) -> Registry:
    about = await registries.find(tx, found.registry)
    if about is None:
        raise NotReady("the registry is gone")
    return about


def _made(row: Any) -> Grant:
    return Grant(
        row.id, row.operator_id, row.operator, row.cloud_registry_id, row.reason, row.scope, row.approver, row.state,
        row.asked_at, row.until, row.decided_at, row.decided_by, row.ended_at, row.ended_by, row.robot,
    )  # fmt: skip


BY_ITSELF: Final = SYSTEM
"""Who ends a grant whose time is over."""
