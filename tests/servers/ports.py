"""Ports that stay free until the server that they are for takes them.

A port that was only found free may be given to a client, or to a test of another process, before it is used. These lie
below (or above) all that the kernel gives to clients, and who reserves one holds a name that no other can have.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

FIRST, END = 10_000, 65_536
TRIES = 1000


@contextmanager
def reserved(count: int = 1) -> Iterator[list[int]]:
    """Hold so many ports in a row until the block ends; nobody listens on them yet."""
    first, end = _range()
    for _ in range(TRIES):
        start = first + secrets.randbelow(end - first - count)
        ports = list(range(start, start + count))
        with contextlib.suppress(OSError), ExitStack() as held:
            for port in ports:
                # Names without a file end with the process that has them, however it ends.
                held.enter_context(socket.socket(socket.AF_UNIX)).bind(f"\0moorage-test-port-{port}")
            with ExitStack() as trying:
                for port in ports:
                    trying.enter_context(_listening(port))
            kept = held.pop_all()
            break
    else:
        pytest.fail(f"no {count} ports in a row are free from {first} to {end}")
    with kept:
        yield ports


def _range() -> tuple[int, int]:
    """Give the longer stretch of ports that no client is given."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    return max([(FIRST, low), (high + 1, END)], key=lambda stretch: stretch[1] - stretch[0])


def _listening(port: int) -> socket.socket:
    """Listen on every address of this machine, or raise OSError."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
