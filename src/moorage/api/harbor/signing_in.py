"""Signing in at a browser, under the paths that Harbor has for it: ``/c/login``, ``/c/log_out``, ``/c/userExists``.

Names and passwords become accounts in one place, `Access.sign_in`, for Basic, tokens and this alike: a further way of
signing in is put there. Ways that leave this address, as OIDC's, get paths of their own here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from moorage.api.harbor import answers, csrf
from moorage.api.harbor.oidc import LOGIN, OidcPages
from moorage.api.harbor.problems import BadRequest, Forbidden, MethodNotAllowed, NotFound, Unauthorized
from moorage.api.harbor.visits import Visit
from moorage.identity import accounts, cli_secrets, configurable, methods, sessions, users
from moorage.oci import errors as oci
from moorage.registry.events import record

if TYPE_CHECKING:
    from starlette.types import Scope

    from moorage.api.dialects import Answer
    from moorage.api.harbor.callers import Callers
    from moorage.api.http.bodies import Body
    from moorage.db import Tx
    from moorage.identity.accounts import Account
    from moorage.identity.callers import Caller

PREFIX: Final = "/c/"


@dataclass(frozen=True, slots=True)
class SigningIn:
    """What answers below ``/c/``."""

    callers: Callers

    async def answer(self, scope: Scope, body: Body, guarded: csrf.Guarded) -> Answer:
        """Answer one request, or raise the problem that refuses it."""
        visit = await Visit.of(scope, body, guarded)
        paths: dict[tuple[str, str], Callable[[Visit], Awaitable[Answer]]] = {
            ("POST", "/c/login"): self.login,
            ("GET", "/c/log_out"): self.log_out,
            ("POST", "/c/userExists"): self.user_exists,
            **OidcPages(self.callers).paths(),
        }
        asked = [method for method, path in paths if path == scope["path"]]
        if not asked:
            raise NotFound("there is nothing at this path")
        if scope["method"] not in asked:
            raise MethodNotAllowed(f"this path is asked with {' or '.join(asked)}", allow=", ".join(asked))
        return await paths[scope["method"], scope["path"]](visit)

    async def login(self, visit: Visit) -> Answer:
        """Begin a session of a user whose name and password are right; lead to the provider who signs in there."""
        registry = self.callers.registry
        name, password = visit.form.get("principal", ""), visit.form.get("password", "")
        elsewhere = (await methods.on(registry.db)).oidc
        known = await accounts.by_name(registry.db, name) if elsewhere else None
        if known is not None and await self._is_elsewhere(known):
            return _elsewhere(visit)
        origin = visit.origin(name)
        try:
            account = await registry.access.sign_in(name, password, address=origin.address)
        except oci.Unauthorized:
            self.callers.note(visit.scope, "credentials", "anonymous", "")
            # As in Harbor: whoever has no account here may have one there.
            if elsewhere and known is None:
                return _elsewhere(visit)
            raise Unauthorized("unknown user, or wrong password") from None
        if account.caller.kind != "user":
            raise Unauthorized("a robot signs in with Basic, at each request, and has no session")

        async def work(tx: Tx) -> str:
            uuid = registry.entry.uuid
            await record(tx, "user.login", origin, user=account.caller.id, target=account.caller.name)
            return await sessions.begin(tx, uuid, account, address=origin.address, agent=origin.agent)

        return answers.done(csrf.session(visit.scope, await registry.db.change(work)))

    async def _is_elsewhere(self, account: Account) -> bool:
        """Say whether a user signs in by the provider, and has no password here."""
        if account.caller.kind != "user" or account.password is not None:
            return False
        return await cli_secrets.is_outsider(self.callers.registry.db, account.caller.id)

    async def log_out(self, visit: Visit) -> Answer:
        """End the session that the request carries; without one, all is as it should be."""
        registry = self.callers.registry
        cookie = csrf.cookie(visit.scope, csrf.SESSION)
        account = await sessions.find(registry.db, registry.entry.uuid, cookie, minutes=sessions.TIMEOUT)

        async def work(tx: Tx) -> None:
            if account is not None and await sessions.end(tx, registry.entry.uuid, cookie):
                who = account.caller
                await record(tx, "user.logout", visit.origin(who.name), user=who.id, target=who.name)

        # A stranger's cookie takes no turn of the registry's.
        if account is not None:
            await registry.db.change(work)
        return answers.done(csrf.session(visit.scope, ""))

    async def user_exists(self, visit: Visit) -> Answer:
        """Say whether a name or a mail address is taken: to administrators, and to whoever may register."""
        db = self.callers.registry.db
        caller: Caller = (await self.callers.identify(visit.scope)).caller
        opened = (await configurable.values(db, configurable.SELF_REGISTRATION)).values()
        if not caller.admin and not any(opened):
            raise Forbidden("only administrators may ask who there is, unless anybody may register")
        target, value = visit.form.get("target", ""), visit.form.get("value", "")
        if target not in {"username", "email"}:
            raise BadRequest("target is username or email")
        return answers.given(await users.is_taken(db, **{"name" if target == "username" else target: value}))


def _elsewhere(visit: Visit) -> Answer:
    return answers.given({"redirect_location": visit.home + LOGIN}, status=403)
