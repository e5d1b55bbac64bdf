"""Answers in raw ASGI, for the paths where a request's cost counts.

Header names are lower-case bytes; ``content-length`` is set here and nowhere else. Every function
takes the scope first and sends no body in answer to HEAD.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

import msgspec
from starlette.types import Scope, Send

from moorage.api.http.waiting import settled
from moorage.errors import Unavailable

Header = tuple[bytes, bytes]
SendFile = Callable[[int, int, int], Awaitable[None]]

SENDFILE = "moorage.sendfile"
"""The ASGI extension that sends a file from the kernel; see ``protocol.py``."""

PACE = "moorage.pace"
"""The ASGI extension that tells how many bytes a connection's other end sent or took, and whether it is waited for."""

TALLY = "moorage.tally"
"""The ASGI extension that tells how many bytes of a request's body came, how many of its answer's went, and its status."""

JSON: Header = (b"content-type", b"application/json")
PIECE = 256 * 1024

# These never have a body, so a length would be wrong (RFC 9110, 8.6).
_WITHOUT_LENGTH = frozenset({204, 304})

_encoder = msgspec.json.Encoder()


async def send_bytes(
    scope: Scope,
    send: Send,
    body: bytes = b"",
    *,
    status: int = 200,
    headers: Sequence[Header] = (),
) -> None:
    """Answer with bytes that are at hand."""
    await send(_start(status, headers, len(body)))
    await send(
        {
            "type": "http.response.body",
            "body": b"" if scope["method"] == "HEAD" else body,
        }
    )


async def send_json(
    scope: Scope,
    send: Send,
    content: object,
    *,
    status: int = 200,
    headers: Sequence[Header] = (),
) -> None:
    """Answer with *content* as JSON; *headers* may name a media type of their own."""
    if not any(name == b"content-type" for name, _ in headers):
        headers = (JSON, *headers)
    await send_bytes(scope, send, _encoder.encode(content), status=status, headers=headers)


async def send_file(
    scope: Scope,
    send: Send,
    path: Path,
    *,
    start: int,
    end: int,
    status: int = 200,
    headers: Sequence[Header] = (),
    pool: Executor | None = None,
) -> None:
    """Answer with a file's bytes from *start* to before *end*.

    Raises Unavailable before anything is sent when the file cannot be opened: rows say that it is there.
    """
    try:
        # Opened on the loop: on a local disk this costs less than a hop to a thread.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        raise Unavailable(f"{path} cannot be opened: {problem.strerror}", retry_after=5) from problem
    try:
        await send(_start(status, headers, end - start))
        sendfile: SendFile | None = (scope.get("extensions") or {}).get(SENDFILE)
        if scope["method"] == "HEAD" or start == end:
            await send({"type": "http.response.body", "body": b""})
        elif sendfile is not None:
            await sendfile(file, start, end)
        else:
            await _send_pieces(send, _read(file, start, end, pool))
    finally:
        os.close(file)


async def send_stream(
    scope: Scope,
    send: Send,
    pieces: AsyncIterator[bytes],
    *,
    length: int,
    status: int = 200,
    headers: Sequence[Header] = (),
) -> None:
    """Answer with *length* bytes that come in pieces.

    The first piece is awaited before anything is sent, so what it raises can still be answered.
    """
    async with _closing(pieces):
        if scope["method"] == "HEAD":
            await send(_start(status, headers, length))
            await send({"type": "http.response.body", "body": b""})
            return
        first = await anext(pieces, b"")
        await send(_start(status, headers, length))
        await send({"type": "http.response.body", "body": first, "more_body": True})
        await _send_pieces(send, pieces)


def _start(status: int, headers: Sequence[Header], length: int) -> dict[str, object]:
    listed = list(headers)
    if status not in _WITHOUT_LENGTH:
        listed.append((b"content-length", b"%d" % length))
    return {"type": "http.response.start", "status": status, "headers": listed}


async def _send_pieces(send: Send, pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _read(file: int, start: int, end: int, pool: Executor | None) -> AsyncGenerator[bytes, None]:
    loop = asyncio.get_running_loop()
    while start < end:
        reading = loop.run_in_executor(pool, os.pread, file, min(PIECE, end - start), start)
        piece = await settled(reading)
        if not piece:
            return
        start += len(piece)
        yield piece


def _closing(
    pieces: AsyncIterator[bytes],
) -> contextlib.AbstractAsyncContextManager[object]:
    if isinstance(pieces, AsyncGenerator):
        return contextlib.aclosing(pieces)
    return contextlib.nullcontext()
