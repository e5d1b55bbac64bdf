"""An account's OpenID provider: who, beside passwords, vouches for its users, and which of its people become users.

One for an account. Passwords go on beside it, so that an account whose provider is away or wrong can be put right.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, update

from moorage.cloud import events, oidc_identities
from moorage.cloud.credentials import PLACE
from moorage.cloud.events import Origin
from moorage.db import Reader, Statement, Tx, insert
from moorage.db.platform import account
from moorage.db.platform_sign_in import oidc_flow, oidc_provider
from moorage.errors import Problem
from moorage.identity.keys import MasterKey, Wrapped
from moorage.outbound.oidc import Client

_whole = (
    select(oidc_provider, account.c.name.label("account_name"))
    .join_from(oidc_provider, account, account.c.id == oidc_provider.c.account_id)
    .where(account.c.state == "ACTIVE")
)
_OF = Statement(_whole.where(oidc_provider.c.account_id == bindparam("account")))
_NAMED = Statement(_whole.where(account.c.name == bindparam("name"), oidc_provider.c.disabled == 0))
_ONE = Statement(_whole.where(oidc_provider.c.id == bindparam("id"), oidc_provider.c.disabled == 0))
_VALUES: Final[dict[str, Any]] = {
    name: bindparam(name)
    for name in (
        "name", "issuer", "client_id", "secret", "master", "scopes", "groups_claim", "allowed_groups", "roles",
        "disabled", "updated_at",
    )
}  # fmt: skip
_ADD = Statement(
    insert(oidc_provider).values(
        id=bindparam("id"),
        account_id=bindparam("account"),
        created_at=bindparam("created_at"),
        **_VALUES,
    )
)
_CHANGE = Statement(update(oidc_provider).where(oidc_provider.c.id == bindparam("which")).values(**_VALUES))
_DROP = Statement(delete(oidc_provider).where(oidc_provider.c.id == bindparam("which")))
_DROP_FLOWS = Statement(delete(oidc_flow).where(oidc_flow.c.provider_id == bindparam("provider")))
_OTHERS = Statement(
    select(oidc_provider.c.id, oidc_provider.c.secret, oidc_provider.c.master)
    .where(oidc_provider.c.master != bindparam("name"))
    .limit(bindparam("most"))
)
_COUNT = Statement(select(func.count().label("n")).where(oidc_provider.c.master != bindparam("name")))
_REWRAP = Statement(
    update(oidc_provider)
    .where(oidc_provider.c.id == bindparam("which"))
    .values(secret=bindparam("wrapped"), master=bindparam("name"))
)


class ProviderUnknown(Problem):
    """The account has no OpenID provider, or it is turned off."""

    code, status, summary = "NOT_FOUND", 404, "there is no sign-in by an OpenID provider for this account"


@dataclass(frozen=True, slots=True)
class RoleOfGroup:
    """A role in a cloud project that whoever is in a group has."""

    group: str
    cloud_project: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an account's administrator says of its provider."""

    name: str
    issuer: str
    client_id: str
    secret: str = field(repr=False)
    scopes: tuple[str, ...]
    groups_claim: str
    allowed_groups: tuple[str, ...]
    roles: tuple[RoleOfGroup, ...]
    disabled: bool

    @property
    def asks_groups(self) -> bool:
        """Say whether anything follows from somebody's groups."""
        return bool(self.groups_claim and (self.allowed_groups or self.roles))


@dataclass(frozen=True, slots=True)
class Provider:
    """An account's provider as it stands."""

    id: str
    account_id: str
    account_name: str
    terms: Terms
    created_at: int
    updated_at: int

    @property
    def client(self) -> Client:
        """Give what the account is there."""
        return Client(self.terms.issuer, self.terms.client_id, self.terms.secret)


async def of_account(reader: Reader, master: MasterKey, account_id: str) -> Provider:
    """Give an account's provider, or raise ProviderUnknown."""
    return _found(master, await reader.one(_OF, account=account_id))


async def named(reader: Reader, master: MasterKey, account_name: str) -> Provider:
    """Give the provider of an account that is called so, or raise ProviderUnknown, as for an account that is none."""
    asked = account_name if account_name.isprintable() else ""
    return _found(master, await reader.one(_NAMED, name=asked))


