"""How a path finds its line in the table of the API's calls."""

from __future__ import annotations

import pytest

from moorage.api.cloud.asks import Ask
from moorage.api.cloud.routes import CallUnknown, MethodUnknown, Route, Table


async def answer(_: Ask) -> None:
    """Answer nothing."""


ROUTES = [
    Route("GET", "/me", "me/get", answer, "Me"),
    Route("GET", "/cloud/project/{serviceName}", "get", answer, "One"),
    Route("DELETE", "/cloud/project/{serviceName}", "delete", answer, "Delete"),
    Route("GET", "/cloud/project/{serviceName}/region/{regionName}", "region/get", answer, "Region"),
]
TABLE = Table(ROUTES)


@pytest.mark.parametrize("prefix", ["/1.0", "/v1"])
def test_a_call_is_found_under_either_prefix_with_the_values_in_its_path(prefix: str):
    found = TABLE.find("GET", f"{prefix}/cloud/project/a b/region/GRA")

    assert (found.route.action, found.params) == ("region/get", {"serviceName": "a b", "regionName": "GRA"})
    assert found.granted_as[0] == "/cloud/project/a b/region/GRA"


def test_who_asks_under_v1_may_have_been_granted_the_call_by_that_name():
    assert TABLE.find("GET", "/v1/me").granted_as == ("/me", "/v1/me")
    assert TABLE.find("GET", "/1.0/me").granted_as == ("/me",)


@pytest.mark.parametrize(
    "path",
    [
        "/me", "/2.0/me", "/1.0", "/1.0/", "/1.0/me/", "/1.0//me", "/1.0/ME", "/1.0/me\n", "/1.0/cloud/project/",
        "/1.0/cloud/project/a/b", "/1.0/cloud/project/a/region/b/c", "/1.0/cloud/project/" + "a" * 2000, "/1.0/v1/me",
    ],
)  # fmt: skip
def test_a_path_that_the_api_does_not_have_is_unknown(path: str):
    with pytest.raises(CallUnknown):
        TABLE.find("GET", path)


def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has():
    with pytest.raises(MethodUnknown, match="DELETE, GET, not PUT") as refused:
        TABLE.find("PUT", "/1.0/cloud/project/a")

    assert refused.value.detail == {"allow": "DELETE, GET"}


def test_two_lines_for_one_call_are_a_mistake():
    with pytest.raises(ValueError, match="twice"):
        Table([*ROUTES, ROUTES[0]])
