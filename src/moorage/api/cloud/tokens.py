"""The token endpoint of OAuth2: a client shows its id and secret and is given a token for an hour (RFC 6749, 4.4).

It stands where the provider's does, below the host and not below the API's prefix. Errors are OAuth2's own (5.2), since the
libraries that the SDKs use read no others.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import ClassVar, Final
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from moorage import logs
from moorage.api.dialects import SERVER_ERROR
from moorage.api.http.bodies import Body
from moorage.cloud import oauth2
from moorage.cloud.callers import AddressNotAllowed
from moorage.cloud.events import Origin
from moorage.cloud.oauth2 import Client, ClientInvalid
from moorage.db import Database
from moorage.errors import Problem, Unavailable
from moorage.identity.passwords import lane_of
from moorage.registry.rates import OF_PROVIDER, RateExceeded, Rates, unlimited

TOKEN: Final = "/auth/oauth2/token"  # noqa: S105 - a path, no password
REVOKE: Final = "/auth/oauth2/revoke"
GRANT: Final = "client_credentials"
SCOPE: Final = "all"
LARGEST_FORM: Final = 16 * 1024
FORM: Final = "application/x-www-form-urlencoded"

_MOST_FIELDS = 20
_UNSTORED: Final = {"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff"}


class GrantRefused(Problem):
    """The request for a token breaks a rule of OAuth2; ``error`` is the code that its clients know."""

    code, status, summary = "BAD_REQUEST", 400, "not a request for a token"
    error: ClassVar[str] = "invalid_request"


class GrantUnsupported(GrantRefused):
    """Another grant is asked for than that of a client's own credentials."""

    summary, error = f"grant_type: must be {GRANT}", "unsupported_grant_type"


class ScopeInvalid(GrantRefused):
    """Another scope is asked for than all that the client's policies allow."""

    summary, error = f"scope: must be {SCOPE}, or be left out", "invalid_scope"


class FormTooLarge(GrantRefused):
    """A form that no client needs to send."""

    code, status, summary = "SIZE_INVALID", 413, f"a form has at most {LARGEST_FORM} bytes"


@dataclass(frozen=True, slots=True)
class Tokens:
    """The endpoints, and the rows of who may ask them."""

    db: Database
    noted: dict[str, int] = field(default_factory=dict)
    """When each client was last refused in the record."""
    rates: Rates = field(default_factory=unlimited)

    def routes(self) -> list[Route]:
        """List the endpoints, each of which asks for the client's secret."""
        return [
            Route(TOKEN, self.give, methods=["POST"]),
            Route(REVOKE, self.revoke, methods=["POST"]),
        ]

    async def give(self, request: Request) -> Response:
        """Give a token, or refuse it."""
        try:
            fields = await _fields(request)
            if fields.get("grant_type", "") != GRANT:
                raise GrantUnsupported if "grant_type" in fields else GrantRefused("grant_type: is required")
            if fields.get("scope", SCOPE) != SCOPE:
                raise ScopeInvalid
            client = await self._client(request, fields)
            token = await self.db.change(lambda tx: oauth2.issue(tx, client))
        except Problem as problem:
            return _refused(problem)
        given = {"access_token": token, "token_type": "Bearer", "expires_in": oauth2.LIFETIME, "scope": SCOPE}
        return JSONResponse(given, headers=_UNSTORED)

    async def revoke(self, request: Request) -> Response:
        """End a token of the client's (RFC 7009); for one that is none it is answered the same."""
        try:
            fields = await _fields(request)
            if "token" not in fields:
                raise GrantRefused("token: is required")
            client = await self._client(request, fields)
            await self.db.change(lambda tx: oauth2.end(tx, client.id, fields["token"]))
        except Problem as problem:
            return _refused(problem)
        return Response(status_code=200, headers=_UNSTORED)

    async def _client(self, request: Request, fields: dict[str, str]) -> Client:
        id_, secret = _credentials(request, fields)
        address = request.client.host if request.client else ""
        await self.rates.take(OF_PROVIDER, "sign-ins", lane_of(address, "nowhere"))
        agent = request.headers.get("user-agent", "")[:256].replace("\0", "")
        origin = Origin(f"oauth2-{id_[:80]}", "customer", logs.request_id.get(), address, agent)
        return await oauth2.believe(self.db, id_, secret, origin, self.noted)


def _credentials(request: Request, fields: dict[str, str]) -> tuple[str, str]:
    """Read the client's id and secret, from the header or the form, but not from both (2.3)."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        if not fields.get("client_id") or not fields.get("client_secret"):
            raise ClientInvalid(
                "the client shows its id and secret, by Basic or as client_id and client_secret"
            )
        return fields["client_id"], fields["client_secret"]
    if "client_secret" in fields:
        raise GrantRefused("client_secret: must not be sent beside an Authorization header")
    try:
        id_, apart, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise ClientInvalid from None
    if scheme.lower() != "basic" or not apart or fields.get("client_id", id_) != id_:
        raise ClientInvalid
    return unquote_plus(id_), unquote_plus(secret)


async def _fields(request: Request) -> dict[str, str]:
    """Read the form; a field that comes twice makes it none (3.2)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise GrantRefused(f"the body is a form: say Content-Type: {FORM}")
    body = await Body(request.scope, request.receive).read(LARGEST_FORM, refusal=FormTooLarge)
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise GrantRefused("the form cannot be read") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise GrantRefused("a field of the form comes twice")
    # A field without a value is as good as none (3.1).
    return {name: value for name, value in fields.items() if value}


def _refused(problem: Problem) -> Response:
    headers = {**_UNSTORED, **dict(problem.headers())}
    error = "server_error"
    if isinstance(problem, GrantRefused):
        error = problem.error
    elif isinstance(problem, ClientInvalid | AddressNotAllowed):
        error = "invalid_client"
        if problem.status == ClientInvalid.status:
            headers["WWW-Authenticate"] = 'Basic realm="moorage"'
    elif isinstance(problem, Unavailable | RateExceeded):
        error = "temporarily_unavailable"
    told = problem.summary if problem.status >= SERVER_ERROR else str(problem)
    text = "".join(one if " " <= one <= "~" and one not in '"\\' else "?" for one in told)
    return JSONResponse({"error": error, "error_description": text}, problem.status, headers)
