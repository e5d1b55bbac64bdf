"""Signing in to a registry by its OpenID provider: the code flow, the account that it is, and a name for who has none yet.

    begin     remembers that a browser goes to the provider, and says where it goes
    finish    takes the answer that the browser brings back, and gives the account, or that a name is to be chosen
    onboard   makes the account under the name that was chosen

`outbound.oidc_codes` has the flow itself: an answer is good in the browser that has asked for it, once, and within ten minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import bindparam, delete, func, select

from moorage.db import Statement, insert
from moorage.db.tables import sign_in_flow
from moorage.errors import Problem
from moorage.identity import accounts, groups, methods, oidc_settings, outsiders, patterns, users
from moorage.identity.outsiders import Found, Vouched
from moorage.identity.passwords import lane_of
from moorage.outbound import oidc_codes
from moorage.outbound.http import Caller
from moorage.outbound.oidc import Client, Issuers
from moorage.outbound.oidc_codes import LASTS, SECOND, Begun, FlowsExceeded, FlowUnknown, Going, Pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.db import Database, Reader, Tx
    from moorage.identity.accounts import Account
    from moorage.identity.keys import MasterKey
    from moorage.identity.oidc_settings import Provider

COMMENT: Final = "Onboarded via OIDC provider"
LONGEST_NAME: Final = 255
MOST: Final = 200
"""How many sign-ins of one address are under way at once: an office has one address, and begins to work at one time."""
NAMING: Final = "naming"
"""Stands for the state where a browser is back and a name is to be chosen: its secret alone is what that is bound to."""

_ADD = Statement(
    insert(sign_in_flow).values(
        state=bindparam("state"), redirect=bindparam("redirect"), next=bindparam("next"),
        address=bindparam("address"), created_at=bindparam("at"), vouched=bindparam("vouched"),
    )
)  # fmt: skip
_COUNT = Statement(
    select(func.count().label("n")).where(
        sign_in_flow.c.address == bindparam("address"), sign_in_flow.c.created_at > bindparam("after")
    )
)
_FIND = Statement(
    select(sign_in_flow).where(
        sign_in_flow.c.state == bindparam("state"), sign_in_flow.c.created_at > bindparam("after")
    )
)
_TAKE = Statement(delete(sign_in_flow).where(sign_in_flow.c.state == bindparam("state")))
_DROP_OLD = Statement(delete(sign_in_flow).where(sign_in_flow.c.created_at <= bindparam("before")))


class OidcOff(Problem):
    """Nobody signs in to this registry by an OpenID provider."""

    code, status, summary = (
        "PRECONDITION",
        412,
        "people do not sign in to this registry by an OpenID provider",
    )


class NotAdmitted(Problem):
    """Whoever it is may not sign in."""

    code, status, summary = "FORBIDDEN", 403, "this account is disabled: ask an administrator of the registry"


@dataclass(frozen=True, slots=True)
class Known:
    """The issuers that are asked: with their certificates checked, or (where a registry has it so) not."""

    checked: Issuers
    unchecked: Issuers

    @classmethod
    def by(cls, caller: Caller, now: Callable[[], int]) -> Known:
        """Ask through *caller*."""
        return cls(Issuers(caller, now), Issuers(replace(caller, verifies=False), now))

    def of(self, *, verifies: bool) -> Issuers:
        """Give those that are asked so: what an unchecked one has said is never told to who checks."""
        return self.checked if verifies else self.unchecked


@dataclass(frozen=True, slots=True)
class Entered:
    """Somebody who has signed in: their account, where the browser goes on, and whether the account is new."""

    account: Account
    found: Found
    next: str
    new: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody who has no account yet, and chooses a name: what they are called elsewhere, and why that is not it."""

    called: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class SignIns:
    """Sign-ins to one registry."""

    db: Database
    registry: str
    master: MasterKey
    known: Known

    async def begin(self, redirect: str, following: str, address: str) -> Going:
        """Remember that a browser goes to the provider; raise OidcOff, IssuerAway or FlowsExceeded."""
        provider, client, issuers = await self._provider(self.db)
        # Whoever has begun too many takes no turn from those who change something.
        await _check_room(self.db, lane_of(address, ""), self.db.now())
        told = await issuers.metadata(client.issuer)
        pair = Pair.new()
        await self.db.change(
            lambda tx: _remember(
                tx, pair, address, {"redirect": redirect, "next": following, "vouched": None}
            )
        )
        url = oidc_codes.address(told, client, provider.scopes, redirect, pair, provider.more)
        return Going(url, pair.secret)

    async def finish(
        self, redirect: str, given: Mapping[str, str], secret: str, address: str
    ) -> Entered | Waiting:
        """Give who a provider's answer is about; raise FlowUnknown, FlowRefused, TokenRefused, IssuerAway, NotAdmitted, OidcOff."""
        pair = Pair(given.get("state", ""), secret)
        flow = await self._taken(pair, chosen=False)
        if flow.redirect != redirect:
            raise FlowUnknown
        provider, client, issuers = await self._provider(self.db)
        begun = Begun(client, provider.name, redirect, pair, flow.created_at)
        wants = {provider.user_claim or "name", *filter(None, [provider.groups_claim]), "email"}
        claims = await oidc_codes.claims(issuers, begun, given, wants=wants)
        # An expression of others may take its time: others are answered meanwhile.
        vouched = await asyncio.to_thread(_vouched, provider, claims)
        entered = await self._entered(vouched, flow.next)
        if entered is not None:
            return entered
        why = ""
        if provider.auto_onboard and vouched.called:
            try:
                return await self._onboarded(vouched, vouched.called, flow.next)
            except (users.UserExists, users.UserNameInvalid) as problem:
                why = str(problem)
        row = {"redirect": redirect, "next": flow.next, "vouched": msgspec.json.encode(vouched).decode()}
        await self.db.change(lambda tx: _remember(tx, Pair(NAMING, secret), address, row))
        return Waiting(vouched.called, why)

    async def waiting(self, secret: str) -> Waiting:
        """Give who chooses a name just now, or raise FlowUnknown."""
        flow = await self._found(self.db, Pair(NAMING, secret), chosen=True)
        return Waiting(msgspec.json.decode(flow.vouched, type=Vouched).called)

    async def onboard(self, secret: str, name: str) -> Entered:
        """Make the account of who chooses a name; raise FlowUnknown, UserNameInvalid, UserExists, NotAdmitted or OidcOff."""
        pair = Pair(NAMING, secret)
        provider, _, _ = await self._provider(self.db)
        flow = await self._found(self.db, pair, chosen=True)
        vouched = msgspec.json.decode(flow.vouched, type=Vouched)
        if vouched.issuer != provider.endpoint:
            raise FlowUnknown
        return await self._onboarded(vouched, name, flow.next, pair)

    async def end_address(self, redirect: str) -> str:
        """Say where a browser goes to sign out at the provider, too; empty: nowhere."""
        try:
            provider, client, issuers = await self._provider(self.db)
            if not provider.logout:
                return ""
            told = await issuers.metadata(client.issuer)
        except Problem:
            # Who signs out here is out, whether or not the provider can be asked.
            return ""
        return oidc_codes.end_address(told, client, redirect)

    async def _entered(self, vouched: Vouched, following: str) -> Entered | None:
        # Who is not known takes no turn of the registry's.
        if await outsiders.find(self.db, vouched.issuer, vouched.subject) is None:
            return None
        found = await self.db.change(lambda tx: outsiders.refresh(tx, vouched))
        return None if found is None else await self._account(found, following)

    async def _onboarded(
        self, vouched: Vouched, name: str, following: str, pair: Pair | None = None
    ) -> Entered:
        async def work(tx: Tx) -> Found | None:
            if pair is not None and not await tx.run(_TAKE, state=pair.key):
                raise FlowUnknown
            await outsiders.onboard(tx, vouched, name, COMMENT)
            return await outsiders.refresh(tx, vouched)

        found = await self.db.change(work)
        assert found is not None
        return replace(await self._account(found, following), new=True)

    async def _account(self, found: Found, following: str) -> Entered:
        account = None if found.disabled else await accounts.by_subject(self.db, "user", found.id)
        if account is None or not account.works(self.db.now()):
            raise NotAdmitted
        return Entered(account, found, following)

    async def _provider(self, reader: Reader) -> tuple[Provider, Client, Issuers]:
        """Give the provider, or raise OidcOff."""
        kept = await oidc_settings.read(reader)
        if kept is None or not (await methods.on(reader)).oidc:
            raise OidcOff
        secret = await oidc_settings.secret(reader, self.master, self.registry) or ""
        provider = kept.provider
        client = Client(provider.endpoint, provider.client_id, secret)
        return provider, client, self.known.of(verifies=provider.verify_cert)

    async def _taken(self, pair: Pair, *, chosen: bool) -> Any:
        """Take a sign-in that is under way: whoever comes second finds none."""
        # Anybody may bring anything: what is no sign-in's answer takes no turn from those who change something.
        await self._found(self.db, pair, chosen=chosen)

        async def work(tx: Tx) -> Any:
            found = await self._found(tx, pair, chosen=chosen)
            await tx.run(_TAKE, state=pair.key)
            return found

        return await self.db.change(work)

    async def _found(self, reader: Reader, pair: Pair, *, chosen: bool) -> Any:
        if not pair.state or not pair.secret:
            raise FlowUnknown
        flow = await reader.one(_FIND, state=pair.key, after=self.db.now() - LASTS)
        if flow is None or (flow.vouched is not None) != chosen:
            raise FlowUnknown
        return flow


