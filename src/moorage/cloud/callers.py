"""Who calls the API, however they have shown it: a user's application, an OAuth2 client, or a user at a browser.

Each is an identity with a name of its own, which policies give rights to. Roles are users': a client has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from moorage.cloud.rules import Limits
from moorage.errors import Problem

USER: Final = "urn:v1:moorage:identity:user:"
CLIENT: Final = "urn:v1:moorage:identity:credential:"
CLIENT_NAME: Final = "oauth2-"


class CallNotGranted(Problem):
    """The credential's access rules do not have this call."""

    code, status, summary = "NOT_GRANTED_CALL", 403, "this call is not among those granted to the credential"


class AddressNotAllowed(Problem):
    """The credential is kept to addresses, and the client's is none of them."""

    code, status, summary = "FORBIDDEN", 403, "this credential may not be used from this address"


class Kind(StrEnum):
    """How a caller has shown who they are."""

    APPLICATION = "application"
    CLIENT = "oauth2"
    SESSION = "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, and what they are limited to. ``id`` is the credential's, the client's or the session's."""

    kind: Kind
    id: str
    state: str
    limits: Limits
    application_id: str
    application_name: str
    description: str
    login_id: str | None
    """The user in whose name the call is; a client calls in its own."""
    login_name: str
    account_id: str
    account_name: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    proved_at: int | None = None
    """When a user at a browser showed all factors last; what is dangerous wants that lately."""

    @property
    def actor(self) -> str:
        """Give who it is, as the record tells it."""
        return f"{self.account_name}/{self.login_name}"

    @property
    def identity(self) -> str:
        """Give the name that policies know the caller by."""
        return (CLIENT if self.kind is Kind.CLIENT else USER) + self.actor

    @property
    def counted_as(self) -> str:
        """Name whom calls count against: the application, whatever credentials it has, the client, or the user at browsers."""
        of = {Kind.APPLICATION: self.application_id, Kind.CLIENT: self.id, Kind.SESSION: self.login_id}
        return f"{self.kind}:{of[self.kind]}"

    def check(self, now: int) -> None:
        """Raise a Problem unless what was shown may be used now; most is found only if it may."""

    def check_call(self, method: str, paths: Sequence[str], address: str) -> None:
        """Raise AddressNotAllowed or CallNotGranted unless the caller has this call, by any name, from this address."""
        if not self.limits.allow_address(address):
            raise AddressNotAllowed(f"this credential may not be used from {address or 'here'}")
        if not any(self.limits.allow(method, path) for path in paths):
            raise CallNotGranted(
                f"{method} {paths[0]} is not among the calls granted to this credential:"
                " ask for one with an access rule that has it"
            )


def client_identity(account_name: str, client: str) -> str:
    """Give the name that policies know an OAuth2 client by."""
    return f"{CLIENT}{account_name}/{CLIENT_NAME}{client}"


def user_identity(account_name: str, name: str) -> str:
    """Give the name that policies know a user by."""
    return f"{USER}{account_name}/{name}"
