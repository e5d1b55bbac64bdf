"""How many requests of a kind one identity may make in a minute: counted on every way in, refused in each dialect."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import pytest
from starlette.routing import Router

from moorage.api.cloud.api import cloud_api
from moorage.api.cloud.tokens import Tokens
from moorage.api.forwarded import Proxies
from moorage.api.front import front
from moorage.api.paced import Paced
from moorage.cloud import members, registries
from moorage.identity.roles import Role
from moorage.registry.rate_table import OnThisMachine, Share
from moorage.registry.rates import PROVIDER, REGISTRY, Rate, Rates
from moorage.registry.slots import Peers
from tests.functional.cloud_api_world import SMALL, Api, api
from tests.functional.cloud_world import BASE
from tests.functional.ordering_world import orders
from tests.functional.quick_world import PATH
from tests.functional.quick_world import client as quick
from tests.worlds import ADMIN, PASSWORD, World

__all__ = ["api", "orders", "quick"]

FEW = 5
TOKEN = "/service/token?service=harbor-registry&scope=repository:library/app:pull"
engines = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


def hold(rates: Rates, **limits: int) -> Clock:
    """Hold everybody to these, on a clock that stands still, counted where this world's processes do."""
    clock = rates.clock = Clock()
    counts = rates.counts
    assert isinstance(counts, OnThisMachine | Share)
    counts.clock = clock
    if isinstance(counts, Share):
        # This process serves alone, whoever else is connected to the tests' database.
        counts.peers = Peers
    opened = counts._opened if isinstance(counts, OnThisMachine) else counts._own
    if opened is not None:
        opened.clock = clock
    told = {**REGISTRY, **PROVIDER}
    rates.rates = {name: Rate(name, limit, told[name]) for name, limit in limits.items()}
    rates._buckets.clear()
    return clock


async def asked(client: httpx.AsyncClient, path: str, times: int) -> list[int]:
    return [(await client.get(path)).status_code for _ in range(times)]


@engines
async def test_who_asks_too_often_is_refused_and_nobody_else(world: World) -> None:
    clock = hold(world.plane.rates, lists=FEW, tokens=FEW)
    other = await world.add_user("other", Role.GUEST)
    second = await world.add_registry()

    mine = await asked(world.client, "/v2/_catalog", FEW + 2)
    refused = await world.client.get("/v2/_catalog")
    others = await asked(other, "/v2/library/app/tags/list", 1)
    elsewhere = await asked(second, "/v2/_catalog", FEW)
    base = await asked(world.client, "/v2/", FEW + 1)
    clock.at += 12.0
    later = await asked(world.client, "/v2/_catalog", 2)

    assert mine == [200] * FEW + [429, 429]
    assert others == [404]
    assert elsewhere == [200] * FEW
    assert base == [200] * (FEW + 1)
    assert later == [200, 429]
    error = refused.json()["errors"][0]
    assert error["code"] == "TOOMANYREQUESTS"
    assert "more than 5 requests for lists came from you in a minute" in error["message"]
    assert "try again in 12 s" in error["message"]
    assert error["detail"] == {"rule": "request rate", "operation": "lists", "limit": FEW, "window": 60}
    assert refused.headers["retry-after"] == "12"
    assert refused.headers["ratelimit-policy"] == '"lists";q=5;w=60'
    assert refused.headers["ratelimit"] == '"lists";r=0;t=12'
    registry = await world.registry()
    noted = {one for one in registry.gathered._fresh if one.rule == "rate"}
    assert {(one.actor, one.asked) for one in noted} == {(ADMIN, "GET catalog")}
    assert registry.traffic.refusals >= 3


