"""The provider's API as one application: find the call, see who signed it, see that they may, and answer."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from moorage import cookies, logs
from moorage.api import dialects
from moorage.api.cloud import bodies
from moorage.api.cloud.asks import Ask, Needs, answered
from moorage.api.cloud.routes import OF_IAM, PREFIXES, Found, MethodUnknown, Table
from moorage.api.cloud.signatures import SKEW, Signed
from moorage.api.dialects import Answer
from moorage.api.front import nothing_here
from moorage.api.http.bodies import Body
from moorage.cloud import credentials, events, logins, members, oauth2, sessions
from moorage.cloud.callers import Caller, Kind
from moorage.cloud.errors import CloudProjectUnknown, RegistryUnknown
from moorage.db import Database
from moorage.errors import Problem
from moorage.identity.keys import MasterKey
from moorage.identity.passwords import lane_of
from moorage.registry.rates import OF_PROVIDER, Rates, unlimited
from moorage.storage import Disconnected

SECOND: Final = 1_000_000

BEARER: Final = "bearer"

_DENIED: Final = 403
_CLOUD_PROJECT = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class CloudApi:
    """Every call of the table, answered."""

    db: Database
    master: MasterKey
    table: Table
    rates: Rates = field(default_factory=unlimited)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call, or refuse it in the provider's dialect; a path that is none of the API's is no call."""
        if not scope["path"].startswith((*(f"{prefix}/" for prefix in PREFIXES), OF_IAM)):
            await nothing_here(scope, receive, send)
            return
        try:
            answer = await self._answer(scope, receive)
        except Disconnected:
            return
        except Problem as problem:
            answer = dialects.cloud(problem, logs.request_id.get(), headers=_headers(problem))
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        found = self.table.find(scope["method"], scope["path"])
        ask = Ask(scope, await bodies.receive(Body(scope, receive)), found.params)
        if found.route.needs not in {Needs.NOTHING, Needs.APPLICATION}:
            ask = replace(ask, who=await self._identify(ask))
        who = lane_of(ask.address, "nowhere") if ask.who is None else ask.who.counted_as
        try:
            await self.rates.take(OF_PROVIDER, found.route.rate, who)
            content = await found.route.answer(await self._check(ask, found))
        except Problem as problem:
            await self._note(ask, found, problem)
            raise
        return content if isinstance(content, Answer) else answered(msgspec.json.encode(content))

    async def _identify(self, ask: Ask) -> Caller:
        """Give who makes the call, whatever they may: why not is told only to who has shown that it is them."""
        scheme, _, token = ask.header(b"authorization").partition(" ")
        if scheme.lower() == BEARER:
            return await oauth2.identify(self.db, token.strip())
        cookie = cookies.read(ask.scope)
        if cookie is not None and not ask.header(b"x-ovh-consumer"):
            return await self._at_a_browser(ask, cookie)
        signed = Signed.read(ask.scope)
        found = await credentials.find(self.db, self.master, signed.application, signed.consumer)
        signed.check(found.secret, ask.scope, ask.body)
        return found

    async def _at_a_browser(self, ask: Ask, cookie: str) -> Caller:
        """Give the user of a session, if the request comes from a page of it."""
        found = await sessions.find(self.db, cookie, cookies.audience(ask.scope))
        cookies.check_origin(ask.scope)
        guard = ask.header(cookies.GUARD.encode())
        if ask.scope["method"] != "GET" and not hmac.compare_digest(
            sessions.guard(cookie).encode(), guard.encode()
        ):
            raise cookies.CrossSite(
                f"a change takes the header {cookies.GUARD} with what GET /me/session/current tells"
            )
        return found.caller

    async def _check(self, ask: Ask, found: Found) -> Ask:
        """Refuse what the caller may not now, or not from here, or did before; and what nothing grants them."""
        who = ask.who
        if who is None:
            return ask
        route, now = found.route, self.db.now()
        signed = Signed.read(ask.scope) if who.kind is Kind.APPLICATION else None
        if signed is not None:
            signed.check_time(now)
        who.check(now)
        if route.is_grave:
            sessions.check_proof(who, now)
        who.check_call(route.method, found.granted_as, ask.address)
        if signed is not None:
            await credentials.use(self.db, who, signed.hash, changes=route.changes, clock_skew=SKEW * SECOND)
        if route.needs in {Needs.USER, Needs.ADMINISTRATOR}:
            await logins.check(self.db, who.login_id, administrator=route.needs is Needs.ADMINISTRATOR)
        if route.needs is not Needs.ROLE:
            return ask
        if not _CLOUD_PROJECT.fullmatch(ask.cloud_project):
            raise CloudProjectUnknown
        granted = await members.check(
            self.db, ask.cloud_project, who, members.PREFIX + route.action, now=now,
            registry=_registry(ask), of_each=route.of_each,
        )  # fmt: skip
        return replace(ask, granted=granted)

    async def _note(self, ask: Ask, found: Found, problem: Problem) -> None:
        """Note in the record that a call was denied, and by which rule.

        Only of who has signed: whoever has no key can write nothing here, and is told of in the log alone.
        """
        denied = problem.status == _DENIED or isinstance(problem, CloudProjectUnknown)
        if ask.who is None or not denied:
            return
        await events.deny(
            self.db, "call.denied", ask.origin, rule=problem.code, target=ask.who.id, account=ask.who.account_id,
            cloud_project=found.params.get("serviceName", "")[:32].replace("\0", ""),
            call=f"{found.route.method} {found.route.path}",
        )  # fmt: skip


def _registry(ask: Ask) -> str | None:
    """Give the registry's id in the path, if there is one; what cannot be one names no registry."""
    text = ask.params.get("registryID")
    if text is not None and not (text.isascii() and text.isprintable()):
        raise RegistryUnknown
    return text


def _headers(problem: Problem) -> list[tuple[str, str]]:
    if isinstance(problem, MethodUnknown):
        return [("allow", str(problem.detail["allow"]))]
    if isinstance(problem, oauth2.TokenInvalid):
        return [("www-authenticate", 'Bearer realm="moorage", error="invalid_token"')]
    return []
