"""The token service, and the challenge that sends clients to it.

It answers on the registry's own address, under Harbor's path and service name. Where Harbor and the
OCI token protocol disagree, OCI wins; ``tests/functional/test_token_deviations.py`` lists each case.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import msgspec

from moorage.api.dialects import Answer, header, oci
from moorage.errors import Problem, StorageFull
from moorage.identity import keyless, scopes
from moorage.identity.access import name_and_password
from moorage.identity.passwords import lane_of
from moorage.identity.tokens import SERVICE
from moorage.logs import request_id
from moorage.oci.errors import OCIError, Unauthorized, Unsupported
from moorage.registry import denials
from moorage.registry.events import Gathered, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Receive, Scope, Send

    from moorage.identity.access import Access
    from moorage.identity.accounts import Account
    from moorage.identity.scopes import Scope as TokenScope
    from moorage.identity.tokens import Issued
    from moorage.registry.rates import Rates

LOG = logging.getLogger(__name__)
PATH: Final = "/service/token"
LARGEST_FORM: Final = 64 * 1024
MOST_SCOPES: Final = 100
LONGEST_SCOPES: Final = 8 * 1024
"""A token is sent in a header with every request: its scopes together are no longer than this."""
_MOST_FIELDS = 200
_SCOPE_AS_JSON = 80
_FORM = "application/x-www-form-urlencoded"
SIGNED_IN: Final = "robot.sign-in"
"""The event that tells whose token signed a robot in."""
_ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type, no token
_SUBJECT_TYPES: Final = frozenset(f"urn:ietf:params:oauth:token-type:{one}" for one in ("jwt", "id_token"))
_YES = frozenset({"true", "1"})
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
# Clients look for the last of the two schemes' names in the header, so no value may hold either.
_ASK_PASSWORD: Final = 'Basic realm="moorage"'  # noqa: S105 - a challenge, no password

Fields = dict[str, list[str]]


class TokenRequestInvalid(OCIError):
    """A request for a token that breaks a rule of the token protocol."""

    code, status, summary = "UNSUPPORTED", 400, "not a request for a token"


class FormTooLarge(OCIError):
    """A form that no client needs to send."""

    code, status, summary = "SIZE_INVALID", 413, "the form is too large"


class _Gone(Exception):
    """The client went away before its request was whole."""


def challenge(scope: Scope, *wanted: TokenScope, error: str = "") -> str:
    """Write a WWW-Authenticate header: where to get a token, and the scopes it needs.

    *error* is ``invalid_token`` or ``insufficient_scope``, when a token was shown.
    """
    parts = {"realm": realm(scope), "service": SERVICE}
    if wanted:
        parts["scope"] = " ".join(map(str, wanted))
    if error:
        parts["error"] = error
    return "Bearer " + ",".join(f'{name}="{_quotable(value)}"' for name, value in parts.items())


def realm(scope: Scope) -> str:
    """Give the token service's address, on the address that the client itself used."""
    said = next((value for name, value in scope["headers"] if name == b"host"), b"")
    host = said.decode("latin-1")
    if not _HOST.fullmatch(host):
        name, port = scope.get("server") or ("localhost", None)
        host = f"{name}:{port}" if port else name
    return f"{scope['scheme']}://{host}{PATH}"


