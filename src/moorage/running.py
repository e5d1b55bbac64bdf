"""The house that runs in a data folder, as other commands of this machine find it.

`moorage up` tells its settings to whoever connects to a socket in its data folder, so that a command in another
terminal works on what the house works on, without being told each setting again. They are in no file: the socket is
of mode 0600, ends with the house, and answers only the user who runs the house, who could read its environment anyway.

    data/house.socket      one JSON object of strings, then the end
    data/house.lock        locked by the house that runs
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

LOG = logging.getLogger(__name__)

SOCKET = "house.socket"
LOCK = "house.lock"
PATIENCE = 5.0
_CREDENTIALS = struct.Struct("3i")


class CannotAsk(Exception):  # it reads as a sentence where it is raised
    """A house runs in the folder, and is another user's or does not answer: to go on without it could do harm."""


class RunsAlready(Exception):  # as above
    """A house runs in the folder: two would serve the same registries from other addresses, and work for them twice."""


@contextlib.contextmanager
def alone(data: Path) -> Iterator[None]:
    """Be the one house of the *data* folder until the block ends, or raise RunsAlready. It ends with the process, too."""
    descriptor = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RunsAlready(
            f"a house runs in {data} already: stop it, or set MOORAGE_DATA to another folder"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def told(data: Path, settings: Mapping[str, str]) -> AsyncIterator[None]:
    """Tell *settings* to commands that ask in the *data* folder until the block ends."""
    answer = json.dumps(dict(settings)).encode()

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            if _user(writer.get_extra_info("socket")) == os.getuid():
                writer.write(answer)
                await writer.drain()
        writer.close()

    try:
        listening = _listen(data)
    except OSError as error:
        LOG.warning("other commands will not find this house: %s", error)
        yield
        return
    server = await asyncio.start_unix_server(tell, sock=listening)
    made = _inode(data)
    try:
        yield
    finally:
        server.close()
        # Another house may have come since.
        if _inode(data) == made:
            (data / SOCKET).unlink(missing_ok=True)


def settings_of(data: Path) -> dict[str, str]:
    """Ask the house that runs in the *data* folder for its settings, {} if none does; raise CannotAsk."""
    told = b""
    try:
        with _short(data) as folder, socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(PATIENCE)
            asking.connect(str(folder / SOCKET))
            user = _user(asking)
            if user != os.getuid():
                raise CannotAsk(
                    f"{data} is the folder of a house that user {user} runs: run this as that user"
                )
            while piece := asking.recv(65_536):
                told += piece
    except PermissionError:
        raise CannotAsk(f"{data}: this user may not look into it; run this as who runs the house") from None
    except TimeoutError:
        raise CannotAsk(f"the house in {data} does not answer: it is stopped, or too busy") from None
    except OSError:
        return {}
    # What did not come whole is from a house that is ending.
    with contextlib.suppress(ValueError):
        return {str(name): str(text) for name, text in json.loads(told).items()}
    return {}


def _listen(data: Path) -> socket.socket:
    """Listen in the folder, in the place of a house that was killed."""
    with _short(data) as folder:
        draft = folder / f".{SOCKET}.{os.getpid()}"
        listening = socket.socket(socket.AF_UNIX)
        try:
            draft.unlink(missing_ok=True)
            listening.bind(str(draft))
            # Before it listens nobody can connect.
            draft.chmod(0o600)
            listening.listen(16)
            draft.rename(folder / SOCKET)
        except OSError:
            listening.close()
            raise
    return listening


@contextlib.contextmanager
def _short(data: Path) -> Iterator[Path]:
    """Give the folder a name that is short enough for a socket's address, whatever its path is."""
    descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _user(connected: socket.socket) -> int:
    """Give the number of the user at the other end."""
    shown = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(shown)[1]
    return user


def _inode(data: Path) -> int | None:
    with contextlib.suppress(OSError):
        return (data / SOCKET).stat().st_ino
    return None
