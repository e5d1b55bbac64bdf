"""The code flow of OpenID Connect, with PKCE: where a browser is led, and what is made of the answer that it brings back.

What goes to the provider as the state is remembered by a hash of it and of a secret that the browser alone has; nonce and verifier
are made of both. So an answer is good in the browser that has asked for it alone. Whoever remembers sees to it that it is good
once, and within ten minutes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from moorage.errors import Problem
from moorage.outbound.oidc import Client, Issuers, Metadata

SECOND: Final = 1_000_000
LASTS: Final = 600 * SECOND
"""Microseconds that somebody may take at the provider."""
MOST: Final = 20
"""How many sign-ins of one address are under way at once: nobody fills the table, and nobody keeps others out."""
LONGEST_CODE: Final = 4096


class FlowUnknown(Problem):
    """No sign-in is under way that this is the answer of."""

    code, status, summary = (
        "BAD_REQUEST",
        400,
        "this sign-in was begun in another browser, is over already, or has taken more than ten minutes: begin again",
    )


class FlowRefused(Problem):
    """The provider has not signed anybody in, or says that it is another."""

    code, status, summary = "UNAUTHORIZED", 401, "the OpenID provider has not signed you in"


class FlowsExceeded(Problem):
    """Too many sign-ins were begun from this address."""

    code, status, summary = (
        "TOOMANYREQUESTS",
        429,
        "too many sign-ins were begun from this address and not ended: wait ten minutes, or use the password",
    )


@dataclass(frozen=True, slots=True)
class Going:
    """Where a browser goes, and what it alone keeps."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pair:
    """A state, which goes to the provider and comes back, and the secret of the browser that it is sent with."""

    state: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> Pair:
        """Make one up."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32))

    @property
    def key(self) -> bytes:
        """Give what it is remembered by."""
        return hashlib.sha256(f"{self.state}.{self.secret}".encode("utf-8", "surrogatepass")).digest()

    def made(self, what: str) -> str:
        """Make what only who has both can make."""
        told = f"{what} {self.state}".encode("utf-8", "surrogatepass")
        return hmac.new(self.secret.encode("utf-8", "surrogatepass"), told, hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that is under way: at whom, where its answer comes, and since when (microseconds)."""

    client: Client
    name: str
    redirect: str
    pair: Pair
    since: int


def address(
    told: Metadata,
    client: Client,
    scopes: Collection[str],
    redirect: str,
    pair: Pair,
    more: Mapping[str, str],
) -> str:
    """Write where the browser goes (Core, 3.1.2.1)."""
    digest = hashlib.sha256(pair.made("verifier").encode()).digest()
    query = {
        **more,
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": redirect,
        "scope": " ".join(scopes),
        "state": pair.state,
        "nonce": pair.made("nonce"),
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    return f"{told.authorization}{'&' if '?' in told.authorization else '?'}{urlencode(query)}"


async def claims(
    issuers: Issuers, begun: Begun, given: Mapping[str, str], *, wants: Collection[str] = ()
) -> dict[str, Any]:
    """Redeem the code of an answer, and give what the provider says of who it is; raise FlowRefused, TokenRefused or IssuerAway.

    What of *wants* the ID token does not tell is asked for beside it.
    """
    client, name = begun.client, begun.name
    told = await issuers.metadata(client.issuer)
    if given.get("iss", "" if told.names_itself else client.issuer) != client.issuer:
        raise FlowRefused(f"the answer is of another OpenID provider than {name}")
    if "error" in given:
        said = given.get("error_description") or given["error"]
        raise FlowRefused(f"{name} has not signed you in: {said[:200]}")
    code = given.get("code", "")
    if not 0 < len(code) <= LONGEST_CODE:
        raise FlowRefused(f"the answer of {name} has no code")
    tokens = await issuers.redeem(client, code, begun.pair.made("verifier"), begun.redirect)
    found = await issuers.claims(client, tokens, begun.pair.made("nonce"), begun.since)
    if any(one not in found for one in wants):
        more = await issuers.userinfo(client, tokens, found["sub"])
        found = {**more, **found}
    return found


def end_address(told: Metadata, client: Client, redirect: str) -> str:
    """Write where a browser goes to sign out there, too, and comes back from (RP-Initiated Logout 1.0, 2); empty: nowhere."""
    if not told.end_session:
        return ""
    query = urlencode({"client_id": client.id, "post_logout_redirect_uri": redirect})
    return f"{told.end_session}{'&' if '?' in told.end_session else '?'}{query}"
