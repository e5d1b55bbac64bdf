"""Policies of a cloud project: which identity may do which actions on which resource, beside the roles of its members.

    identities     users and OAuth2 clients of the cloud project's account
    resources      the cloud project, which is all that is in it, or single registries of it
    actions        the provider's names; ``*`` is any text

What no policy allows is not allowed; what one denies is denied, whatever a role or another policy says. Who may do what is
decided in `members`, from what `of` finds here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, or_, select, update

from moorage.cloud import events
from moorage.cloud.events import Origin
from moorage.db import Reader, Statement, Tx, insert, one_of
from moorage.db.platform import policy, policy_identity
from moorage.errors import Problem

PREFIX: Final = "publicCloudProject:apiovh:"
PROJECT: Final = "urn:v1:moorage:resource:publicCloudProject:"
REGISTRY: Final = "urn:v1:moorage:resource:publicCloudProject/managedRegistry:"
MOST: Final = 200
"""How many policies a cloud project may have."""

_COLUMNS = (
    policy.c.id, policy.c.name, policy.c.description, policy.c.resources, policy.c.allow, policy.c.excepted,
    policy.c.denied, policy.c.created_at, policy.c.updated_at, policy.c.expires_at,
)  # fmt: skip
_OF = Statement(
    select(*_COLUMNS)
    .join_from(policy_identity, policy, policy.c.id == policy_identity.c.policy_id)
    .where(
        policy_identity.c.identity == bindparam("identity"),
        policy.c.cloud_project_id == bindparam("cloud_project"),
        or_(policy.c.expires_at.is_(None), policy.c.expires_at > bindparam("now")),
    )
)
_ALL = Statement(
    select(*_COLUMNS)
    .where(policy.c.cloud_project_id == bindparam("cloud_project"))
    .order_by(policy.c.created_at, policy.c.id)
)
_ONE = Statement(
    select(*_COLUMNS).where(
        policy.c.cloud_project_id == bindparam("cloud_project"), policy.c.id == bindparam("id")
    )
)
_HOME = Statement(select(policy.c.cloud_project_id).where(policy.c.id == bindparam("id")))
_IDENTITIES = Statement(
    select(policy_identity.c.policy_id, policy_identity.c.identity)
    .where(one_of(policy_identity.c.policy_id, "ids"))
    .order_by(policy_identity.c.identity)
)
_COUNT = Statement(
    select(func.count().label("n")).where(policy.c.cloud_project_id == bindparam("cloud_project"))
)
_ADD = Statement(
    insert(policy).values(
        id=bindparam("id"),
        cloud_project_id=bindparam("cloud_project"),
        name=bindparam("name"),
        description=bindparam("description"),
        resources=bindparam("resources"),
        allow=bindparam("allow"),
        excepted=bindparam("excepted"),
        denied=bindparam("denied"),
        created_at=bindparam("at"),
        updated_at=bindparam("at"),
        expires_at=bindparam("expires"),
    )
)
_CHANGE = Statement(
    update(policy)
    .where(policy.c.id == bindparam("which"))
    .values(
        name=bindparam("name"),
        description=bindparam("description"),
        resources=bindparam("resources"),
        allow=bindparam("allow"),
        excepted=bindparam("excepted"),
        denied=bindparam("denied"),
        updated_at=bindparam("at"),
        expires_at=bindparam("expires"),
    )
)
_DROP = Statement(delete(policy).where(policy.c.id == bindparam("id")))
_NAME = Statement(
    insert(policy_identity).values(policy_id=bindparam("policy"), identity=bindparam("identity"))
)
_UNNAME_ALL = Statement(delete(policy_identity).where(policy_identity.c.policy_id == bindparam("policy")))
_UNNAME = Statement(delete(policy_identity).where(policy_identity.c.identity == bindparam("identity")))


class PolicyUnknown(Problem):
    """The cloud project has no such policy."""

    code, status, summary = "NOT_FOUND", 404, "this cloud project has no such policy"


class PoliciesExceeded(Problem):
    """The cloud project has as many policies as it may."""

    code, status, summary = "FORBIDDEN", 403, "this cloud project has as many policies as it may"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a policy says; ``identities`` and ``resources`` are URNs, actions the provider's names."""

    name: str
    description: str = ""
    identities: tuple[str, ...]
    resources: tuple[str, ...]
    allow: tuple[str, ...]
    excepted: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    expires_at: int | None = None

    def allows(self, action: str, cloud_project: str, registry: str | None) -> bool:
        """Say whether it allows an action on a registry, or (None) on the whole cloud project."""
        return (
            _has(self.allow, action)
            and not _has(self.excepted, action)
            and self._is_about(cloud_project, registry)
        )

    def allows_on_some(self, action: str) -> bool:
        """Say whether it allows an action on anything."""
        return _has(self.allow, action) and not _has(self.excepted, action)

    def denies(self, action: str, cloud_project: str, registry: str | None) -> bool:
        """Say whether it denies an action there."""
        return _has(self.denied, action) and self._is_about(cloud_project, registry)

    def _is_about(self, cloud_project: str, registry: str | None) -> bool:
        if PROJECT + cloud_project in self.resources:
            return True
        return registry is not None and REGISTRY + registry in self.resources


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it stands."""

    id: str
    terms: Terms
    created_at: int
    updated_at: int


async def of(reader: Reader, cloud_project: str, identity: str, now: int) -> list[Terms]:
    """Give what the policies in force say of an identity."""
    rows = await reader.all(_OF, identity=identity, cloud_project=cloud_project, now=now)
    return [_terms(row, (identity,)) for row in rows]


async def listed(reader: Reader, cloud_project: str) -> list[Policy]:
    """List a cloud project's policies in the order they came."""
    return await _whole(reader, await reader.all(_ALL, cloud_project=cloud_project))


