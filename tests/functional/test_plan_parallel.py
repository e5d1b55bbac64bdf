"""Plans' requests at once, over real processes: exactly so many, whatever dies."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from moorage.cloud.provisioning import PLANS
from tests.servers.house import House, house, moorage
from tests.servers.ports import reserved
from tests.servers.processes import until_gone
from tests.servers.redis import RedisServer, running_redis

PASSWORD = "Moorage-pass-1"
ADMIN = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
# Who waits gets what is given back, though a busy machine may take a second to see that a client has left.
PATIENCE = 3.0
SECONDS = 60.0


class Request:
    """A push that has begun and sends no body: it holds a slot until it is let go."""

    def __init__(self, port: int, authorization: str | None = ADMIN) -> None:
        shown = f"Authorization: {authorization}\r\n" if authorization else ""
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.socket.sendall(
            f"PUT /v2/library/held/manifests/latest HTTP/1.1\r\nHost: localhost\r\n{shown}"
            "Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n".encode()
        )

    def answer(self) -> str:
        """Read the next head, and the body that came with it; 100 means that it holds a slot."""
        return self.socket.recv(8192).decode()

    def was_cut(self) -> bool:
        if not select.select([self.socket], [], [], 0)[0]:
            return False
        with contextlib.suppress(ConnectionResetError):
            return not self.socket.recv(1, socket.MSG_PEEK)
        return True

    def let_go(self) -> None:
        self.socket.close()


def eventually(true: Callable[[], bool]) -> None:
    """Wait for what nothing tells of."""
    until = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def hold(port: int, count: int, authorization: str | None = ADMIN) -> list[Request]:
    """Take so many slots; those that were let go just now may be out for another moment."""
    held: list[Request] = []

    def more() -> bool:
        requests = [Request(port, authorization) for _ in range(count - len(held))]
        for request in requests:
            if request.answer().startswith("HTTP/1.1 100"):
                held.append(request)
            else:
                request.let_go()
        return len(held) == count

    eventually(more)
    return held


def asked(port: int) -> str:
    """Ask for a slot and let it go, and give the answer."""
    request = Request(port)
    answer = request.answer()
    request.let_go()
    return answer


def refused(port: int) -> str:
    answer = asked(port)
    assert answer.startswith("HTTP/1.1 429"), answer
    return answer


def let_go(requests: list[Request]) -> None:
    for request in requests:
        request.let_go()


def set_parallel(data: Path, parallel: int) -> None:
    """Change the first registry's plan in the directory, as a change of plan does."""
    with contextlib.closing(sqlite3.connect(data / "cell.sqlite", timeout=SECONDS)) as cell, cell:
        cell.execute("UPDATE entry SET parallel = ? WHERE first = 1", (parallel,))


def has(port: int, count: int) -> bool:
    """Say whether a registry holds exactly *count* requests at once, from none on."""
    requests = [Request(port) for _ in range(count + 1)]
    answers = sorted(request.answer()[9:12] for request in requests)
    let_go(requests)
    return answers == ["100"] * count + ["429"]


GIVEN = {"PASSWORD": PASSWORD, "PARALLEL_WAIT": f"{PATIENCE}s", "SLOWEST_TRANSFER": "0", "WORKERS": "3"}


@pytest.fixture(scope="module", params=["kernel", "redis"])
def up(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[House, Path]]:
    """Run three workers, whose slots are counted by the kernel or by Redis."""
    given = dict(GIVEN)
    if request.param == "redis":
        given["REDIS_URL"] = request.getfixturevalue("redis_server").url
    data = tmp_path_factory.mktemp("plans")
    # A further registry gets the next port.
    with reserved(2) as (port, _), house(data, REGISTRY_PORT=str(port), **given) as running:
        yield running, data


@pytest.fixture
def port(up: tuple[House, Path]) -> int:
    return up[0].ports["Registry"]


