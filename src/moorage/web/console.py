"""The console's first page: it runs, and the commands to a first push.

One page with no script, no picture and no other request, so its policy forbids everything but its
own style, which it names by hash. Whoever does not ask for HTML gets the same as plain text.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from moorage.first_start import Step

STYLE = """
:root { color-scheme: light dark; --canvas: #f5f7fa; --surface: #fff; --sunken: #edf0f5;
  --line: #d6dce5; --text: #131a26; --muted: #475467; --accent: #0f5cb5; --ok: #17693a; }
@media (prefers-color-scheme: dark) { :root { --canvas: #0d1219; --surface: #151c26;
  --sunken: #0f151d; --line: #2c3746; --text: #e7ecf3; --muted: #a8b4c4; --accent: #86bcff;
  --ok: #76d397; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 24px 16px; background: var(--canvas); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 72ch; margin: 0 auto; padding: 8px 24px 24px; background: var(--surface);
  border: 1px solid var(--line); border-radius: 8px; }
h1 { font-size: 1.625rem; line-height: 1.25; } h2 { font-size: 1.25rem; line-height: 1.25; }
.state { color: var(--ok); font-weight: 620; } p, li::marker { color: var(--muted); }
ol { padding-left: 1.5rem; } li { margin: 12px 0; } strong { color: var(--text); }
pre { margin: 4px 0; padding: 12px; overflow-x: auto; background: var(--sunken);
  border: 1px solid var(--line); border-radius: 4px; }
code { font: 0.875rem/1.5 ui-monospace, monospace; }
pre:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Moorage is running</title>
<style>{style}</style>
<main>
<h1>Moorage <span class="state">is running</span></h1>
<p>The first registry answers at <strong>{address}</strong>. Its administrator is
<strong>admin</strong>; the password was printed at the first start, unless MOORAGE_PASSWORD set it.</p>
<h2>Your first push</h2>
<ol>
{steps}
</ol>
<p>Any image that <code>docker images</code> shows will do in place of <code>alpine</code>.</p>
</main>
</html>
"""

TEXT = """Moorage is running. The first registry answers at {address}.

Your first push:

{steps}
"""


@dataclass(frozen=True, slots=True)
class Console:
    """The page, for the registry at an address."""

    address: str
    steps: Sequence[Step]

    def routes(self) -> list[Route]:
        """List the one page, which anyone may read: it shows no more than an address."""
        return [Route("/", self.page, methods=["GET", "HEAD"])]

    async def page(self, request: Request) -> Response:
        """Show the page, as HTML to browsers and as text to others."""
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(self._html(), headers=HEADERS)
        return PlainTextResponse(self._text(), headers=HEADERS)

    def _html(self) -> str:
        steps = "\n".join(
            f'<li>{html.escape(step.purpose)}<pre tabindex="0"><code>{html.escape(step.command)}</code></pre></li>'
            for step in self.steps
        )
        return PAGE.format(style=STYLE, address=html.escape(self.address), steps=steps)

    def _text(self) -> str:
        steps = "\n".join(f"    {step.command}" for step in self.steps)
        return TEXT.format(address=self.address, steps=steps)