async def _remember(tx: Tx, pair: Pair, address: str, row: Mapping[str, object]) -> None:
    await tx.run(_DROP_OLD, before=tx.at - LASTS)
    lane = lane_of(address, "")
    await _check_room(tx, lane, tx.at)
    await tx.run(_ADD, state=pair.key, address=lane, at=tx.at, **row)


async def _check_room(reader: Reader, lane: str, now: int) -> None:
    if (await reader.one(_COUNT, address=lane, after=now - LASTS)).n >= MOST:
        raise FlowsExceeded(retry_after=LASTS // SECOND)


def _vouched(provider: Provider, claims: Mapping[str, Any]) -> Vouched:
    """Read claims that were checked."""
    listed = claims.get(provider.groups_claim) if provider.groups_claim else None
    # A list, or the one group that somebody is in.
    given = [listed] if isinstance(listed, str) else listed if isinstance(listed, list) else []
    told = [one for one in given if isinstance(one, str) and 0 < len(one) <= outsiders.LONGEST_GROUP]
    told = told[: outsiders.MOST_GROUPS]
    admin = bool(provider.admin_group) and provider.admin_group in told
    if provider.group_filter:
        fits = patterns.compiled(provider.group_filter)
        told = [one for one in told if fits.finds(one)]
    called = _text(claims, provider.user_claim or "name") or _text(claims, "preferred_username")
    return Vouched(
        provider.endpoint,
        claims["sub"],
        groups.OIDC,
        called.strip().replace(" ", "_"),
        _text(claims, "email"),
        _text(claims, "name"),
        {one: one for one in told},
        admin=admin,
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    # JSON can hold what no row can: half a character, or none.
    fine = isinstance(value, str) and value.isprintable() and len(value) <= LONGEST_NAME
    return value if fine and isinstance(value, str) else ""
