"""The provider's people enter a registry's content by a grant alone, which its customer sees and which ends by itself."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import bindparam, update

from moorage.cloud import grants, logins, operators, registries
from moorage.cloud.entries import Entries
from moorage.cloud.events import Origin
from moorage.cloud.grants import Grant, GrantInvalid, GrantRefused, GrantUnknown
from moorage.cloud.logins import SignInRefused
from moorage.cloud.operators import NewOperator, OperatorInvalid, OperatorRefused
from moorage.db import Database, Statement, Vanished
from moorage.db.platform import operator_grant
from moorage.db.tables import robot
from moorage.identity import robots, users
from moorage.identity.accounts import Grant as Given
from moorage.identity.callers import ANONYMOUS
from moorage.identity.robots import NewRobot, RobotInvalid
from moorage.identity.roles import Permission
from moorage.oci.manifests import OCI_MANIFEST
from moorage.registry import projects
from tests.functional.cloud_api_world import LARGE, SMALL, Api
from tests.worlds import PASSWORD

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

_OVER = Statement(
    update(operator_grant).where(operator_grant.c.id == bindparam("which")).values(until=bindparam("at"))
)
_EXPIRED = Statement(update(robot).where(robot.c.deleted_at.is_(None)).values(expires_at=bindparam("at")))
_ENDED_LONG_AGO = Statement(
    update(operator_grant).where(operator_grant.c.id == bindparam("which")).values(ended_at=1)
)
MANIFEST = "/v2/library/app/manifests/1"


@dataclass
class Desk:
    """A registry with an image in it, two operators of the provider, and what they enter by."""

    api: Api
    registry: str
    entries: Entries
    jane: NewOperator
    joe: NewOperator

    @property
    def platform(self) -> Database:
        return self.api.orders.platform

    async def ask(self, *, scope: str = "library", hours: int = 1) -> Grant:
        catalogue = self.api.orders.desk.catalogue
        return await self.platform.change(
            lambda tx: grants.ask(
                tx,
                catalogue,
                self.jane.operator,
                self.registry,
                reason="incident 7",
                scope=scope,
                hours=hours,
            )
        )

    async def approve(self, asked: Grant, who: NewOperator | None = None) -> Grant:
        chosen = (who or self.joe).operator
        return await self.platform.change(lambda tx: grants.approve_as_operator(tx, chosen, asked.id))

    async def open(self, asked: Grant) -> NewRobot:
        return await self.entries.open(self.jane.operator, asked.id)

    async def pull(self, name: str | None, password: str = "", path: str = MANIFEST) -> int:
        """Ask the registry for something."""
        found = await registries.find(self.platform, self.registry)
        assert found is not None
        entry = await self.api.orders.entry(found)
        client = await self.api.orders.world.as_(name, password, entry=entry)
        answer: httpx.Response = await client.get(path, headers={"accept": OCI_MANIFEST})
        return answer.status_code

    async def call(self, method: str, path: str) -> httpx.Response:
        """Ask the provider's API as the customer."""
        return await self.api.owner.call(method, f"/containerRegistry/{self.registry}/grant{path}")

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """List what the customer is told of grants."""
        await self.api.orders.work()
        answer = await self.api.owner.call(
            "GET", f"/containerRegistry/{self.registry}/notification?limit=1000"
        )
        feed = answer.json()["notifications"]
        return [(one["type"], one["data"]) for one in feed if one["type"].startswith("moorage.grant.")]

    async def flush(self) -> None:
        """Have the registry write down what it was asked, as it does each second."""
        found = await registries.find(self.platform, self.registry)
        assert found is not None
        opened = await self.api.orders.world.registry(await self.api.orders.entry(found))
        await opened.gathered.flush()


