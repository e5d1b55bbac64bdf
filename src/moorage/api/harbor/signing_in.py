"""Signing in at a browser, under the paths that Harbor has for it: ``/c/login``, ``/c/log_out``, ``/c/userExists``.

Names and passwords become accounts in one place, `Access.sign_in`, for Basic, tokens and this alike: a further way of
signing in is put there. Ways that leave this address, as OIDC's, get paths of their own here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from moorage import logs
from moorage.api.harbor import answers, bodies, csrf
from moorage.api.harbor.problems import BadRequest, Forbidden, MethodNotAllowed, NotFound, Unauthorized
from moorage.identity import configurable, sessions, users
from moorage.oci import errors as oci
from moorage.registry.events import Origin, record

if TYPE_CHECKING:
    from starlette.types import Scope

    from moorage.api.dialects import Answer
    from moorage.api.harbor.callers import Callers
    from moorage.api.http.bodies import Body
    from moorage.db import Tx
    from moorage.identity.callers import Caller

PREFIX: Final = "/c/"
_MOST_FIELDS: Final = 20

Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SigningIn:
    """What answers below ``/c/``."""

    callers: Callers

    async def answer(self, scope: Scope, body: Body) -> Answer:
        """Answer one request, or raise the problem that refuses it."""
        paths: dict[str, tuple[str, Callable[[Scope, Form], Awaitable[Answer]]]] = {
            "login": ("POST", self.login),
            "log_out": ("GET", self.log_out),
            "userExists": ("POST", self.user_exists),
        }
        method, work = paths.get(scope["path"].removeprefix(PREFIX), ("", self.log_out))
        if not method:
            raise NotFound("there is nothing at this path")
        if scope["method"] != method:
            raise MethodNotAllowed(f"this path is asked with {method}", allow=method)
        return await work(scope, _form(await bodies.receive(body)) if method == "POST" else {})

    async def login(self, scope: Scope, form: Form) -> Answer:
        """Begin a session of a user whose name and password are right."""
        registry = self.callers.registry
        name, password = form.get("principal", ""), form.get("password", "")
        origin = _origin(scope, name)
        try:
            account = await registry.access.sign_in(name, password, address=origin.address)
        except oci.Unauthorized:
            self.callers.note(scope, "credentials", "anonymous", "")
            raise Unauthorized("unknown user, or wrong password") from None
        if account.caller.kind != "user":
            raise Unauthorized("a robot signs in with Basic, at each request, and has no session")

        async def work(tx: Tx) -> str:
            uuid = registry.entry.uuid
            await record(tx, "user.login", origin, user=account.caller.id, target=account.caller.name)
            return await sessions.begin(tx, uuid, account, address=origin.address, agent=origin.agent)

        return answers.done(csrf.session(scope, await registry.db.change(work)))

    async def log_out(self, scope: Scope, _: Form) -> Answer:
        """End the session that the request carries; without one, all is as it should be."""
        registry = self.callers.registry
        cookie = csrf.cookie(scope, csrf.SESSION)
        account = await sessions.find(registry.db, registry.entry.uuid, cookie, minutes=sessions.TIMEOUT)

        async def work(tx: Tx) -> None:
            if account is not None and await sessions.end(tx, registry.entry.uuid, cookie):
                who = account.caller
                await record(tx, "user.logout", _origin(scope, who.name), user=who.id, target=who.name)

        # A stranger's cookie takes no turn of the registry's.
        if account is not None:
            await registry.db.change(work)
        return answers.done(csrf.session(scope, ""))

    async def user_exists(self, scope: Scope, form: Form) -> Answer:
        """Say whether a name or a mail address is taken: to administrators, and to whoever may register."""
        db = self.callers.registry.db
        caller: Caller = (await self.callers.identify(scope)).caller
        opened = (await configurable.values(db, configurable.SELF_REGISTRATION)).values()
        if not caller.admin and not any(opened):
            raise Forbidden("only administrators may ask who there is, unless anybody may register")
        target, value = form.get("target", ""), form.get("value", "")
        if target not in {"username", "email"}:
            raise BadRequest("target is username or email")
        return answers.given(await users.is_taken(db, **{"name" if target == "username" else target: value}))


def _form(body: bytes) -> Form:
    try:
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise BadRequest(f"the form has at most {_MOST_FIELDS} fields") from None
    return {name: value.replace("\0", "") for name, value in pairs}


def _origin(scope: Scope, name: str) -> Origin:
    client = scope.get("client")
    agent = next(
        (bytes(value).decode("latin-1") for known, value in scope["headers"] if known == b"user-agent"), ""
    )
    return Origin(
        name[:255],
        "customer",
        logs.request_id.get(),
        client[0] if client else "",
        agent[:256].replace("\0", ""),
    )
