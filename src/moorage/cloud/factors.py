"""What a user shows beside the password: a code of RFC 6238 that changes every half minute, or one of ten recovery codes.

Guessing is slowed for a user whose codes were wrong lately. Nobody is locked out by it: only who knows the password comes so far,
and recovery codes, which cannot be guessed, are never put off.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import bindparam, delete, func, select, update

from moorage.cloud import events, logins
from moorage.cloud.events import Origin
from moorage.cloud.logins import Login
from moorage.db import Database, Reader, Statement, Tx, insert
from moorage.db.platform_sign_in import recovery_code, second_factor
from moorage.errors import Problem
from moorage.identity.keys import MasterKey, Wrapped
from moorage.identity.passwords import Passwords

PLACE: Final = "platform"
SECOND: Final = 1_000_000
STEP: Final = 30
DIGITS: Final = 6
ISSUER: Final = "Moorage"
RECOVERY_CODES: Final = 10
FREE: Final = 5
"""How many wrong codes in a row are answered at once."""
WAIT: Final = 30
LONGEST_WAIT: Final = 300
"""Seconds: three codes in five minutes are one chance in years."""

_CODE = re.compile(r"[0-9]{6}")
_RECOVERY = re.compile(r"[a-z2-7]{16}")
_of_login = (second_factor.c.login_id == bindparam("login"), second_factor.c.kind == "totp")
_FIND = Statement(select(second_factor).where(*_of_login))
_ADD = Statement(
    insert(second_factor).values(
        id=bindparam("id"),
        login_id=bindparam("login"),
        secret=bindparam("secret"),
        master=bindparam("master"),
        created_at=bindparam("at"),
    )
)
_CONFIRM = Statement(update(second_factor).where(*_of_login).values(confirmed_at=bindparam("at")))
_TAKE = Statement(
    update(second_factor)
    .where(*_of_login, second_factor.c.step < bindparam("taken"))
    .values(step=bindparam("taken"), failures=0)
)
_FAIL = Statement(
    update(second_factor)
    .where(*_of_login)
    .values(failures=second_factor.c.failures + 1, failed_at=bindparam("at"))
)
_DROP = Statement(delete(second_factor).where(second_factor.c.login_id == bindparam("login")))
_ADD_CODE = Statement(
    insert(recovery_code).values(
        login_id=bindparam("login"), hash=bindparam("hash"), created_at=bindparam("at")
    )
)
_USE_CODE = Statement(
    delete(recovery_code).where(
        recovery_code.c.login_id == bindparam("login"), recovery_code.c.hash == bindparam("hash")
    )
)
_COUNT_CODES = Statement(
    select(func.count().label("n")).where(recovery_code.c.login_id == bindparam("login"))
)
_DROP_CODES = Statement(delete(recovery_code).where(recovery_code.c.login_id == bindparam("login")))
_OTHERS = Statement(
    select(second_factor.c.id, second_factor.c.secret, second_factor.c.master)
    .where(second_factor.c.master != bindparam("name"))
    .limit(bindparam("most"))
)
_COUNT = Statement(select(func.count().label("n")).where(second_factor.c.master != bindparam("name")))
_REWRAP = Statement(
    update(second_factor)
    .where(second_factor.c.id == bindparam("which"))
    .values(secret=bindparam("wrapped"), master=bindparam("name"))
)


class CodeNeeded(Problem):
    """The password is right, and a code has to come with it."""

    code, status, summary = (
        "UNAUTHORIZED",
        401,
        "code: the code of your authenticator, or a recovery code, is needed too",
    )


class CodeWrong(Problem):
    """The code is not the one of this moment, or was used before."""

    code, status, summary = (
        "UNAUTHORIZED",
        401,
        "code: is not the one of this moment, or was used before: wait for the next",
    )


class CodesSlowed(Problem):
    """Too many codes were wrong in a row."""

    code, status, summary = (
        "TOOMANYREQUESTS",
        429,
        "too many wrong codes: wait a little, or use a recovery code",
    )


class FactorExists(Problem):
    """The user has a second factor already."""

    code, status, summary = "CONFLICT", 409, "you have a second factor already: delete it first"


class FactorUnknown(Problem):
    """The user has no second factor, or has begun with none."""

    code, status, summary = "NOT_FOUND", 404, "there is no second factor of yours"


@dataclass(frozen=True, slots=True)
class Begun:
    """A second factor that is asked for once its first code has come; its key is shown this once."""

    key: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a user has a second factor, and how many recovery codes are left."""

    confirmed_at: int | None
    recovery_codes: int


async def standing(reader: Reader, login: str) -> Standing:
    """Tell of a user's second factor."""
    row = await reader.one(_FIND, login=login)
    left = (await reader.one(_COUNT_CODES, login=login)).n
    return Standing(None if row is None else row.confirmed_at, left)


