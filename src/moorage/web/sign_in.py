"""Where a user signs in at a browser, sees where else they are signed in, and ends it. No page needs a script."""

from __future__ import annotations

import hmac
import html
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from moorage import cookies
from moorage.cloud import devices, factors, oidc_identities, oidc_providers, sessions
from moorage.cloud.logins import Login
from moorage.cloud.sessions import Session, SessionInvalid
from moorage.db import Database, Tx
from moorage.errors import Problem
from moorage.identity.keys import MasterKey
from moorage.identity.passwords import Passwords
from moorage.web import forms
from moorage.web.forms import FormInvalid

LOGIN: Final = "/auth/login"
SESSIONS: Final = "/auth/sessions"
SIGN_OUT: Final = "/auth/sign-out"
OIDC: Final = "/auth/oidc"
SECOND: Final = 1_000_000

# Where one may be led after signing in: pages of ours, never another host's.
_NEXT = re.compile(r"/auth/(?:sessions|\?credentialToken=[0-9a-f-]{36})")

CREDENTIALS = """<label for="user">User, or account/user</label>
<input id="user" name="user" autocomplete="username" required value="{user}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<label for="code">Code of your authenticator, or a recovery code, if you have set one up</label>
<input id="code" name="code" autocomplete="one-time-code">
"""
FORM = """{refused}<form method="post" action="{path}">
<input type="hidden" name="next" value="{next}">
{credentials}<button class="allow">Sign in</button>
</form>
<h2>Or by your account's OpenID provider</h2>
<form method="post" action="{oidc}">
<input type="hidden" name="next" value="{next}">
<label for="account">Account</label>
<input id="account" name="account" autocomplete="organization" required value="{account}">
<label for="invitation">Invitation, if you were given one</label>
<input id="invitation" name="invitation" autocomplete="off">
<button>Go on to the provider</button>
</form>
"""
LISTED = """<p>You are signed in as <strong>{user}</strong>.</p>
<ul>
{rows}
</ul>
<form method="post" action="{path}"><input type="hidden" name="guard" value="{guard}">
<button name="end" value="others">End all others</button></form>
{oidc}<form method="post" action="{out}"><input type="hidden" name="guard" value="{guard}">
<button class="allow">Sign out</button></form>
"""
LINK = """<form method="post" action="{path}/link"><input type="hidden" name="guard" value="{guard}">
<p>You sign in with your password.</p><button>Sign in by {name}, too</button></form>
"""
UNLINK = """<form method="post" action="{path}/unlink"><input type="hidden" name="guard" value="{guard}">
<p>You can sign in by {name}.</p><button>End that</button></form>
"""
ROW = """<li>{agent} from {address}, since {since}{here}
<form method="post" action="{path}"><input type="hidden" name="guard" value="{guard}">
<button name="end" value="{id}">End this session</button></form></li>"""


