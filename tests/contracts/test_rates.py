"""What every count of requests in a minute keeps to: in a file, by Redis; several processes, played or real."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from moorage.registry.rate_server import InRedis
from moorage.registry.rate_table import SETS, SIZE, WAYS, OnThisMachine, Share, Table
from moorage.registry.rates import HELD, Counts, Key, Rate, RateExceeded, Rates
from moorage.registry.slots import Peers
from tests.servers.redis import RedisServer, running_redis

OWNER = "e8568609"
FEW = Rate("manifests", 20, "requests for manifests")
MANY = Rate("manifests", 600_000, "requests for manifests")


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Process:
    """Makes one more process's count of the same; in a file time stands still."""

    make: Callable[[], Counts]
    clock: Callable[[], float]
    begun: float = field(default_factory=time.monotonic)

    def rates(self, rate: Rate) -> Rates:
        return Rates({rate.name: rate}, self.make(), self.clock)

    def most(self, rate: Rate) -> int:
        """Give what may have been granted so far: where time goes on, some have come back."""
        went = 0.0 if isinstance(self.clock, Clock) else time.monotonic() - self.begun
        return rate.limit + int(went / rate.interval) + 1 * (went > 0)


@pytest.fixture(params=["file", "redis"])
async def process(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Process]:
    async with AsyncExitStack() as closing:
        clock = Clock() if request.param == "file" else time.monotonic

        def make() -> Counts:
            counts: Counts
            if request.param == "file":
                counts = OnThisMachine(tmp_path / "rates", 2, clock)
            else:
                counts = InRedis.at(request.getfixturevalue("redis_server").url, Share())
            closing.push_async_callback(counts.close)
            return counts

        yield Process(make, clock)


async def granted(rates: Rates, owner: str, who: str, times: int) -> int:
    """Ask so often at once; give how many were granted."""
    answers = await asyncio.gather(
        *(rates.take(owner, "manifests", who) for _ in range(times)), return_exceptions=True
    )
    refused = [one for one in answers if one is not None]
    assert all(isinstance(one, RateExceeded) for one in refused), refused
    return times - len(refused)


async def test_all_processes_together_grant_one_identity_its_rate_and_no_more(
    process: Process, tmp_path: Path
) -> None:
    ours = [process.rates(FEW) for _ in range(3)]

    counts = await asyncio.gather(*(granted(one, tmp_path.name, "user:1", 30) for one in ours))

    assert FEW.limit <= sum(counts) <= process.most(FEW)
    # Of another identity, and of another registry, nothing is used.
    assert await granted(ours[0], tmp_path.name, "user:2", 10) == 10
    assert await granted(ours[1], f"{tmp_path.name}-other", "user:1", 10) == 10


async def test_permits_drawn_in_batches_add_up_to_the_rate(process: Process, tmp_path: Path) -> None:
    rate = Rate("manifests", 3000, "requests for manifests")
    ours = [process.rates(rate) for _ in range(2)]

    counts = [0, 0]
    for turn in range(40):
        counts[turn % 2] += await granted(ours[turn % 2], tmp_path.name, "user:1", 100)

    # What a process holds it holds for a second: no more than one draw each.
    assert rate.limit - 2 * rate.largest_draw <= sum(counts) <= process.most(rate)


async def test_the_busiest_identity_is_told(process: Process, tmp_path: Path) -> None:
    rates, other = process.rates(FEW), process.rates(FEW)
    before = await other.used(tmp_path.name, FEW)
    await granted(rates, tmp_path.name, "user:1", 3)
    await granted(rates, tmp_path.name, "user:2", 12)
    await granted(rates, tmp_path.name, "user:3", 1)

    assert before == 0
    used = await other.used(tmp_path.name, FEW)
    assert used is not None
    # Where time goes on, it goes down.
    assert used == 12 if isinstance(process.clock, Clock) else 0 < used <= 12


async def test_what_was_used_comes_back_evenly_and_a_refusal_says_when(tmp_path: Path) -> None:
    clock = Clock()
    rates = Rates({FEW.name: FEW}, OnThisMachine(tmp_path / "rates", 1, clock), clock)
    assert await granted(rates, OWNER, "user:1", 25) == 20

    with pytest.raises(RateExceeded) as refused:
        await rates.take(OWNER, "manifests", "user:1")
    clock.at += 3.0
    after = await granted(rates, OWNER, "user:1", 5)
    clock.at += 600.0
    later = await granted(rates, OWNER, "user:1", 25)
    await rates.close()

    assert (after, later) == (1, 20)
    assert dict(refused.value.headers()) == {
        "retry-after": "3",
        "ratelimit-policy": '"manifests";q=20;w=60',
        "ratelimit": '"manifests";r=0;t=3',
    }
    assert refused.value.detail == {
        "rule": "request rate", "operation": "manifests", "limit": 20, "window": 60
    }  # fmt: skip


async def test_permits_that_nobody_used_go_back(tmp_path: Path) -> None:
    clock = Clock()
    first, second = (
        Rates({MANY.name: MANY}, OnThisMachine(tmp_path / "rates", 2, clock), clock) for _ in range(2)
    )
    for _ in range(1500):
        await first.take(OWNER, "manifests", "user:1")
    held = await second.used(OWNER, MANY)
    clock.at += HELD
    came_back = int(HELD / MANY.interval)
    await first.take(OWNER, "manifests", "user:1")

    bucket = first.bucket(OWNER, "manifests", "user:1")
    await first.close()
    await second.close()
    assert held is not None
    assert 1500 < held <= 1500 + MANY.largest_draw < came_back
    # After a pause one draws what one needs, and keeps none.
    assert bucket is not None
    assert bucket.permits == 0