@dataclass(frozen=True, slots=True)
class TokenService:
    """The application at ``/service/token`` of one registry."""

    access: Access
    gathered: Gathered | None = None
    rates: Rates | None = None
    registry: str = ""
    """Whose rates these are."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request for a token."""
        try:
            answer = await self._answer(scope, receive)
        except Unauthorized as problem:
            self._note(scope, problem)
            asked = [("www-authenticate", _ASK_PASSWORD)]
            answer = oci(problem, request_id.get(), headers=asked)
        except Problem as problem:
            self._note(scope, problem)
            answer = oci(problem, request_id.get())
        except _Gone:
            return
        await answer(scope, receive, send)

    def _note(self, scope: Scope, problem: Problem) -> None:
        """Note a denial: only credentials that were shown and are wrong are answered 401 here."""
        rule = denials.rule(problem, credentials=True)
        if self.gathered is not None and rule:
            agent = (_header(scope, b"user-agent") or "").encode("latin-1")
            seen = Seen(
                denials.KIND,
                rule,
                "anonymous",
                _address(scope),
                agent,
                "",
                "",
                f"{scope['method'][:20]} token",
            )
            self.gathered.note(seen, request_id.get())

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] == "GET":
            return await self._get(scope)
        if scope["method"] == "POST":
            return await self._post(scope, receive)
        raise Unsupported("tokens are asked for with GET or POST")

    async def _get(self, scope: Scope) -> Answer:
        """Answer the first protocol: everything in the query, name and password in Basic."""
        fields = _fields(scope["query_string"])
        _check_service(fields)
        asked = _scopes(fields)
        account = None
        if (authorization := _header(scope, b"authorization")) is not None:
            name, password = name_and_password(authorization)
            account = await self._signed_in(name, password, scope)
        await self._count(account, scope)
        refresh = ""
        if account and _one(fields, "offline_token") in _YES:
            refresh = await self._refresh_token(account, fields)
        issued, _ = await self.access.issue(account, asked)
        return _granted(issued, refresh)

    async def _post(self, scope: Scope, receive: Receive) -> Answer:
        """Answer the second protocol, OAuth 2's: a form with a password or a refresh token."""
        if (_header(scope, b"content-type") or _FORM).partition(";")[0].strip().lower() != _FORM:
            raise TokenRequestInvalid(f"a request for a token is a form, {_FORM}")
        fields = _fields(await _body(receive))
        _check_service(fields)
        asked = _scopes(fields)
        refresh = ""
        more: dict[str, str] = {}
        match _one(fields, "grant_type"):
            case "password":
                name, password = _one(fields, "username"), _one(fields, "password")
                account = await self._signed_in(name, password, scope)
                await self._count(account, scope)
                if _one(fields, "access_type") == "offline":
                    refresh = await self._refresh_token(account, fields)
            case "refresh_token":
                refresh = _one(fields, "refresh_token")
                account = await self.access.refreshed(refresh)
                await self._count(account, scope)
            case keyless.EXCHANGE:
                account = await self._exchanged(fields, scope)
                more = {"issued_token_type": _ACCESS_TOKEN, "token_type": "Bearer"}
            case other:
                raise TokenRequestInvalid(
                    f"grant_type is password, refresh_token or {keyless.EXCHANGE}", grant_type=other[:64]
                )
        issued, given = await self.access.issue(account, asked)
        return _granted(issued, refresh, given, **more)

    async def _exchanged(self, fields: Fields, scope: Scope) -> Account:
        """Give the robot that another's token signs in (RFC 8693, 2.1): by *client_id*, or the one that trusts it."""
        if _one(fields, "subject_token_type") not in _SUBJECT_TYPES:
            raise TokenRequestInvalid(f"subject_token_type is one of {', '.join(sorted(_SUBJECT_TYPES))}")
        if _one(fields, "requested_token_type") not in {"", _ACCESS_TOKEN} or _one(fields, "actor_token"):
            raise TokenRequestInvalid(f"a token is exchanged for {_ACCESS_TOKEN} alone, and for oneself")
        name, token = _one(fields, "client_id") or keyless.ANY_ROBOT, _one(fields, "subject_token")
        if not keyless.is_name(name) or not keyless.is_token(token):
            raise TokenRequestInvalid(
                "subject_token is a signed token, and client_id a robot's whole name, or left out"
            )
        account = await self._signed_in(name, token, scope)
        await self._count(account, scope)
        return account

    async def _signed_in(self, name: str, password: str, scope: Scope) -> Account:
        """Sign somebody in, and note whose token it was that did, if it was no password: many jobs are one robot."""
        account = await self.access.sign_in(name, password, address=_address(scope))
        if account.by and self.gathered is not None:
            agent = (_header(scope, b"user-agent") or "").encode("latin-1")
            who = account.caller.name
            seen = Seen(SIGNED_IN, "", who, _address(scope), agent, "", who, account.by)
            self.gathered.note(seen, request_id.get())
        return account

    async def _count(self, account: Account | None, scope: Scope) -> None:
        """Count a token, before anything is made of it, or raise RateExceeded."""
        if self.rates is not None:
            who = account.caller.subject if account else lane_of(_address(scope), "nowhere")
            await self.rates.take(self.registry, "tokens", who)

    async def _refresh_token(self, account: Account, fields: Fields) -> str:
        """Make a refresh token, or none where there is no room for it: the client goes on with what it has."""
        client = _one(fields, "client_id")
        if account.by:
            return ""
        try:
            return await self.access.issue_refresh_token(account.caller, client=client)
        except StorageFull as full:
            LOG.warning("a client signs in without a refresh token: %s", full)
            return ""


def _granted(issued: Issued, refresh: str, given: Sequence[TokenScope] | None = None, **more: str) -> Answer:
    made = datetime.fromtimestamp(issued.issued_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    content: dict[str, object] = {
        "token": issued.text,
        "access_token": issued.text,
        "expires_in": issued.expires_at - issued.issued_at,
        "issued_at": made,
        **more,
    }
    if refresh:
        content["refresh_token"] = refresh
    if given is not None:
        content["scope"] = " ".join(map(str, given))
    body = msgspec.json.encode(content)
    headers = [
        header("content-type", "application/json"),
        header("content-length", str(len(body))),
        header("cache-control", "no-store"),
        header("x-content-type-options", "nosniff"),
    ]
    return Answer(200, headers, body)


def _check_service(fields: Fields) -> None:
    for service in fields.get("service", []):
        if service != SERVICE:
            raise TokenRequestInvalid(
                f"tokens of this registry are for the service {SERVICE}", service=service[:255]
            )


def _scopes(fields: Fields) -> tuple[TokenScope, ...]:
    asked = scopes.parse(fields.get("scope", []))
    if len(asked) > MOST_SCOPES:
        raise TokenRequestInvalid(f"a token has at most {MOST_SCOPES} scopes, not {len(asked)}")
    if sum(_SCOPE_AS_JSON + len(scope.name) for scope in asked) > LONGEST_SCOPES:
        raise TokenRequestInvalid("the scopes are too long for one token: ask for fewer repositories at once")
    return asked


def _fields(raw: bytes) -> Fields:
    """Read a query or a form, in which what is not UTF-8 matches nothing."""
    fields: Fields = {}
    try:
        pairs = parse_qsl(
            raw.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_FIELDS,
            errors="replace",
        )  # fmt: skip
    except ValueError:
        raise TokenRequestInvalid(f"a request for a token has at most {_MOST_FIELDS} fields") from None
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def _one(fields: Fields, name: str) -> str:
    """Give a field that stands once; two that differ are a trick, and none counts."""
    values = set(fields.get(name, ()))
    if len(values) > 1:
        raise TokenRequestInvalid(f"{name} is given more than once")
    return next(iter(values), "")


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        if len(body) > LARGEST_FORM:
            raise FormTooLarge(f"a request for a token has at most {LARGEST_FORM} bytes")
        if not message.get("more_body", False):
            return bytes(body)


def _header(scope: Scope, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _quotable(value: str) -> str:
    """Leave out whatever could end a quoted parameter or the header."""
    return "".join(char for char in value if " " <= char <= "~" and char not in '"\\')