@engines
async def test_each_kind_of_request_counts_apart(world: World) -> None:
    hold(world.plane.rates, manifests=1, blobs=1, pushes=1, lists=1)
    digest = "sha256:" + "a" * 64
    ways = [
        ("GET", "/v2/library/app/manifests/v1"),
        ("HEAD", f"/v2/library/app/blobs/{digest}"),
        ("DELETE", f"/v2/library/app/blobs/{digest}"),
        ("GET", "/v2/library/app/tags/list"),
    ]

    first = [(await world.client.request(*way)).status_code for way in ways]
    again = [
        (await world.client.request(*way)).status_code
        for way in (
            ("HEAD", "/v2/"),
            ("HEAD", "/v2/library/app/manifests/v1"),
            ("GET", f"/v2/library/app/blobs/{digest}"),
            ("POST", "/v2/library/app/blobs/uploads/"),
            ("GET", f"/v2/library/app/referrers/{digest}"),
        )
    ]

    assert first == [404, 404, 404, 404]
    assert again == [429] * 5


@engines
async def test_nobody_in_particular_counts_by_address_and_by_network_of_ipv6(world: World) -> None:
    hold(world.plane.rates, lists=FEW)
    await world.add_project("open", public=True)
    port = world.entry.port or world.settings.listening.registry_port

    async def client(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(world.app, client=(address, 1))
        made = httpx.AsyncClient(transport=transport, base_url=f"http://localhost:{port}")
        return await world.closing.enter_async_context(made)

    one = [
        (await asked(await client(f"2001:db8:0:1::{number:x}"), "/v2/open/a/tags/list", 1))[0]
        for number in range(8)
    ]
    other = await asked(await client("2001:db8:0:2::1"), "/v2/open/a/tags/list", 1)
    four = await asked(await client("192.0.2.1"), "/v2/open/a/tags/list", FEW + 1)
    signed = await asked(world.client, "/v2/open/a/tags/list", 1)

    assert one == [404] * FEW + [429] * 3
    assert other == [404]
    assert four == [404] * FEW + [429]
    assert signed == [404]


@engines
async def test_tokens_are_counted_by_who_gets_them(world: World) -> None:
    hold(world.plane.rates, tokens=FEW)
    anybody = await world.as_(None)
    form = {"grant_type": "password", "service": "harbor-registry", "username": ADMIN, "password": PASSWORD}

    mine = await asked(world.client, TOKEN, FEW)
    refused = await anybody.post("/service/token", data=form)
    nobodys = await asked(anybody, TOKEN, FEW + 1)

    assert mine == [200] * FEW
    assert refused.status_code == 429
    assert refused.json()["errors"][0]["detail"]["operation"] == "tokens"
    assert nobodys == [200] * FEW + [429]


@pytest.mark.parametrize("world", ["sqlite-posix"], indirect=True)
async def test_answers_given_from_memory_are_counted_as_any_other(
    world: World, quick: httpx.AsyncClient
) -> None:
    clock = hold(world.plane.rates, manifests=FEW)

    first = await asked(quick, PATH, FEW + 2)
    missed = await asked(quick, PATH.replace("v1", "none"), 1)
    clock.at += 60.0
    missing = await asked(quick, PATH.replace("v1", "none"), 1)
    again = await asked(quick, PATH, FEW)

    assert first == [200] * FEW + [429] * 2
    assert missed == [429]
    # One that is not there is counted once, though it is looked for twice.
    assert [*missing, *again] == [404] + [200] * (FEW - 1) + [429]


async def paced(api: Api, **limits: int) -> tuple[Rates, Clock, httpx.AsyncClient]:
    """Hold the callers of the API to rates; give a client that shows nothing, of all that the console answers."""
    orders = api.orders
    rates = Rates({}, Share())
    clock = hold(rates, **limits)
    api.app = cloud_api(
        orders.desk, orders.world.parts.master, orders.world.passwords, validation="/auth/", rates=rates
    )
    tokens = Tokens(orders.platform, rates=rates).routes()
    app = front(Paced(Router(tokens, default=api.app), rates), Proxies(()))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("192.0.2.7", 1)), base_url=BASE)
    return rates, clock, await orders.world.closing.enter_async_context(client)