async def get(reader: Reader, master: MasterKey, id_: str) -> Provider:
    """Find a provider that is on, or raise ProviderUnknown."""
    return _found(master, await reader.one(_ONE, id=id_ if id_.isprintable() else ""))


async def put(tx: Tx, master: MasterKey, account_id: str, terms: Terms, origin: Origin) -> Provider:
    """Let an account's provider be this one. What was begun with another issuer ends."""
    row = await tx.one(_OF, account=account_id)
    before = None if row is None else _made(master, row)
    kept = before is not None and before.terms.issuer == terms.issuer
    if before is not None and not kept:
        await _end(tx, before)
    id_ = before.id if before is not None and kept else str(uuid.uuid4())
    values = {
        **_row(terms),
        "secret": master.wrap(terms.secret.encode(), registry=PLACE, purpose=_purpose(id_)),
        "master": master.name,
        "updated_at": tx.at,
    }
    if kept:
        await tx.run(_CHANGE, which=id_, **values)
    else:
        await tx.run(_ADD, id=id_, account=account_id, created_at=tx.at, **values)
    await events.record(
        tx, "oidc-provider.changed", origin, target=id_, account=account_id,
        before=None if before is None else told(before.terms), after=told(terms),
        secret_changed=before is None or before.terms.secret != terms.secret,
    )  # fmt: skip
    return await of_account(tx, master, account_id)


async def drop(tx: Tx, master: MasterKey, account_id: str, origin: Origin) -> None:
    """End an account's sign-in by its provider, and forget whom that has vouched for; raise ProviderUnknown."""
    found = await of_account(tx, master, account_id)
    await _end(tx, found)
    await oidc_identities.forget_all(tx, account_id)
    await events.record(
        tx, "oidc-provider.ended", origin, target=found.id, account=account_id, before=told(found.terms)
    )


def told(terms: Terms) -> dict[str, object]:
    """Give what a provider is, as the record keeps it: without the secret."""
    return {
        "name": terms.name,
        "issuer": terms.issuer,
        "client_id": terms.client_id,
        "scopes": list(terms.scopes),
        "groups_claim": terms.groups_claim,
        "allowed_groups": list(terms.allowed_groups),
        "roles": [[one.group, one.cloud_project, one.role] for one in terms.roles],
        "disabled": terms.disabled,
    }


async def _end(tx: Tx, found: Provider) -> None:
    await tx.run(_DROP_FLOWS, provider=found.id)
    await tx.run(_DROP, which=found.id)


def _found(master: MasterKey, row: Any) -> Provider:
    if row is None:
        raise ProviderUnknown
    return _made(master, row)


def _made(master: MasterKey, row: Any) -> Provider:
    secret = master.unwrap(row.secret, name=row.master, registry=PLACE, purpose=_purpose(row.id))
    terms = Terms(
        name=row.name,
        issuer=row.issuer,
        client_id=row.client_id,
        secret=secret.decode(),
        scopes=tuple(json.loads(row.scopes)),
        groups_claim=row.groups_claim,
        allowed_groups=tuple(json.loads(row.allowed_groups)),
        roles=tuple(RoleOfGroup(**one) for one in json.loads(row.roles)),
        disabled=bool(row.disabled),
    )
    return Provider(row.id, row.account_id, row.account_name, terms, row.created_at, row.updated_at)


def _row(terms: Terms) -> dict[str, object]:
    roles = [
        {"group": one.group, "cloud_project": one.cloud_project, "role": one.role} for one in terms.roles
    ]
    return {
        "name": terms.name,
        "issuer": terms.issuer,
        "client_id": terms.client_id,
        "scopes": json.dumps(terms.scopes),
        "groups_claim": terms.groups_claim,
        "allowed_groups": json.dumps(terms.allowed_groups),
        "roles": json.dumps(roles),
        "disabled": int(terms.disabled),
    }


def _purpose(id_: str) -> str:
    return f"client secret of the OpenID provider {id_}"


SECRETS: Final = Wrapped(_OTHERS, _COUNT, _REWRAP, _purpose)
