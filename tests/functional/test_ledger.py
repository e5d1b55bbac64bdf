"""The responsibility ledger: each event that is evidence has one entry, and whatever is altered after shows."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
import itertools
import json
import uuid
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import bindparam, delete, select, update

from moorage.cloud import chains, events, heads, ledger, notifications, signing
from moorage.cloud.chains import PROVIDER, Checked
from moorage.cloud.events import Origin
from moorage.db import Database, Statement, Tx, insert
from moorage.db.platform import cloud_outbox, cloud_project, cloud_registry, ledger_entry
from moorage.db.postgres import Postgres
from tests.functional.cloud_world import MASTER, Platform

SOMEBODY = Origin("acme/jane", "customer", "r-1", "192.0.2.7", "sdk/1")
_PROJECT = Statement(
    insert(cloud_project).values(
        id=bindparam("id"), account_id=bindparam("account"), description="", state="ok", created_at=1
    )
)
_REGISTRY = Statement(
    insert(cloud_registry).values(
        id=bindparam("id"), cloud_project_id=bindparam("project"), name="team", region="LOCAL", plan="S", wanted="READY",
        status="READY", version="1", created_at=1, updated_at=1,
    )
)  # fmt: skip
_ALTER = Statement(
    update(ledger_entry)
    .where(ledger_entry.c.chain == bindparam("which"), ledger_entry.c.seq == bindparam("number"))
    .values(party=bindparam("new"))
)
_CUT = Statement(
    delete(ledger_entry).where(
        ledger_entry.c.chain == bindparam("which"), ledger_entry.c.seq == bindparam("number")
    )
)
_TOLD = Statement(select(cloud_outbox).where(cloud_outbox.c.uuid == bindparam("event")))
# Whoever waits for a turn of a database that is no registry's: the lock's halves are its space and number 0.
_WAITS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1299148658 AND objid = 0 AND NOT granted"
_RIVAL = Statement(
    insert(ledger_entry).values(
        chain=bindparam("chain"), seq=bindparam("number"), at=1, event=bindparam("event"), kind="rival", activities="R18",
        party="provider", outcome="success", cloud_project_id="", personal="", previous="", hash=bindparam("hash"),
        for_customer=0, for_provider=0,
    )
)  # fmt: skip


@dataclasses.dataclass
class Book:
    """A registry on the platform, and what is written about it."""

    platform: Platform
    registry: str
    project: str
    account: str

    @property
    def db(self) -> Database:
        return self.platform.db

    async def tell(self, kind: str = "registry.renamed", target: str = "", **body: str) -> str:
        """Have something happen to the registry."""
        return await self.db.change(
            lambda tx: events.record(
                tx,
                kind,
                SOMEBODY,
                target=target or self.registry,
                account=self.account,
                cloud_project=self.project,
                **body,
            )
        )

    async def drain(self) -> None:
        await events.drain(self.db, {}, nothing)

    async def lines(self, *, with_heads: bool = True) -> list[dict[str, Any]]:
        """Export the chain."""
        kept = await ledger.listed(self.db, self.registry, most=1000)
        found = [one.told for one in kept]
        if with_heads:
            found += [heads.told(one) for one in await heads.listed(self.db, self.registry)]
        return json.loads(json.dumps(found))  # type: ignore[no-any-return]

    async def check(self, lines: list[dict[str, Any]] | None = None) -> Checked:
        """Check a file of the chain, or the chain as it is."""
        keys = await signing.published(self.db)
        return chains.check(
            map(json.dumps, await self.lines() if lines is None else lines),
            functools.partial(signing.verify, keys),
        )


async def nothing(*_: object) -> None:
    raise AssertionError("no job hangs on these events")


@pytest.fixture
async def book(platform: Platform) -> Book:
    person = await platform.person(f"owner-{uuid.uuid4().hex[:8]}")
    made = Book(platform, str(uuid.uuid4()), uuid.uuid4().hex, person.account)
    await platform.db.write(_PROJECT, id=made.project, account=person.account)
    await platform.db.write(_REGISTRY, id=made.registry, project=made.project)
    # Whatever other tests left in a shared outbox is theirs, and is moved before.
    await events.drain(platform.db, {}, nothing)
    return made


async def test_what_happens_to_a_registry_is_in_its_chain_once_and_in_order(book: Book):
    told = [await book.tell(after=str(number)) for number in range(5)]
    await book.drain()
    await book.drain()

    found = await ledger.listed(book.db, book.registry)
    assert [one.entry.event for one in found] == told
    assert [one.entry.seq for one in found] == [1, 2, 3, 4, 5]
    assert found[0].entry.previous == chains.NOTHING_BEFORE
    for before, after in itertools.pairwise(found):
        assert after.entry.previous == before.entry.hash
    assert found[0].entry.party == "customer"
    assert found[0].said is not None
    assert found[0].said["actor"] == "acme/jane"
    assert await book.check() == Checked({book.registry: 5}, 0, 5, [])


async def test_what_is_about_no_registry_is_in_the_providers_chain(book: Book):
    seq, _ = await ledger.last(book.db, PROVIDER)
    told = await book.tell("application.created", target=str(uuid.uuid4()))
    about = await book.tell("credential.revoked", target=str(uuid.uuid4()), registry=book.registry)
    await book.drain()

    found = await ledger.listed(book.db, PROVIDER, after=seq, most=1000)
    assert told in [one.entry.event for one in found]
    assert [one.entry.event for one in await ledger.listed(book.db, book.registry)] == [about]


async def test_what_is_evidence_of_nothing_and_what_was_refused_is_not_in_the_ledger(book: Book):
    await book.tell("weather.changed")
    await events.deny(book.db, "registry.renamed", SOMEBODY, rule="no", target=book.registry)
    await book.drain()

    assert await ledger.listed(book.db, book.registry) == []


async def test_an_event_that_a_killed_relay_moves_again_has_one_entry(book: Book):
    """Killed between entry and record is no state: they are one turn. Killed after it, the event may come once more."""
    event = await book.tell()
    (row,) = await book.db.all(Statement(cloud_outbox.select().where(cloud_outbox.c.uuid == event)))

    async def dies(tx: Tx) -> None:
        await ledger.append(tx, [row])
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await book.db.change(dies)
    assert await ledger.listed(book.db, book.registry) == []
    await book.drain()
    await book.db.change(lambda tx: ledger.append(tx, [row]))

    assert [one.entry.event for one in await ledger.listed(book.db, book.registry)] == [event]


async def test_relays_at_once_append_each_event_once_and_fork_no_chain(book: Book):
    told = [await book.tell(after=str(number)) for number in range(40)]
    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(book.drain())
        late = [group.create_task(book.tell(after="late")) for _ in range(10)]
    await book.drain()

    found = await ledger.listed(book.db, book.registry, most=1000)
    assert sorted(one.entry.event for one in found) == sorted([*told, *(one.result() for one in late)])
    assert (await book.check()).faults == []


@pytest.mark.parametrize("platform", ["postgres"], indirect=True)
async def test_who_reads_a_feed_between_two_who_append_at_once_passes_over_nothing(
    book: Book, postgres_url: str
):
    beside, other = str(uuid.uuid4()), await Postgres.connect(postgres_url)
    await book.db.write(_REGISTRY, id=beside, project=book.project)
    told = [await book.tell("registry.delivered", target) for target in (book.registry, beside)]
    rows = [await book.db.one(_TOLD, event=event) for event in told]
    appended, goes_on, watch = asyncio.Event(), asyncio.Event(), await asyncpg.connect(postgres_url)

    async def slowly(tx: Tx) -> None:
        await ledger.append(tx, rows[:1])
        appended.set()
        await goes_on.wait()

    async def read(after: int) -> list[tuple[int, str]]:
        found = await notifications.for_customer(other.unbound(), book.project, after=after)
        # What other tests had told to every customer is in it, too.
        return [(one.number, one.kept.entry.event) for one in found if one.kept.entry.event in told]

    slow = asyncio.create_task(book.db.change(slowly))
    await appended.wait()
    quick = asyncio.create_task(other.unbound().change(lambda tx: ledger.append(tx, rows[1:])))
    while not quick.done() and not await watch.fetchval(_WAITS):
        await asyncio.sleep(0)
    seen = await read(0)
    goes_on.set()
    await asyncio.gather(slow, quick)
    seen += await read(seen[-1][0] if seen else 0)
    await watch.close()
    await other.close()
    await book.drain()

    assert [event for _, event in seen] == told


async def test_who_was_overtaken_by_another_appends_after_that(book: Book):
    """No lock is trusted with this: the chain's number is given once, whoever else writes."""
    event = await book.tell()
    whole = ledger._add
    fork = {"chain": book.registry, "number": 1, "event": str(uuid.uuid4()), "hash": "ab" * 32}

    async def overtaken(tx: Tx, row: Any, chain: str, seq: int, hash_: str) -> tuple[int, str]:
        if seq == 0 and chain == book.registry:
            await tx.run(_RIVAL, **fork)
        return await whole(tx, row, chain, seq, hash_)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "_add", overtaken)
        row = await book.db.one(Statement(cloud_outbox.select().where(cloud_outbox.c.uuid == event)))
        with pytest.raises(ledger.Forked):
            await book.db.change(lambda tx: ledger.append(tx, [row]))
    # What it had written is undone with it; the rival's is there for good.
    await book.db.write(_RIVAL, **fork)
    await book.drain()

    found = await ledger.listed(book.db, book.registry)
    assert [(one.entry.seq, one.entry.kind) for one in found] == [(1, "rival"), (2, "registry.renamed")]
    assert found[1].entry.previous == fork["hash"]


