"""The provider's API as one application: find the call, see who signed it, see that they may, and answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from moorage import logs
from moorage.api import dialects
from moorage.api.cloud import bodies
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.routes import Found, MethodUnknown, Table
from moorage.api.cloud.signatures import SKEW, Signed
from moorage.api.dialects import Answer, header
from moorage.api.http.bodies import Body
from moorage.cloud import credentials
from moorage.cloud.credentials import Credential
from moorage.db import Database
from moorage.errors import Problem
from moorage.identity.keys import MasterKey
from moorage.storage import Disconnected

SECOND: Final = 1_000_000

Authorize = Callable[[Credential, str, str], Awaitable[None]]
"""Raises a Problem unless a credential's user may do an action in a cloud project."""
Note = Callable[[Ask, Found, Problem], Awaitable[None]]
"""Notes in the record that a call was refused."""


@dataclass(frozen=True, slots=True)
class CloudApi:
    """Every call of the table, answered."""

    db: Database
    master: MasterKey
    table: Table
    authorize: Authorize
    note: Note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call, or refuse it in the provider's dialect."""
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
        try:
            if found.route.needs in {Needs.CREDENTIAL, Needs.ROLE}:
                ask = Ask(scope, ask.body, found.params, await self._identify(ask, found))
            if found.route.needs is Needs.ROLE:
                await self.authorize(ask.caller, ask.cloud_project, found.route.action)
            return _written(await found.route.answer(ask))
        except Problem as problem:
            await self.note(ask, found, problem)
            raise

    async def _identify(self, ask: Ask, found: Found) -> Credential:
        """Give the credential that signed the call, which it may make now, from here, and for the first time.

        What state a credential is in is told only to who has signed with it.
        """
        signed = Signed.read(ask.scope)
        credential = await credentials.find(self.db, self.master, signed.application, signed.consumer)
        signed.check(credential.secret, ask.scope, ask.body)
        now = self.db.now()
        signed.check_time(now)
        credential.check(now)
        credential.check_call(found.route.method, found.granted_as, ask.address)
        await credentials.use(
            self.db, credential, signed.hash, changes=found.route.changes, clock_skew=SKEW * SECOND
        )
        return credential


def _written(content: object) -> Answer:
    """Write an answer; one that says nothing is ``null``, since an SDK takes no empty body for JSON."""
    if isinstance(content, Answer):
        return content
    body = msgspec.json.encode(content)
    return Answer(
        200,
        [
            header("content-type", "application/json; charset=utf-8"),
            header("content-length", str(len(body))),
            header("cache-control", "no-store"),
            header("x-content-type-options", "nosniff"),
            header("x-ovh-queryid", logs.request_id.get()),
        ],
        body,
    )
