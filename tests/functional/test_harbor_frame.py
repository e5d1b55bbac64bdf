"""Harbor's API before any operation of it: who asks, what is refused and how, sessions at a browser, and what is off."""

from __future__ import annotations

import json

import httpx
import pytest
from sqlalchemy import select

from moorage.api.harbor import off
from moorage.api.harbor.exchanges import EXCHANGES
from moorage.api.harbor.operations import OPERATIONS, PREFIX, Needs, Operation
from moorage.db import Statement, Tx
from moorage.db.tables import registry as registry_row
from moorage.identity import users
from moorage.identity.roles import Role
from tests.worlds import ADMIN, PASSWORD, World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

POLICIES = f"{PREFIX}/projects/library/webhook/policies"
GUARD = "x-harbor-csrf-token"
CLOCK = Statement(select(registry_row.c.clock))


@pytest.fixture
async def browser(world: World) -> httpx.AsyncClient:
    """Give a browser at the registry's address: it keeps cookies, and knows no password."""
    return await world.as_(None)


async def sign_in(browser: httpx.AsyncClient, name: str = ADMIN, password: str = PASSWORD) -> httpx.Response:
    """Sign in as a browser does: with what an answer before told."""
    guard = (await browser.get(f"{PREFIX}/retentions/metadatas")).headers[GUARD]
    form = {"principal": name, "password": password}
    return await browser.post("/c/login", data=form, headers={GUARD: guard})


async def test_a_refusal_is_written_as_harbor_writes_it(world: World, browser: httpx.AsyncClient):
    answer = await browser.get(POLICIES, headers={"x-request-id": "seen"})

    assert answer.status_code == 401
    assert answer.headers["x-request-id"] == "seen"
    assert answer.content.endswith(b"}]}\n")
    assert b": " not in answer.content.partition(b'"message"')[0]
    error = answer.json()["errors"]
    assert [(one["code"], sorted(one)) for one in error] == [("UNAUTHORIZED", ["code", "message"])]


async def test_whoever_may_not_is_told_401_without_a_name_and_403_with_one(
    world: World, browser: httpx.AsyncClient
):
    """Also of a project that does not exist: what is there is told to who may see it."""
    guest = await world.add_user("guest", Role.GUEST)
    wrong = await world.as_(ADMIN, "wrong")

    for project in ("library", "nothing", "1", "99999"):
        path = f"{PREFIX}/projects/{project}/webhook/policies"
        assert [(await who.get(path)).status_code for who in (browser, wrong, guest)] == [401, 401, 403], (
            project
        )
    answers = [
        await world.client.get(f"{PREFIX}/projects/{one}/webhook/policies") for one in ("nothing", "library")
    ]
    assert [(one.status_code, one.json()) for one in answers][1] == (200, [])
    assert answers[0].json()["errors"][0]["code"] == "NOT_FOUND"
    assert (await wrong.get(f"{PREFIX}/retentions/metadatas")).status_code == 200


async def test_digits_are_a_projects_number_unless_they_are_said_to_be_its_name(world: World):
    await world.add_project("2026")
    path = f"{PREFIX}/projects/2026/webhook/policies"

    assert (await world.client.get(path)).status_code == 404
    assert (await world.client.get(path, headers={"x-is-resource-name": "true"})).status_code == 200
    assert (await world.client.get(path, headers={"x-is-resource-name": "maybe"})).status_code == 422


