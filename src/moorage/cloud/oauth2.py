"""Clients of OAuth2: programs that call in their own name, with tokens that are good for an hour (RFC 6749, section 4.4).

A client belongs to an account and may do nothing until a policy names it. Its secret and its tokens are random and kept as
hashes. A token is looked up at every call, so what is revoked is refused at the next.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, update

from moorage.cloud import events, policies
from moorage.cloud.callers import CLIENT_NAME, AddressNotAllowed, Caller, Kind, client_identity
from moorage.cloud.events import Origin
from moorage.cloud.rules import Limits
from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.platform import account, oauth2_client, oauth2_token
from moorage.errors import Problem

SECOND: Final = 1_000_000
LIFETIME: Final = 3600
"""Seconds for which a token is good."""
MOST_TOKENS: Final = 1000
"""How many tokens of a client are good at once; whoever takes one for each call ends its own oldest."""
MOST_CLIENTS: Final = 200
USE_NOTED = NOTED = 60 * SECOND
WORKING: Final = "validated"
"""What a token's state is called where a credential's is shown."""

_COLUMNS = (
    oauth2_client.c.id, oauth2_client.c.account_id, oauth2_client.c.name, oauth2_client.c.description,
    oauth2_client.c.rules, oauth2_client.c.allowed_ips, oauth2_client.c.created_at, oauth2_client.c.last_used_at,
    account.c.name.label("account_name"),
)  # fmt: skip
_LIVING = (oauth2_client.c.revoked_at.is_(None), account.c.state == "ACTIVE")
_OF_ACCOUNT = Statement(
    select(*_COLUMNS)
    .join_from(oauth2_client, account, account.c.id == oauth2_client.c.account_id)
    .where(oauth2_client.c.account_id == bindparam("account"), *_LIVING)
    .order_by(oauth2_client.c.created_at, oauth2_client.c.id)
)
_ONE = Statement(
    select(*_COLUMNS)
    .join_from(oauth2_client, account, account.c.id == oauth2_client.c.account_id)
    .where(
        oauth2_client.c.account_id == bindparam("account"), oauth2_client.c.id == bindparam("id"), *_LIVING
    )
)
_BY_ID = Statement(
    select(*_COLUMNS, oauth2_client.c.hash)
    .join_from(oauth2_client, account, account.c.id == oauth2_client.c.account_id)
    .where(oauth2_client.c.id == bindparam("id"), *_LIVING)
)
_BY_TOKEN = Statement(
    select(*_COLUMNS, oauth2_token.c.created_at.label("begun_at"), oauth2_token.c.expires_at)
    .join_from(oauth2_token, oauth2_client, oauth2_client.c.id == oauth2_token.c.client_id)
    .join(account, account.c.id == oauth2_client.c.account_id)
    .where(oauth2_token.c.hash == bindparam("hash"), oauth2_token.c.expires_at > bindparam("now"), *_LIVING)
)
_COUNT = Statement(
    select(func.count().label("n")).where(
        oauth2_client.c.account_id == bindparam("account"), oauth2_client.c.revoked_at.is_(None)
    )
)
_ADD = Statement(
    insert(oauth2_client).values(
        id=bindparam("id"),
        account_id=bindparam("account"),
        name=bindparam("name"),
        description=bindparam("description"),
        hash=bindparam("hash"),
        rules=bindparam("rules"),
        allowed_ips=bindparam("addresses"),
        created_at=bindparam("at"),
    )
)
_DESCRIBE = Statement(
    update(oauth2_client)
    .where(oauth2_client.c.id == bindparam("which"))
    .values(name=bindparam("name"), description=bindparam("description"))
)
_RENEW = Statement(
    update(oauth2_client).where(oauth2_client.c.id == bindparam("which")).values(hash=bindparam("secret"))
)
_REVOKE = Statement(
    update(oauth2_client).where(oauth2_client.c.id == bindparam("which")).values(revoked_at=bindparam("at"))
)
_USED = Statement(
    update(oauth2_client).where(oauth2_client.c.id == bindparam("which")).values(last_used_at=bindparam("at"))
)
_ADD_TOKEN = Statement(
    insert(oauth2_token).values(
        hash=bindparam("hash"),
        client_id=bindparam("client"),
        created_at=bindparam("at"),
        expires_at=bindparam("expires"),
    )
)
_DROP_OLD = Statement(
    delete(oauth2_token).where(
        oauth2_token.c.client_id == bindparam("client"), oauth2_token.c.expires_at <= bindparam("now")
    )
)
_DROP_MOST = Statement(
    delete(oauth2_token).where(
        oauth2_token.c.hash.in_(
            select(oauth2_token.c.hash)
            .where(oauth2_token.c.client_id == bindparam("client"))
            .order_by(oauth2_token.c.created_at.desc(), oauth2_token.c.hash)
            .offset(bindparam("most"))
            .limit(MOST_TOKENS)
        )
    )
)
_DROP_TOKEN = Statement(
    delete(oauth2_token).where(
        oauth2_token.c.hash == bindparam("hash"), oauth2_token.c.client_id == bindparam("client")
    )
)
_DROP_TOKENS = Statement(delete(oauth2_token).where(oauth2_token.c.client_id == bindparam("client")))


class ClientUnknown(Problem):
    """The account has no such client, or it was revoked."""

    code, status, summary = "NOT_FOUND", 404, "this account has no such OAuth2 client"


class ClientInvalid(Problem):
    """There is no such client, or its secret is another; which of them is not told."""

    code, status, summary = "UNAUTHORIZED", 401, "unknown client, or wrong secret"


class ClientsExceeded(Problem):
    """The account has as many clients as it may."""

    code, status, summary = "FORBIDDEN", 403, "this account has as many OAuth2 clients as it may"


class TokenInvalid(Problem):
    """The token is not known, has expired or was revoked."""

    code, status, summary = (
        "INVALID_CREDENTIAL",
        401,
        "this access token is not known, has expired or was revoked",
    )


@dataclass(frozen=True, slots=True)
class Client:
    """A client, as its account sees it."""

    id: str
    account_id: str
    account_name: str
    name: str
    description: str
    limits: Limits
    created_at: int
    last_used_at: int | None

    @property
    def identity(self) -> str:
        """Give the name that policies know it by."""
        return client_identity(self.account_name, self.id)


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client that was made just now, or was given another secret, which is not shown again."""

    client: Client
    secret: str = field(repr=False)


