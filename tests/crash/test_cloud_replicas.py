"""Two machines, each a whole `moorage up`, on one PostgreSQL, one store and one Redis: what is said at one holds at both.

A console asks the platform's database at each call and keeps nothing, so what is taken away at one is refused by the next
answer of the other. The registry plane keeps what it knows for half a second, and hears of changed rights, so there it is a
second.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import ovh
import pytest
from ovh.exceptions import (
    HTTPError,
    InvalidCredential,
    InvalidKey,
    NotGrantedCall,
    ResourceConflictError,
    ResourceNotFoundError,
)
from typing_extensions import override

from moorage.cloud import applications, catalogue, chains, grants, operators, registries, suspensions
from moorage.cloud.entries import Entries
from moorage.cloud.events import Origin
from moorage.cloud.grants import GrantRefused
from moorage.cloud.reconciling import Site
from moorage.db import Tx
from moorage.identity.passwords import Passwords
from moorage.identity.robots import NewRobot
from moorage.parts import Parts
from moorage.registry.directory import What
from tests.functional import test_plan_replicas as slots
from tests.servers.machines import (
    AT_ONCE,
    MEDIUM,
    MIB,
    PASSWORD,
    PROMISED,
    SMALL,
    STORED,
    Fleet,
    Line,
    Pushing,
    fleet_of_two,
    host,
    until,
    within_a_second,
)

T = TypeVar("T")

ELSEWHERE = [{"ipBlock": "192.0.2.0/24"}]
CONSOLE = {"host": "console.moorage.test"}


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Start two machines for all tests of this file."""
    store = request.getfixturevalue("seaweedfs").url(f"machines-{secrets.token_hex(4)}")
    database = request.getfixturevalue("postgres_server").cell()
    redis = request.getfixturevalue("redis_server").url
    with fleet_of_two(tmp_path_factory.mktemp("fleet"), database, store, redis) as made:
        yield made


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_a_registry_that_is_ordered_at_one_machine_is_served_by_both_and_closed_by_address_at_both(
    fleet: Fleet,
):
    (made,) = fleet.order("shared")
    lines, name, path = fleet.lines(), host(made), fleet.path(made)
    consoles = [machine.client() for machine in (fleet.one, fleet.two)]
    assert len({line.process for line in lines}) == 4
    # READY holds at every process from then on.
    assert {line.ask("/v2/", name) for line in lines} == {401}
    pushed_and_pulled(fleet, made)

    for part, asked in (("registry", "/v2/"), ("management", "/api/v2.0/projects")):
        (is_open,) = {line.ask(asked, name) for line in lines}
        assert is_open != 403
        for console, rules, wanted in zip(consoles, (ELSEWHERE, []), (403, is_open), strict=True):
            console.call("PUT", f"{path}/ipRestrictions/{part}", rules)
            since = time.monotonic()
            within_a_second(since, lines, lambda line: line.ask(asked, name), {wanted})  # noqa: B023 - used at once.
    for line in lines:
        line.close()


def pushed_and_pulled(fleet: Fleet, made: dict[str, Any]) -> None:
    """Push a blob through one machine as a user whom the other has made, and pull it through the other."""
    user = fleet.two.client().post(f"{fleet.path(made)}/users")
    assert fleet.one.client().put(f"{fleet.path(made)}/users/{user['id']}/setAsAdmin") is None
    blob = secrets.token_bytes(1000)
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    given: Any = {"auth": (user["user"], user["password"]), "headers": {"host": host(made)}}

    pushed = httpx.post(
        f"{fleet.one.up.registry}/v2/library/app/blobs/uploads/?digest={digest}", content=blob, **given
    )

    assert pushed.status_code == 201, pushed.text
    assert httpx.get(f"{fleet.two.up.registry}/v2/library/app/blobs/{digest}", **given).content == blob