async def test_once_who_did_it_is_erased_the_chain_is_as_whole_as_before(book: Book):
    for number in range(3):
        await book.tell(after=str(number))
    await book.drain()
    before = await book.check()

    assert await ledger.erase(book.db, book.registry) == 3

    lines = await book.lines()
    assert "acme" not in json.dumps(lines)
    assert "192.0.2.7" not in json.dumps(lines)
    assert (await book.check()) == dataclasses.replace(before, personal=0)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda lines: lines[2].update(party="provider"), "line 3: entry 3 of {} was altered: its hash is not that"),
        (lambda lines: lines.pop(2), "line 3: entry 4 of {}: entry 3 is missing before it"),
        (lambda lines: lines.__delitem__(slice(1, 3)), "line 2: entry 4 of {}: entries 2 to 3 are missing before it"),
        (lambda lines: lines.insert(0, lines.pop(2)), "line 2: entry 1 of {}: it comes after entry 3"),
        (lambda lines: lines[1]["said"].update(actor="somebody"), "line 2: entry 2 of {}: who did it was altered"),
        (lambda lines: lines[1].pop("at"), "line 2: at is missing, or is not of its type"),
        (lambda lines: lines[4].update(signature="00" * 64), "line 5: the head of {} at entry 4: the signature by the key"),
        (lambda lines: lines[4].update(keyId="0" * 32), "line 5: the head of {} at entry 4: it is signed by the key 000"),
        (lambda lines: lines.pop(3), "line 4: the head of {} at entry 4 was signed, and the file ends at entry 3"),
    ],
)  # fmt: skip
async def test_whatever_is_altered_in_a_file_is_told_where_it_is(book: Book, spoil: Any, told: str):
    for number in range(4):
        await book.tell(after=str(number))
    await book.drain()
    await heads.sign(book.db, MASTER, book.registry)
    lines = await book.lines()
    assert (await book.check(lines)).faults == []

    spoil(lines)

    assert (await book.check(lines)).faults[0].startswith(told.format(book.registry))


