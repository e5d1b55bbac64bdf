"""Waiting for what cannot be called off."""

from __future__ import annotations

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def settled(job: asyncio.Future[T]) -> T:
    """Give a thread's result, and wait for its end even when the waiting is cancelled.

    A job that outlived its request would write to a file that is closed, or read from a buffer that
    another request has been given.
    """
    cancelled: asyncio.CancelledError | None = None
    while not job.done():
        try:
            await asyncio.wait([job])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Asked for, so that its own error is not reported as one that nobody looked at.
        job.exception()
        raise cancelled
    return job.result()