def test_what_is_taken_away_at_one_console_is_refused_by_the_next_answer_of_the_other(fleet: Fleet):
    owner = fleet.one.client()
    user = owner.post("/me/identity/user", login="jane", email="jane@example.com", password=PASSWORD)
    member = owner.post(f"/cloud/project/{fleet.project}/member", user="first/jane", role="reader")["member"]
    key, other = (allowed(fleet, "first/jane") for _ in range(2))
    here, there = fleet.one.client(key), fleet.two.client(key)
    assert here.get(fleet.registries) == there.get(fleet.registries)

    owner.delete(f"/cloud/project/{fleet.project}/member/{member['id']}")
    with pytest.raises((NotGrantedCall, ResourceNotFoundError)):
        there.get(fleet.registries)
    here.post("/auth/logout")
    with pytest.raises(InvalidCredential):
        there.get("/me")
    there = fleet.two.client(other)
    assert there.get("/auth/details")["user"] == "jane"
    owner.delete(f"/me/identity/user/{user['login']}")
    with pytest.raises(InvalidCredential):
        there.get("/auth/details")
    made = fleet.opened(
        lambda whole: whole.platform.change(
            lambda tx: applications.create(tx, whole.master, name="ci", origin=Origin("operator"))
        )
    )
    there = fleet.two.client(made.consumer_key, application_key=made.key, application_secret=made.secret)
    credential = there.get("/auth/currentCredential")
    owner.delete(f"/me/api/application/{credential['applicationId']}")
    with pytest.raises(InvalidKey):
        there.get("/me")


def allowed(fleet: Fleet, user: str) -> str:
    """Ask for a key at the first console, have a user allow it at the second, and give it."""
    asked = fleet.one.client().new_consumer_key_request()
    asked.add_recursive_rules(ovh.API_READ_WRITE, "/")
    told = asked.request()
    form = {"user": user, "password": PASSWORD, "lifetime": "day", "decision": "allow"}
    form["credentialToken"] = told["validationUrl"].rpartition("=")[2]
    page = httpx.post(f"{fleet.two.up.console}/auth/", data=form)
    assert page.status_code == 200, page.text
    return str(told["consumerKey"])


def test_clients_and_sessions_that_are_ended_at_one_console_are_refused_by_the_next_answer_of_the_other(
    fleet: Fleet,
):
    owner, (one, two) = fleet.one.client(), (fleet.one.up.console, fleet.two.up.console)
    made = owner.post("/me/api/oauth2/client", name="ci")
    client = {"client_id": made["clientId"], "client_secret": made["clientSecret"]}
    tokens = [token(at, client) for at in (one, two)]
    assert [me(at, token=given) for at in (one, two) for given in tokens] == [200] * 4

    ended = httpx.post(f"{one}/auth/oauth2/revoke", data={**client, "token": tokens[0]})
    assert ended.status_code == 200, ended.text
    assert [me(two, token=given) for given in tokens] == [401, 200]
    owner.delete(f"/me/api/oauth2/client/{made['clientId']}")
    assert me(two, token=tokens[1]) == 401
    with pytest.raises(AssertionError, match="invalid_client"):
        token(two, client)
    with httpx.Client(headers=CONSOLE) as browser:
        begun = browser.post(f"{one}/auth/login", data={"user": "admin", "password": PASSWORD})
        assert begun.status_code == 303, begun.text
        browser.headers["cookie"] = "; ".join(f"{name}={value}" for name, value in begun.cookies.items())
        session = browser.get(f"{two}/1.0/me/session/current").json()
        guarded = {"x-moorage-guard": session["guard"]}
        browser.delete(f"{one}/1.0/me/session/{session['id']}", headers=guarded).raise_for_status()
        assert browser.get(f"{two}/1.0/me/session/current").status_code == 401


def token(console: str, client: dict[str, str]) -> str:
    """Ask for a token."""
    given = httpx.post(f"{console}/auth/oauth2/token", data={**client, "grant_type": "client_credentials"})
    assert given.status_code == 200, given.text
    return str(given.json()["access_token"])


def me(console: str, *, token: str) -> int:
    """Ask who one is."""
    return httpx.get(f"{console}/1.0/me", headers={"authorization": f"Bearer {token}"}).status_code


def test_what_is_taken_away_in_a_registry_is_refused_by_every_process_within_a_second(fleet: Fleet):
    (made,) = fleet.order("rights")
    client, path, name = fleet.one.client(), fleet.path(made), host(made)
    user = client.post(f"{path}/users")
    shown = {"Authorization": basic(user["user"], user["password"]), "Host": name}
    given = httpx.get(
        f"{fleet.two.up.registry}/service/token", params={"service": "harbor-registry"}, headers=shown
    )
    ended, expiring, until_ = fleet.opened(lambda whole: entered(whole, made["id"]))
    lines = fleet.lines()
    password, bearer = shown["Authorization"], f"Bearer {given.json()['token']}"
    robots = [basic(one.name, one.secret) for one in (ended, expiring)]
    for authorization in (password, bearer, robots[0]):
        assert {line.ask("/v2/", name, authorization) for line in lines} == {200}

    client.delete(f"{path}/users/{user['id']}")
    since = time.monotonic()
    within_a_second(since, lines, lambda line: line.ask("/v2/", name, bearer), {401})
    # One that was wrong too often is not even asked.
    within_a_second(since, lines, lambda line: line.ask("/v2/", name, password), {401, 429})
    (grant,) = [one for one in client.get(f"{path}/grant") if ended.name.endswith(one["id"])]
    client.post(f"{path}/grant/{grant['id']}/end")
    within_a_second(time.monotonic(), lines, lambda line: line.ask("/v2/", name, robots[0]), {401})
    # It ends by itself, at its time.
    within_a_second(until_, lines, lambda line: line.ask("/v2/", name, robots[1]), {401})
    for line in lines:
        line.close()


