"""Users of an account: made, changed and ended by those who administer it, and what they may change of themselves."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import bindparam, select, update

from moorage.cloud import credentials, logins
from moorage.cloud.events import SYSTEM
from moorage.cloud.logins import SignInRefused
from moorage.cloud.members import Role
from moorage.db import Statement, Tx
from moorage.db.platform import account, cloud_event, cloud_outbox, login
from tests.functional.cloud_api_world import Api, client_of
from tests.functional.cloud_world import ANYTHING
from tests.worlds import PASSWORD

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

USERS = "/1.0/me/identity/user"
NEW = "Another-pass-1"
ADA = {
    "login": "ada",
    "email": "ada@example.com",
    "password": NEW,
    "description": "Builds",
    "group": "DEFAULT",
}
NAME = Statement(select(account.c.name).where(account.c.id == bindparam("id")))
STORED = Statement(select(login.c.password, login.c.email).where(login.c.id == bindparam("id")))
ADMIN = Statement(update(login).where(login.c.id == bindparam("which")).values(admin=bindparam("admin")))
KINDS = Statement(
    select(cloud_outbox.c.kind)
    .where(cloud_outbox.c.target == bindparam("target"))
    .order_by(cloud_outbox.c.id)
)
DENIED = Statement(
    select(cloud_event.c.kind, cloud_event.c.rule).where(cloud_event.c.target == bindparam("target"))
)


async def made(api: Api, **changed: Any) -> dict[str, Any]:
    """Make a user."""
    answer = await api.owner.client.post(USERS, json=ADA | changed)
    assert answer.status_code == 200, answer.text
    given: dict[str, Any] = answer.json()
    return given


async def signs_in(api: Api, name: str, password: str) -> bool:
    """Say whether a user of the owner's account may sign in."""
    home = (await api.orders.platform.one(NAME, id=api.owner.account)).name
    try:
        await logins.sign_in(
            api.orders.platform, api.orders.world.passwords, f"{home}/{name}", password, SYSTEM
        )
    except SignInRefused:
        return False
    return True


async def key_of(api: Api, user: str) -> httpx.AsyncClient:
    """Give a client that signs with a key of a user's own."""

    async def work(tx: Tx) -> tuple[credentials.NewApplication, str]:
        master = api.orders.world.parts.master
        new = await credentials.create_application(
            tx, master, account=api.owner.account, login=user, name="tests"
        )
        return new, await credentials.create_validated(tx, new.id, user, ANYTHING)

    new, consumer = await api.orders.platform.change(work)
    return await client_of(api.orders, api.app, new, consumer)


async def test_a_user_is_made_shown_changed_and_ended(api: Api):
    new = await made(api)
    one, owner = f"{USERS}/ada", api.owner.client
    listed = (await owner.get(USERS)).json()
    changed = await owner.put(one, json={"email": "a@example.org", "group": "ADMIN"})
    shown = (await owner.get(one)).json()
    key = await key_of(api, new["id"])
    ended = await owner.delete(one)

    assert {name: new[name] for name in ("login", "email", "description", "group")} == {
        name: value for name, value in ADA.items() if name != "password"
    }
    assert new["urn"].endswith("/ada")
    assert listed == ["somebody", "ada"]
    assert (changed.json(), shown["group"], shown["email"]) == (None, "ADMIN", "a@example.org")
    assert (ended.status_code, (await owner.get(one)).status_code) == (200, 404)
    assert not await signs_in(api, "ada", NEW)
    assert (await key.get("/1.0/me")).status_code == 403
    kept = await api.orders.platform.one(STORED, id=new["id"])
    assert (kept.password, kept.email) == ("", "")
    kinds = [row.kind for row in await api.orders.platform.all(KINDS, target=new["id"])]
    assert kinds == ["user.created", "user.changed", "user.deleted"]
    again = await made(api)
    assert again["id"] != new["id"]


async def test_who_is_disabled_is_out_by_whatever_they_show_until_enabled(api: Api):
    new = await made(api)
    key = await key_of(api, new["id"])
    before = await signs_in(api, "ada", NEW), (await key.get("/1.0/me")).status_code
    disabled = await api.owner.client.post(f"{USERS}/ada/disable")
    out = await signs_in(api, "ada", NEW), (await key.get("/1.0/me")).status_code
    status = (await api.owner.client.get(f"{USERS}/ada")).json()["status"]
    await api.owner.client.post(f"{USERS}/ada/enable")

    assert (before, out, status) == ((True, 200), (False, 403), "DISABLED")
    assert disabled.json() is None
    assert await signs_in(api, "ada", NEW)
    assert (await key.get("/1.0/me")).status_code == 200


