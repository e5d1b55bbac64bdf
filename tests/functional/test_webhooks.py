"""Webhooks get every notification of their cloud project, in order and signed, and nothing else calls anybody."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from ipaddress import ip_network

import pytest
from sqlalchemy import func, select, update

from moorage.api.cloud.api import cloud_api
from moorage.cloud import members, webhooks
from moorage.cloud.credentials import PLACE
from moorage.cloud.members import Role
from moorage.cloud.webhooks import BATCH, MOST, PREFIX, TRIES, Sender
from moorage.db import Statement
from moorage.db.platform import cloud_webhook, ledger_entry
from moorage.identity import keys
from moorage.identity.keys import MasterKey
from moorage.outbound.http import Caller
from tests.functional.cloud_api_world import SMALL, Api, customer
from tests.functional.ordering_world import Orders
from tests.functional.usage_world import orders
from tests.servers.listener import Listener, listener
from tests.worlds import MASTER_KEY

__all__ = ["orders"]

DUE = Statement(update(cloud_webhook).values(next_at=1))
HERE = Caller((ip_network("127.0.0.0/8"),))


@pytest.fixture
async def api(orders: Orders) -> Api:
    """Open the API where webhooks may be on this machine, with an owner of the cloud project that is ordered in."""
    world = orders.world
    made = dataclasses.replace(orders, desk=dataclasses.replace(orders.desk, caller=HERE))
    app = cloud_api(made.desk, world.parts.master, world.passwords, validation="/auth/")
    owner = await customer(made, app, None, orders.project)
    await orders.platform.change(lambda tx: members.put(tx, orders.project, owner.login, Role.OWNER))
    return Api(made, app, owner)


def sender(orders: Orders) -> Sender:
    return Sender(orders.platform, orders.world.parts.master, HERE, pause=0)


def kinds(here: Listener) -> list[str]:
    return [json.loads(body)["type"] for _, _, body in here.came]


async def test_notifications_arrive_in_order_and_signed_and_go_on_after_a_failure(api: Api) -> None:
    orders = api.orders
    before = await orders.made("before", SMALL)
    await orders.work()
    with listener() as here:
        made = (await api.owner.call("POST", "/webhook", {"url": here.url})).json()
        first = await orders.made("first", SMALL)
        await orders.work()
        here.answers = [500]
        failed = await sender(orders).send_due()
        seen = (await api.owner.call("GET", f"/webhook/{made['id']}")).json()
        await api.owner.call("POST", f"/webhook/{made['id']}/resume")
        sent = await sender(orders).send_due()
        again = await sender(orders).send_due()
        listed = (await api.owner.call("GET", "/webhook")).json()

    secret = base64.b64decode(made["secret"].removeprefix(PREFIX))
    for _, headers, body in here.came:
        told = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        wanted = base64.b64encode(hmac.digest(secret, told, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{wanted}"
        assert headers["content-type"] == "application/cloudevents+json"
        assert headers["webhook-id"] == json.loads(body)["id"]
    assert (failed, sent, again) == (0, len(here.came) - 1, 0)
    # The one that failed came again, first and with the same id.
    assert here.came[0][2] == here.came[1][2]
    assert "moorage.registry.delivered" in kinds(here)
    about = {json.loads(body).get("subject") for _, _, body in here.came}
    assert first.id in about
    assert before.id not in about
    assert (seen["tries"], seen["error"], seen["stopped"]) == (1, "it answered 500", False)
    assert [(one["tries"], one["error"], one["secret"]) for one in listed] == [(0, None, None)]
    assert listed[0]["deliveredAt"]


async def test_a_webhook_that_always_fails_is_stopped_and_goes_on_where_it_was(api: Api) -> None:
    orders = api.orders
    with listener() as here:
        made = (await api.owner.call("POST", "/webhook", {"url": here.url})).json()
        await orders.made("team", SMALL)
        await orders.work()
        here.answers = [503] * (TRIES + 5)
        for _ in range(TRIES + 3):
            await orders.platform.write(DUE)
            await sender(orders).send_due()
        tried = len(here.came)
        stopped = (await api.owner.call("GET", f"/webhook/{made['id']}")).json()
        here.answers.clear()
        await api.owner.call("POST", f"/webhook/{made['id']}/resume")
        sent = await sender(orders).send_due()

    assert (tried, stopped["stopped"], stopped["error"]) == (TRIES, True, "it answered 503")
    assert sent
    assert here.came[0][2] == here.came[TRIES][2]


async def test_many_webhooks_with_nothing_to_get_keep_no_other_waiting(api: Api) -> None:
    for _ in range(BATCH // MOST + 1):
        quiet = await api.customer(Role.OWNER)
        for _ in range(MOST):
            await quiet.call("POST", "/webhook", {"url": "https://example.com/"})
    # What was to be told of themselves is behind them: they come first, and nothing is for them.
    last = select(func.max(ledger_entry.c.id)).scalar_subquery()
    await api.orders.work()
    await api.orders.platform.write(Statement(update(cloud_webhook).values(delivered=last, next_at=1)))
    with listener() as here:
        await api.owner.call("POST", "/webhook", {"url": here.url})
        await api.orders.made("team", SMALL)
        await api.orders.work()
        await sender(api.orders).send_due()

    assert "moorage.registry.delivered" in kinds(here)


async def test_a_secret_is_wrapped_anew_by_a_new_master_key(api: Api) -> None:
    db, new = api.orders.platform, "ab" * 32
    both = MasterKey.parse(f"{new} {MASTER_KEY}")
    with listener() as here:
        await api.owner.call("POST", "/webhook", {"url": here.url})
        await api.orders.made("team", SMALL)
        await api.orders.work()
        moved = await keys.rewrap(db, PLACE, both, webhooks.SECRETS)
        left = await keys.count_others(db, both, webhooks.SECRETS)
        sent = await Sender(db, MasterKey.parse(new), HERE).send_due()

    assert (moved, left) == (1, 0)
    assert sent


async def test_an_address_that_is_not_public_is_never_called(api: Api) -> None:
    orders = api.orders
    with listener() as here:
        await api.owner.call("POST", "/webhook", {"url": f"http://localhost:{here.port}/"})
        await orders.made("team", SMALL)
        await orders.work()
        strict = Sender(orders.platform, orders.world.parts.master, Caller(), pause=0)
        assert await strict.send_due() == 0
        (hook,) = await webhooks.listed(orders.platform, orders.project)

    assert "no public address" in hook.error
    assert here.came == []


async def test_a_secret_is_shown_once_and_webhooks_are_their_cloud_projects(api: Api) -> None:
    other = await api.customer(Role.OWNER)
    made = (await api.owner.call("POST", "/webhook", {"url": "https://example.com/hook"})).json()
    shown = (await api.owner.call("GET", f"/webhook/{made['id']}")).json()
    strange = [
        await other.call(*call)
        for call in (("GET", f"/webhook/{made['id']}"), ("DELETE", f"/webhook/{made['id']}"))
    ]
    refused = await api.owner.call("POST", "/webhook", {"url": "http://10.0.0.1/"})
    for _ in range(MOST - 1):
        await api.owner.call("POST", "/webhook", {"url": "https://example.com/hook"})
    full = await api.owner.call("POST", "/webhook", {"url": "https://example.com/hook"})
    gone = await api.owner.call("DELETE", f"/webhook/{made['id']}")
    after = await api.owner.call("GET", f"/webhook/{made['id']}")

    assert made["secret"].startswith(PREFIX)
    assert shown["secret"] is None
    assert [one.status_code for one in strange] == [404, 404]
    assert (refused.status_code, full.status_code, gone.status_code, after.status_code) == (
        400,
        409,
        200,
        404,
    )
    assert refused.json()["message"].startswith("url: must not name 10.0.0.1")