async def desk_of(api: Api, plan: str = SMALL) -> Desk:
    made = await api.ready(plan=plan)
    found = await registries.find(api.orders.platform, made["id"])
    assert found is not None
    entry = await api.orders.entry(found)
    opened = await api.orders.world.registry(entry)
    hashed = await api.orders.world.passwords.hash(PASSWORD)
    await opened.db.change(lambda tx: users.create(tx, name="crew", password=hashed, admin=True))
    crew = await api.orders.world.as_("crew", entry=entry)
    config = b"{}"
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    pushed = await crew.post("/v2/library/app/blobs/uploads/", params={"digest": digest}, content=config)
    assert pushed.status_code == 201, pushed.text
    described = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": digest,
        "size": len(config),
    }
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described, "layers": []}
    put = await crew.put(MANIFEST, content=json.dumps(manifest), headers={"content-type": OCI_MANIFEST})
    assert put.status_code == 201, put.text
    passwords = api.orders.world.passwords
    people = [
        await operators.create(api.orders.platform, passwords, f"{name}-{secrets.token_hex(4)}")
        for name in ("jane", "joe")
    ]
    return Desk(api, made["id"], Entries(api.orders.platform, api.orders.desk.site), *people)


@pytest.fixture
async def desk(api: Api) -> Desk:
    return await desk_of(api)


async def test_without_a_grant_an_operator_opens_nothing(desk: Desk):
    name, password = desk.jane.operator.name, desk.jane.password
    passwords = desk.api.orders.world.passwords

    assert (await operators.sign_in(desk.platform, passwords, name, password)).name == name
    assert [await desk.pull(name, password, path) for path in ("/v2/", MANIFEST, "/v2/_catalog")] == [
        401,
        401,
        401,
    ]
    assert await desk.pull(name, password, "/service/token?service=harbor-registry") == 401
    for known in (name, f"first/{name}"):
        with pytest.raises(SignInRefused):
            await logins.sign_in(desk.platform, passwords, known, password, Origin())
    unsigned = await desk.api.owner.client.get(
        f"/1.0/cloud/project/{desk.api.owner.project}/containerRegistry", auth=(name, password)
    )
    assert unsigned.status_code in {401, 403}
    asked = await desk.ask()
    with pytest.raises(GrantRefused, match="the grant is ASKED: only one that was approved opens anything"):
        await desk.open(asked)


async def test_a_second_operator_approves_and_the_grant_opens_its_scope_and_only_for_pulls(desk: Desk):
    asked = await desk.ask()
    with pytest.raises(GrantRefused, match="who asks for a grant does not approve it"):
        await desk.approve(asked, desk.jane)
    approved = await desk.approve(asked)
    with pytest.raises(GrantRefused, match="another operator's"):
        await desk.entries.open(desk.joe.operator, asked.id)

    made = await desk.open(approved)

    assert approved.decided_by == f"operator/{desk.joe.operator.name}"
    assert await desk.pull(made.name, made.secret) == 200
    found = await registries.find(desk.platform, desk.registry)
    assert found is not None
    entry = await desk.api.orders.entry(found)
    opened = await desk.api.orders.world.registry(entry)
    await opened.db.change(lambda tx: projects.create(tx, "other"))
    entered = await desk.api.orders.world.as_(made.name, made.secret, entry=entry)
    tried = [
        await entered.put(MANIFEST, content=b"{}", headers={"content-type": OCI_MANIFEST}),
        await entered.post("/v2/library/app/blobs/uploads/"),
        await entered.delete(MANIFEST),
        await entered.get("/v2/other/app/manifests/1"),
        await entered.get("/v2/_catalog"),
    ]
    assert {answer.status_code for answer in tried} == {403}
    assert made.expires_at == asked.until


async def test_each_step_and_each_use_is_told_to_the_customer_once(desk: Desk):
    asked = await desk.ask()
    await desk.approve(asked)
    made = await desk.open(asked)
    assert await desk.pull(made.name, made.secret) == 200
    await desk.flush()
    for _ in range(2):
        await desk.entries.tend()
    await desk.entries.close(asked, desk.jane.operator.origin)

    told = await desk.told()

    assert [kind for kind, _ in told] == [
        f"moorage.grant.{step}" for step in ("asked", "approved", "opened", "used", "ended")
    ]
    facts = dict(told)
    assert facts["moorage.grant.asked"]["facts"]["reason"] == "incident 7"
    used = facts["moorage.grant.used"]
    assert (used["party"], used["facts"]["did"], used["actor"]) == (
        "provider", "manifest.pull", f"operator/{desk.jane.operator.name}",
    )  # fmt: skip
    assert used["facts"]["what"].startswith("library/app")
    line = await desk.api.owner.call("GET", f"/containerRegistry/{desk.registry}/responsibility/R18")
    assert line.json()["state"] == "EVIDENCED"