async def entered(whole: Parts, registry: str) -> tuple[NewRobot, NewRobot, float]:
    """Have an operator enter a registry by two grants, one of which is soon over; give when, too."""
    db, passwords = whole.platform, Passwords()
    jane, joe = [await operators.create(db, passwords, name) for name in ("jane", "joe")]
    passwords.close()
    known = catalogue.read(None)
    entries = Entries(db, Site(whole.cell, whole.open_database, lambda _: "", 0, ""))

    async def enter(seconds: float) -> tuple[NewRobot, float]:
        async def ask(tx: Tx) -> str:
            made = await grants.ask(
                tx, known, jane.operator, registry, reason="incident 7", scope="*", hours=1
            )
            await grants.approve_as_operator(tx, joe.operator, made.id)
            return made.id

        id_ = await db.change(ask)
        at = time.time() + seconds
        sooner = "UPDATE operator_grant SET until = $1 WHERE id = $2"
        assert whole.postgres is not None
        async with whole.postgres.pool.connection() as connection:
            await connection.execute(sooner, int(at * 1_000_000), id_)
        return await entries.open(jane.operator, id_), time.monotonic() + at - time.time()

    ended, _ = await enter(3600)
    seconds = 2.0
    while True:
        try:
            expiring, until_ = await enter(seconds)
        except GrantRefused:
            # This machine was so busy that it was over before it was opened.
            seconds *= 2
        else:
            return ended, expiring, until_


@dataclass
class Slots(slots.Fleet):
    """Requests at once of a registry's user, through either machine."""

    user: str = ""

    @override
    async def begin(self, number: int, who: str = "", password: str = "") -> slots.Request:
        return await super().begin(number, who or self.user, password)

    async def fill(self, held: list[slots.Request], count: int) -> None:
        """Hold so many more, through whichever machine has them, and see that no more are given."""
        whole = len(held) + count
        async with asyncio.timeout(slots.SECONDS):
            while len(held) < whole:
                for number in (0, 1):
                    held += await self.hold(number, whole + 2)
        assert len(held) == whole
        assert await self.given(0, 1) == [0, 0]


async def test_a_plans_requests_at_once_hold_exactly_over_both_machines_while_it_is_changed(fleet: Fleet):
    made, user = await asyncio.to_thread(used, fleet, "at-once")
    ports = (fleet.one.up.ports["Registry"], fleet.two.up.ports["Registry"])
    both = Slots(ports, host(made), user["password"], fleet.place, lambda: None, user["user"])
    small, medium = AT_ONCE[SMALL], AT_ONCE[MEDIUM]
    lines = await asyncio.to_thread(fleet.lines)
    # Who counts with whom is known to a new process within seconds.
    await slots.until(lambda: both.given(0, 1), lambda given: sum(given) == small)
    held: list[slots.Request] = []
    await both.fill(held, small)

    await asyncio.to_thread(planned, fleet, made, MEDIUM)
    await both.fill(held, medium - small)
    await asyncio.to_thread(planned, fleet, made, SMALL)
    await asyncio.to_thread(settled, lines, both.host)
    assert await both.given(0, 1) == [0, 0]
    slots.let_go([held.pop() for _ in range(medium - small + 1)])
    await both.fill(held, 1)
    slots.let_go(held)
    for line in lines:
        line.close()
    await asyncio.gather(*(one.writer.wait_closed() for one in held), return_exceptions=True)


def settled(lines: list[Line], name: str) -> None:
    """Ask each process until a second has passed, so that it knows what was changed before; see `within_a_second`."""
    since, slowest = time.monotonic(), 0.0
    while time.monotonic() < since + PROMISED + 2 * slowest:
        begun = time.monotonic()
        for line in lines:
            line.ask("/v2/", name)
        slowest = max(slowest, time.monotonic() - begun)


