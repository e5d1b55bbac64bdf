"""Calls about a user's own sessions at browsers, and about the second factor that is asked for when one begins."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from moorage import cookies
from moorage.api.cloud import times
from moorage.api.cloud.asks import Ask, Needs
from moorage.api.cloud.models import Given, Model
from moorage.api.cloud.routes import Route
from moorage.cloud import factors, sessions, users
from moorage.cloud.sessions import Session, SessionInvalid, SessionUnknown
from moorage.db import Database
from moorage.identity.keys import MasterKey
from moorage.identity.passwords import Passwords

_SESSIONS: Final = "/me/session"
_FACTOR: Final = "/me/secondFactor"


class SessionShown(Model):
    """A session at a browser."""

    id: str
    address: str
    agent: str
    created_at: str
    last_use: str | None
    expires_at: str | None
    current: Annotated[bool, Meta(description="Whether it is the one that asks.")]


class CurrentSession(Model):
    """The session that asks, and what its pages send with every change."""

    id: str
    user: str
    guard: Annotated[
        str, Meta(description=f"Goes into the header {cookies.GUARD} of every call that changes something.")
    ]


class Proof(Given):
    """One's own password."""

    current_password: str


class ProofWithCode(Given):
    """One's own password, and a code."""

    current_password: str
    code: str


class Code(Given):
    """A code of one's authenticator."""

    code: str


class FactorShown(Model):
    """Whether a code is asked for when one signs in."""

    enabled: bool
    since: str | None
    recovery_codes_left: int


class FactorBegun(Model):
    """The key for one's authenticator, shown this once; codes are asked for once the first was confirmed."""

    key: str
    uri: str


class RecoveryCodes(Model):
    """Codes that stand in for the authenticator, each once; shown this once."""

    recovery_codes: list[str]


@dataclass(frozen=True, slots=True)
class BrowserSessions:
    """Calls about sessions and second factors."""

    db: Database
    master: MasterKey
    passwords: Passwords

    def routes(self) -> list[Route]:
        """List the calls."""
        user, act = Needs.USER, "me/session/"
        return [
            Route("GET", _SESSIONS, f"{act}get", self.list, "List one's sessions at browsers", gives=list[SessionShown],
                  needs=user, added=True),
            Route("GET", f"{_SESSIONS}/current", f"{act}current/get", self.current, "Tell a browser of its session",
                  gives=CurrentSession, needs=user, added=True),
            Route("DELETE", _SESSIONS, f"{act}deleteOthers", self.end_others, "End every session but the one that asks",
                  needs=user, added=True),
            Route("DELETE", f"{_SESSIONS}/{{sessionId}}", f"{act}delete", self.end, "End a session", needs=user, added=True),
            Route("GET", _FACTOR, "me/secondFactor/get", self.factor, "Tell whether codes are asked for", gives=FactorShown,
                  needs=user, added=True),
            Route("POST", _FACTOR, "me/secondFactor/create", self.begin, "Get a key for one's authenticator", Proof,
                  FactorBegun, user, added=True),
            Route("POST", f"{_FACTOR}/confirm", "me/secondFactor/confirm", self.confirm,
                  "Ask for codes from now on, and get recovery codes", Code, RecoveryCodes, user, added=True),
            Route("POST", f"{_FACTOR}/remove", "me/secondFactor/remove", self.remove, "Ask for codes no more", ProofWithCode,
                  needs=user, added=True),
            Route("DELETE", "/me/identity/user/{user}/secondFactor", "identity/user/secondFactor/delete", self.reset,
                  "Ask a user who has lost it all for codes no more", needs=Needs.ADMINISTRATOR, added=True),
        ]  # fmt: skip

    async def list(self, ask: Ask) -> builtins.list[SessionShown]:
        """List one's sessions."""
        found = await sessions.listed(self.db, _user(ask), self.db.now())
        return [_shown(one, ask.caller.id) for one in found]

    async def current(self, ask: Ask) -> CurrentSession:
        """Tell a browser of its session, or raise SessionInvalid."""
        cookie = cookies.read(ask.scope)
        if cookie is None or ask.caller.proved_at is None:
            raise SessionInvalid("this call is a browser's: it takes the cookie of a session")
        return CurrentSession(id=ask.caller.id, user=ask.caller.actor, guard=sessions.guard(cookie))

    async def end_others(self, ask: Ask) -> None:
        """End every session but the one that asks."""
        who = ask.caller
        await self.db.change(
            lambda tx: sessions.end_others(tx, _user(ask), who.id, who.account_id, ask.origin)
        )

    async def end(self, ask: Ask) -> None:
        """End a session."""
        id_ = ask.params["sessionId"]
        if not id_.isascii() or not id_.isprintable():
            raise SessionUnknown
        await self.db.change(lambda tx: sessions.end(tx, _user(ask), id_, ask.caller.account_id, ask.origin))

    async def factor(self, ask: Ask) -> FactorShown:
        """Tell whether codes are asked for."""
        found = await factors.standing(self.db, _user(ask))
        since = times.written_or_none(found.confirmed_at)
        return FactorShown(enabled=since is not None, since=since, recovery_codes_left=found.recovery_codes)

    async def begin(self, ask: Ask) -> FactorBegun:
        """Give a key."""
        await self._prove(ask, ask.read(Proof).current_password)
        made = await self.db.change(lambda tx: factors.begin(tx, self.master, _user(ask), ask.caller.actor))
        return FactorBegun(key=made.key, uri=made.uri)

    async def confirm(self, ask: Ask) -> RecoveryCodes:
        """Ask for codes from now on."""
        code, who = ask.read(Code).code, ask.caller
        made = await self.db.change(
            lambda tx: factors.confirm(tx, self.master, _user(ask), code, who.account_id, ask.origin)
        )
        return RecoveryCodes(recovery_codes=made)

    async def remove(self, ask: Ask) -> None:
        """Ask for codes no more."""
        given, who = ask.read(ProofWithCode), ask.caller
        await self._prove(ask, given.current_password)
        await users.prove_code(self.db, self.master, _user(ask), given.code, who.account_id, ask.origin)
        await self.db.change(lambda tx: factors.drop(tx, _user(ask), who.account_id, ask.origin))

    async def reset(self, ask: Ask) -> None:
        """Ask another for codes no more."""
        account = ask.caller.account_id
        found = await users.get(self.db, account, ask.params["user"])
        await self.db.change(lambda tx: factors.drop(tx, found.id, account, ask.origin))

    async def _prove(self, ask: Ask, password: str) -> None:
        await users.prove(self.db, self.passwords, _user(ask), password, ask.origin)


def _user(ask: Ask) -> str:
    """Give the user who calls: the table asks for one."""
    assert ask.caller.login_id is not None
    return ask.caller.login_id


def _shown(found: Session, current: str) -> SessionShown:
    who = found.caller
    return SessionShown(
        id=found.id,
        address=found.address,
        agent=found.agent,
        created_at=times.written(who.created_at),
        last_use=times.written_or_none(who.last_used_at),
        expires_at=times.written_or_none(who.expires_at),
        current=found.id == current,
    )
