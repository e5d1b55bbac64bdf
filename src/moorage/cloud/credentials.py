"""Applications and the credentials that their callers sign with: asked for, validated by a user, used, revoked.

An application asks for a consumer key that is limited to some calls; a user who signs in lets it have it, or does not. From
then on the application acts as that user. The consumer key is kept as its hash; the application's secret is wrapped, since
each request's signature is computed with it.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, update
from typing_extensions import override

from moorage.cloud import events
from moorage.cloud.callers import Caller, Kind
from moorage.cloud.events import Origin
from moorage.cloud.logins import Login
from moorage.cloud.rules import Limits
from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.platform import account, application, credential, login, signature_seen
from moorage.errors import Problem
from moorage.identity.keys import MasterKey, Wrapped

PENDING, VALIDATED, REFUSED, REVOKED = "pendingValidation", "validated", "refused", "revoked"
SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
UNDECIDED: Final = DAY
"""Microseconds in which a user must decide about a credential."""
MOST_UNDECIDED: Final = 100
REPEATED: Final = 10 * SECOND
"""Who asks the same twice in a second signs the same: a call that changes nothing may be repeated for so long."""
USE_NOTED: Final = 60 * SECOND
LONGEST_TEXT: Final = 255
PLACE: Final = "platform"

_LETTERS: Final = string.ascii_letters + string.digits
_KEY, _SECRET = 16, 32

_ADD_APPLICATION = Statement(
    insert(application).values(
        id=bindparam("id"),
        account_id=bindparam("account"),
        login_id=bindparam("login"),
        key=bindparam("key"),
        secret=bindparam("secret"),
        master=bindparam("master"),
        name=bindparam("name"),
        description=bindparam("description"),
        created_at=bindparam("at"),
    )
)
_OTHERS = Statement(
    select(application.c.id, application.c.secret, application.c.master)
    .where(application.c.master != bindparam("name"))
    .limit(bindparam("most"))
)
_COUNT = Statement(select(func.count().label("n")).where(application.c.master != bindparam("name")))
_REWRAP = Statement(
    update(application)
    .where(application.c.id == bindparam("which"))
    .values(secret=bindparam("wrapped"), master=bindparam("name"))
)
_APPLICATION = Statement(
    select(application.c.id, application.c.account_id, application.c.name).where(
        application.c.key == bindparam("key"), application.c.revoked_at.is_(None)
    )
)
_REVOKE_APPLICATION = Statement(
    update(application)
    .where(
        application.c.id == bindparam("id"),
        application.c.account_id == bindparam("account"),
        application.c.revoked_at.is_(None),
    )
    .values(revoked_at=bindparam("at"))
)
_ADD = Statement(
    insert(credential).values(
        id=bindparam("id"),
        application_id=bindparam("application"),
        login_id=bindparam("login"),
        hash=bindparam("hash"),
        state=bindparam("state"),
        rules=bindparam("rules"),
        allowed_ips=bindparam("addresses"),
        redirection=bindparam("redirection"),
        created_at=bindparam("at"),
        validated_at=bindparam("validated"),
        expires_at=bindparam("expires"),
    )
)
_UNDECIDED = Statement(
    select(func.count().label("count")).where(
        credential.c.application_id == bindparam("application"),
        credential.c.state == PENDING,
        credential.c.created_at > bindparam("after"),
    )
)
_DROP_UNDECIDED = Statement(
    delete(credential).where(
        credential.c.application_id == bindparam("application"),
        credential.c.state == PENDING,
        credential.c.created_at <= bindparam("after"),
    )
)
_FIND = Statement(
    select(
        credential.c.id,
        credential.c.state,
        credential.c.rules,
        credential.c.allowed_ips,
        credential.c.created_at,
        credential.c.validated_at,
        credential.c.last_used_at,
        credential.c.expires_at,
        credential.c.redirection,
        application.c.id.label("application_id"),
        application.c.key,
        application.c.name.label("application_name"),
        application.c.description,
        application.c.secret,
        application.c.master,
        application.c.revoked_at,
        login.c.id.label("login_id"),
        login.c.name.label("login_name"),
        login.c.disabled,
        login.c.valid_from,
        account.c.id.label("account_id"),
        account.c.name.label("account_name"),
        account.c.state.label("account_state"),
    )
    .join_from(credential, application, credential.c.application_id == application.c.id)
    .join(login, credential.c.login_id == login.c.id, isouter=True)
    .join(account, login.c.account_id == account.c.id, isouter=True)
    .where(credential.c.hash == bindparam("hash"), application.c.key == bindparam("key"))
)
_ASKED = Statement(
    select(
        credential.c.id,
        credential.c.state,
        credential.c.rules,
        credential.c.allowed_ips,
        credential.c.redirection,
        credential.c.created_at,
        application.c.name.label("application_name"),
        application.c.description,
    )
    .join_from(credential, application, credential.c.application_id == application.c.id)
    .where(credential.c.id == bindparam("id"), application.c.revoked_at.is_(None))
)
_DECIDE = Statement(
    update(credential)
    .where(
        credential.c.id == bindparam("id"),
        credential.c.state == PENDING,
        credential.c.created_at > bindparam("after"),
    )
    .values(
        state=bindparam("decided"),
        login_id=bindparam("login"),
        validated_at=bindparam("at"),
        expires_at=bindparam("expires"),
    )
)
_REVOKE = Statement(
    update(credential)
    .where(credential.c.id == bindparam("id"), credential.c.state == VALIDATED)
    .values(state=REVOKED, revoked_at=bindparam("at"))
)
_USED = Statement(
    update(credential).where(credential.c.id == bindparam("id")).values(last_used_at=bindparam("at"))
)
_SEE = Statement(
    insert(signature_seen)
    .values(credential_id=bindparam("id"), hash=bindparam("hash"), at=bindparam("at"))
    .on_conflict_do_nothing(index_elements=[signature_seen.c.credential_id, signature_seen.c.hash])
)
_SEEN = Statement(
    select(signature_seen.c.at).where(
        signature_seen.c.credential_id == bindparam("id"), signature_seen.c.hash == bindparam("hash")
    )
)
_FORGET = Statement(delete(signature_seen).where(signature_seen.c.at < bindparam("before")))


class ApplicationUnknown(Problem):
    """There is no such application, or it was revoked."""

    code, status, summary = "INVALID_KEY", 403, "this application key is not known, or was revoked"


class CredentialInvalid(Problem):
    """There is no such credential of the application, or it is good for nothing now."""

    code, status, summary = "INVALID_CREDENTIAL", 403, "this credential is not valid"


class SignatureReplayed(Problem):
    """The same signed request came before."""

    code, status, summary = "QUERY_REPLAYED", 403, "this very request was made before"


class CredentialsExceeded(Problem):
    """An application asked for more credentials than users can decide about."""

    code, status, summary = "TOOMANYREQUESTS", 429, "too many credentials wait for a user's decision"


class RequestUnknown(Problem):
    """There is no such request for a credential, or it is decided or too old."""

    code, status, summary = (
        "NOT_FOUND",
        404,
        "there is no such request for access, or it is decided or too old",
    )


@dataclass(frozen=True, slots=True)
class NewApplication:
    """An application that was made just now; its secret is not shown again."""

    id: str
    key: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Requested:
    """A credential that waits for a user's decision."""

    id: str
    consumer_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user has to decide about."""

    id: str
    application: str
    description: str
    limits: Limits
    redirection: str | None
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential(Caller):
    """A credential as it was found: whose it is, and what it is limited to. It may be good for nothing: see `check`."""

    kind: Kind = Kind.APPLICATION
    works: bool
    secret: str = field(repr=False)

    @override
    def check(self, now: int) -> None:
        """Raise ApplicationUnknown or CredentialInvalid unless the credential may be used now."""
        if self.state == VALIDATED and self.works and self.login_id is not None:
            if self.expires_at is None or now < self.expires_at:
                return
            raise CredentialInvalid("this credential has expired: ask for another with POST /auth/credential")
        if self.state == PENDING:
            raise CredentialInvalid("this credential waits for a user to open its validationUrl and allow it")
        raise CredentialInvalid(
            "this credential was refused or revoked, or its user may not sign in any more"
        )


async def create_application(
    tx: Tx, master: MasterKey, *, account: str, login: str, name: str, description: str = ""
) -> NewApplication:
    """Make an application of a user; its secret is given this once. Who makes it for somebody writes the event."""
    made = NewApplication(str(uuid.uuid4()), _random(_KEY), _random(_SECRET))
    wrapped = master.wrap(made.secret.encode(), registry=PLACE, purpose=_purpose(made.id))
    await tx.run(
        _ADD_APPLICATION, id=made.id, account=account, login=login, key=made.key, secret=wrapped,
        master=master.name, name=name, description=description, at=tx.at,
    )  # fmt: skip
    return made


async def revoke_application(tx: Tx, account: str, id_: str, origin: Origin) -> None:
    """End an application, and with it all its credentials; raise ApplicationUnknown."""
    if not await tx.run(_REVOKE_APPLICATION, id=id_, account=account, at=tx.at):
        raise ApplicationUnknown
    await events.record(tx, "application.revoked", origin, target=id_, account=account)


async def request(tx: Tx, key: str, limits: Limits, redirection: str | None) -> Requested:
    """Ask for a credential, or raise ApplicationUnknown or CredentialsExceeded."""
    found = await tx.one(_APPLICATION, key=key)
    if found is None:
        raise ApplicationUnknown
    since = tx.at - UNDECIDED
    await tx.run(_DROP_UNDECIDED, application=found.id, after=since)
    waiting = await tx.one(_UNDECIDED, application=found.id, after=since)
    if waiting.count >= MOST_UNDECIDED:
        raise CredentialsExceeded(
            f"{waiting.count} credentials of this application wait for a decision", retry_after=3600
        )
    made = Requested(str(uuid.uuid4()), _random(_SECRET))
    await _add(tx, made, found.id, limits, redirection=redirection)
    return made


async def create_validated(
    tx: Tx, application: str, login: str, limits: Limits, *, expires_at: int | None = None
) -> str:
    """Make a credential that a user has allowed already, and give its consumer key this once."""
    made = Requested(str(uuid.uuid4()), _random(_SECRET))
    await _add(tx, made, application, limits, login=login, expires_at=expires_at)
    return made.consumer_key


async def _add(
    tx: Tx, made: Requested, application_id: str, limits: Limits, *,
    login: str | None = None, redirection: str | None = None, expires_at: int | None = None,
) -> None:  # fmt: skip
    rules, addresses = limits.as_rows()
    await tx.run(
        _ADD, id=made.id, application=application_id, login=login, hash=_hash(made.consumer_key),
        state=VALIDATED if login else PENDING, rules=rules, addresses=addresses, redirection=redirection,
        at=tx.at, validated=tx.at if login else None, expires=expires_at,
    )  # fmt: skip


async def find(db: Reader, master: MasterKey, key: str, consumer_key: str) -> Credential:
    """Find an application's credential whatever its state, or raise ApplicationUnknown or CredentialInvalid."""
    row = await db.one(_FIND, hash=_hash(consumer_key), key=key)
    if row is None:
        if await db.one(_APPLICATION, key=key) is None:
            raise ApplicationUnknown
        raise CredentialInvalid("this application has no such credential")
    if row.revoked_at is not None:
        raise ApplicationUnknown
    secret = master.unwrap(row.secret, name=row.master, registry=PLACE, purpose=_purpose(row.application_id))
    return Credential(
        id=row.id,
        state=row.state,
        limits=Limits.kept(row.rules, row.allowed_ips),
        application_id=row.application_id,
        application_name=row.application_name,
        description=row.description,
        login_id=row.login_id,
        login_name=row.login_name or "",
        account_id=row.account_id or "",
        account_name=row.account_name or "",
        works=_works(row),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        secret=secret.decode(),
    )


