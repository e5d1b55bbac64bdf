"""A user's own applications and credentials, as the provider's SDK lists and ends them; nobody else's are there."""

from __future__ import annotations

import uuid

import httpx
import pytest
from sqlalchemy import bindparam, select

from moorage.cloud import credentials
from moorage.cloud.events import SYSTEM
from moorage.cloud.logins import Login
from moorage.cloud.rules import Limits
from moorage.db import Statement, Tx
from moorage.db.platform import cloud_outbox
from tests.functional.cloud_api_world import Api, Customer
from tests.functional.cloud_world import ANYTHING

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)

APPLICATIONS, CREDENTIALS = "/1.0/me/api/application", "/1.0/me/api/credential"
KINDS = Statement(
    select(cloud_outbox.c.kind)
    .where(cloud_outbox.c.target == bindparam("target"))
    .order_by(cloud_outbox.c.id)
)


async def of(client: httpx.AsyncClient, path: str = "") -> list[str]:
    """List a user's credentials."""
    listed: list[str] = (await client.get(CREDENTIALS + path)).json()
    return listed


async def another(
    api: Api, who: Customer, limits: Limits = ANYTHING, *, expires_at: int | None = None
) -> Customer:
    """Let a user's application have another credential."""
    made = await api.orders.platform.change(
        lambda tx: credentials.create_validated(
            tx, who.application.id, who.login, limits, expires_at=expires_at
        )
    )
    return await api.as_(who, made)


async def test_they_are_listed_and_shown_as_the_sdk_asks_for_them(api: Api):
    owner = api.owner
    now = api.orders.platform.now()
    await another(api, owner, Limits.checked([("GET", "/me")], ["192.0.2.0/24"]), expires_at=now - 1)
    first, second = await of(owner.client)
    shown = [(await owner.client.get(f"{CREDENTIALS}/{one}")).json() for one in (first, second)]
    current = (await owner.client.get("/1.0/auth/currentCredential")).json()
    behind = (await owner.client.get(f"{CREDENTIALS}/{first}/application")).json()
    application = owner.application

    assert shown[0] | {"lastUse": None} == current | {"lastUse": None}
    assert (shown[1]["status"], shown[1]["allowedIPs"]) == ("expired", ["192.0.2.0/24"])
    assert shown[1]["rules"] == [{"method": "GET", "path": "/me"}]
    assert (await of(owner.client, "?status=validated"), await of(owner.client, "?status=expired")) == (
        [first],
        [second],
    )
    assert await of(owner.client, f"?applicationId={application.id}") == [first, second]
    assert await of(owner.client, f"?applicationId={uuid.uuid4()}") == []
    assert (await owner.client.get(f"{CREDENTIALS}?statu=a")).status_code == 400
    assert (await owner.client.get(APPLICATIONS)).json() == [application.id]
    assert (await owner.client.get(f"{APPLICATIONS}/{application.id}")).json() == behind
    assert (behind["applicationKey"], behind["status"], behind["name"]) == (
        application.key,
        "active",
        "tests",
    )
    assert application.secret not in str(behind)


async def test_one_that_is_ended_is_refused_from_the_next_call_on(api: Api):
    owner = api.owner
    doomed = await another(api, owner)
    _, id_ = await of(owner.client)
    ended = await owner.client.delete(f"{CREDENTIALS}/{id_}")

    assert (ended.status_code, ended.json()) == (200, None)
    assert (await doomed.client.get("/1.0/me")).json()["errorCode"] == "INVALID_CREDENTIAL"
    assert id_ not in await of(owner.client)
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/application")):
        body = {"allowedIPs": None} if method == "PUT" else None
        assert (
            await owner.client.request(method, f"{CREDENTIALS}/{id_}{path}", json=body)
        ).status_code == 404
    kinds = [row.kind for row in await api.orders.platform.all(KINDS, target=id_)]
    assert kinds == ["credential.revoked"]


async def test_one_is_kept_to_networks_and_sent_whole_as_it_was_shown(api: Api):
    owner = api.owner
    kept = await another(api, owner)
    _, id_ = await of(owner.client)
    shown = (await owner.client.get(f"{CREDENTIALS}/{id_}")).json()
    before = (await kept.client.get("/1.0/me")).status_code
    done = await owner.client.put(
        f"{CREDENTIALS}/{id_}", json=shown | {"allowedIPs": ["192.0.2.7"], "status": "expired"}
    )
    after = await kept.client.get("/1.0/me")
    again = (await owner.client.get(f"{CREDENTIALS}/{id_}")).json()
    wrong = await owner.client.put(f"{CREDENTIALS}/{id_}", json={"allowedIPs": ["nowhere"]})

    assert (before, done.status_code, after.status_code) == (200, 200, 403)
    assert again == shown | {"allowedIPs": ["192.0.2.7/32"], "lastUse": again["lastUse"]}
    assert (wrong.status_code, "allowedIPs[0]" in wrong.json()["message"]) == (400, True)
    assert (await owner.client.put(f"{CREDENTIALS}/{id_}", json={"allowedIPs": None})).status_code == 200
    assert (await kept.client.get("/1.0/me")).status_code == 200
    kinds = [row.kind for row in await api.orders.platform.all(KINDS, target=id_)]
    assert kinds == ["credential.changed"] * 2


async def test_an_application_that_is_ended_takes_all_its_credentials_with_it(api: Api):
    owner = api.owner
    second = await another(api, owner)
    gone = await owner.client.delete(f"{APPLICATIONS}/{owner.application.id}")

    assert gone.status_code == 200
    for who in (owner, second):
        assert (await who.client.get("/1.0/me")).json()["errorCode"] == "INVALID_KEY"
    kinds = [row.kind for row in await api.orders.platform.all(KINDS, target=owner.application.id)]
    assert kinds == ["application.revoked"]


async def test_anothers_are_not_there_though_one_has_the_application_and_the_other_the_credential(api: Api):
    """A user has let somebody else's application have a credential: the user sees it, and whose application it is does not."""
    owner, other = api.owner, await api.customer()

    async def work(tx: Tx) -> None:
        asked = await credentials.request(tx, owner.application.key, ANYTHING, None)
        user = Login(other.login, other.account, "somebody", "", "")
        await credentials.decide(tx, asked.id, user, allow=True, expires_at=None, origin=SYSTEM)

    await api.orders.platform.change(work)
    _, given = await of(other.client)
    behind = (await other.client.get(f"{CREDENTIALS}/{given}/application")).json()

    assert behind["applicationId"] == owner.application.id
    assert given not in await of(owner.client)
    mine = owner.application.id
    for who, path in (
        (other, f"{APPLICATIONS}/{mine}"),
        (owner, f"{CREDENTIALS}/{given}"),
        (owner, f"{CREDENTIALS}/%00"),
    ):
        assert (await who.client.get(path)).status_code == 404
        assert (await who.client.delete(path)).status_code == 404
    assert (await other.client.get("/1.0/me")).status_code == 200
    # At a browser the networks take the password once more, when that is long ago; ending one never does.
    browser = await api.at_a_browser(other)
    assert (await browser.client.put(f"{CREDENTIALS}/{given}", json={"allowedIPs": None})).status_code == 200
    assert (await browser.client.delete(f"{CREDENTIALS}/{given}")).status_code == 200