async def listed(reader: Reader, account_id: str) -> list[Client]:
    """List an account's clients in the order they came."""
    return [_client(row) for row in await reader.all(_OF_ACCOUNT, account=account_id)]


async def get(reader: Reader, account_id: str, id_: str) -> Client:
    """Find an account's client, or raise ClientUnknown."""
    row = await reader.one(_ONE, account=account_id, id=id_)
    if row is None:
        raise ClientUnknown
    return _client(row)


async def create(
    tx: Tx, account_id: str, *, name: str, description: str, limits: Limits, origin: Origin
) -> NewClient:
    """Make a client, which may do nothing yet, or raise ClientsExceeded."""
    count = (await tx.one(_COUNT, account=account_id)).n
    if count >= MOST_CLIENTS:
        raise ClientsExceeded(f"this account has {count} OAuth2 clients, as many as it may: delete one first")
    id_, secret = secrets.token_hex(8), secrets.token_hex(16)
    rules, addresses = limits.as_rows()
    await tx.run(
        _ADD, id=id_, account=account_id, name=name, description=description, hash=_hash(secret), rules=rules,
        addresses=addresses, at=tx.at,
    )  # fmt: skip
    await events.record(
        tx, "oauth2-client.created", origin, target=id_, account=account_id, name=name, rules=rules,
        addresses=addresses,
    )  # fmt: skip
    return NewClient(await get(tx, account_id, id_), secret)


async def describe(tx: Tx, account_id: str, id_: str, *, name: str, description: str, origin: Origin) -> None:
    """Call a client otherwise, or raise ClientUnknown."""
    before = await get(tx, account_id, id_)
    await tx.run(_DESCRIBE, which=id_, name=name, description=description)
    await events.record(
        tx, "oauth2-client.changed", origin, target=id_, account=account_id, before=before.name, after=name
    )


