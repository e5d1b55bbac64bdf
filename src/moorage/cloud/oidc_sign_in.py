"""Signing in by an account's OpenID provider: the code flow, with PKCE, a state that is taken once, and a nonce.

    begin    remembers that a browser went to the provider, and says where it goes
    finish   takes the answer that the browser brings back, redeems its code, and says which user it is
    prove    takes that user's own code, if they have a second factor

`outbound.oidc_codes` has the flow itself. Each provider has a redirect address of its own: what one answers cannot be passed off as
another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select

from moorage.cloud import events, factors, logins, oidc_arrivals, oidc_invitations, oidc_providers
from moorage.cloud.events import Origin
from moorage.cloud.logins import Login
from moorage.cloud.oidc_arrivals import Vouched
from moorage.cloud.oidc_providers import Provider
from moorage.cloud.sessions import Session
from moorage.db import Database, Statement, Tx, insert
from moorage.db.platform_sign_in import oidc_flow
from moorage.errors import Problem
from moorage.identity.keys import MasterKey
from moorage.identity.passwords import lane_of
from moorage.outbound import oidc_codes
from moorage.outbound.oidc import SKEW, Issuers, Metadata
from moorage.outbound.oidc_codes import LASTS, MOST, SECOND, Begun, FlowsExceeded, FlowUnknown, Going, Pair
from moorage.outbound.signatures import TokenRefused

LONGEST_SESSION: Final = 12 * 3600

_ADD = Statement(
    insert(oidc_flow).values(
        state=bindparam("state"),
        provider_id=bindparam("provider"),
        redirect=bindparam("redirect"),
        next=bindparam("next"),
        address=bindparam("address"),
        again=bindparam("again"),
        login_id=bindparam("login"),
        session_id=bindparam("session"),
        invitation_id=bindparam("invitation"),
        created_at=bindparam("at"),
        proved_at=bindparam("proved"),
    )
)
_COUNT = Statement(
    select(func.count().label("n")).where(
        oidc_flow.c.address == bindparam("address"), oidc_flow.c.created_at > bindparam("after")
    )
)
_FIND = Statement(
    select(oidc_flow).where(
        oidc_flow.c.state == bindparam("state"), oidc_flow.c.created_at > bindparam("after")
    )
)
_TAKE = Statement(delete(oidc_flow).where(oidc_flow.c.state == bindparam("state")))
_DROP_OLD = Statement(delete(oidc_flow).where(oidc_flow.c.created_at <= bindparam("before")))


@dataclass(frozen=True, slots=True)
class Asked:
    """What a browser asks for: where it goes on after, whether it has to show everything anew, who links, and who was invited."""

    redirect: str
    next: str
    again: bool = False
    links: Session | None = None
    invitation: str = ""


@dataclass(frozen=True, slots=True)
class Entered:
    """A user who has signed in, when the provider has asked them, and where they go on; *waiting*: a code is to come."""

    user: Login
    proved_at: int
    next: str
    linked: bool = False
    waiting: str = ""


@dataclass(frozen=True, slots=True)
class SignIns:
    """Sign-ins by OpenID providers."""

    db: Database
    master: MasterKey
    issuers: Issuers

    async def begin(self, provider: Provider, asked: Asked, origin: Origin) -> Going:
        """Remember that a browser goes to a provider; raise IssuerAway, InvitationUnknown or FlowsExceeded."""
        told = await self.issuers.metadata(provider.terms.issuer)
        pair = Pair.new()
        links = asked.links

        async def work(tx: Tx) -> None:
            invitation = ""
            if asked.invitation:
                found = await oidc_invitations.of_code(tx, provider.account_id, asked.invitation, tx.at)
                invitation = found.id
            row = {
                "provider": provider.id, "redirect": asked.redirect, "next": asked.next, "again": int(asked.again),
                "login": links.user.id if links else None, "session": links.id if links else "", "invitation": invitation,
            }  # fmt: skip
            await _remember(tx, pair.key, origin, row)

        await self.db.change(work)
        return Going(_address(provider, told, asked, pair), pair.secret)

    async def finish(
        self, provider_id: str, redirect: str, given: Mapping[str, str], secret: str, session: Session | None, origin: Origin
    ) -> Entered:  # fmt: skip
        """Give the user whom a provider's answer is about; raise FlowUnknown, FlowRefused, TokenRefused, IssuerAway and more."""
        flow = await self._taken(given.get("state", ""), secret)
        # The redirect address is the provider's own: an answer that comes to another's is none of this sign-in.
        if flow.proved_at is not None or flow.provider_id != provider_id or flow.redirect != redirect:
            raise FlowUnknown
        if flow.session_id and (session is None or session.id != flow.session_id):
            raise FlowUnknown("you were signed out, or somebody else has signed in meanwhile: begin again")
        provider = await oidc_providers.get(self.db, self.master, provider_id)
        vouched = await self._vouched(provider, flow, given, secret)
        return await self._entered(provider, flow, vouched, secret, origin)

    async def prove(self, state: str, secret: str, code: str, origin: Origin) -> Entered:
        """Give a user who had to show a code, too; raise FlowUnknown, CodeWrong, CodeNeeded or CodesSlowed."""
        key = Pair(state, secret).key
        flow = await self.db.one(_FIND, state=key, after=self.db.now() - LASTS)
        if flow is None or flow.proved_at is None or flow.login_id is None:
            raise FlowUnknown
        user = await logins.by_id(self.db, flow.login_id)
        if user is None:
            raise oidc_arrivals.NotAdmitted
        await factors.check(self.db, self.master, user.id, code, user.account_id, origin)
        if not await self.db.write(_TAKE, state=key):
            raise FlowUnknown
        return Entered(user, flow.proved_at, flow.next)

    async def _taken(self, state: str, secret: str) -> Any:
        """Take a sign-in that is under way: whoever comes second finds none."""
        key = Pair(state, secret).key

        async def work(tx: Tx) -> Any:
            found = await tx.one(_FIND, state=key, after=tx.at - LASTS)
            return found if found is not None and await tx.run(_TAKE, state=key) else None

        # Anybody may bring anything: what is no sign-in's answer takes no turn from those who change something.
        begun = state and secret and await self.db.one(_FIND, state=key, after=self.db.now() - LASTS)
        flow = await self.db.change(work) if begun else None
        if flow is None:
            raise FlowUnknown
        return flow

    async def _vouched(self, provider: Provider, flow: Any, given: Mapping[str, str], secret: str) -> Vouched:
        """Redeem the code of an answer, and read what comes for it."""
        terms = provider.terms
        pair = Pair(given["state"], secret)
        begun = Begun(provider.client, terms.name, flow.redirect, pair, flow.created_at)
        wants = [terms.groups_claim] if terms.asks_groups else []
        claims = await oidc_codes.claims(self.issuers, begun, given, wants=wants)
        return Vouched.of(terms, claims, proved_at=_proved(claims, flow, terms.name))

    async def _entered(
        self, provider: Provider, flow: Any, vouched: Vouched, secret: str, origin: Origin
    ) -> Entered:
        if flow.login_id is None:
            # Nobody of ours yet, and somebody of the provider's.
            origin = replace(origin, actor=f"{provider.account_name}/oidc:{vouched.subject}")
        try:
            user = await self.db.change(
                lambda tx: oidc_arrivals.arrive(
                    tx, provider, vouched, origin, links=flow.login_id, invitation=flow.invitation_id
                )
            )
        except Problem as problem:
            await events.deny(
                self.db, "user.sign-in", origin, rule=type(problem).__name__, account=provider.account_id,
                issuer=provider.terms.issuer, subject=vouched.subject,
            )  # fmt: skip
            raise
        if flow.login_id is not None:
            return Entered(user, vouched.proved_at, flow.next, linked=True)
        if (await factors.standing(self.db, user.id)).confirmed_at is None:
            return Entered(user, vouched.proved_at, flow.next)
        waiting = Pair.new().state
        row = {
            "provider": provider.id, "redirect": flow.redirect, "next": flow.next, "again": flow.again,
            "login": user.id, "session": "", "invitation": "", "proved": vouched.proved_at,
        }  # fmt: skip
        await self.db.change(lambda tx: _remember(tx, Pair(waiting, secret).key, origin, row))
        return Entered(user, vouched.proved_at, flow.next, waiting=waiting)


