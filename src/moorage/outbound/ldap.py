"""A client of LDAP directories that others name, behind the rules of the one guarded HTTP client.

    ldaps://host[:636]          TLS from the first byte
    ldap+starttls://host[:389]  TLS or nothing
    ldap://host[:389]           in clear: only to networks that the operator lets be called

The connection goes to an address that was checked. Nothing that a directory refers to is asked, an answer is read to a
bound, and all that one connection is opened for has one deadline.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, TypeVar, cast
from urllib.parse import urlsplit

from typing_extensions import override

from moorage.outbound import ldap_messages as wire
from moorage.outbound.http import Caller, NotAsked
from moorage.outbound.ldap_messages import Entry

BASE, ONE_LEVEL, SUBTREE = 0, 1, 2
SCOPES: Final = (BASE, ONE_LEVEL, SUBTREE)
LARGEST: Final = 512 << 10
"""Bytes of all answers to one request."""
SMALL: Final = 16 << 10
"""Bytes of an entry that are read in no time."""
MOST: Final = 500
"""Entries that are asked for at once."""
LONGEST_URL: Final = 512

_Read = TypeVar("_Read")

_PORTS: Final = {"ldap": 389, "ldap+starttls": 389, "ldaps": 636}
_OK, _TOO_MANY, _ABSENT, _WRONG = 0, 4, 32, 49
# Beside "invalid credentials": an account that is locked, or that may not be bound to, is told as one of these.
_NOT_THEM: Final = frozenset({19, _ABSENT, 34, 48, _WRONG, 50, 53})


class Refused(NotAsked):
    """The directory answered, and not with what it was asked for."""

    def __init__(self, what: str, result: wire.Result) -> None:
        """Say what it refused, and how."""
        told = f": {result.said}" if result.said else ""
        super().__init__(f"the directory refused {what}: LDAP result {result.code}{told}")
        self.code = result.code


@dataclass(frozen=True, slots=True)
class Server:
    """Where a directory is, and what makes its certificate believed."""

    scheme: str
    host: str
    port: int
    verified: bool = True
    trusted: str = ""
    """Certificates of authorities that are believed instead of the public ones."""

    @classmethod
    def of(cls, url: str, *, verified: bool = True, trusted: str = "") -> Server:
        """Read a URL, or a host alone, as Harbor takes it; raise ValueError with the rule that it breaks."""
        url = url.strip()
        if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError(f"has at most {LONGEST_URL} visible ASCII characters")
        try:
            parts = urlsplit(url if "://" in url else f"ldap://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("is ldaps://, ldap+starttls:// or ldap:// and a host") from None
        if not host or parts.scheme not in _PORTS or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("is ldaps://, ldap+starttls:// or ldap:// and a host")
        if parts.username is not None:
            raise ValueError("names no user: that is ldap_search_dn")
        scheme = "ldaps" if port == _PORTS["ldaps"] and "://" not in url else parts.scheme
        return cls(scheme, host, port or _PORTS[scheme], verified, trusted)


def check_trusted(certificates: str) -> None:
    """Raise ValueError for what holds no certificates."""
    try:
        _context(verified=True, trusted=certificates)
    except ssl.SSLError:
        raise ValueError("holds no certificates in PEM") from None


@asynccontextmanager
async def connected(caller: Caller, server: Server, *, seconds: float) -> AsyncIterator[Connection]:
    """Open a connection for what is done within so many seconds; raises NotAsked, also for what takes longer."""
    connection = Connection(server)
    try:
        async with asyncio.timeout(seconds):
            addresses = await caller.addresses(server.host, server.port)
            if server.scheme == "ldap":
                _check_private(caller, server, addresses)
            await connection.open(addresses)
            yield connection
            connection.say_goodbye()
    except TimeoutError:
        raise NotAsked(f"{server.host} did not answer within {seconds:g} s") from None
    finally:
        connection.close()


class Connection(asyncio.Protocol):
    """A connection to a directory, as nobody until it is bound. One thing is asked at a time."""

    def __init__(self, server: Server) -> None:
        """Be connected to nobody yet."""
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._came = bytearray()
        self._counted = 0
        self._more = asyncio.Event()
        self._over = ""
        self._last = 0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        # uvloop's is one in all but its class.
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        """Keep what came, as far as it may be."""
        self._counted += len(data)
        if self._counted > LARGEST:
            self._end(f"answered with more than {LARGEST} bytes")
            self.close()
            return
        self._came += data
        self._more.set()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Let whoever waits for an answer know."""
        self._end(f"ended the connection: {exc}" if exc else "ended the connection")

    def close(self) -> None:
        """Let go at once."""
        if self._transport is not None:
            self._transport.abort()

    def say_goodbye(self) -> None:
        """End it as the protocol has it."""
        if not self._over:
            self._write(wire.unbind())

    async def open(self, addresses: Sequence[str]) -> None:
        """Connect to the first of some addresses that answers, within TLS if so it is to be; or raise NotAsked."""
        loop = asyncio.get_running_loop()
        context = _context(verified=self._server.verified, trusted=self._server.trusted)
        at_once = context if self._server.scheme == "ldaps" else None
        failure: Exception | None = None
        for address in addresses:
            try:
                await loop.create_connection(
                    lambda: self,
                    address,
                    self._server.port,
                    ssl=at_once,
                    server_hostname=self._server.host if at_once else None,
                )
            except (OSError, ValueError) as error:
                failure = error
                # A handshake that failed was told as an end, and there is another address to try.
                self._over = ""
                continue
            if self._server.scheme == "ldap+starttls":
                await self._start_tls(context)
            return
        raise NotAsked(f"{self._server.host} cannot be reached: {_why(failure)}")

    async def bind(self, name: str, password: str) -> bool:
        """Become somebody, and tell whether the password is theirs; raises NotAsked.

        Without a password a directory takes everybody for nobody and says that all is well, so none is never asked about.
        """
        if not name or not password:
            return False
        result = await self._done(wire.bind(name, password), wire.BIND_ANSWER)
        if result.code not in {_OK, *_NOT_THEM}:
            raise Refused("to check a password", result)
        return result.code == _OK

    async def search(
        self, base: str, scope: int, condition: bytes, attributes: Sequence[str], *, most: int = MOST
    ) -> list[Entry]:
        """Give the entries that a condition holds for, the first so many; none where the base is absent. Raises NotAsked."""
        identity = self._ask(wire.search(base, scope, condition, attributes, most=most))
        found: list[Entry] = []
        while (message := await self._answer(identity)).kind != wire.DONE:
            # What it refers to elsewhere is not asked.
            if message.kind == wire.ENTRY and len(found) < most:
                found.append(await self._entry(message.body))
            elif message.kind not in {wire.ENTRY, wire.REFERENCE}:
                raise self._no_ldap()
        result = self._read(wire.result, message.body)
        if result.code not in {_OK, _TOO_MANY, _ABSENT}:
            raise Refused("the search", result)
        return found

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        result = await self._done(wire.start_tls(), wire.EXTENDED_ANSWER)
        if result.code != _OK:
            raise Refused("to go on within TLS", result)
        if self._came:
            # It was put there by somebody who wants it to be taken for what came within TLS.
            raise NotAsked(f"{self._server.host} sent something between its answer and TLS")
        transport = self._transport
        assert transport is not None
        try:
            self._transport = await asyncio.get_running_loop().start_tls(
                transport, self, context, server_hostname=self._server.host
            )
        except (OSError, ValueError) as error:
            raise NotAsked(f"{self._server.host} cannot be reached within TLS: {_why(error)}") from None

    async def _done(self, operation: bytes, kind: int) -> wire.Result:
        """Ask for what has one answer."""
        message = await self._answer(self._ask(operation))
        if message.kind != kind:
            raise self._no_ldap()
        return self._read(wire.result, message.body)

    def _ask(self, operation: bytes) -> int:
        self._last += 1
        self._counted = 0
        self._write(wire.request(self._last, operation))
        return self._last

    def _write(self, sent: bytes) -> None:
        assert self._transport is not None
        if self._over:
            raise NotAsked(f"{self._server.host} {self._over}")
        self._transport.write(sent)

    async def _answer(self, identity: int) -> wire.Message:
        """Wait for the next message to a request."""
        while True:
            size = self._read(wire.length_of_message, self._came)
            if size > LARGEST:
                raise NotAsked(f"{self._server.host} answered with more than {LARGEST} bytes")
            if size and len(self._came) >= size:
                message = self._read(wire.message, bytes(self._came[:size]))
                del self._came[:size]
                if message.number == identity:
                    return message
                # Number 0 is how it says that it is about to end the connection.
                raise (
                    self._no_ldap()
                    if message.number
                    else NotAsked(f"{self._server.host} ends the connection")
                )
            if self._over:
                raise NotAsked(f"{self._server.host} {self._over}")
            self._more.clear()
            await self._more.wait()

    async def _entry(self, body: bytes) -> Entry:
        """Read an entry: a large one while others are answered."""
        if len(body) < SMALL:
            return self._read(wire.entry, body)
        return await asyncio.to_thread(self._read, wire.entry, body)

    def _read(self, reader: Callable[[bytes | bytearray], _Read], came: bytes | bytearray) -> _Read:
        try:
            return reader(came)
        except wire.Malformed:
            raise self._no_ldap() from None

    def _no_ldap(self) -> NotAsked:
        return NotAsked(f"{self._server.host} does not answer as an LDAP directory does")

    def _end(self, why: str) -> None:
        self._over = self._over or why
        self._more.set()


def _check_private(caller: Caller, server: Server, addresses: Sequence[str]) -> None:
    for address in addresses:
        if not caller.is_allowed(ip_address(address)):
            raise NotAsked(
                f"{server.host} is asked within TLS alone, since passwords would go there in clear:"
                f" use ldaps:// or ldap+starttls://"
            )


@lru_cache(maxsize=32)
def _context(*, verified: bool, trusted: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=trusted or None)
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _why(error: Exception | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    return str(error or "it has no address")