async def test_calls_of_the_provider_are_counted_by_application_client_and_kind(api: Api) -> None:
    _, clock, _ = await paced(api, reads=FEW, changes=FEW, orders=2)
    mine, other = await api.customer(members.Role.OWNER), await api.customer(members.Role.OWNER)
    service = await api.service("containerRegistry/get")
    body = {"name": "team", "planID": SMALL, "region": "LOCAL"}

    reads = [(await mine.call("GET", "/containerRegistry")).status_code for _ in range(FEW + 1)]
    ordered = [await mine.call("POST", "/containerRegistry", body) for _ in range(3)]
    made = ordered[0].json()["id"]
    named = [
        (await mine.call("PUT", f"/containerRegistry/{made}", {"name": f"n{number}"})).status_code
        for number in range(FEW + 1)
    ]
    theirs = (await other.call("GET", "/containerRegistry")).status_code
    programs = (await service.call("GET", "/containerRegistry")).status_code
    clock.at += 12.0
    later = (await mine.call("GET", "/containerRegistry")).status_code

    assert reads == [200] * FEW + [429]
    assert [one.status_code for one in ordered] == [200, 200, 429]
    assert ordered[2].json()["class"] == "Client::TooManyRequests"
    assert "more than 2 orders came from you in a minute" in ordered[2].json()["message"]
    assert ordered[2].json()["details"] == {
        "rule": "request rate", "operation": "orders", "limit": "2", "window": "60"
    }  # fmt: skip
    assert ordered[2].headers["retry-after"] == "30"
    assert ordered[2].headers["ratelimit"] == '"orders";r=0;t=30'
    assert named == [200] * FEW + [429]
    assert theirs == programs == later == 200


async def test_the_limits_tell_of_rates_what_the_busiest_identity_has_used(api: Api) -> None:
    paced_by, _, _ = await paced(api, reads=10, lists=20, blobs=0)
    paced_by.counts = OnThisMachine(api.orders.world.parts.place.rates, 1, paced_by.clock)
    mine, other = await api.customer(members.Role.OWNER), await api.customer(members.Role.OWNER)
    ordered = await mine.call(
        "POST", "/containerRegistry", {"name": "team", "planID": SMALL, "region": "LOCAL"}
    )
    await api.orders.work()
    here = f"/containerRegistry/{ordered.json()['id']}"
    found = await registries.find(api.orders.platform, ordered.json()["id"])
    assert found is not None
    for who, times in (("user:1", 3), ("user:2", 7)):
        for _ in range(times):
            await paced_by.take(found.entry_uuid or "", "lists", who)
    for caller, calls in ((other, 4), (mine, 2)):
        for _ in range(calls):
            await caller.call("GET", "/containerRegistry")

    limits = {one["name"]: one for one in (await mine.call("GET", f"{here}/limits")).json()}
    await paced_by.close()

    told = {name: (one["granted"], one["used"]) for name, one in limits.items() if one["per"] == "identity"}
    assert told == {
        "requestRate/reads": (10, 3),
        "requestRate/lists": (20, 7),
        "requestRate/blobs": (-1, None),
    }
    assert limits["requestRate/lists"]["unit"] == "requests in 60 s"
    assert "share them among several identities" in limits["requestRate/lists"]["remedy"]


async def test_sign_ins_are_counted_by_address_in_the_dialect_of_each(api: Api) -> None:
    _, clock, anybody = await paced(api, **{"sign-ins": 3})

    pages = [await anybody.post("/auth/login", data={"user": "a", "password": "b"}) for _ in range(4)]
    token = await anybody.post(
        "/auth/oauth2/token", data={"grant_type": "client_credentials", "scope": "all"}, auth=("a", "b")
    )
    key = api.owner.application.key
    credential = await anybody.post(
        "/1.0/auth/credential", json={"accessRules": []}, headers={"x-ovh-application": key}
    )
    time = await anybody.get("/1.0/auth/time")
    clock.at += 60.0
    after = await anybody.post(
        "/auth/oauth2/token", data={"grant_type": "client_credentials", "scope": "all"}, auth=("a", "b")
    )

    assert [one.status_code for one in pages][3] == 429
    assert "more than 3 sign-ins came from you in a minute" in pages[3].text
    assert (token.status_code, token.json()["error"]) == (429, "temporarily_unavailable")
    assert (credential.status_code, credential.json()["class"]) == (429, "Client::TooManyRequests")
    assert time.status_code == 200
    assert after.status_code == 401