async def _remember(tx: Tx, key: bytes, origin: Origin, row: Mapping[str, object]) -> None:
    await tx.run(_DROP_OLD, before=tx.at - LASTS)
    address = lane_of(origin.address, "")
    if (await tx.one(_COUNT, address=address, after=tx.at - LASTS)).n >= MOST:
        raise FlowsExceeded(retry_after=LASTS // SECOND)
    await tx.run(_ADD, **{"state": key, "address": address, "at": tx.at, "proved": None, **row})


def _address(provider: Provider, told: Metadata, asked: Asked, pair: Pair) -> str:
    """Write where the browser goes."""
    # It makes the provider say when it has asked for the password last.
    more = {"max_age": "0", "prompt": "login"} if asked.again else {"max_age": str(LONGEST_SESSION)}
    terms = provider.terms
    return oidc_codes.address(told, provider.client, terms.scopes, asked.redirect, pair, more)


def _proved(claims: Mapping[str, Any], flow: Any, name: str) -> int:
    """Say when somebody has shown who they are at the provider, in microseconds; 0 if it does not tell."""
    given = claims.get("auth_time")
    known = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < 1 << 40
    proved = int(given) * SECOND if known and given is not None else 0
    if flow.again and proved < flow.created_at - SKEW * SECOND:
        raise TokenRefused(
            f"auth_time: {name} has not asked you anew who you are: sign in with the password instead"
        )
    return proved