async def renew(tx: Tx, account_id: str, id_: str, origin: Origin) -> NewClient:
    """Give a client another secret and end its tokens, or raise ClientUnknown: what has leaked opens nothing more."""
    found = await get(tx, account_id, id_)
    secret = secrets.token_hex(16)
    await tx.run(_RENEW, which=id_, secret=_hash(secret))
    await tx.run(_DROP_TOKENS, client=id_)
    await events.record(tx, "oauth2-client.secret-renewed", origin, target=id_, account=account_id)
    return NewClient(found, secret)


async def revoke(tx: Tx, account_id: str, id_: str, origin: Origin) -> None:
    """End a client, its tokens and its place in policies, or raise ClientUnknown."""
    found = await get(tx, account_id, id_)
    await tx.run(_DROP_TOKENS, client=id_)
    await tx.run(_REVOKE, which=id_, at=tx.at)
    await policies.forget(tx, found.identity)
    await events.record(tx, "oauth2-client.revoked", origin, target=id_, account=account_id, name=found.name)


async def believe(db: Database, id_: str, secret: str, origin: Origin, noted: dict[str, int]) -> Client:
    """Give the client that knows its secret, or raise ClientInvalid or, from where it may not ask, AddressNotAllowed.

    What is refused to a client that there is stands in the record, once a minute: *noted* remembers when.
    """
    row = await db.one(_BY_ID, id=id_[:80].replace("\0", ""))
    # Whoever names no client waits as long as who knows no secret: the same is asked and computed.
    right = hmac.compare_digest(_hash(secret), row.hash if row else bytes(32))
    if row is None:
        raise ClientInvalid
    found = _client(row)
    if right and found.limits.allow_address(origin.address):
        return found
    now = db.now()
    if now - noted.get(id_, 0) > NOTED:
        noted[id_] = now
        rule = AddressNotAllowed.code if right else "wrong secret"
        await events.deny(db, "oauth2-client.token", origin, rule=rule, target=id_, account=row.account_id)
    if right:
        raise AddressNotAllowed(f"this client may not ask from {origin.address or 'here'}")
    raise ClientInvalid


async def issue(tx: Tx, found: Client) -> str:
    """Give a client a token, this once."""
    token = secrets.token_urlsafe(32)
    await tx.run(_DROP_OLD, client=found.id, now=tx.at)
    await tx.run(_DROP_MOST, client=found.id, most=MOST_TOKENS - 1)
    expires = tx.at + LIFETIME * SECOND
    await tx.run(_ADD_TOKEN, hash=_hash(token), client=found.id, at=tx.at, expires=expires)
    return token


async def end(tx: Tx, client: str, token: str) -> None:
    """End a client's token; another's, or none, is left as it is."""
    await tx.run(_DROP_TOKEN, client=client, hash=_hash(token))


async def identify(db: Database, token: str) -> Caller:
    """Give the client that a token was issued to, or raise TokenInvalid."""
    now = db.now()
    row = await db.one(_BY_TOKEN, hash=_hash(token), now=now)
    if row is None:
        raise TokenInvalid(
            "this access token is not known, has expired or was revoked: ask for another with POST /auth/oauth2/token"
        )
    if now - (row.last_used_at or 0) > USE_NOTED:
        await db.write(_USED, which=row.id, at=now)
    return Caller(
        kind=Kind.CLIENT,
        id=row.id,
        state=WORKING,
        limits=Limits.kept(row.rules, row.allowed_ips),
        application_id=row.id,
        application_name=row.name,
        description=row.description,
        login_id=None,
        login_name=CLIENT_NAME + row.id,
        account_id=row.account_id,
        account_name=row.account_name,
        created_at=row.begun_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )


def _client(row: Any) -> Client:
    limits = Limits.kept(row.rules, row.allowed_ips)
    return Client(
        row.id, row.account_id, row.account_name, row.name, row.description, limits, row.created_at, row.last_used_at
    )  # fmt: skip


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