@dataclass(frozen=True, slots=True)
class SignIn:
    """The pages, and what it takes to believe who somebody is."""

    db: Database
    master: MasterKey
    passwords: Passwords

    def routes(self) -> list[Route]:
        """List the pages: that where one signs in is anybody's, the others are a session's."""
        return [
            Route(LOGIN, self.page, methods=["GET", "HEAD"]),
            Route(LOGIN, self.sign_in, methods=["POST"]),
            Route(SESSIONS, self.listed, methods=["GET", "HEAD"]),
            Route(SESSIONS, self.end, methods=["POST"]),
            Route(SIGN_OUT, self.sign_out, methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        """Ask who it is."""
        asked = request.query_params
        return form_(asked.get("next", ""), account=asked.get("account", ""))

    async def sign_in(self, request: Request) -> Response:
        """Begin a session, or prove once more who has one, and lead on; the cookie is another each time."""
        form: dict[str, str] = {}
        try:
            cookies.check_origin(request.scope)
            form = await forms.read(request)
            token, device = await self._begun(request, form)
        except Problem as problem:
            return form_(form.get("next", ""), user=form.get("user", ""), problem=problem)
        return entered(request, token, device, form.get("next", ""))

    async def listed(self, request: Request) -> Response:
        """Show the user's sessions, or lead to where one signs in."""
        try:
            token, here = await session(self.db, request)
        except SessionInvalid:
            return RedirectResponse(f"{LOGIN}?next={SESSIONS}", 303, headers=forms.HEADERS)
        guard = sessions.guard(token)
        found = await sessions.listed(self.db, here.user.id, self.db.now())
        rows = "\n".join(_row(one, here, guard) for one in found)
        user = html.escape(here.caller.actor)
        linked = await self._linked(here, guard)
        content = LISTED.format(user=user, rows=rows, path=SESSIONS, out=SIGN_OUT, guard=guard, oidc=linked)
        return forms.page("Your sessions", content)

    async def end(self, request: Request) -> Response:
        """End a session of the user's, or all but this."""
        try:
            form, here = await self._guarded(request)
            origin = forms.origin(request, here.caller.actor)
            user, which = here.user, form.get("end", "")

            async def work(tx: Tx) -> None:
                if which == "others":
                    await sessions.end_others(tx, user.id, here.id, user.account_id, origin)
                else:
                    await sessions.end(tx, user.id, which.replace("\0", ""), user.account_id, origin)

            await self.db.change(work)
        except Problem as problem:
            return forms.page("Not done", forms.refusal(problem), problem)
        return RedirectResponse(SESSIONS, 303, headers=forms.HEADERS)

    async def sign_out(self, request: Request) -> Response:
        """End this session, and take its cookie away."""
        try:
            _, here = await self._guarded(request)
            origin = forms.origin(request, here.caller.actor)
            user = here.user
            await self.db.change(lambda tx: sessions.end(tx, user.id, here.id, user.account_id, origin))
        except Problem as problem:
            return forms.page("Not done", forms.refusal(problem), problem)
        answer = forms.page("Signed out", f'<p><a href="{LOGIN}">Sign in again</a></p>')
        answer.headers.append("set-cookie", cookies.written(request.scope, ""))
        return answer

    async def _linked(self, here: Session, guard: str) -> str:
        """Write how one links oneself to the account's OpenID provider, or what one is linked to."""
        try:
            provider = await oidc_providers.of_account(self.db, self.master, here.user.account_id)
        except oidc_providers.ProviderUnknown:
            return ""
        has = any(
            one.issuer == provider.terms.issuer
            for one in await oidc_identities.of_user(self.db, here.user.id)
        )
        told = {"name": html.escape(provider.terms.name), "guard": guard, "path": OIDC}
        return (UNLINK if has else LINK).format(**told)

    async def _begun(self, request: Request, form: dict[str, str]) -> tuple[str, str]:
        """Begin or prove a session; give its cookie, and that of the browser."""
        origin, device = forms.origin(request), cookies.read(request.scope, cookies.DEVICE) or ""
        user = await factors.sign_in(
            self.db, self.master, self.passwords, form.get("user", ""), form.get("password", ""), form.get("code", ""),
            origin, device=device,
        )  # fmt: skip
        return await begin(self.db, request, user)

    async def _guarded(self, request: Request) -> tuple[dict[str, str], Session]:
        return await guarded(self.db, request)


async def session(db: Database, request: Request) -> tuple[str, Session]:
    """Give the cookie and the session of a request, or raise SessionInvalid."""
    token = cookies.read(request.scope)
    if token is None:
        raise SessionInvalid
    return token, await sessions.find(db, token, cookies.audience(request.scope))


async def guarded(db: Database, request: Request) -> tuple[dict[str, str], Session]:
    """Give a form and the session whose page has made it, or raise a Problem."""
    form = await forms.read(request)
    token, here = await session(db, request)
    check_guard(request, token, form)
    return form, here


def check_guard(request: Request, token: str, form: dict[str, str]) -> None:
    """Raise a Problem unless a form was made by a page of the session."""
    cookies.check_origin(request.scope)
    if not hmac.compare_digest(sessions.guard(token).encode(), form.get("guard", "").encode()):
        raise FormInvalid("this form was not made by a page of your session: open the page again")


def credentials(user: str) -> str:
    """Write the fields in which a user shows who they are."""
    return CREDENTIALS.format(user=html.escape(user[:255]))


async def begin(
    db: Database, request: Request, user: Login, *, proved_at: int | None = None
) -> tuple[str, str]:
    """Begin or prove a session of a user who has shown everything, now or at *proved_at*; give its cookie, and the browser's."""
    origin = forms.origin(request, f"{user.account_name}/{user.name}")
    device = cookies.read(request.scope, cookies.DEVICE) or ""
    try:
        _, before = await session(db, request)
    except SessionInvalid:
        before = None

    async def work(tx: Tx) -> tuple[str, str]:
        kept = await devices.remember(tx, user.id, device, origin)
        fresh = proved_at is None or tx.at - proved_at <= sessions.FRESH
        if before is not None and before.user.id == user.id and fresh:
            return await sessions.prove(tx, before, origin), kept
        if before is not None:
            old = before.user
            await sessions.end(tx, old.id, before.id, old.account_id, origin)
        where = cookies.audience(request.scope)
        return await sessions.begin(tx, user, where, origin, proved_at=proved_at), kept

    return await db.change(work)


def entered(request: Request, token: str, device: str, next_: str) -> Response:
    """Lead on who has signed in, with the cookies of session and browser."""
    answer = RedirectResponse(leads(next_), 303, headers=forms.HEADERS)
    answer.headers.append("set-cookie", cookies.written(request.scope, token))
    kept = cookies.written(request.scope, device, cookies.DEVICE, seconds=devices.LASTS // SECOND)
    answer.headers.append("set-cookie", kept)
    return answer


def form_(next_: str, *, user: str = "", account: str = "", problem: Problem | None = None) -> Response:
    """Ask who it is, and say what was refused."""
    content = FORM.format(
        refused=forms.refusal(problem), path=LOGIN, next=html.escape(leads(next_)), credentials=credentials(user),
        oidc=OIDC, account=html.escape(account[:255]),
    )  # fmt: skip
    return forms.page("Sign in", content, problem)


def leads(text: str) -> str:
    """Give where somebody is led after signing in: a page of ours, whatever is asked for."""
    return text if _NEXT.fullmatch(text) else SESSIONS


def _row(one: Session, here: Session, guard: str) -> str:
    since = datetime.fromtimestamp(one.caller.created_at / SECOND, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return ROW.format(
        agent=html.escape(one.agent or "A browser"),
        address=html.escape(one.address or "somewhere"),
        since=since,
        here=" (this one)" if one.id == here.id else "",
        path=SESSIONS,
        guard=guard,
        id=one.id,
    )
