"""What pages with a form share: their look, the policy that forbids them everything else, and how a form is read."""

from __future__ import annotations

import base64
import hashlib
import html
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from moorage import logs
from moorage.cloud.events import Origin
from moorage.errors import Problem
from moorage.web.console import STYLE as CONSOLE_STYLE

LARGEST_FORM: Final = 16 * 1024

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


class FormInvalid(Problem):
    """The form is not the one that the page has."""

    code, status, summary = "BAD_REQUEST", 400, "this is not the form of this page"


async def read(request: Request) -> dict[str, str]:
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


def origin(request: Request, actor: str = "anonymous") -> Origin:
    """Say who makes a change through a page."""
    address = request.client.host if request.client else ""
    agent = request.headers.get("user-agent", "")[:256].replace("\0", "")
    return Origin(actor, "customer", logs.request_id.get(), address, agent)


def refusal(problem: Problem | None) -> str:
    """Write what a form is refused for, above it."""
    return "" if problem is None else f'<p class="refused" role="alert">{html.escape(str(problem))}</p>\n'


def page(title: str, content: str, problem: Problem | None = None) -> Response:
    """Make a page, with the status of what it refuses."""
    text = PAGE.format(title=html.escape(title), style=STYLE, content=content)
    more = {} if problem is None else dict(problem.headers())
    return HTMLResponse(text, 200 if problem is None else problem.status, headers={**HEADERS, **more})
