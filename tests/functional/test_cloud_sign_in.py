"""How people sign in to an ordered registry, set through the provider's API: by OIDC, or by IAM."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import bindparam, select

from moorage.db import Database, Statement, Tx, insert
from moorage.db.tables import configuration as rows
from moorage.db.tables import outbox, user_identity
from moorage.identity import configuration, keys, methods, oidc_settings, users
from moorage.identity.keys import MasterKey
from moorage.registry.directory import Entry
from tests.functional.cloud_api_world import Api

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

SECRET = "the-clients-secret-1"
PROVIDER = {
    "name": "keycloak", "endpoint": "https://idp.example.com/realms/team", "clientId": "moorage",
    "clientSecret": SECRET, "scope": "openid,profile,email",
}  # fmt: skip
EVENTS = Statement(select(outbox.c.kind, outbox.c.body).order_by(outbox.c.id))
EVERYTHING = Statement(select(rows))
IDENTITY = Statement(
    insert(user_identity).values(
        issuer="https://idp.example.com", subject="1", user_id=bindparam("user"), created_at=1
    )
)


class SignIn:
    """A registry that is ready, and the calls about who signs in to it."""

    def __init__(self, api: Api, registry: str, entry: Entry) -> None:
        self.api, self.registry, self.entry = api, registry, entry

    @classmethod
    async def of(cls, api: Api) -> SignIn:
        made = await api.ready()
        plane = api.orders.world.plane
        await plane.directory.refresh()
        return cls(api, made["id"], max(plane.directory.all(), key=lambda one: one.id))

    async def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        return await self.api.owner.call(method, f"/containerRegistry/{self.registry}/{path}", body)

    async def put(self, **changed: object) -> httpx.Response:
        """Add or replace the provider; fields that are None are left out."""
        provider = {name: value for name, value in (PROVIDER | changed).items() if value is not None}
        return await self.call("POST", "openIdConnect", {"provider": provider})

    async def get(self) -> dict[str, Any]:
        answer = await self.call("GET", "openIdConnect")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def user(self) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.call("POST", "users")).json()
        return shown

    async def names(self) -> list[str]:
        return [one["user"] for one in (await self.call("GET", "users")).json()]

    async def enabled(self) -> bool:
        return bool((await self.api.get(self.registry))["iamEnabled"])

    @asynccontextmanager
    async def rows(self) -> AsyncIterator[Database]:
        db = await self.api.orders.world.parts.open_database(self.entry)
        yield db
        await db.close()

    async def secret(self) -> str:
        """Read the secret as who is to use it does."""
        async with self.rows() as db:
            kept = (await configuration.get(db, "oidc_client_secret"))["oidc_client_secret"]
        master = self.api.orders.world.parts.master
        return configuration.opened(kept, master, self.entry.uuid, "oidc_client_secret")

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """Give what happened to who signs in, and that it shows no secret."""
        async with self.rows() as db:
            found = await db.all(EVENTS)
        assert SECRET not in str(found)
        return [(row.kind, json.loads(row.body)) for row in found if row.kind.startswith(("oidc.", "iam."))]


async def test_a_provider_is_kept_whole_and_its_secret_is_shown_to_nobody(api: Api):
    made = await SignIn.of(api)
    assert (await made.call("GET", "openIdConnect")).status_code == 404

    put = await made.put(adminGroup="admins", autoOnboard=True, groupsClaim="groups", verifyCert=None)
    shown = await made.get()

    assert (put.status_code, put.content) == (200, b"null")
    assert shown == {
        "adminGroup": "admins", "autoOnboard": True, "clientId": "moorage", "createdAt": shown["createdAt"],
        "endpoint": "https://idp.example.com/realms/team", "groupFilter": "", "groupsClaim": "groups", "id": shown["id"],
        "name": "keycloak", "scope": "openid,profile,email", "status": "READY", "updatedAt": shown["createdAt"],
        "userClaim": "", "verifyCert": True,
    }  # fmt: skip
    async with made.rows() as db:
        assert SECRET not in str(await db.all(EVERYTHING))
        assert await configuration.auth_mode(db) == configuration.OIDC
    assert await made.secret() == SECRET


async def test_the_same_again_changes_nothing_and_another_takes_its_place(api: Api):
    made = await SignIn.of(api)
    await made.put(adminGroup="admins")
    first = await made.get()
    await made.put(adminGroup="admins")
    again = await made.get()
    # Users who are there by now are in nobody's way: Terraform replaces without a word about them.
    user = await made.user()
    other = await made.put(clientSecret="another-secret", scope="openid")
    now = await made.get()

    assert (again, other.status_code, await made.secret()) == (first, 200, "another-secret")
    assert (now["id"], now["createdAt"], now["scope"], now["adminGroup"]) == (
        first["id"],
        first["createdAt"],
        "openid",
        "",
    )
    assert now["updatedAt"] > first["updatedAt"]
    assert user["user"] in await made.names()
    assert [
        (kind, body["secret"], body["before"].get("scope"), body["after"]["scope"])
        for kind, body in await made.told()
    ] == [
        ("oidc.put", "changed", None, "openid,profile,email"),
        ("oidc.put", "changed", "openid,profile,email", "openid"),
    ]


@pytest.mark.parametrize("wrapped", [False, True])
async def test_some_of_it_is_changed_alone(api: Api, *, wrapped: bool):
    made = await SignIn.of(api)
    assert (await made.call("PUT", "openIdConnect", {"name": "x"})).status_code == 404
    await made.put(adminGroup="admins")
    first = await made.get()

    # What the provider's command line does: read all, change some, send all.
    body = first | {"name": "other", "verifyCert": False, "adminGroup": "", "clientSecret": None}
    put = await made.call("PUT", "openIdConnect", {"provider": body} if wrapped else body)
    now = await made.get()
    nothing = await made.call("PUT", "openIdConnect", {})

    assert (put.content, nothing.content) == (b"null", b"null")
    assert now == first | {
        "name": "other",
        "verifyCert": False,
        "adminGroup": "",
        "updatedAt": now["updatedAt"],
    }
    assert (await made.get(), await made.secret()) == (now, SECRET)


async def test_users_who_are_there_are_deleted_only_if_that_is_said(api: Api):
    made = await SignIn.of(api)
    people = [await made.user() for _ in range(4)]
    signed_in = await api.orders.world.as_(people[0]["user"], people[0]["password"], entry=made.entry)
    before = (await signed_in.get("/v2/")).status_code

    refused = [
        await made.put(),
        await made.call("POST", "iam", {}),
        await made.call("POST", "iam", {"deleteUsers": False}),
    ]
    still = (await signed_in.get("/v2/")).status_code
    done = await made.call("POST", "openIdConnect", {"provider": PROVIDER, "deleteUsers": True})

    assert {(one.status_code, one.json()["class"], one.json()["message"]) for one in refused} == {
        (400, "Client::BadRequest", "4 users exist, set parameter deleteUsers to delete them")
    }
    assert (done.status_code, before, still, (await signed_in.get("/v2/")).status_code) == (
        200,
        200,
        200,
        401,
    )
    assert await made.names() == ["admin"]


async def test_who_came_by_oidc_goes_with_it(api: Api):
    made = await SignIn.of(api)
    await made.put()
    local = await made.user()

    async def onboard(tx: Tx) -> None:
        await tx.run(IDENTITY, user=await users.create(tx, name="alice", password=None))

    async with made.rows() as db:
        await db.change(onboard)
    before = await made.names()

    gone = await made.call("DELETE", "openIdConnect")
    again = await made.call("DELETE", "openIdConnect")

    assert (gone.content, again.status_code) == (b"null", 404)
    assert before == ["admin", local["user"], "alice"]
    assert await made.names() == ["admin", local["user"]]
    assert (await made.call("GET", "openIdConnect")).status_code == 404
    async with made.rows() as db:
        assert await configuration.auth_mode(db) == configuration.LOCAL
        assert await db.all(EVERYTHING) == []


async def test_iam_is_turned_on_and_off_each_once_and_not_beside_oidc(api: Api):
    made = await SignIn.of(api)
    await made.user()
    on = [await made.call("POST", "iam", {"deleteUsers": True}), await made.call("POST", "iam")]
    shown = await made.enabled(), await made.names()
    beside = await made.put()
    off = [await made.call("DELETE", "iam"), await made.call("DELETE", "iam")]
    after = await made.enabled()
    await made.put()
    other = await made.call("POST", "iam", {"deleteUsers": True})
    harmless = await made.call("DELETE", "iam")

    assert [one.content for one in (*on, *off, harmless)] == [b"null"] * 5
    assert (shown, after) == ((True, ["admin"]), False)
    for answer, told in ((beside, "by IAM: end that first"), (other, "by OIDC: end that first")):
        assert (answer.status_code, answer.json()["class"]) == (409, "Client::Conflict")
        assert told in answer.json()["message"]
    assert [kind for kind, _ in await made.told()] == ["iam.enable", "iam.disable", "oidc.put"]
    assert not await made.enabled()
    noted = [kind for kind, _ in await api.orders.told(made.registry)]
    assert [kind for kind in noted if "iam" in kind] == ["registry.iam-enabled", "registry.iam-disabled"]


BROKEN: list[tuple[dict[str, object], str]] = [
    ({"name": None}, "provider.name: is required"),
    ({"name": ""}, "name: must not be empty"),
    ({"name": "x" * 256}, "name: must be one line of at most 255 characters"),
    ({"name": "a\nb"}, "name: must be one line"),
    ({"name": 1}, "provider.name: must be a string"),
    ({"endpoint": None}, "provider.endpoint: is required"),
    ({"endpoint": "http://idp.example.com"}, "endpoint: must be an https address"),
    ({"endpoint": "https://"}, "endpoint: must be an https address"),
    ({"endpoint": "https://me@idp.example.com"}, "endpoint: must be an https address"),
    ({"endpoint": "https://idp.example.com/?a=b"}, "endpoint: must be an https address"),
    ({"endpoint": "https://idp.example.com/#"}, "endpoint: must be an https address"),
    ({"endpoint": "https://idp.example.com:0"}, "endpoint: must be an https address"),
    ({"endpoint": "https://idp.example.com:99999"}, "endpoint: must be an https address"),
    ({"endpoint": "https://[::1"}, "endpoint: must be an https address"),
    ({"endpoint": "https://idp.example.com/a b"}, "endpoint: must be an https address"),
    ({"endpoint": "https://idp.example.com/" + "x" * 2048}, "endpoint: must be one line of at most 2048"),
    ({"clientId": ""}, "clientId: must not be empty"),
    ({"clientSecret": ""}, "clientSecret: must not be empty"),
    ({"clientSecret": None}, "provider.clientSecret: is required"),
    ({"clientSecret": f"{SECRET}{'x' * 1024}"}, "clientSecret: must be one line of at most 1024"),
    ({"scope": "profile,email"}, "scope: must be scopes apart by commas, openid among them"),
    ({"scope": "openid profile"}, "scope: must be scopes apart by commas"),
    ({"scope": "openid,,email"}, "scope: must be scopes apart by commas"),
    ({"autoOnboard": "yes"}, "provider.autoOnboard: must be true or false or null"),
    ({"groupFilter": "x" * 256}, "groupFilter: must be one line of at most 255"),
    ({"clientID": "x"}, "provider.clientID: is no field of this call"),
]


async def test_a_provider_that_breaks_a_rule_is_refused_by_field_and_nothing_changes(api: Api):
    made = await SignIn.of(api)
    wrong = []
    for changed, told in BROKEN:
        answer = await made.put(**changed)
        refused = (answer.status_code, answer.json().get("class")) == (400, "Client::BadRequest")
        if not refused or not answer.json()["message"].startswith(told) or SECRET in answer.text:
            wrong.append((changed, answer.text))
    assert not wrong
    assert (await made.call("GET", "openIdConnect")).status_code == 404

    await made.put()
    before = await made.get()
    for body, told in (
        ({"endpoint": "http://x"}, "endpoint: "), ({"clientSecret": ""}, "clientSecret: "), ({"scope": ""}, "scope: "),
        ({"name": "a", "provider": {"name": "b"}}, "provider: must stand alone"), ({"nmae": "a"}, "nmae: is no field"),
        ([], "the body: must be an object"),
    ):  # fmt: skip
        answer = await made.call("PUT", "openIdConnect", body)
        assert (answer.status_code, answer.json()["message"].startswith(told)) == (400, True), answer.text
    assert (await made.get(), await made.secret()) == (before, SECRET)


async def test_a_secret_is_wrapped_anew_when_the_master_key_is_rotated(api: Api):
    made = await SignIn.of(api)
    await made.put()
    old = api.orders.world.parts.master
    new = MasterKey((bytes(range(1, 33)), *old.keys))

    async with made.rows() as db:
        moved = await keys.rewrap(db, made.entry.uuid, new, configuration.SECRETS)
        again = await keys.rewrap(db, made.entry.uuid, new, configuration.SECRETS)
        left = await keys.count_others(db, new, configuration.SECRETS)
        kept = (await configuration.get(db, "oidc_client_secret"))["oidc_client_secret"]
        alone = MasterKey(new.keys[:1])
        assert configuration.opened(kept, alone, made.entry.uuid, "oidc_client_secret") == SECRET

    assert (moved, again, left) == (1, 0, 0)


async def test_a_cell_of_the_release_before_says_what_is_missing(api: Api, monkeypatch: pytest.MonkeyPatch):
    """A file is brought forward when it is opened, so that on SQLite nothing is missing."""
    made = await SignIn.of(api)
    monkeypatch.setattr(configuration, "KEPT_FROM", "9999")

    answer = await made.put()

    if api.orders.world.parts.postgres is None:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json()["class"]) == (409, "Client::Conflict")
        assert "moorage migrate" in answer.json()["message"]


async def test_what_the_registrys_administrator_sets_is_what_the_provider_shows(api: Api):
    """One provider, set from either side; the registry's own administrator turns it off whoever its users are."""
    made = await SignIn.of(api)
    place = methods.Place(api.orders.world.parts.master, made.entry.uuid)

    async def settle(**given: object) -> None:
        async with made.rows() as db:
            await db.change(lambda tx: methods.configure(tx, place, given))

    fields = {
        "name": "a",
        "endpoint": "https://a.example",
        "client_id": "a",
        "client_secret": SECRET,
        "scope": "openid",
    }
    await settle(**{f"oidc_{name}": value for name, value in fields.items()})
    before = await made.call("GET", "openIdConnect")
    await settle(auth_mode="oidc_auth", oidc_logout=True, oidc_extra_redirect_parms='{"a": "b"}')
    shown = await made.get()
    await made.put(name="b")
    await settle(auth_mode="db_auth")
    off = await made.get()
    await made.call("PUT", "openIdConnect", {"name": "c"})
    async with made.rows() as db:
        still = await configuration.auth_mode(db)
        kept = await oidc_settings.read(db)
    await made.put(name="d")
    async with made.rows() as db:
        on = await configuration.auth_mode(db)

    assert before.status_code == 404
    assert (shown["name"], shown["endpoint"], off["name"]) == ("a", "https://a.example", "b")
    assert kept is not None
    assert (kept.provider.name, kept.provider.logout, kept.provider.more) == ("c", True, {"a": "b"})
    assert (still, on) == ("db_auth", "oidc_auth")
