"""A supervisor of scripted children, run inside the test: real processes, forked from a stem that imports next to nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from moorage.stem import Stem
from moorage.supervisor import Child, Listener, Supervisor
from tests.servers.house import SOURCE

SECONDS = 60.0

# A child that answers each connection with its process id once its line has come, and with a random number.
ANSWERING = """
import argparse, asyncio, os, random, signal, socket, sys
from moorage import stem
from moorage.supervisor import Leash

async def answer(reader, writer):
    line = await reader.readline()
    writer.write(b"%d %d %s" % (os.getpid(), random.getrandbits(64), line))
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

def run(arguments):
    given = parser.parse_args(arguments)
    if given.exit is not None: return given.exit
    asyncio.run(main(given))
    return 0

sys.exit(stem.serve(int(sys.argv[2]), run))
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
            Stem((sys.executable, str(script)), {"PYTHONPATH": str(SOURCE)}),
            when_ready=self.ready.set,
        )
        self.supervisor.listen()
        self.port: int = self.supervisor.sockets["door"][0].getsockname()[1]

    async def run(self) -> int:
        """Keep the children until it is told to stop, and give the status."""
        async with self.supervisor.stem.adopting():
            return await self.supervisor.run()

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
