"""The provider's API as one application: find the call, see who signed it, see that they may, and answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from moorage import logs
from moorage.api import dialects
from moorage.api.cloud import bodies
from moorage.api.cloud.asks import Ask, Needs, answered
from moorage.api.cloud.routes import PREFIXES, Found, MethodUnknown, Table
from moorage.api.cloud.signatures import SKEW, Signed
from moorage.api.dialects import Answer
from moorage.api.front import nothing_here
from moorage.api.http.bodies import Body
from moorage.cloud import credentials, events, members
from moorage.cloud.credentials import Credential
from moorage.cloud.errors import CloudProjectUnknown
from moorage.db import Database
from moorage.errors import Problem
from moorage.identity.keys import MasterKey
from moorage.storage import Disconnected

SECOND: Final = 1_000_000

_DENIED: Final = 403
_CLOUD_PROJECT = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class CloudApi:
    """Every call of the table, answered."""

    db: Database
    master: MasterKey
    table: Table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call, or refuse it in the provider's dialect; a path that is none of the API's is no call."""
        if not scope["path"].startswith(tuple(f"{prefix}/" for prefix in PREFIXES)):
            await nothing_here(scope, receive, send)
            return
        try:
            answer = await self._answer(scope, receive)
        except Disconnected:
            return
        except Problem as problem:
            allow = [("allow", str(problem.detail["allow"]))] if isinstance(problem, MethodUnknown) else []
            answer = dialects.cloud(problem, logs.request_id.get(), headers=allow)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        found = self.table.find(scope["method"], scope["path"])
        ask = Ask(scope, await bodies.receive(Body(scope, receive)), found.params)
        if found.route.needs in {Needs.CREDENTIAL, Needs.ROLE}:
            ask = replace(ask, who=await self._identify(ask))
        try:
            await self._check(ask, found)
            content = await found.route.answer(ask)
        except Problem as problem:
            await self._note(ask, found, problem)
            raise
        return content if isinstance(content, Answer) else answered(msgspec.json.encode(content))

    async def _identify(self, ask: Ask) -> Credential:
        """Give the credential that signed the call, whatever its state: that is told only to who has signed with it."""
        signed = Signed.read(ask.scope)
        found = await credentials.find(self.db, self.master, signed.application, signed.consumer)
        signed.check(found.secret, ask.scope, ask.body)
        return found

    async def _check(self, ask: Ask, found: Found) -> None:
        """Refuse what the credential may not now, or not from here, or did before; and what its user has no role for."""
        if ask.who is None:
            return
        route, signed, now = found.route, Signed.read(ask.scope), self.db.now()
        signed.check_time(now)
        ask.who.check(now)
        ask.who.check_call(route.method, found.granted_as, ask.address)
        await credentials.use(self.db, ask.who, signed.hash, changes=route.changes, clock_skew=SKEW * SECOND)
        if route.needs is Needs.ROLE:
            if not _CLOUD_PROJECT.fullmatch(ask.cloud_project):
                raise CloudProjectUnknown
            await members.check(
                self.db, ask.cloud_project, ask.who.login_id or "", members.PREFIX + route.action
            )

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
