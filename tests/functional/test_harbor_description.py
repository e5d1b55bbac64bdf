"""The description of a registry's management API, as programs read it: whole, and true to what is read from bodies."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from moorage.api.harbor.app import table
from moorage.api.harbor.description import PATH, describe
from moorage.api.harbor.exchanges import EXCHANGES
from moorage.api.harbor.operations import OPERATIONS, PREFIX, Needs, Operation
from moorage.api.harbor.routes import Table
from tests.worlds import World

DESCRIBED = describe(OPERATIONS)
READ = re.compile(r"ask\.read\((\w+)\)")


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DESCRIBED["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def resolved(schema: Any) -> Any:
    while "$ref" in schema:
        _, kind, name = schema["$ref"].split("/")
        schema = DESCRIBED[kind][name]
    return schema


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_anybody_is_told_it_where_harbor_has_it(world: World):
    anybody = await world.as_(None)

    answer = await anybody.get(PATH)

    assert (PATH, answer.status_code, answer.json()) == ("/swagger.json", 200, DESCRIBED)
    assert answer.json()["basePath"] == PREFIX
    refused = await anybody.post(PATH)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_every_operation_is_described_and_nothing_else():
    assert {(method, path) for method, path, _ in operations()} == {
        (one.method, one.path) for one in OPERATIONS
    }
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert sorted(ids) == sorted({one.id for one in OPERATIONS})


def test_of_every_operation_it_is_said_what_it_takes_and_gives():
    """Who adds an operation adds a line for it to exchanges.py, and models of what it takes and gives to shapes.py."""
    assert EXCHANGES.keys() ^ {one.id for one in OPERATIONS} == set()


def test_what_harbor_lacks_is_marked_as_added_and_nothing_else_is():
    marked = {one["operationId"] for _, _, one in operations() if one.get("x-moorage-added")}

    assert marked == {one.id for one in OPERATIONS if one.added}


def test_every_parameter_of_a_path_is_described():
    for _, path, operation in operations():
        said = {one["name"] for one in map(resolved, operation["parameters"]) if one["in"] == "path"}
        assert said == set(re.findall(r"\{(\w+)\}", path))


def test_every_reference_leads_somewhere_and_every_model_is_referred_to():
    found = set(re.findall(r"#/definitions/(\w+)", json.dumps(DESCRIBED)))
    # Models of Harbor's that its own operations do not use.
    unused = {"LdapFailedImportUser", "RobotCreateV1", "UserSearch"}

    assert found <= DESCRIBED["definitions"].keys()
    assert DESCRIBED["definitions"].keys() - found <= unused


def test_what_takes_somebody_says_so():
    for _, _, operation in operations():
        one = next(one for one in OPERATIONS if one.id == operation["operationId"])
        if one.needs in {Needs.SIGNED_IN, Needs.OWN, Needs.SYSTEM, Needs.NAMED}:
            assert operation["security"] == [{"basic": []}], one


def bodies() -> Iterator[tuple[Operation, type[msgspec.Struct]]]:
    """Give what each operation's own answer reads from a body, where it says so with its own words."""
    answering: Table = table()
    for one in OPERATIONS:
        answer = answering.find(one.method, PREFIX + one.path).answer
        words = vars(inspect.getmodule(answer))
        for name in READ.findall(inspect.getsource(answer)):
            kind = words.get(name)
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                yield one, kind


def test_what_is_read_from_a_body_is_described():
    """A field that is read and not described is one that no generated client can send."""
    found = {}
    for one, kind in bodies():
        body = EXCHANGES[one.id].body
        assert body is not None, one
        known = DESCRIBED["definitions"][body.type]["properties"].keys()
        found[one.id] = {field.encode_name for field in msgspec.structs.fields(kind)} - known

    assert len(found) > 15
    assert {name: more for name, more in found.items() if more} == {}
