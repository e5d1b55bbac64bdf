"""A browser's visit below ``/c/``: what it asks, what it fills in, and that one of this address's own pages sent it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import msgspec

from moorage import cookies, logs
from moorage.api.harbor import bodies, csrf
from moorage.api.harbor.asks import query_of
from moorage.api.harbor.problems import BadRequest
from moorage.registry.events import Origin

if TYPE_CHECKING:
    from starlette.types import Scope

    from moorage.api.http.bodies import Body

_MOST_FIELDS: Final = 20

Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a browser's; *form* is what it sends, as a form or as JSON."""

    scope: Scope
    guarded: csrf.Guarded
    form: Form

    @classmethod
    async def of(cls, scope: Scope, body: Body, guarded: csrf.Guarded) -> Visit:
        """Read a visit; raise Forbidden for a change that none of this address's own pages sent, or BadRequest."""
        read = await bodies.receive(body) if scope["method"] == "POST" else b""
        media = _header(scope, b"content-type").partition(";")[0].strip().lower()
        form = _json(read) if media == "application/json" else _form(read)
        guarded.check(scope, form.get(csrf.FIELD, ""))
        return cls(scope, guarded, form)

    @property
    def is_form(self) -> bool:
        """Say whether a page's form was sent: what it is answered, people read."""
        return _header(self.scope, b"content-type").startswith("application/x-www-form-urlencoded")

    @property
    def query(self) -> Mapping[str, str]:
        """Give what stands behind the path."""
        return query_of(self.scope)

    @property
    def home(self) -> str:
        """Give the address that the browser asks, as it names it."""
        return cookies.address(self.scope)

    @property
    def address(self) -> str:
        """Give the client's address."""
        client = self.scope.get("client")
        return client[0] if client else ""

    def origin(self, name: str) -> Origin:
        """Say who makes the change that the visit is."""
        agent = _header(self.scope, b"user-agent")[:256].replace("\0", "")
        return Origin(name[:255], "customer", logs.request_id.get(), self.address, agent)


def _header(scope: Scope, wanted: bytes) -> str:
    return next((bytes(value).decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


def _form(body: bytes) -> Form:
    try:
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise BadRequest(f"the form has at most {_MOST_FIELDS} fields") from None
    return {name: value.replace("\0", "") for name, value in pairs}


def _json(body: bytes) -> Form:
    try:
        given = msgspec.json.decode(body, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("the body is no JSON object of texts") from None
    return {name: value.replace("\0", "") for name, value in given.items()}
