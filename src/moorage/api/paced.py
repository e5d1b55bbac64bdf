"""Forms by which people sign in at the console, held to the rate of sign-ins from one address."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from moorage.api.front import refuse
from moorage.identity.passwords import lane_of
from moorage.registry.rates import OF_PROVIDER, RateExceeded, Rates

FORMS = "/auth/"
COUNTED = "/auth/oauth2/"
"""What is asked below this is counted, and refused, by who answers it."""


@dataclass(frozen=True, slots=True)
class Paced:
    """Passes requests on, but for forms that come faster than they may."""

    app: ASGIApp
    rates: Rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path.startswith(FORMS) and not path.startswith(COUNTED) and scope["method"] == "POST":
            client = scope.get("client")
            try:
                await self.rates.take(
                    OF_PROVIDER, "sign-ins", lane_of(client[0] if client else "", "nowhere")
                )
            except RateExceeded as problem:
                await refuse(scope, problem)(scope, receive, send)
                return
        await self.app(scope, receive, send)