@pytest.mark.parametrize("by", ["customer", "operator", "disabled"])
async def test_whoever_ends_a_grant_shuts_out_who_has_entered_at_once(desk: Desk, by: str):
    asked = await desk.approve(await desk.ask())
    made = await desk.open(asked)
    assert await desk.pull(made.name, made.secret) == 200
    found = await registries.find(desk.platform, desk.registry)
    assert found is not None
    anybody = await desk.api.orders.world.as_(
        made.name, made.secret, entry=await desk.api.orders.entry(found)
    )
    token = (
        await anybody.get("/service/token?service=harbor-registry&scope=repository:library/app:pull")
    ).json()["token"]

    if by == "customer":
        ended = (await desk.call("POST", f"/{asked.id}/end")).json()
        assert (ended["state"], ended["endedBy"].endswith("/somebody")) == ("ENDED", True)
    elif by == "disabled":
        await operators.disable(desk.platform, desk.jane.operator.name)
        for one in await grants.of_operator(desk.platform, desk.jane.operator.id):
            await desk.entries.close(one, Origin("operator", "provider"))
        with pytest.raises(OperatorRefused):
            await operators.sign_in(
                desk.platform, desk.api.orders.world.passwords, desk.jane.operator.name, desk.jane.password
            )
    else:
        await desk.entries.close(asked, desk.joe.operator.origin)

    assert await desk.pull(made.name, made.secret) == 401
    refused = await anybody.get(MANIFEST, auth=None, headers={"authorization": f"Bearer {token}"})
    assert refused.status_code == 401
    with pytest.raises(GrantRefused, match="the grant is ENDED"):
        await desk.open(asked)


async def test_a_grant_ends_by_itself_at_its_time_though_no_worker_runs(desk: Desk):
    asked = await desk.approve(await desk.ask())
    made = await desk.open(asked)
    found = await registries.find(desk.platform, desk.registry)
    assert found is not None
    opened = await desk.api.orders.world.registry(await desk.api.orders.entry(found))
    # The robot's end is the grant's (see above); so once that time has come …
    now = desk.platform.now()
    await opened.db.change(lambda tx: _touched(tx, now - 1))
    assert await desk.pull(made.name, made.secret) == 401

    await desk.platform.write(_OVER, which=asked.id, at=now - 1)
    with pytest.raises(GrantRefused, match="time is over"):
        await desk.open(asked)
    await desk.entries.tend()
    await desk.platform.write(_ENDED_LONG_AGO, which=asked.id)
    await desk.entries.tend()

    after = await grants.get(desk.platform, asked.id)
    assert (after.state, after.ended_by, after.robot) == ("ENDED", "system", None)
    assert [kind for kind, _ in await desk.told()].count("moorage.grant.ended") == 1


async def _touched(tx: Any, at: int) -> None:
    await tx.run(_EXPIRED, at=at)
    await tx.touch_access()


async def test_where_the_plan_says_so_the_customer_approves_and_nobody_else(api: Api):
    desk = await desk_of(api, LARGE)
    asked = await desk.ask(scope="*")
    with pytest.raises(GrantRefused, match="leaves it to the customer"):
        await desk.approve(asked)
    (shown,) = (await desk.call("GET", "")).json()
    assert (shown["approver"], shown["state"], shown["reason"], shown["opened"]) == (
        "customer",
        "ASKED",
        "incident 7",
        False,
    )

    answer = await desk.call("POST", f"/{asked.id}/approve")

    assert (answer.status_code, answer.json()["state"]) == (200, "APPROVED")
    made = await desk.open(asked)
    assert await desk.pull(made.name, made.secret) == 200
    assert (await desk.call("GET", f"/{asked.id}")).json()["opened"] is True


