"""The table of Harbor's operations: all of Harbor's description and nothing else, each answered by exactly one."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

import pytest

from moorage.api.dialects import Answer
from moorage.api.harbor import off
from moorage.api.harbor.app import table
from moorage.api.harbor.asks import Ask
from moorage.api.harbor.operations import OPERATIONS, Needs
from moorage.api.harbor.problems import MethodNotAllowed, NotFound
from moorage.api.harbor.routes import Table

# What Harbor 2.15's description of its API has: as many paths and operations, and these alone (method, path and id, sorted).
PATHS, OPERATIONS_THERE = 135, 203
CONTRACT = "b9962a1de654d3c8942583df83eb3416c721f5b9af3185854a9ee3817bac87b2"


def test_the_table_is_harbors_description_of_its_api_beside_what_is_ours():
    theirs = [one for one in OPERATIONS if not one.added]
    lines = sorted(f"{one.method} {one.path} {one.id}" for one in theirs)

    assert (len({one.path for one in theirs}), len(lines)) == (PATHS, OPERATIONS_THERE)
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == CONTRACT


def test_nothing_is_answered_by_accident():
    """What is off, and what is not built yet, is so by name; whoever forgets an operation, or answers one twice, is told."""
    with pytest.raises(ValueError, match="answered twice"):
        Table(OPERATIONS, off.answers(), off.answers())
    with pytest.raises(ValueError, match="getGC, getGCHistory"):
        Table([one for one in OPERATIONS if one.id not in {"getGC", "getGCHistory"}], _everybody())
    with pytest.raises(ValueError, match="getGC"):
        Table(OPERATIONS, {name: one for name, one in _everybody().items() if name != "getGC"})
    assert table().operations == OPERATIONS


def test_what_needs_a_permission_in_a_project_names_one_in_its_path():
    for one in OPERATIONS:
        assert (one.permission is not None) == (one.needs in {Needs.SYSTEM, Needs.PROJECT, Needs.NAMED}), one
        if one.needs in {Needs.PROJECT, Needs.NAMED}:
            assert {"project_name", "project_name_or_id"} & {*one.parameters}, one


@pytest.mark.parametrize(
    ("method", "path", "operation", "params"),
    [
        ("GET", "/users/current", "getCurrentUserInfo", {}),
        ("GET", "/users/12", "getUser", {"user_id": "12"}),
        ("GET", "/system/gc/schedule", "getGCSchedule", {}),
        ("GET", "/projects/a/metadatas/", "listProjectMetadatas", {"project_name_or_id": "a"}),
        ("GET", "/projects/a/metadatas", "listProjectMetadatas", {"project_name_or_id": "a"}),
        (
            "GET",
            "/projects/a/repositories/b%252Fc",
            "getRepository",
            {"project_name": "a", "repository_name": "b/c"},
        ),
        (
            "GET",
            "/projects/a/repositories/b%2Fc",
            "getRepository",
            {"project_name": "a", "repository_name": "b/c"},
        ),
        (
            "DELETE",
            "/projects/a/repositories/b/artifacts/sha256%3Aab/tags/1",
            "deleteTag",
            {"project_name": "a", "repository_name": "b", "reference": "sha256:ab", "tag_name": "1"},
        ),
    ],
)
def test_a_path_finds_its_operation(method: str, path: str, operation: str, params: dict[str, str]):
    found = table().find(method, f"/api/v2.0{path}")

    assert (found.operation.id, found.params) == (operation, params)


def test_a_path_that_is_none_or_is_asked_otherwise_is_told_so():
    for path in ("/nothing", "/projects/a/b", "", "/projects//summary", "/projects/a/repositories/b/c"):
        with pytest.raises(NotFound):
            table().find("GET", f"/api/v2.0{path}")
    with pytest.raises(NotFound):
        table().find("GET", "/api/projects")
    with pytest.raises(MethodNotAllowed, match="DELETE, GET, PUT"):
        table().find("PATCH", "/api/v2.0/projects/a")


def _everybody() -> dict[str, Callable[[Ask], Awaitable[Answer]]]:
    return dict.fromkeys((one.id for one in OPERATIONS), off.absent)