def used(fleet: Fleet, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Order a registry with an administrator."""
    (made,) = fleet.order(name)
    client = fleet.two.client()
    user = client.post(f"{fleet.path(made)}/users")
    client.put(f"{fleet.path(made)}/users/{user['id']}/setAsAdmin")
    return made, user


def planned(fleet: Fleet, made: dict[str, Any], plan: str) -> None:
    """Change a plan at one machine, and wait until the other tells that it is in force."""
    fleet.one.client().put(f"{fleet.path(made)}/plan", planID=plan)
    fleet.is_so(fleet.two, made, "READY")


def test_a_plans_storage_holds_exactly_over_both_machines_while_it_is_changed(fleet: Fleet):
    pushing = Pushing(fleet, *used(fleet, "stored"))
    client, path = fleet.two.client(), f"{fleet.path(pushing.made)}/plan"
    small, medium = STORED[SMALL], STORED[MEDIUM]
    assert pushing.fill() == small

    planned(fleet, pushing.made, MEDIUM)
    assert pushing.fill() == medium
    with pytest.raises(ResourceConflictError, match=f"{medium} used, {small} granted"):
        fleet.one.client().put(path, planID=SMALL)
    # Room is made for it, and others push at the same time: whichever comes first, there is no byte too many.
    pushing.drop((medium - small) // MIB + 2)
    filling = threading.Thread(target=pushing.fill)
    filling.start()
    try:
        client.put(path, planID=SMALL)
    except ResourceConflictError:
        refused = True
    else:
        refused = False
    filling.join()

    granted = STORED[pushing.plan()]
    assert granted == medium or not refused
    assert pushing.fill() == granted
    told = {one["name"]: one for one in client.get(f"{fleet.path(pushing.made)}/limits")}["imageStorage"]
    assert (told["used"], told["granted"]) == (granted, granted)


HELD = {
    "ordered": "after place",
    "ordered-late": "before settle_open",
    "resized": "after limit",
    "suspended": "after suspend",
    "deleted": "after close",
    "doomed": "after end_rows",
    "ruled": "before restrict",
}
"""Where each registry's workflow stands when its machine is lost; the registries are called so."""
DONE = {
    "ordered": {"registry.ordered", "registry.delivered"},
    "ordered-late": {"registry.ordered", "registry.delivered"},
    "resized": {"registry.plan-change-asked", "registry.plan-changed"},
    "suspended": {"registry.suspend-asked", "registry.suspended"},
    "deleted": {"registry.delete-asked", "registry.deleted"},
    "doomed": {"registry.delete-asked", "registry.deleted", "registry.grace-over", "registry.destroyed"},
    "ruled": {registries.RESTRICTED},
}
ANSWERS = {"ordered": 401, "ordered-late": 401, "resized": 401, "suspended": 403, "ruled": 403}
ENDS = {"resized": "READY", "suspended": "SUSPENDED", "deleted": "DELETED", "ruled": "READY", "ordered": "READY",
        "ordered-late": "READY"}  # fmt: skip


def test_what_a_lost_machine_was_at_is_taken_over_by_the_other_once(fleet: Fleet):
    one, two = fleet.one, fleet.two
    made = dict(zip(ENDS, fleet.order(*list(ENDS)[:4]), strict=False))
    (made["doomed"],) = fleet.order("doomed")
    prefix = doomed(fleet, made["doomed"])
    until(two.hold("idle").exists, bool)
    told = [
        one.hold(name, place) for name, place in (*HELD.items(), (made["ruled"]["id"], "before carry_out"))
    ]
    begun = begin(fleet, made)
    until(lambda: all(file.exists() for file in told), bool)

    one.lose()
    begun.join()
    two.let_go()
    # Nobody need wait until it is missed: tests/crash/test_worker.py does.
    fleet.asked("UPDATE moorage_jobs.worker SET beat_at = now() - interval '1 minute' WHERE name = 'one'")
    for name, status in ENDS.items():
        made[name] |= fleet.is_so(two, made[name], status)
    certificate = until(lambda: certified(fleet, made["doomed"]), bool)
    once = {name: recorded(fleet, made[name]) for name in HELD}
    one.let_go()
    one.start()
    until(lambda: unfinished(fleet), lambda left: not left)

    for name, kinds in DONE.items():
        assert kinds <= once[name].keys(), name
        # The machine that is back does nothing of it again.
        assert recorded(fleet, made[name]) == once[name] == dict.fromkeys(once[name], 1)
        assert "registry.failed" not in once[name]
        whole(fleet, made[name])
    assert fleet.asked(
        "SELECT count(*) FROM destruction WHERE cloud_registry_id = %s", made["doomed"]["id"]
    ) == [(1,)]
    assert certificate["certificate"]["destroyed"]["objects"] == 1
    assert fleet.opened(lambda parts_: parts_.store.under(prefix).remains()) == []
    lines = fleet.lines()
    for name, answer in ANSWERS.items():
        assert {line.ask("/v2/", host(made[name])) for line in lines} == {answer}, name
    assert one.client().get(f"{fleet.path(made['resized'])}/plan")["id"] == MEDIUM
    for line in lines:
        line.close()


def doomed(fleet: Fleet, made: dict[str, Any]) -> str:
    """Have a registry with a blob in it deleted; give where its bytes are."""
    pushed_and_pulled(fleet, made)
    fleet.one.client().delete(fleet.path(made))
    fleet.is_so(fleet.two, made, "DELETED")
    entry = "SELECT prefix FROM entry JOIN cloud_registry ON entry_uuid = uuid WHERE cloud_registry.id = %s"
    return str(fleet.asked(entry, made["id"])[0][0])


def begin(fleet: Fleet, made: dict[str, Any]) -> threading.Thread:
    """Ask for all of it; what the lost machine's console was asked gets no answer, and gives the thread that asked."""
    one, two = fleet.one.client(), fleet.two.client()
    for name in ("ordered", "ordered-late"):
        made[name] = two.post(fleet.registries, name=name, region="LOCAL", planID=SMALL)
    two.put(f"{fleet.path(made['resized'])}/plan", planID=MEDIUM)
    unpaid = suspensions.checked(What.PULLS, "unpaid")
    fleet.opened(
        lambda whole: whole.platform.change(
            lambda tx: suspensions.suspend(tx, made["suspended"]["id"], unpaid, Origin("operator"))
        )
    )
    one.delete(fleet.path(made["deleted"]))
    # Its grace is over, and no request of before is under way.
    over = "UPDATE cloud_registry SET delete_after = 1, closed_at = 1 WHERE id = %s"
    fleet.asked(over, made["doomed"]["id"])

    def rule() -> None:
        with pytest.raises(HTTPError):
            one.call("PUT", f"{fleet.path(made['ruled'])}/ipRestrictions/registry", ELSEWHERE)

    asking = threading.Thread(target=rule)
    asking.start()
    return asking


def certified(fleet: Fleet, made: dict[str, Any]) -> Any:
    """Give the certificate of a registry, once there is one."""
    try:
        return fleet.two.client().get(f"{fleet.path(made)}/certificate")
    except ResourceConflictError:
        return None


def recorded(fleet: Fleet, made: dict[str, Any]) -> dict[str, int]:
    """Count what the record says of a registry: what became of it, for what was done in it is counted by the hour."""
    until(
        lambda: fleet.asked("SELECT 1 FROM cloud_outbox WHERE target = %s", made["id"]), lambda left: not left
    )
    counted = "SELECT kind, count(*) FROM cloud_event WHERE target = %s AND kind LIKE %s GROUP BY kind"
    return dict(fleet.asked(counted, made["id"], "registry.%"))


def unfinished(fleet: Fleet) -> list[tuple[Any, ...]]:
    """List what is under way or waits to be."""
    return fleet.asked("SELECT 1 FROM moorage_jobs.workflow_status WHERE status IN ('PENDING', 'ENQUEUED')")


def whole(fleet: Fleet, made: dict[str, Any]) -> None:
    """See that a registry has one place at most, one chain without a gap, and that nothing was told twice."""
    assert len(fleet.asked("SELECT 1 FROM entry WHERE name = %s", made["id"])) <= 1
    client, path = fleet.two.client(), fleet.path(made)
    page = client.get(f"{path}/ledger", limit=1000)["entries"]
    assert [one["seq"] for one in page] == list(range(1, len(page) + 1))
    assert [one["previous"] for one in page] == [chains.NOTHING_BEFORE, *(one["hash"] for one in page)][:-1]
    assert len({one["event"] for one in page}) == len(page)
    feed = client.get(f"{path}/notification", limit=1000)["notifications"]
    about = [one["type"] for one in feed if one.get("subject") == made["id"]]
    once = [one for one in about if one.startswith("moorage.registry.")]
    assert once
    assert len(once) == len(set(once))
