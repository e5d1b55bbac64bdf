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
from moorage.cloud import devices, factors, sessions
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
"""
LISTED = """<p>You are signed in as <strong>{user}</strong>.</p>
<ul>
{rows}
</ul>
<form method="post" action="{path}"><input type="hidden" name="guard" value="{guard}">
<button name="end" value="others">End all others</button></form>
<form method="post" action="{out}"><input type="hidden" name="guard" value="{guard}">
<button class="allow">Sign out</button></form>
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
        return _form(_next(request.query_params.get("next", "")))

    async def sign_in(self, request: Request) -> Response:
        """Begin a session, or prove once more who has one, and lead on; the cookie is another each time."""
        form: dict[str, str] = {}
        try:
            cookies.check_origin(request.scope)
            form = await forms.read(request)
            token, device = await self._begun(request, form)
        except Problem as problem:
            return _form(_next(form.get("next", "")), user=form.get("user", ""), problem=problem)
        answer = RedirectResponse(_next(form.get("next", "")), 303, headers=forms.HEADERS)
        answer.headers.append("set-cookie", cookies.written(request.scope, token))
        kept = cookies.written(request.scope, device, cookies.DEVICE, seconds=devices.LASTS // SECOND)
        answer.headers.append("set-cookie", kept)
        return answer

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
        content = LISTED.format(user=user, rows=rows, path=SESSIONS, out=SIGN_OUT, guard=guard)
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

    async def _begun(self, request: Request, form: dict[str, str]) -> tuple[str, str]:
        """Begin or prove a session; give its cookie, and that of the browser."""
        origin, device = forms.origin(request), cookies.read(request.scope, cookies.DEVICE) or ""
        user = await factors.sign_in(
            self.db, self.master, self.passwords, form.get("user", ""), form.get("password", ""), form.get("code", ""),
            origin, device=device,
        )  # fmt: skip
        origin = forms.origin(request, f"{user.account_name}/{user.name}")
        try:
            _, before = await session(self.db, request)
        except SessionInvalid:
            before = None

        async def work(tx: Tx) -> tuple[str, str]:
            kept = await devices.remember(tx, user.id, device, origin)
            if before is not None and before.user.id == user.id:
                return await sessions.prove(tx, before, origin), kept
            if before is not None:
                old = before.user
                await sessions.end(tx, old.id, before.id, old.account_id, origin)
            return await sessions.begin(tx, user, cookies.audience(request.scope), origin), kept

        return await self.db.change(work)

    async def _guarded(self, request: Request) -> tuple[dict[str, str], Session]:
        form = await forms.read(request)
        token, here = await session(self.db, request)
        check_guard(request, token, form)
        return form, here


async def session(db: Database, request: Request) -> tuple[str, Session]:
    """Give the cookie and the session of a request, or raise SessionInvalid."""
    token = cookies.read(request.scope)
    if token is None:
        raise SessionInvalid
    return token, await sessions.find(db, token, cookies.audience(request.scope))


def check_guard(request: Request, token: str, form: dict[str, str]) -> None:
    """Raise a Problem unless a form was made by a page of the session."""
    cookies.check_origin(request.scope)
    if not hmac.compare_digest(sessions.guard(token).encode(), form.get("guard", "").encode()):
        raise FormInvalid("this form was not made by a page of your session: open the page again")


def credentials(user: str) -> str:
    """Write the fields in which a user shows who they are."""
    return CREDENTIALS.format(user=html.escape(user[:255]))


def _form(next_: str, *, user: str = "", problem: Problem | None = None) -> Response:
    content = FORM.format(
        refused=forms.refusal(problem), path=LOGIN, next=html.escape(next_), credentials=credentials(user)
    )
    return forms.page("Sign in", content, problem)


def _next(text: str) -> str:
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
