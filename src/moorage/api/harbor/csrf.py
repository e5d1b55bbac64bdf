"""The guard of requests that carry a session's cookie, as Harbor has it.

A cookie that pages of other sites cannot read holds a secret; a header shows it masked, anew each time, to whoever reads an
answer. A change must send both. Requests without the session's cookie cannot be made in anybody's name, and need neither.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from moorage import cookies
from moorage.api.harbor.problems import Forbidden

if TYPE_CHECKING:
    from starlette.types import Scope

SESSION: Final = "sid"
COOKIE: Final = "_gorilla_csrf"
HEADER: Final = "x-harbor-csrf-token"
FIELD: Final = "gorilla.csrf.Token"
"""Where a form has what scripts send in the header."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_SIZE: Final = 32
_TWELVE_HOURS: Final = 12 * 3600


@dataclass(frozen=True, slots=True)
class Guarded:
    """What a request has of the guard, and what its answer gives."""

    secret: bytes
    is_new: bool
    secure: bool

    @classmethod
    def of(cls, scope: Scope) -> Guarded:
        """Read the guard's cookie, or make up a secret for one."""
        secret = _decoded(cookie(scope, COOKIE))
        fresh = secret is None or len(secret) != _SIZE
        return cls(
            secrets.token_bytes(_SIZE) if fresh or secret is None else secret,
            fresh,
            scope["scheme"] == "https",
        )

    def check(self, scope: Scope, written: str = "") -> None:
        """Raise Forbidden for a change that does not show what only this address's own pages can read.

        A script of theirs shows it in the header; a form has it *written* in a field.
        """
        if scope["method"] in _SAFE:
            return
        try:
            cookies.check_origin(scope)
        except cookies.CrossSite as problem:
            raise Forbidden(str(problem)) from None
        shown = next((value for name, value in scope["headers"] if name == HEADER.encode()), b"")
        masked = _decoded(bytes(shown).decode("latin-1") or written) or b""
        pad, hidden = masked[:_SIZE], masked[_SIZE:]
        plain = bytes(one ^ other for one, other in zip(pad, hidden, strict=False))
        if self.is_new or len(masked) != 2 * _SIZE or not hmac.compare_digest(plain, self.secret):
            raise Forbidden(
                "CSRF token invalid: a change that carries a session's cookie takes the header X-Harbor-CSRF-Token, "
                f"with what the last answer had in it, and the cookie {COOKIE}"
            )

    def token(self) -> str:
        """Give the secret masked, anew each time."""
        pad = secrets.token_bytes(_SIZE)
        hidden = bytes(one ^ other for one, other in zip(pad, self.secret, strict=True))
        return base64.b64encode(pad + hidden).decode()

    def headers(self) -> list[tuple[str, str]]:
        """Give what the answer tells: the secret masked, and the cookie if it is new."""
        made = [(HEADER, self.token())]
        if self.is_new:
            text = base64.urlsafe_b64encode(self.secret).decode().rstrip("=")
            secure = "; Secure" if self.secure else ""
            shown = f"{COOKIE}={text}; Path=/; Max-Age={_TWELVE_HOURS}; HttpOnly{secure}; SameSite=Strict"
            made.append(("set-cookie", shown))
        return made


def cookie(scope: Scope, wanted: str) -> str:
    """Give a cookie; of two of one name neither is believed, for one was put there by another host."""
    found = []
    for known, line in scope["headers"]:
        if known == b"cookie":
            for pair in bytes(line).decode("latin-1").split(";"):
                name, _, value = pair.strip().partition("=")
                if name == wanted:
                    found.append(value)
    return found[0] if len(found) == 1 else ""


def session(scope: Scope, value: str) -> tuple[str, str]:
    """Write the header that gives a browser its session; an empty value takes it away."""
    secure = "; Secure" if scope["scheme"] == "https" else ""
    ends = "" if value else "; Max-Age=0"
    return "set-cookie", f"{SESSION}={value}; Path=/; HttpOnly{secure}; SameSite=Lax{ends}"


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(
            text + "=" * (-len(text) % 4), b"-_" if set(text) & set("-_") else None, validate=True
        )
    except (binascii.Error, ValueError):
        return None
