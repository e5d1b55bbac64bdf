"""Connections to PostgreSQL, kept and handed out without a round trip.

A read leaves nothing behind in a session, so a connection goes back as it is; one whose query was
cut short is thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from moorage.db.errors import Broken, Failed
from moorage.errors import StorageFull, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Connection = Any

PATIENCE = 5.0
"""Seconds a caller waits for a connection."""
COMMAND = 12.0
"""Seconds after which an answer is no longer awaited: the server's own limit is shorter."""
SETTINGS = {
    "application_name": "moorage",
    "jit": "off",
    "lock_timeout": "5s",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "5s",
    "tcp_user_timeout": "5s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
_UNUSABLE = (TimeoutError, asyncpg.InternalClientError)
"""After these a connection is of no more use, though it says that it is open: an answer may still come, or the server has
said that it goes, and is not gone yet (the driver calls what is asked then an error of its own)."""
LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError,
        OSError, *_UNUSABLE)  # fmt: skip
# A cell is served before its schema is brought forward: what that has no place for has to wait for it.
_OLDER = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)
_BUSY = (
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where PostgreSQL is, and how it may be spoken to."""

    url: str
    prepared: bool = True
    """False behind a proxy that pools transactions: no session keeps statements or settings."""
    size: int = 10
    listen: str | None = None
    """Where notifications come from, when the proxy passes none."""

    @classmethod
    def parse(cls, url: str, *, size: int = 10) -> Self:
        """Read ``postgresql://…``; ``prepared=0`` and ``listen=`` are ours, the rest the driver's."""
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        prepared = options.pop("prepared", "1") != "0"
        listen = options.pop("listen", None)
        bare = urlunsplit(parts._replace(query=urlencode(options)))
        return cls(bare, prepared, size, listen or (bare if prepared else None))

    async def connect(self, url: str | None = None) -> Connection:
        """Open a connection, or raise Unavailable."""
        try:
            connection = await asyncpg.connect(
                url or self.url,
                timeout=PATIENCE,
                command_timeout=COMMAND,
                statement_cache_size=1000 if self.prepared else 0,
                max_cached_statement_lifetime=0,
                server_settings=SETTINGS if self.prepared else None,
            )
        except (asyncpg.PostgresError, *LOST) as error:
            raise Unavailable(f"the database cannot be reached: {error}", retry_after=2) from error
        _watch_peer(connection)
        return connection


def _watch_peer(connection: Connection) -> None:
    """Notice a host that is gone: the kernel gives up on what it does not acknowledge."""
    peer: socket.socket | None = connection._transport.get_extra_info("socket")  # noqa: SLF001 - asyncpg shows its socket nowhere else.
    if peer is not None and peer.family in (socket.AF_INET, socket.AF_INET6):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000)


def translated(error: BaseException) -> Exception:
    """Say what PostgreSQL's error means to a caller."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return Broken(str(error))
    if isinstance(error, asyncpg.DiskFullError):
        return StorageFull("the database's disk is full", retry_after=60)
    misused = isinstance(error, asyncpg.InterfaceError) and "closed" not in str(error)
    if isinstance(error, (*LOST, *_BUSY)) and not misused:
        return Unavailable(f"the database cannot be used for the moment: {error}", retry_after=2)
    if isinstance(error, _OLDER):
        return Unavailable(
            f"the database's schema is older than this release: run `moorage migrate` ({error})"
        )
    return Failed(str(error))


class Pool:
    """A bounded number of connections; whoever waits is served in order."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._idle: list[Connection] = []
        self._made = 0
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._closed = False

    async def acquire(self) -> Connection:
        """Take a connection, or raise Unavailable."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._made -= 1
        if self._closed:
            raise Unavailable("the database is being closed", retry_after=1)
        if self._made >= self.address.size:
            waited = await self._wait()
            if waited is not None:
                return waited
        else:
            self._made += 1
        try:
            return await self.address.connect()
        except BaseException:
            self._forget()
            raise

    def release(self, connection: Connection) -> None:
        """Give a connection back; one that broke, or that was cut short, makes room for another."""
        if connection.is_closed() or self._closed:
            connection.terminate()
            self._forget()
        elif not self._hand(connection):
            self._idle.append(connection)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; it is thrown away if what it was used for was cancelled."""
        connection = await self.acquire()
        try:
            yield connection
        except (asyncio.CancelledError, *_UNUSABLE):
            connection.terminate()
            raise
        finally:
            self.release(connection)

    async def read(self, ask: Callable[[Connection], Awaitable[Any]]) -> Any:
        """Ask once, or twice when the first connection turns out to be dead."""
        for last in (False, True):
            connection = await self.acquire()
            try:
                return await ask(connection)
            except (asyncpg.PostgresError, *LOST) as error:
                if isinstance(error, _UNUSABLE):
                    connection.terminate()
                if last or not connection.is_closed():
                    raise translated(error) from error
                self._distrust()
            except asyncio.CancelledError:
                connection.terminate()
                raise
            finally:
                self.release(connection)
        raise AssertionError

    async def close(self) -> None:
        """Close what is idle now, and the rest when it comes back."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            with contextlib.suppress(asyncpg.PostgresError, *LOST):
                await connection.close(timeout=2)
        self._made -= len(idle)

    def _distrust(self) -> None:
        """Drop what is idle: where one connection died unseen, the others may have died with it."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()
        self._made -= len(idle)

    async def _wait(self) -> Connection | None:
        """Wait for a connection, or for the right to make one (None)."""
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(PATIENCE):
                return await waiter
        except asyncio.CancelledError:
            self._leave(waiter)
            raise
        except TimeoutError:
            self._leave(waiter)
            raise Unavailable("every connection to the database is in use", retry_after=2) from None

    def _leave(self, waiter: asyncio.Future[Connection | None]) -> None:
        """Leave the line, and pass on what was handed over in that very moment."""
        with contextlib.suppress(ValueError):
            self._waiters.remove(waiter)
        if waiter.cancelled() or not waiter.done():
            return
        connection = waiter.result()
        if connection is None:
            self._forget()
        else:
            self.release(connection)

    def _hand(self, connection: Connection | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _forget(self) -> None:
        """Let the next in line make a connection in the place of one that is gone."""
        if not self._hand(None):
            self._made -= 1
