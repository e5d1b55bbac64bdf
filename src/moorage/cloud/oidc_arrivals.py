"""Somebody for whom an account's OpenID provider vouches, and which user of the account that is, if any.

    known         the user who was linked to them
    linking       the user who is signed in, and has asked for it
    invited       the user whom the invitation makes
    of a group    a new user, if the administrator lets the group's people in

Whoever is none of these is refused, however they are called and whatever their mail address is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from moorage.cloud import logins, oidc_identities, oidc_invitations, oidc_roles, users
from moorage.cloud.events import Origin
from moorage.cloud.logins import Login
from moorage.cloud.oidc_providers import Provider, Terms
from moorage.db import Tx
from moorage.errors import Problem

MOST_GROUPS: Final = 1000
LONGEST_GROUP: Final = 255
LONGEST_NAME: Final = 32
MARK: Final = 8

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")


class NotAdmitted(Problem):
    """Nobody here is this person, or whoever is may not sign in."""

    code, status, summary = (
        "FORBIDDEN",
        403,
        "you are no user of this account, or are shut out of it: link the user that you have at /auth/sessions, or be invited",
    )


@dataclass(frozen=True, slots=True)
class Vouched:
    """A person as a provider tells of them: the subject alone says who it is."""

    subject: str
    called: str
    email: str
    groups: frozenset[str]
    proved_at: int

    @classmethod
    def of(cls, terms: Terms, claims: Mapping[str, Any], *, proved_at: int) -> Vouched:
        """Read an ID token's claims that were checked."""
        given = claims.get(terms.groups_claim) if terms.groups_claim else None
        listed = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        groups = {
            one for one in listed[:MOST_GROUPS] if isinstance(one, str) and 0 < len(one) <= LONGEST_GROUP
        }
        return cls(
            claims["sub"],
            _text(claims, "preferred_username"),
            _text(claims, "email"),
            frozenset(groups),
            proved_at,
        )


async def arrive(
    tx: Tx, provider: Provider, vouched: Vouched, origin: Origin, *, links: str | None, invitation: str
) -> Login:
    """Give the user who somebody is; raise NotAdmitted, IdentityTaken, InvitationUnknown, LoginTaken or UsersExceeded."""
    account, issuer = provider.account_id, provider.terms.issuer
    if links is not None:
        await oidc_identities.link(tx, account, issuer, vouched.subject, links, origin)
        return await _admitted(tx, links)
    found = await oidc_identities.find(tx, account, issuer, vouched.subject)
    if found is None:
        made = await _made(tx, provider, vouched, origin, invitation)
        await oidc_identities.link(tx, account, issuer, vouched.subject, made, origin)
        user = await _admitted(tx, made)
    else:
        user = await _admitted(tx, found.login_id)
        await oidc_identities.use(tx, account, found)
    # Where no role follows any more, those that did are taken away.
    await oidc_roles.follow(tx, provider, user.id, vouched.groups, origin)
    return user


async def _admitted(tx: Tx, login: str) -> Login:
    user = await logins.by_id(tx, login)
    if user is None:
        raise NotAdmitted
    return user


async def _made(tx: Tx, provider: Provider, vouched: Vouched, origin: Origin, invitation: str) -> str:
    """Make a user of somebody who was invited or is in a group that is let in, and give the id; raise NotAdmitted."""
    account = provider.account_id
    if invitation:
        taken = await oidc_invitations.take(tx, account, invitation)
        made = await users.create_without_password(
            tx, account, origin, name=taken.name, email=taken.email, description=taken.description
        )
        return made.id
    if not vouched.groups.intersection(provider.terms.allowed_groups):
        raise NotAdmitted
    name = _name(provider.terms.issuer, vouched)
    made = await users.create_without_password(
        tx, account, origin, name=name, email=_mail(vouched.email), description=""
    )
    return made.id


def _name(issuer: str, vouched: Vouched) -> str:
    """Name a new user: with a mark of their own, so that nobody becomes whom others have named or will name."""
    mark = hashlib.sha256(f"{issuer}\n{vouched.subject}".encode()).hexdigest()[:MARK]
    called = vouched.called.partition("@")[0][:LONGEST_NAME]
    return f"{called if _NAME.fullmatch(called) else 'user'}-{mark}"


def _mail(text: str) -> str:
    """Give a mail address to write to, or none: it is no part of who somebody is."""
    try:
        users.check_email(text)
    except users.UserInvalid:
        return ""
    return text


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""
