"""Whom a robot trusts: tokens of others that sign it in beside its secret. Ours: Harbor has no such thing.

Whoever may give a robot a new secret may say whom it trusts, and nobody else: both are ways to be that robot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from moorage.api.harbor import answers
from moorage.api.harbor.problems import BadRequest
from moorage.api.harbor.robots import editable, robot_in_path
from moorage.identity import trust_rules, trusts
from moorage.identity.trust_rules import Trust, Value
from moorage.registry.events import record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moorage.api.dialects import Answer
    from moorage.api.harbor.asks import Ask
    from moorage.api.harbor.routes import Answers
    from moorage.db import Tx
    from moorage.identity.robot_pages import Robot
    from moorage.identity.trusts import Kept


class NewTrust(msgspec.Struct):
    """A trust to be had; a claim is one value or a list of them."""

    issuer: str | None = None
    audience: str | None = None
    claims: dict[str, str | int | bool | list[str | int | bool]] | None = None
    jwks: dict[str, Any] | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Trusts:
    """Answers what is asked about robots' trusts."""

    def answers(self) -> Answers:
        """Say who answers each operation."""
        return {
            "listRobotTrusts": self.list,
            "createRobotTrust": self.create,
            "getRobotTrust": self.get,
            "updateRobotTrust": self.update,
            "deleteRobotTrust": self.delete,
        }

    async def list(self, ask: Ask) -> Answer:
        """Give a page of a robot's trusts."""
        robot = await robot_in_path(ask, "read")
        asked = ask.page.asked
        rows, total = await trusts.LISTED.listed(ask.db, asked, robot=robot.id)
        return answers.listed(ask, [_shown(trusts.kept(row)) for row in rows], total)

    async def create(self, ask: Ask) -> Answer:
        """Let tokens of an issuer sign a robot in."""
        robot = await editable(ask)
        trust = _trust(ask)

        async def work(tx: Tx) -> int:
            number = await trusts.add(tx, robot.id, trust)
            await _record(tx, "trust.create", ask, robot, trust=number, after=_told(trust))
            return number

        number = await ask.db.change(work)
        return answers.created(ask, number, _shown(await trusts.get(ask.db, robot.id, number)))

    async def get(self, ask: Ask) -> Answer:
        """Give one of a robot's trusts."""
        robot = await robot_in_path(ask, "read")
        return answers.given(_shown(await trusts.get(ask.db, robot.id, ask.number("trust_id"))))

    async def update(self, ask: Ask) -> Answer:
        """Make one of a robot's trusts another: what was given by it so far is void."""
        robot = await editable(ask)
        number, trust = ask.number("trust_id"), _trust(ask)

        async def work(tx: Tx) -> None:
            before = await trusts.get(tx, robot.id, number)
            await trusts.change(tx, robot.id, number, trust)
            told = {"before": _told(before.trust), "after": _told(trust)}
            await _record(tx, "trust.update", ask, robot, trust=number, **told)

        await ask.db.change(work)
        return answers.done()

    async def delete(self, ask: Ask) -> Answer:
        """End one of a robot's trusts: what was given by it so far is void."""
        robot, number = await editable(ask), ask.number("trust_id")

        async def work(tx: Tx) -> None:
            before = await trusts.get(tx, robot.id, number)
            await trusts.remove(tx, robot.id, number)
            await _record(tx, "trust.delete", ask, robot, trust=number, before=_told(before.trust))

        await ask.db.change(work)
        return answers.done()


def _trust(ask: Ask) -> Trust:
    """Read a trust, or raise TrustInvalid or BadRequest; without an audience it is for this registry's own address."""
    given = ask.read(NewTrust)
    if not given.issuer or not given.claims:
        raise BadRequest("a trust has an issuer and claims")
    keys = () if given.jwks is None else trust_rules.public_keys(given.jwks)
    claims = {name: _values(value) for name, value in given.claims.items()}
    audience = given.audience or ask.header(b"host").lower()
    trust = Trust(given.issuer, audience, claims, keys, given.description or "")
    trust_rules.check(trust)
    if not keys:
        ask.access.keyless.check_issuer(given.issuer)
    return trust


def _values(given: str | int | bool | list[str | int | bool]) -> tuple[Value, ...]:  # noqa: FBT001 - a claim can be one.
    return tuple(given) if isinstance(given, list) else (given,)


def _shown(one: Kept) -> dict[str, object]:
    more = {"jwks": {"keys": list(one.trust.keys)}} if one.trust.keys else {}
    return {
        "id": one.id,
        **_told(one.trust),
        **more,
        "creation_time": answers.moment(one.created_at),
        "update_time": answers.moment(one.updated_at),
    }


def _told(trust: Trust) -> Mapping[str, object]:
    """Write a trust for a caller or the record; one value stands by itself."""
    claims = {name: values[0] if len(values) == 1 else list(values) for name, values in trust.claims.items()}
    return {
        "description": trust.description,
        "issuer": trust.issuer,
        "audience": trust.audience,
        "claims": claims,
    }


async def _record(tx: Tx, kind: str, ask: Ask, robot: Robot, **told: object) -> None:
    await record(
        tx, kind, ask.origin, target=robot.full_name, robot=robot.id, project=robot.project or "", **told
    )
