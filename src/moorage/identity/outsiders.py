"""People for whom somebody else vouches: an OpenID provider, or an LDAP server.

Who somebody is, the issuer's name and the subject that it gives say, and nothing else. A name or a mail address that it tells makes
nobody anybody's account, and what it tells anew renames nobody. At each sign-in people get the groups of their source that it tells
of, and leave the others; and whoever is in the group of administrators is one as long as they are in it. An administrator whom a
person has made stays one, whatever a group says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import bindparam, delete, select, update

from moorage.db import Statement, insert, one_of
from moorage.db.tables import user, user_group, user_group_member, user_identity
from moorage.identity import members, profiles, users
from moorage.identity.profiles import Details

if TYPE_CHECKING:
    from moorage.db import Reader, Tx

MOST_GROUPS: Final = 500
LONGEST_GROUP: Final = 255

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_KEPT = (
    user_identity.c.issuer,
    user_identity.c.subject,
    user_identity.c.user_id,
    user_identity.c.created_at,
    user_identity.c.claims,
)
_FIND = Statement(
    select(*_KEPT, user.c.name, user.c.admin, user.c.disabled)
    .join_from(user_identity, user, user.c.id == user_identity.c.user_id)
    .where(
        user_identity.c.issuer == bindparam("issuer"),
        user_identity.c.subject == bindparam("subject"),
        user.c.deleted_at.is_(None),
    )
)
_OF_USER = Statement(
    select(*_KEPT)
    .where(user_identity.c.user_id == bindparam("user"))
    .order_by(user_identity.c.created_at.desc())
)
_add = insert(user_identity).values(
    issuer=bindparam("issuer"), subject=bindparam("subject"), user_id=bindparam("user"),
    created_at=bindparam("at"), claims=bindparam("claims"),
)  # fmt: skip
# An account that is gone leaves who it was to the next.
_ADD = Statement(
    _add.on_conflict_do_update(
        index_elements=[user_identity.c.issuer, user_identity.c.subject],
        set_={name: _add.excluded[name] for name in ("user_id", "created_at", "claims")},
    )
)
_KEEP = Statement(
    update(user_identity)
    .where(
        user_identity.c.issuer == bindparam("named"),
        user_identity.c.subject == bindparam("whom"),
        user_identity.c.user_id == bindparam("user"),
    )
    .values(claims=bindparam("claims"))
)
_FORGET = Statement(delete(user_identity).where(user_identity.c.user_id == bindparam("user")))
_GROUPS = Statement(
    select(user_group.c.id, user_group.c.external).where(
        user_group.c.source == bindparam("source"),
        user_group.c.deleted_at.is_(None),
        one_of(user_group.c.external, "externals"),
    )
)
_JOINED = Statement(
    select(user_group.c.id)
    .join_from(user_group_member, user_group, user_group.c.id == user_group_member.c.group_id)
    .where(
        user_group_member.c.user_id == bindparam("user"),
        user_group.c.source == bindparam("source"),
        user_group.c.deleted_at.is_(None),
    )
)


class Kept(msgspec.Struct, omit_defaults=True):
    """What is kept with an identity: times are microseconds; the secret is a hash that names its scheme."""

    by_group: bool = False
    """Whether the group of administrators has made the account one, and takes it again."""
    signed_in_at: int = 0
    cli_secret: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an account is elsewhere."""

    issuer: str
    subject: str
    user_id: int
    created_at: int
    kept: Kept = field(repr=False)

    @property
    def is_oidc(self) -> bool:
        """Say whether an OpenID provider vouches: it is called by its address."""
        return self.issuer.startswith(("https://", "http://"))


@dataclass(frozen=True, slots=True)
class Vouched:
    """A person as an issuer tells of them: issuer and subject alone say who it is.

    ``groups`` are what the issuer calls each, with the name that it is shown by.
    """

    issuer: str
    subject: str
    source: str
    called: str
    email: str = ""
    realname: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    admin: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """The account that somebody has, and what their groups have changed of it."""

    id: int
    name: str
    disabled: bool
    was_admin: bool
    admin: bool


async def find(reader: Reader, issuer: str, subject: str) -> Identity | None:
    """Find the account that somebody has who is called so by an issuer."""
    row = await reader.one(_FIND, issuer=issuer, subject=subject)
    return None if row is None else _identity(row)


async def of_user(reader: Reader, number: int) -> Identity | None:
    """Give who a user is elsewhere, if anybody vouches for them."""
    rows = await reader.all(_OF_USER, user=number)
    return _identity(rows[0]) if rows else None


