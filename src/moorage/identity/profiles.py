"""What is known of people beside how they sign in: mail address, real name, comment; and the list of them all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select, update

from moorage.db import Statement, pages
from moorage.db.pages import Listing
from moorage.db.tables import user
from moorage.errors import Problem
from moorage.identity.users import UserUnknown

if TYPE_CHECKING:
    from moorage.db import Reader, Tx

LONGEST: Final = 255
LONGEST_COMMENT: Final = 30

_EMAIL = re.compile(r"[^\s<>()\[\]\\.,;:@\"]+(?:\.[^\s<>()\[\]\\.,;:@\"]+)*@(?:[a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}")
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f,"~#%$]')
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")

_COLUMNS = (
    user.c.id, user.c.name, user.c.email, user.c.realname, user.c.comment, user.c.admin,
    user.c.password.is_not(None).label("local"), user.c.created_at, user.c.updated_at,
)  # fmt: skip
_HERE = (user.c.id == bindparam("number"), user.c.deleted_at.is_(None))
_GET = Statement(select(*_COLUMNS).where(*_HERE))
_SAME_EMAIL = Statement(
    select(user.c.id)
    .where(user.c.email == bindparam("email"), user.c.deleted_at.is_(None), user.c.id != bindparam("number"))
    .limit(1)
)
_UPDATE = Statement(
    update(user)
    .where(*_HERE)
    .values(
        email=bindparam("email"),
        realname=bindparam("realname"),
        comment=bindparam("comment"),
        updated_at=bindparam("now"),
    )
)

LISTED: Final = Listing(
    shown=_COLUMNS,
    source=user,
    id=user.c.id,
    where=(user.c.deleted_at.is_(None),),
    keys={
        "user_id": pages.number(user.c.id),
        "username": pages.text(user.c.name),
        "email": pages.text(user.c.email),
        "realname": pages.text(user.c.realname),
        "comment": pages.text(user.c.comment),
        "sysadmin_flag": pages.flag(user.c.admin),
        "creation_time": pages.time(user.c.created_at),
        "update_time": pages.time(user.c.updated_at),
    },
    order=(("username", False),),
)


class ProfileInvalid(Problem):
    """Something in a user's profile breaks a rule."""

    code, status, summary = "BAD_REQUEST", 400, "not a profile that a user can have"


class EmailTaken(Problem):
    """Another user has this mail address."""

    code, status, summary = "CONFLICT", 409, "another user has this mail address"


@dataclass(frozen=True, slots=True)
class Profile:
    """A user, with all that is shown; *local* says that a password of the registry's own signs them in."""

    id: int
    name: str
    email: str
    realname: str
    comment: str
    admin: bool
    local: bool
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Details:
    """What people say of themselves."""

    email: str
    realname: str
    comment: str = ""

    def check(self) -> None:
        """Raise ProfileInvalid, which tells the rule, unless it may be kept."""
        if not self.email:
            raise ProfileInvalid("email can't be empty", field="email")
        if len(self.email) > LONGEST or not _EMAIL.fullmatch(self.email):
            raise ProfileInvalid("email with illegal format", field="email")
        if not 1 <= len(self.realname) <= LONGEST:
            raise ProfileInvalid(f"realname with illegal length: it has 1 to {LONGEST} characters", field="realname")  # fmt: skip
        if _FORBIDDEN.search(self.realname):
            raise ProfileInvalid('realname contains illegal characters: none of , " ~ # % $', field="realname")  # fmt: skip
        if len(self.comment) > LONGEST_COMMENT or _UNPRINTABLE.search(self.comment):
            raise ProfileInvalid(
                f"comment with illegal length: it has at most {LONGEST_COMMENT} printable characters",
                field="comment",
            )


def profile(row: Any) -> Profile:
    """Read a row of the list."""
    return Profile(
        row.id, row.name, row.email or "", row.realname, row.comment, bool(row.admin), bool(row.local),
        row.created_at, row.updated_at or row.created_at,
    )  # fmt: skip


async def get(db: Reader, number: int) -> Profile:
    """Give a user's profile, or raise UserUnknown."""
    row = await db.one(_GET, number=number)
    if row is None:
        raise UserUnknown(f"user with id {number} not found", user=number)
    return profile(row)


async def keep_email_apart(tx: Tx, email: str, *, number: int = 0) -> None:
    """Raise EmailTaken if a user other than this has the mail address."""
    if await tx.one(_SAME_EMAIL, email=email, number=number) is not None:
        raise EmailTaken(f"email {email} already exists", field="email")


async def change(tx: Tx, number: int, details: Details) -> None:
    """Change what a user says of themselves, or raise UserUnknown or EmailTaken."""
    await keep_email_apart(tx, details.email, number=number)
    changed = await tx.run(
        _UPDATE, number=number, email=details.email, realname=details.realname, comment=details.comment,
        now=tx.at,
    )  # fmt: skip
    if not changed:
        raise UserUnknown(f"user with id {number} not found", user=number)