async def test_a_path_that_is_none_a_method_and_a_page_too_long_are_refused(world: World):
    async def refused(method: str, path: str) -> tuple[int, str]:
        answer = await world.client.request(method, path)
        return answer.status_code, answer.json()["errors"][0]["code"]

    assert await refused("GET", f"{PREFIX}/nothing") == (404, "NOT_FOUND")
    assert await refused("PATCH", POLICIES) == (405, "METHOD_NOT_ALLOWED")
    assert await refused("GET", f"{POLICIES}?page_size=101") == (422, "UNPROCESSABLE_ENTITY")
    assert await refused("GET", f"{POLICIES}?q=nothing") == (400, "BAD_REQUEST")
    assert await refused("GET", "/c/nothing") == (404, "NOT_FOUND")
    listed = await world.client.get(POLICIES)
    assert (listed.headers["x-total-count"], listed.content) == ("0", b"[]\n")
    assert (await world.client.get("/api/version")).content == b'{"version":"v2.0"}\n'


async def test_what_is_off_answers_as_where_it_is_off(world: World):
    """Every one of them, for an administrator: a status that Harbor's description has, and never one of ours."""
    seen = {}
    for one in OPERATIONS:
        if one.id in off.answers():
            takes = EXCHANGES[one.id]
            needed = {value.name: "77" for value in takes.query if value.required}
            headers = {value.name: "x" for value in takes.headers if value.required}
            answer = await world.client.request(one.method, filled(one), params=needed, headers=headers)
            seen[one.id] = answer.status_code
            if answer.status_code >= 400:
                assert answer.json()["errors"], one

    assert set(seen.values()) == {200, 404, 412}
    assert {name for name, status in seen.items() if status == 200} == {
        name for name in off.answers() if name not in {*off.ABSENT, *off.REFUSED}
    }


async def test_what_is_asked_for_is_of_the_type_that_the_description_says_whoever_answers(world: World):
    """What is off reads nothing of it, and refuses it all the same."""
    refused = {
        "/security/summary?with_dangerous_cve=null": "with_dangerous_cve in query must be of type boolean",
        "/replication/executions?policy_id=x": "policy_id in query must be of type int64",
        "/projects/library/webhook/jobs": "policy_id in query is required",
        "/search": "q in query is required",
        f"/system/gc/{1 << 63}": "gc_id in path must be of type int64",
    }

    for path, rule in refused.items():
        answer = await world.client.get(PREFIX + path)
        assert (answer.status_code, rule in answer.json()["errors"][0]["message"]) == (422, True), path
    export = await world.client.post(f"{PREFIX}/export/cve", json={})
    assert (export.status_code, "X-Scan-Data-Type" in export.text) == (422, True)


async def test_what_needs_the_system_is_refused_to_everybody_else(world: World, browser: httpx.AsyncClient):
    admin_of_project = await world.add_user("boss", Role.PROJECT_ADMIN)
    for one in OPERATIONS:
        if one.needs is Needs.SYSTEM:
            answers = [await who.request(one.method, filled(one)) for who in (browser, admin_of_project)]
            assert [answer.status_code for answer in answers] == [401, 403], one


async def test_a_session_is_begun_with_a_guard_and_ends(world: World, browser: httpx.AsyncClient):
    assert (
        await browser.post("/c/login", data={"principal": ADMIN, "password": PASSWORD})
    ).status_code == 403
    assert (await sign_in(browser, password="wrong")).status_code == 401
    begun = await sign_in(browser)

    assert (begun.status_code, begun.content) == (200, b"")
    assert "HttpOnly" in begun.headers["set-cookie"]
    seen = await browser.get(POLICIES)
    assert seen.status_code == 200
    # A change shows what the last answer told; each answer tells it masked anew.
    unguarded = await browser.post(POLICIES)
    assert (unguarded.status_code, unguarded.json()["errors"][0]["code"]) == (403, "FORBIDDEN")
    guarded = [await browser.post(POLICIES, headers={GUARD: one.headers[GUARD]}) for one in (seen, unguarded)]
    assert [one.status_code for one in guarded] == [412, 412]
    assert seen.headers[GUARD] != unguarded.headers[GUARD]
    # Another site's page has the cookie sent along, and cannot hide where it is from.
    elsewhere = {GUARD: seen.headers[GUARD], "origin": "https://elsewhere.example"}
    assert (await browser.post(POLICIES, headers=elsewhere)).status_code == 403
    cookie = browser.cookies["sid"]
    assert (await browser.get("/c/log_out")).status_code == 200
    assert (await browser.get(POLICIES)).status_code == 401
    assert (await browser.get(POLICIES, headers={"cookie": f"sid={cookie}"})).status_code == 401


