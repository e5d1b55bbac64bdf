"""Where a user decides whether an application gets the credential that it asked for.

One form, with no script. Who has signed in at this address lately decides at once, with a form that only a page of their session
can make; who has not gives password and code with the decision, so there is nothing that another page could ride on.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moorage import cookies
from moorage.cloud import credentials, factors, sessions
from moorage.cloud.credentials import Asked
from moorage.cloud.logins import Login
from moorage.cloud.sessions import ProofNeeded, Session, SessionInvalid
from moorage.db import Database, Tx
from moorage.errors import Problem
from moorage.identity.keys import MasterKey
from moorage.identity.passwords import Passwords
from moorage.web import forms, sign_in
from moorage.web.forms import FormInvalid

PATH: Final = "/auth/"
DAY: Final = 86_400_000_000
LIFETIMES: Final[Mapping[str, tuple[str, int | None]]] = {
    "day": ("one day", DAY),
    "month": ("30 days", 30 * DAY),
    "year": ("a year", 365 * DAY),
    "always": ("until it is revoked", None),
}

_TOKEN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

FORM = """{refused}<p><strong>{application}</strong>{description} asks to make these calls in your name:</p>
<ul>
{rules}
</ul>
<p>{addresses} Allow it only if you began this yourself: what it may do, whoever holds its key may do.</p>
<form method="post" action="{path}">
<input type="hidden" name="credentialToken" value="{token}">
{who}<label for="lifetime">Allowed for</label>
<select id="lifetime" name="lifetime">
{lifetimes}
</select>
<button class="allow" name="decision" value="allow">Allow</button>
<button name="decision" value="refuse">Refuse</button>
</form>
"""


@dataclass(frozen=True, slots=True)
class Validation:
    """The page, and who may decide on it."""

    db: Database
    master: MasterKey
    passwords: Passwords

    def routes(self) -> list[Route]:
        """List the page and its form, which anyone may open: the password is asked with the decision."""
        return [
            Route(PATH, self.page, methods=["GET", "HEAD"]),
            Route(PATH, self.decide, methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        """Show what is asked for."""
        try:
            asked = await self._asked(request.query_params.get("credentialToken", ""))
        except Problem as problem:
            return _told("No such request", str(problem), problem.status)
        return self._form(asked, await self._known(request))

    async def decide(self, request: Request) -> Response:
        """Believe who the user is, and do as they decide."""
        try:
            form = await forms.read(request)
            asked = await self._asked(form.get("credentialToken", ""))
        except Problem as problem:
            return _told("No such request", str(problem), problem.status)
        try:
            cookies.check_origin(request.scope)
            allow, expires = self._decision(form)
            user = await self._user(request, form)
            origin = forms.origin(request, f"{user.account_name}/{user.name}")

            async def work(tx: Tx) -> None:
                await credentials.decide(tx, asked.id, user, allow=allow, expires_at=expires, origin=origin)

            await self.db.change(work)
        except Problem as problem:
            return self._form(asked, await self._known(request), user=form.get("user", ""), problem=problem)
        return _done(asked, allow=allow)

    async def _known(self, request: Request) -> tuple[str, Session] | None:
        """Give the session of a user who has shown everything lately: none else decides without a password."""
        try:
            token, found = await sign_in.session(self.db, request)
            sessions.check_proof(found.caller, self.db.now())
        except (SessionInvalid, ProofNeeded):
            return None
        return token, found

    async def _user(self, request: Request, form: dict[str, str]) -> Login:
        known = await self._known(request)
        if known is not None and "guard" in form:
            sign_in.check_guard(request, known[0], form)
            return known[1].user
        return await factors.sign_in(
            self.db, self.master, self.passwords, form.get("user", ""), form.get("password", ""), form.get("code", ""),
            forms.origin(request), device=cookies.read(request.scope, cookies.DEVICE) or "",
        )  # fmt: skip

    async def _asked(self, token: str) -> Asked:
        if not _TOKEN.fullmatch(token):
            raise credentials.RequestUnknown
        return await credentials.asked(self.db, token, self.db.now())

    def _decision(self, form: Mapping[str, str]) -> tuple[bool, int | None]:
        decision, lifetime = form.get("decision"), LIFETIMES.get(form.get("lifetime", ""))
        if decision not in {"allow", "refuse"} or lifetime is None:
            raise FormInvalid
        lasts = lifetime[1]
        return decision == "allow", None if lasts is None else self.db.now() + lasts

    def _form(
        self,
        asked: Asked,
        known: tuple[str, Session] | None,
        *,
        user: str = "",
        problem: Problem | None = None,
    ) -> Response:
        rules = "\n".join(
            f"<li><code>{html.escape(f'{one.method} {one.path}')}</code></li>" for one in asked.limits.rules
        )
        networks = asked.limits.networks
        kept = "It may be used from any address."
        if networks is not None:
            kept = f"It may be used from {html.escape(', '.join(map(str, networks)))} only."
        content = FORM.format(
            path=PATH,
            refused=forms.refusal(problem),
            application=html.escape(asked.application),
            description=f" ({html.escape(asked.description)})" if asked.description else "",
            rules=rules,
            addresses=kept,
            token=asked.id,
            who=sign_in.credentials(user) if known is None else _signed_in(*known),
            lifetimes="\n".join(
                f'<option value="{value}">{text}</option>' for value, (text, _) in LIFETIMES.items()
            ),
        )
        return forms.page("Allow this application?", content, problem)


def _signed_in(token: str, known: Session) -> str:
    """Write who decides, in place of the fields that would ask."""
    return (
        f"<p>You are signed in as <strong>{html.escape(known.caller.actor)}</strong>.</p>\n"
        f'<input type="hidden" name="guard" value="{sessions.guard(token)}">\n'
    )


def _done(asked: Asked, *, allow: bool) -> Response:
    told = f"{asked.application} may now make the calls that it asked for." if allow else "It got nothing."
    content = f"<p>{html.escape(told)} You may close this page.</p>"
    if asked.redirection and allow:
        # Told as a link, not followed: the policy keeps the form on this page, and a person sees where it leads.
        link, name = html.escape(asked.redirection), html.escape(urlsplit(asked.redirection).netloc)
        content += f'\n<p><a rel="noreferrer noopener" href="{link}">Go on at {name}</a></p>'
    return forms.page("Allowed" if allow else "Refused", content)


def _told(title: str, text: str, status: int) -> Response:
    answer = forms.page(title, f"<p>{html.escape(text)}</p>")
    answer.status_code = status
    return answer
