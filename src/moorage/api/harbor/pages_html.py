"""The few pages that stand below ``/c/``: plain, without a script, and allowed to do nothing but to show and to send their form."""

from __future__ import annotations

import base64
import hashlib
import html
from typing import TYPE_CHECKING, Final

from moorage.api.harbor import answers, csrf

if TYPE_CHECKING:
    from moorage.api.dialects import Answer
    from moorage.api.harbor.visits import Visit

_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem}"
    "label{display:block;margin:1rem 0}input,button{font:inherit;min-height:44px;padding:.5rem .75rem}"
    "input{display:block;width:100%;box-sizing:border-box}code{overflow-wrap:anywhere}"
    "[role=alert]{border-left:4px solid #b42318;padding-left:.75rem}"
)
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_HEADERS: Final = (
    ("content-security-policy", _POLICY),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
)


def page(title: str, *content: str, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Make a page; *content* is HTML."""
    text = (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, '
        f'initial-scale=1">\n<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n<main>\n<h1>{html.escape(title)}</h1>\n'
        + "\n".join(content)
        + "\n</main>\n</html>\n"
    )
    return answers.raw(text.encode(), *_HEADERS, *headers, media="text/html; charset=utf-8", status=status)


def told(text: str) -> str:
    """Write a paragraph."""
    return f"<p>{html.escape(text)}</p>"


def refused(text: str) -> str:
    """Write what a form is refused for, above it."""
    return f'<p role="alert">{html.escape(text)}</p>' if text else ""


def form(visit: Visit, action: str, *fields: str, button: str) -> str:
    """Write a form that only this page can send."""
    guard = f'<input type="hidden" name="{csrf.FIELD}" value="{html.escape(visit.guarded.token())}">'
    inner = "\n".join((guard, *fields, f"<button>{html.escape(button)}</button>"))
    return f'<form method="post" action="{html.escape(action)}">\n{inner}\n</form>'


def field(label: str, name: str, value: str = "") -> str:
    """Write a field to type into."""
    return (
        f'<label>{html.escape(label)}\n<input name="{html.escape(name)}" value="{html.escape(value)}" required maxlength="255" '
        f'autocomplete="username" autocapitalize="none" spellcheck="false"></label>'
    )
