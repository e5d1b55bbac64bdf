"""IP restrictions of a registry, set through the provider's API and kept by the registry plane."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import bindparam, select

from moorage import parts
from moorage.api.forwarded import Proxies
from moorage.api.front import front, nothing_here
from moorage.api.plane import Plane
from moorage.cloud import reconciling, registries, restrictions
from moorage.db import Statement
from moorage.db.platform import cloud_event
from moorage.planes import RegistryPlane
from moorage.registry import address_rules
from moorage.registry.address_rules import Part
from moorage.registry.directory import Entry
from tests.functional.cloud_api_world import Api
from tests.worlds import World

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

INSIDE, OUTSIDE = "192.0.2.7", "198.51.100.7"
OFFICE = {"ipBlock": "192.0.2.0/24", "description": "office"}
CHANGES = Statement(
    select(cloud_event.c.actor, cloud_event.c.body).where(
        cloud_event.c.target == bindparam("target"), cloud_event.c.kind == "registry.restrictions-changed"
    ).order_by(cloud_event.c.id)
)  # fmt: skip
REGISTRY = ("/v2/", "/v2/library/app/manifests/v1", "/v2/_catalog", "/service/token?service=harbor-registry")
MANAGEMENT = (
    "/",
    "/api/v2.0/projects",
    "/c/login",
    "/harbor/projects",
    "/chartrepo/library/index.yaml",
    "/v2x",
)


class Restricted:
    """A registry that is ready, and its restrictions' calls."""

    def __init__(self, api: Api, registry: str, entry: Entry) -> None:
        self.api, self.registry, self.entry = api, registry, entry

    @classmethod
    async def of(cls, api: Api) -> Restricted:
        made = await api.ready()
        plane = api.orders.world.plane
        await plane.directory.refresh()
        return cls(api, made["id"], max(plane.directory.all(), key=lambda one: one.id))

    @property
    def world(self) -> World:
        return self.api.orders.world

    async def call(self, method: str, part: str, body: object = None) -> httpx.Response:
        return await self.api.owner.call(
            method, f"/containerRegistry/{self.registry}/ipRestrictions/{part}", body
        )

    async def put(self, part: str, *blocks: object) -> list[dict[str, Any]]:
        answer = await self.call("PUT", part, list(blocks))
        assert answer.status_code == 200, answer.text
        # What the registry plane believes for half a second of its own.
        await self.world.plane.directory.refresh()
        shown: list[dict[str, Any]] = answer.json()
        return shown

    async def get(self, part: str) -> list[dict[str, Any]]:
        answer = await self.call("GET", part)
        assert answer.status_code == 200, answer.text
        shown: list[dict[str, Any]] = answer.json()
        return shown

    @asynccontextmanager
    async def client(
        self, address: str, plane: RegistryPlane | None = None
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Give a client at an address, who signs in with nothing."""
        found = plane or self.world.plane
        app = front(Plane(nothing_here, found.find, found.known), Proxies(()))
        port = self.entry.port or self.world.settings.listening.registry_port
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app, client=(address, 50_000)), base_url=f"http://localhost:{port}"
        ) as made:
            yield made

    async def ask(self, address: str, path: str, plane: RegistryPlane | None = None) -> httpx.Response:
        async with self.client(address, plane) as client:
            return await client.get(path)

    async def refuses(self, address: str, *paths: str) -> set[str]:
        """Name the paths that are refused to an address for the address."""
        answers = {path: await self.ask(address, path) for path in paths}
        return {
            path for path, one in answers.items() if one.status_code == 403 and "IP restrictions" in one.text
        }

    async def told(self) -> list[dict[str, Any]]:
        """Give what the record says of changes."""
        await self.api.orders.work()
        rows = await self.api.orders.platform.all(CHANGES, target=self.registry)
        return [json.loads(row.body) for row in rows]


async def test_each_list_keeps_its_own_part_before_anybody_is_asked_who_they_are(api: Api):
    made = await Restricted.of(api)
    every = (*REGISTRY, *MANAGEMENT)
    assert await made.refuses(OUTSIDE, *every) == set()

    await made.put("registry", OFFICE)
    first = await made.refuses(OUTSIDE, *every), await made.refuses(INSIDE, *every)
    await made.put("management", OFFICE)
    both = await made.refuses(OUTSIDE, *every), await made.refuses(INSIDE, *every)
    await made.put("registry")
    last = await made.refuses(OUTSIDE, *every)
    await made.put("management")

    assert first == (set(REGISTRY), set())
    assert both == (set(every), set())
    assert last == set(MANAGEMENT)
    assert await made.refuses(OUTSIDE, *every) == set()


async def test_a_refusal_tells_the_address_the_rule_and_what_to_do_in_each_dialect_and_is_in_the_record(
    api: Api,
):
    made = await Restricted.of(api)
    await made.put("registry", OFFICE)
    await made.put("management", OFFICE)

    oci = await made.ask(OUTSIDE, "/v2/")
    harbor = await made.ask(OUTSIDE, "/api/v2.0/projects")
    page = await made.ask(OUTSIDE, "/")

    error = oci.json()["errors"][0]
    assert (error["code"], error["detail"]) == (
        "DENIED", {"rule": "ipRestrictions/registry", "address": OUTSIDE}
    )  # fmt: skip
    assert "www-authenticate" not in oci.headers
    assert harbor.json()["errors"][0]["code"] == "FORBIDDEN"
    assert page.headers["content-type"].startswith("text/plain")
    for answer in (oci, harbor, page):
        assert answer.status_code == 403
        assert OUTSIDE in answer.text
        assert "add it, or connect from an address that is allowed" in answer.text
        assert answer.headers["x-request-id"] in answer.text
        assert "192.0.2.0" not in answer.text
    gathered = (await made.world.plane.registries.get(made.entry)).gathered._fresh
    assert [(seen.kind, seen.rule, seen.address, seen.asked, row.more) for seen, row in gathered.items()] == [
        ("request.denied", "address", OUTSIDE, "GET registry", 1),
        ("request.denied", "address", OUTSIDE, "GET management", 2),
    ]


async def test_a_good_password_opens_nothing_from_elsewhere(api: Api):
    made = await Restricted.of(api)
    user = (await api.owner.call("POST", f"/containerRegistry/{made.registry}/users")).json()
    await made.put("registry", OFFICE)
    statuses = []
    for address in (OUTSIDE, INSIDE, f"::ffff:{INSIDE}", f"::ffff:{OUTSIDE}"):
        async with made.client(address) as client:
            client.auth = httpx.BasicAuth(user["user"], user["password"])
            statuses.append((await client.get("/v2/")).status_code)

    assert statuses == [403, 200, 200, 403]


async def test_the_same_list_changes_nothing_and_each_change_is_told_with_what_was_before(api: Api):
    made = await Restricted.of(api)
    first = await made.put("registry", OFFICE, {"ipBlock": "2001:db8::1"})
    again = await made.put("registry", *first)
    shown = await made.get("registry"), await made.get("management")
    other = await made.put("registry", {"ipBlock": "203.0.113.7"}, OFFICE | {"description": "headquarters"})
    await made.put("management", {"ipBlock": "203.0.113.7"})

    assert [(one["ipBlock"], one["description"]) for one in first] == [
        ("192.0.2.0/24", "office"), ("2001:db8::1/128", "")
    ]  # fmt: skip
    assert all(one["createdAt"] == one["updatedAt"] != "" for one in first)
    assert (again, *shown) == (first, first, [])
    assert other[1]["createdAt"] == first[0]["createdAt"] < other[1]["updatedAt"]
    assert [(one["part"], one["before"], one["after"]) for one in await made.told()] == [
        ("registry", {}, {"192.0.2.0/24": "office", "2001:db8::1/128": ""}),
        (
            "registry",
            {"192.0.2.0/24": "office", "2001:db8::1/128": ""},
            {"203.0.113.7/32": "", "192.0.2.0/24": "headquarters"},
        ),
        ("management", {}, {"203.0.113.7/32": ""}),
    ]


BROKEN: list[tuple[object, str]] = [
    (None, "the body: must be an array, not an object"),
    ({"ipBlock": "192.0.2.0/24"}, "the body: must be an array, not an object"),
    (["192.0.2.0/24"], "[0]: must be an object, not a string"),
    ([{"description": "office"}], "[0].ipBlock: is required"),
    ([OFFICE, {"ipBlock": 7}], "[1].ipBlock: must be a string, not an integer"),
    ([OFFICE, {"ipBlock": "192.0.2.9/24"}], "[1].ipBlock: has bits set past its prefix: say 192.0.2.0/24"),
    ([OFFICE, OFFICE], "[1].ipBlock: 192.0.2.0/24 stands at [0] already"),
    ([OFFICE | {"ip": "x"}], "[0].ip: is no field of this call"),
    ([OFFICE | {"description": 1}], "[0].description: must be a string or null"),
    ([{"ipBlock": f"10.0.{n}.0/24"} for n in range(201)], "the body: must have at most 200 elements"),
]


async def test_a_list_that_breaks_a_rule_is_refused_by_field_and_the_one_before_stays(api: Api):
    made = await Restricted.of(api)
    before = await made.put(
        "registry", *({"ipBlock": f"10.0.{n}.0/24", "description": "é" * 20} for n in range(200))
    )
    wrong = []
    for body, told in BROKEN:
        answer = await made.call("PUT", "registry", body)
        if (answer.status_code, answer.json()["class"]) != (400, "Client::BadRequest"):
            wrong.append((body, answer.text))
        elif not answer.json()["message"].startswith(told):
            wrong.append((told, answer.text))

    assert not wrong
    assert len(before) == 200
    assert await made.get("registry") == before
    assert await made.refuses("10.0.199.1", "/v2/") | await made.refuses("10.0.200.1", "/v2/") == {"/v2/"}


async def test_a_rule_reaches_every_replica_within_its_half_second(api: Api):
    made = await Restricted.of(api)
    async with parts.opened(made.world.parts.place) as opened:
        other = RegistryPlane.of(made.world.settings, opened)
        now = [0.0]
        other.directory.clock = lambda: now[0]

        async def answered(status: int) -> None:
            # The older answer is believed while a read is under way, which takes as long as the database takes.
            async with asyncio.timeout(30):
                while (await made.ask(OUTSIDE, "/v2/", other)).status_code != status:
                    await asyncio.sleep(0.01)

        await answered(401)
        for rules, status in (([OFFICE], 403), ([], 401)):
            await made.call("PUT", "registry", rules)
            now[0] += 0.6
            await answered(status)
        await other.registries.close()


async def test_the_control_plane_is_never_locked_out(api: Api):
    """A list that lets nobody in who is there can be changed by whoever set it, from where they are."""
    made = await Restricted.of(api)
    await made.put("management", {"ipBlock": "203.0.113.7"})
    await made.put("registry", {"ipBlock": "203.0.113.7"})
    # The test's own client, as the API sees it, is at 127.0.0.1.
    assert await made.refuses("127.0.0.1", "/", "/v2/") == {"/", "/v2/"}

    users = await api.owner.call("POST", f"/containerRegistry/{made.registry}/users")
    await made.put("management")
    await made.put("registry")

    assert users.status_code == 200
    assert await made.refuses("127.0.0.1", "/", "/v2/") == set()


async def test_a_change_whose_call_dies_before_the_cell_has_it_is_carried_out_by_its_event(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    made = await Restricted.of(api)

    async def dies(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as killed:
        killed.setattr(restrictions, "carry_out", dies)
        with pytest.raises(RuntimeError):
            await made.call("PUT", "registry", [OFFICE])
    between = await made.refuses(OUTSIDE, "/v2/")
    await api.orders.work()
    await made.world.plane.directory.refresh()

    assert (between, await made.refuses(OUTSIDE, "/v2/")) == (set(), {"/v2/"})


async def test_a_late_writer_of_an_old_list_writes_nothing(api: Api, monkeypatch: pytest.MonkeyPatch):
    made = await Restricted.of(api)
    platform, cell = api.orders.platform, made.world.parts.cell
    await made.put("registry", {"ipBlock": "203.0.113.7"})
    old = await platform.one(restrictions._GET, registry=made.registry)
    await made.put("registry", OFFICE)

    class Late:
        async def one(self, *_: object, **__: object) -> object:
            return old

    await restrictions.carry_out(Late(), cell, made.registry, made.entry.uuid)  # type: ignore[arg-type]
    await made.world.plane.directory.refresh()

    assert await made.refuses(INSIDE, "/v2/") == set()


async def test_a_registry_keeps_its_lists_through_deletion_and_back(api: Api):
    made = await Restricted.of(api)
    await made.put("registry", OFFICE)
    path = f"/containerRegistry/{made.registry}"
    await api.owner.call("DELETE", path)
    await api.orders.work()
    late = await made.call("PUT", "registry", [])
    await api.owner.call("POST", f"{path}/undelete")
    await api.orders.work()
    await made.world.plane.directory.refresh()

    assert (late.status_code, late.json()["class"]) == (409, "Client::Conflict")
    assert await made.refuses(OUTSIDE, "/v2/") == {"/v2/"}


async def test_a_registry_is_restricted_before_it_first_serves(api: Api):
    ordered = await api.owner.call("POST", "/containerRegistry", {"name": "early", "region": "LOCAL"})
    registry = ordered.json()["id"]
    put = await api.owner.call("PUT", f"/containerRegistry/{registry}/ipRestrictions/registry", [OFFICE])
    assert put.status_code == 200, put.text
    seen: list[str] = []
    reconciler = api.orders.reconciler
    found = await registries.get(api.orders.platform, api.owner.project, registry)

    for step in reconciler.steps(found):
        assert await reconciler.run(step, await api.orders.again(found))
        seen.append(step.__name__)

    assert seen.index("restrict") < seen.index("open")
    directory = api.orders.world.plane.directory
    await directory.refresh()
    entry = next(one for one in directory.all() if one.name == registry)
    assert entry.rules is not None
    assert [*entry.rules.lists] == [Part.REGISTRY]


async def test_a_cell_of_the_release_before_serves_on_and_takes_no_list(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    made = await Restricted.of(api)
    directory = made.world.plane.directory
    directory._has_rules = False
    monkeypatch.setattr(address_rules, "KEPT_FROM", "9999")

    answer = await made.call("PUT", "registry", [OFFICE])
    await directory.refresh()
    await api.orders.reconcile(reconciling.Reconcile(made.registry))

    assert (answer.status_code, answer.json()["class"]) == (409, "Client::Conflict")
    assert "moorage migrate" in answer.json()["message"]
    assert (await made.ask(OUTSIDE, "/v2/")).status_code == 401
