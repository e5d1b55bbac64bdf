"""Sessions of users at a browser: begun with a password and a code, good at one address of one part of Moorage, and ended.

The cookie is random and kept as a hash. A browser sends cookies to every port of a host, and to hosts beside it if told to: so the
row holds where the session was begun (its audience), and elsewhere it is none. It ends after half an hour without use, after
twelve hours, when it is ended, and with whatever ends its user's credentials.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update

from moorage.cloud import events
from moorage.cloud.callers import Caller, Kind
from moorage.cloud.events import Origin
from moorage.cloud.logins import Login
from moorage.cloud.rules import EVERYTHING, Limits
from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.platform import account, login
from moorage.db.platform_sign_in import browser_session
from moorage.errors import Problem

SECOND: Final = 1_000_000
IDLE: Final = 1800 * SECOND
LONGEST: Final = 12 * 3600 * SECOND
FRESH: Final = 600 * SECOND
"""Microseconds for which a user who has shown everything may do what is dangerous."""
USE_NOTED: Final = 60 * SECOND
KEPT: Final = 30 * 86_400 * SECOND
"""Microseconds for which ended sessions are still listed with their addresses."""
MOST: Final = 100
WORKING: Final = "validated"

_LIVING = (
    browser_session.c.ended_at.is_(None),
    browser_session.c.expires_at > bindparam("now"),
    browser_session.c.last_used_at > bindparam("since"),
    browser_session.c.created_at >= login.c.valid_from,
    login.c.disabled == 0,
    account.c.state == "ACTIVE",
)
_whole = (
    select(
        browser_session,
        login.c.name.label("login_name"),
        account.c.id.label("account_id"),
        account.c.name.label("account_name"),
    )
    .join_from(browser_session, login, login.c.id == browser_session.c.login_id)
    .join(account, account.c.id == login.c.account_id)
)
_FIND = Statement(
    _whole.where(
        browser_session.c.hash == bindparam("hash"),
        browser_session.c.audience == bindparam("audience"),
        *_LIVING,
    )
)
_OF_USER = Statement(
    _whole.where(browser_session.c.login_id == bindparam("login"), *_LIVING)
    .order_by(browser_session.c.created_at.desc(), browser_session.c.id)
    .limit(MOST)
)
_ADD = Statement(
    insert(browser_session).values(
        id=bindparam("id"),
        login_id=bindparam("login"),
        hash=bindparam("hash"),
        audience=bindparam("audience"),
        created_at=bindparam("at"),
        proved_at=bindparam("proved"),
        last_used_at=bindparam("at"),
        expires_at=bindparam("expires"),
        address=bindparam("address"),
        agent=bindparam("agent"),
    )
)
_USED = Statement(
    update(browser_session)
    .where(browser_session.c.id == bindparam("which"))
    .values(last_used_at=bindparam("at"))
)
_PROVED = Statement(
    update(browser_session)
    .where(browser_session.c.id == bindparam("which"), browser_session.c.ended_at.is_(None))
    .values(hash=bindparam("renewed"), proved_at=bindparam("at"), last_used_at=bindparam("at"))
)
_END = Statement(
    update(browser_session)
    .where(
        browser_session.c.login_id == bindparam("login"),
        browser_session.c.id == bindparam("which"),
        browser_session.c.ended_at.is_(None),
    )
    .values(ended_at=bindparam("at"))
)
_END_OTHERS = Statement(
    update(browser_session)
    .where(
        browser_session.c.login_id == bindparam("login"),
        browser_session.c.id != bindparam("kept"),
        browser_session.c.ended_at.is_(None),
    )
    .values(ended_at=bindparam("at"))
)
_DROP_OLD = Statement(
    delete(browser_session).where(
        browser_session.c.login_id == bindparam("login"), browser_session.c.expires_at < bindparam("before")
    )
)


class SessionInvalid(Problem):
    """There is no such session at this address, or it has ended."""

    code, status, summary = (
        "INVALID_CREDENTIAL",
        401,
        "this session has ended, or is none at this address: sign in again",
    )


class SessionUnknown(Problem):
    """The user has no such session."""

    code, status, summary = "NOT_FOUND", 404, "you have no such session"


class ProofNeeded(Problem):
    """What is dangerous takes the password, and the code, once more."""

    code, status, summary = (
        "FORBIDDEN",
        403,
        "this takes your password once more: sign in again at /auth/login, and repeat it within ten minutes",
    )


@dataclass(frozen=True, slots=True)
class Session:
    """A session, and whose it is."""

    id: str
    caller: Caller
    address: str
    agent: str

    @property
    def user(self) -> Login:
        """Give the user whose it is."""
        who = self.caller
        return Login(who.login_id or "", who.account_id, who.login_name, who.account_name, "")


def check_proof(who: Caller, now: int) -> None:
    """Raise ProofNeeded unless a caller at a browser has shown everything lately."""
    if who.proved_at is not None and now - who.proved_at > FRESH:
        raise ProofNeeded


async def begin(tx: Tx, user: Login, audience: str, origin: Origin, *, proved_at: int | None = None) -> str:
    """Begin a session of a user who has shown everything, now or at *proved_at*, and give what its cookie holds, this once."""
    token, id_ = secrets.token_urlsafe(32), str(uuid.uuid4())
    await tx.run(_DROP_OLD, login=user.id, before=tx.at - KEPT)
    await tx.run(
        _ADD, id=id_, login=user.id, hash=_hash(token), audience=audience, at=tx.at, expires=tx.at + LONGEST,
        proved=tx.at if proved_at is None else min(proved_at, tx.at), address=origin.address[:255], agent=origin.agent[:255],
    )  # fmt: skip
    await events.record(tx, "session.begun", origin, target=id_, account=user.account_id, user=user.id)
    return token


async def find(db: Database, token: str, audience: str) -> Session:
    """Give the session of a cookie where it was begun, or raise SessionInvalid."""
    now = db.now()
    row = await db.one(_FIND, hash=_hash(token), audience=audience, now=now, since=now - IDLE)
    if row is None:
        raise SessionInvalid
    if now - row.last_used_at > USE_NOTED:
        await db.write(_USED, which=row.id, at=now)
    return _session(row)


async def listed(reader: Reader, login_id: str, now: int) -> list[Session]:
    """List a user's sessions that have not ended, the latest first."""
    rows = await reader.all(_OF_USER, login=login_id, now=now, since=now - IDLE)
    return [_session(row) for row in rows]


