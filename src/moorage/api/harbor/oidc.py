"""Signing in by the registry's OpenID provider, under the paths that Harbor has for it, and the pages that its portal would show.

GET  /c/oidc/login       goes to the provider (``redirect_url``: where the browser goes on afterwards, here)
GET  /c/oidc/callback    where the provider sends the browser back to
GET  /c/oidc/onboard     asks for a name, and POST takes it: from the page's form, or as Harbor's portal sends it
GET  /c/oidc/logout      ends the session, here and (``oidc_logout``) at the provider
GET  /c/oidc/welcome     says who has signed in; its form, POST /c/oidc/secret, makes a CLI secret
"""

from __future__ import annotations

import html
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from moorage import cookies
from moorage.api.harbor import answers, csrf, pages_html
from moorage.api.harbor.problems import BadRequest, Unauthorized
from moorage.errors import Problem
from moorage.identity import cli_secrets, outsiders, sessions, users
from moorage.identity.oidc_sign_in import Entered, Waiting
from moorage.outbound.oidc_codes import LASTS, SECOND
from moorage.registry.events import record

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.callers import Callers
    from moorage.api.harbor.visits import Visit
    from moorage.db import Tx
    from moorage.identity.accounts import Account

COOKIE: Final = "registry-oidc"
"""What a sign-in is bound to; over TLS its name begins with ``__Host-``, so that no sibling host can begin one in a browser."""
LOGIN: Final = "/c/oidc/login"
CALLBACK: Final = "/c/oidc/callback"
ONBOARD: Final = "/c/oidc/onboard"
LOGOUT: Final = "/c/oidc/logout"
WELCOME: Final = "/c/oidc/welcome"
SECRET: Final = "/c/oidc/secret"  # noqa: S105 - a path.
LONGEST_PATH: Final = 1024

# A path of this address, and of nobody else's whatever a browser makes of it.
_OWN: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")

Visited = Callable[["Visit"], Awaitable["Answer"]]


