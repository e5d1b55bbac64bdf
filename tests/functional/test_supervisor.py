"""The supervisor, with real processes that are stopped, killed and asked in the wrong moment."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from moorage import supervisor
from moorage.supervisor import HOPELESS, Child, Listener, Supervisor
from tests.servers.house import SOURCE, house
from tests.servers.ports import reserved
from tests.servers.processes import until_gone

SECONDS = 60.0

# A child that answers each connection with its process id once its line has come.
ANSWERING = """
import argparse, asyncio, os, signal, socket, sys
from moorage.supervisor import Leash

async def answer(reader, writer):
    line = await reader.readline()
    writer.write(b"%d %s" % (os.getpid(), line))
    await writer.drain()
    writer.close()

async def main(given):
    leash = Leash.take(given.leash)
    servers = [await asyncio.start_server(answer, sock=socket.socket(fileno=int(fd.split("=")[1]))) for fd in given.fd]
    async def take(listening): servers.append(await asyncio.start_server(answer, sock=listening))
    leash.watch(lambda name, listening: asyncio.ensure_future(take(listening)))
    if given.ask: leash.ask("door", given.ask)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None if given.stubborn else stop.set())
    leash.ready()
    await stop.wait()

parser = argparse.ArgumentParser()
parser.add_argument("--leash", type=int)
parser.add_argument("--fd", action="append", default=[])
parser.add_argument("--ask", type=int)
parser.add_argument("--stubborn", action="store_true")
parser.add_argument("--exit", type=int)
given = parser.parse_args()
if given.exit is not None: sys.exit(given.exit)
asyncio.run(main(given))
"""


class Kept:
    """A supervisor of scripted children, run inside the test."""

    def __init__(self, folder: Path, *children: Child, grace: float = 5.0) -> None:
        """Write the script, and listen at a door."""
        script = folder / "child.py"
        script.write_text(ANSWERING)
        self.ready = asyncio.Event()
        door = Listener("door", "127.0.0.1", 0, "HOST", "PORT")
        self.supervisor = Supervisor(
            children,
            {"door": door},
            grace,
            when_ready=self.ready.set,
            environment={"PYTHONPATH": str(SOURCE)},
            command=(sys.executable, str(script)),
        )
        self.supervisor.listen()
        self.port: int = self.supervisor.sockets["door"][0].getsockname()[1]

    async def stop(self, running: asyncio.Task[int]) -> int:
        """Ask it to stop as a terminal or an init system would."""
        os.kill(os.getpid(), signal.SIGTERM)
        return await asyncio.wait_for(running, SECONDS)


async def ask(port: int) -> str:
    """Send a line and read the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello\n")
    answer = await reader.read()
    writer.close()
    return answer.decode()


@pytest.fixture
def port() -> Iterator[int]:
    """Reserve a port."""
    with reserved() as (number,):
        yield number


async def test_children_are_ready_answer_and_stop(tmp_path: Path):
    kept = Kept(tmp_path, *(Child(f"child-{number}", (), ("door",)) for number in range(2)))
    running = asyncio.create_task(kept.supervisor.run())
    await asyncio.wait_for(kept.ready.wait(), SECONDS)
    answer = await ask(kept.port)

    status = await kept.stop(running)

    assert answer.endswith("hello\n")
    assert status == 0
    with pytest.raises(ConnectionRefusedError):
        await ask(kept.port)


async def test_a_connection_waits_for_the_next_child_when_the_only_one_is_killed(tmp_path: Path):
    kept = Kept(tmp_path, Child("child", (), ("door",)))
    running = asyncio.create_task(kept.supervisor.run())
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
    running = asyncio.create_task(kept.supervisor.run())
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
    running = asyncio.create_task(kept.supervisor.run())
    await asyncio.wait_for(kept.ready.wait(), SECONDS)
    child = int((await ask(kept.port)).split()[0])

    await kept.stop(running)

    assert until_gone([child]) == []


async def test_who_asks_twice_does_not_wait(tmp_path: Path):
    kept = Kept(tmp_path, Child("stubborn", ("--stubborn",), ("door",)), grace=3600)
    running = asyncio.create_task(kept.supervisor.run())
    await asyncio.wait_for(kept.ready.wait(), SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0)

    assert await kept.stop(running) == 0


async def test_a_child_that_cannot_ever_run_stops_everything(tmp_path: Path):
    kept = Kept(tmp_path, Child("well", (), ("door",)), Child("hopeless", ("--exit", str(HOPELESS))))

    assert await asyncio.wait_for(kept.supervisor.run(), SECONDS) == HOPELESS


async def test_a_child_that_keeps_failing_is_tried_ever_more_rarely(tmp_path: Path):
    delays: asyncio.Queue[float] = asyncio.Queue()
    heard = logging.Handler()
    heard.emit = lambda record: delays.put_nowait(vars(record)["after_seconds"])  # type: ignore[method-assign]
    supervisor.LOG.addHandler(heard)
    kept = Kept(tmp_path, Child("failing", ("--exit", "3")))
    running = asyncio.create_task(kept.supervisor.run())
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

        assert len(children) == 4
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
