"""Every field of every call, generated from the table of calls: what breaks its type is told by its name, and nothing is made."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import httpx
import msgspec
import pytest
from sqlalchemy import func, select

from moorage.api.cloud.routes import Route
from moorage.db import Statement, migrate
from tests.functional.cloud_api_world import Api

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)

Where = tuple[str | int, ...]

# Of each type what is none of it, as JSON has it.
WRONG: Final[dict[str, tuple[Any, ...]]] = {
    "string": (7, []),
    "boolean": (1, "yes"),
    "integer": ("1", 1.5),
    "number": ("1",),
    "array": ("x", {}),
    "object": ("x", []),
}
# Texts that no name, address or secret may be; a body of them is no larger than a body may be.
TEXTS: Final = ("a\0\n", "\ud800", "x" * 5000)
# What may come and go though a call is refused: who has asked, that it was refused, and that a password was guessed.
NOTED: Final = {"cloud_event", "signature_seen", "credential", "login_guess"}


def schema_of(route: Route) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the schema of what a call takes, and those that it names."""
    (schema,), named = msgspec.json.schema_components([route.takes], ref_template="{name}")
    return schema, named


class Shape:
    """A body as a call takes it: one that keeps the types, and all that can be wrong with those."""

    def __init__(self, route: Route) -> None:
        schema, self.named = schema_of(route)
        self.schema = self.plain(schema)

    def plain(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Follow a name, and of several kinds take the one that is not null."""
        if "$ref" in schema:
            return self.plain(self.named[schema["$ref"]])
        if "anyOf" in schema:
            return self.plain(next(one for one in schema["anyOf"] if one.get("type") != "null"))
        return schema

    def filled(self, schema: dict[str, Any] | None = None) -> Any:
        """Give a body of the right types, with every field."""
        schema = self.plain(schema or self.schema)
        match schema.get("type"):
            case "object":
                return {name: self.filled(one) for name, one in schema.get("properties", {}).items()}
            case "array":
                return [self.filled(schema["items"])] if "items" in schema else []
            case "boolean":
                return True
            case "integer" | "number":
                return 1
            case "string":
                return schema.get("enum", ["x"])[0]
        return None

    def fields(
        self, schema: dict[str, Any] | None = None, at: Where = ()
    ) -> Iterator[tuple[Where, dict[str, Any], bool]]:
        """List every field however deep: where it is, its schema, and whether it may be null."""
        schema = self.plain(schema or self.schema)
        for name, one in schema.get("properties", {}).items():
            nullable = any(kind.get("type") == "null" for kind in one.get("anyOf", ()))
            yield (*at, name), self.plain(one), nullable
            yield from self.fields(one, (*at, name))
        if schema.get("type") == "array" and "items" in schema:
            yield from self.fields(schema["items"], (*at, 0))

    def objects(
        self, schema: dict[str, Any] | None = None, at: Where = ()
    ) -> Iterator[tuple[Where, dict[str, Any]]]:
        """List every object however deep."""
        schema = self.plain(schema or self.schema)
        if schema.get("type") == "object" and "properties" in schema:
            yield at, schema
            for name, one in schema["properties"].items():
                yield from self.objects(one, (*at, name))
        if schema.get("type") == "array" and "items" in schema:
            yield from self.objects(schema["items"], (*at, 0))

    def with_(self, at: Where, value: Any) -> Any:
        """Give the body with one value in place of another."""
        body = self.filled()
        if not at:
            return value
        inner = body
        for step in at[:-1]:
            inner = inner[step]
        inner[at[-1]] = value
        return body

    def without(self, at: Where, name: str) -> Any:
        """Give the body without a field."""
        body = inner = copy.deepcopy(self.filled())
        for step in at:
            inner = inner[step]
        del inner[name]
        return body

    def inner(self, at: Where) -> Any:
        """Give what stands somewhere in the body."""
        found = self.filled()
        for step in at:
            found = found[step]
        return found


def wrong(shape: Shape) -> Iterator[tuple[str, Any]]:
    """List bodies with one fault each, and the field that is to be named."""
    for value in WRONG[shape.schema["type"]]:
        yield "the body", value
    for at, schema, nullable in shape.fields():
        for value in (*WRONG.get(schema.get("type", ""), ()), *(() if nullable else (None,))):
            if schema.get("type"):
                yield str(at[-1]), shape.with_(at, value)
    for at, schema in shape.objects():
        if schema.get("additionalProperties") is False:
            yield "zzz", shape.with_(at, {**shape.inner(at), "zzz": 1})
        for name in schema.get("required", ()):
            yield name, shape.without(at, name)


async def counted(api: Api) -> dict[str, int]:
    """Count the rows of each table that a refused call may not write to."""
    return {
        table.name: (
            await api.orders.platform.one(Statement(select(func.count().label("n")).select_from(table)))
        ).n
        for table in migrate.PLATFORM.metadata().sorted_tables
        if table.name not in NOTED
    }


class Asker:
    """Asks each call as who may make it, about things that are there."""

    def __init__(self, api: Api, registry: str, client: str) -> None:
        self.api = api
        self.values = {
            "serviceName": api.owner.project, "registryID": registry, "clientId": client, "user": "somebody",
        }  # fmt: skip

    async def __call__(self, route: Route, body: Any) -> httpx.Response:
        """Make a call."""
        path = re.sub(r"\{(\w+)\}", lambda found: self.values.get(found[1], "0" * 32), route.path)
        return await self.api.owner.client.request(
            route.method,
            path if path.startswith("/v2/") else f"/1.0{path}",
            content=json.dumps(body),
            headers={"content-type": "application/json"},
        )


@pytest.fixture
async def ask(api: Api) -> Asker:
    """Have a registry and a client of OAuth2 to be asked about."""
    made = await api.ready()
    client = await api.owner.client.post("/1.0/me/api/oauth2/client", json={"name": "a client"})
    await api.orders.work()
    return Asker(api, made["id"], client.json()["clientId"])


async def test_whatever_is_wrong_with_a_field_is_told_by_its_name_and_nothing_is_made(api: Api, ask: Asker):
    before = await counted(api)
    faults, asked = [], 0

    for route in api.app.table.routes:
        if route.takes is None:
            continue
        for field, body in wrong(Shape(route)):
            answer = await ask(route, body)
            asked += 1
            told = answer.json()
            where = told["message"].partition(":")[0]
            if (answer.status_code, told["class"]) != (400, "Client::BadRequest") or field not in re.split(
                r"[.\[\]]+", where
            ):
                faults.append(
                    (route.method, route.path, field, json.dumps(body)[:200], answer.status_code, told)
                )

    assert faults == []
    assert asked > 150
    assert await counted(api) == before


async def test_no_text_in_any_field_is_a_fault_of_ours_or_makes_anything(api: Api, ask: Asker):
    before = await counted(api)
    faults, asked = [], 0

    for route in api.app.table.routes:
        if route.takes is None:
            continue
        shape = Shape(route)
        for at, schema, _ in shape.fields():
            for text in TEXTS if schema.get("type") == "string" else ():
                answer = await ask(route, shape.with_(at, text))
                asked += 1
                if not 400 <= answer.status_code < 500 or not answer.json()["class"].startswith("Client::"):
                    faults.append(
                        (route.method, route.path, at, text[:20], answer.status_code, answer.text[:200])
                    )

    assert faults == []
    assert asked > 100
    assert await counted(api) == before