@pytest.mark.parametrize("plan", ["S", "M", "L"])
def test_a_plan_has_its_requests_at_once_and_the_next_waits_and_is_refused(up, port: int, plan: str):
    most = PLANS[plan].parallel
    set_parallel(up[1], most)
    eventually(lambda: has(port, most))

    held = hold(port, most)
    begun = time.monotonic()
    answer = refused(port)
    waited = time.monotonic() - begun

    assert waited >= PATIENCE * 0.9
    assert f"retry-after: {PATIENCE:.0f}\r\n" in answer.lower()
    error = json.loads(answer.partition("\r\n\r\n")[2])["errors"][0]
    assert error["code"] == "TOOMANYREQUESTS"
    assert f"allows {most} requests at once" in error["message"]
    assert "larger plan" in error["message"]
    waiting = Request(port)
    held.pop().let_go()
    assert waiting.answer().startswith("HTTP/1.1 100")
    refused(port)
    let_go([*held, waiting])


def test_another_registry_is_untouched(up, port: int):
    _, data = up
    made = moorage(
        "registry",
        "create",
        f"other-{time.monotonic_ns()}",
        "--plan",
        "S",
        data=data,
        PASSWORD=PASSWORD,
        REGISTRY_PORT=str(port),
    )
    assert made.returncode == 0, made.stderr
    words = dict(line.split(maxsplit=1) for line in made.stdout.splitlines() if line.strip())
    other = int(words["Address"].rpartition(":")[2])
    authorization = "Basic " + base64.b64encode(f"admin:{words['Password']}".encode()).decode()
    set_parallel(data, 3)
    eventually(lambda: has(port, 3))
    held = hold(port, 3)

    def answers() -> bool:
        with contextlib.suppress(OSError):
            request = Request(other, authorization)
            answer = request.answer()
            request.let_go()
            return answer.startswith("HTTP/1.1 100")
        return False

    eventually(answers)
    others = hold(other, 15, authorization)

    assert len(others) == 15
    refused(port)
    let_go([*held, *others])


def test_a_killed_workers_slots_are_free_for_others(up, port: int):
    running, data = up
    set_parallel(data, 15)
    eventually(lambda: has(port, 15))
    held = hold(port, 15)

    victim = running.children("serve registry")[0]
    os.kill(victim, signal.SIGKILL)
    until_gone([victim])

    def are_free() -> bool:
        cut = [one for one in held if one.was_cut()]
        requests = [Request(port) for _ in range(len(cut) + 1)]
        answers = sorted(request.answer()[9:12] for request in requests)
        let_go(requests)
        return answers == ["100"] * len(cut) + ["429"]

    eventually(are_free)
    let_go(held)


def test_a_change_of_plan_is_seen_up_and_down_while_requests_hold_slots(up, port: int):
    _, data = up
    set_parallel(data, 4)
    eventually(lambda: has(port, 4))
    held = hold(port, 4)

    set_parallel(data, 5)
    held += hold(port, 1)
    set_parallel(data, 2)
    let_go(held[:3])

    eventually(lambda: "allows 2 requests" in asked(port))
    let_go(held[3:])
    eventually(lambda: has(port, 2))


def test_a_registry_goes_on_when_redis_dies_and_comes_back(tmp_path: Path):
    with ExitStack() as stack:
        server: RedisServer = stack.enter_context(running_redis())
        running = stack.enter_context(house(tmp_path, REDIS_URL=server.url, **GIVEN))
        port = running.ports["Registry"]
        set_parallel(tmp_path, 6)
        eventually(lambda: has(port, 6))
        server.kill()
        alone = hold(port, 1)
        server.start()

        def exact() -> bool:
            held = [Request(port) for _ in range(6)]
            answers = sorted(one.answer()[9:12] for one in held)
            let_go(held)
            return answers == ["100"] * 5 + ["429"]

        eventually(exact)
        let_go(alone)