async def test_who_brings_a_cookie_of_no_session_takes_no_turn(world: World, browser: httpx.AsyncClient):
    registry = await world.registry()
    before = (await registry.db.one(CLOCK)).clock

    ended = await browser.get("/c/log_out", headers={"cookie": "sid=made-up"})

    assert ended.status_code == 200
    assert (await registry.db.one(CLOCK)).clock == before


async def test_a_session_is_of_one_registry_and_no_credential_for_images(
    world: World, browser: httpx.AsyncClient
):
    await world.add_registry()
    await sign_in(browser)
    other = await world.as_(None, entry=world.entries[1])
    cookie = {"cookie": f"sid={browser.cookies['sid']}"}

    assert (await other.get(POLICIES, headers=cookie)).status_code == 401
    assert (await browser.get("/v2/", headers=cookie)).status_code == 401
    assert (await browser.get(POLICIES)).status_code == 200


async def test_what_voids_tokens_ends_sessions(world: World, browser: httpx.AsyncClient):
    registry = await world.registry()
    hashed = await world.passwords.hash(PASSWORD)
    number = await registry.db.change(lambda tx: users.create(tx, name="second", password=hashed, admin=True))

    async def changed(tx: Tx) -> None:
        await users.set_password(tx, number, hashed)

    async def disabled(tx: Tx) -> None:
        await users.set_disabled(tx, number, disabled=True)

    for end in (changed, disabled):
        assert (await sign_in(browser, "second")).status_code == 200
        assert (await browser.get(POLICIES)).status_code == 200
        await registry.db.change(end)
        assert (await browser.get(POLICIES)).status_code == 401
        browser.cookies.delete("sid")


async def test_a_token_for_images_opens_nothing_else(world: World):
    """Also an administrator's: what it was made for is read with it, and all else takes the password."""
    asked = {"service": "harbor-registry", "scope": "repository:library/app:pull"}
    token = (await world.client.get("/service/token", params=asked)).json()["token"]
    bearer = await world.as_(None)
    bearer.headers["authorization"] = f"Bearer {token}"

    assert (await bearer.get(POLICIES)).status_code == 401
    assert (await bearer.get(f"{PREFIX}/projects/library/repositories/app/artifacts")).status_code == 404
    assert (await bearer.get(f"{PREFIX}/projects/library/repositories/other/artifacts")).status_code == 401
    assert (await bearer.delete(f"{PREFIX}/projects/library/repositories/app")).status_code == 401


async def test_who_there_is_is_told_to_administrators(world: World, browser: httpx.AsyncClient):
    guard = (await browser.get("/api/version")).headers[GUARD]
    form = {"target": "username", "value": ADMIN}
    refused = await browser.post("/c/userExists", data=form, headers={GUARD: guard})
    guard = (await sign_in(browser)).headers[GUARD]
    told = [
        await browser.post("/c/userExists", data={"target": target, "value": value}, headers={GUARD: guard})
        for target, value in (("username", ADMIN), ("email", "nobody@example.com"), ("phone", "1"))
    ]

    assert refused.status_code == 403
    assert [(one.status_code, json.loads(one.content)) for one in told[:2]] == [(200, True), (200, False)]
    assert told[2].status_code == 400


def filled(one: Operation) -> str:
    """Put values in an operation's path."""
    path = one.path
    for name in one.parameters:
        value = {"project_name": "library", "project_name_or_id": "library", "job_type": "all"}.get(
            name, "77"
        )
        path = path.replace(f"{{{name}}}", value)
    return PREFIX + path