async def test_another_password_ends_what_was_begun_with_the_one_before(api: Api):
    new = await made(api)
    key = await key_of(api, new["id"])
    reset = await api.owner.client.put(f"{USERS}/ada/password", json={"password": "Third-pass-1"})

    assert (reset.status_code, (await key.get("/1.0/me")).status_code) == (200, 403)
    assert (await signs_in(api, "ada", NEW), await signs_in(api, "ada", "Third-pass-1")) == (False, True)


async def test_one_changes_ones_own_password_and_address_by_showing_the_password(api: Api):
    owner = api.owner.client
    address = {"email": "new@example.com", "currentPassword": PASSWORD}
    wrong = await owner.put("/1.0/me/email", json=address | {"currentPassword": "Wrong-pass-1"})
    told = await owner.put("/1.0/me/email", json=address)
    me = (await owner.get("/1.0/me")).json()
    guess = await owner.put("/1.0/me/password", json={"password": NEW, "currentPassword": "x"})
    weak = await owner.put("/1.0/me/password", json={"password": "short", "currentPassword": PASSWORD})
    changed = await owner.put("/1.0/me/password", json={"password": NEW, "currentPassword": PASSWORD})

    assert (wrong.status_code, wrong.json()["details"]) == (403, {"field": "currentPassword"})
    assert (told.json(), me["email"]) == (None, "new@example.com")
    assert (guess.status_code, weak.status_code, changed.status_code) == (403, 400, 200)
    assert await signs_in(api, "somebody", NEW)
    assert (await owner.get("/1.0/me")).status_code == 403
    rows = await api.orders.platform.all(DENIED, target=api.owner.login)
    assert [(row.kind, row.rule) for row in rows] == [("user.sign-in", "wrong password")] * 2


async def test_an_account_keeps_who_administers_it_and_a_cloud_project_its_owner(api: Api):
    owner, last = api.owner.client, f"{USERS}/somebody"
    await made(api)
    for refused in (
        await owner.delete(last),
        await owner.post(f"{last}/disable"),
        await owner.put(last, json={"email": "a@example.com", "group": "DEFAULT"}),
    ):
        assert (refused.status_code, "administers" in refused.json()["message"]) == (409, True)
    await made(api, login="grace", group="ADMIN")
    still = await owner.delete(last)
    assert (still.status_code, "owner" in still.json()["message"]) == (409, True)
    second = await api.customer(Role.OWNER, api.owner.project)
    assert (await owner.delete(last)).status_code == 200
    there = f"/1.0/cloud/project/{api.owner.project}/member"
    assert [one["id"] for one in (await second.client.get(there)).json()] == [second.login]


async def test_only_who_administers_the_account_sees_its_users_and_no_other_accounts(api: Api):
    new = await made(api)
    key, stranger = await key_of(api, new["id"]), await api.customer()
    for method, path in (("GET", USERS), ("GET", f"{USERS}/somebody"), ("DELETE", f"{USERS}/somebody")):
        refused = await key.request(method, path)
        assert (refused.status_code, refused.json()["errorCode"]) == (403, "FORBIDDEN")
    assert (await stranger.client.get(USERS)).json() == ["somebody"]
    assert (await stranger.client.delete(f"{USERS}/ada")).status_code == 404
    await api.orders.platform.write(ADMIN, which=new["id"], admin=1)
    assert (await key.get(USERS)).json() == ["somebody", "ada"]


async def test_a_bad_field_is_named_with_its_rule_and_nobody_is_made(api: Api):
    bad: list[tuple[str, object]] = [
        ("login", ""), ("login", "a b"), ("login", "a/b"), ("login", "x" * 300), ("login", None), ("email", ""),
        ("email", "ada"), ("email", "a@b\0"), ("email", "x" * 250 + "@example.com"), ("password", "short"),
        ("password", "alllowercase1"), ("password", 1), ("description", "x" * 256), ("description", "a\n"),
        ("group", "KING"), ("other", 1),
    ]  # fmt: skip
    for field, value in bad:
        answer = await api.owner.client.post(USERS, json=ADA | {field: value})
        assert (answer.status_code, answer.json()["class"]) == (400, "Client::BadRequest"), (field, value)
        assert answer.json()["message"].startswith(field), answer.text
    assert (await api.owner.client.get(USERS)).json() == ["somebody"]
    await made(api)
    twice = await api.owner.client.post(USERS, json=ADA)
    assert (twice.status_code, twice.json()["message"][:6]) == (409, "login:")
    for field, value in (("email", "x"), ("group", "x"), ("description", 1)):
        answer = await api.owner.client.put(f"{USERS}/ada", json={"email": "a@example.com"} | {field: value})
        assert (answer.status_code, answer.json()["message"].startswith(field)) == (400, True)
