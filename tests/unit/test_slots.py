"""The slots of a plan: counted exactly, given fairly, never lost."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import pytest

from moorage.oci.errors import TooManyRequests
from moorage.registry.slots import Granted, Peers, Share, Slots


@pytest.mark.parametrize("most", [15, 45, 90])
async def test_a_plan_has_its_requests_at_once_and_no_more(most: int):
    slots = Slots(most, patience=0.01)

    async with AsyncExitStack() as held:
        for number in range(most):
            await held.enter_async_context(slots.one(f"user:{number}", anonymous=False))
        with pytest.raises(TooManyRequests) as refused:
            await held.enter_async_context(slots.one("user:late", anonymous=False))

    assert str(most) in str(refused.value)
    assert refused.value.retry_after == 1
    assert slots.busy == 0


class Late(Share):
    """Leases of one who counts and answers late."""

    poll = 0.001

    def ask(self, most: int, wants: Sequence[bool], waited: float, answer: Callable[[Granted], None]) -> None:
        """Answer a good while after patience has ended."""
        asyncio.get_running_loop().call_later(0.1, super().ask, most, wants, waited, answer)


async def test_nobody_is_refused_before_who_counts_has_answered():
    slots = Slots(1, patience=0.01, leases=Late())

    async with slots.one("user:1", anonymous=False):
        with pytest.raises(TooManyRequests):
            await slots.one("user:2", anonymous=False).__aenter__()

    assert slots.busy == 0


@pytest.mark.parametrize("count", [1, 2, 4, 7, 15, 20])
@pytest.mark.parametrize("most", [15, 45, 90])
def test_the_shares_of_all_processes_are_the_plan_and_each_has_one_at_least(count: int, most: int):
    shares = [Peers(count, rank).share(most) for rank in range(count)]

    assert sum(shares) == max(most, count)
    assert max(shares) - min(shares) <= 1


async def test_a_share_follows_the_processes_that_come_and_go():
    peers = [Peers(1, 0)]
    slots = Slots(15, 0.01, Share(lambda: peers[0]))

    async def held() -> int:
        async with AsyncExitStack() as stack:
            for number in range(20):
                try:
                    await stack.enter_async_context(slots.one(f"user:{number}", anonymous=False))
                except TooManyRequests:
                    return number
        return 20

    seen = []
    for peers[0] in (Peers(1, 0), Peers(2, 0), Peers(2, 1), Peers(1, 0)):
        seen.append(await held())

    assert seen == [15, 8, 7, 15]


async def test_who_waits_gets_the_next_slot():
    slots = Slots(1, patience=5)
    served: list[str] = []

    async def ask(caller: str) -> None:
        async with slots.one(caller, anonymous=False):
            served.append(caller)

    async with slots.one("user:1", anonymous=False):
        waiting = asyncio.create_task(ask("user:2"))
        await asyncio.sleep(0)
        assert served == []
    await waiting

    assert served == ["user:2"]


async def test_one_greedy_client_does_not_starve_another():
    slots = Slots(1, patience=5)
    served: list[str] = []

    async def ask(caller: str) -> None:
        async with slots.one(caller, anonymous=False):
            served.append(caller)

    async with slots.one("user:1", anonymous=False):
        tasks = [asyncio.create_task(ask("greedy")) for _ in range(20)]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(ask("modest")))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    assert served.index("modest") <= 1


async def test_anonymous_callers_share_at_most_half():
    slots = Slots(4, patience=0.01)

    async with AsyncExitStack() as held:
        for number in range(2):
            await held.enter_async_context(slots.one(f"address:{number}", anonymous=True))
        with pytest.raises(TooManyRequests):
            await held.enter_async_context(slots.one("address:3", anonymous=True))
        await held.enter_async_context(slots.one("user:1", anonymous=False))

        assert slots.busy == 3


async def test_a_stalled_transfer_gives_its_slot_to_another():
    slots = Slots(1, patience=0.01)

    async with slots.one("user:1", anonymous=False) as slot:
        slot.give_back()
        async with slots.one("user:2", anonymous=False):
            assert slots.busy == 1

    assert slots.busy == 0


async def test_a_request_that_is_cancelled_while_it_waits_takes_no_slot():
    slots = Slots(1, patience=5)

    async def ask() -> None:
        async with slots.one("user:2", anonymous=False):
            pass

    async with slots.one("user:1", anonymous=False):
        waiting = asyncio.create_task(ask())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    assert slots.busy == 0


async def test_a_turn_that_comes_with_the_cancellation_is_passed_on():
    slots = Slots(1, patience=5)

    async def ask() -> None:
        async with slots.one("user:2", anonymous=False):
            await asyncio.sleep(60)

    async with slots.one("user:1", anonymous=False):
        waiting = asyncio.create_task(ask())
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert slots.busy == 0


async def test_no_limit_holds_nobody_up():
    slots = Slots(0, patience=0)

    async with slots.one("user:1", anonymous=False), slots.one("user:1", anonymous=True):
        assert slots.busy == 0