@dataclass(frozen=True, slots=True)
class OidcPages:
    """What answers below ``/c/oidc/``."""

    callers: Callers

    def paths(self) -> Mapping[tuple[str, str], Visited]:
        """Say who answers each."""
        return {
            ("GET", LOGIN): self.login,
            ("GET", CALLBACK): self.callback,
            ("GET", ONBOARD): self.ask_name,
            ("POST", ONBOARD): self.onboard,
            ("GET", LOGOUT): self.log_out,
            ("GET", WELCOME): self.welcome,
            ("POST", SECRET): self.make_secret,
        }

    async def login(self, visit: Visit) -> Answer:
        """Lead the browser to the provider."""
        following = visit.query.get("redirect_url", "")
        if following and (
            len(following) > LONGEST_PATH or not _OWN.fullmatch(following) or following.startswith("/c/")
        ):
            raise BadRequest(
                "invalid redirect url: only a path of this address is one, such as /harbor/projects"
            )
        going = await self.callers.registry.sign_ins.begin(visit.home + CALLBACK, following, visit.address)
        return _led(going.url, _bound(visit, going.secret))

    async def callback(self, visit: Visit) -> Answer:
        """Take what the provider says of who the browser is."""
        secret = cookies.read(visit.scope, COOKIE) or ""
        try:
            found = await self.callers.registry.sign_ins.finish(
                visit.home + CALLBACK, visit.query, secret, visit.address
            )
        except Problem as problem:
            if problem.status in {401, 403}:
                self.callers.note(visit.scope, "credentials", "anonymous", "")
            raise
        if isinstance(found, Waiting):
            return _led(f"{ONBOARD}?why=taken" if found.why else ONBOARD)
        cookie = await self._begun(visit, found)
        return _led(found.next or WELCOME, cookie, _bound(visit, ""))

    async def ask_name(self, visit: Visit) -> Answer:
        """Ask for a name."""
        secret = cookies.read(visit.scope, COOKIE) or ""
        waiting = await self.callers.registry.sign_ins.waiting(secret)
        why = "The name that the provider has for you is another's here, or cannot be one: choose another."
        return _asking(visit, waiting, why if visit.query.get("why") else "")

    async def onboard(self, visit: Visit) -> Answer:
        """Make the account under the name that was chosen."""
        secret, name = cookies.read(visit.scope, COOKIE) or "", visit.form.get("username", "").strip()
        try:
            found = await self.callers.registry.sign_ins.onboard(secret, name)
        except (users.UserNameInvalid, users.UserExists) as problem:
            if not visit.is_form:
                raise
            return _asking(visit, Waiting(name), str(problem), status=problem.status)
        headers = (await self._begun(visit, found), _bound(visit, ""))
        if visit.is_form:
            return _led(found.next or WELCOME, *headers)
        return answers.done(*headers)

    async def log_out(self, visit: Visit) -> Answer:
        """End the session, and go to the provider to end it there, too."""
        account = await self._account(visit)
        gone = csrf.session(visit.scope, "")
        if account is None:
            again = f'<p><a href="{LOGIN}">Sign in</a></p>'
            return pages_html.page("You are signed out", again, headers=(gone,))
        registry, cookie = self.callers.registry, csrf.cookie(visit.scope, csrf.SESSION)
        outside = await outsiders.of_user(registry.db, account.caller.id) is not None

        async def work(tx: Tx) -> None:
            if await sessions.end(tx, registry.entry.uuid, cookie):
                who = account.caller
                await record(tx, "user.logout", visit.origin(who.name), user=who.id, target=who.name)

        await registry.db.change(work)
        there = await registry.sign_ins.end_address(visit.home + LOGOUT) if outside else ""
        return _led(there or LOGOUT, gone)

    async def welcome(self, visit: Visit) -> Answer:
        """Say who has signed in, and offer a CLI secret."""
        who = await self._signed_in(visit)
        known = await outsiders.of_user(self.callers.registry.db, who.caller.id)
        offered = "" if known is None else pages_html.form(visit, SECRET, button="Make a CLI secret")
        why = "" if known is None else pages_html.told(
            "Docker and other clients take your name and a CLI secret. A new one takes the place of the one before."
        )  # fmt: skip
        leave = f'<p><a href="{LOGOUT}">Sign out</a></p>'
        return pages_html.page(f"Signed in as {who.caller.name}", why, offered, leave)

    async def make_secret(self, visit: Visit) -> Answer:
        """Make a CLI secret, and show it this once."""
        who, registry = await self._signed_in(visit), self.callers.registry
        made = users.generated_password()
        hashed = await registry.access.hash(made)
        origin, caller = visit.origin(who.caller.name), who.caller

        async def work(tx: Tx) -> None:
            await cli_secrets.put(tx, caller.id, hashed)
            await record(tx, "user.cli-secret", origin, user=caller.id, target=caller.name)

        await registry.db.change(work)
        # Whatever was signed in is not any more; this browser has shown who it is.
        cookie = await registry.db.change(
            lambda tx: sessions.begin(
                tx, registry.entry.uuid, who, address=origin.address, agent=origin.agent
            )
        )
        host = visit.home.partition("://")[2]
        shown = (
            f"<p><code>{html.escape(made)}</code></p>",
            f"<p><code>docker login {html.escape(host)} -u {html.escape(caller.name)}</code></p>",
            f'<p><a href="{WELCOME}">Back</a></p>',
        )
        text = pages_html.told("It is shown this once. Other browsers and clients of yours are signed out.")
        return pages_html.page("Your CLI secret", text, *shown, headers=(csrf.session(visit.scope, cookie),))

    async def _begun(self, visit: Visit, entered: Entered) -> tuple[str, str]:
        """Begin the session of somebody who has signed in, and give the header that the browser gets."""
        registry, account, found = self.callers.registry, entered.account, entered.found
        origin, caller = visit.origin(account.caller.name), account.caller

        async def work(tx: Tx) -> str:
            told = {"user": caller.id, "target": caller.name}
            if entered.new:
                await record(tx, "user.create", origin, name=caller.name, **told)
            if found.admin != found.was_admin:
                change = {"before": {"admin": found.was_admin}, "after": {"admin": found.admin}}
                await record(tx, "user.admin", origin, name=caller.name, **told, **change)
            await record(tx, "user.login", origin, **told)
            return await sessions.begin(
                tx, registry.entry.uuid, account, address=origin.address, agent=origin.agent
            )

        return csrf.session(visit.scope, await registry.db.change(work))

    async def _account(self, visit: Visit) -> Account | None:
        registry = self.callers.registry
        cookie = csrf.cookie(visit.scope, csrf.SESSION)
        return await sessions.find(
            registry.db, registry.entry.uuid, cookie, minutes=await self.callers.minutes()
        )

    async def _signed_in(self, visit: Visit) -> Account:
        account = await self._account(visit)
        if account is None:
            raise Unauthorized(f"nobody is signed in in this browser: begin at {LOGIN}")
        return account


def _asking(visit: Visit, waiting: Waiting, why: str, *, status: int = 200) -> Answer:
    return pages_html.page(
        "Choose your name",
        pages_html.told(
            "You are here for the first time. This is what you are called in this registry from now on."
        ),
        pages_html.refused(why),
        pages_html.form(visit, ONBOARD, pages_html.field("Name", "username", waiting.called), button="Go on"),
        status=status,
    )


def _led(url: str, *headers: tuple[str, str]) -> Answer:
    return answers.done(("location", url), *headers, ("referrer-policy", "no-referrer"), status=302)


def _bound(visit: Visit, secret: str) -> tuple[str, str]:
    """Write the header that binds a browser to its sign-in; an empty secret ends that."""
    return "set-cookie", cookies.written(visit.scope, secret, COOKIE, seconds=LASTS // SECOND)
