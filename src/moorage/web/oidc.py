"""Signing in by an account's OpenID provider: the pages that lead there and back. None needs a script.

A form leads to no other host: browsers hold the policy of a page against whatever a form's answer leads to. So the answer is a
page that leads on by itself, and has a link for whoever it does not lead.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from moorage import cookies
from moorage.cloud import oidc_identities, oidc_providers, sessions
from moorage.cloud.oidc_providers import Provider
from moorage.cloud.oidc_sign_in import Asked, Entered, SignIns
from moorage.cloud.sessions import Session, SessionInvalid
from moorage.db import Tx
from moorage.errors import Problem
from moorage.outbound.oidc_codes import LASTS, FlowUnknown, Going
from moorage.web import forms, sign_in
from moorage.web.sign_in import LOGIN, OIDC, SESSIONS

COOKIE: Final = "moorage-oidc"
SECOND: Final = 1_000_000
LONGEST: Final = 4096
"""How long each part of an answer may be."""

GOING = """<p>You go on to <strong>{host}</strong>, which asks who you are.</p>
<p><a class="allow" rel="noreferrer" href="{url}">Go on</a></p>
"""
CODE = """{refused}<form method="post" action="{path}/code">
<input type="hidden" name="state" value="{state}"><input type="hidden" name="next" value="{next}">
<label for="code">Code of your authenticator, or a recovery code</label>
<input id="code" name="code" autocomplete="one-time-code" required>
<button class="allow">Sign in</button>
</form>
"""
REFUSED = """{refused}<p>Signing in with a password goes on: <a href="{login}">sign in</a>.</p>
"""


@dataclass(frozen=True, slots=True)
class Oidc:
    """The pages."""

    sign_ins: SignIns

    def routes(self) -> list[Route]:
        """List the pages: all but linking are anybody's."""
        return [
            Route(OIDC, self.begin, methods=["POST"]),
            Route(f"{OIDC}/link", self.link, methods=["POST"]),
            Route(f"{OIDC}/unlink", self.unlink, methods=["POST"]),
            Route(f"{OIDC}/code", self.prove, methods=["POST"]),
            Route(f"{OIDC}/callback/{{provider}}", self.finish, methods=["GET"]),
        ]

    async def begin(self, request: Request) -> Response:
        """Lead to the provider of an account."""
        form: dict[str, str] = {}
        try:
            cookies.check_origin(request.scope)
            form = await forms.read(request)
            provider = await oidc_providers.named(
                self.sign_ins.db, self.sign_ins.master, form.get("account", "").strip()
            )
            asked = Asked(
                redirect(request.scope, provider.id),
                sign_in.leads(form.get("next", "")),
                # Who is signed in already does it to show everything once more.
                again=await self._session(request) is not None,
                invitation=form.get("invitation", "").strip(),
            )
            return await self._going(request, provider, asked)
        except Problem as problem:
            return sign_in.form_(form.get("next", ""), account=form.get("account", ""), problem=problem)

    async def link(self, request: Request) -> Response:
        """Lead to the provider of one's account, to be signed in by it from now on."""
        try:
            _, here = await sign_in.guarded(self.sign_ins.db, request)
            sessions.check_proof(here.caller, self.sign_ins.db.now())
            account = here.user.account_name
            provider = await oidc_providers.named(self.sign_ins.db, self.sign_ins.master, account)
            asked = Asked(redirect(request.scope, provider.id), SESSIONS, links=here)
            return await self._going(request, provider, asked)
        except Problem as problem:
            return forms.page("Not done", forms.refusal(problem), problem)

    async def unlink(self, request: Request) -> Response:
        """Be signed in by the provider no more."""
        try:
            _, here = await sign_in.guarded(self.sign_ins.db, request)
            sessions.check_proof(here.caller, self.sign_ins.db.now())
            user, origin = here.user, forms.origin(request, here.caller.actor)

            async def work(tx: Tx) -> None:
                await oidc_identities.unlink(tx, user.account_id, user.id, origin)

            await self.sign_ins.db.change(work)
        except Problem as problem:
            return forms.page("Not done", forms.refusal(problem), problem)
        return RedirectResponse(SESSIONS, 303, headers=forms.HEADERS)

    async def finish(self, request: Request) -> Response:
        """Take what the provider sends back, and begin a session."""
        id_ = request.path_params["provider"]
        try:
            given = _answer(request)
            here = await self._session(request)
            origin = forms.origin(request, here.caller.actor if here else "anonymous")
            entered = await self.sign_ins.finish(
                id_, redirect(request.scope, id_), given, self._secret(request), here, origin
            )
            return await self._entered(request, entered)
        except Problem as problem:
            return _refused(request, problem)

    async def prove(self, request: Request) -> Response:
        """Take the code of who has a second factor, and begin a session."""
        form: dict[str, str] = {}
        try:
            cookies.check_origin(request.scope)
            form = await forms.read(request)
            state, code = form.get("state", ""), form.get("code", "")
            entered = await self.sign_ins.prove(state, self._secret(request), code, forms.origin(request))
            return await self._entered(request, entered)
        except FlowUnknown as problem:
            return _refused(request, problem)
        except Problem as problem:
            return _code(form.get("state", ""), form.get("next", ""), problem)

    async def _going(self, request: Request, provider: Provider, asked: Asked) -> Response:
        going: Going = await self.sign_ins.begin(provider, asked, forms.origin(request))
        host = html.escape(urlsplit(going.url).netloc)
        answer = forms.page("Going on", GOING.format(host=host, url=html.escape(going.url)))
        answer.headers["refresh"] = f"0; url={going.url}"
        kept = cookies.written(request.scope, going.secret, COOKIE, seconds=LASTS // SECOND)
        answer.headers.append("set-cookie", kept)
        return answer

    async def _entered(self, request: Request, found: Entered) -> Response:
        if found.waiting:
            return _code(found.waiting, found.next, None)
        if found.linked:
            answer: Response = RedirectResponse(found.next, 303, headers=forms.HEADERS)
        else:
            made = await sign_in.begin(self.sign_ins.db, request, found.user, proved_at=found.proved_at)
            answer = sign_in.entered(request, *made, found.next)
        answer.headers.append("set-cookie", cookies.written(request.scope, "", COOKIE))
        return answer

    async def _session(self, request: Request) -> Session | None:
        try:
            return (await sign_in.session(self.sign_ins.db, request))[1]
        except SessionInvalid:
            return None

    @staticmethod
    def _secret(request: Request) -> str:
        return cookies.read(request.scope, COOKIE) or ""


def redirect(scope: Scope, provider: str) -> str:
    """Give the address that a provider sends browsers back to: this one, exactly."""
    return f"{cookies.address(scope)}{OIDC}/callback/{provider}"


def _answer(request: Request) -> dict[str, str]:
    """Read an answer; of two values of one name neither is believed."""
    given = request.query_params.multi_items()
    found = dict(given)
    if len(found) != len(given) or any(len(value) > LONGEST for value in found.values()):
        raise FlowUnknown
    return found


def _code(state: str, next_: str, problem: Problem | None) -> Response:
    content = CODE.format(
        refused=forms.refusal(problem),
        path=OIDC,
        state=html.escape(state),
        next=html.escape(sign_in.leads(next_)),
    )
    return forms.page("One more step", content, problem)


def _refused(request: Request, problem: Problem) -> Response:
    answer = forms.page("Not signed in", REFUSED.format(refused=forms.refusal(problem), login=LOGIN), problem)
    answer.headers.append("set-cookie", cookies.written(request.scope, "", COOKIE))
    return answer
