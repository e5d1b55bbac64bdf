"""A server that is told to end, with requests under way."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from moorage.api.http import responses
from moorage.api.http.limits import Limits
from tests.functional.http_world import BIG, MIB, Site, Start, descriptors, eventually, push

# More than the kernel holds of what is not read.
LONG = 256 * MIB
SOME = 300 * 1024

# Ending


async def test_an_upload_in_flight_finishes_within_the_grace(site: Site):
    client, idle = await site.connect(), await site.connect()
    await client.send(push(len(BIG)) + BIG[:MIB])
    await site.app.until_kept(MIB)
    stopping = asyncio.create_task(site.stop())
    assert await idle.closed() == b""
    with pytest.raises(ConnectionError):
        await site.connect()
    await client.send(BIG[MIB:])

    status, headers, _ = await client.answer()

    assert (status, headers[b"connection"]) == (201, b"close")
    await stopping
    assert bytes(site.app.kept) == BIG
    await client.close()
    await idle.close()


async def test_a_hundred_transfers_that_never_end_are_cut_at_the_grace(start_site: Start):
    before = descriptors()
    site = await start_site(Limits(), grace=0.2)
    os.truncate(site.app.file, LONG)
    pushes = [await site.connect() for _ in range(50)]
    pulls = [await site.connect() for _ in range(50)]
    for client in pushes:
        await client.send(push(len(BIG)) + BIG[:SOME])
    for client in pulls:
        client.stop_reading()
        await client.send(b"GET /pull HTTP/1.1\r\nHost: h\r\n\r\n")
    await site.app.until_kept(50 * SOME)
    await eventually(lambda: len(site.app.extensions) == 100)

    await site.stop()

    assert site.app.ended == ["CancelledError"] * 100
    assert site.connections == []
    assert [await client.closed() for client in pushes] == [b""] * 50
    pulls[0].go_on_reading()
    assert len(await pulls[0].closed()) < LONG
    for client in [*pushes, *pulls]:
        await client.close()
    await eventually(lambda: descriptors() <= before)


def test_a_process_told_to_end_answers_what_it_has_and_exits_cleanly(
    tmp_path: Path,
):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    ours = str(Path(responses.__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": ours}
    process = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None
    with (
        process,
        socket.create_connection(("127.0.0.1", int(process.stdout.readline()))) as client,
    ):
        client.sendall(push(4) + b"in")
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "told\n"
        client.sendall(b"to")
        answer = client.recv(4096)

        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert process.wait(60) == 0


PROGRAM = """
import asyncio, signal, socket
from moorage.api.http import responses, server
from moorage.api.http.bodies import Body

async def app(scope, receive, send):
    print("asked", flush=True)
    await responses.send_bytes(scope, send, await Body(scope, receive).read(10))

def told(*_):
    stop.set()
    print("told", flush=True)

async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    await server.serve(
        app, [listening], grace=5, stop=stop, on_ready=lambda: print(port, flush=True)
    )

stop = asyncio.Event()
server.run(main())
"""
