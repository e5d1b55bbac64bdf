"""What a house's processes are forked from: what they share, what each has of its own, and what its death means."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from moorage.stem import MOST_SOCKETS
from moorage.supervisor import Child
from tests.servers.house import house
from tests.servers.processes import children_of, command_of, standing_still, until_gone
from tests.servers.supervised import SECONDS, Kept, ask

DOOR = ("door",)


async def test_children_are_the_supervisors_and_are_called_what_they_do(tmp_path: Path):
    with house(tmp_path / "data") as running:
        children = running.children()
        called = [command_of(one).strip().partition(" -m moorage ")[2] for one in children]

        assert sorted(one.partition(" --")[0] for one in called) == [
            "serve console", "serve registry", "serve registry", "stem", "work",
        ]  # fmt: skip
        # Ctrl-C in a terminal goes to a session's processes; the supervisor alone shall hear of it.
        assert {os.getsid(one) for one in children} == set(children)


async def test_the_stem_has_one_thread_and_has_opened_nothing(tmp_path: Path):
    with house(tmp_path / "data") as running:
        (stem,) = running.children("moorage stem")
        threads = len(list(Path(f"/proc/{stem}/task").iterdir()))
        opened = {
            one.name: str(one.readlink()).partition(":")[0] for one in Path(f"/proc/{stem}/fd").iterdir()
        }
        leash = [name for name, what in opened.items() if name not in {"0", "1", "2"}]

        assert threads == 1
        assert [opened[name] for name in leash] == ["socket"]
        assert children_of(stem) == []


async def test_each_child_draws_random_numbers_of_its_own(tmp_path: Path):
    kept = Kept(tmp_path, *(Child(f"child-{number}", (), DOOR) for number in range(3)))
    running = asyncio.create_task(kept.run())
    await asyncio.wait_for(kept.ready.wait(), SECONDS)
    firsts: dict[str, str] = {}
    with contextlib.ExitStack() as aside:
        for _ in range(3):
            process, drawn, _ = (await asyncio.wait_for(ask(kept.port), SECONDS)).split()
            firsts[process] = drawn
            # So that another comes to the door.
            aside.enter_context(standing_still(int(process)))
    await kept.stop(running)

    assert len(firsts) == len(set(firsts.values())) == 3


async def test_children_outlive_the_stem_and_the_next_is_forked_from_another(tmp_path: Path):
    kept = Kept(tmp_path, Child("one", (), DOOR))
    running = asyncio.create_task(kept.run())
    await asyncio.wait_for(kept.ready.wait(), SECONDS)
    first = int((await ask(kept.port)).split()[0])
    (stem,) = [one for one in children_of(os.getpid()) if "child.py" in command_of(one)]
    os.kill(stem, signal.SIGKILL)
    await asyncio.to_thread(until_gone, [stem])

    still = int((await ask(kept.port)).split()[0])
    os.kill(first, signal.SIGKILL)
    await asyncio.to_thread(until_gone, [first])
    second = int((await asyncio.wait_for(ask(kept.port), SECONDS)).split()[0])

    assert still == first
    assert second != first
    await kept.stop(running)


async def test_a_child_gets_more_sockets_than_one_message_carries(tmp_path: Path):
    kept = Kept(tmp_path, Child("one", (), DOOR))
    for _ in range(MOST_SOCKETS + 50):
        kept.supervisor.sockets["door"] += kept.supervisor.listeners["door"].open()
    last = kept.supervisor.sockets["door"][-1].getsockname()[1]
    running = asyncio.create_task(kept.run())

    answers = [await asyncio.wait_for(ask(port), SECONDS) for port in (kept.port, last)]

    assert all(answers)
    await kept.stop(running)


async def test_a_stem_that_cannot_start_is_told_of_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    kept = Kept(tmp_path, Child("one", (), DOOR))
    script = tmp_path / "child.py"
    whole = script.read_text()
    script.write_text("raise SystemExit('no such module')")
    running = asyncio.create_task(kept.run())
    async with asyncio.timeout(SECONDS):
        while "is started again" not in caplog.text:
            await asyncio.sleep(0.05)
    script.write_text(whole)

    assert await asyncio.wait_for(ask(kept.port), SECONDS)

    assert "forked from has died" in str([vars(one).get("status") for one in caplog.records])
    await kept.stop(running)


async def test_a_supervisor_that_is_told_to_stop_before_its_children_began_leaves_none(tmp_path: Path):
    kept = Kept(tmp_path, *(Child(f"child-{number}", (), DOOR) for number in range(2)))
    running = asyncio.create_task(kept.run())
    await asyncio.sleep(0)

    status = await kept.stop(running)

    assert status == 0
    assert [one for one in children_of(os.getpid()) if "child.py" in command_of(one)] == []
