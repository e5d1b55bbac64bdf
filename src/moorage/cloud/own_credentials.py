"""A user's own applications, and the credentials that they have let applications have: seen, kept to addresses, and ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select, update

from moorage.cloud import events
from moorage.cloud.credentials import REVOKED, VALIDATED
from moorage.cloud.events import Origin
from moorage.cloud.rules import Limits
from moorage.db import Reader, Statement, Tx
from moorage.db.platform import application, credential
from moorage.errors import Problem

MOST: Final = 1000
EXPIRED: Final = "expired"
ACTIVE, INACTIVE = "active", "inactive"

_application = (
    application.c.id, application.c.key, application.c.name, application.c.description, application.c.revoked_at,
    application.c.account_id,
)  # fmt: skip
_APPLICATIONS = Statement(
    select(*_application)
    .where(
        application.c.account_id == bindparam("account"),
        application.c.login_id == bindparam("login"),
        application.c.revoked_at.is_(None),
    )
    .order_by(application.c.created_at, application.c.id)
    .limit(MOST)
)
_APPLICATION = Statement(
    select(*_application).where(
        application.c.id == bindparam("id"),
        application.c.login_id == bindparam("login"),
        application.c.revoked_at.is_(None),
    )
)
_OF = Statement(select(*_application).where(application.c.id == bindparam("id")))
_whole = (
    select(credential)
    .join_from(credential, application, application.c.id == credential.c.application_id)
    .where(
        credential.c.login_id == bindparam("login"),
        credential.c.state != REVOKED,
        application.c.revoked_at.is_(None),
    )
)
_CREDENTIALS = Statement(_whole.order_by(credential.c.created_at, credential.c.id).limit(MOST))
_CREDENTIAL = Statement(_whole.where(credential.c.id == bindparam("id")))
_KEEP_TO = Statement(
    update(credential).where(credential.c.id == bindparam("which")).values(allowed_ips=bindparam("addresses"))
)
_REVOKE = Statement(
    update(credential)
    .where(credential.c.id == bindparam("which"), credential.c.state != REVOKED)
    .values(state=REVOKED, revoked_at=bindparam("at"))
)
_REVOKE_APPLICATION = Statement(
    update(application)
    .where(application.c.id == bindparam("which"), application.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)


class CredentialUnknown(Problem):
    """The user has no such credential."""

    code, status, summary = "NOT_FOUND", 404, "you have no such credential"


class ApplicationMissing(Problem):
    """The user has no such application."""

    code, status, summary = "NOT_FOUND", 404, "you have no such application"


@dataclass(frozen=True, slots=True)
class Application:
    """An application; its secret is shown to nobody."""

    id: str
    key: str
    name: str
    description: str
    status: str
    account_id: str


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential that a user has decided about."""

    id: str
    application_id: str
    status: str
    limits: Limits
    created_at: int
    expires_at: int | None
    last_used_at: int | None


async def applications(reader: Reader, account: str, login: str) -> list[Application]:
    """List a user's applications in the order they came."""
    return [_made(row) for row in await reader.all(_APPLICATIONS, account=account, login=login)]


async def application_of(reader: Reader, login: str, id_: str) -> Application:
    """Find a user's application, or raise ApplicationMissing."""
    row = await reader.one(_APPLICATION, id=_plain(id_), login=login)
    if row is None:
        raise ApplicationMissing
    return _made(row)


async def behind(reader: Reader, found: Credential) -> Application:
    """Give the application that has a credential, whosever it is."""
    return _made(await reader.one(_OF, id=found.application_id))


async def credentials(reader: Reader, login: str, now: int) -> list[Credential]:
    """List the credentials that a user has decided about, in the order they came."""
    return [_credential(row, now) for row in await reader.all(_CREDENTIALS, login=login)]


async def get(reader: Reader, login: str, id_: str, now: int) -> Credential:
    """Find a credential of a user's, or raise CredentialUnknown."""
    row = await reader.one(_CREDENTIAL, login=login, id=_plain(id_))
    if row is None:
        raise CredentialUnknown
    return _credential(row, now)


async def keep_to(
    tx: Tx, account: str, login: str, id_: str, addresses: list[str] | None, origin: Origin
) -> None:
    """Keep a credential to networks, or let it come from anywhere (None); raise CredentialUnknown or RuleInvalid."""
    found = await get(tx, login, id_, tx.at)
    rules = [(one.method, one.path) for one in found.limits.rules]
    limits = Limits.checked(rules, addresses)
    await tx.run(_KEEP_TO, which=found.id, addresses=limits.as_rows()[1])
    await events.record(
        tx, "credential.changed", origin, target=found.id, account=account,
        before=_told(found.limits), after=_told(limits),
    )  # fmt: skip


async def revoke(tx: Tx, account: str, login: str, id_: str, origin: Origin) -> None:
    """End a credential of a user's, or raise CredentialUnknown."""
    found = await get(tx, login, id_, tx.at)
    if not await tx.run(_REVOKE, which=found.id, at=tx.at):
        raise CredentialUnknown
    await events.record(tx, "credential.revoked", origin, target=found.id, account=account)


async def revoke_application(tx: Tx, login: str, id_: str, origin: Origin) -> None:
    """End an application of a user's, and with it every credential that it has; raise ApplicationMissing."""
    found = await application_of(tx, login, id_)
    if not await tx.run(_REVOKE_APPLICATION, which=found.id, at=tx.at):
        raise ApplicationMissing
    await events.record(tx, "application.revoked", origin, target=found.id, account=found.account_id)


def _told(limits: Limits) -> list[str] | None:
    return None if limits.networks is None else [str(one) for one in limits.networks]


def _plain(id_: str) -> str:
    return id_ if id_.isascii() and id_.isprintable() else ""


def _made(row: Any) -> Application:
    status = ACTIVE if row.revoked_at is None else INACTIVE
    return Application(row.id, row.key, row.name, row.description, status, row.account_id)


def _credential(row: Any, now: int) -> Credential:
    over = row.state == VALIDATED and row.expires_at is not None and row.expires_at <= now
    return Credential(
        row.id, row.application_id, EXPIRED if over else row.state, Limits.kept(row.rules, row.allowed_ips),
        row.created_at, row.expires_at, row.last_used_at,
    )  # fmt: skip