async def test_ten_thousand_identities_and_more_hold_no_more_memory(tmp_path: Path) -> None:
    clock = Clock()
    rates = Rates({FEW.name: FEW}, OnThisMachine(tmp_path / "rates", 1, clock), clock, most=1000)
    assert await granted(rates, OWNER, "user:1", 20) == 20

    for number in range(20_000):
        await rates.take(OWNER, "manifests", f"2001:db8:{number:x}::/64")

    assert len(rates._buckets) == 1000
    assert (tmp_path / "rates").stat().st_size == SIZE
    # Who has used most is not forgotten for those who come once.
    assert await granted(rates, OWNER, "user:1", 5) == 0
    await rates.close()


def test_of_a_full_set_the_emptiest_is_forgotten() -> None:
    clock = Clock()
    table = Table.open(None, clock)
    keys = [Key(OWNER, "manifests", f"user:{number}") for number in range(2 * SETS * WAYS)]
    for key in keys:
        table.draw(key, FEW, 1, 0)

    table.draw(keys[0], FEW, 20, 0)
    for key in keys[1:]:
        table.draw(key, FEW, 1, 0)
    left = table.draw(keys[0], FEW, 20, 0)
    table.close()

    assert left.count == 0


def test_a_table_from_before_this_machine_started_holds_up_nobody(tmp_path: Path) -> None:
    key = Key(OWNER, "manifests", "user:1")
    before = Table.open(tmp_path / "rates", Clock(at=90_000.0))
    assert before.draw(key, FEW, 30, 0).count == 20
    before.close()

    table = Table.open(tmp_path / "rates", Clock(at=10.0))
    drawn = table.draw(key, FEW, 30, 0)
    table.close()

    assert drawn.count == 20


def test_a_table_has_its_room_on_the_disk_before_anything_is_written_to_it(tmp_path: Path) -> None:
    """A mapped file whose room is only promised ends every process that serves, as soon as the disk is full."""
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", SIZE)
    for name in ("new", "sparse"):
        Table.open(tmp_path / name).close()

    assert [(tmp_path / name).stat().st_blocks * 512 >= SIZE for name in ("new", "sparse")] == [True, True]


async def test_where_nobody_counts_for_all_each_process_grants_its_share(tmp_path: Path) -> None:
    clock = Clock()
    shares = [Share(lambda rank=rank: Peers(3, rank), clock) for rank in range(3)]  # type: ignore[misc] # A default is not inferred.
    (tmp_path / "rates").mkdir()
    nowhere = OnThisMachine(tmp_path / "rates", 2, clock)

    counts = [await granted(Rates({FEW.name: FEW}, one, clock), OWNER, "user:1", 30) for one in shares]
    alone = await granted(Rates({FEW.name: FEW}, nowhere, clock), OWNER, "user:1", 30)
    told = await nowhere.used(Key(OWNER, "manifests", ""), FEW)
    await asyncio.gather(nowhere.close(), *(one.close() for one in shares))

    assert sorted(counts) == [6, 7, 7]
    assert (alone, told) == (10, None)


async def test_while_redis_is_away_shares_are_granted_and_then_it_counts_again() -> None:
    clock = Clock()
    with running_redis() as server:
        counts = InRedis.at(server.url, Share(lambda: Peers(2, 0), clock))
        counts.clock = clock
        rates = Rates({FEW.name: FEW}, counts, clock)
        assert await granted(rates, OWNER, "user:1", 5) == 5
        server.kill()

        away = await granted(rates, OWNER, "user:1", 30)
        at_once = rates.bucket(OWNER, "manifests", "user:2")
        assert at_once is not None
        without = at_once.at_once()
        assert await counts.used(Key(OWNER, "manifests", ""), FEW) is None
        server.start()
        clock.at += 2.0
        back = await granted(rates, OWNER, "user:3", 30)
        await rates.close()

    assert (away, without) == (10, True)
    assert 20 <= back <= 30


_TAKES = """
import asyncio, sys
from pathlib import Path
from moorage.registry.rate_server import InRedis
from moorage.registry.rate_table import OnThisMachine, Share
from moorage.registry.rates import Rate, RateExceeded, Rates

async def main():
    where = sys.argv[1]
    counts = OnThisMachine(Path(where), 2) if where.startswith("/") else InRedis.at(where, Share())
    rates = Rates({"blobs": Rate("blobs", 1200, "blobs")}, counts)
    granted = 0
    for _ in range(60):
        answers = await asyncio.gather(*(rates.take("o", "blobs", "robot:1") for _ in range(25)), return_exceptions=True)
        assert all(one is None or isinstance(one, RateExceeded) for one in answers), answers
        granted += answers.count(None)
    await rates.close()
    print(granted)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["file", "redis"])
def test_two_real_processes_grant_the_rate_and_what_came_back(
    kind: str, tmp_path: Path, redis_server: RedisServer
) -> None:
    where = str(tmp_path / "rates") if kind == "file" else redis_server.url
    begun = time.monotonic()
    both = [
        subprocess.Popen([sys.executable, "-c", _TAKES, where], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    counts = [int(one.communicate(timeout=300)[0]) for one in both]

    took = time.monotonic() - begun
    # 20 a second come back while they run; each may have held some at its end.
    assert 1200 - 2 * 2 <= sum(counts) <= 1200 + 20 * took + 1