async def test_a_customer_refuses_any_grant_and_then_nobody_approves_it(desk: Desk):
    asked = await desk.ask()
    not_theirs = await desk.call("POST", f"/{asked.id}/approve")
    refused = await desk.call("POST", f"/{asked.id}/refuse")

    assert not_theirs.status_code == 409
    assert "leaves it to a second operator" in not_theirs.json()["message"]
    assert refused.json()["state"] == "REFUSED"
    with pytest.raises(GrantRefused, match="the grant is REFUSED"):
        await desk.approve(asked)


async def test_of_anothers_grants_nothing_is_told_and_none_is_decided(api: Api, desk: Desk):
    other = await desk_of(api)
    asked = await desk.ask()
    for path, method in (("", "GET"), ("/approve", "POST"), ("/refuse", "POST"), ("/end", "POST")):
        assert (await other.call(method, f"/{asked.id}{path}")).status_code == 404
    assert (await other.call("GET", "/%00")).status_code == 404
    assert (await grants.get(desk.platform, asked.id)).state == "ASKED"


async def test_what_cannot_be_asked_for_is_refused_with_the_rule(desk: Desk):
    catalogue = desk.api.orders.desk.catalogue
    good: dict[str, Any] = {"reason": "why", "scope": "*", "hours": 1}
    wrong = {"reason": " ", "scope": "", "hours": 73}
    for name, value in wrong.items():
        with pytest.raises(GrantInvalid, match=name):
            await desk.platform.change(
                lambda tx, name=name, value=value: grants.ask(  # type: ignore[misc]
                    tx, catalogue, desk.jane.operator, desk.registry, **{**good, name: value}
                )
            )
    with pytest.raises(GrantUnknown):
        await grants.get(desk.platform, "nothing")
    for name in ("Jane", desk.jane.operator.name):
        with pytest.raises(OperatorInvalid):
            await operators.create(desk.platform, desk.api.orders.world.passwords, name)
    with pytest.raises(OperatorRefused):
        await operators.sign_in(
            desk.platform, desk.api.orders.world.passwords, desk.jane.operator.name, "wrong"
        )


async def test_no_robot_of_a_customer_is_taken_for_a_grants(desk: Desk):
    found = await registries.find(desk.platform, desk.registry)
    assert found is not None
    opened = await desk.api.orders.world.registry(await desk.api.orders.entry(found))
    admin = Given("project", "*", Permission("repository", "pull"))
    with pytest.raises(RobotInvalid, match="those of the provider's grants"):
        await opened.db.change(
            lambda tx: robots.create(tx, name="grant-mine", owner=None, grants=[admin], creator=ANONYMOUS)
        )


async def test_a_registry_that_is_destroyed_leaves_of_its_grants_only_that_there_were_some(desk: Desk):
    asked = await desk.approve(await desk.ask())
    await desk.entries.close(asked, Origin("acme/jane", "customer"))

    assert await grants.forget(desk.platform, desk.registry) == 1

    after = await grants.get(desk.platform, asked.id)
    assert (after.reason, after.decided_by, after.ended_by, after.state) == ("", "", "", "ENDED")


async def test_one_registrys_trouble_does_not_hold_up_the_grants_of_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    first, second = await desk.approve(await desk.ask()), await desk.approve(await desk.ask())
    for one in (first, second):
        await desk.open(one)
        await desk.platform.write(_OVER, which=one.id, at=1)
    whole = Entries.note_uses

    async def broken(self: Entries, found: Grant) -> None:
        if found.id == first.id:
            raise Vanished
        await whole(self, found)

    with monkeypatch.context() as patch:
        patch.setattr(Entries, "note_uses", broken)
        await desk.entries.tend()

    assert [(await grants.get(desk.platform, one.id)).state for one in (first, second)] == ["ENDED", "ENDED"]
