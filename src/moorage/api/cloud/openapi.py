"""The API's description, OpenAPI 3.1, written from the table of calls and the structs that they take and give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from moorage import __version__, cookies
from moorage.api.cloud import tokens
from moorage.api.cloud.asks import Needs
from moorage.api.cloud.models import ADDED, Refusal
from moorage.api.cloud.routes import OF_IAM, PREFIXES, Route
from moorage.cloud import members

_REFERENCE: Final = "#/components/schemas/{name}"

_SIGNED: Final = ("X-Ovh-Application", "X-Ovh-Consumer", "X-Ovh-Timestamp", "X-Ovh-Signature")
_OAUTH2: Final = "oauth2"
_SESSION: Final = "session"
_SECURITY: Final[dict[Needs, list[dict[str, list[str]]]]] = {
    Needs.NOTHING: [],
    Needs.APPLICATION: [{_SIGNED[0]: []}],
    Needs.CREDENTIAL: [{name: [] for name in _SIGNED}, {_OAUTH2: []}, {_SESSION: []}],
    Needs.USER: [{name: [] for name in _SIGNED}, {_SESSION: []}],
    Needs.ADMINISTRATOR: [{name: [] for name in _SIGNED}, {_SESSION: []}],
    Needs.ROLE: [{name: [] for name in _SIGNED}, {_OAUTH2: []}, {_SESSION: []}],
}
_PARAMETERS: Final = {
    "serviceName": "The cloud project's id",
    "registryID": "The registry's id",
    "userID": "The number of a user of the registry",
    "regionName": "The region's name",
    "clientId": "The OAuth2 client's id",
    "applicationId": "The application's id",
    "credentialId": "The credential's id",
    "memberId": "The member's id",
    "invitationId": "The invitation's id",
    "policyId": "The policy's id",
    "resourceURN": "The resource's URN",
    "user": "The user's name",
    "activityId": "The activity's id, R01 to R49",
    "eventId": "The event's id",
    "sessionId": "The session's id",
    "grantId": "The grant's id",
    "webhookId": "The webhook's id",
}


def described(routes: Iterable[Route]) -> dict[str, Any]:
    """Describe the calls of a table."""
    known = list(routes)
    kinds = [kind for route in known for kind in (route.takes, route.gives) if kind is not None]
    schemas, components = msgspec.json.schema_components([Refusal, *kinds], ref_template=_REFERENCE)
    shown = dict(zip(map(_key, [Refusal, *kinds]), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in known:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, shown)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Moorage: the provider's API",
            "version": __version__,
            "description": "Registries are ordered and run with it. What the original API lacks is marked x-moorage-added.",
        },
        "servers": [{"url": prefix} for prefix in PREFIXES],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": dict(_schemes())},
    }


def _operation(route: Route, shown: dict[str, Any]) -> dict[str, Any]:
    answer = {"type": "null"} if route.gives is None else shown[_key(route.gives)]
    if route.media != "application/json":
        answer = {"type": "string"}
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{_as_id(route.path)}",
        "summary": route.summary,
        "parameters": [*map(_parameter, route.parameters), *route.headers],
        "security": _SECURITY[route.needs],
        "responses": {
            "200": _content("Done", answer, route.media),
            "default": _content("Refused", shown[_key(Refusal)]),
        },
    }
    if route.path.startswith(OF_IAM):
        operation["servers"] = [{"url": "/"}]
    if route.takes is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": shown[_key(route.takes)]}}}
    if route.needs is Needs.ROLE:
        operation["x-iam-actions"] = [{"name": f"{members.PREFIX}{route.action}", "required": True}]
    return operation | (ADDED if route.added else {})


def _parameter(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": _PARAMETERS[name],
        "schema": {"type": "string"},
    }


def _content(told: str, schema: Any, media: str = "application/json") -> dict[str, Any]:
    return {"description": told, "content": {media: {"schema": schema}}}


def _schemes() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in _SIGNED:
        yield name, {"type": "apiKey", "in": "header", "name": name}
    flow = {"tokenUrl": tokens.TOKEN, "scopes": {tokens.SCOPE: "All that policies allow the client"}}
    told = f"Changes take the header {cookies.GUARD}, too; over TLS the name begins with __Host-."
    yield _SESSION, {"type": "apiKey", "in": "cookie", "name": cookies.NAME, "description": told}
    yield _OAUTH2, {"type": "oauth2", "flows": {"clientCredentials": flow}}


def _as_id(path: str) -> str:
    return "".join(piece.strip("{}")[:1].upper() + piece.strip("{}")[1:] for piece in path.split("/"))


def _key(kind: Any) -> str:
    return repr(kind)