async def test_a_chain_that_the_provider_writes_anew_does_not_fit_the_head_that_was_sent(book: Book):
    for number in range(3):
        await book.tell(after=str(number))
    await book.drain()
    await heads.sign(book.db, MASTER, book.registry)
    lines = await book.lines()
    sent = lines.pop()

    # Every hash is made right again, as who has all the rows can.
    previous = chains.NOTHING_BEFORE
    for line in lines:
        entry = dataclasses.replace(chains.Entry.of(line), party="provider", previous=previous)
        line.update(entry.told, hash=entry.hash)
        previous = entry.hash
    assert (await book.check(lines)).faults == []

    (fault,) = (await book.check([*lines, sent])).faults
    assert "was signed with another hash: the chain was written anew since" in fault


async def test_what_is_altered_or_cut_in_the_rows_shows_when_they_are_checked(book: Book):
    for number in range(4):
        await book.tell(after=str(number))
    await book.drain()
    await book.db.write(_ALTER, which=book.registry, number=2, new="provider")
    await book.db.write(_CUT, which=book.registry, number=3)

    assert (await book.check()).faults == [
        f"line 2: entry 2 of {book.registry} was altered: its hash is not that of what it says",
        f"line 3: entry 4 of {book.registry}: entry 3 is missing before it",
    ]