async def begin(tx: Tx, master: MasterKey, login: str, name: str) -> Begun:
    """Make a key for a user's authenticator, in place of one that was never confirmed; raise FactorExists."""
    row = await tx.one(_FIND, login=login)
    if row is not None and row.confirmed_at is not None:
        raise FactorExists
    await tx.run(_DROP, login=login)
    key, id_ = secrets.token_bytes(20), str(uuid.uuid4())
    wrapped = master.wrap(key, registry=PLACE, purpose=_purpose(id_))
    await tx.run(_ADD, id=id_, login=login, secret=wrapped, master=master.name, at=tx.at)
    return Begun(base64.b32encode(key).decode(), _totp(key).get_provisioning_uri(name, ISSUER))


async def confirm(
    tx: Tx, master: MasterKey, login: str, code: str, account: str, origin: Origin
) -> list[str]:
    """Ask for codes from now on, if the first is right, and give recovery codes, this once; raise CodeWrong or FactorUnknown."""
    row = await tx.one(_FIND, login=login)
    if row is None:
        raise FactorUnknown
    if row.confirmed_at is not None:
        raise FactorExists
    step = _step(master, row, code, tx.at)
    if step is None:
        raise CodeWrong
    await tx.run(_CONFIRM, login=login, at=tx.at)
    await tx.run(_TAKE, login=login, taken=step)
    codes = [base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)]
    await tx.run(_DROP_CODES, login=login)
    await tx.many(_ADD_CODE, [{"login": login, "hash": _hash(one), "at": tx.at} for one in codes])
    await events.record(tx, "user.second-factor-added", origin, target=login, account=account)
    return ["-".join(one[place : place + 4] for place in range(0, 16, 4)) for one in codes]


async def drop(tx: Tx, login: str, account: str, origin: Origin) -> None:
    """Ask a user for no codes any more, or raise FactorUnknown."""
    if not await tx.run(_DROP, login=login):
        raise FactorUnknown
    await tx.run(_DROP_CODES, login=login)
    await events.record(tx, "user.second-factor-removed", origin, target=login, account=account)


async def check(db: Database, master: MasterKey, login: str, code: str, account: str, origin: Origin) -> None:
    """Take a code of a user who has a second factor; raise CodeNeeded, CodeWrong or CodesSlowed."""
    row = await db.one(_FIND, login=login)
    if row is None or row.confirmed_at is None:
        return
    given = code.replace(" ", "").replace("-", "").lower()
    if not given:
        raise CodeNeeded
    if _RECOVERY.fullmatch(given) is not None:
        used = await db.change(lambda tx: _use(tx, login, given, account, origin))
        if used:
            return
    now = db.now()
    _check_pace(row, now)
    step = _step(master, row, given, now)
    if step is not None and await db.write(_TAKE, login=login, taken=step):
        return
    await db.write(_FAIL, login=login, at=now)
    await events.deny(db, "user.sign-in", origin, rule="wrong code", target=login, account=account)
    raise CodeWrong


async def sign_in(
    db: Database, master: MasterKey, passwords: Passwords, name: str, password: str, code: str, origin: Origin, *,
    device: str = "",
) -> Login:  # fmt: skip
    """Give the user of this name, password and, if they have a second factor, code.

    Raises SignInRefused or TooManyRequests, and only to who knows the password CodeNeeded, CodeWrong or CodesSlowed.
    """
    found = await logins.sign_in(db, passwords, name, password, origin, device=device)
    await check(db, master, found.id, code, found.account_id, origin)
    return found


async def _use(tx: Tx, login: str, code: str, account: str, origin: Origin) -> bool:
    """Take a recovery code, which is good once."""
    if not await tx.run(_USE_CODE, login=login, hash=_hash(code)):
        return False
    left = (await tx.one(_COUNT_CODES, login=login)).n
    await events.record(tx, "user.recovery-code-used", origin, target=login, account=account, left=left)
    return True


def _check_pace(row: Any, now: int) -> None:
    if row.failures < FREE:
        return
    wait = min(WAIT * 2 ** min(row.failures - FREE, 8), LONGEST_WAIT)
    left = row.failed_at + wait * SECOND - now
    if left > 0:
        raise CodesSlowed(retry_after=-(-left // SECOND))


def _step(master: MasterKey, row: Any, code: str, now: int) -> int | None:
    """Give the interval of a right code that was not used: this one's, or the one before or after for slow clocks and fingers."""
    if not _CODE.fullmatch(code):
        return None
    key = master.unwrap(row.secret, name=row.master, registry=PLACE, purpose=_purpose(row.id))
    totp, here = _totp(key), now // SECOND // STEP
    found = None
    for step in (here - 1, here, here + 1):
        if hmac.compare_digest(totp.generate(step * STEP), code.encode()) and step > row.step:
            found = step
    return found


def _totp(key: bytes) -> TOTP:
    # SHA-1 is what every authenticator knows; HMAC with it is sound.
    return TOTP(key, DIGITS, SHA1(), STEP)  # noqa: S303 - as above.


def _hash(code: str) -> bytes:
    # 80 random bits, so nothing slower is needed.
    return hashlib.sha256(code.encode()).digest()


def _purpose(id_: str) -> str:
    return f"second factor {id_}"


FACTORS: Final = Wrapped(_OTHERS, _COUNT, _REWRAP, _purpose)
