"""The supervisor, with real processes that are stopped, killed and asked in the wrong moment."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from moorage import supervisor
from moorage.supervisor import HOPELESS, Child
from tests.servers.house import house
from tests.servers.ports import reserved
from tests.servers.processes import until_gone
from tests.servers.supervised import SECONDS, Kept, ask


@pytest.fixture
def port() -> Iterator[int]:
    """Reserve a port."""
    with reserved() as (number,):
        yield number


async def test_children_are_ready_answer_and_stop(tmp_path: Path):
    kept = Kept(tmp_path, *(Child(f"child-{number}", (), ("door",)) for number in range(2)))
    running = asyncio.create_task(kept.run())
    await asyncio.wait_for(kept.ready.wait(), SECONDS)
    answer = await ask(kept.port)

    status = await kept.stop(running)

    assert answer.endswith("hello\n")
    assert status == 0
    with pytest.raises(ConnectionRefusedError):
        await ask(kept.port)


async def test_a_connection_waits_for_the_next_child_when_the_only_one_is_killed(tmp_path: Path):
    kept = Kept(tmp_path, Child("child", (), ("door",)))
    running = asyncio.create_task(kept.run())
    await asyncio.wait_for(kept.ready.wait(), SECONDS)
    first = int((await ask(kept.port)).split()[0])
    os.kill(first, signal.SIGKILL)
    await asyncio.to_thread(until_gone, [first])

    second = int((await asyncio.wait_for(ask(kept.port), SECONDS)).split()[0])

    assert second != first
    await kept.stop(running)


async def test_a_port_that_one_child_asks_for_is_answered_by_every_child(tmp_path: Path, port: int):
    asking = Child("asking", ("--ask", str(port)))
    kept = Kept(tmp_path, Child("one", (), ("door",)), Child("two", (), ("door",)), asking)
    running = asyncio.create_task(kept.run())
    await asyncio.wait_for(kept.ready.wait(), SECONDS)

    first = int((await asyncio.wait_for(ask(port), SECONDS)).split()[0])
    os.kill(first, signal.SIGKILL)
    await asyncio.to_thread(until_gone, [first])
    second = int((await asyncio.wait_for(ask(port), SECONDS)).split()[0])

    assert second != first
    await kept.stop(running)


async def test_a_child_that_does_not_stop_in_time_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("moorage.supervisor.CLOSING", 0.1)
    kept = Kept(tmp_path, Child("stubborn", ("--stubborn",), ("door",)), grace=0.1)
    running = asyncio.create_task(kept.run())
    await asyncio.wait_for(kept.ready.wait(), SECONDS)
    child = int((await ask(kept.port)).split()[0])

    await kept.stop(running)

    assert until_gone([child]) == []


async def test_who_asks_twice_does_not_wait(tmp_path: Path):
    kept = Kept(tmp_path, Child("stubborn", ("--stubborn",), ("door",)), grace=3600)
    running = asyncio.create_task(kept.run())
    await asyncio.wait_for(kept.ready.wait(), SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0)

    assert await kept.stop(running) == 0


async def test_a_child_that_cannot_ever_run_stops_everything(tmp_path: Path):
    kept = Kept(tmp_path, Child("well", (), ("door",)), Child("hopeless", ("--exit", str(HOPELESS))))

    assert await asyncio.wait_for(kept.run(), SECONDS) == HOPELESS


async def test_a_child_that_keeps_failing_is_tried_ever_more_rarely(tmp_path: Path):
    delays: asyncio.Queue[float] = asyncio.Queue()
    heard = logging.Handler()
    heard.emit = lambda record: delays.put_nowait(vars(record)["after_seconds"])  # type: ignore[method-assign]
    supervisor.LOG.addHandler(heard)
    kept = Kept(tmp_path, Child("failing", ("--exit", "3")))
    running = asyncio.create_task(kept.run())
    waited = [await asyncio.wait_for(delays.get(), SECONDS) for _ in range(3)]

    await kept.stop(running)

    supervisor.LOG.removeHandler(heard)
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(waited))


async def test_requests_are_answered_while_workers_are_killed(tmp_path: Path):
    with house(tmp_path / "data") as running:
        failed = 0
        for address, command in ((running.registry, "serve registry"), (running.console, "serve console")):
            for victim in running.children(command):
                failed += await _failures(address, victim)

        # Only what a killed process held at that moment may be lost: here one request at most.
        assert failed <= 3


def test_no_child_outlives_a_killed_supervisor(tmp_path: Path):
    with house(tmp_path / "data") as running:
        children = running.children()
        running.process.kill()
        running.process.wait()

        # The stem, and the four that were forked from it.
        assert len(children) == 5
        assert until_gone(children) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_with_status_0(tmp_path: Path, number: signal.Signals):
    with house(tmp_path / "data") as running:
        children = running.children()

        assert running.stop(number) == 0
        assert until_gone(children) == []


async def _failures(address: str, victim: int) -> int:
    """Kill a process and ask 20 times, each over a new connection; count those without answer."""
    failed = 0
    os.kill(victim, signal.SIGKILL)
    for _ in range(20):
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            try:
                answer = await client.get(f"{address}/livez")
            except httpx.TransportError:
                failed += 1
            else:
                assert answer.status_code == 200
    return failed