async def get(reader: Reader, cloud_project: str, id_: str) -> Policy:
    """Find a policy, or raise PolicyUnknown."""
    found = await _whole(reader, await reader.all(_ONE, cloud_project=cloud_project, id=id_))
    if not found:
        raise PolicyUnknown
    return found[0]


async def home_of(reader: Reader, id_: str) -> str:
    """Say which cloud project a policy is of, or raise PolicyUnknown; who may see it is for `members` to say."""
    row = await reader.one(_HOME, id=id_)
    if row is None:
        raise PolicyUnknown
    return str(row.cloud_project_id)


async def create(tx: Tx, cloud_project: str, account: str, terms: Terms, origin: Origin) -> Policy:
    """Make a policy whose terms were checked, or raise PoliciesExceeded."""
    count = (await tx.one(_COUNT, cloud_project=cloud_project)).n
    if count >= MOST:
        raise PoliciesExceeded(
            f"this cloud project has {count} policies, as many as it may: delete one first"
        )
    made = Policy(str(uuid.uuid4()), terms, tx.at, tx.at)
    await tx.run(_ADD, id=made.id, cloud_project=cloud_project, at=tx.at, **_row(terms))
    await _name(tx, made.id, terms.identities)
    await events.record(
        tx, "policy.created", origin, target=made.id, account=account, cloud_project=cloud_project, after=told(terms)
    )  # fmt: skip
    return made


async def change(tx: Tx, cloud_project: str, account: str, id_: str, terms: Terms, origin: Origin) -> Policy:
    """Let a policy say something else, or raise PolicyUnknown."""
    before = await get(tx, cloud_project, id_)
    await tx.run(_CHANGE, which=id_, at=tx.at, **_row(terms))
    await tx.run(_UNNAME_ALL, policy=id_)
    await _name(tx, id_, terms.identities)
    await events.record(
        tx, "policy.changed", origin, target=id_, account=account, cloud_project=cloud_project,
        before=told(before.terms), after=told(terms),
    )  # fmt: skip
    return Policy(id_, terms, before.created_at, tx.at)


async def drop(tx: Tx, cloud_project: str, account: str, id_: str, origin: Origin) -> None:
    """End a policy, or raise PolicyUnknown."""
    before = await get(tx, cloud_project, id_)
    await tx.run(_UNNAME_ALL, policy=id_)
    await tx.run(_DROP, id=id_)
    await events.record(
        tx, "policy.deleted", origin, target=id_, account=account, cloud_project=cloud_project,
        before=told(before.terms),
    )  # fmt: skip


async def forget(tx: Tx, identity: str) -> None:
    """Take an identity that has ended out of every policy: nobody who is called so later has its rights."""
    await tx.run(_UNNAME, identity=identity)


def told(terms: Terms) -> dict[str, object]:
    """Give what a policy says, as the record keeps it."""
    return {
        "name": terms.name,
        "identities": list(terms.identities),
        "resources": list(terms.resources),
        "allow": list(terms.allow),
        "except": list(terms.excepted),
        "deny": list(terms.denied),
        "expires_at": terms.expires_at,
    }


async def _name(tx: Tx, id_: str, identities: Iterable[str]) -> None:
    await tx.many(_NAME, [{"policy": id_, "identity": one} for one in identities])


async def _whole(reader: Reader, rows: Sequence[Any]) -> list[Policy]:
    named: dict[str, list[str]] = {row.id: [] for row in rows}
    for row in await reader.all(_IDENTITIES, ids=list(named)):
        named[row.policy_id].append(row.identity)
    return [Policy(row.id, _terms(row, tuple(named[row.id])), row.created_at, row.updated_at) for row in rows]


def _terms(row: Any, identities: tuple[str, ...]) -> Terms:
    return Terms(
        name=row.name,
        description=row.description,
        identities=identities,
        resources=tuple(json.loads(row.resources)),
        allow=tuple(json.loads(row.allow)),
        excepted=tuple(json.loads(row.excepted)),
        denied=tuple(json.loads(row.denied)),
        expires_at=row.expires_at,
    )


def _row(terms: Terms) -> dict[str, object]:
    return {
        "name": terms.name,
        "description": terms.description,
        "resources": json.dumps(terms.resources),
        "allow": json.dumps(terms.allow),
        "excepted": json.dumps(terms.excepted),
        "denied": json.dumps(terms.denied),
        "expires": terms.expires_at,
    }


def _has(patterns: Iterable[str], action: str) -> bool:
    return any(fnmatchcase(action, pattern) for pattern in patterns)