async def use(db: Database, found: Caller, signature: bytes, *, changes: bool, clock_skew: int) -> None:
    """Note that a credential is used with this signature, or raise SignatureReplayed.

    What *changes* something is good once. Signatures are kept for as long as the allowed difference of clocks, in
    microseconds, lets their time pass.
    """
    now = db.now()
    if not await db.write(_SEE, id=found.id, hash=signature, at=now):
        first = await db.one(_SEEN, id=found.id, hash=signature)
        if changes or first is None or now - first.at > REPEATED:
            raise SignatureReplayed(
                "this very request was made before, and is not done again: sign it anew, a second later"
            )
    if now - (found.last_used_at or 0) > USE_NOTED:
        await db.write(_USED, id=found.id, at=now)
        await db.write(_FORGET, before=now - 2 * clock_skew)


async def asked(db: Reader, id_: str, now: int) -> Asked:
    """Give what a user has to decide about, or raise RequestUnknown."""
    row = await db.one(_ASKED, id=id_)
    if row is None or row.state != PENDING or row.created_at <= now - UNDECIDED:
        raise RequestUnknown
    limits = Limits.kept(row.rules, row.allowed_ips)
    return Asked(row.id, row.application_name, row.description, limits, row.redirection, row.created_at)


async def decide(
    tx: Tx, id_: str, user: Login, *, allow: bool, expires_at: int | None, origin: Origin
) -> None:
    """Let an application have the credential that it asked for, or not; raise RequestUnknown."""
    decided = VALIDATED if allow else REFUSED
    done = await tx.run(
        _DECIDE, id=id_, decided=decided, login=user.id, at=tx.at, expires=expires_at, after=tx.at - UNDECIDED
    )
    if not done:
        raise RequestUnknown
    await events.record(
        tx, f"credential.{decided}", origin, target=id_, account=user.account_id, expires_at=expires_at
    )


async def revoke(tx: Tx, found: Caller, origin: Origin) -> None:
    """End a credential; it is refused from the next request on. Raise CredentialInvalid if it is none any more."""
    if not await tx.run(_REVOKE, id=found.id, at=tx.at):
        raise CredentialInvalid
    await events.record(tx, "credential.revoked", origin, target=found.id, account=found.account_id)


def _works(row: Any) -> bool:
    """Say whether the credential's user may still sign in, and has not ended what began before."""
    if row.login_id is None or row.disabled or row.account_state != "ACTIVE":
        return False
    return bool(row.validated_at is not None and row.validated_at >= row.valid_from)


def _hash(consumer_key: str) -> bytes:
    # The key is random, so nothing slower is needed.
    return hashlib.sha256(consumer_key.encode("utf-8", "surrogatepass")).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def _purpose(application_id: str) -> str:
    return f"application secret {application_id}"


APPLICATIONS: Final = Wrapped(_OTHERS, _COUNT, _REWRAP, _purpose)
