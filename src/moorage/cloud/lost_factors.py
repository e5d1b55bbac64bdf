"""A user who has lost the second factor, and whom nobody in the account can help: the provider's people let them in again.

They cannot do it in silence. It stands in the record and in the ledger with the reason, the customer finds it in the
notifications, and the user and everybody who administers the account are told by mail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from moorage.cloud import events, factors, letters, logins, mails, users
from moorage.cloud.events import Origin
from moorage.db import Tx
from moorage.errors import Problem
from moorage.outbound.mail import is_address

LONGEST_REASON: Final = 255


class ReasonInvalid(Problem):
    """Whoever is told of it reads the reason."""

    code, status, summary = "BAD_REQUEST", 400, f"reason: must have 1 to {LONGEST_REASON} visible characters"


@dataclass(frozen=True, slots=True)
class Helped:
    """Whose second factor is gone, and to how many addresses that was written."""

    user: str
    told: int


async def remove(tx: Tx, name: str, reason: str, language: str, origin: Origin) -> Helped:
    """Ask a user, named ``account/user``, for codes no more, and tell the account; raise LoginUnknown or FactorUnknown."""
    if not 0 < len(reason.strip()) <= LONGEST_REASON or not reason.isprintable():
        raise ReasonInvalid
    found = await logins.find(tx, name)
    if found is None:
        raise users.LoginUnknown(f"no user who may sign in is called {name[:80]!r}: write account/user")
    await factors.drop(tx, found.id, found.account_id, origin)
    event = await events.record(
        tx, "user.second-factor-lost", origin, target=found.id, account=found.account_id, reason=reason
    )
    user = f"{found.account_name}/{found.name}"
    letter = letters.factor_removed(user, reason, language)
    addresses = {
        one.email
        for one in await users.listed(tx, found.account_id)
        if (one.id == found.id or (one.admin and not one.disabled)) and is_address(one.email)
    }
    for address in sorted(addresses):
        await mails.enqueue(tx, event, address, language, letter)
    return Helped(user, len(addresses))
