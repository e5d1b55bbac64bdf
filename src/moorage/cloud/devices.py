"""Browsers that a user has signed in at, and wrong passwords that come for a user, who is told of both.

A browser that showed everything once keeps a cookie of its own. With it a right password waits for nobody, however many wrong ones
come from elsewhere. Mails are written by a worker, which knows their language.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Final

from sqlalchemy import bindparam, case, delete, func, select, update

from moorage.cloud import events, letters, mails
from moorage.cloud.events import SYSTEM, Origin
from moorage.db import Database, Statement, Tx, insert
from moorage.db.platform import account, login
from moorage.db.platform_sign_in import known_device, login_guess
from moorage.outbound.mail import is_address

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
LASTS: Final = 180 * DAY
"""Microseconds without use after which a browser is a stranger."""
MOST: Final = 20
"""How many browsers of a user are known; the one that was not used for longest is forgotten."""
WINDOW: Final = 3600 * SECOND
GUESSES: Final = 10
"""How many wrong passwords in an hour a user is told of, once a day."""
BATCH: Final = 50

_KNOWN = Statement(
    select(known_device.c.last_used_at)
    .join_from(known_device, login, login.c.id == known_device.c.login_id)
    .where(
        known_device.c.hash == bindparam("hash"),
        known_device.c.login_id == bindparam("login"),
        known_device.c.last_used_at > bindparam("since"),
        known_device.c.created_at >= login.c.valid_from,
    )
)
_USE = Statement(
    update(known_device)
    .where(known_device.c.hash == bindparam("which"), known_device.c.login_id == bindparam("login"))
    .values(last_used_at=bindparam("at"))
)
_COUNT = Statement(select(func.count().label("n")).where(known_device.c.login_id == bindparam("login")))
_ADD = Statement(
    insert(known_device).values(
        hash=bindparam("hash"),
        login_id=bindparam("login"),
        created_at=bindparam("at"),
        last_used_at=bindparam("at"),
        address=bindparam("address"),
        agent=bindparam("agent"),
        told_at=bindparam("told"),
    )
)
_DROP_MOST = Statement(
    delete(known_device).where(
        known_device.c.hash.in_(
            select(known_device.c.hash)
            .where(known_device.c.login_id == bindparam("login"))
            .order_by(known_device.c.last_used_at.desc(), known_device.c.hash)
            .offset(bindparam("most"))
            .limit(MOST)
        )
    )
)
_recent = login_guess.c.since > bindparam("from")
_put = insert(login_guess).values(login_id=bindparam("login"), count=1, since=bindparam("at"))
_GUESSED = Statement(
    _put.on_conflict_do_update(
        index_elements=[login_guess.c.login_id],
        set_={
            "count": case((_recent, login_guess.c.count + 1), else_=1),
            "since": case((_recent, login_guess.c.since), else_=_put.excluded.since),
        },
    )
)
_whom = (
    login.c.id.label("login_id"),
    login.c.name,
    login.c.email,
    login.c.account_id,
    account.c.name.label("account_name"),
)
_UNTOLD = Statement(
    select(known_device.c.hash, known_device.c.address, known_device.c.agent, *_whom)
    .join_from(known_device, login, login.c.id == known_device.c.login_id)
    .join(account, account.c.id == login.c.account_id)
    .where(known_device.c.told_at.is_(None))
    .order_by(known_device.c.created_at)
    .limit(BATCH)
)
_TELL = Statement(
    update(known_device)
    .where(known_device.c.hash == bindparam("which"), known_device.c.told_at.is_(None))
    .values(told_at=bindparam("at"))
)
_GUESSED_AT = Statement(
    select(login_guess.c.count, login_guess.c.told_at, *_whom)
    .join_from(login_guess, login, login.c.id == login_guess.c.login_id)
    .join(account, account.c.id == login.c.account_id)
    .where(
        login_guess.c.count >= GUESSES,
        login_guess.c.since > bindparam("from"),
        login_guess.c.told_at < bindparam("before"),
    )
    .limit(BATCH)
)
_TELL_GUESSES = Statement(
    update(login_guess)
    .where(login_guess.c.login_id == bindparam("which"), login_guess.c.told_at == bindparam("seen"))
    .values(told_at=bindparam("at"))
)


async def known(db: Database, login_id: str, token: str) -> bool:
    """Say whether a browser's cookie is one of a user's; a user whom there is not is as much work."""
    since = db.now() - LASTS
    return await db.one(_KNOWN, hash=_hash(token), login=login_id, since=since) is not None


async def remember(tx: Tx, login_id: str, token: str, origin: Origin) -> str:
    """Note that a user has signed in at a browser, and give what its cookie holds: what it held, if the user knows it."""
    row = await tx.one(_KNOWN, hash=_hash(token), login=login_id, since=tx.at - LASTS)
    if row is not None:
        await tx.run(_USE, which=_hash(token), login=login_id, at=tx.at)
        return token
    # Of the first browser there is nothing to tell: nobody has another yet.
    first = not (await tx.one(_COUNT, login=login_id)).n
    new = secrets.token_urlsafe(32)
    await tx.run(
        _ADD, hash=_hash(new), login=login_id, at=tx.at, address=origin.address[:255], agent=origin.agent[:255],
        told=tx.at if first else None,
    )  # fmt: skip
    await tx.run(_DROP_MOST, login=login_id, most=MOST)
    return new


async def guessed(db: Database, login_id: str) -> None:
    """Count a wrong password for a user."""
    now = db.now()
    await db.write(_GUESSED, **{"login": login_id, "at": now, "from": now - WINDOW})


async def tell(db: Database, language: str) -> None:
    """Tell users of browsers that are new to them, and of wrong passwords that came for them, each once."""
    now = db.now()
    for row in await db.all(_UNTOLD):
        await db.change(lambda tx, row=row: _tell_new(tx, row, language))  # type: ignore[misc] # A default is not inferred.
    for row in await db.all(_GUESSED_AT, **{"from": now - WINDOW, "before": now - DAY}):
        await db.change(lambda tx, row=row: _tell_guesses(tx, row, language))  # type: ignore[misc] # A default is not inferred.


async def _tell_new(tx: Tx, row: Any, language: str) -> None:
    # Of several workers that see it, one changes the row.
    if not await tx.run(_TELL, which=row.hash, at=tx.at):
        return
    event = await events.record(
        tx, "user.new-browser", SYSTEM, target=row.login_id, account=row.account_id, address=row.address,
        agent=row.agent,
    )  # fmt: skip
    if is_address(row.email):
        letter = letters.new_browser(f"{row.account_name}/{row.name}", row.agent, row.address, language)
        await mails.enqueue(tx, event, row.email, language, letter)


async def _tell_guesses(tx: Tx, row: Any, language: str) -> None:
    if not await tx.run(_TELL_GUESSES, which=row.login_id, seen=row.told_at, at=tx.at):
        return
    event = await events.record(
        tx, "user.guessed-at", SYSTEM, target=row.login_id, account=row.account_id, count=row.count
    )
    if is_address(row.email):
        letter = letters.guessed_at(f"{row.account_name}/{row.name}", row.count, language)
        await mails.enqueue(tx, event, row.email, language, letter)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
