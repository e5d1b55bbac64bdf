"""Addresses that others name lead to nothing that they must not reach, whatever they are called."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from ipaddress import ip_address, ip_network

import pytest

from moorage.outbound.http import Caller, NotAsked, Target
from tests.servers.listener import listener

HERE = Caller((ip_network("127.0.0.0/8"),))
PRIVATE = (
    "127.0.0.1", "127.8.9.10", "0.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%lo",
    "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "64:ff9b::7f00:1", "2002:7f00:1::1", "2001:0:7f00:1::", "2001:db8::1",
)  # fmt: skip
PUBLIC = ("1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1")


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_not_called(address: str) -> None:
    assert not Caller().may(ip_address(address))


def test_what_is_public_is_called_and_what_the_operator_allows() -> None:
    allowing = Caller((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))

    assert all(Caller().may(ip_address(one)) for one in PUBLIC)
    assert [allowing.may(ip_address(one)) for one in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "192.168.1.1")] == [
        True, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "", "ftp://example.com/", "//example.com", "example.com", "http://", "http://user@example.com/",
        "http://:pw@example.com/", "http://example.com/#a", "http://example.com:99999/", "http://[::1", "http://a b/",
        "http://example.com/\r\nHost: x", "http://é.example.com/", "https://example.com/" + "a" * 2048,
        "http://127.0.0.1/", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/latest/meta-data",
    ],
)  # fmt: skip
def test_an_address_that_could_never_be_called_is_refused_when_it_is_named(url: str) -> None:
    with pytest.raises(ValueError, match="must "):
        Caller().check(url)


def test_an_address_is_taken_apart() -> None:
    assert Target.of("https://example.com/a?b=c") == Target("https", "example.com", 443, "/a?b=c")
    assert Target.of("http://[2606:4700::1]:8080") == Target("http", "2606:4700::1", 8080, "/")


async def test_a_name_that_means_this_machine_is_not_called() -> None:
    with listener() as here:
        with pytest.raises(NotAsked, match="no public address"):
            await Caller().post(f"http://localhost:{here.port}/", b"{}", {})
        assert await HERE.post(here.url, b"{}", {"x-a": "b"}) == 200

    ((path, headers, body),) = here.came
    assert (path, headers["x-a"], headers["host"], body) == (
        "/hook?a=b",
        "b",
        f"127.0.0.1:{here.port}",
        b"{}",
    )


async def test_no_redirect_is_followed() -> None:
    with listener() as here:
        here.answers, here.location = [307, 302], here.url
        statuses = [await HERE.post(here.url, b"{}", {}) for _ in range(2)]

    assert (statuses, len(here.came)) == ([307, 302], 2)


async def test_who_answers_a_byte_now_and_then_is_cut() -> None:
    begun = time.monotonic()
    with listener() as here:
        here.drips = True
        with pytest.raises(NotAsked, match="did not answer"):
            await Caller(HERE.allowed, seconds=0.5).post(here.url, b"{}", {})

    # Without a deadline for the whole it would never end.
    assert time.monotonic() - begun < 60


async def test_however_many_addresses_a_name_has_they_have_one_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []
    connect = socket.create_connection

    async def resolved(*_: object) -> list[str]:
        return ["127.0.0.1"] * 8

    def counted(address: tuple[str, int], timeout: float | None) -> socket.socket:
        tried.append(address)
        return connect(address, timeout)

    with socket.socket() as deaf, contextlib.ExitStack() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        # Who connects once its queue is full gets no answer at all.
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.settimeout(0)
            one.connect_ex(deaf.getsockname())
        monkeypatch.setattr(Caller, "addresses", resolved)
        monkeypatch.setattr(socket, "create_connection", counted)
        with pytest.raises(NotAsked, match="cannot be reached"):
            await Caller(HERE.allowed, seconds=0.5).post(f"http://a:{deaf.getsockname()[1]}/", b"{}", {})

    assert len(tried) == 1


async def test_who_is_not_there_is_told_of() -> None:
    with listener() as here:
        gone = here.url
    with pytest.raises(NotAsked, match="cannot be reached"):
        await HERE.post(gone, b"{}", {})
    for host in ("nobody.invalid", "a..invalid", ".invalid", f"{'a' * 64}.invalid"):
        with pytest.raises(NotAsked, match="is not found"):
            await HERE.post(f"http://{host}/", b"{}", {})


async def test_nobody_waits_for_ever_while_others_are_slow() -> None:
    slow = threading.Event()
    caller = HERE.apart(0.05, 1)
    assert caller.threads is not None
    held = caller.threads.submit(slow.wait)
    try:
        with listener() as here:
            with pytest.raises(NotAsked, match="was not asked in time"):
                await caller.post(here.url, b"{}", {})
            slow.set()
            held.result()
            assert not here.came
    finally:
        slow.set()
        caller.threads.shutdown()
