"""Trusts of robots: whose tokens sign each of them in, as rows.

Whoever a trust has let in was let in as the robot. So a trust that goes, or is another from now on, voids whatever the robot
was given so far: its tokens are made anew by whom it still lets in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, func, select, update

from moorage.db import Statement, insert, pages
from moorage.db.pages import Listing
from moorage.db.places import Place
from moorage.db.tables import robot, robot_trust
from moorage.errors import Problem
from moorage.identity import robots
from moorage.identity.trust_rules import Trust, TrustInvalid, check

if TYPE_CHECKING:
    from moorage.db import Reader, Tx

_PLACE: Final = Place(robot_trust)
MOST: Final = 20
"""Of one robot."""
MOST_UNNAMED: Final = 200
"""How many trusts in one issuer are looked through for a token that comes without a robot's name."""

_COLUMNS = (
    robot_trust.c.id, robot_trust.c.robot_id, robot_trust.c.description, robot_trust.c.issuer, robot_trust.c.audience,
    robot_trust.c.claims, robot_trust.c.jwks, robot_trust.c.created_at, robot_trust.c.updated_at,
)  # fmt: skip
_HERE = (robot_trust.c.id == bindparam("number"), robot_trust.c.robot_id == bindparam("robot"))
_GET = Statement(select(*_COLUMNS).where(*_HERE))
_COUNT = Statement(
    select(func.count().label("n"))
    .select_from(robot_trust)
    .where(robot_trust.c.robot_id == bindparam("robot"))
)
_ADD = Statement(
    insert(robot_trust)
    .values(
        robot_id=bindparam("robot"),
        description=bindparam("description"),
        issuer=bindparam("issuer"),
        audience=bindparam("audience"),
        claims=bindparam("claims"),
        jwks=bindparam("jwks"),
        created_at=bindparam("now"),
    )
    .returning(robot_trust.c.id)
)
_SET = Statement(
    update(robot_trust)
    .where(*_HERE)
    .values(
        description=bindparam("description"),
        issuer=bindparam("issuer"),
        audience=bindparam("audience"),
        claims=bindparam("claims"),
        jwks=bindparam("jwks"),
        updated_at=bindparam("now"),
    )
)
_REMOVE = Statement(delete(robot_trust).where(*_HERE))
# Those of robots that are gone, or kept out, are none: they stand between nobody and a robot that works.
_works = (robot.c.deleted_at.is_(None), robot.c.disabled == 0)
_in_force = (
    select(*_COLUMNS, robot.c.expires_at, robot.c.valid_from)
    .join_from(robot_trust, robot, robot.c.id == robot_trust.c.robot_id)
    .where(robot_trust.c.issuer == bindparam("issuer"), *_works)
)
_NAMED = Statement(_in_force.where(robot_trust.c.robot_id == bindparam("robot")))
_UNNAMED = Statement(_in_force.limit(MOST_UNNAMED + 1))

LISTED: Final = Listing(
    shown=_COLUMNS,
    source=robot_trust,
    id=robot_trust.c.id,
    where=(robot_trust.c.robot_id == bindparam("robot"),),
    keys={
        "id": pages.number(robot_trust.c.id),
        "issuer": pages.text(robot_trust.c.issuer),
        "audience": pages.text(robot_trust.c.audience),
        "creation_time": pages.time(robot_trust.c.created_at),
    },
    order=(("id", False),),
)


class TrustUnknown(Problem):
    """The robot has no such trust."""

    code, status, summary = "NOT_FOUND", 404, "the robot has no such trust"


@dataclass(frozen=True, slots=True)
class Kept:
    """A trust as it is kept."""

    id: int
    trust: Trust
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class InForce:
    """A trust of a robot that works; *until* the robot expires (None: never)."""

    robot: int
    trust: Trust
    until: int | None
    epoch: int
    """The robot's state, as of which it is: where that is another, the trust may be as well."""


def kept(row: Any) -> Kept:
    """Read a row."""
    return Kept(row.id, _trust(row), row.created_at, row.updated_at or row.created_at)


async def get(db: Reader, robot: int, number: int) -> Kept:
    """Give one of a robot's trusts, or raise TrustUnknown."""
    row = await db.one(_GET, robot=robot, number=number)
    if row is None:
        raise TrustUnknown(f"robot {robot} has no trust {number}", trust=number)
    return kept(row)


async def add(tx: Tx, robot: int, trust: Trust) -> int:
    """Let a robot be signed in by tokens of others, or raise TrustInvalid; give the trust's number."""
    check(trust)
    row = await tx.one(_COUNT, robot=robot)
    if row is not None and row.n >= MOST:
        raise TrustInvalid(f"a robot has at most {MOST} trusts: remove one first")
    made = await tx.one(_ADD, robot=robot, now=tx.at, **_values(trust))
    assert made is not None
    await tx.touch_access()
    return int(made.id)


async def change(tx: Tx, robot: int, number: int, trust: Trust) -> None:
    """Make one of a robot's trusts another, or raise TrustInvalid or TrustUnknown."""
    check(trust)
    if not await tx.run(_SET, robot=robot, number=number, now=tx.at, **_values(trust)):
        raise TrustUnknown(trust=number)
    await robots.void_tokens(tx, robot)


async def remove(tx: Tx, robot: int, number: int) -> None:
    """Let a robot be signed in by a trust no more, or raise TrustUnknown."""
    if not await tx.run(_REMOVE, robot=robot, number=number):
        raise TrustUnknown(trust=number)
    await robots.void_tokens(tx, robot)


async def in_force(db: Reader, issuer: str, asked: int | None) -> list[InForce]:
    """Give the trusts in an issuer of the robot that is *asked* for, or (None) of all."""
    if not await _PLACE.is_there(db):
        return []
    if asked is None:
        rows = await db.all(_UNNAMED, issuer=issuer)
    else:
        rows = await db.all(_NAMED, issuer=issuer, robot=asked)
    return [InForce(row.robot_id, _trust(row), row.expires_at, row.valid_from) for row in rows]


def _values(trust: Trust) -> dict[str, object]:
    return {
        "description": trust.description,
        "issuer": trust.issuer,
        "audience": trust.audience,
        "claims": json.dumps({name: list(values) for name, values in sorted(trust.claims.items())}),
        "jwks": json.dumps({"keys": list(trust.keys)}) if trust.keys else "",
    }


def _trust(row: Any) -> Trust:
    claims = {name: tuple(values) for name, values in json.loads(row.claims).items()}
    keys = tuple(json.loads(row.jwks)["keys"]) if row.jwks else ()
    return Trust(row.issuer, row.audience, claims, keys, row.description)
