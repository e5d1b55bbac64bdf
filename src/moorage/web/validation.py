"""Where a user decides whether an application gets the credential that it asked for.

One form, with no script and no session: who decides gives the password with the decision, so there is nothing that another
page could ride on. The policy forbids everything but the page's own style and its own form.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from moorage import logs
from moorage.cloud import credentials, logins
from moorage.cloud.credentials import Asked
from moorage.cloud.events import Origin
from moorage.db import Database, Tx
from moorage.errors import Problem
from moorage.identity.passwords import Passwords
from moorage.web.console import STYLE as CONSOLE_STYLE

PATH: Final = "/auth/"
LARGEST_FORM: Final = 16 * 1024
DAY: Final = 86_400_000_000
LIFETIMES: Final[Mapping[str, tuple[str, int | None]]] = {
    "day": ("one day", DAY),
    "month": ("30 days", 30 * DAY),
    "year": ("a year", 365 * DAY),
    "always": ("until it is revoked", None),
}

STYLE = (
    CONSOLE_STYLE
    + """
form { margin-top: 24px; } label { display: block; margin-top: 12px; color: var(--muted); }
input, select, button { font: inherit; color: var(--text); background: var(--canvas); padding: 8px 12px;
  border: 1px solid var(--line); border-radius: 4px; min-height: 44px; }
input, select { display: block; width: 100%; } button { margin: 16px 8px 0 0; cursor: pointer; }
button.allow { background: var(--accent); color: var(--surface); border-color: var(--accent); }
input:focus-visible, select:focus-visible, button:focus-visible, a:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 2px; }
.refused { border-left: 4px solid #b42318; padding-left: 12px; color: var(--text); } a { color: var(--accent); }
"""
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_TOKEN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<main>
<h1>{title}</h1>
{content}
</main>
</html>
"""

FORM = """{refused}<p><strong>{application}</strong>{description} asks to make these calls in your name:</p>
<ul>
{rules}
</ul>
<p>{addresses} Allow it only if you began this yourself: what it may do, whoever holds its key may do.</p>
<form method="post" action="{path}">
<input type="hidden" name="credentialToken" value="{token}">
<label for="user">User, or account/user</label>
<input id="user" name="user" autocomplete="username" required value="{user}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<label for="lifetime">Allowed for</label>
<select id="lifetime" name="lifetime">
{lifetimes}
</select>
<button class="allow" name="decision" value="allow">Allow</button>
<button name="decision" value="refuse">Refuse</button>
</form>
"""


class FormInvalid(Problem):
    """The form is not the one that the page has."""

    code, status, summary = "BAD_REQUEST", 400, "this is not the form of this page"


@dataclass(frozen=True, slots=True)
class Validation:
    """The page, and who may decide on it."""

    db: Database
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
            return self._form(await self._asked(request.query_params.get("credentialToken", "")))
        except Problem as problem:
            return _told("No such request", str(problem), problem.status)

    async def decide(self, request: Request) -> Response:
        """Sign the user in and do as they decide."""
        try:
            form = await _form(request)
            asked = await self._asked(form.get("credentialToken", ""))
        except Problem as problem:
            return _told("No such request", str(problem), problem.status)
        origin = _origin(request)
        try:
            allow, expires = self._decision(form)
            user = await logins.sign_in(
                self.db, self.passwords, form.get("user", ""), form.get("password", ""), origin
            )
            origin = replace(origin, actor=f"{user.account_name}/{user.name}")

            async def work(tx: Tx) -> None:
                await credentials.decide(tx, asked.id, user, allow=allow, expires_at=expires, origin=origin)

            await self.db.change(work)
        except Problem as problem:
            return self._form(asked, user=form.get("user", ""), problem=problem)
        return _done(asked, allow=allow)

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

    def _form(self, asked: Asked, *, user: str = "", problem: Problem | None = None) -> Response:
        rules = "\n".join(
            f"<li><code>{html.escape(f'{one.method} {one.path}')}</code></li>" for one in asked.limits.rules
        )
        networks = asked.limits.networks
        kept = "It may be used from any address."
        if networks is not None:
            kept = f"It may be used from {html.escape(', '.join(map(str, networks)))} only."
        content = FORM.format(
            path=PATH,
            refused=""
            if problem is None
            else f'<p class="refused" role="alert">{html.escape(str(problem))}</p>\n',
            application=html.escape(asked.application),
            description=f" ({html.escape(asked.description)})" if asked.description else "",
            rules=rules,
            addresses=kept,
            token=asked.id,
            user=html.escape(user[:255]),
            lifetimes="\n".join(
                f'<option value="{value}">{text}</option>' for value, (text, _) in LIFETIMES.items()
            ),
        )
        return _page("Allow this application?", content, problem)


async def _form(request: Request) -> dict[str, str]:
    """Read a form, or raise FormInvalid."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_FORM:
            raise FormInvalid(f"a form has at most {LARGEST_FORM} bytes")
    try:
        return dict(
            parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=20, errors="strict")
        )
    except ValueError:
        raise FormInvalid from None


def _origin(request: Request) -> Origin:
    address = request.client.host if request.client else ""
    agent = request.headers.get("user-agent", "")[:256].replace("\0", "")
    return Origin("anonymous", "customer", logs.request_id.get(), address, agent)


def _done(asked: Asked, *, allow: bool) -> Response:
    told = f"{asked.application} may now make the calls that it asked for." if allow else "It got nothing."
    content = f"<p>{html.escape(told)} You may close this page.</p>"
    if asked.redirection and allow:
        # Told as a link, not followed: the policy keeps the form on this page, and a person sees where it leads.
        link, name = html.escape(asked.redirection), html.escape(urlsplit(asked.redirection).netloc)
        content += f'\n<p><a rel="noreferrer noopener" href="{link}">Go on at {name}</a></p>'
    return _page("Allowed" if allow else "Refused", content)


def _told(title: str, text: str, status: int) -> Response:
    answer = _page(title, f"<p>{html.escape(text)}</p>")
    answer.status_code = status
    return answer


def _page(title: str, content: str, problem: Problem | None = None) -> Response:
    text = PAGE.format(title=html.escape(title), style=STYLE, content=content)
    more = {} if problem is None else dict(problem.headers())
    return HTMLResponse(text, 200 if problem is None else problem.status, headers={**HEADERS, **more})