async def onboard(tx: Tx, vouched: Vouched, name: str, comment: str = "") -> int:
    """Make the account of somebody who has none, and give its number; raise UserNameInvalid or UserExists."""
    known = await find(tx, vouched.issuer, vouched.subject)
    if known is not None:
        return known.user_id
    email, realname = await _details(tx, vouched, name)
    number = await users.create(tx, name=name, password=None, email=email, realname=realname, comment=comment)
    await tx.run(
        _ADD, issuer=vouched.issuer, subject=vouched.subject, user=number, at=tx.at, claims=_text(Kept())
    )
    return number


async def refresh(tx: Tx, vouched: Vouched) -> Found | None:
    """Give the account of somebody who signs in, its groups and rights as they are now told; None: there is none yet."""
    row = await tx.one(_FIND, issuer=vouched.issuer, subject=vouched.subject)
    if row is None:
        return None
    known, was = _identity(row), bool(row.admin)
    if row.disabled:
        return Found(row.user_id, row.name, disabled=True, was_admin=was, admin=was)
    await _sync(tx, row.user_id, vouched)
    admin, by_group = await _ruled(tx, row.user_id, vouched, known.kept, was=was)
    kept = msgspec.structs.replace(known.kept, by_group=by_group, signed_in_at=tx.at)
    await keep(tx, known, kept)
    return Found(row.user_id, row.name, disabled=False, was_admin=was, admin=admin)


async def keep(tx: Tx, known: Identity, kept: Kept) -> None:
    """Keep something else with an identity."""
    await tx.run(_KEEP, named=known.issuer, whom=known.subject, user=known.user_id, claims=_text(kept))


async def forget(tx: Tx, number: int) -> None:
    """Forget who a user is elsewhere, and what was kept with it."""
    await tx.run(_FORGET, user=number)


async def made_by_hand(tx: Tx, number: int) -> None:
    """Note that a person has made a user an administrator, or an ordinary one: no group takes that."""
    known = await of_user(tx, number)
    if known is not None and known.kept.by_group:
        await keep(tx, known, msgspec.structs.replace(known.kept, by_group=False))


async def _ruled(tx: Tx, number: int, vouched: Vouched, kept: Kept, *, was: bool) -> tuple[bool, bool]:
    """Make an administrator of who is in their group, or an ordinary user of who is no more; say which, and if by the group."""
    if vouched.admin and not was:
        await users.set_admin(tx, number, admin=True)
        return True, True
    if not vouched.admin and kept.by_group and was:
        try:
            await users.set_admin(tx, number, admin=False)
        except users.LastAdministrator:
            # A registry that nobody administers is no safer; it is taken at a sign-in when there is another.
            return True, True
        return False, False
    return was, kept.by_group and was


async def _sync(tx: Tx, number: int, vouched: Vouched) -> None:
    """Put a user into the groups that are told of, made where they are not there, and take them out of the others."""
    wanted = {
        external: name
        for external, name in sorted(vouched.groups.items())[:MOST_GROUPS]
        if 0 < len(name) <= LONGEST_GROUP and not _UNPRINTABLE.search(external + name)
    }
    rows = await tx.all(_GROUPS, source=vouched.source, externals=list(wanted)) if wanted else []
    known = {str(row.external): int(row.id) for row in rows}
    for external, name in wanted.items():
        if external not in known:
            known[external] = await members.create_group(tx, name, source=vouched.source, external=external)
    joined = {int(row.id) for row in await tx.all(_JOINED, user=number, source=vouched.source)}
    for group in set(known.values()) - joined:
        await members.join_group(tx, group, number)
    for group in joined - set(known.values()):
        await members.leave_group(tx, group, number)


async def _details(tx: Tx, vouched: Vouched, name: str) -> tuple[str | None, str]:
    """Give the mail address and the real name to begin with: those that are told, if a profile may have them."""
    realname: str = vouched.realname or vouched.called
    if not _may(Details("a@example.com", realname)):
        realname = name
    email: str | None = vouched.email
    try:
        Details(vouched.email, name).check()
        await profiles.keep_email_apart(tx, vouched.email)
    except (profiles.ProfileInvalid, profiles.EmailTaken):
        email = None
    return email, realname


def _may(details: Details) -> bool:
    try:
        details.check()
    except profiles.ProfileInvalid:
        return False
    return True


def _identity(row: Any) -> Identity:
    return Identity(row.issuer, row.subject, row.user_id, row.created_at, _kept(row.claims))


def _kept(text: str) -> Kept:
    return msgspec.json.decode(text, type=Kept)


def _text(kept: Kept) -> str:
    return msgspec.json.encode(kept).decode()
