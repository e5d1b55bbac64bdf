"""Harbor's API as this registry answers it, described for programs: Swagger 2.0, as Harbor has it, at Harbor's place.

It is written from the table of operations, and from what each takes and gives. What Harbor lacks is marked.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from moorage import __version__
from moorage.api.harbor import shapes
from moorage.api.harbor.exchanges import EXCHANGES, Exchange, Value, is_number
from moorage.api.harbor.operations import OPERATIONS, PREFIX, Needs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.api.harbor.operations import Operation

PATH: Final = "/swagger.json"
JSON: Final = "application/json"
PER_PAGE: Final = {"page": {"default": 1}, "page_size": {"default": 10, "maximum": 100}}
# Whoever asks may be refused these; a change these as well.
# What is refused in a shape of its own: who was not brought, and why.
_TOLD: Final = {"importLdapUser": {404: "[LdapFailedImportUser]"}}
_REFUSALS: Final = (400, 401, 403, 404, 405, 412, 422, 429, 500, 503)
_REFUSED_CHANGES: Final = (409, 413, 415)
_HEADERS: Final = {
    "requestId": Value("X-Request-Id"),
    "isResourceName": Value("X-Is-Resource-Name", "bool"),
}


@cache
def described() -> bytes:
    """Give the description of every operation, as JSON."""
    return msgspec.json.encode(describe(OPERATIONS))


def describe(operations: Iterable[Operation]) -> dict[str, Any]:
    """Describe operations."""
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "swagger": "2.0",
        "info": {
            "title": "Moorage: Harbor's API",
            "version": __version__,
            "description": f"As Harbor has it; what Harbor lacks is marked {shapes.ADDED}.",
        },
        "basePath": PREFIX,
        "consumes": [JSON],
        "securityDefinitions": {"basic": {"type": "basic"}},
        "security": [{"basic": []}, {}],
        "paths": paths,
        "parameters": {name: _parameter("header", one) for name, one in _HEADERS.items()},
        "definitions": shapes.models(),
    }


def _operation(one: Operation) -> dict[str, Any]:
    exchange = EXCHANGES.get(one.id) or Exchange(one.path.split("/")[1])
    answer: dict[str, Any] = {"description": "Done"}
    if media := exchange.answer if "/" in exchange.answer else "":
        answer["schema"] = {"type": "string" if media.startswith("text/plain") else "file"}
    elif exchange.answer:
        answer["schema"] = shapes.schema(exchange.answer)
    if headers := _headers(exchange):
        answer["headers"] = {name: {"type": kind} for name, kind in headers.items()}
    made: dict[str, Any] = {
        "operationId": one.id,
        "tags": [exchange.tag],
        "parameters": list(_parameters(one, exchange)),
        "responses": {str(exchange.status): answer, **_refusals(one)},
    }
    if exchange.answer:
        # What is refused is told in JSON whatever was asked for; what is only done has no body, and no media type.
        made["produces"] = [media, JSON] if media else [JSON]
    if one.needs not in {Needs.OPEN, Needs.ASKED, Needs.PROJECT}:
        made["security"] = [{"basic": []}]
    return made | ({shapes.ADDED: True} if one.added else {})


def _parameters(one: Operation, exchange: Exchange) -> Iterable[dict[str, Any]]:
    yield {"$ref": "#/parameters/requestId"}
    if "project_name_or_id" in one.parameters:
        yield {"$ref": "#/parameters/isResourceName"}
    for name in one.parameters:
        yield _parameter("path", Value(name, "int64" if is_number(name) else "", required=True))
    for value in exchange.headers:
        yield _parameter("header", value)
    for value in exchange.query:
        yield _parameter("query", value) | PER_PAGE.get(value.name, {})
    if (body := exchange.body) is not None:
        yield {
            "name": body.name,
            "in": "body",
            "required": body.required,
            "schema": shapes.schema(body.type),
        }


def _parameter(where: str, value: Value) -> dict[str, Any]:
    return {"name": value.name, "in": where, "required": value.required, **shapes.schema(value.type)}


def _headers(exchange: Exchange) -> dict[str, str]:
    if exchange.status == 201:  # noqa: PLR2004 - HTTP's number for what was made
        return {"Location": "string"}
    is_list = exchange.answer.startswith("[") and any(one.name == "page" for one in exchange.query)
    return {"X-Total-Count": "integer", "Link": "string"} if is_list else {}


def _refusals(one: Operation) -> dict[str, Any]:
    every = sorted((*_REFUSALS, *(_REFUSED_CHANGES if one.changes else ())))
    refusal = {"description": "Refused", "schema": {"$ref": f"{shapes.REFERENCE}Errors"}}
    own = {
        status: {"description": "Refused", "schema": shapes.schema(told)}
        for status, told in _TOLD.get(one.id, {}).items()
    }
    return {str(status): own.get(status, refusal) for status in every}