async def test_heads_are_signed_once_a_day_and_only_of_chains_that_have_grown(book: Book):
    day = heads.DAY
    await book.tell()
    await book.drain()
    for expected in (1, 1):
        await heads.sign_due(book.db, MASTER)
        await book.drain()
        assert len(await heads.listed(book.db, book.registry)) == expected
    book.platform.clock.at += day
    # Nothing but that a head was signed has happened since.
    await heads.sign_due(book.db, MASTER)
    assert len(await heads.listed(book.db, book.registry)) == 1
    await book.tell()
    await book.drain()
    await heads.sign_due(book.db, MASTER)
    await book.drain()

    first, second = await heads.listed(book.db, book.registry)
    assert (first.seq, second.seq) == (1, 3)
    assert second.at // day > first.at // day
    assert (await book.check()).faults == []
    sent = [one for one in await ledger.listed(book.db, book.registry) if one.entry.kind == heads.SIGNED]
    assert [json.loads(one.said["body"])["signature"] for one in sent if one.said] == [
        first.signature,
        second.signature,
    ]


async def test_workers_that_sign_at_once_sign_a_chain_once(book: Book):
    await book.tell()
    await book.drain()
    async with asyncio.TaskGroup() as group:
        signed = [group.create_task(heads.sign(book.db, MASTER, book.registry)) for _ in range(5)]
    await book.drain()

    assert sorted(one.result() for one in signed) == [False, False, False, False, True]
    assert len(await heads.listed(book.db, book.registry)) == 1


async def test_a_third_party_recomputes_it_by_the_reference_alone(book: Book):
    """Nothing of ours is asked here: hashlib, json and a library's Ed25519, as docs/reference/ledger-format.md says."""
    for number in range(3):
        await book.tell(after=f"naïve {number}")
    await book.drain()
    await heads.sign(book.db, MASTER, book.registry)
    *entries, head = await book.lines()
    (key,) = [one.public for one in await signing.published(book.db) if one.id == head["keyId"]]

    def canonical(value: object) -> bytes:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()

    before = "0" * 64
    for entry in entries:
        said = dict(entry["said"])
        salt = bytes.fromhex(said.pop("salt"))
        assert (
            hashlib.sha256(b"moorage ledger personal 1\n" + salt + canonical(said)).hexdigest()
            == entry["personal"]
        )
        hashed = {name: entry[name] for name in entry if name not in {"type", "hash", "said"}}
        assert hashlib.sha256(b"moorage ledger entry 1\n" + canonical(hashed)).hexdigest() == entry["hash"]
        assert entry["previous"] == before
        before = entry["hash"]
    signed = canonical({name: head[name] for name in ("at", "chain", "hash", "seq")})
    Ed25519PublicKey.from_public_bytes(key).verify(
        bytes.fromhex(head["signature"]), b"moorage ledger head 1\n" + signed
    )
    assert (head["hash"], head["seq"]) == (before, 3)
    assert hashlib.sha256(key).hexdigest()[:32] == head["keyId"]