async def prove(tx: Tx, found: Session, origin: Origin) -> str:
    """Note that a user has shown everything once more, and give the cookie that the session has from now on."""
    token = secrets.token_urlsafe(32)
    if not await tx.run(_PROVED, which=found.id, renewed=_hash(token), at=tx.at):
        raise SessionInvalid
    await events.record(tx, "session.proved", origin, target=found.id, account=found.caller.account_id)
    return token


async def end(tx: Tx, login_id: str, id_: str, account_id: str, origin: Origin) -> None:
    """End a user's session, or raise SessionUnknown."""
    if not await tx.run(_END, login=login_id, which=id_, at=tx.at):
        raise SessionUnknown
    await events.record(tx, "session.ended", origin, target=id_, account=account_id, user=login_id)


async def end_others(tx: Tx, login_id: str, kept: str, account_id: str, origin: Origin) -> None:
    """End every session of a user but one."""
    count = await tx.run(_END_OTHERS, login=login_id, kept=kept, at=tx.at)
    await events.record(tx, "session.others-ended", origin, target=login_id, account=account_id, count=count)


def guard(token: str) -> str:
    """Give what a page of a session sends with its forms and calls, which no other page can know."""
    return hmac.new(token.encode(), b"moorage form", hashlib.sha256).hexdigest()


def _session(row: Any) -> Session:
    caller = Caller(
        kind=Kind.SESSION,
        id=row.id,
        state=WORKING,
        limits=Limits(EVERYTHING),
        application_id="",
        application_name="",
        description="",
        login_id=row.login_id,
        login_name=row.login_name,
        account_id=row.account_id,
        account_name=row.account_name,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        proved_at=row.proved_at,
    )
    return Session(row.id, caller, row.address, row.agent)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
