"""The cookie of a session at the console, and how a request is known to come from the console's own pages.

Browsers send a host's cookies to its every port. So the cookie is believed only at the address where its session was begun:
`audience` says which that is for a request. Over TLS its name begins with ``__Host-``, so no sibling host can set it.
"""

from __future__ import annotations

from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Final

from starlette.types import Scope

from moorage.errors import Problem

NAME: Final = "moorage"
DEVICE: Final = "moorage-device"
"""Says which browser it is, signed in or not; alone it opens nothing."""
GUARD: Final = "x-moorage-guard"
"""The header in which a page's script sends what only the console's pages know."""

_OWN = frozenset({"same-origin", "none"})


class CrossSite(Problem):
    """A page of another site, port or host made this request in the user's name."""

    code, status, summary = "FORBIDDEN", 403, "this request does not come from a page of this address"


def audience(scope: Scope) -> str:
    """Give the part of Moorage and the address that a request is made to."""
    return f"console {address(scope)}"


def read(scope: Scope, what: str = NAME) -> str | None:
    """Give the session's cookie; of two of one name neither is believed, for one was put there by another host."""
    found = []
    for line in _all(scope, b"cookie"):
        for pair in line.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == _name(scope, what):
                found.append(value)
    return found[0] if len(found) == 1 and found[0] else None


def written(scope: Scope, token: str, what: str = NAME, *, seconds: int | None = None) -> str:
    """Write the header that gives a browser its session's cookie; an empty token takes it away."""
    cookie: SimpleCookie = SimpleCookie()
    name = _name(scope, what)
    cookie[name] = token
    if seconds is not None:
        cookie[name]["max-age"] = seconds
    cookie[name]["path"] = "/"
    cookie[name]["httponly"] = True
    cookie[name]["samesite"] = "Lax"
    if scope["scheme"] == "https":
        cookie[name]["secure"] = True
    if not token:
        cookie[name]["max-age"] = 0
    return cookie[name].OutputString()


def check_origin(scope: Scope) -> None:
    """Raise CrossSite for what a browser says was made by a page of another origin; who is no browser says nothing."""
    site = next(_all(scope, b"sec-fetch-site"), None)
    if site is not None and site not in _OWN:
        raise CrossSite
    origin = next(_all(scope, b"origin"), None)
    if origin is not None and origin != address(scope):
        raise CrossSite


def _name(scope: Scope, what: str) -> str:
    return f"__Host-{what}" if scope["scheme"] == "https" else what


def address(scope: Scope) -> str:
    """Give the address that a request is made to, as browsers name an origin."""
    return f"{scope['scheme']}://{next(_all(scope, b'host'), '')}"


def _all(scope: Scope, name: bytes) -> Iterator[str]:
    return (value.decode("latin-1") for known, value in scope["headers"] if known == name)
