"""The users of an ordered registry, made and ended through the provider's API."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from moorage.api.cloud import models
from moorage.registry.directory import Entry
from tests.functional.cloud_api_world import Api

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

OWN = "Own-password-1"


class Users:
    """A registry that is ready, and its users' calls."""

    def __init__(self, api: Api, registry: dict[str, Any], entry: Entry) -> None:
        self.api, self.registry, self.entry = api, registry, entry
        self.path = f"/containerRegistry/{registry['id']}/users"

    @classmethod
    async def of(cls, api: Api) -> Users:
        made = await api.ready()
        await api.orders.world.plane.directory.refresh()
        entries = api.orders.world.plane.directory.all()
        return cls(api, made, max(entries, key=lambda one: one.id))

    async def call(self, method: str, path: str = "", body: object = None) -> httpx.Response:
        return await self.api.owner.call(method, f"{self.path}{path}", body)

    async def made(self, **body: str | None) -> dict[str, Any]:
        answer = await self.call("POST", "", body or None)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def signs_in(self, name: str, password: str) -> bool:
        """Say whether the registry believes that it is them."""
        client = await self.api.orders.world.as_(name, password, entry=self.entry)
        return (await client.get("/service/token", params={"service": "harbor-registry"})).status_code == 200

    async def pushes(self, name: str, password: str) -> int:
        client = await self.api.orders.world.as_(name, password, entry=self.entry)
        return (await client.post("/v2/library/app/blobs/uploads/")).status_code


async def test_a_user_is_generated_whole_and_signs_in_to_the_registry_alone(api: Api):
    users = await Users.of(api)

    made = await users.made()

    assert made["user"].startswith("user-")
    assert await users.signs_in(made["user"], made["password"])
    first = await api.orders.world.as_(made["user"], made["password"])
    assert (await first.get("/service/token", params={"service": "harbor-registry"})).status_code == 401
    assert msgspec.to_builtins(msgspec.convert(made, models.User)) == made


async def test_a_password_is_shown_once(api: Api):
    users = await Users.of(api)
    made = await users.made()

    listed = (await users.call("GET")).json()
    shown = (await users.call("GET", f"/{made['id']}")).json()

    assert shown == made | {"password": ""}
    assert shown in listed
    assert {one["password"] for one in listed} == {""}


async def test_what_is_supplied_is_used(api: Api):
    users = await Users.of(api)

    made = await users.made(login="ci", email="ci@example.com", password=OWN)

    assert (made["user"], made["email"], made["password"]) == ("ci", "ci@example.com", OWN)
    assert await users.signs_in("ci", OWN)


async def test_a_user_who_is_made_an_administrator_pushes(api: Api):
    users = await Users.of(api)
    made = await users.made()
    before = await users.pushes(made["user"], made["password"])

    first = await users.call("PUT", f"/{made['id']}/setAsAdmin")
    again = await users.call("PUT", f"/{made['id']}/setAsAdmin")

    assert before in {401, 403}
    assert (first.content, again.content) == (b"null", b"null")
    assert await users.pushes(made["user"], made["password"]) == 202


async def test_a_deleted_user_is_kept_out_at_once_and_never_comes_back(api: Api):
    users = await Users.of(api)
    made = await users.made(login="ci", password=OWN)

    gone = await users.call("DELETE", f"/{made['id']}")
    again = await users.call("DELETE", f"/{made['id']}")
    other = await users.made(login="ci", password=f"{OWN}2")

    assert (gone.content, again.status_code) == (b"null", 404)
    assert not await users.signs_in("ci", OWN)
    assert other["id"] != made["id"]
    assert (await users.call("GET", f"/{made['id']}")).status_code == 404


async def test_the_last_administrator_stays(api: Api):
    users = await Users.of(api)
    admin = next(one for one in (await users.call("GET")).json() if one["user"] == "admin")

    answer = await users.call("DELETE", f"/{admin['id']}")

    assert answer.status_code == 412
    assert "administrator" in answer.json()["message"]


async def test_a_name_is_given_once(api: Api):
    users = await Users.of(api)
    await users.made(login="ci")

    answer = await users.call("POST", "", {"login": "ci"})

    assert (answer.status_code, answer.json()["class"]) == (409, "Client::Conflict")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"login": ""}, "login: "),
        ({"login": "a b"}, "login: "),
        ({"login": "robot$x"}, "login: "),
        ({"login": "a/b"}, "login: "),
        ({"login": "a\0"}, "login: "),
        ({"login": "x" * 256}, "login: "),
        ({"login": 1}, "login: must be a string or null"),
        ({"email": ""}, "email: "),
        ({"email": "nobody"}, "email: "),
        ({"email": "a@b@c"}, "email: "),
        ({"email": "a@b\n"}, "email: "),
        ({"email": "x" * 250 + "@a.example"}, "email: "),
        ({"email": []}, "email: must be a string or null"),
        ({"password": ""}, "password: "),
        ({"password": "short"}, "password: "),
        ({"password": "x" * 129}, "password: "),
        ({"password": "nodigitsorcapitals"}, "password: "),
        ({"password": True}, "password: must be a string or null"),
        ({"name": "ci"}, "name: is no field of this call"),
        ("ci", "the body: must be an object"),
    ],
)
async def test_a_user_who_breaks_a_rule_is_refused_by_field_and_not_made(api: Api, body: Any, told: str):
    users = await Users.of(api)
    before = (await users.call("GET")).json()

    answer = await users.call("POST", "", body)

    assert (answer.status_code, answer.json()["class"]) == (400, "Client::BadRequest")
    assert answer.json()["message"].startswith(told)
    if isinstance(body, dict) and body.get("password"):
        assert str(body["password"]) not in answer.text
    assert (await users.call("GET")).json() == before


@pytest.mark.parametrize(
    "number", ["0", "-1", "1.0", "x", "999999", "9" * 30, "%00", "\N{ARABIC-INDIC DIGIT ONE}", "01"]
)
async def test_an_id_of_nobody_is_unknown(api: Api, number: str):
    users = await Users.of(api)

    answers = [
        await users.call("GET", f"/{number}"),
        await users.call("DELETE", f"/{number}"),
        await users.call("PUT", f"/{number}/setAsAdmin"),
    ]

    assert [(answer.status_code, answer.json()["class"]) for answer in answers] == [
        (404, "Client::NotFound")
    ] * 3
