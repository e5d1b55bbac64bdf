"""What every count of slots keeps to: by the kernel, by Redis; several processes played by several counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from moorage.oci.errors import TooManyRequests
from moorage.registry.leases import Counter
from moorage.registry.slot_locks import OnThisMachine
from moorage.registry.slots import Leases, Slots
from tests.servers.redis import RedisServer, running_redis

Process = Callable[[], Leases]
# Of who is sure to be served: a busy machine may take its time.
PATIENCE = 60.0


@pytest.fixture(params=["kernel", "redis"])
async def process(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Process]:
    """Give what makes one more process's count of the same registry."""
    async with AsyncExitStack() as closing:

        def kernel() -> Leases:
            leases = OnThisMachine(tmp_path / "slots" / "one", 2)
            closing.callback(leases.close)
            return leases

        def redis() -> Leases:
            counter = Counter.at(request.getfixturevalue("redis_server").url, 2)
            closing.push_async_callback(counter.close)
            return counter.of(tmp_path.as_posix())

        yield kernel if request.param == "kernel" else redis


async def test_all_processes_together_have_the_plans_slots_and_no_more(process: Process):
    processes = [Slots(15, 0.05, process()) for _ in range(3)]

    async with AsyncExitStack() as held:
        for number in range(15):
            await held.enter_async_context(processes[number % 3].one(f"user:{number}", anonymous=False))
        for slots in processes:
            with pytest.raises(TooManyRequests):
                await held.enter_async_context(slots.one("user:late", anonymous=False))

    assert [slots.busy for slots in processes] == [0, 0, 0]
    # Who counts may be told of what was given back a moment later.
    processes[0].patience = PATIENCE
    async with processes[0].one("user:1", anonymous=False):
        assert processes[0].busy == 1


async def test_a_hundred_at_once_never_pass_the_plan(process: Process):
    processes = [Slots(7, PATIENCE, process()) for _ in range(3)]
    working, most, full = 0, 0, asyncio.Event()

    async def ask(number: int) -> None:
        nonlocal working, most
        async with processes[number % 3].one(f"user:{number % 5}", anonymous=number % 4 == 0):
            working += 1
            most = max(most, working)
            if working == 7:
                full.set()
            await full.wait()
            await asyncio.sleep(0.002)
            working -= 1

    await asyncio.gather(*(ask(number) for number in range(100)))

    assert most == 7


async def test_a_slot_that_one_process_gives_back_goes_to_who_waits_in_another(process: Process):
    one, other = Slots(1, PATIENCE, process()), Slots(1, PATIENCE, process())

    async with AsyncExitStack() as held:
        async with one.one("user:1", anonymous=False):
            waiting = asyncio.create_task(held.enter_async_context(other.one("user:2", anonymous=False)))
            await until(lambda: other.queued == 1)
        await waiting

        assert (one.busy, other.busy) == (0, 1)


async def test_a_busy_process_does_not_starve_who_waits_in_another(process: Process):
    greedy, modest = Slots(1, PATIENCE, process()), Slots(1, PATIENCE, process())
    served, known = list[str](), asyncio.Event()

    async def ask(slots: Slots, caller: str) -> None:
        async with slots.one(caller, anonymous=False):
            served.append(caller)
            await known.wait()

    asking = [asyncio.create_task(ask(greedy, "greedy")) for _ in range(10)]
    await until(lambda: greedy.busy == 1)
    asking.append(asyncio.create_task(ask(modest, "modest")))
    await until(lambda: modest._known_to_wait)
    known.set()
    await asyncio.gather(*asking)

    assert served.index("modest") <= 3


async def test_anonymous_callers_of_all_processes_share_half(process: Process):
    one, other = Slots(4, 0.05, process()), Slots(4, 0.05, process())

    async with AsyncExitStack() as held:
        await held.enter_async_context(one.one("address:1", anonymous=True))
        await held.enter_async_context(other.one("address:2", anonymous=True))
        with pytest.raises(TooManyRequests):
            await held.enter_async_context(other.one("address:3", anonymous=True))
        await held.enter_async_context(one.one("user:1", anonymous=False))
        await held.enter_async_context(other.one("user:2", anonymous=False))

        assert one.busy + other.busy == 4


async def test_a_smaller_plan_waits_until_enough_came_back_and_a_larger_one_grants_at_once(process: Process):
    one, other = Slots(4, 0.05, process()), Slots(4, 0.05, process())

    async with AsyncExitStack() as last:
        async with AsyncExitStack() as held:
            for number in range(4):
                await held.enter_async_context(one.one(f"user:{number}", anonymous=False))
            one.resize(2)
            other.resize(2)
            with pytest.raises(TooManyRequests):
                await held.enter_async_context(other.one("user:late", anonymous=False))
            other.resize(5)
            await last.enter_async_context(other.one("user:late", anonymous=False))
        other.resize(2)
        other.patience = PATIENCE
        await last.enter_async_context(other.one("user:second", anonymous=False))
        with pytest.raises(TooManyRequests):
            await last.enter_async_context(one.one("user:third", anonymous=False))

        assert other.busy == 2


async def test_who_gave_up_holds_nobody_up(process: Process):
    one, other = Slots(1, 0.05, process()), Slots(1, PATIENCE, process())

    async with one.one("user:1", anonymous=False):
        with pytest.raises(TooManyRequests):
            await one.one("user:2", anonymous=False).__aenter__()
    async with other.one("user:3", anonymous=False):
        assert other.busy == 1


async def test_without_redis_each_process_grants_its_share_and_the_slots_are_exact_again_when_it_is_back():
    with running_redis() as server:
        counters = [Counter.at(server.url, 2) for _ in range(2)]
        processes = [Slots(4, PATIENCE, counter.of("one")) for counter in counters]
        async with AsyncExitStack() as held:
            await held.enter_async_context(processes[0].one("user:1", anonymous=False))
            server.kill()
            await held.enter_async_context(processes[0].one("user:2", anonymous=False))
            processes[0].patience = 0.05
            with pytest.raises(TooManyRequests):
                await held.enter_async_context(processes[0].one("user:3", anonymous=False))
            server.start()
            await until(lambda: all(counter.is_exact() for counter in counters))
            processes[0].patience = PATIENCE
            await held.enter_async_context(processes[0].one("user:3", anonymous=False))
            await held.enter_async_context(processes[1].one("user:4", anonymous=False))
            processes[1].patience = 0.2
            with pytest.raises(TooManyRequests):
                await held.enter_async_context(processes[1].one("user:5", anonymous=False))

            assert [slots.busy for slots in processes] == [3, 1]
        for counter in counters:
            await counter.close()


async def test_what_a_dead_replica_held_is_free_when_its_lease_has_ended(
    redis_server: RedisServer, tmp_path: Path
):
    dead, alive = Counter.at(redis_server.url, 2), Counter.at(redis_server.url, 2)
    slots = [Slots(1, PATIENCE, counter.of(tmp_path.as_posix())) for counter in (dead, alive)]
    await slots[0].one("user:1", anonymous=False).__aenter__()
    await _die(dead)

    async with slots[1].one("user:2", anonymous=False):
        assert slots[1].busy == 1
    await alive.close()


async def _die(counter: Counter) -> None:
    """End a count as kill -9 does: nothing is given back."""
    assert counter._working is not None
    counter._closing = True
    counter._awake.set()
    await counter._working
    await counter.client.aclose()


async def until(true: Callable[[], bool]) -> None:
    """Wait for what nothing tells of."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.005)
