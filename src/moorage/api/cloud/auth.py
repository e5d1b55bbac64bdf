"""Calls about the caller: the time, a credential asked for, and what the one that is signed with may do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from moorage.api.cloud import times
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.bodies import invalid
from moorage.api.cloud.models import (
    AllowedRoute,
    CredentialRequest,
    CurrentCredential,
    Details,
    RequestedCredential,
)
from moorage.api.cloud.routes import Route
from moorage.cloud import credentials, oauth2, sessions
from moorage.cloud.callers import Kind
from moorage.cloud.rules import Limits
from moorage.db import Database, Tx

SECOND: Final = 1_000_000
LONGEST_URL: Final = 2048

_URL = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Auth:
    """Calls about credentials."""

    db: Database
    validation: str
    """The path of the page where a user decides about a credential, on the same address as the API."""

    def routes(self) -> list[Route]:
        """List the calls."""
        nothing, one = Needs.NOTHING, Needs.CREDENTIAL
        return [
            Route("GET", "/auth/time", "auth/time/get", self.time, "Tell the server's time", gives=int, needs=nothing),
            Route("POST", "/auth/credential", "auth/credential/create", self.request, "Ask for a credential",
                  CredentialRequest, RequestedCredential, Needs.APPLICATION),
            Route("GET", "/auth/details", "auth/details/get", self.details, "Tell who asks and what they may", gives=Details,
                  needs=one),
            Route("GET", "/auth/currentCredential", "auth/currentCredential/get", self.current,
                  "Tell of the credential that is signed with", gives=CurrentCredential, needs=one),
            Route("POST", "/auth/logout", "auth/logout", self.logout, "End the credential that is signed with", needs=one),
        ]  # fmt: skip

    async def time(self, _: Ask) -> int:
        """Tell the time in seconds since 1970; clients sign with ours."""
        return self.db.now() // SECOND

    async def request(self, ask: Ask) -> RequestedCredential:
        """Ask for a credential, which works once a user has allowed it."""
        key = ask.header(b"x-ovh-application")
        given = ask.read(CredentialRequest)
        limits = Limits.checked([(one.method, one.path) for one in given.access_rules], given.allowed_ips)
        _check_redirection(given.redirection)

        async def work(tx: Tx) -> credentials.Requested:
            return await credentials.request(tx, key, limits, given.redirection)

        made = await self.db.change(work)
        host = ask.header(b"host")
        page = f"{ask.scope['scheme']}://{host}{self.validation}?credentialToken={made.id}"
        return RequestedCredential(
            consumer_key=made.consumer_key, state=credentials.PENDING, validation_url=page
        )

    async def details(self, ask: Ask) -> Details:
        """Tell who asks, and what they may."""
        who = ask.caller
        return Details(
            account=who.account_name,
            allowed_routes=_routes(who.limits),
            description=who.description or who.application_name,
            identities=[who.identity],
            method="account" if who.login_id else who.kind.value,
            roles=[],
            user=who.login_name if who.login_id else None,
        )

    async def current(self, ask: Ask) -> CurrentCredential:
        """Tell of the credential that the call was signed with."""
        who = ask.caller
        networks = who.limits.networks
        return CurrentCredential(
            allowed_ips=None if networks is None else [str(one) for one in networks],
            application_id=who.application_id,
            creation=times.written(who.created_at),
            credential_id=who.id,
            expiration=times.written_or_none(who.expires_at),
            last_use=times.written_or_none(who.last_used_at),
            ovh_support=False,
            rules=_routes(who.limits),
            status=who.state,
        )

    async def logout(self, ask: Ask) -> None:
        """End the credential that the call was signed with."""
        who = ask.caller
        if who.kind is Kind.SESSION:
            await self.db.change(
                lambda tx: sessions.end(tx, who.login_id or "", who.id, who.account_id, ask.origin)
            )
        elif who.kind is Kind.CLIENT:
            token = ask.header(b"authorization").partition(" ")[2].strip()
            await self.db.change(lambda tx: oauth2.end(tx, ask.caller.id, token))
        else:
            await self.db.change(lambda tx: credentials.revoke(tx, ask.caller, ask.origin))


def _routes(limits: Limits) -> list[AllowedRoute]:
    return [AllowedRoute(method=one.method, path=one.path) for one in limits.rules]


def _check_redirection(url: str | None) -> None:
    """Refuse what is no address of a page: it is shown as a link to who has decided."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None
    except ValueError:
        fine = False
    if not fine or len(url) > LONGEST_URL or not _URL.fullmatch(url):
        raise invalid(
            "redirection",
            f"must be an http or https address without a user, of at most {LONGEST_URL} visible ASCII characters",
        )
