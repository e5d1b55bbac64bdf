"""The customer sees who does what, what shows it, the chain of their registry, and what they are informed of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moorage.cloud import events, exports, heads, members
from moorage.cloud.members import Role
from tests.functional.cloud_api_world import Api

pytestmark = pytest.mark.parametrize("world", ["sqlite-posix", "postgres-posix"], indirect=True)


async def told(api: Api, path: str) -> Any:
    """Ask, once the worker has moved what has happened."""
    await api.orders.work()
    answer = await api.owner.call("GET", path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_every_activity_is_listed_with_what_shows_it_last(api: Api):
    made = await api.ready()
    here = f"/containerRegistry/{made['id']}"
    lines = {one["activityId"]: one for one in await told(api, f"{here}/responsibility")}

    assert list(lines) == [f"R{number:02}" for number in range(1, 50)]
    assert {lines["R05"]["state"], lines["R11"]["state"]} == {"EVIDENCED"}
    assert lines["R06"]["state"] == "OUTSIDE_SOFTWARE"
    assert lines["R13"]["state"] == "NOT_BUILT_YET"
    assert lines["R47"]["state"] == "NO_EVIDENCE_YET"
    assert lines["R47"]["lastEvidence"] is None
    assert (lines["R20"]["customer"], lines["R20"]["provider"], lines["R20"]["party"]) == (
        "I",
        "RA",
        "provider",
    )
    last = lines["R11"]["lastEvidence"]
    assert last["kind"] == "registry.delivered"
    assert await told(api, f"{here}/responsibility/R11") == lines["R11"]

    shown = await api.owner.client.get(f"/1.0{last['link']}")
    assert shown.json()["event"] == last["event"]
    assert shown.json()["activities"] == ["R11", "R28"]

    await api.owner.call("DELETE", here)
    await api.orders.work()
    ended = await told(api, f"{here}/responsibility/R47")
    assert (ended["state"], ended["party"]) == ("EVIDENCED", "customer")


async def test_the_chain_is_read_in_pages_and_exported_to_be_checked(api: Api):
    made = await api.ready()
    here = f"/containerRegistry/{made['id']}"
    for number in range(5):
        await api.owner.call("PUT", here, {"name": f"name-{number}"})
    await api.orders.work()
    await heads.sign(api.orders.platform, api.orders.world.parts.master, made["id"])
    await api.orders.work()

    pages, after = [], 0
    while (page := await told(api, f"{here}/ledger?after={after}&limit=3"))["entries"]:
        pages.append(page["entries"])
        after = page["next"]
    whole = [one for page in pages for one in page]
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [one["seq"] for one in whole] == list(range(1, 9))
    (head,) = await told(api, f"{here}/ledger/head")
    assert (head["seq"], head["hash"]) == (7, whole[6]["hash"])

    exported = await api.owner.call("GET", f"{here}/ledger/export")
    assert exported.headers["content-type"] == "application/jsonl"
    checked, keys = exports.check(exported.text.splitlines())
    assert (checked.faults, checked.entries, checked.heads) == ([], {made["id"]: 8}, 1)
    assert head["keyId"] in [key.id for key in keys]
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [one["hash"] for one in lines if one["type"] == "entry"] == [one["hash"] for one in whole]
    assert any("/somebody" in one["said"]["actor"] for one in lines if one["type"] == "entry")
    assert "somebody" not in json.dumps(whole)


async def test_the_customer_is_informed_and_each_notification_comes_once(api: Api):
    made, other = await api.ready(), await api.ready("other")
    here = f"/containerRegistry/{made['id']}/notification"
    feed, after = [], 0
    while (page := await told(api, f"{here}?after={after}&limit=2"))["notifications"]:
        feed += page["notifications"]
        after = page["next"]

    assert {one["specversion"] for one in feed} == {"1.0"}
    assert len({one["id"] for one in feed}) == len(feed)
    assert "moorage.registry.delivered" in {one["type"] for one in feed}
    assert other["id"] not in json.dumps(feed)
    everything = await told(api, "/notification?limit=1000")
    assert {made["id"], other["id"]} <= {one.get("subject") for one in everything["notifications"]}
    assert await told(api, f"{here}?after={after}") == {"notifications": [], "next": None}


async def test_of_anothers_registry_nothing_is_told(api: Api):
    made = await api.ready()
    stranger = await api.customer(Role.OWNER)
    mine = (await told(api, f"/containerRegistry/{made['id']}/ledger"))["entries"][0]["event"]
    for path in ("responsibility", "responsibility/R11", "ledger", "ledger/head", "ledger/export", "notification",
                 f"ledger/event/{mine}"):  # fmt: skip
        answer = await stranger.call("GET", f"/containerRegistry/{made['id']}/{path}")
        assert answer.status_code == 404, path
    theirs = await stranger.call("GET", "/notification?limit=1000")
    assert made["id"] not in theirs.text


async def test_who_only_reads_is_not_told_from_where_others_act(api: Api):
    made = await api.ready()
    reader = await api.customer(Role.READER, api.owner.project)

    assert (await reader.call("GET", f"/containerRegistry/{made['id']}/ledger")).status_code == 200
    assert (await reader.call("GET", f"/containerRegistry/{made['id']}/ledger/export")).status_code == 403
    await api.orders.platform.change(lambda tx: members.drop(tx, api.owner.project, reader.login))


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("responsibility/R50", 404, "there is no activity R50: they are R01 to R49"),
        ("ledger/event/nothing", 404, "the ledger has no entry of this event for the registry"),
        ("ledger/event/%00", 404, "the ledger has no entry of this event for the registry"),
        ("ledger?after=-1", 400, "after: must be a whole number of at most 18 figures"),
        ("notification?from=1", 400, "from: is no parameter of this call, which has after, limit"),
        ("notification?limit=many", 400, "limit: must be a whole number of at most 18 figures"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_the_rule(api: Api, path: str, status: int, words: str):
    made = await api.ready()

    refused = await api.owner.call("GET", f"/containerRegistry/{made['id']}/{path}")

    assert (refused.status_code, refused.json()["message"]) == (status, words)


async def test_what_the_provider_does_for_everybody_is_evidence_for_each(api: Api):
    made = await api.ready()
    await api.orders.platform.change(
        lambda tx: events.record(tx, "release.deployed", events.SYSTEM, target=made["id"][:8], version="x")
    )
    await api.orders.work()

    line = await told(api, f"/containerRegistry/{made['id']}/responsibility/R39")

    assert line["lastEvidence"]["kind"] == "release.deployed"
    assert (await api.owner.client.get(f"/1.0{line['lastEvidence']['link']}")).json()["chain"] == "provider"
