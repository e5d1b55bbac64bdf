"""Blocking work in a bounded pool, never left behind by a request that is cancelled."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A pool of worker threads.

    Whoever awaits :meth:`run` gets control back only when the work has ended, even if cancelled:
    so a descriptor that the work uses can be closed after it.
    """

    def __init__(self, size: int = 8, *, name: str = "storage") -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do *work* in a thread and give what it gives."""
        job = self._pool.submit(work, *args, **kwargs)
        ended = asyncio.wrap_future(job)
        cancelled: asyncio.CancelledError | None = None
        while not ended.done():
            try:
                await asyncio.wait((ended,))
            except asyncio.CancelledError as request:
                cancelled = request
                job.cancel()
        if cancelled is None:
            return ended.result()
        if not ended.cancelled():
            # Asked for, so that asyncio does not report it as never retrieved.
            ended.exception()
        raise cancelled

    def close(self) -> None:
        """End the threads when their work has ended."""
        self._pool.shutdown(wait=False)
