"""Operators: the provider's people. They are no users of any account and of no registry, and their passwords open neither.

An operator asks for a grant (`cloud.grants`), approves another's, and enters by it; else there is no way in.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import bindparam, select, update

from moorage.cloud import events
from moorage.cloud.events import Origin
from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.platform import operator
from moorage.errors import Problem
from moorage.identity.passwords import Passwords
from moorage.identity.robots import new_secret

PARTY: Final = "provider"
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
LONGEST: Final = 64

_ADD = Statement(
    insert(operator)
    .values(
        id=bindparam("id"), name=bindparam("name"), password=bindparam("password"), disabled=0,
        created_at=bindparam("at"),
    )
    .on_conflict_do_nothing(index_elements=[operator.c.name])
)  # fmt: skip
_NAMED = Statement(select(operator).where(operator.c.name == bindparam("name")))
_LISTED = Statement(select(operator).order_by(operator.c.created_at, operator.c.id))
_DISABLE = Statement(
    update(operator).where(operator.c.name == bindparam("which"), operator.c.disabled == 0).values(disabled=1)
)


class OperatorInvalid(Problem):
    """The name is none for an operator, or another's."""

    code, status, summary = "BAD_REQUEST", 400, "no operator can be called so"


class OperatorRefused(Problem):
    """The operator or the password is wrong, or the operator is disabled; which is not told."""

    code, status, summary = "UNAUTHORIZED", 401, "unknown operator, or wrong password"


@dataclass(frozen=True, slots=True)
class Operator:
    """A person of the provider."""

    id: str
    name: str
    disabled: bool
    created_at: int

    @property
    def origin(self) -> Origin:
        """Say who makes a change."""
        return Origin(f"operator/{self.name}", PARTY)


@dataclass(frozen=True, slots=True)
class NewOperator:
    """An operator who was made just now, and the password, which is not shown again."""

    operator: Operator
    password: str = field(repr=False)


async def create(platform: Database, passwords: Passwords, name: str) -> NewOperator:
    """Make an operator with a password of 256 random bits; raise OperatorInvalid."""
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise OperatorInvalid(
            f"name: {name[:80]!r} must be lower-case letters and digits, joined by one of . _ -, {LONGEST} at most"
        )
    id_, secret = str(uuid.uuid4()), new_secret()
    hashed = await passwords.hash(secret)

    async def work(tx: Tx) -> Operator:
        if not await tx.run(_ADD, id=id_, name=name, password=hashed, at=tx.at):
            raise OperatorInvalid(f"name: there is an operator {name} already")
        await events.record(tx, "operator.created", Origin("operator", PARTY), target=id_, name=name)
        return Operator(id_, name, disabled=False, created_at=tx.at)

    return NewOperator(await platform.change(work), secret)


async def disable(platform: Database, name: str) -> None:
    """Let an operator sign in no more; raise OperatorInvalid for whom there is not. Whoever calls ends their grants."""

    async def work(tx: Tx) -> None:
        found = await tx.one(_NAMED, name=name)
        if found is None:
            raise OperatorInvalid(f"name: there is no operator {name[:80]}")
        if await tx.run(_DISABLE, which=name):
            await events.record(
                tx, "operator.disabled", Origin("operator", PARTY), target=found.id, name=name
            )

    await platform.change(work)


async def sign_in(platform: Database, passwords: Passwords, name: str, password: str) -> Operator:
    """Give the operator of this name and password, or raise OperatorRefused."""
    row = await platform.one(_NAMED, name=name[:LONGEST])
    right = await passwords.verify(password, None if row is None else row.password, address="", name=name)
    if row is None or not right or row.disabled:
        raise OperatorRefused
    return Operator(row.id, row.name, disabled=False, created_at=row.created_at)


async def listed(reader: Reader) -> list[Operator]:
    """List the operators in the order they came."""
    return [
        Operator(row.id, row.name, disabled=bool(row.disabled), created_at=row.created_at)
        for row in await reader.all(_LISTED)
    ]
