"""Bodies of calls: a refusal names the field and the rule."""

from __future__ import annotations

import pytest

from moorage.api.cloud import bodies
from moorage.api.cloud.bodies import BodyInvalid
from moorage.api.cloud.models import CredentialRequest, RegistryCreation, UserCreation

RULES = b'{"accessRules":[{"method":"GET","path":"/*"}'


def test_a_body_is_read_by_its_names():
    read = bodies.read(b'{"name":"a","region":"GRA","planID":null}', "application/json", RegistryCreation)

    assert (read.name, read.region, read.plan_id) == ("a", "GRA", None)


@pytest.mark.parametrize("body", [b"", b" ", b"{}", b"null", b"\n{ }\n"])
@pytest.mark.parametrize(
    "content_type", ["", "application/json", "application/json;charset=utf-8", "Application/JSON"]
)
def test_a_call_that_needs_nothing_takes_nothing(body: bytes, content_type: str):
    assert bodies.read(body, content_type, UserCreation) == UserCreation()


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        (RegistryCreation, b"{}", "name: is required"),
        (RegistryCreation, b'{"name":"a"}', "region: is required"),
        (RegistryCreation, b'{"name":1}', "name: must be a string, not an integer"),
        (RegistryCreation, b'{"name":null}', "name: must be a string, not null"),
        (RegistryCreation, b'{"name":["a"]}', "name: must be a string, not an array"),
        (
            RegistryCreation,
            b'{"name":"a","region":"b","planID":1}',
            "planID: must be a string or null, not an integer",
        ),
        (RegistryCreation, b'{"name":"a","region":"b","planId":"x"}', "planId: is no field of this call"),
        (RegistryCreation, b"[]", "the body: must be an object, not an array"),
        (RegistryCreation, b'"name"', "the body: must be an object, not a string"),
        (RegistryCreation, b"{", "the body is no JSON"),
        (RegistryCreation, b"name=a", "the body is no JSON"),
        (RegistryCreation, b"\xff", "the body is no JSON"),
        (RegistryCreation, b'{"name":"\xff"}', "the body is no JSON"),
        (RegistryCreation, b'{"name":"\\ud800"}', "the body is no JSON"),
        (RegistryCreation, b"[" * 60_000, "the body: must be an object"),
        (CredentialRequest, RULES + b',{"method":"GET"}]}', r"accessRules[1].path: is required"),
        (
            CredentialRequest,
            RULES + b',{"method":2}]}',
            r"accessRules[1].method: must be a string, not an integer",
        ),
        (CredentialRequest, RULES + b',"GET"]}', r"accessRules[1]: must be an object, not a string"),
        (
            CredentialRequest,
            RULES + b'],"allowedIPs":"192.0.2.1"}',
            "allowedIPs: must be an array or null, not a string",
        ),
    ],
)
def test_a_refusal_names_the_field_and_the_rule(kind: type[object], body: bytes, told: str):
    with pytest.raises(BodyInvalid) as refused:
        bodies.read(body, "application/json", kind)

    assert str(refused.value).startswith(told)
    assert all(isinstance(value, str) for value in refused.value.detail.values())


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"]
)
def test_a_body_that_is_said_to_be_something_else_is_refused(content_type: str):
    with pytest.raises(BodyInvalid, match="Content-Type: application/json"):
        bodies.read(b"{}", content_type, UserCreation)
